"""A scanner of protobuf's wire format that reads headers only.

Large payloads are located, not loaded, so their reader can load them straight to where they belong. Every
length is checked against the enclosing message before anything is allocated.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.files.reading import open_input

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
_WINDOW_BYTES = 1 << 16
_LONGEST_VARINT = 10
#: Nets have thousands of layers at most; files with more fields are of another kind.
_MOST_FIELDS = 200_000


class WireError(ValueError):
    """The bytes are not a protobuf message, or end too early; the text says where."""


@dataclass(frozen=True)
class Field:
    """One field of a message: the position of its payload, and its value if it is a varint."""

    number: int
    wire_type: int
    start: int
    stop: int
    value: int = 0


class WireFile:
    """Random access to the fields of a protobuf message in a file.

    A context manager. Raises OSError if the file cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_input(path)
        self._descriptor = self._file.fileno()
        self.size = os.fstat(self._descriptor).st_size
        self._window = b""
        self._window_start = 0
        self._fields_seen = 0

    def __enter__(self) -> "WireFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Fields of the message that occupies bytes ``start`` to ``stop``.

        Raises
        ------
        WireError
            The bytes are not a message, or a length reaches beyond its end.
        """
        position = start
        while position < stop:
            self._fields_seen += 1
            if self._fields_seen > _MOST_FIELDS:
                raise WireError(f"more than {_MOST_FIELDS} fields up to byte {position}")
            tag, position = self._varint(position, stop)
            number, wire_type = tag >> 3, tag & 7
            if number == 0:
                raise WireError(f"field number 0 at byte {position}")
            if wire_type == VARINT:
                payload = position
                value, position = self._varint(position, stop)
                yield Field(number, wire_type, payload, position, value)
                continue
            length, position = self._payload_length(wire_type, position, stop)
            if length > stop - position:
                raise WireError(
                    f"field {number} at byte {position} claims {length} bytes, {stop - position} are left"
                )
            yield Field(number, wire_type, position, position + length)
            position += length

    def _payload_length(self, wire_type: int, position: int, stop: int) -> tuple[int, int]:
        """Length of a payload, and where it begins."""
        if wire_type == LENGTH_DELIMITED:
            return self._varint(position, stop)
        if wire_type == FIXED32:
            return 4, position
        if wire_type == FIXED64:
            return 8, position
        raise WireError(f"wire type {wire_type} at byte {position}")

    def _varint(self, position: int, stop: int) -> tuple[int, int]:
        """Value of the varint at ``position``, and the position after it."""
        value = 0
        for count in range(_LONGEST_VARINT):
            if position + count >= stop:
                raise WireError(f"ends inside a number at byte {position + count}")
            byte = self._byte(position + count)
            value |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                return value, position + count + 1
        raise WireError(f"a number of more than {_LONGEST_VARINT} bytes at byte {position}")

    def _byte(self, position: int) -> int:
        offset = position - self._window_start
        if not 0 <= offset < len(self._window):
            self._window = os.pread(self._descriptor, _WINDOW_BYTES, position)
            self._window_start = position
            offset = 0
            if not self._window:
                raise WireError(f"ends at byte {position}")
        return self._window[offset]

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``; meant for small payloads."""
        buffer = bytearray(stop - start)
        self.read_into(memoryview(buffer), start)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill ``buffer`` with the bytes from ``start`` on, without an intermediate copy.

        Raises
        ------
        WireError
            The file ends before the buffer is full.
        """
        done = 0
        while done < len(buffer):
            count = os.preadv(self._descriptor, [buffer[done:]], start + done)
            if count == 0:
                raise WireError(f"ends at byte {start + done}")
            done += count
