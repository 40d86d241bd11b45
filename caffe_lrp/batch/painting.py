"""Pictures of finished maps: finding existing ones, and drawing the others in several threads."""

import stat
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby, islice
from pathlib import Path
from typing import Protocol, TypeVar

from caffe_lrp.errors import CaffeLrpError, ImageError, OutputError, UsageError
from caffe_lrp.files.atomic import interrupted_writes, write_atomically
from caffe_lrp.files.imagefile import ImageSource
from caffe_lrp.imaging.place import Place
from caffe_lrp.machine.crew import Crew
from caffe_lrp.outputs.kinds import OUTPUTS
from caffe_lrp.rendering.picture import render
from caffe_lrp.rendering.png import encode_picture, style_in
from caffe_lrp.rendering.strength import reach_of
from caffe_lrp.rendering.style import ORIGINAL, PictureStyle

from .finished import FinishedMap
from .photos import Photos, Picture, place_of, read_photo

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")

#: Maximum number of maps of one photo that a thread draws in a row; the photo is then read once.
_MOST_IN_GROUP = 16
#: Groups per thread waiting to be drawn or reported.
_GROUPS_AHEAD = 4

#: Longer than writing any picture takes.
_SECONDS_OF_WRITING = 60.0

_PHOTO_ADVICE = (
    "give the folder of the photos with --image-root DIR, or do without them: --size net overlays the map on "
    "the net's input, and --size net --mode plain shows the map alone"
)
_SEEN_ADVICE = (
    "runs write the net's input with --outputs input, or --input-dataset; --mode plain shows the map alone, "
    "and --size original overlays it on the photo"
)


class Stop(Protocol):
    """A request to end."""

    def is_requested(self) -> bool:
        """Whether nothing new should be started."""


class State(Enum):
    """The state of a picture."""

    MISSING = "missing"
    DONE = "done"
    OTHER = "in another style"


@dataclass(frozen=True, eq=False)
class Painted:
    """The outcome of a picture.

    Attributes
    ----------
    finished
        The map.
    error
        Why it could not be drawn; empty if it exists.
    advice
        What to do about it, if many maps fail for the same reason; empty if the error says all.
    """

    finished: FinishedMap
    error: str = ""
    advice: str = ""


