"""Tar archives read from header to header: names of the members, and where their bytes lie.

Python's own tarfile reads the headers of blocks here, but not what extends them: it takes as much memory as a
header says, and time that is quadratic in its size. Sources: POSIX.1-2001 (pax), and the manual of GNU tar.
"""

import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from caffe_lrp.messages import counted

_BLOCK = tarfile.BLOCKSIZE
#: Bytes of what extends the header of a member. Names have 4,096 at most; attributes of files are there, too.
LARGEST_EXTENSION = 2**20
#: Extensions of a single member: tar writes two or three.
_MOST_EXTENSIONS = 16

_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_GLOBAL = tarfile.XGLTYPE
_LONG_NAME, _LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
_EXTENSIONS = (*_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK)
#: Where a block of GNU tar's old kind of sparse file says that another follows: in the header, in all others.
_SPARSE_FLAG, _MORE_SPARSE_FLAG = 482, 504
_LENGTH = re.compile(rb"([0-9]{1,10}) ")


class DamagedError(Exception):
    """What is wrong with an archive, and where."""


@dataclass(frozen=True)
class Member:
    """A member of an archive.

    Attributes
    ----------
    name
        Its name, as it stands in the archive.
    type
        The letter that says what it is, see tarfile.
    start, size
        Where its bytes begin, and how many it has.
    is_sparse
        Whether holes were left out of its bytes.
    """

    name: str
    type: bytes
    start: int
    size: int
    is_sparse: bool

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.type == tarfile.DIRTYPE

    @property
    def is_link(self) -> bool:
        """Whether it only leads to another file."""
        return self.type in (tarfile.SYMTYPE, tarfile.LNKTYPE)

    @property
    def is_regular(self) -> bool:
        """Whether it is a file whose bytes lie in the archive as they are."""
        return self.type in tarfile.REGULAR_TYPES and not self.is_sparse


def begins_as_archive(file: BinaryIO) -> bool:
    """Whether the file begins with the header of a member, or with the end of an archive."""
    file.seek(0)
    block = file.read(_BLOCK)
    try:
        return block == bytes(_BLOCK) or bool(_header(block, 0))
    except DamagedError:
        return False


def members_of(file: BinaryIO, size: int) -> Iterator[Member]:
    """The members of an archive of ``size`` bytes, in its order.

    Raises
    ------
    DamagedError
        A header makes no sense, or the archive ends before it should.
    """
    place, common = 0, dict[str, str]()
    while (block := _block_at(file, place)) != bytes(_BLOCK):
        header, own, extensions = _header(block, place), dict[str, str](), 0
        while header.type in _EXTENSIONS:
            extensions += 1
            if extensions > _MOST_EXTENSIONS:
                raise DamagedError(f"more than {_MOST_EXTENSIONS} headers of one member at byte {place}")
            content = _extension(file, header, place)
            if header.type == _LONG_NAME:
                own["path"] = _decoded(content.split(b"\0", 1)[0])
            elif header.type != _LONG_LINK:
                (common if header.type == _GLOBAL else own).update(_records(content, place))
            place += _BLOCK + _whole_blocks(header.size)
            block = _block_at(file, place)
            header = _header(block, place)
        member, place = _member(file, header, block, {**common, **own}, place)
        if place > size:
            raise DamagedError("unexpected end of data")
        yield member


def _member(
    file: BinaryIO, header: tarfile.TarInfo, block: bytes, said: Mapping[str, str], place: int
) -> tuple[Member, int]:
    """A member with what its extensions say of it, and where the next header is."""
    start, is_sparse = place + _BLOCK, header.type == tarfile.GNUTYPE_SPARSE
    more = is_sparse and block[_SPARSE_FLAG]
    while more:
        more = _block_at(file, start)[_MORE_SPARSE_FLAG]
        start += _BLOCK
    try:
        size = int(said.get("size", header.size))
    except ValueError as fault:
        raise DamagedError(f"a member without a size at byte {place}") from fault
    if size < 0:
        raise DamagedError(f"a member of negative size at byte {place}")
    name = said.get("GNU.sparse.name", said.get("path", header.name))
    is_sparse = is_sparse or any(key.startswith("GNU.sparse.") for key in said)
    has_bytes = header.type in tarfile.REGULAR_TYPES or header.type not in tarfile.SUPPORTED_TYPES
    end = start + (_whole_blocks(size) if has_bytes else 0)
    return Member(name, header.type, start, size, is_sparse), end


def _block_at(file: BinaryIO, place: int) -> bytes:
    try:
        file.seek(place)
    except (OSError, OverflowError) as fault:
        raise DamagedError("unexpected end of data") from fault
    block = file.read(_BLOCK)
    if len(block) < _BLOCK:
        raise DamagedError(f"neither a member nor the end at byte {place}")
    return block


def _header(block: bytes, place: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as fault:
        raise DamagedError(f"neither a member nor the end at byte {place}") from fault


def _extension(file: BinaryIO, header: tarfile.TarInfo, place: int) -> bytes:
    """What extends a header, read once its size is known to be sensible."""
    if not 0 <= header.size <= LARGEST_EXTENSION:
        raise DamagedError(
            f"the header at byte {place} has an extension of {counted(header.size, 'byte')}, the limit is "
            f"{LARGEST_EXTENSION:,}"
        )
    content = file.read(header.size)
    if len(content) < header.size:
        raise DamagedError("unexpected end of data")
    return content


def _records(content: bytes, place: int) -> Iterator[tuple[str, str]]:
    """Keywords and values of a pax header: ``27 path=folder/image.jpg`` and an end of line, one by one."""
    start = 0
    while start < len(content) and content[start]:
        length = _LENGTH.match(content, start)
        end = start + int(length[1]) if length else start
        if length is None or not length.end() < end <= len(content):
            raise DamagedError(f"the pax header at byte {place} makes no sense")
        keyword, equals, value = content[length.end() : end - 1].partition(b"=")
        if not (keyword and equals):
            raise DamagedError(f"the pax header at byte {place} makes no sense")
        yield _decoded(keyword), _decoded(value.rstrip(b"/") if keyword == b"path" else value)
        start = end


def _whole_blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
