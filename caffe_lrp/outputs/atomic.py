"""Files that are either complete or absent, whatever happens while they are written."""

import errno
import uuid
from pathlib import Path

from caffe_lrp.errors import ImageError

_ADVICE = {
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some of your quota",
    errno.EACCES: "check the rights of the output folder",
    errno.EPERM: "check the rights of the output folder",
    errno.EROFS: "choose an output folder that can be written",
    errno.EEXIST: "a file stands where a folder is needed; move it away",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away",
    errno.EISDIR: "a folder has the name of the output file; move it away",
    errno.ENAMETOOLONG: "give the image a shorter name",
}


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, replacing what is there, its folder created if missing.

    The bytes go to a file with a name of its own in the same folder, which then takes the place of
    ``path``: readers and parallel writers see the old file or a complete new one. The file's rights
    follow the umask.

    Raises
    ------
    ImageError
        The file cannot be written; no part of it is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be written: {_reason(error)}") from error


def _reason(error: OSError | ValueError) -> str:
    """What went wrong, and what to do about it where that is known."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    advice = _ADVICE.get(error.errno)
    return f"{error.strerror}; {advice}" if advice else str(error.strerror)
