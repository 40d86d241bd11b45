"""The list of images and classes to explain (manual: toolbox, "List of images").

Lines are checked when the list is read, and parsed again on access, so a list of a million lines takes
little more memory than its text.
"""

import hashlib
import itertools
import re
import sys
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import overload

from caffe_lrp.errors import FileListError
from caffe_lrp.files.imagefile import ArchiveMember
from caffe_lrp.files.reading import read_bounded, read_small_file
from caffe_lrp.files.recognition import why_no_text
from caffe_lrp.messages import MOST_LISTED, listed
from caffe_lrp.relevance.target import Target

_SHORTEST_LINE = 3
_MOST_MEGABYTES = 1024
#: Maximum length in bytes of a line with an image; no path has more than 4,096.
LONGEST_LIST_LINE = 65_536
#: Bytes of plain lines that are matched together.
_BLOCK = 65_536
_WHAT = "list of images"

#: Name of standard input, instead of a file.
STANDARD_INPUT = "-"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: Only ASCII whitespace separates, as in the reference; other whitespace belongs to the path. A class of
#: 18 digits fits into 64 bits.
_BLANKS = " \t\r\v\f"
_BLANK, _OTHER = r"[ \t\r\v\f]", r"[^ \t\r\v\f]"
_CODE = rf"(?P<code>[+-]?[0-9]{{1,18}}){_BLANK}*"
#: Forms of a line, in the order of trying. A line that looks quoted or separated by a tab, but is not well
#: formed, may still be a plain line, in which quotes and tabs have no meaning.
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf'{_BLANK}*"(?P<path>[^"]*(?:""[^"]*)*)"{_BLANK}+{_CODE}',
        rf"{_BLANK}*'(?P<path>[^']*(?:''[^']*)*)'{_BLANK}+{_CODE}",
        rf"{_BLANK}*(?P<path>{_OTHER}+){_BLANK}+{_CODE}",
        rf"{_BLANK}*(?P<path>{_OTHER}(?:[^\t]*{_OTHER})?)[ \r\v\f]*\t{_BLANK}*{_CODE}",
    )
)
#: Lines that can only be plain, with their ends: nearly all lines of most lists, matched together.
_PLAIN = re.compile(
    rb"(?:[ \t\r\v\f]*[^ \t\r\v\f\n\"'#][^ \t\r\v\f\n]*[ \t\r\v\f]+[+-]?[0-9]{1,18}[ \t\r\v\f]*\n)+"
)
_NO_BLANK = re.compile(rb"[^ \t\r\v\f]")
#: A line found in every config file, but in no list.
_CONFIG_KEY = re.compile(rb"^[ \t]*param_file\s*$", re.MULTILINE)


