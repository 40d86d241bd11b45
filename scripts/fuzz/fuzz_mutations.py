"""Random damage of files for `fuzz_inputs.py`; the same seed gives the same damage."""

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: Integers that readers often mishandle, as bytes in both orders and as varints.
EXTREMES = (
    0, 1, -1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 10**6, 10**9, 2**31 - 1, 2**31, 2**32 - 1,
    2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip

#: The same for readers of text.
NUMBERS = (
    *map(str, EXTREMES), "-2", "-2147483649", "9" * 30, "9" * 5000, "1e9", "1e400", "-1e400", "1e-400", "nan",
    "inf", "-inf", "0x7fffffffffffffff", "007", "1_000", "1.5", "+1", "", "٣", "²", "−1",
)  # fmt: skip

#: Pieces of text with a meaning for one of the text readers.
PIECES = (
    "{", "}", "<", ">", "[", "]", ":", ";", ",", '"', "'", "\\", "#", "/", "~", "..", "\n", "\r", "\0", "\t",
    " ", "\x1b[2J", "\ufeff", "\u2028", "\U0001f600", "e\u0301", "%s", "{0}", "true", "MAX", "TEST",
    "[a.b/c]", "'\\777'", "layer {", "layers {", "foo { ", "input_dim: ", "num_output: ", "kernel_size: ",
    "group: ", "pad: ", "axis: ",
)  # fmt: skip

_LONGEST_RUN = 64
_MOST_REPEATS = 2000
_LARGEST_RESULT = 1 << 20
#: Numbers of damages per file; files with a single damage get further.
_COUNTS = (1, 1, 1, 2, 2, 3, 5)
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_NO_MESSAGE = (ValueError, IndexError, RecursionError)
_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

Damage = Callable[[bytes, Sequence[bytes], random.Random], bytes]


def _run(content: bytes, chance: random.Random) -> slice:
    """Return the position of a random run of bytes."""
    start = chance.randrange(len(content) + 1)
    return slice(start, start + chance.randrange(_LONGEST_RUN + 1))


def flip_bits(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return the file with a few bits flipped."""
    changed = bytearray(content)
    for _count in range(chance.randint(1, 8) if content else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def delete_run(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return the file without a run of bytes."""
    run = _run(content, chance)
    return content[: run.start] + content[run.stop :]


def repeat_run(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return the file with a run of bytes repeated, sometimes thousands of times."""
    run = _run(content, chance)
    count = chance.choice((1, 2, 10, _MOST_REPEATS))
    return content[: run.start] + content[run] * count + content[run.start :]


def insert_run(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return the file with random bytes inserted."""
    run = _run(content, chance)
    return content[: run.start] + chance.randbytes(run.stop - run.start) + content[run.start :]


def cut_off(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return the beginning of the file."""
    return content[: chance.randrange(len(content) + 1)]


def splice(content: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Return the beginning of the file, followed by the end of another one."""
    other = chance.choice(others)
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def set_integer(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return the file with an extreme integer of 1, 2, 4 or 8 bytes, or a varint, written over it."""
    value = chance.choice(EXTREMES)
    width = chance.choice((0, 1, 2, 4, 8))
    order = chance.choice(("<", ">"))
    written = varint(value) if width == 0 else struct.pack(f"{order}Q", value % 2**64)
    if width:
        written = written[:width] if order == "<" else written[-width:]
    start = chance.randrange(len(content) + 1)
    return content[:start] + written + content[start + len(written) :]


def change_token(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a text with a word replaced by a number, a piece of syntax or another of its words."""
    tokens = _TOKEN.findall(content.decode(errors="surrogateescape"))
    if not tokens:
        return chance.choice(PIECES).encode()
    numbers = [place for place, token in enumerate(tokens) if token.isdecimal()]
    if numbers and chance.random() < 0.5:
        tokens[chance.choice(numbers)] = chance.choice(NUMBERS)
    else:
        tokens[chance.randrange(len(tokens))] = chance.choice((*PIECES, chance.choice(tokens)))
    return "".join(tokens).encode(errors="surrogateescape")


def swap_tokens(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a text with two runs of words exchanged."""
    tokens = _TOKEN.findall(content.decode(errors="surrogateescape"))
    places = sorted(chance.randrange(len(tokens) + 1) for _count in range(4))
    parts = [tokens[start:stop] for start, stop in zip([0, *places], [*places, len(tokens)], strict=True)]
    order = (parts[0], parts[3], parts[2], parts[1], parts[4])
    return "".join(token for part in order for token in part).encode(errors="surrogateescape")


def repeat_tokens(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a text with a piece of syntax, or some of its words, repeated, sometimes thousands of times."""
    tokens = _TOKEN.findall(content.decode(errors="surrogateescape"))
    start = chance.randrange(len(tokens) + 1)
    words = "".join(tokens[start : start + chance.randint(1, 12)])
    repeated = chance.choice((words, chance.choice(PIECES))) * chance.choice((1, 2, 30, _MOST_REPEATS))
    return "".join([*tokens[:start], repeated, *tokens[start:]]).encode(errors="surrogateescape")


def varint(value: int) -> bytes:
    """Return an integer as protobuf's base-128 varint; negative ones as 64 bits."""
    rest = value % 2**64
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*encoded, rest])


class Item(NamedTuple):
    """A field of a protobuf message: number, wire type, and an integer, some bytes, or fields."""

    number: int
    kind: int
    value: "int | bytes | list[Item]"


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    """Return a varint and the position after it; IndexError if it does not end."""
    value = shift = 0
    while True:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def parse_message(content: bytes) -> list[Item]:
    """Return the fields of a protobuf message; ValueError or IndexError if it is not one."""
    items = []
    position = 0
    while position < len(content):
        tag, position = _read_varint(content, position)
        number, kind = tag >> 3, tag & 7
        value: int | bytes | list[Item]
        if kind == _VARINT:
            value, position = _read_varint(content, position)
        elif number and kind in (_FIXED64, _DELIMITED, _FIXED32):
            length = {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
            if kind == _DELIMITED:
                length, position = _read_varint(content, position)
            value, position = content[position : position + length], position + length
            if position > len(content):
                raise ValueError("it ends too early")
            value = _submessage(value) if kind == _DELIMITED else value
        else:
            raise ValueError("no message")
        items.append(Item(number, kind, value))
    return items


def _submessage(payload: bytes) -> "bytes | list[Item]":
    """Return the fields in a payload; the payload itself if it is not a message."""
    try:
        items = parse_message(payload)
    except _NO_MESSAGE:
        return payload
    return items if items and write_message(items) == payload else payload


def write_message(items: Sequence[Item]) -> bytes:
    """Return a message with correct lengths."""
    parts = []
    for number, kind, value in items:
        parts.append(varint(number << 3 | kind))
        if isinstance(value, int):
            parts.append(varint(value))
            continue
        payload = write_message(value) if isinstance(value, list) else value
        parts += [varint(len(payload)) if kind == _DELIMITED else b"", payload]
    return b"".join(parts)


def change_field(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a protobuf message with one field changed, removed or repeated; all lengths fit."""
    try:
        root = parse_message(content)
    except _NO_MESSAGE:
        return content
    items = root
    while items:
        place = chance.randrange(len(items))
        value = items[place].value
        if isinstance(value, list) and chance.random() < 0.8:
            items = value
            continue
        _damage_item(items, place, chance)
        break
    return write_message(root)


def _damage_item(items: list[Item], place: int, chance: random.Random) -> None:
    """Change, remove or repeat one field."""
    item = items[place]
    choice = chance.randrange(4)
    if choice == 0:
        del items[place]
    elif choice == 1:
        items[place:place] = [item] * chance.choice((1, 2, 100))
    elif isinstance(item.value, int):
        items[place] = item._replace(value=chance.choice(EXTREMES))
    elif isinstance(item.value, bytes):
        if item.kind == _DELIMITED and choice == 2:
            items[place] = item._replace(value=delete_run(item.value, (), chance))
        else:
            items[place] = item._replace(value=flip_bits(item.value, (), chance))


def mend_png(content: bytes) -> bytes:
    """Return a PNG with correct checksums, so that they do not reveal the damage."""
    if not content.startswith(_PNG_SIGNATURE):
        return content
    parts = [_PNG_SIGNATURE]
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        body = content[position + 4 : position + 8 + length]
        parts += [struct.pack(">I", length), body, struct.pack(">I", zlib.crc32(body))]
        position += 12 + length
    return b"".join([*parts, content[position:]])


BYTES: tuple[Damage, ...] = (
    flip_bits, flip_bits, delete_run, repeat_run, insert_run, cut_off, splice, set_integer, set_integer,
)  # fmt: skip
TEXT: tuple[Damage, ...] = (change_token, change_token, change_token, swap_tokens, repeat_tokens, *BYTES[2:])
MESSAGE: tuple[Damage, ...] = (change_field, change_field, change_field, *BYTES)


def mutated(seeds: Sequence[bytes], damages: Sequence[Damage], chance: random.Random) -> bytes:
    """Return one of the files ``seeds`` with a few damages of the kinds ``damages``."""
    content = chance.choice(seeds)
    for _count in range(chance.choice(_COUNTS)):
        content = chance.choice(damages)(content, seeds, chance)[:_LARGEST_RESULT]
    return mend_png(content) if chance.random() < 0.8 else content
