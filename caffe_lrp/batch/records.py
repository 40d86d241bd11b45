"""The content of a journal, and its only reader.

A journal's first line describes the run, each other line gives the outcome of one job. Anyone who can write
to the output folder can change a journal, and a disk can damage it. So everything in it is checked: lines
that are not records of this run are skipped and counted, and overlong lines are never read whole.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from caffe_lrp.errors import OutputError
from caffe_lrp.files.reading import open_own, why_unreadable

from .shards import Shard

#: States of a job in `Journal.states`.
MISSING, DONE, FAILED = range(3)
#: Done, but another run has replaced the files; for the run itself this is `MISSING`.
REPLACED = 3
STATES = {"done": DONE, "failed": FAILED, "replaced": REPLACED}

_NAME = re.compile(r"caffe-lrp-([0-9a-f]+)-([0-9]{1,9})of([0-9]{1,9})\.jsonl")

#: Longer lines are damaged: a header contains all settings, a record one path and one message.
LONGEST_JOURNAL_LINE: Final = 2**20
#: After this many bytes without a record, the rest of a file is not read.
_LONGEST_DAMAGE = 4 * 2**20
_SHORTEST_RECORD = 64
#: No list has more jobs: its text has at most 1 GB, and a map takes a millisecond.
MOST_JOBS: Final = 2**32
_END_OF_INT64 = 2**63

_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Header:
    """The header of a journal.

    Attributes
    ----------
    fingerprint
        See `fingerprint`.
    shard
        The part of the list.
    jobs
        Number of jobs of the whole list.
    first, last
        The shard's jobs: from ``first`` up to, but not including, ``last``.
    outputs
        Kinds of files that are written.
    description
        What the fingerprint was made from, and further information for the reader.
    labels
        Absolute path of the file of class labels, where the run was started; empty if not recorded.
    preprocessing
        See `describe_preprocessing`; empty if not recorded. Like the description, it is not trusted, as
        anyone may have written it.
    """

    fingerprint: str
    shard: Shard
    jobs: int
    first: int
    last: int
    outputs: tuple[str, ...]
    description: Mapping[str, Any]
    labels: str = ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> bytes:
        """The first line of the journal."""
        more = {"labels": self.labels, "preprocessing": self.preprocessing}
        given = {name: value for name, value in more.items() if value}
        return json.dumps(self._identity | given).encode() + b"\n"

    @property
    def beginning(self) -> bytes:
        """The part of the first line that stays the same when the run is started again."""
        return json.dumps(self._identity).encode()[:-1]

    @property
    def _identity(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "shard": [self.shard.index, self.shard.count],
            "jobs": self.jobs,
            "range": [self.first, self.last],
            "outputs": list(self.outputs),
            "description": self.description,
        }


class Record(NamedTuple):
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
        Output path without the suffix, relative to the output root; empty if there is none.
    error
        Why it failed.
    seconds
        Time it took.
    time
        When it was recorded, in seconds since 1970.
    formula
        Code of the formula, as text; empty if not recorded.
    classes
        The classes explained, the best of them first; empty if not recorded.
    score
        Score of the first of them; None if not recorded.
    rank
        Its rank among the net's classes by score, from 1; None if it is not ranked, or not recorded.
    best
        The best classes and their scores, best first; empty if not recorded.
    """

    job: int
    status: str
    image: str = ""
    stem: str = ""
    error: str = ""
    seconds: float = 0.0
    time: float = 0.0
    formula: str = ""
    classes: tuple[int, ...] = ()
    score: float | None = None
    rank: int | None = None
    best: tuple[tuple[int, float], ...] = ()


def journal_path(root: Path, fingerprint: str, shard: Shard) -> Path:
    """Return the path of the journal of a run."""
    return root / f"caffe-lrp-{fingerprint}-{shard.label}.jsonl"


def identity_of(path: Path) -> tuple[str, int, int] | None:
    """Return fingerprint, shard and number of shards in the name of a journal; None for other names."""
    match = _NAME.fullmatch(path.name)
    return (match[1], int(match[2]), int(match[3])) if match else None


def find_journals(root: Path) -> list[Path]:
    """Return all journals in an output root; sorted and raising as `files_named`."""
    return files_named(root, _NAME)


