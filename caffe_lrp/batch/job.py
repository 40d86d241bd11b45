"""Jobs: which image is explained for what, and where its files go (spec/reference.md §1, §2, §7).

A line of the list is one job for every formula and, with ``--top``, for every rank: a job is one map.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np

from caffe_lrp.errors import ConfigError, FileListError
from caffe_lrp.filelist import ListEntry, Target
from caffe_lrp.imagefile import ArchiveMember, ImageSource
from caffe_lrp.messages import listed
from caffe_lrp.relevance.conservation import Conservation

from .darkness import Darkness


@dataclass(frozen=True, slots=True)
class HeatmapJob:
    """One map to make.

    Attributes
    ----------
    number
        Which job of the whole list it is, from 0.
    line
        Line of the list, from 1.
    image
        Path of the image file; of an image in an archive, that of the archive and the name in it.
    target
        What it is explained for.
    formula
        Code of the formula it is explained by.
    stem
        Output path to which the suffixes of the files are appended; None where ``fault`` says why
        there is none.
    fault
        Why the image cannot be explained, known before anything ran; empty otherwise.
    member
        Where the image lies in an archive; None for a file of its own.
    output_root
        Folder that its files may not leave, whatever links lie in it; None: nothing is looked at.
    """

    number: int
    line: int
    image: Path
    target: Target
    formula: int | str
    stem: str | None
    fault: str = ""
    member: ArchiveMember | None = None
    output_root: Path | None = None

    @property
    def source(self) -> ImageSource:
        """Where the bytes of the image are."""
        return self.member or self.image


@dataclass(frozen=True)
class StageTimes:
    """Seconds that a job took in each stage: its shares where a stage served several jobs at once."""

    decode: float = 0.0
    forward: float = 0.0
    relevance: float = 0.0
    write: float = 0.0

    @property
    def total(self) -> float:
        """Seconds in all stages."""
        return self.decode + self.forward + self.relevance + self.write


@dataclass(frozen=True)
class JobOutcome:
    """What became of a job.

    Attributes
    ----------
    job
        The job.
    times
        How long it took.
    error
        Why it failed; empty if it is done.
    best_class
        The net's best class, None if the job failed before it was known.
    conservation
        What became of the relevance on its way down, None where nobody asked for it.
    darkness
        Why the map says nothing, None if it says something.
    """

    job: HeatmapJob
    times: StageTimes = field(default_factory=StageTimes)
    error: str = ""
    best_class: int | None = None
    conservation: Conservation | None = None
    darkness: Darkness | None = None

    @property
    def is_done(self) -> bool:
        """Whether all files of the job are written."""
        return not self.error


@dataclass(frozen=True)
class OutputLayout:
    """How paths of images and outputs follow from a line of the list.

    Attributes
    ----------
    image_root
        Folder the listed paths are relative to.
    output_root
        Where output paths begin.
    path_root
        Output paths repeat the image path from the first occurrence of this text on; those of images of a
        folder or archive repeat the path inside it instead.
    whole_path
        Look for ``path_root`` in the whole image path, image root included, as the reference does;
        otherwise in the listed path first.
    names_have_targets
        Whether formula and target become part of the names.
    """

    image_root: str
    output_root: str
    path_root: str
    whole_path: bool = False
    names_have_targets: bool = False

    def jobs(
        self, first: int, entry: ListEntry, formulas: Sequence[int | str], targets: Sequence[Target]
    ) -> list[HeatmapJob]:
        """The jobs of one line, numbered from ``first`` on: for each formula one for each target."""
        image = self._image(entry)
        part = self._part(entry, image)
        fault = entry.fault or self._fault_of(part)
        root = Path(f"{self.output_root}/")
        stem = None if fault else str(root / f"./{part}")
        kinds = [(formula, target) for formula in formulas for target in targets]
        return [
            HeatmapJob(
                number=number,
                line=entry.line,
                image=Path(image),
                target=target,
                formula=formula,
                stem=self._named(stem, formula, target),
                fault=fault,
                member=entry.member,
                output_root=root,
            )
            for number, (formula, target) in enumerate(kinds, start=first)
        ]

    def finds_root(self, entry: ListEntry) -> bool:
        """Whether the path of one line contains ``path_root``."""
        return self._part(entry, self._image(entry)) is not None

    def _fault_of(self, part: str | None) -> str:
        """Why an image has no place for its output, empty if it has one."""
        if part is None:
            return (
                f"the path does not contain '{self.path_root}', from which on output paths repeat it; write "
                "the path with it, or change standalone_rootpath in the config"
            )
        if "\0" in part:
            return "the path has a null character, which no file can have in its name; write the right one"
        steps = os.path.normpath(f"./{part}").split("/")
        if steps[0] == "..":
            return "its output would lie outside the output folder; write the path without '..'"
        if steps == ["."] or part.endswith("/.."):
            return "the path is one of a folder; write that of an image in it"
        return ""

    def _named(self, stem: str | None, formula: int | str, target: Target) -> str | None:
        if stem is None or not self.names_have_targets:
            return stem
        return f"{stem}_f{formula}_{target.label}"

    def _image(self, entry: ListEntry) -> str:
        return f"{self.image_root}/{entry.path}" if self._is_below_root(entry) else entry.path

    def _is_below_root(self, entry: ListEntry) -> bool:
        if entry.inside:
            return False
        return self.whole_path or (bool(self.image_root) and not Path(entry.path).is_absolute())

    def _part(self, entry: ListEntry, image: str) -> str | None:
        """What output paths repeat, None if ``path_root`` does not occur."""
        if entry.inside:
            return entry.inside
        for path in [image] if self.whole_path else [entry.path, image]:
            start = path.find(self.path_root)
            if start >= 0:
                return path[start:]
        return None


@dataclass(frozen=True)
class WorkList(Sequence[HeatmapJob]):
    """The jobs of all lines, in order: of each line for each formula, of each formula for each target.

    Jobs are made when they are asked for, so that a list of a million lines takes no more memory than its
    text.

    Attributes
    ----------
    entries
        Lines of the list.
    layout
        Where images and outputs are.
    formulas
        Codes of the formulas.
    ranks
        What stands in place of the targets of the list; empty: those.
    """

    entries: Sequence[ListEntry]
    layout: OutputLayout
    formulas: tuple[int | str, ...]
    ranks: tuple[Target, ...] = ()

    @property
    def jobs_per_entry(self) -> int:
        """How many jobs a line makes."""
        return len(self.formulas) * max(1, len(self.ranks))

    def __len__(self) -> int:
        return len(self.entries) * self.jobs_per_entry

    @overload
    def __getitem__(self, place: int) -> HeatmapJob: ...

    @overload
    def __getitem__(self, place: slice) -> "list[HeatmapJob]": ...

    def __getitem__(self, place: int | slice) -> "HeatmapJob | list[HeatmapJob]":
        numbers = range(len(self))[place]
        if isinstance(numbers, range):
            return [self[number] for number in numbers]
        entry, part = divmod(numbers, self.jobs_per_entry)
        return self.jobs_of(entry)[part]

    def __iter__(self) -> Iterator[HeatmapJob]:
        return self.jobs_between(0, len(self.entries))

    def jobs_between(self, first: int, last: int) -> Iterator[HeatmapJob]:
        """The jobs of the lines from ``first`` to before ``last``, counted from 0."""
        for entry in range(first, last):
            yield from self.jobs_of(entry)

    def jobs_of(self, entry: int) -> list[HeatmapJob]:
        """The jobs of one line, counted from 0."""
        line = self.entries[entry]
        first = entry * self.jobs_per_entry
        return self.layout.jobs(first, line, self.formulas, self.ranks or (line.target,))


def make_jobs(
    entries: Sequence[ListEntry],
    layout: OutputLayout,
    place: str,
    formulas: Sequence[int | str],
    top: int | None = None,
) -> WorkList:
    """The jobs of all lines.

    Parameters
    ----------
    entries
        Lines of the list.
    layout
        Where images and outputs are.
    place
        Where the layout's ``path_root`` comes from.
    formulas
        Codes of the formulas.
    top
        How many best classes get a map each, in place of the classes of the list; None: those.

    Raises
    ------
    ConfigError
        No path contains the layout's ``path_root``, so that it is the config that is wrong.
    """
    if len(entries) and not any(layout.finds_root(entry) for entry in entries):
        raise ConfigError(
            f"{place}: no path of the list contains '{layout.path_root}', from which on output paths repeat "
            "it; set standalone_rootpath to a text that all of them contain, such as the name of a folder"
        )
    ranks = tuple(Target(0, rank) for rank in range(1, (top or 0) + 1))
    return WorkList(entries, layout, tuple(formulas), ranks)


def has_clashes(jobs: Sequence[HeatmapJob]) -> bool:
    """Whether two jobs write the same files."""
    return bool(_repeated_stems(jobs))


def refuse_clashes(jobs: Sequence[HeatmapJob], source: Path | str, *, names_have_targets: bool) -> None:
    """Refuse a list in which two lines would write the same files.

    Raises
    ------
    FileListError
        Names the lines.
    """
    repeated = _repeated_stems(jobs)
    if not repeated:
        return
    first_line: dict[str, int] = {}
    clashes = []
    for job in jobs:
        if job.stem is None or hash(os.path.normpath(job.stem)) not in repeated:
            continue
        other = first_line.setdefault(os.path.normpath(job.stem), job.line)
        if other != job.line:
            clashes.append(f"lines {other} and {job.line}: {job.stem}")
    if clashes:
        way_out = "remove the repeated lines"
        if not names_have_targets:
            way_out += ", or use --suffix-target to put formula and class into the names of the files"
        raise FileListError(
            f"{source}: several lines would write the same files; {way_out}:\n{listed(clashes)}"
        )


def _repeated_stems(jobs: Sequence[HeatmapJob]) -> frozenset[int]:
    """Hashes of the stems that several jobs have; 8 bytes a job, for lists of any length."""
    stems = (hash(os.path.normpath(job.stem)) for job in jobs if job.stem is not None)
    hashes = np.sort(np.fromiter(stems, np.int64))
    return frozenset(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
