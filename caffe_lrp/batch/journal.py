"""The journal of a run: what became of every job, on disk as soon as its files are.

A journal lies in the output root, one for every fingerprint and shard. Its first line says what the run is,
each other line what became of one job. Lines are only ever added; of several about one job the last one
counts. A line that was cut off, because the process was killed, counts as if it were not there.
"""

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import OutputError
from caffe_lrp.files import why_unreadable
from caffe_lrp.outputs.atomic import why_unwritable
from caffe_lrp.shards import Shard

from .job import HeatmapJob, JobOutcome

#: States of a job, as `Journal.states` holds them.
MISSING, DONE, FAILED = range(3)
#: Done, but the files are now those of another run; for the run itself this is `MISSING`.
REPLACED = 3
STATES = {"done": DONE, "failed": FAILED, "replaced": REPLACED}

_NAME = re.compile(r"caffe-lrp-([0-9a-f]+)-([0-9]+)of([0-9]+)\.jsonl")

#: How long a lock is waited for.
_TRIES, _SECONDS_BETWEEN_TRIES = 10, 0.1


@dataclass(frozen=True)
class Header:
    """What a journal says of its run.

    Attributes
    ----------
    fingerprint
        See `fingerprint`.
    shard
        Which part of the list.
    jobs
        Jobs of the whole list.
    first, last
        The shard's jobs: from ``first`` to before ``last``.
    outputs
        Kinds of files that are written.
    description
        What the fingerprint was made of, and what people may want to know besides.
    """

    fingerprint: str
    shard: Shard
    jobs: int
    first: int
    last: int
    outputs: tuple[str, ...]
    description: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a journal.

    Attributes
    ----------
    job
        Number of the job in the whole list.
    status
        ``done``, ``failed``, or ``replaced`` by another run's files.
    image
        Path of the image.
    stem
        Output path up to the suffix, from the output root on; empty if there is none.
    error
        Why it failed.
    seconds
        How long it took.
    time
        When, in seconds since 1970.
    """

    job: int
    status: str
    image: str = ""
    stem: str = ""
    error: str = ""
    seconds: float = 0.0
    time: float = 0.0


def journal_path(root: Path, fingerprint: str, shard: Shard) -> Path:
    """Where the journal of a run lies."""
    return root / f"caffe-lrp-{fingerprint}-{shard.label}.jsonl"


def find_journals(root: Path) -> list[Path]:
    """All journals in an output root, in order of their names; none if there is no such folder.

    Raises
    ------
    OutputError
        The folder cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as fault:
        raise OutputError(f"{root}: the folder cannot be read: {why_unreadable(fault, root)}") from fault
    return [root / name for name in sorted(names)]


def read_header(path: Path) -> Header | None:
    """The first line of a journal; None if it has none yet, or is no journal.

    Raises
    ------
    OutputError
        The file cannot be read; this holds for all that read journals.
    """
    with _reading(path) as file:
        fields = _parsed(file.readline())
    try:
        shard = Shard(*fields["shard"])
        first, last = fields["range"]
        outputs = tuple(fields["outputs"])
        return Header(
            fields["fingerprint"], shard, fields["jobs"], first, last, outputs, fields["description"]
        )
    except (KeyError, TypeError, ValueError):
        return None