def files_named(root: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Return all files in an output root with a matching name, sorted; none if there is no such folder.

    Raises
    ------
    OutputError
        The folder cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            names = [
                entry.name
                for entry in entries
                if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as fault:
        raise OutputError(f"{root}: the folder cannot be read: {why_unreadable(fault, root)}") from fault
    return [root / name for name in sorted(names)]


class JournalReader:
    """A journal, open for reading; a context manager.

    Attributes
    ----------
    header
        The header in its first line; None if there is none, or if it contradicts the name of the file.
    passed_over
        How many of the lines read so far are not records. A last line that was cut off, because a process was
        killed, does not count.
    end
        Where the last complete line read so far ends.
    is_whole
        Whether the file was read to its end, after reading the records.

    Raises
    ------
    OutputError
        The file cannot be read; also raised while reading records.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.passed_over, self.end, self.is_whole = 0, 0, False
        self._damage = 0  # bytes since the last record
        with _reading(path):
            self._file = os.fdopen(open_own(path), "rb")
        try:
            with _reading(path):
                self.header = _header(path, self._line() or b"")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "JournalReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def records(self) -> Iterator[Record]:
        """Yield the records of this run's jobs, in the order of writing; none without a header."""
        with _reading(self.path):
            while self.header is not None and (line := self._line()) is not None:
                record = _record(self.header, line)
                if record:
                    self._damage = 0
                    yield record
                else:
                    self._damage += max(len(line), _SHORTEST_RECORD)  # checking even a short line takes time
                    self.passed_over += bool(line.strip())

    def _line(self) -> bytes | None:
        """Return the next line, empty if it is too long; None at the end, or after too much damage."""
        if self._damage >= _LONGEST_DAMAGE:
            return None
        line = self._file.readline(LONGEST_JOURNAL_LINE)
        if line.endswith(b"\n"):
            self.end += len(line)
            return line
        if len(line) < LONGEST_JOURNAL_LINE:
            self.is_whole = True
            return None
        self.passed_over += 1
        length = 0
        while line and self._damage < _LONGEST_DAMAGE:
            length += len(line)
            self._damage += len(line)
            if line.endswith(b"\n"):
                self.end += length
                return b""
            line = self._file.readline(LONGEST_JOURNAL_LINE)
        return None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn faults while reading the journal ``path`` into an OutputError that names it."""
    try:
        yield
    except OSError as fault:
        raise OutputError(f"{path}: the journal cannot be read: {why_unreadable(fault, path)}") from fault


def json_fields(line: bytes) -> dict[str, Any]:
    """Return the JSON object in a line; empty if there is none. The line is not trusted."""
    try:
        text = line.decode().strip()
        fields, end = _DECODER.raw_decode(text)  # json.loads takes 1.5 times as long
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) and end == len(text) else {}


def _header(path: Path, line: bytes) -> Header | None:
    """Return the header in a first line; None if it is incomplete or does not match the file's name."""
    fields = json_fields(line)
    fingerprint, shard, count = identity_of(path) or ("", 0, 0)
    outputs, bounds, description = (fields.get(name) for name in ("outputs", "range", "description"))
    if not (isinstance(outputs, list) and isinstance(bounds, list) and isinstance(description, dict)):
        return None
    counts = (*bounds, fields.get("jobs"))
    is_sound = (
        fields.get("fingerprint") == fingerprint
        and fields.get("shard") == [shard, count]
        and shard < count
        and all(map(_is_text, outputs))
        and len(counts) == 3
        and all(map(_is_count, counts))
        and counts[0] <= counts[1] <= counts[2] <= MOST_JOBS
    )
    if not is_sound:
        return None
    first, last, jobs = counts
    labels, preprocessing = fields.get("labels"), fields.get("preprocessing")
    return Header(
        fingerprint,
        Shard(shard, count),
        jobs,
        first,
        last,
        tuple(outputs),
        description,
        labels if isinstance(labels, str) else "",
        preprocessing if isinstance(preprocessing, dict) else {},
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _count(value: object) -> int:
    if type(value) is not int:  # not a bool, either
        raise TypeError("is not a whole number")
    if not 0 <= value < _END_OF_INT64:
        raise ValueError("counts nothing")
    return value


def _rank(value: object) -> int:
    if _count(value) == 0:
        raise ValueError("comes before the first")
    return _count(value)


def _number(value: object) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and abs(value) < MOST_JOBS:
        return value
    raise ValueError("is not a number, or is too large")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("is not a text")
    return value


def _formula(value: object) -> str:
    return str(_count(value)) if isinstance(value, int) else _text(value)


def _status(value: object) -> str:
    if _text(value) not in STATES:
        raise ValueError("is not a job state")
    return str(value)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("is not a list")
    return value


#: Field of a record -> its parser, which raises TypeError or ValueError for an invalid value.
_READ: Mapping[str, Callable[[Any], Any]] = {
    "job": _count,
    "status": _status,
    "image": _text,
    "stem": _text,
    "error": _text,
    "seconds": _number,
    "time": _number,
    "classes": lambda value: tuple([_count(index) for index in _list(value)]),
    "score": _number,
    "formula": _formula,
    "rank": _rank,
    "best": lambda value: tuple([(_count(index), _number(score)) for index, score in _list(value)]),
}


def _record(header: Header, line: bytes) -> Record | None:
    """Return the record in a line; None if it is not one of this run."""
    fields = json_fields(line)
    try:
        known = {name: _READ[name](value) for name, value in fields.items() if name in _READ}
    except (TypeError, ValueError):
        return None
    if "status" not in known or not header.first <= known.get("job", -1) < header.last:
        return None
    return Record(**known)
