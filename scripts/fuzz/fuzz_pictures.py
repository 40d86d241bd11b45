"""Structural damage of pictures for `fuzz_inputs.py`: chunks, segments, boxes and tags.

Random bytes rarely get past the header of a picture. Here blocks are removed, exchanged, renamed or repeated,
or numbers in them are changed, and all lengths and checksums stay correct.
"""

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fuzz_mutations import BYTES, EXTREMES, Damage, delete_run, flip_bits

Blocks = list[tuple[bytes, bytes]]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_JPEG_SIGNATURE = b"\xff\xd8"
#: Markers that are not followed by a length.
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xDA)))
_START_OF_SCAN = b"\xda"
_MARKER = re.compile(rb"\xff[^\0\xd0-\xd7]", re.DOTALL)
#: Headers have their numbers within this many bytes.
_HEADER = 40
#: Depths, kinds of colours, sizes and counts that are valid in some format, or in none.
_SMALL = (*range(9), 12, 16, 24, 32, 33, 64, 127, 128, 255)
_TIFF_TYPES = (*range(14), 16, 17, 18, 255, 65535)
_TIFF_TAGS = (256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330,
              338, 339, 347, 530, 700, 34665, 34675)  # fmt: skip
_TIFF_ENTRY = 12


class Container(NamedTuple):
    """A format that is a sequence of blocks.

    Attributes
    ----------
    signature
        The first bytes of its files.
    parse
        The blocks of a file, kind and content.
    write
        A file with these blocks, and correct lengths and checksums.
    kinds
        Kinds of blocks that the format has.
    """

    signature: bytes
    parse: Callable[[bytes], Blocks]
    write: Callable[[Blocks], bytes]
    kinds: tuple[bytes, ...]


def _parse_png(content: bytes) -> Blocks:
    blocks, position = [], len(_PNG_SIGNATURE)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        blocks.append((kind, content[position + 8 : position + 8 + length]))
        position += 12 + length
    return blocks


def _write_png(blocks: Blocks) -> bytes:
    chunks = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
              for kind, body in blocks]  # fmt: skip
    return b"".join([_PNG_SIGNATURE, *chunks])