class _UnseenError(ImageError):
    """What a map is to be laid over is not there; ``advice`` says what to do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, eq=False)
class Survey:
    """The state of all pictures before drawing.

    Attributes
    ----------
    total, done
        Maps, and those whose pictures exist.
    other
        The first existing picture that would have to be replaced; None if there is none.
    other_count
        Number of such pictures.
    """

    total: int
    done: int
    other: Path | None
    other_count: int


@dataclass(frozen=True, eq=False)
class Painter:
    """Draws finished maps.

    Attributes
    ----------
    style
        The style of the pictures.
    photos
        Finds the photos.
    folder
        Folder for the pictures, which keep the relative paths of their maps; None: beside the maps.
    """

    style: PictureStyle
    photos: Photos = field(default_factory=Photos)
    folder: Path | None = None

    def root_of(self, finished: FinishedMap) -> Path:
        """Return the folder its picture must stay in."""
        return finished.folder if self.folder is None else self.folder

    def path_of(self, finished: FinishedMap) -> Path:
        """Return the path of its picture."""
        return self.root_of(finished) / f"{finished.stem}{OUTPUTS['render'].suffix}"

    def state_of(self, finished: FinishedMap) -> State:
        """Return whether its picture exists, in this style, and is not older than the map.

        A run that draws writes a picture with its map, but before raw heatmaps and the end of a database.
        """
        path = self.path_of(finished)
        try:
            status = path.lstat()
        except OSError:
            return State.MISSING
        if not stat.S_ISREG(status.st_mode) or style_in(path) != self.style.as_json():
            return State.OTHER
        if self.folder is None and finished.run and finished.run.draws:
            return State.DONE
        is_newer = status.st_mtime_ns >= finished.relevance.changed()
        return State.DONE if is_newer else State.MISSING

    def survey(self, maps: Iterable[FinishedMap]) -> Survey:
        """Return the state of the pictures of some maps; leftovers of killed processes are removed.

        Raises
        ------
        UsageError
            Two maps would become the same picture.
        """
        sources: dict[str, str] = {}
        counts = dict.fromkeys(State, 0)
        other: Path | None = None
        folders: set[Path] = set()
        for finished in maps:
            path, source = self.path_of(finished), str(finished.relevance)
            if sources.setdefault(str(path), source) != source:
                raise UsageError(
                    f"{path}: {sources[str(path)]} and {source} would both be written to this picture; "
                    "render them separately, into different folders (-p)"
                )
            state = _state_or_missing(self, finished)
            counts[state] += 1
            folders.add(path.parent)
            other = path if other is None and state is State.OTHER else other
        for folder in folders:
            _remove_leftovers(folder)
        return Survey(sum(counts.values()), counts[State.DONE], other, counts[State.OTHER])

    def paint(self, maps: Iterable[FinishedMap], threads: int, stop: Stop) -> Iterator[Painted]:
        """Draw the maps whose pictures are missing or in another style; yield the outcomes one by one.

        Ends early if a stop is requested.

        Raises
        ------
        OutputError
            No more pictures can be written.
        """
        left = (each for each in maps if _state_or_missing(self, each) is not State.DONE)
        done = in_parallel(self._paint_group, _groups(left), threads, stop)
        with closing(done):
            for outcomes in done:
                yield from outcomes

    def _paint_group(self, group: list[FinishedMap]) -> list[Painted]:
        """Draw maps of one photo."""
        sight = _Sight(self.photos)
        outcomes = []
        for finished in group:
            try:
                self._paint_one(finished, sight)
                outcomes.append(Painted(finished))
            except OutputError:
                raise
            except _UnseenError as error:
                outcomes.append(Painted(finished, str(error), error.advice))
            except CaffeLrpError as error:
                outcomes.append(Painted(finished, str(error)))
            except MemoryError:
                outcomes.append(Painted(finished, f"{finished.relevance}: not enough memory to draw it"))
        return outcomes

    def _paint_one(self, finished: FinishedMap, sight: "_Sight") -> None:
        relevance = finished.relevance.read()
        photo, place = None, None
        if self.style.size == ORIGINAL:
            channels = relevance.shape[0] if relevance.ndim == 3 else 1
            photo, place = sight.of(finished, channels)
        elif self.style.needs_photo:
            photo = finished.relevance.picture()
            if photo is None:
                raise _UnseenError(f"{finished.relevance}: the net's input was not written", _SEEN_ADVICE)
        shown = photo if self.style.needs_photo else None
        try:
            picture = render(relevance, self.style, shown, place)
        except UsageError as error:
            raise ImageError(f"{finished.relevance}: {error}") from error
        content = encode_picture(picture, self.style)
        write_atomically(self.path_of(finished), content, self.root_of(finished))


@dataclass(eq=False)
class _Sight:
    """The photo of several maps, read on first access."""

    photos: Photos
    _found: tuple[ImageSource, Picture] | None = None

    def of(self, finished: FinishedMap, channels: int) -> tuple[Picture, Place]:
        """Return the photo, and the part of it the net saw; ImageError if either is unknown."""
        try:
            if self._found is None:
                source = self.photos.find(finished)
                self._found = source, read_photo(finished, source, channels)
            source, photo = self._found
            return photo, place_of(finished, source, photo)
        except ImageError as error:
            raise _UnseenError(str(error), _PHOTO_ADVICE) from error


def _state_or_missing(painter: Painter, finished: FinishedMap) -> State:
    """Return the state of a picture; missing maps are reported when they are drawn."""
    try:
        return painter.state_of(finished)
    except ImageError:
        return State.MISSING


def _remove_leftovers(folder: Path) -> None:
    """Remove half-written pictures that no process is writing any more."""
    for path, name in interrupted_writes(folder):
        with suppress(OSError):
            is_old = time.time() - path.lstat().st_mtime > _SECONDS_OF_WRITING
            if is_old and name.endswith(OUTPUTS["render"].suffix):
                path.unlink()


def largest_reach(
    maps: Iterable[FinishedMap], style: PictureStyle, threads: int, stop: Stop, tell: Callable[[], None]
) -> float:
    """Return the relevance to show at full strength in all maps: the largest by ``style`` of any map.

    Unreadable maps are skipped; drawing reports them. ``tell`` is called for every map.
    """

    def measure(finished: FinishedMap) -> float:
        try:
            return reach_of(finished.relevance.read(), style)
        except CaffeLrpError:
            return 0.0

    largest = 0.0
    with closing(in_parallel(measure, maps, threads, stop)) as reaches:
        for reach in reaches:
            largest = max(largest, reach)
            tell()
    return largest


def _groups(maps: Iterable[FinishedMap]) -> Iterator[list[FinishedMap]]:
    """Yield groups of consecutive maps that explain the same photo."""
    for _, group in groupby(maps, key=lambda finished: (finished.folder, finished.image_name)):
        while part := list(islice(group, _MOST_IN_GROUP)):
            yield part


def in_parallel(
    work: Callable[[_Given], _Found], given: Iterable[_Given], threads: int, stop: Stop
) -> Generator[_Found, None, None]:
    """Yield ``work(item)`` for each of ``given``, in order; start nothing new after a stop request."""
    crew = Crew(threads, "paint")
    try:
        waiting = iter(given)
        at_work = deque(crew.submit(work, each) for each in islice(waiting, threads * _GROUPS_AHEAD))
        while at_work:
            crew.wait([at_work[0]])
            found = at_work.popleft().result()
            if not stop.is_requested():
                at_work.extend(crew.submit(work, each) for each in islice(waiting, 1))
            yield found
    finally:
        crew.dismiss()
        crew.join()
