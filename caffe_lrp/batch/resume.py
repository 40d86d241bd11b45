"""Resuming a run: finding the jobs of a list that are left to do."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import OutputError
from caffe_lrp.files.atomic import interrupted_writes, make_folder
from caffe_lrp.messages import counted
from caffe_lrp.outputs.kinds import file_kinds, paths_of, suffix_of

from .claim import Holder, claim_of
from .fingerprint import fingerprint_of
from .job import HeatmapJob, WorkList
from .journal import Journal, mark_replaced, naming, refuse_other_counts
from .lease import Lease, leased
from .overlaps import Overlap, find_overlaps, refuse_overlaps
from .presence import absent
from .records import DONE, FAILED, MISSING, Header, journal_path
from .shards import Shard
from .survey import Survey

#: More jobs than are ever in progress at the same time.
_MOST_UNDER_WAY = 10_000


@dataclass(frozen=True)
class Task:
    """A list, and the part of it that this run explains.

    Attributes
    ----------
    work
        All jobs of the list.
    survey
        Survey of all its lines.
    shard
        The part.
    outputs
        Kinds of files, and the database if there is one, by the names used in options.
    root
        Output root, the folder of the journal.
    description
        Everything the files depend on, see `fingerprint.describe_run`.
    labels, preprocessing
        Further fields of the journal, see `Header`.
    """

    work: WorkList
    survey: Survey
    shard: Shard
    outputs: tuple[str, ...]
    root: Path
    description: Mapping[str, Any]
    labels: str = ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of files that are written for every job, in the order of writing."""
        return file_kinds(self.outputs)

    @property
    def lines(self) -> range:
        """The lines of this part, counted from 0."""
        return self.shard.part_of(len(self.work.entries))

    @property
    def size(self) -> int:
        """Number of jobs of this part."""
        return len(self.lines) * self.work.jobs_per_entry

    @cached_property
    def part(self) -> Survey:
        """The survey of the lines of this part."""
        return self.survey.of_lines(self.lines)

    def jobs(self) -> Iterator[HeatmapJob]:
        """The jobs of this part."""
        return self.work.jobs_between(self.lines.start, self.lines.stop)

    def jobs_where(self, wanted: NDArray[np.bool_]) -> Iterator[HeatmapJob]:
        """Yield some jobs of this part, by number minus that of the first; other jobs are not even made."""
        for lines, mask in self._stretches(wanted):
            yield from itertools.compress(self.work.jobs_between(lines.start, lines.stop), mask)

    def stems_where(self, wanted: NDArray[np.bool_]) -> Iterator[str]:
        """Yield the stems of such jobs."""
        for lines, mask in self._stretches(wanted):
            yield from map(str, itertools.compress(self.work.stems(lines), mask))

    def _stretches(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[range, NDArray[np.bool_]]]:
        """Yield ranges of lines, from 0, with wanted jobs, and which of their jobs are wanted."""
        each, begin = self.work.jobs_per_entry, self.lines.start
        lines = np.flatnonzero(wanted.reshape(-1, each).any(axis=1))
        firsts, lasts = lines[np.diff(lines, prepend=-2) != 1], lines[np.diff(lines, append=-2) != 1]
        for first, last in zip(map(int, firsts), map(int, lasts), strict=True):
            yield range(begin + first, begin + last + 1), wanted[first * each : (last + 1) * each]

    @cached_property
    def description_text(self) -> str:
        """The description as one line of JSON."""
        return json.dumps(self.description, sort_keys=True)

    @cached_property
    def header(self) -> Header:
        """The header of the journal."""
        each = self.work.jobs_per_entry
        return Header(
            fingerprint_of(self.description),
            self.shard,
            len(self.work),
            self.lines.start * each,
            self.lines.stop * each,
            self.outputs,
            self.description,
            self.labels,
            self.preprocessing,
        )


@dataclass(frozen=True)
class OpenedRun:
    """A run that may write its files.

    Attributes
    ----------
    journal
        Its journal.
    lease
        Keeps other runs from writing the same files.
    overlaps
        Files of other runs that it will overwrite.
    """

    journal: Journal
    lease: Lease
    overlaps: Sequence[Overlap]

    def mark_replaced(self) -> None:
        """Record in the journals of other runs what is about to be overwritten; raises OutputError."""
        for overlap in self.overlaps:
            mark_replaced(
                overlap.journal,
                (record.job for record in overlap.records),
                is_synced=self.journal.is_synced,
            )


