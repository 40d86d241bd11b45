"""Jobs: which image is explained for what, and where its files go (manual: toolbox, "Output files").

A line of the list is one job for every formula and, with ``--top``, for every rank: a job is one map.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import overload

from caffe_lrp.files.imagefile import ArchiveMember, ImageSource
from caffe_lrp.model.attempt import StageTimes
from caffe_lrp.model.darkness import Darkness
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.conservation import Conservation
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.filelist import EntryList, ListEntry, Outline

#: Number of targets whose name suffixes are cached.
_MOST_TARGETS = 10_000

#: Number of the net's best classes recorded for every map.
BEST_COUNT = 5


@dataclass(frozen=True, slots=True)
class HeatmapJob:
    """One map to make.

    Attributes
    ----------
    number
        Number of the job in the whole list, from 0.
    line
        Line of the list, from 1.
    image
        Path of the image file; for an image in an archive, the path of the archive and the name in it.
    target
        The class or rank to explain.
    formula
        Code of the formula.
    stem
        Output path, to which the suffixes of the files are appended; None if there is none, for the reason
        given in ``fault``.
    fault
        Why the image cannot be explained, known before anything ran; empty otherwise.
    member
        Position of the image in an archive; None for a file.
    output_root
        Folder its files must stay in, even if it contains symbolic links; None: not checked.
    row
        Which line of the list it is of, from 0; lines that name no image do not count.
    """

    number: int
    line: int
    image: Path
    target: Target
    formula: FormulaCode
    stem: str | None
    fault: str = ""
    member: ArchiveMember | None = None
    output_root: Path | None = None
    row: int = 0

    @property
    def image_key(self) -> Path:
        """A key that is the same for all jobs of one image."""
        return self.image

    @property
    def source(self) -> ImageSource:
        """The source of the image's bytes."""
        return self.member or self.image

    @property
    def is_missing(self) -> bool:
        """Whether there is no file of its own where the image should be."""
        return self.member is None and not os.path.lexists(self.image)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The net's classes for an image, and the rank of the explained ones.

    Attributes
    ----------
    classes
        The classes explained, the best of them first.
    score
        Score of the first of them.
    rank
        Its rank among the net's classes by score, from 1; None if it is not ranked.
    best
        The best classes and their scores, at most `BEST_COUNT`, best first.
    """

    classes: tuple[int, ...]
    score: float
    rank: int | None
    best: tuple[tuple[int, float], ...]


def predicted(explanation: Explanation) -> Prediction:
    """Return the prediction of an explanation."""
    best = tuple((each.class_index, each.score) for each in explanation.top(BEST_COUNT))
    return Prediction(explanation.target, explanation.score, explanation.rank, best)


@dataclass(frozen=True)
class JobOutcome:
    """The outcome of a job.

    Attributes
    ----------
    job
        The job.
    times
        Time spent in each stage.
    error
        Why it failed; empty if it is done.
    prediction
        The classes of the image, None if the job failed before they were known.
    conservation
        The conservation report, None if it was not requested.
    darkness
        Why the map shows nothing, None if it shows something.
    is_turned
        Whether the image is to be shown turned or mirrored, by an orientation tag, which is ignored.
    """

    job: HeatmapJob
    times: StageTimes = field(default_factory=StageTimes)
    error: str = ""
    prediction: Prediction | None = None
    conservation: Conservation | None = None
    darkness: Darkness | None = None
    is_turned: bool = False

    @property
    def is_done(self) -> bool:
        """Whether all files of the job are written."""
        return not self.error

    @property
    def best_class(self) -> int | None:
        """The net's best class, None if the job failed before it was known."""
        return self.prediction.best[0][0] if self.prediction else None


