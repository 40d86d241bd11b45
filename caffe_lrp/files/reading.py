"""Opening files with care: every fault becomes an error that names the file and says what to do.

This module knows nothing about the content of a config, list or model; only the names of published files.
"""

import errno
import itertools
import os
import re
import select
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from caffe_lrp.errors import CaffeLrpError
from caffe_lrp.machine.environment import advice_on_limits
from caffe_lrp.messages import closest, did_you_mean

from .recognition import HEAD_BYTES, why_foreign

MEGABYTE = 1024 * 1024

#: In larger folders, no similar name is searched for: a list may have thousands of missing images.
_MOST_NEIGHBOURS = 200
#: File names less similar than this are not suggested; the extension alone makes names somewhat similar.
_LEAST_SIMILARITY = 0.75

#: Files that scripts/fetch_model.py downloads: name -> a model they belong to.
PUBLISHED_FILES = {
    "bvlc_reference_caffenet.caffemodel": "caffenet",
    "bvlc_googlenet.caffemodel": "googlenet",
    "VGG_ILSVRC_16_layers.caffemodel": "vgg16",
    "imagenet_mean.binaryproto": "caffenet",
    "synset_words.txt": "caffenet",
}

_RIGHTS_ADVICE = "check the permissions of the file and of its folder"
_ADVICE = {
    errno.EACCES: _RIGHTS_ADVICE,
    errno.EPERM: _RIGHTS_ADVICE,
    errno.ENAMETOOLONG: "a path has 4,095 bytes at most, and a name in it 255; shorten it",
}

#: How long to wait for a writer to open a pipe, and how often to check.
_SECONDS_FOR_A_WRITER, _SECONDS_BETWEEN_LOOKS = 5.0, 0.05


def read_small_file(
    path: Path,
    what: str,
    error: type[CaffeLrpError],
    *,
    most_megabytes: int,
    may_be_pipe: bool = False,
) -> bytes:
    """Return the content of the file ``path``.

    Parameters
    ----------
    path
        The file.
    what
        What the file should be, for messages: "config file".
    error
        Class of the error to raise.
    most_megabytes
        Larger files are of another kind, and are refused without reading them.
    may_be_pipe
        Whether a pipe is accepted, as in ``-f <(find …)``.

    Raises
    ------
    CaffeLrpError
        Of class ``error``: the file cannot be read, is not a regular file, or is too large.
    """
    try:
        with open_input(path, may_be_pipe=may_be_pipe) as file:
            return _joined(pieces_of(file), path, what, error, most_megabytes)
    except (OSError, ValueError) as fault:
        raise error(f"{path}: the {what} cannot be read: {why_unreadable(fault, path)}") from fault


def read_head(path: Path, what: str, error: type[CaffeLrpError], size: int = HEAD_BYTES) -> bytes:
    """Return the first ``size`` bytes of the file ``path``; raises as `read_small_file`."""
    try:
        with open_input(path) as file:
            return next(pieces_of(file, size), b"")
    except (OSError, ValueError) as fault:
        raise error(f"{path}: the {what} cannot be read: {why_unreadable(fault, path)}") from fault


def read_bounded(
    file: BinaryIO, name: Path | str, what: str, error: type[CaffeLrpError], most_megabytes: int
) -> bytes:
    """Return the rest of an open file; raise ``error`` if it is larger than ``most_megabytes``."""
    return _joined(iter(lambda: file.read(MEGABYTE), b""), name, what, error, most_megabytes)


def _joined(
    pieces: Iterator[bytes], name: Path | str, what: str, error: type[CaffeLrpError], most_megabytes: int
) -> bytes:
    # A read allocates all the memory requested, and the size of a pipe is unknown.
    content = bytearray()
    while piece := next(pieces, b""):
        content += piece
        if len(content) > most_megabytes * MEGABYTE:
            large = f"is larger than {most_megabytes} MB; is it really a {what}?"
            raise error(f"{name}: {why_foreign(bytes(content), what) or large}")
    return bytes(content)


def open_input(path: Path, *, may_be_pipe: bool = False) -> BinaryIO:
    """Open a file given by the user, to read it with `pieces_of`; never blocks.

    Raises
    ------
    FolderError, NotRegularError
        It is a folder; or it is a device, a socket, or a pipe that is not accepted.
    OSError, ValueError
        It cannot be opened.
    """

    def require(mode: int) -> None:
        _require_input(mode, may_be_pipe)

    return os.fdopen(_open(path, os.O_RDONLY, require), "rb")


def pieces_of(file: BinaryIO, size: int = MEGABYTE) -> Iterator[bytes]:
    """Yield the bytes of a file opened by `open_input`, in pieces of at most ``size``.

    A regular file is read up to its present size, although it may grow meanwhile. So system files of
    size 0, some of which never end or block, are empty.

    Raises
    ------
    NotRegularError
        It is a pipe without a writer.
    """
    status = os.fstat(file.fileno())
    if stat.S_ISFIFO(status.st_mode):
        if begun := _first_of_pipe(file.fileno()):
            yield begun
        yield from iter(lambda: file.read(size), b"")
        return
    left = status.st_size
    while left > 0 and (piece := file.read(min(size, left))):
        left -= len(piece)
        yield piece


