"""Refusing ONNX files that would take far more memory than their size, before they are parsed."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from caffe_lrp.errors import ModelError

#: Bytes of everything except the numbers of tensors, and what a field takes at least once it is parsed.
MOST_BYTES = 16 * 2**20
_LEAST = 32
#: Shorter messages are counted as they are.
_SMALL = 1024

_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_MOST_VARINT_BYTES = 10


class Message(NamedTuple):
    """Fields of a message: those with messages in them, and those with numbers as they are in memory."""

    inner: Mapping[int, "Message"]
    numbers: frozenset[int] = frozenset()


_TENSOR = Message({}, frozenset((4, 9, 10)))  # float_data, raw_data, double_data
_ATTRIBUTE = Message({5: _TENSOR})
_GRAPH = Message({1: Message({5: _ATTRIBUTE}), 5: _TENSOR})
_MODEL = Message({7: _GRAPH})


def refuse_bloat(content: bytes) -> None:
    """Refuse a file whose messages would take far more memory than the file.

    Raises
    ------
    ModelError
        It has too much besides numbers, or is damaged.
    """
    size = 0
    for part in _bytes_to_parse(memoryview(content), _MODEL):
        size += max(part, _LEAST)
        if size > MOST_BYTES:
            raise ModelError(
                f"has more than {MOST_BYTES >> 20} MB besides the numbers of its tensors; export the "
                "net again, "
                "without debug information"
            )


def _bytes_to_parse(content: memoryview, message: Message) -> Iterator[int]:
    """Sizes of the fields of a message, without those that are numbers."""
    position = 0
    while position < len(content):
        start = position
        tag, position = _varint(content, position)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, position = _varint(content, position)
            stop = position + length
            inner = message.inner.get(tag >> 3)
            if tag >> 3 in message.numbers:
                yield position - start
            elif inner is not None and length > _SMALL:
                yield from _bytes_to_parse(content[position:stop], inner)
            else:
                yield stop - start
            position = stop
        elif kind == _VARINT:
            _, position = _varint(content, position)
            yield position - start
        else:
            position += _FIXED.get(kind, len(content))
            yield position - start
        if position > len(content):
            raise ModelError("is damaged or cut off; export or download it again")


def _varint(content: memoryview, start: int) -> tuple[int, int]:
    """A number, and the position after it."""
    value = 0
    for count, byte in enumerate(content[start : start + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, start + count + 1
    raise ModelError("is damaged or cut off; export or download it again")