@contextmanager
def opened_run(
    task: Task, waiting: Callable[[Holder, float], None], *, overwrite: bool, is_synced: bool
) -> Iterator[OpenedRun]:
    """Hold the output folder for writing the files of a task within the block.

    Parameters
    ----------
    task
        The task.
    waiting
        See `Lease.hold`.
    overwrite
        Whether files of other runs may be overwritten.
    is_synced
        Whether lines of the journal are synced to the disk.

    Raises
    ------
    OutputError
        The journal cannot be written, another active run writes the same files, the list was begun in
        another number of parts, or files of other runs would be overwritten.
    """
    header = task.header
    with naming(journal_path(task.root, header.fingerprint, header.shard)):
        make_folder(task.root, is_synced=is_synced)
    with (
        leased(task.root, claim_of(header, task.part.claimed), waiting) as lease,
        Journal(task.root, header, is_synced=is_synced) as journal,
    ):
        refuse_other_counts(task.root, header)
        overlaps = find_overlaps(task.root, header, lease.claim.stems)
        if not overwrite:
            refuse_overlaps(overlaps, header)
        yield OpenedRun(journal, lease, overlaps)


def find_missing(
    task: Task, journal: Journal, rows_done: NDArray[np.bool_] | None, *, retry_failed: bool
) -> NDArray[np.bool_]:
    """Return which jobs are left to do, by number minus that of the first.

    A job is done again if one of its files, or its row of the database, is missing or empty; the journal's
    ``states`` then mark it as missing.

    Parameters
    ----------
    task
        The task.
    journal
        Its journal.
    rows_done
        Which rows of the database contain a map; None: there is no database.
    retry_failed
        Whether to include failed jobs.
    """
    states = journal.states
    if rows_done is not None:
        states[(states == DONE) & ~rows_done] = MISSING
    made = states == DONE
    gone = absent_files(task, made)
    states[gone] = MISSING
    return np.asarray((states == MISSING) | (retry_failed & (states == FAILED)))


def absent_files(task: Task, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of some jobs of a task lack a file, by number minus that of the first, (jobs,)."""
    gone = np.zeros_like(among)
    if task.kinds and among.any():
        gone[among] = absent(task.stems_where(among), task.kinds)
    return gone


@dataclass(frozen=True)
class LostFiles:
    """Maps of this run that were written, but are gone.

    Attributes
    ----------
    count
        Number of such maps.
    made
        Number of maps that the run has made.
    example
        One of their files.
    """

    count: int
    made: int
    example: str = ""

    def __str__(self) -> str:
        """Return the error message; empty if there are none."""
        if not self.count:
            return ""
        return (
            f"{self.example}: files of {counted(self.count, 'map')}, of {self.made} that this run has made, "
            "are gone: they were removed during the run; run the same command again to restore them"
        )


def lost_files(task: Task, journal: Journal, missing: NDArray[np.bool_]) -> LostFiles:
    """Return the lost files of maps that were ``missing`` when the run began, and have been made since."""
    made = missing & (journal.states == DONE)
    gone = absent_files(task, made)
    count, example = int(np.count_nonzero(gone)), ""
    if count:
        job = task.work[task.header.first + int(np.argmax(gone))]
        paths = paths_of(str(job.stem), task.kinds)
        example = next((path for path in paths if not Path(path).exists()), paths[0])
    return LostFiles(count, int(np.count_nonzero(made)), example)


@contextmanager
def naming_lost_files(task: Task, journal: Journal, missing: NDArray[np.bool_]) -> Iterator[None]:
    """Add the lost files to an OutputError that ends the run."""
    try:
        yield
    except OutputError as error:
        lost = str(lost_files(task, journal, missing))
        raise OutputError(f"{error}\n{lost}" if lost else str(error)) from error


def remove_leftovers(task: Task, missing: NDArray[np.bool_]) -> None:
    """Remove half-written files of the remaining jobs, left by a killed process.

    No other process writes their files: this run holds the lease.
    """
    suffixes = [suffix_of(kind) for kind in task.kinds]
    names: dict[Path, set[str]] = {}
    for job in itertools.islice(task.jobs_where(missing), _MOST_UNDER_WAY):
        if job.stem is not None:
            stem = Path(job.stem)
            names.setdefault(stem.parent, set()).update(stem.name + suffix for suffix in suffixes)
    for folder, wanted in names.items():
        for path, name in interrupted_writes(folder):
            if name in wanted:
                path.unlink(missing_ok=True)
