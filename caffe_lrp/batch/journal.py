"""The journal of a run: the outcome of every job, on disk as soon as its files are.

A journal is in the output root, one for every fingerprint and shard. Its first line describes the run,
each other line gives the outcome of one job. Lines are only appended; if there are several for one job, the
last one counts. A line that was cut off because the process was killed is ignored.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import OutputError
from caffe_lrp.files.atomic import sync_open, sync_path, why_unwritable
from caffe_lrp.files.reading import open_own
from caffe_lrp.relevance.composite import name_of

from .job import HeatmapJob, JobOutcome, Prediction
from .records import (
    DONE,
    FAILED,
    LONGEST_JOURNAL_LINE,
    MISSING,
    REPLACED,
    STATES,
    Header,
    JournalReader,
    find_journals,
    identity_of,
    journal_path,
)

_NO_JOURNAL = "is not a journal of this run, or is damaged; move or rename it"


class Journal:
    """The journal of this run, open for adding lines; a context manager.

    No other process may write it at the same time: see `lease`. A run that fails before its first outcome
    leaves no journal.

    Parameters
    ----------
    root
        Output root, made if missing.
    header
        Describes the run; already in the file if the run is continued.
    is_synced
        Whether added lines are synced to the disk.

    Attributes
    ----------
    states
        State of every job of the shard, by its number minus that of the first.
    passed_over
        Number of damaged lines from an earlier run.

    Raises
    ------
    OutputError
        The file cannot be written, or is not a journal of this run.
    """

    def __init__(self, root: Path, header: Header, *, is_synced: bool = True) -> None:
        self.path = journal_path(root, header.fingerprint, header.shard)
        self._root, self.header, self.is_synced = root, header, is_synced
        self.states: NDArray[np.uint8] = np.full(header.last - header.first, MISSING, np.uint8)
        self.passed_over, self._says_nothing = 0, True
        with naming(self.path):
            self._file = open_own(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            with naming(self.path):
                self._begin()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
        os.close(self._file)

    def record(self, outcomes: Iterable[JobOutcome]) -> None:
        """Append the outcomes of jobs.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        noted = list(outcomes)
        now = round(time.time(), 3)
        with naming(self.path):
            self._says_nothing = False
            self._write(b"".join(map(_line, (self._fields(outcome, now) for outcome in noted))))
        for outcome in noted:
            self.states[outcome.job.number - self.header.first] = DONE if outcome.is_done else FAILED

    def count(self, state: int) -> int:
        """Return the number of jobs in a state."""
        return int(np.count_nonzero(self.states == state))

    def _fields(self, outcome: JobOutcome, now: float) -> dict[str, Any]:
        """Return the fields of a job's line."""
        job = outcome.job
        fields: dict[str, Any] = {
            "job": job.number,
            "status": "done" if outcome.is_done else "failed",
            "line": job.line,
            "image": str(job.image),
            "formula": name_of(job.formula),
            "target": job.target.label,
            "seconds": round(outcome.times.total, 4),
            "time": now,
        }
        if job.stem is not None:
            fields["stem"] = relative_stem(self._root, job)
        if outcome.error:
            fields["error"] = outcome.error
        if outcome.darkness:
            fields["dark"] = outcome.darkness.cause.value
        if outcome.is_done and outcome.prediction:
            fields.update(_fields_of(outcome.prediction))
        return fields

    def _discard(self) -> None:
        """Remove the file if it has only a header, as after a refused run."""
        with contextlib.suppress(OSError):  # the folder may be gone
            if self._says_nothing and os.path.samestat(self.path.lstat(), os.fstat(self._file)):
                self.path.unlink()

    def _begin(self) -> None:
        """Write the first line, or read the existing lines and prepare to continue."""
        size = os.fstat(self._file).st_size
        if size == 0 or self._is_beginning(size):
            os.ftruncate(self._file, 0)
            self._write(self.header.line)
            if self.is_synced:
                sync_path(self._root)
            return
        with JournalReader(self.path) as reader:
            # Everything else follows from the fingerprint, which is the same in the file's name.
            bounds = reader.header and (reader.header.first, reader.header.last, reader.header.jobs)
            if bounds != (self.header.first, self.header.last, self.header.jobs):
                raise OutputError(f"{self.path}: {_NO_JOURNAL}")
            for record in reader.records():
                self._says_nothing = False
                self.states[record.job - self.header.first] = STATES[record.status]
            self.passed_over = reader.passed_over
            self._says_nothing &= not self.passed_over
            if reader.is_whole:
                os.ftruncate(self._file, reader.end)  # the rest is a line that was cut off
            else:
                self._write(b"\n")
        self.states[self.states == REPLACED] = MISSING

    def _is_beginning(self, size: int) -> bool:
        """Return whether the file is the remainder of a first line whose writing was interrupted."""
        content = os.pread(self._file, LONGEST_JOURNAL_LINE, 0) if size < LONGEST_JOURNAL_LINE else b"\n"
        if b"\n" in content:
            return False
        own = self.header.beginning
        return own.startswith(content) or content.startswith(own) or not content.strip(b"\0")

    def _write(self, content: bytes) -> None:
        while content:  # a full disk reports an error only when the rest is written
            content = content[os.write(self._file, content) :]
        if self.is_synced:
            sync_open(self._file)


