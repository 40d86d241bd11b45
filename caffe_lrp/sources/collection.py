"""A folder or a tar archive of images instead of a list: all its images, with one target."""

import hashlib
import os
import posixpath
import re
import stat
import tarfile
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from caffe_lrp.errors import FileListError
from caffe_lrp.files.imagefile import ArchiveMember
from caffe_lrp.files.reading import open_input, pieces_of, why_unreadable
from caffe_lrp.files.recognition import SEARCHED_BYTES, UNPACK_ADVICE, foreign_kind
from caffe_lrp.messages import counted
from caffe_lrp.relevance.target import Target

from .filelist import EntryList, ListEntry, Outline

#: File extensions of images, for all supported formats.
ENDINGS = (
    ".apng", ".bmp", ".dib", ".gif", ".icb", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".vda", ".vst",
    ".webp",
)  # fmt: skip
_WHAT = "folder or tar archive of images"
_NO_IMAGES = "contains no images: no name in it ends in .jpg, .jpeg, .png or another ending of images"
#: Exceptions of tarfile for files that are not archives.
_DAMAGE = (tarfile.TarError, ValueError, LookupError, OverflowError, RecursionError)
#: Bytes of a header's extension: it contains names of at most 4,096 bytes, and file attributes.
_LARGEST_EXTENSION = 2**17
_ABSURD = re.compile(rb"[0-9]{1000}")
#: Number of links to one folder, direct or indirect, that are followed.
_MOST_NAMES_OF_FOLDER = 10

#: A folder's identity in the operating system: device and inode number.
_Identity = tuple[int, int]


class ImageCollection(EntryList):
    """The images of a folder or an archive, by their paths inside it.

    Parameters
    ----------
    source
        The folder or archive.
    target
        The target of all images.
    names
        Paths inside the source, in the order of the entries.
    state
        Distinguishes this source from another one with the same names.
    members
        Positions of the images in an archive; None for a folder.
    notices
        Notes about it for the user.
    """

    unit = "image"

    def __init__(
        self,
        source: Path,
        target: Target,
        names: Sequence[str],
        state: str = "",
        members: "_Members | None" = None,
        notices: tuple[str, ...] = (),
    ) -> None:
        self.source, self.notices = str(source), notices
        self._path, self._target, self._names, self._members = source, target, names, members
        if members:
            self.faults = members.faults
        digest = hashlib.sha256(f"{target.label}\n{state}".encode())
        for name in names:
            digest.update(b"\0" + os.fsencode(name))
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._names)

    def between(self, first: int, last: int) -> Iterator[ListEntry]:
        """Yield some images."""
        return map(self._image, range(first, last))

    def _image(self, place: int) -> ListEntry:
        name, member = self._names[place], None
        if self._members:
            start, size = self._members.starts[place], self._members.sizes[place]
            member = ArchiveMember(self._path, name, start, size)
        fault = self.faults.get(name, "")
        return ListEntry(place + 1, f"{self.source}/{name}", self._target, name, member, fault)

    def outlines(self, places: range) -> Iterator[Outline]:
        """Yield the paths of some images, each with the one target they share."""
        names, source, target = self._names, self.source, self._target
        return ((f"{source}/{names[place]}", names[place], target) for place in places)


def read_images(source: Path, target: Target, output_root: Path | None = None) -> ImageCollection:
    """Return all images below a folder, sorted by name, or in a tar archive, in its own order.

    Images are recognised by file extension. Hidden files and folders, with names that begin with a dot,
    are skipped.

    Parameters
    ----------
    source
        Folder or archive.
    target
        The target of all images.
    output_root
        Folder for heatmaps, in which no images are searched for.

    Raises
    ------
    FileListError
        The source cannot be read, is another kind of archive, contains no image, or is the output folder.
    """
    try:
        if stat.S_ISDIR(source.stat().st_mode):
            names, notices = _names_below(source, output_root)
            collection = ImageCollection(source, target, names, notices=notices)
        else:
            collection = _read_archive(source, target)
    except (OSError, ValueError) as fault:
        place = Path(fault.filename) if isinstance(fault, OSError) and fault.filename else source
        raise FileListError(f"{place}: the images cannot be read: {why_unreadable(fault, place)}") from fault
    if not collection:
        raise FileListError(f"{source}: {_NO_IMAGES}")
    return collection


