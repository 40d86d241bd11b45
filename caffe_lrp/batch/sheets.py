"""The pictures of finished maps on one sheet: a block per photo, captioned with classes and scores."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image

from caffe_lrp.errors import ImageError
from caffe_lrp.outputs.maps import Account
from caffe_lrp.rendering.png import UNREADABLE
from caffe_lrp.rendering.sheet import Block, Tile, fitted, photo_block, photo_tile, sheet_of_blocks
from caffe_lrp.rendering.style import ORIGINAL

from .finished import FinishedMap
from .painting import Painter
from .photos import Picture, read_photo

#: Most pictures for one photo, and on a sheet; a larger sheet would be unreadable.
MOST_BESIDE, MOST_PICTURES = 24, 1000


@dataclass(frozen=True, eq=False)
class Sheet:
    """A sheet, and the number of photos that do not fit.

    Attributes
    ----------
    picture
        The sheet.
    photos, maps
        Number of photos and maps on it.
    left_out
        Number of photos left out because there are too many.
    """

    picture: Image.Image
    photos: int
    maps: int
    left_out: int


@dataclass(frozen=True, eq=False)
class _Row:
    """Maps of one photo, each with its sort key."""

    numbered: list[tuple[float, int, FinishedMap]] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The number of the earliest of its jobs."""
        return min(number for _, number, _ in self.numbered)

    @property
    def maps(self) -> list[FinishedMap]:
        """The maps, those of earlier runs first, and those of one run in the order of its jobs."""
        ordered = sorted(self.numbered, key=lambda each: each[:2])
        return [finished for _, _, finished in ordered]


def draw_sheet(maps: Iterable[FinishedMap], painter: Painter) -> Sheet | None:
    """Return a sheet of the pictures drawn by a painter, in the order of the sources; None if there are none.

    Maps without a picture are left out.
    """
    rows = _rows_of(maps)
    common = common_folder([row.maps[0].image_name for row in rows])
    blocks, count, left_out = [], 0, 0
    for number, row in enumerate(rows):
        if count + min(len(row.maps), MOST_BESIDE) > MOST_PICTURES:
            left_out = len(rows) - number
            break
        drawn = [(finished, _read(painter.path_of(finished))) for finished in row.maps[:MOST_BESIDE]]
        there = [(finished, picture) for finished, picture in drawn if picture]
        if there:
            name = there[0][0].image_name.removeprefix(common)
            blocks.append(_block_of(name, there, painter))
            count += len(there)
    if not blocks:
        return None
    return Sheet(sheet_of_blocks(blocks), len(blocks), count, left_out)


def _rows_of(maps: Iterable[FinishedMap]) -> list[_Row]:
    """Return maps grouped by photo, in the order of jobs; without a journal, in the order of files."""
    rows: dict[str, _Row] = {}
    for place, finished in enumerate(maps):
        began = finished.run.began if finished.run else 0.0
        number = finished.record.job if finished.record else place
        photo = finished.image or f"{finished.folder}/{finished.image_name}"
        row = rows.setdefault(photo, _Row())
        row.numbered.append((began, number, finished))
    return sorted(rows.values(), key=lambda row: row.first)


def common_folder(names: Sequence[str]) -> str:
    """Return the common start of the folders of all photos, which need not be repeated in captions."""
    folders = {PurePosixPath(name).parent for name in names}
    if not folders or len({folder.is_absolute() for folder in folders}) > 1:
        return ""
    common = os.path.commonpath(folders)
    return f"{common}/" if common else ""


def _block_of(name: str, there: Sequence[tuple[FinishedMap, Image.Image]], painter: Painter) -> Block:
    """The photo and its maps."""
    tiles = [Tile(picture, (_name(finished), *_explained(finished))) for finished, picture in there]
    return photo_block(name, _photo_of(there[0][0], painter), tiles)


def _name(finished: FinishedMap) -> str:
    """Return a caption that distinguishes a map from others of its photo."""
    return formula_name(finished.formula) if finished.formula else finished.relevance.stem


def formula_name(formula: str) -> str:
    """The formula of a map in a caption."""
    return f"formula {formula}" if formula.isdecimal() else formula


def _explained(finished: FinishedMap) -> tuple[str, ...]:
    """Return the class with its label, and the score, as strings."""
    account = finished.account()
    label = finished.label_of(account.classes[0]) if account.classes else ""
    return explained(account, label)


def explained(account: Account, label: str) -> tuple[str, ...]:
    """The first class that a map explains, with its label if it has one, and its score, in words."""
    if not account.classes:
        return ()
    index = account.classes[0]
    more = f" and {len(account.classes) - 1} more" if len(account.classes) > 1 else ""
    name = f"class {index}: {label}{more}" if label else f"class {index}{more}"
    if account.score is None:
        return (name,)
    rank = f", no. {account.rank}" if account.rank is not None else ""
    return name, f"score {account.score:.4g}{rank}"


def _photo_of(finished: FinishedMap, painter: Painter) -> Tile | None:
    """Return the photo or the net's input, whichever has the pictures' size; None if it is not available."""
    ways: list[tuple[str, Callable[[], Picture | None]]] = [
        ("photo", lambda: read_photo(finished, painter.photos.find(finished), channels=3)),
        ("the net's input", finished.relevance.picture),
    ]
    for name, way in ways if painter.style.size == ORIGINAL else reversed(ways):
        with suppress(ImageError):
            if (picture := way()) is not None:
                return photo_tile(picture, name)
    return None


def _read(path: Path) -> Image.Image | None:
    """Return a drawn picture, scaled down; None if it does not exist."""
    try:
        if not path.is_file():  # opening a pipe would block
            return None
        with Image.open(path) as stored:
            return fitted(stored)
    except UNREADABLE:
        return None
