"""The toolbox's text format: a header line for each module, then two lines of numbers if it has weights.

It is read as the toolbox's Python part reads it, which also takes an older format, with a line for each row
of W. A last line without line break is accepted, too.
"""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.files.recognition import why_no_text

from .module import LARGEST_SIZE, MOST_MODULES, SIZES, Module, Numbers, checked_module, weight_shape

_MOST_MEGABYTES = 1024
#: The header of a module begins with its kind, as in the toolbox: ``Rectify`` is a Rect.
_KINDS = tuple(SIZES)
_LEGACY_KINDS = ("Linear", "Rect", "Tanh", "SoftMax")
#: Bytes of a line whose numbers are parsed at once, so that their texts take little memory.
_PIECE = 1 << 16
_SPACE = re.compile(rb"\s")
_SIZE = re.compile(rb"\+?[0-9]{1,7}")
_LONGEST_QUOTE = 40
#: Bytes of a header that are read; sizes take far fewer.
_LONGEST_HEADER = 200


class TextNet(NamedTuple):
    """What a text file says."""

    modules: tuple[Module, ...]
    notes: tuple[str, ...]


class _TextError(ModelError):
    """The text is not in the format; it says at which line the reader stopped."""

    def __init__(self, line: int, fault: str) -> None:
        super().__init__(f"line {line}: {fault}")
        self.line = line