def is_image_name(name: str) -> bool:
    """Return whether a file with this name should be an image."""
    return name.lower().endswith(ENDINGS)


@dataclass(frozen=True)
class _Folder:
    """A folder that is searched.

    Attributes
    ----------
    name
        Its path relative to the source; empty for the source itself.
    identity
        Identity of the folder.
    above
        The parent folder of it, or of the link to it.
    is_linked
        Whether its path contains a link.
    """

    name: str
    identity: _Identity | None
    above: "_Folder | None" = None
    is_linked: bool = False

    def lies_in(self, identity: _Identity) -> bool:
        """Return whether it is the folder with this identity, or is reached through that folder."""
        here: _Folder | None = self
        while here is not None and here.identity != identity:
            here = here.above
        return here is not None


def _names_below(folder: Path, output_root: Path | None) -> tuple[list[str], tuple[str, ...]]:
    """Return the relative paths of the images below ``folder``, sorted, and notes on skipped folders.

    Links to folders are followed, but not back into one of their parent folders, nor more than 10 times into
    the same folder: folders that link to each other have far too many paths. The choice of paths depends
    only on the names: the shortest are followed, and of these the first in alphabetical order.
    """
    outputs = _identity(output_root) if output_root else None
    if outputs and outputs == _identity(folder):
        raise FileListError(
            f"{folder}: is also the output folder, and the next run would explain heatmaps as images; "
            "choose another one with -p"
        )
    names: list[str] = []
    passed, first_passed = 0, ""
    seen = {_identity(folder)}
    linked: Counter[_Identity] = Counter()
    waiting = deque([_Folder("", _identity(folder))])
    while waiting:
        here = waiting.popleft()
        for name, is_link in _look_into(folder, here.name, names):
            identity = _identity(f"{folder}/{name}")
            if identity is None or identity == outputs or (identity in seen and here.lies_in(identity)):
                continue
            seen.add(identity)
            inner = _Folder(name, identity, here, here.is_linked or is_link)
            linked[identity] += inner.is_linked
            if inner.is_linked and linked[identity] > _MOST_NAMES_OF_FOLDER:
                passed, first_passed = passed + 1, first_passed or name
            else:
                waiting.append(inner)
    return sorted(names), _on_passed(folder, passed, first_passed)


def _look_into(folder: Path, inside: str, names: list[str]) -> list[tuple[str, bool]]:
    """Return the folders in a folder, sorted, and whether they are links; add images to ``names``."""
    found = []
    with os.scandir(f"{folder}/{inside}") as items:
        for item in items:
            if item.name.startswith("."):
                continue
            name = f"{inside}/{item.name}" if inside else item.name
            if item.is_dir():
                found.append((name, item.is_symlink()))
            elif is_image_name(item.name):
                names.append(name)
    return sorted(found)


def _on_passed(folder: Path, count: int, first: str) -> tuple[str, ...]:
    if not count:
        return ()
    return (
        f"{folder}: {counted(count, 'folder')} behind links left out, such as '{first}', as links "
        f"lead to the same under {_MOST_NAMES_OF_FOLDER} other names; remove links, or give a list (-f)",
    )