def _first_of_pipe(descriptor: int) -> bytes:
    """Return the first bytes of a pipe; wait a little, as its writer may start later."""
    hung_up = select.poll()
    hung_up.register(descriptor, 0)
    deadline = time.monotonic() + _SECONDS_FOR_A_WRITER
    while True:
        is_over = bool(hung_up.poll(0))
        try:
            piece = os.read(descriptor, HEAD_BYTES)
        except BlockingIOError:  # there is a writer, which may take its time
            piece, is_over = b"", True
        if piece or is_over:
            break
        if time.monotonic() > deadline:
            raise NotRegularError("no process writes to this pipe; start its writer first")
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os.set_blocking(descriptor, True)
    return piece


def user_cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the user's cache folder, ``XDG_CACHE_HOME`` or ``~/.cache``; None for a user without a home."""
    wish = Path(environment.get("XDG_CACHE_HOME", ""))
    folder = wish if wish.is_absolute() else Path(os.path.expanduser("~/.cache"))  # noqa: PTH111 - never fails
    return folder / "caffe-lrp" if folder.is_absolute() else None


def require_file(path: Path, what: str, error: type[CaffeLrpError], *, may_be_pipe: bool = False) -> None:
    """Raise ``error`` unless ``path`` is a regular file, or a pipe if one is accepted.

    Opening anything else can block (a pipe without a writer), or reading it may never end (a device).
    """
    try:
        _require_input(path.stat().st_mode, may_be_pipe)
    except (OSError, ValueError) as fault:
        raise error(f"{path}: the {what} cannot be read: {why_unreadable(fault, path)}") from fault


def _require_input(mode: int, may_be_pipe: bool) -> None:
    if stat.S_ISDIR(mode):
        raise FolderError("it is a folder; give a file")
    if not stat.S_ISREG(mode) and not (may_be_pipe and stat.S_ISFIFO(mode)):
        raise NotRegularError("it is not a regular file; give a regular file")


class NotRegularError(OSError):
    """A folder, a pipe or a device instead of a file, or a link that must not be followed.

    The text says which, and what to do.
    """


class FolderError(NotRegularError):
    """A folder instead of a file."""


def open_own(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file of caffe-lrp, or make it; return a descriptor that child processes do not inherit.

    Anyone who can write to the folder can replace such a file with something else. So links are not followed,
    pipes do not block, and files are not truncated: `flags` may include ``O_CREAT``, but not ``O_TRUNC``.

    Raises
    ------
    NotRegularError
        It is a link, a folder, a pipe or a device.
    OSError
        It cannot be opened.
    """
    return _open(path, flags | os.O_NOFOLLOW, _require_regular)


def open_regular(path: Path) -> int:
    """Return a descriptor to read a file given by the user; raises as `open_own`, but follows links."""
    return _open(path, os.O_RDONLY, _require_regular)


def _open(path: Path, flags: int, require: Callable[[int], None]) -> int:
    """Return a descriptor; ``require`` checks the mode before and after opening, as files can be replaced."""
    with suppress(FileNotFoundError):  # merely opening a device may have an effect
        require(path.stat(follow_symlinks=not flags & os.O_NOFOLLOW).st_mode)
    file = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        require(os.fstat(file).st_mode)
    except BaseException:
        os.close(file)
        raise
    return file


def _require_regular(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    raise NotRegularError(f"{kind} is in place of this file; move or rename it")


def why_unreadable(fault: OSError | ValueError, path: Path) -> str:
    """Return the operating system's reason for not opening ``path``, and advice."""
    if isinstance(fault, NotRegularError):
        return str(fault)
    if not isinstance(fault, OSError) or fault.errno is None:
        return f"{fault}; check the path"
    reason = fault.strerror or str(fault)
    if fault.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"{reason}; {missing_file_advice(path)}"
    advice = _ADVICE.get(fault.errno) or advice_on_limits(fault)
    return f"{reason}; {advice}" if advice else reason


def missing_file_advice(path: Path) -> str:
    """Return advice on a missing file: the fault in its path, or a suggestion."""
    text = str(path)
    if text.startswith("~"):
        return "'~' is not expanded here; write the path in full"
    if text.startswith(('"', "'")):
        return "it begins with a quote; remove it, or in a list add the closing one after the path"
    if re.match("[A-Za-z]{2,}:/", text):
        return "it is a web address; download the file and give its path"
    if "\\" in text:
        return "write '/' instead of '\\'"
    return _advice_by_neighbours(path)


def _advice_by_neighbours(path: Path) -> str:
    """Return the first part of ``path`` that does not exist, and a similar name in its folder."""
    steps = [*reversed(path.parents), path]
    gone = next(step for step in steps if step == path or not step.is_dir())
    if gone.is_file():
        return f"'{gone}' is a file, not a folder"
    if gone.is_symlink():
        subject = "it" if gone == path else f"'{gone}'"
        return f"{subject} is a link to '{gone.readlink()}', which does not exist"
    if gone.name in PUBLISHED_FILES:
        return f"scripts/fetch_model.py {PUBLISHED_FILES[gone.name]} downloads it into configs/"
    neighbours = _names_in(gone.parent)
    if gone != path:
        return f"there is no folder '{gone}'{did_you_mean(gone.name, neighbours, _LEAST_SIMILARITY)}"
    close = closest(gone.name, neighbours, _LEAST_SIMILARITY)
    return f"did you mean '{close}'?" if close else "check the path and the folder it is relative to"


def _names_in(folder: Path) -> list[str]:
    """Return the names of the files in ``folder``; none if it cannot be listed or has too many."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_NEIGHBOURS + 1)]
    except OSError:
        return []
    return names if len(names) <= _MOST_NEIGHBOURS else []