def _parse_riff(content: bytes) -> Blocks:
    blocks, position = [(content[8:12], b"")], 12
    while position + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, position)
        blocks.append((kind, content[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    return blocks


def _write_riff(blocks: Blocks) -> bytes:
    form = blocks[0][0] if blocks else b"WEBP"
    body = form + b"".join(
        kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in blocks[1:]
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _parse_boxes(content: bytes) -> Blocks:
    blocks, position = [], len(_JP2_SIGNATURE)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        stop = position + length if length >= 8 else len(content)
        blocks.append((kind, content[position + 8 : stop]))
        position = stop
    return blocks


def _write_boxes(blocks: Blocks) -> bytes:
    boxes = [struct.pack(">I", 8 + len(body)) + kind + body for kind, body in blocks]
    return b"".join([_JP2_SIGNATURE, *boxes])


def _parse_jpeg(content: bytes) -> Blocks:
    """Return the segments; entropy-coded data belongs to the scan before it."""
    blocks, position = [], len(_JPEG_SIGNATURE)
    while position + 4 <= len(content) and content[position] == 0xFF:
        kind = content[position + 1 : position + 2]
        is_bare = kind[0] in _BARE_MARKERS
        start = position + (2 if is_bare else 4)
        stop = start if is_bare else start - 2 + int.from_bytes(content[start - 2 : start], "big")
        if kind == _START_OF_SCAN:
            following = _MARKER.search(content, stop)
            stop = following.start() if following else len(content)
        blocks.append((kind, content[start:stop]))
        position = stop
    return blocks


def _write_jpeg(blocks: Blocks) -> bytes:
    parts = [_JPEG_SIGNATURE]
    for kind, body in blocks:
        length = 4 + 2 * body[0] if kind == _START_OF_SCAN and body else len(body)
        parts += [b"\xff", kind]
        parts += [] if kind[0] in _BARE_MARKERS else [struct.pack(">H", (length + 2) % 2**16)]
        parts.append(body)
    return b"".join(parts)


CONTAINERS = (
    Container(
        _PNG_SIGNATURE, _parse_png, _write_png,
        (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"iTXt",
         b"tEXt", b"eXIf", b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"cICP", b"sBIT"),
    ),
    Container(
        b"RIFF", _parse_riff, _write_riff,
        (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"ICCP", b"XMP "),
    ),
    Container(
        _JP2_SIGNATURE, _parse_boxes, _write_boxes,
        (b"ftyp", b"jp2h", b"ihdr", b"colr", b"pclr", b"cmap", b"cdef", b"bpcc", b"res ", b"jp2c"),
    ),
    Container(
        _JPEG_SIGNATURE, _parse_jpeg, _write_jpeg,
        tuple(bytes([code]) for code in (*range(0xC0, 0xE3), 0xED, 0xEE, 0xFE, 0x01)),
    ),
)  # fmt: skip


def change_block(content: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a picture with a block removed, repeated, moved, renamed, made up or changed."""
    container = next((one for one in CONTAINERS if content.startswith(one.signature)), None)
    blocks = container.parse(content) if container else []
    if not container or not blocks:
        return set_header_number(content, others, chance)
    place = chance.randrange(len(blocks))
    kind, body = blocks[place]
    choice = chance.randrange(7)
    if choice == 0:
        del blocks[place]
    elif choice == 1:
        blocks[place:place] = [(kind, body)] * chance.choice((1, 2, 100))
    elif choice == 2:
        blocks.insert(chance.randrange(len(blocks)), blocks.pop(place))
    elif choice == 3:
        blocks[place] = (chance.choice(container.kinds), body)
    elif choice == 4:
        made_up = chance.randbytes(chance.choice((0, 1, 2, 3, 4, 6, 8, 26, 256, 768, 769)))
        blocks.insert(place, (chance.choice(container.kinds), made_up))
    elif choice == 5:
        blocks[place] = (kind, chance.choice((flip_bits, delete_run))(body, (), chance))
    else:
        blocks[place] = (kind, set_header_number(body, (), chance))
    return container.write(blocks)


def set_header_number(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Return the file with a number of 1, 2 or 4 bytes near its beginning changed."""
    width = chance.choice((1, 1, 1, 2, 4))
    value: int = chance.choice((*_SMALL, *EXTREMES) if width > 1 else _SMALL) % 256**width
    written = value.to_bytes(width, "big") if chance.random() < 0.5 else value.to_bytes(width, "little")
    start = chance.randrange(min(_HEADER, len(content)) + 1)
    return content[:start] + written + content[start + width :]


def change_tag(content: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a TIFF with a tag renamed, or its type, count or value changed."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None or len(content) < _TIFF_ENTRY:
        return change_block(content, others, chance)
    (directory,) = struct.unpack_from(f"{order}I", content, 4)
    count = int.from_bytes(content[directory : directory + 2], "little" if order == "<" else "big")
    start = directory + 2 + _TIFF_ENTRY * chance.randrange(max(1, count))
    if start + _TIFF_ENTRY > len(content):
        return set_header_number(content, others, chance)
    entry = list(struct.unpack_from(f"{order}HHII", content, start))
    part = chance.randrange(4)
    numbers = ((_TIFF_TAGS, 2**16), (_TIFF_TYPES, 2**16), ((*_SMALL, *EXTREMES), 2**32))[min(part, 2)]
    entry[part] = int(chance.choice(numbers[0])) % numbers[1]
    return content[:start] + struct.pack(f"{order}HHII", *entry) + content[start + _TIFF_ENTRY :]


PICTURES: tuple[Damage, ...] = (change_tag, change_tag, change_tag, set_header_number, *BYTES)
