"""Files that are either complete or absent, whatever happens while they are written."""

import errno
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
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
    errno.EFBIG: "raise the file size limit (ulimit -f)",
    errno.ENAMETOOLONG: "give the image a shorter name",
}

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp", re.DOTALL)
#: Bytes of a name that leave enough for the suffix of `temporary_beside`.
_LONGEST_NAME = 240

#: Errors of file systems that cannot sync a file or a folder; then there is nothing to wait for.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}

#: Errors that would affect all later files as well.
_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}


def write_atomically(
    path: Path, content: bytes, root: Path | None = None, *, has_neighbour: bool = False
) -> None:
    """Write ``content`` to ``path``, replacing an existing file; its folder is created if missing.

    Parameters
    ----------
    path, content
        The file.
    root
        Links out of this folder are not followed; None: all are.
    has_neighbour
        Whether another file has just been written into the same folder, which then is not checked again.

    Raises
    ------
    ImageError
        The file cannot be written; no part of it is left behind.
    OutputError
        The same, for a reason that affects all other files, too, such as a full disk.
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
    """Return the error for ``fault``, which may affect only this file, or all later files as well."""
    kind = OutputError if getattr(fault, "errno", None) in _LASTING else ImageError
    return kind(f"{path}: cannot be written: {why_unwritable(fault)}")


def replace_file(path: Path, content: bytes) -> None:
    """Replace ``path`` with a complete file, or leave it unchanged.

    The bytes are written to a temporary file in the same folder, which then replaces ``path``: readers and
    parallel writers see either the old file or a complete new one. The file's permissions follow the umask.

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
    """Write a text to a new file; raises as `write_new_bytes`."""
    write_new_bytes(path, [content.encode()])


def write_new_bytes(path: Path, parts: Iterable[bytes]) -> None:
    """Write the parts of its content to a new file.

    Raises
    ------
    OutputError
        The file already exists, or cannot be written; no part of it is left behind.
    """
    try:
        with path.open("xb") as file:
            try:
                file.writelines(parts)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError as fault:
        raise OutputError(f"{path}: already exists; give another name, or remove it first") from fault
    except (OSError, ValueError) as fault:
        raise OutputError(f"{path}: cannot be written: {why_unwritable(fault)}") from fault


def make_folder(path: Path, *, is_synced: bool) -> None:
    """Make a folder and its parents if they are missing; raises OSError on failure."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    if is_synced:
        for folder in missing:
            with suppress(PermissionError):  # other users' folders may be writable, but not readable
                sync_path(folder.parent)


def sync_files(paths: Sequence[str], roots: Collection[Path] = ()) -> None:
    """Sync files and their folders to the disk.

    Missing files are skipped.

    Parameters
    ----------
    paths
        The files.
    roots
        Parent folders at any level; those in between may be new and are synced, too.

    Raises
    ------
    OutputError
        Writing to the disk failed.
    """
    folders = {parent for path in {os.path.dirname(path) for path in paths} for parent in _up_to(path, roots)}  # noqa: PTH120 - many paths
    try:
        # Start writing all files before waiting for one: a journaling file system then writes its journal
        # once for all of them, which takes a third of the time.
        for path in paths:
            _if_there(path, _send_off)
        for path in (*paths, *sorted(folders, key=len, reverse=True)):
            _if_there(path, sync_open)
    except OSError as fault:
        raise OutputError(
            f"{fault.filename or paths[0]}: cannot be written: {why_unwritable(fault)}"
        ) from fault


def _up_to(folder: str, roots: Collection[Path]) -> list[str]:
    """Return a folder and its parents up to one of ``roots``."""
    path = Path(folder or ".")
    found = [path]
    while path not in roots and any(root in path.parents for root in roots):
        path = path.parent
        found.append(path)
    return list(map(str, found))


def _if_there(path: str, work: Callable[[int], None]) -> None:
    """Open a file and do something with it, if it exists."""
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
    """Sync a file to the disk; for a folder, its list of names.

    Raises
    ------
    OSError
        Writing to the disk failed, or the file does not exist.
    """
    _with_open(path, sync_open)


def sync_open(file: int) -> None:
    """Sync an open file or folder, as `sync_path`."""
    try:
        os.fsync(file)
    except OSError as fault:
        if fault.errno not in _CANNOT_SYNC:
            raise


def temporary_beside(path: Path) -> Path:
    """Return a unique name beside ``path``; `interrupted_writes` can derive the final name from it."""
    name = os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])
    return path.with_name(f".{name}.{uuid.uuid4().hex[:8]}.tmp")


def interrupted_writes(folder: Path) -> list[tuple[Path, str]]:
    """Return files in ``folder`` left by a killed process, and their intended names."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []
    found = [(name, _TEMPORARY.fullmatch(name)) for name in names]
    return [(folder / name, match[1]) for name, match in found if match]


def why_unwritable(error: Exception) -> str:
    """Return the reason for a fault, and advice if there is any."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    advice = advice_on_limits(error) or _ADVICE.get(error.errno)
    return f"{error.strerror}; {advice}" if advice else str(error.strerror)
