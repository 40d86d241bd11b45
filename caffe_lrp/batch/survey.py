"""Checks of a list before its first image is read, in one pass.

No jobs are made for this, and only a few bytes are kept per line: a list may have a million lines.
"""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, FileListError
from caffe_lrp.messages import MOST_LISTED, listed

from .claim import digest_of
from .job import WorkList


@dataclass(frozen=True, eq=False)
class Survey:
    """The result of one pass over some lines of a list.

    Attributes
    ----------
    names
        (jobs,): for every job `hash_of` its normalized stem, relative to the output root; 0 if it has none.
    has_name
        (lines,): whether the jobs of a line have a stem, as far as its path determines it.
    is_readable
        (lines,): whether its image is not known to be unreadable.
    is_other_image
        (lines,): whether its image differs from that of the line before.
    has_path_root
        Whether any path contains ``path_root`` of the output paths.
    jobs_per_line
        Number of jobs per line.
    """

    names: NDArray[np.uint64]
    has_name: NDArray[np.bool_]
    is_readable: NDArray[np.bool_]
    is_other_image: NDArray[np.bool_]
    has_path_root: bool
    jobs_per_line: int

    def of_lines(self, lines: range) -> "Survey":
        """Return the survey of some lines, counted from 0."""
        part, each = slice(lines.start, lines.stop), self.jobs_per_line
        return replace(
            self,
            names=self.names[lines.start * each : lines.stop * each],
            has_name=self.has_name[part],
            is_readable=self.is_readable[part],
            is_other_image=self.is_other_image[part],
        )

    @property
    def image_count(self) -> int:
        """Number of images; one listed several times in a row counts once."""
        return int(np.count_nonzero(self.is_other_image[1:])) + bool(len(self.is_other_image))

    @cached_property
    def has_clashes(self) -> bool:
        """Whether two jobs write the same files."""
        return bool(len(self.clashing_lines))

    @property
    def clashing_lines(self) -> NDArray[np.int64]:
        """Return the lines with files named like another line's, rarely more; counted from 0, in order."""
        placed = self._names_of(self.has_name)
        ordered = np.sort(placed)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(twice):
            return np.empty(0, np.int64)
        numbers = np.flatnonzero(np.repeat(self.has_name, self.jobs_per_line))
        return np.unique(numbers[np.isin(placed, twice)] // self.jobs_per_line)

    @property
    def claimed(self) -> NDArray[np.uint64]:
        """Hashes of the stems of all jobs that have one."""
        return self._names_of(self.has_name & self.is_readable)

    def _names_of(self, lines: NDArray[np.bool_]) -> NDArray[np.uint64]:
        return self.names if lines.all() else self.names[np.repeat(lines, self.jobs_per_line)]


def survey_of(work: WorkList) -> Survey:
    """Return the survey of a list, made in one pass over its lines."""
    paths, faults, suffixes_of = work.output_paths, work.faults, work.suffixing()
    names, has_name, is_readable, is_other_image = bytearray(), bytearray(), bytearray(), bytearray()
    nameless = bytes(8 * work.jobs_per_entry)
    has_path_root, before = False, ""
    for path, inside, target in work.outlines(range(len(work.entries))):
        image = paths.image_of(path, inside)
        is_other_image.append(image != before and _differ(image, before))
        before = image
        part = paths.part_of(path, inside)
        place = paths.place_of(part)
        has_path_root = has_path_root or part is not None
        has_name.append(place is not None)
        is_readable.append(inside not in faults)
        if place is None:
            names += nameless
        else:
            for suffix in suffixes_of(target):
                names += digest_of(f"{place}{suffix}")
    return Survey(
        np.frombuffer(names, "<u8"),
        np.frombuffer(has_name, np.bool_),
        np.frombuffer(is_readable, np.bool_),
        np.frombuffer(is_other_image, np.bool_),
        has_path_root,
        work.jobs_per_entry,
    )


def _differ(one: str, other: str) -> bool:
    """Return whether two strings are different paths."""
    return (_is_plain(one) and _is_plain(other)) or Path(one) != Path(other)


def _is_plain(path: str) -> bool:
    """Return whether a path is obviously normalized; False can mean either."""
    return bool(path) and not ("//" in path or "/." in path or path[-1] == "/" or path[:2] == "./")


def refuse_other_paths(work: WorkList, survey: Survey) -> None:
    """Refuse a list in which no path contains ``path_root`` of the output paths.

    Raises
    ------
    ConfigError
        No path contains it.
    """
    if len(work.entries) and not survey.has_path_root:
        raise ConfigError(
            f"no path in the list contains '{work.output_paths.path_root}', the string where output paths "
            "begin; set standalone_rootpath to a string that all of them contain, such as the name of a "
            "folder",
            setting="path_root",
        )


def refuse_clashes(work: WorkList, survey: Survey, source: str) -> None:
    """Refuse a list, read from ``source``, in which two lines would write the same files.

    Raises
    ------
    FileListError
        Two lines would; the error names them.
    """
    first_line: dict[str, int] = {}
    clashes, count = [], 0
    for line in survey.clashing_lines.tolist():
        for job in work.jobs_of(line):
            if job.stem is None:
                continue
            other = first_line.setdefault(os.path.normpath(job.stem), job.line)
            if other != job.line:
                count += 1
                if count <= MOST_LISTED:
                    clashes.append(f"lines {other} and {job.line}: {job.stem}")
    if clashes:
        way_out = "remove the duplicate lines"
        if not work.output_paths.names_have_targets:
            way_out += ", or use --suffix-target to put formula and class into the names of the files"
        raise FileListError(
            f"{source}: several lines would write the same files; {way_out}:\n"
            f"{listed(clashes, more=count - len(clashes))}"
        )
