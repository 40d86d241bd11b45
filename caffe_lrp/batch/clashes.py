"""Lines of a list that would write the same files, found without making their jobs."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import FileListError
from caffe_lrp.messages import MOST_LISTED, listed
from caffe_lrp.relevance.target import Target

from .job import WorkList

#: Different targets of which the endings of names are remembered.
_MOST_TARGETS = 10_000


def has_clashes(jobs: WorkList, lines: range) -> bool:
    """Whether two jobs of some lines, counted from 0, write the same files."""
    return bool(len(_repeated(_keys(jobs, lines))))


def refuse_clashes(jobs: WorkList, source: Path | str, *, names_have_targets: bool) -> None:
    """Refuse a list in which two lines would write the same files.

    Raises
    ------
    FileListError
        Names the lines.
    """
    places = _repeated(_keys(jobs, range(len(jobs.entries))))
    first_line: dict[str, int] = {}
    clashes, count = [], 0
    for place in np.unique(places // jobs.jobs_per_entry).tolist():
        for job in jobs.jobs_of(place):
            if job.stem is None:
                continue
            other = first_line.setdefault(os.path.normpath(job.stem), job.line)
            if other != job.line:
                count += 1
                if count <= MOST_LISTED:
                    clashes.append(f"lines {other} and {job.line}: {job.stem}")
    if clashes:
        way_out = "remove the repeated lines"
        if not names_have_targets:
            way_out += ", or use --suffix-target to put formula and class into the names of the files"
        raise FileListError(
            f"{source}: several lines would write the same files; {way_out}:\n"
            f"{listed(clashes, more=count - len(clashes))}"
        )


def _keys(jobs: WorkList, lines: range) -> Iterator[int]:
    """A number for every job of some lines: the same for those that write the same files, seldom else.

    A job that writes none has its own number.
    """
    layout, ranks = jobs.layout, jobs.ranks
    suffixes: dict[Target, tuple[str, ...]] = {}
    for number, (path, inside, target) in enumerate(jobs.outlines(lines)):
        place = layout.place_of(path, inside)
        if target not in suffixes:
            if len(suffixes) == _MOST_TARGETS:
                suffixes.clear()
            suffixes[target] = layout.suffixes(jobs.formulas, ranks or (target,))
        for rank, suffix in enumerate(suffixes[target]):
            yield number * jobs.jobs_per_entry + rank if place is None else hash(f"{place}{suffix}")


def _repeated(keys: Iterator[int]) -> NDArray[np.int64]:
    """The places of keys that occur more than once; 8 bytes and some for each, for lists of any length."""
    found = np.fromiter(keys, np.int64)
    ordered = np.sort(found)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(found, twice)) if len(twice) else np.empty(0, np.int64)
