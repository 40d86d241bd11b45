"""Files that are either complete or absent, whatever happens while they are written."""

import errno
import os
import re
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from caffe_lrp.errors import ImageError, OutputError
from caffe_lrp.machine.environment import advice_on_limits

from .containment import refuse_outside

_ADVICE = {
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some of your quota",
    errno.ENOENT: "create its folder first",
    errno.EACCES: "check the permissions of the output folder",
    errno.EPERM: "check the permissions of the output folder",
    errno.EROFS: "choose an output folder that can be written",
    errno.EEXIST: "a file is where a folder is needed; move or rename it",
    errno.ENOTDIR: "a file is where a folder is needed; move or rename it",
    errno.EISDIR: "a folder has the name of the output file; move or rename it",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ENAMETOOLONG: "give the image a shorter name",
}

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp", re.DOTALL)
#: Bytes of a name that leave room for what `temporary_beside` adds.
_LONGEST_NAME = 240

#: What file systems say that have no way to sync a file or a folder; there is nothing to wait for then.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}

#: Faults that all files to come would have as well.
_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}


def write_atomically(
    path: Path, content: bytes, root: Path | None = None, *, has_neighbour: bool = False
) -> None:
    """Write ``content`` to ``path``, replacing what is there, its folder created if missing.

    Parameters
    ----------
    path, content
        The file.
    root
        Links that lead out of this folder are not followed; None: all are.
    has_neighbour
        Whether another file has just been written into the same folder, which then is not looked at again.

    Raises
    ------
    ImageError
        The file cannot be written; no part of it is left behind.
    OutputError
        The same, for a reason that holds for all other files too, such as a full disk.
    """
    try:
        if not has_neighbour:
            if root is not None:
                refuse_outside(path.parent, root)
            path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except (OSError, ValueError) as error:
        raise writing_error(path, error) from error


def writing_error(path: Path, fault: OSError | ValueError) -> ImageError | OutputError:
    """Return the error for ``fault``: it may concern one file, or all later files as well."""
    kind = OutputError if getattr(fault, "errno", None) in _LASTING else ImageError
    return kind(f"{path}: cannot be written: {why_unwritable(fault)}")


def replace_file(path: Path, content: bytes) -> None:
    """Replace ``path`` by a complete file, or leave it unchanged.

    The bytes go to a file with a name of its own in the same folder, which then takes the place of
    ``path``: readers and parallel writers see the old file or a complete new one. The file's rights
    follow the umask.

    Raises
    ------
    OSError, ValueError
        The file cannot be written; no part of it is left behind.
    """
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_new(path: Path, content: str) -> None:
    """Write a text to a new file.

    Raises
    ------
    OutputError
        The file already exists, or cannot be written; no part of it is left behind.
    """
    try:
        with path.open("xb") as file:
            try:
                file.write(content.encode())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError as fault:
        raise OutputError(f"{path}: already exists; give another name, or remove it first") from fault
    except (OSError, ValueError) as fault:
        raise OutputError(f"{path}: cannot be written: {why_unwritable(fault)}") from fault


def make_folder(path: Path, *, is_synced: bool) -> None:
    """Make a folder, and those it lies in, where they are missing; raises OSError where that cannot be."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    if is_synced:
        for folder in missing:
            with suppress(PermissionError):  # others' folders may be open for writing, but not for reading
                sync_path(folder.parent)


def sync_files(paths: Sequence[str], roots: Collection[Path] = ()) -> None:
    """Wait until files and their folders are on the disk.

    Missing files are skipped.

    Parameters
    ----------
    paths
        The files.
    roots
        Folders that they lie in, however deep: those between may be new as well.

    Raises
    ------
    OutputError
        The disk did not take them.
    """
    folders = {parent for path in {os.path.dirname(path) for path in paths} for parent in _up_to(path, roots)}  # noqa: PTH120 - many paths
    try:
        # All are on their way before one is waited for: a journaling file system then writes its journal once
        # for them, which takes a third of the time.
        for path in paths:
            _if_there(path, _send_off)
        for path in (*paths, *sorted(folders, key=len, reverse=True)):
            _if_there(path, sync_open)
    except OSError as fault:
        raise OutputError(
            f"{fault.filename or paths[0]}: cannot be written: {why_unwritable(fault)}"
        ) from fault


def _up_to(folder: str, roots: Collection[Path]) -> list[str]:
    """A folder, and those that it lies in up to one of ``roots``."""
    path = Path(folder or ".")
    found = [path]
    while path not in roots and any(root in path.parents for root in roots):
        path = path.parent
        found.append(path)
    return list(map(str, found))


def _if_there(path: str, work: Callable[[int], None]) -> None:
    """Do something with an open file, if there is one."""
    with suppress(FileNotFoundError, NotADirectoryError):
        _with_open(path, work)


def _with_open(path: Path | str, work: Callable[[int], None]) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        work(file)
    finally:
        os.close(file)


def _send_off(file: int) -> None:
    """Ask the system to start writing the buffers of an open file; it may ignore this hint."""
    with suppress(OSError):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_path(path: Path | str) -> None:
    """Wait until a file is on the disk; for a folder, its list of names.

    Raises
    ------
    OSError
        The disk did not take it, or it is not there.
    """
    _with_open(path, sync_open)


def sync_open(file: int) -> None:
    """The same for an open file or folder."""
    try:
        os.fsync(file)
    except OSError as fault:
        if fault.errno not in _CANNOT_SYNC:
            raise


def temporary_beside(path: Path) -> Path:
    """A name of its own beside ``path``, from which `interrupted_writes` can tell what it was to become."""
    name = os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])
    return path.with_name(f".{name}.{uuid.uuid4().hex[:8]}.tmp")


def interrupted_writes(folder: Path) -> list[tuple[Path, str]]:
    """Files in ``folder`` left by a process that was killed, and what they were to be called."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []
    found = [(name, _TEMPORARY.fullmatch(name)) for name in names]
    return [(folder / name, match[1]) for name, match in found if match]


def why_unwritable(error: Exception) -> str:
    """Return the reason of a fault, and advice if there is any."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    advice = advice_on_limits(error) or _ADVICE.get(error.errno)
    return f"{error.strerror}; {advice}" if advice else str(error.strerror)