def read_records(path: Path) -> Iterator[Record]:
    """The lines of a journal about jobs, in the order of writing."""
    with _reading(path) as file:
        file.readline()
        for line in file:
            fields = _parsed(line)
            if isinstance(fields.get("job"), int) and fields.get("status") in STATES:
                yield Record(**{name: fields[name] for name in Record.__slots__ if name in fields})


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """The journal ``path``, open; OutputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as fault:
        raise OutputError(f"{path}: the journal cannot be read: {why_unreadable(fault, path)}") from fault


def _parsed(line: bytes) -> dict[str, Any]:
    """The fields of a line; none if it was cut off."""
    if not line.endswith(b"\n"):
        return {}
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


class Journal:
    """The journal of this run, open for adding lines; a context manager.

    Nobody else may write it at the same time. A run that fails before anything came out leaves none.

    Parameters
    ----------
    root
        Output root, made if missing.
    header
        What the run is; stands in the file already if the run is continued.

    Raises
    ------
    OutputError
        The file cannot be written, or another process is writing it.
    """

    def __init__(self, root: Path, header: Header) -> None:
        self.path = journal_path(root, header.fingerprint, header.shard)
        self._root, self.header = root, header
        with naming(self.path):
            root.mkdir(parents=True, exist_ok=True)
        #: Whether another process that is at the same run would be noticed.
        self._file, self.is_locked = self._opened()
        try:
            with naming(self.path):
                self._begin()
        except BaseException:
            os.close(self._file)
            raise
        #: State of every job of the shard, by its number less the first.
        self.states = self._read_states()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
        os.close(self._file)

    def record(self, outcome: JobOutcome) -> None:
        """Add what became of a job.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        job = outcome.job
        fields: dict[str, Any] = {
            "job": job.number,
            "status": "done" if outcome.is_done else "failed",
            "line": job.line,
            "image": str(job.image),
            "formula": job.formula,
            "target": job.target.label,
            "seconds": round(outcome.times.total, 4),
            "time": round(time.time(), 3),
        }
        if job.stem is not None:
            fields["stem"] = relative_stem(self._root, job)
        if outcome.error:
            fields["error"] = outcome.error
        if outcome.darkness:
            fields["dark"] = outcome.darkness.cause.value
        self._add(fields)
        self.states[job.number - self.header.first] = DONE if outcome.is_done else FAILED

    def count(self, state: int) -> int:
        """How many jobs are in a state."""
        return int(np.count_nonzero(self.states == state))

    def _discard(self) -> None:
        """Remove the file if it says nothing but what it is, as that of a run that is refused."""
        if next(read_records(self.path), None) is None:
            self.path.unlink()

    def _opened(self) -> tuple[int, bool]:
        """The file, and whether it is locked: where its file system has no locks, it is not."""
        for _ in range(_TRIES):
            with naming(self.path):
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
                # A run that failed may just have removed its journal: then this is no file of that name.
                lock = _lock(file, fcntl.LOCK_EX)
                if lock is not _Lock.TAKEN and os.fstat(file).st_nlink:
                    return file, lock is _Lock.OURS
                os.close(file)
            time.sleep(_SECONDS_BETWEEN_TRIES)  # somebody may just be asking whether we run
        raise OutputError(f"{self.path}: another process is at this very run; wait for it, or end it")

    def _begin(self) -> None:
        """Write the first line, or end one that was cut off."""
        size = os.fstat(self._file).st_size
        if size and read_header(self.path) is None:
            os.ftruncate(self._file, 0)
            size = 0
        if not size:
            header = self.header
            self._write(
                {
                    "fingerprint": header.fingerprint,
                    "shard": [header.shard.index, header.shard.count],
                    "jobs": header.jobs,
                    "range": [header.first, header.last],
                    "outputs": list(header.outputs),
                    "description": header.description,
                }
            )
        elif os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def _read_states(self) -> NDArray[np.uint8]:
        states = np.full(self.header.last - self.header.first, MISSING, np.uint8)
        for record in read_records(self.path):
            place = record.job - self.header.first
            if 0 <= place < len(states):
                states[place] = STATES[record.status]
        states[states == REPLACED] = MISSING
        return states

    def _add(self, fields: Mapping[str, Any]) -> None:
        with naming(self.path):
            self._write(fields)

    def _write(self, fields: Mapping[str, Any]) -> None:
        line = json.dumps(fields).encode() + b"\n"
        written = os.write(self._file, line)
        if written < len(line):  # the disk is full, and says so only when asked for the rest
            os.write(self._file, line[written:])


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make faults of writing the journal ``path`` an OutputError that names it."""
    try:
        yield
    except OSError as fault:
        raise OutputError(f"{path}: the journal cannot be written: {why_unwritable(fault)}") from fault


class _Lock(Enum):
    """What became of an attempt to lock a file."""

    OURS = auto()
    TAKEN = auto()
    UNKNOWN = auto()


def _lock(file: int, how: int) -> _Lock:
    """Lock an open file, unless another process has.

    File systems without locks say so with errors of many kinds; there nobody can tell who has a file.
    """
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return _Lock.TAKEN
    except OSError:
        return _Lock.UNKNOWN
    return _Lock.OURS


def is_being_written(path: Path) -> bool:
    """Whether a process has the journal open for writing."""
    with _reading(path) as file:
        return _lock(file.fileno(), fcntl.LOCK_SH) is _Lock.TAKEN


def relative_stem(root: Path, job: HeatmapJob) -> str:
    """A job's output path from the output root on, however the root is written."""
    return os.path.relpath(str(job.stem), root)


def refuse_other_counts(root: Path, header: Header) -> None:
    """Refuse to deal a list out to another number of shards than before.

    Raises
    ------
    OutputError
        Names the journal that tells.
    """
    for path in find_journals(root):
        match = _NAME.fullmatch(path.name)
        if match and match[1] == header.fingerprint and int(match[3]) != header.shard.count:
            raise OutputError(
                f"{path}: this list was begun in {match[3]} parts, and now has {header.shard.count}; go on "
                f"with --shard I/{match[3]} (no --shard for 1 part), or choose another output folder"
            )
