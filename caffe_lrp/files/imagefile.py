"""The bytes of an image, in a file or in an archive; the only module that reads them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from caffe_lrp.errors import ImageError

from .reading import FolderError, NotRegularError, missing_file_advice, open_input, why_unreadable

#: Larger files are refused before they are read.
MAX_FILE_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """An image in an uncompressed archive: ``size`` bytes, starting at ``offset``."""

    archive: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"


#: Both serve as the name of the image in messages.
ImageSource = Path | ArchiveMember


def read_image(
    source: ImageSource, take: Callable[[int], None] = lambda size: None, most: int = MAX_FILE_BYTES
) -> bytes:
    """Return the bytes of an image file, read once; as many as it had when it was opened.

    Parameters
    ----------
    source
        File or archive member to read.
    take
        Called with the number of bytes before they are read.
    most
        Largest number of bytes to read.

    Raises
    ------
    ImageError
        It is missing, unreadable, empty, too large or not a regular file. A file of size 0 counts as empty,
        even if something could be read from it: some system files never end.
    """
    file = source if isinstance(source, Path) else source.archive
    try:
        if isinstance(source, Path):
            content = _read_file(source, take, most)
        else:
            content = _read_member(source, take, most)
    except FileNotFoundError as error:
        raise ImageError(f"{source}: no such image; {missing_file_advice(file)}") from error
    except PermissionError as error:
        raise ImageError(
            f"{source}: no permission to read the image; check the permissions of the file and its folder"
        ) from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{source}: cannot be read: {why_unreadable(error, file)}") from error
    if not content:
        raise ImageError(f"{source}: is empty (0 bytes); download or copy it again")
    return content


def _read_file(path: Path, take: Callable[[int], None], most: int) -> bytes:
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        _refuse_large(path, size)
        size = min(size, most)
        take(size)
        return file.read(size)


def _read_member(member: ArchiveMember, take: Callable[[int], None], most: int) -> bytes:
    _refuse_large(member, member.size)
    size = min(member.size, most)
    with _open(member.archive) as file:
        file.seek(member.offset)
        take(size)
        content = file.read(size)
    if len(content) < size:
        raise ImageError(
            f"{member}: the archive shrank during the run; do not change it while it is being read"
        )
    return content


def _open(path: Path) -> BinaryIO:
    try:
        return open_input(path)
    except FolderError as error:
        raise ImageError(f"{path}: is a folder, not an image; list the files in it instead") from error
    except NotRegularError as error:
        raise ImageError(f"{path}: is not a regular file; give a regular file") from error


def _refuse_large(source: ImageSource, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ImageError(
            f"{source}: image is too large: the file has {size} bytes, the limit is {MAX_FILE_BYTES}; "
            "make it smaller first"
        )