def _identity(folder: Path | str) -> _Identity | None:
    """Return the identity of a folder, however it is reached; None if it does not exist."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - Path objects are slow
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class _Members:
    """The positions of the images in an archive, in the order of its members.

    Attributes
    ----------
    names
        Paths inside the archive.
    starts, sizes
        Offset and number of bytes of each; meaningless if there is a fault.
    faults
        Why images cannot be read, by their names.
    """

    names: list[str] = field(default_factory=list)
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, member: tarfile.TarInfo) -> None:
        """Add a member if it is an image."""
        name = posixpath.normpath(member.name) if ".." not in member.name.split("/") else member.name
        steps = name.split("/")
        is_hidden = any(step.startswith(".") and step != ".." for step in steps)
        if member.isdir() or is_hidden or not is_image_name(name):
            return
        fault = _fault_of(member)
        if fault:
            self.faults[name] = fault
        else:
            self.faults.pop(name, None)  # a later member of the same name replaces it
        self.names.append(name)
        self.starts.append(member.offset_data)
        self.sizes.append(member.size)

    def last_of_each_name(self) -> "_Members":
        """Return the members without those replaced by a later one of the same name."""
        places = {name: place for place, name in enumerate(self.names)}
        if len(places) == len(self.names):
            return self
        kept = sorted(places.values())
        starts, sizes = (
            array("q", [values[place] for place in kept]) for values in (self.starts, self.sizes)
        )
        return _Members([self.names[place] for place in kept], starts, sizes, self.faults)


def _fault_of(member: tarfile.TarInfo) -> str:
    """Return why an image in an archive cannot be read or have an output path; empty if it can."""
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return (
            "its name in the archive is absolute or has '..', so it cannot have an output path; pack the "
            "images with 'tar -C FOLDER -cf ARCHIVE .'"
        )
    if member.issym() or member.islnk():
        return (
            "is only a link in the archive; pack the file itself (tar --dereference --hard-dereference), "
            "or explain the file it points to"
        )
    if not member.isreg() or member.issparse():
        return "is not a regular file in the archive; pack the image as one"
    return ""


def _read_archive(path: Path, target: Target) -> ImageCollection:
    """Return the images of an uncompressed tar archive."""
    if not path.is_file():
        raise FileListError(f"{path}: is neither a folder nor a regular file; give a {_WHAT}")
    with open_input(path) as file:
        status = os.fstat(file.fileno())
        head = next(pieces_of(file, SEARCHED_BYTES), b"")
        if not head:
            raise FileListError(f"{path}: {_why_no_archive(head)}")
        file.seek(0)
        try:
            archive = tarfile.open(  # noqa: SIM115 - closed below; only this call fails if it is not an archive
                fileobj=cast(BinaryIO, _Headers(file)),
                mode="r:",
                encoding="utf-8",
                errors="surrogateescape",
            )
        except _AbsurdError as fault:
            raise _damaged(path, fault) from fault
        except tarfile.TarError as fault:
            raise FileListError(f"{path}: {_why_no_archive(head)}") from fault
        try:
            with archive:
                members = _members_of(archive, file, status.st_size)
        except _DAMAGE as fault:
            raise _damaged(path, fault) from fault
    state = f"tar of {status.st_size} bytes, {status.st_mtime_ns}"
    return ImageCollection(path, target, members.names, state, members)


def _damaged(path: Path, fault: Exception) -> FileListError:
    return FileListError(f"{path}: the archive is damaged or cut short ({fault}); get a complete copy of it")


class _AbsurdError(tarfile.ReadError):
    """A header that no program writes."""


class _Headers:
    """An archive file for tarfile, which would read header extensions of whatever size they claim.

    Older versions of tarfile also take quadratic time for long sequences of digits; no name has a thousand
    in a row.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes; raises if no header has so many, or they cannot be part of one."""
        if not 0 <= size <= _LARGEST_EXTENSION:
            raise _AbsurdError(
                f"a header has an extension of {size:,} bytes, the limit is {_LARGEST_EXTENSION:,}"
            )
        content = self._file.read(size)
        if _ABSURD.search(content):
            raise _AbsurdError(f"a header before byte {self.tell()} makes no sense")
        return content


def _members_of(archive: tarfile.TarFile, file: BinaryIO, size: int) -> _Members:
    """Return the images of an archive of ``size`` bytes, found by reading header after header."""
    members, end = _Members(), 0
    while (member := archive.next()) is not None:
        if archive.offset <= end:
            raise tarfile.ReadError(f"a member of negative size at byte {end}")
        if member.offset >= size:
            raise tarfile.ReadError(f"it grew beyond {size} bytes while it was read")
        end = archive.offset
        members.add(member)
        archive.members.clear()  # type: ignore[attr-defined]  # a million members would take gigabytes
    # tarfile takes an invalid header for the end; the real end is a block of zeros.
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"neither a member nor the end at byte {archive.offset}")
    return members.last_of_each_name()


def _why_no_archive(head: bytes) -> str:
    """Return the kind of a file that does not begin like a tar archive, and advice."""
    kind = foreign_kind(head)
    if kind is None:
        return f"is not a {_WHAT}; give a list of images with -f"
    if kind.advice == UNPACK_ADVICE:
        return (
            f"is {kind.name}, but images are read only from uncompressed tar archives; unpack it "
            "and give the folder, or the .tar in it"
        )
    return f"is {kind.name}, not a {_WHAT}; {kind.advice}"