class _Lines:
    """The lines of a file, one after the other, by their numbers from 1."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._start = 0
        self.number = 0

    @property
    def is_over(self) -> bool:
        return self._start >= len(self._content)

    def next(self) -> bytes:
        """The next line without its line break; empty after the last one."""
        stop = self._content.find(b"\n", self._start)
        stop = len(self._content) if stop < 0 else stop
        line = self._content[self._start : stop]
        self._start, self.number = stop + 1, self.number + 1
        return line


def read_text(path: Path) -> TextNet:
    """The modules of a text file.

    Raises
    ------
    ModelError
        It cannot be read, or is neither in the format nor in the older one.
    """
    content = read_small_file(path, "text net", ModelError, most_megabytes=_MOST_MEGABYTES)
    reason = why_no_text(content, "net of the LRP Toolbox")
    if reason:
        raise ModelError(reason)
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        return _read(content, _KINDS, _numbers)
    except _TextError as fault:
        try:
            found = _read(content, _LEGACY_KINDS, _legacy_numbers)
        except _TextError as older:
            raise (older if older.line > fault.line + 1 else fault) from None
    note = "read in the toolbox's older format, with a line for each row of W"
    return TextNet(found.modules, (note, *found.notes))


_NumbersOf = Callable[[_Lines, str, tuple[int, ...]], tuple[Numbers, Numbers]]


def _read(content: bytes, kinds: tuple[str, ...], numbers_of: _NumbersOf) -> TextNet:
    lines = _Lines(content)
    modules: list[Module] = []
    notes: list[str] = []
    while not lines.is_over:
        header = lines.next()
        if not header:
            if not lines.is_over:
                notes.append(
                    f"line {lines.number} is empty: as in the toolbox, the net ends there, and what follows "
                    "is ignored"
                )
            break
        if len(modules) == MOST_MODULES:
            raise _TextError(lines.number, f"more than {MOST_MODULES} modules; is it really a net?")
        modules.append(_module(header, lines, kinds, numbers_of, notes))
    if not modules:
        raise _TextError(1, "the net has no modules: the file is empty, or its first line is")
    return TextNet(tuple(modules), tuple(notes))


def _module(
    header: bytes, lines: _Lines, kinds: tuple[str, ...], numbers_of: _NumbersOf, notes: list[str]
) -> Module:
    place = f"line {lines.number}"
    kind = next((kind for kind in kinds if header.startswith(kind.encode())), "")
    if not kind:
        raise _TextError(lines.number, _unknown(header))
    names, fields = SIZES[kind], header[:_LONGEST_HEADER].split()[1:]
    if names and len(fields) != len(names):
        raise _TextError(
            lines.number,
            f"{kind} needs {len(names)} sizes ({' '.join(names)}), but has {len(fields)}; write it again",
        )
    sizes = tuple(_size(field, lines.number) for field in fields[: len(names)])
    if not weight_shape(kind, sizes):
        return checked_module(kind, place, sizes)
    weights, bias = numbers_of(lines, kind, sizes)
    outputs = weight_shape(kind, sizes)[-1]
    if len(bias) == 1 < outputs:
        notes.append(
            f"{place} ({kind}): its B has one number, which is used for all outputs, as in the toolbox"
        )
        bias = np.repeat(bias, outputs)
    return checked_module(kind, place, sizes, weights, bias)


def _unknown(header: bytes) -> str:
    shown = repr(header[:_LONGEST_QUOTE].decode("utf-8", "replace"))
    known = ", ".join(_KINDS)
    if header[:1].isspace():
        return f"{shown} begins with a blank; remove it"
    return f"{shown} is no header of a module; the toolbox has {known}"


def _size(field: bytes, line: int) -> int:
    if not _SIZE.fullmatch(field) or not 1 <= int(field) <= LARGEST_SIZE:
        shown = field[:_LONGEST_QUOTE].decode("utf-8", "replace")
        raise _TextError(line, f"{shown!r} must be a whole number from 1 to {LARGEST_SIZE}")
    return int(field)


def _numbers(lines: _Lines, kind: str, sizes: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    """W and B, each in one line."""
    shape = weight_shape(kind, sizes)
    weights = _line_of(lines, math.prod(shape), "W")
    return weights.reshape(shape), _bias(lines, shape[-1])


def _legacy_numbers(lines: _Lines, kind: str, sizes: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    """W in a line for each row, and B."""
    rows, columns = sizes
    weights = np.stack([_line_of(lines, columns, "a row of W") for _ in range(rows)])
    return weights, _bias(lines, columns)


def _bias(lines: _Lines, outputs: int) -> Numbers:
    return _line_of(lines, outputs, "B", may_be_one=True)


def _line_of(lines: _Lines, count: int, what: str, *, may_be_one: bool = False) -> Numbers:
    """The next line: ``count`` numbers, or a single one if that is allowed."""
    if lines.is_over:
        raise _TextError(
            lines.number + 1, f"the file ends where {what} is missing; get a complete copy of it"
        )
    line = lines.next()
    wanted = count
    if may_be_one and len(line.split(None, 2)) == 1:
        wanted = 1
    if len(line) < 2 * wanted - 1:  # so that no memory is taken for numbers that are not there
        raise _TextError(lines.number, f"{what} must have {count} numbers, but has fewer")
    found = np.empty(wanted, np.float64)
    filled = 0
    for piece in _pieces(line):
        numbers = _parsed(piece, lines.number)
        if filled + len(numbers) > wanted:
            raise _TextError(lines.number, f"{what} must have {count} numbers, but has more")
        found[filled : filled + len(numbers)] = numbers
        filled += len(numbers)
    if filled < wanted:
        raise _TextError(lines.number, f"{what} must have {count} numbers, but has {filled}")
    return found


def _pieces(line: bytes) -> Iterator[bytes]:
    """Parts of a line, none of which cuts a number."""
    start = 0
    while start < len(line):
        gap = _SPACE.search(line, min(start + _PIECE, len(line)))
        stop = gap.start() if gap else len(line)
        yield line[start:stop]
        start = stop + 1


def _parsed(piece: bytes, line: int) -> Numbers:
    texts = piece.split()
    try:
        return np.array([float(text) for text in texts], np.float64)
    except ValueError:
        wrong = next(text for text in texts if not _is_number(text))
        shown = wrong[:_LONGEST_QUOTE].decode("utf-8", "replace")
        raise _TextError(line, f"{shown!r} is not a number; write the net again") from None


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