def _fields_of(prediction: Prediction) -> dict[str, Any]:
    """Return the fields of a prediction."""
    fields: dict[str, Any] = {"classes": prediction.classes}
    if math.isfinite(prediction.score):  # a class that is not ranked can have any score
        fields["score"] = _shortened(prediction.score)
    if prediction.rank is not None:
        fields["rank"] = prediction.rank
    return fields | {"best": [(index, _shortened(score)) for index, score in prediction.best]}


def _shortened(score: float) -> float:
    """Return a number rounded to nine digits, which are enough to restore any float32 exactly."""
    return float(f"{score:.9g}")


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn faults while writing the journal ``path`` into an OutputError that names it."""
    try:
        yield
    except OSError as fault:
        raise OutputError(f"{path}: the journal cannot be written: {why_unwritable(fault)}") from fault


def mark_replaced(path: Path, jobs: Iterable[int], *, is_synced: bool = True) -> None:
    """Note in the journal of another run that files of its jobs are about to be replaced.

    Raises
    ------
    OutputError
        The journal cannot be written.
    """
    lines = [_line({"job": job, "status": "replaced"}) for job in jobs]
    with naming(path):
        file = open_own(path, os.O_WRONLY | os.O_APPEND)
        try:
            with os.fdopen(file, "ab", closefd=False) as stream:
                stream.write(b"".join([b"\n", *lines]))  # the last line may be cut off
            if is_synced:
                sync_open(file)
        finally:
            os.close(file)


def relative_stem(root: Path, job: HeatmapJob) -> str:
    """Return a job's output path relative to the output root, however the root is written."""
    stem, beginning = str(job.stem), f"{root}/"
    # A stem has no other redundant parts, and relpath takes ten times as long.
    if stem.startswith(beginning) and "/.." not in stem:
        return stem[len(beginning) :]
    return os.path.relpath(stem, root)


def refuse_other_counts(root: Path, header: Header) -> None:
    """Refuse to split a list into another number of shards than before.

    Raises
    ------
    OutputError
        The list was split into another number; the error names the journal.
    """
    for path in find_journals(root):
        fingerprint, _, count = identity_of(path) or ("", 0, 0)
        if fingerprint == header.fingerprint and count != header.shard.count:
            raise OutputError(
                f"{path}: this list was started in {count} parts, and now has {header.shard.count}; "
                f"continue with --shard I/{count} (no --shard for 1 part), or choose another output folder"
            )
