"""Files that are either complete or absent, whatever happens while they are written."""

import errno
import os
import re
import uuid
from pathlib import Path

from caffe_lrp.environment import advice_on_limits
from caffe_lrp.errors import ImageError, OutputError

from .containment import refuse_outside

_ADVICE = {
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some of your quota",
    errno.EACCES: "check the rights of the output folder",
    errno.EPERM: "check the rights of the output folder",
    errno.EROFS: "choose an output folder that can be written",
    errno.EEXIST: "a file stands where a folder is needed; move it away",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away",
    errno.EISDIR: "a folder has the name of the output file; move it away",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ENAMETOOLONG: "give the image a shorter name",
}

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp", re.DOTALL)
#: Bytes of a name that leave room for what `temporary_beside` adds.
_LONGEST_NAME = 240

#: Faults that all files to come would have as well.
_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}


def write_atomically(path: Path, content: bytes, root: Path | None = None) -> None:
    """Write ``content`` to ``path``, replacing what is there, its folder created if missing.

    Where there is a ``root``, links that lead out of that folder are not followed.

    Raises
    ------
    ImageError
        The file cannot be written; no part of it is left behind.
    OutputError
        The same, for a reason that holds for all other files too, such as a full disk.
    """
    try:
        if root is not None:
            refuse_outside(path.parent, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except (OSError, ValueError) as error:
        raise writing_error(path, error) from error


def writing_error(path: Path, fault: OSError | ValueError) -> ImageError | OutputError:
    """What to raise for ``fault``: it may concern one file, or all files to come as well."""
    kind = OutputError if getattr(fault, "errno", None) in _LASTING else ImageError
    return kind(f"{path}: cannot be written: {why_unwritable(fault)}")


def replace_file(path: Path, content: bytes) -> None:
    """Put a complete file in the place of ``path``, or leave it as it is.

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
    """What went wrong, and what to do about it where that is known."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    advice = advice_on_limits(error) or _ADVICE.get(error.errno)
    return f"{error.strerror}; {advice}" if advice else str(error.strerror)