@dataclass(frozen=True)
class OutputPaths:
    """The paths of images and outputs, derived from lines of the list.

    Attributes
    ----------
    image_root
        Folder the listed paths are relative to.
    output_root
        Start of all output paths.
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
        self, first: int, entry: ListEntry, formulas: Sequence[FormulaCode], targets: Sequence[Target]
    ) -> list[HeatmapJob]:
        """Return the jobs of one line, numbered from ``first``: for each formula one per target."""
        image, part = self.image_of(entry.path, entry.inside), self.part_of(entry.path, entry.inside)
        fault = entry.fault or ("" if _is_simple(part) else self._fault_of(part))
        stem = None if fault or part is None else self._stem(part)
        image_path = Path(image)
        kinds = [(formula, target) for formula in formulas for target in targets]
        suffixes = self.suffixes(formulas, targets)
        return [
            HeatmapJob(
                number,
                entry.line,
                image_path,
                target,
                formula,
                None if stem is None else f"{stem}{suffix}",
                fault,
                entry.member,
                self._root,
                first // len(kinds),
            )
            for number, ((formula, target), suffix) in enumerate(
                zip(kinds, suffixes, strict=True), start=first
            )
        ]

    @cached_property
    def _root(self) -> Path:
        return Path(f"{self.output_root}/")

    @cached_property
    def _before(self) -> str:
        """The common prefix of all stems."""
        return str(self._root / "x")[:-1]

    def _stem(self, part: str) -> str:
        return f"{self._before}{part}" if _is_simple(part) else str(self._root / f"./{part}")

    def stem_of(self, part: str | None) -> str | None:
        """Return the output path without suffixes, for a part from `part_of`; None if there is none."""
        if part is None or not (_is_simple(part) or not self._fault_of(part)):
            return None
        return self._stem(part)

    def place_of(self, part: str | None) -> str | None:
        """Return the output path relative to the output folder, normalized."""
        if part is None or _is_simple(part):
            return part
        return None if self._fault_of(part) else os.path.normpath(f"./{part}")

    def suffixes(self, formulas: Sequence[FormulaCode], targets: Sequence[Target]) -> tuple[str, ...]:
        """Return the suffixes of the stems of one line, for each formula and each target."""
        if not self.names_have_targets:
            return ("",) * (len(formulas) * len(targets))
        return tuple(f"_f{formula}_{target.label}" for formula in formulas for target in targets)

    def _fault_of(self, part: str | None) -> str:
        """Return the reason why an image has no valid output path, empty if it has one."""
        if part is None:
            return (
                f"the path does not contain '{self.path_root}', the string where output paths begin; "
                "correct the path, or change standalone_rootpath in the config"
            )
        if "\0" in part:
            return "the path has a null character, which no file name can have; correct it"
        steps = os.path.normpath(f"./{part}").split("/")
        if steps[0] == "..":
            return "its output would lie outside the output folder; write the path without '..'"
        if steps == ["."] or part.endswith("/.."):
            return "the path names a folder; give an image in it"
        return ""

    def image_of(self, path: str, inside: str) -> str:
        """Return the path of an image file; for the arguments see `part_of`."""
        is_below_root = self.whole_path or (bool(self.image_root) and not path.startswith("/"))
        return f"{self.image_root}/{path}" if is_below_root and not inside else path

    def part_of(self, path: str, inside: str) -> str | None:
        """Return the part of the image path that output paths repeat, None if ``path_root`` does not occur.

        Parameters
        ----------
        path
            The path of an image as listed.
        inside
            Its path inside a folder or archive; empty for a line of a list.
        """
        if inside:
            return inside
        start = -1 if self.whole_path else path.find(self.path_root)
        if start < 0:
            path = self.image_of(path, inside)
            start = path.find(self.path_root)
        return path[start:] if start >= 0 else None


def _is_simple(part: str | None) -> bool:
    """Return whether a path is obviously valid and normalized; False can mean either."""
    if not part:
        return False
    return not (part[0] in "./" or part[-1] == "/" or "//" in part or "/." in part or "\0" in part)


@dataclass(frozen=True)
class WorkList(Sequence[HeatmapJob]):
    """The jobs of all lines, in order: for each line each formula, for each formula each target.

    Jobs are made on access, so a list of a million lines takes no more memory than its text.

    Attributes
    ----------
    entries
        Lines of the list.
    output_paths
        The paths of images and outputs.
    formulas
        Codes of the formulas.
    ranks
        Ranks that replace the targets of the list; empty: keep the targets.
    """

    entries: Sequence[ListEntry]
    output_paths: OutputPaths
    formulas: tuple[FormulaCode, ...]
    ranks: tuple[Target, ...] = ()

    @property
    def jobs_per_entry(self) -> int:
        """Number of jobs per line."""
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
        """Return the jobs of the lines from ``first`` up to, but not including, ``last``, counted from 0."""
        each = self.jobs_per_entry
        entries = self.entries
        lines = entries.between(first, last) if isinstance(entries, EntryList) else entries[first:last]
        for number, line in enumerate(lines, start=first):
            yield from self.output_paths.jobs(
                number * each, line, self.formulas, self.ranks or (line.target,)
            )

    def outlines(self, lines: range) -> Iterator[Outline]:
        """Return the paths and targets of some lines, counted from 0, for their output paths."""
        if isinstance(self.entries, EntryList):
            return self.entries.outlines(lines)
        return ((entry.path, entry.inside, entry.target) for entry in map(self.entries.__getitem__, lines))

    @property
    def faults(self) -> Mapping[str, str]:
        """Known reasons why images cannot be read, by their paths inside a folder or archive."""
        if isinstance(self.entries, EntryList):
            return self.entries.faults
        return {entry.inside: entry.fault for entry in self.entries if entry.fault}

    def suffixing(self) -> Callable[[Target], tuple[str, ...]]:
        """Return a cached function from the target of a line to the suffixes of its stems."""
        if not self.output_paths.names_have_targets:
            always = ("",) * self.jobs_per_entry
            return lambda target: always
        suffixes_of = lru_cache(_MOST_TARGETS)(
            lambda code, rank: self.output_paths.suffixes(self.formulas, self.ranks or (Target(code, rank),))
        )
        return lambda target: suffixes_of(target.code, target.rank)

    def stems(self, lines: range) -> Iterator[str | None]:
        """Yield the stems of the jobs of some lines, counted from 0, as far as the paths determine them."""
        paths, suffixes_of = self.output_paths, self.suffixing()
        for path, inside, target in self.outlines(lines):
            stem = paths.stem_of(paths.part_of(path, inside))
            for suffix in suffixes_of(target):
                yield None if stem is None else f"{stem}{suffix}"

    def jobs_of(self, entry: int) -> list[HeatmapJob]:
        """Return the jobs of one line, counted from 0."""
        return list(self.jobs_between(entry, entry + 1))


def make_jobs(
    entries: Sequence[ListEntry],
    output_paths: OutputPaths,
    formulas: Sequence[FormulaCode],
    top: int | None = None,
) -> WorkList:
    """Return the jobs of all lines; with ``top``, one per best class, whatever the targets in the list."""
    ranks = tuple(Target(0, rank) for rank in range(1, (top or 0) + 1))
    return WorkList(entries, output_paths, tuple(formulas), ranks)