#: What determines an image's output path: its path, its path inside a folder or archive, and the target.
Outline = tuple[str, str, Target]


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One image to explain.

    Attributes
    ----------
    line
        Line of the list, or number of the image in a folder or archive, from 1.
    path
        Path as written in the list, or relative to the working directory; for an image in an archive, the
        path of the archive and the name in it.
    target
        The target of the image.
    inside
        Path inside a folder or archive, which output paths repeat; empty for a line of a list.
    member
        Position of the image in an archive; None for a file.
    fault
        Why the image cannot be read; empty if no fault is known.
    """

    line: int
    path: str
    target: Target
    inside: str = ""
    member: ArchiveMember | None = None
    fault: str = ""


class EntryList(Sequence[ListEntry]):
    """Images to explain, each made into a `ListEntry` on access.

    Attributes
    ----------
    source
        Origin of the list, for messages.
    unit
        Unit of `ListEntry.line`, for messages: ``line`` or ``image``.
    digest
        64 hexadecimal digits; lists with the same digest are equivalent.
    notices
        Notes about the source for the user.
    faults
        Known reasons why images cannot be read, by their paths inside a folder or archive.
    """

    source: str
    unit: str
    digest: str
    notices: tuple[str, ...] = ()
    faults: Mapping[str, str] = MappingProxyType({})

    @overload
    def __getitem__(self, place: int) -> ListEntry: ...

    @overload
    def __getitem__(self, place: slice) -> list[ListEntry]: ...

    def __getitem__(self, place: int | slice) -> ListEntry | list[ListEntry]:
        places = range(len(self))[place]
        return self._entry(places) if isinstance(places, int) else [self._entry(one) for one in places]

    def __iter__(self) -> Iterator[ListEntry]:
        return self.between(0, len(self))

    def _entry(self, place: int) -> ListEntry:
        """Return one entry, counted from 0."""
        return next(self.between(place, place + 1))

    @abstractmethod
    def between(self, first: int, last: int) -> Iterator[ListEntry]:
        """Yield the entries from ``first`` up to, but not including, ``last``, counted from 0."""

    @abstractmethod
    def outlines(self, places: range) -> Iterator[Outline]:
        """Yield what determines the output paths of some entries; ten times as fast as making entries."""


class FileList(EntryList):
    """The lines of a list with images.

    Parameters
    ----------
    source
        Origin of the list, usually a file.
    content
        The text of the list; all lines are well formed.
    lines
        The lines with images, and their form.
    """

    unit = "line"

    def __init__(self, source: str, content: bytes, lines: "_Scan") -> None:
        self.source = source
        self.digest = hashlib.sha256(content).hexdigest()
        self._content, self._starts = content, lines.starts
        self._lines, self._are_plain = lines.numbers, lines.are_plain

    def __len__(self) -> int:
        return len(self._starts)

    def between(self, first: int, last: int) -> Iterator[ListEntry]:
        """Yield some lines."""
        places, lines = range(first, last), self._lines
        for place, (path, _, target) in zip(places, self.outlines(places), strict=True):
            yield ListEntry(lines[place], path, target)

    def outlines(self, places: range) -> Iterator[Outline]:
        """Yield paths and targets of some lines."""
        content, starts, are_plain = self._content, self._starts, self._are_plain
        for place in places:
            start = starts[place]
            if are_plain[place]:  # so the line has an end
                path, code = content[start : content.find(b"\n", start)].split()
                yield path.decode("utf-8", "surrogateescape"), "", _target(int(code))
            else:
                found = _parse(_decoded(content[start : _end_of_line(content, start)]))
                assert found is not None  # every line has been parsed before
                yield found[0], "", found[1]


@lru_cache(maxsize=4096)
def _target(code: int) -> Target:
    return Target(code)


def read_filelist(path: Path) -> FileList:
    """Return the list in the file ``path``, or from standard input for ``-``.

    A line is ``path class``, with the path in double or single quotes if it contains spaces (a quote of the
    same kind inside is doubled, and nothing else is special), or ``path<TAB>class``. Lines that begin with
    ``#`` are comments. Lines of at most two characters and blank lines are skipped.

    Raises
    ------
    FileListError
        The file cannot be read, contains no image, or has malformed lines; all of these are reported
        together.
    """
    if str(path) == STANDARD_INPUT:
        source, content = "standard input", _read_standard_input()
    else:
        source = str(path)
        content = read_small_file(
            path, _WHAT, FileListError, most_megabytes=_MOST_MEGABYTES, may_be_pipe=True
        )
    lines = _Scan(content)
    if lines.fault_count:
        raise FileListError(f"{source}: {_why_refused(content, lines)}")
    if not lines.starts:
        raise FileListError(f"{source}: names no image; write one 'path class' per line")
    return FileList(source, content, lines)


def _read_standard_input() -> bytes:
    name = "standard input"
    try:
        return read_bounded(sys.stdin.buffer, name, _WHAT, FileListError, _MOST_MEGABYTES)
    except (AttributeError, OSError, ValueError) as fault:
        raise FileListError(
            f"{name}: the {_WHAT} cannot be read: it is closed or broken; pipe a list into it, or give a file"
        ) from fault


class _Scan:
    """The result of scanning all lines of a list.

    Attributes
    ----------
    starts, numbers
        Offsets of the lines with images, and their line numbers, from 1.
    are_plain
        Whether each of these can only be plain: a path without whitespace, and its class.
    faults
        The first malformed lines, for messages.
    fault_count
        Number of malformed lines.
    begins_well
        If there are faults: whether a line before them names an image.
    """

    def __init__(self, content: bytes) -> None:
        self.starts, self.numbers, self.are_plain = array("q"), array("q"), bytearray()
        self.faults: list[str] = []
        self.fault_count = 0
        self.begins_well = False
        start, number, size = len(_BYTE_ORDER_MARK) * content.startswith(_BYTE_ORDER_MARK), 0, len(content)
        while start < size:
            plain = _PLAIN.match(content, start, start + _BLOCK)
            if plain:
                number += self._take_plain(number, start, plain[0])
                start = plain.end()
                continue
            number += 1
            end = _end_of_line(content, start)
            if end - start > LONGEST_LIST_LINE:
                self._take_long(number, content, start, end)
            else:
                self._take(number, start, _decoded(content[start:end]))
            start = end + 1

    def _take_plain(self, number: int, start: int, lines: bytes) -> int:
        """Add complete plain lines, which follow line ``number``; return how many they are."""
        lengths = [len(line) + 1 for line in lines.split(b"\n")[:-1]]
        count = len(lengths)
        self.starts.extend(itertools.accumulate(lengths[:-1], initial=start))
        self.numbers.extend(range(number + 1, number + 1 + count))
        self.are_plain.extend(b"\1" * count)
        return count

    def _take_long(self, number: int, content: bytes, start: int, end: int) -> None:
        """Check a line that is too long to name an image, without copying it."""
        first = _NO_BLANK.search(content, start, end)
        if first and first[0] != b"#":
            beginning = content[first.start() : min(end, first.start() + 120)]
            self._refuse(
                f"line {number}: has {end - start:,} bytes, the limit is {LONGEST_LIST_LINE:,}: "
                f"{_decoded(beginning)!r}"
            )

    def _take(self, number: int, start: int, line: str) -> None:
        """Check a line that is not obviously plain."""
        if (
            len(line.rstrip("\r")) < _SHORTEST_LINE
            or not line.strip()
            or line.lstrip(_BLANKS).startswith("#")
        ):
            return
        if _parse(line):
            self.starts.append(start)
            self.numbers.append(number)
            self.are_plain.append(False)
        else:
            self._refuse(f"line {number}: {line.rstrip()[:120]!r}")

    def _refuse(self, fault: str) -> None:
        if not self.fault_count:
            self.begins_well = bool(self.starts)
        self.fault_count += 1
        if len(self.faults) < MOST_LISTED:
            self.faults.append(fault)


def _why_refused(content: bytes, lines: _Scan) -> str:
    """Return the error for a list with malformed lines."""
    other = "" if lines.begins_well else why_no_text(content, _WHAT)
    if other:
        return other
    if _CONFIG_KEY.search(content):
        return "is a config file, not a list of images; give it with -c, and the list with -f"
    return (
        "every line must be 'path class', the class an integer (a class number, -1: the best class, -2: the "
        "five best), and a path with spaces in quotes; correct these:\n"
        f"{listed(lines.faults, more=lines.fault_count - len(lines.faults))}"
    )


def _end_of_line(content: bytes, start: int) -> int:
    end = content.find(b"\n", start)
    return len(content) if end < 0 else end


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", errors="surrogateescape")


def _parse(line: str) -> tuple[str, Target] | None:
    """Return path and target of a line that is neither blank nor a comment; None if it is malformed."""
    for quote, form in zip(('"', "'", "", ""), _FORMS, strict=True):
        match = form.fullmatch(line)
        if match and match["path"]:
            path = match["path"].replace(2 * quote, quote) if quote else match["path"]
            return path, _target(int(match["code"]))
    return None
