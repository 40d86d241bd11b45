"""Which jobs are left of a list that may have been begun before."""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import OutputError
from caffe_lrp.outputs.atomic import interrupted_writes, replace_file, why_unwritable
from caffe_lrp.outputs.writers import file_kinds, output_of
from caffe_lrp.shards import Shard

from .fingerprint import fingerprint_of
from .job import HeatmapJob, WorkList
from .journal import DONE, FAILED, MISSING, Header, Journal, refuse_other_counts, relative_stem
from .overlaps import Overlap, find_overlaps, refuse_overlaps, refuse_running
from .progress import Progress

#: More jobs than are ever under way at a time.
_MOST_UNDER_WAY = 10_000


@dataclass(frozen=True)
class Task:
    """A list, and the part of it that this run is to do.

    Attributes
    ----------
    work
        All jobs of the list.
    shard
        Which part.
    outputs
        What is written: kinds of files, and the database if there is one, by the names people give them.
    root
        Output root, where the journal lies.
    description
        What decides on the files, see `fingerprint.describe_run`.
    """

    work: WorkList
    shard: Shard
    outputs: tuple[str, ...]
    root: Path
    description: Mapping[str, Any]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Files that are written for every job, in the order of writing."""
        return file_kinds(self.outputs)

    @property
    def lines(self) -> range:
        """Which lines of the list, counted from 0."""
        return self.shard.part_of(len(self.work.entries))

    @property
    def size(self) -> int:
        """Number of jobs of this part."""
        return len(self.lines) * self.work.jobs_per_entry

    def jobs(self) -> Iterator[HeatmapJob]:
        """The jobs of this part."""
        return self.work.jobs_between(self.lines.start, self.lines.stop)

    @cached_property
    def description_text(self) -> str:
        """The description as one line of JSON."""
        return json.dumps(self.description, sort_keys=True)

    @cached_property
    def header(self) -> Header:
        """What the journal begins with."""
        each = self.work.jobs_per_entry
        return Header(
            fingerprint_of(self.description),
            self.shard,
            len(self.work),
            self.lines.start * each,
            self.lines.stop * each,
            self.outputs,
            self.description,
        )


def open_journal(task: Task, *, overwrite: bool) -> tuple[Journal, list[Overlap]]:
    """The journal of a task, and what of other runs it will overwrite, for `mark_replaced`.

    Parameters
    ----------
    task
        The task.
    overwrite
        Whether files of other runs may be overwritten.

    Raises
    ------
    OutputError
        The journal cannot be written or is in use, the list was begun in another number of parts, or files
        of other runs would be overwritten.
    """
    header = task.header
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(task.root, header))
        refuse_other_counts(task.root, header)
        stems = (relative_stem(task.root, job) for job in task.jobs() if job.stem is not None)
        overlaps = find_overlaps(task.root, header, stems)
        if not overwrite:
            refuse_overlaps(overlaps, header)
        refuse_running(overlaps)
        stack.pop_all()
    return journal, overlaps


def find_missing(
    task: Task, journal: Journal, rows_done: NDArray[np.bool_] | None, *, retry_failed: bool
) -> NDArray[np.bool_]:
    """Which jobs are left to do, by their number less the first.

    A job whose last file has vanished, or whose row of the database is empty, is done again; the journal's
    ``states`` then say that it is missing.

    Parameters
    ----------
    task
        The task.
    journal
        Its journal.
    rows_done
        Which rows of the database hold a map; None: there is no database.
    retry_failed
        Whether jobs that have failed are among them.
    """
    states = journal.states
    if rows_done is not None:
        states[(states == DONE) & ~rows_done] = MISSING
    if task.kinds and (states == DONE).any():
        suffix, first = output_of(task.kinds[-1]).suffix, journal.header.first
        for job in task.jobs():
            place = job.number - first
            if states[place] == DONE and not Path(f"{job.stem}{suffix}").is_file():
                states[place] = MISSING
    return np.asarray((states == MISSING) | (retry_failed & (states == FAILED)))


def remove_leftovers(task: Task, missing: NDArray[np.bool_]) -> None:
    """Remove what a killed process left half written of the jobs that come next.

    Nobody else writes their files: whoever holds the journal of this part does.
    """
    suffixes = [output_of(kind).suffix for kind in task.kinds]
    names: dict[Path, set[str]] = {}
    for job in itertools.islice(jobs_left(task, missing), _MOST_UNDER_WAY):
        if job.stem is not None:
            stem = Path(job.stem)
            names.setdefault(stem.parent, set()).update(stem.name + suffix for suffix in suffixes)
    for folder, wanted in names.items():
        for path, name in interrupted_writes(folder):
            if name in wanted:
                path.unlink(missing_ok=True)


def jobs_left(task: Task, missing: NDArray[np.bool_]) -> Iterator[HeatmapJob]:
    """The jobs of a task that `find_missing` found."""
    first = task.header.first
    return (job for job in task.jobs() if missing[job.number - first])


def write_summary(task: Task, journal: Journal, progress: Progress, extra: Mapping[str, Any]) -> Path:
    """Put what the run did into a file of the output root; its path.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    name = "summary.json" if task.shard.count == 1 else f"summary-{task.shard.label}.json"
    path = task.root / name
    content = {
        "fingerprint": journal.header.fingerprint,
        "shard": [task.shard.index, task.shard.count],
        "maps": len(journal.states),
        "done": journal.count(DONE),
        "failed": journal.count(FAILED),
        "missing": journal.count(MISSING),
        "this_run": {
            "done": progress.done,
            "failed": progress.failed,
            "seconds": round(progress.seconds, 3),
            "maps_per_second": round(progress.per_second, 3),
            "seconds_in_stages": {stage: round(value, 3) for stage, value in progress.stages.items()},
            "slowest_stage": progress.slowest_stage,
            "dark": {cause.value: count for cause, count in progress.dark.items()},
        },
        **extra,
        "description": dict(task.description),
    }
    try:
        replace_file(path, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written: {why_unwritable(fault)}") from fault
    return path
