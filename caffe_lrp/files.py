"""Small files read whole, with every way they can disappoint turned into an error that names them."""

import stat
from pathlib import Path

from caffe_lrp.errors import CaffeLrpError

MEGABYTE = 1024 * 1024


def read_small_file(
    path: Path, what: str, error: type[CaffeLrpError], *, most_megabytes: int, may_be_pipe: bool = False
) -> bytes:
    """Content of the file ``path``.

    Parameters
    ----------
    path
        The file.
    what
        What the file should be, for messages: "config file".
    error
        Class of the error to raise.
    most_megabytes
        Anything larger is another kind of file and is refused, not read.
    may_be_pipe
        Whether a pipe will do, as in ``-f <(find …)``.

    Raises
    ------
    CaffeLrpError
        Of class ``error``: the file cannot be read, is no regular file, or is too large.
    """
    require_file(path, what, error, may_be_pipe=may_be_pipe)
    try:
        with path.open("rb") as file:
            content = file.read(most_megabytes * MEGABYTE + 1)
    except OSError as fault:
        raise error(f"{path}: the {what} cannot be read: {fault.strerror}") from fault
    if len(content) > most_megabytes * MEGABYTE:
        raise error(f"{path}: is larger than {most_megabytes} MB; is it really a {what}?")
    return content


def require_file(path: Path, what: str, error: type[CaffeLrpError], *, may_be_pipe: bool = False) -> None:
    """Raise ``error`` unless ``path`` is a regular file, or a pipe where one will do.

    Opening other things can hang (a pipe nobody writes to) or never end (a device).
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise error(f"{path}: the {what} cannot be read: {reason}") from fault
    if stat.S_ISDIR(mode):
        raise error(f"{path}: the {what} cannot be read: it is a folder")
    if not stat.S_ISREG(mode) and not (may_be_pipe and stat.S_ISFIFO(mode)):
        raise error(f"{path}: the {what} cannot be read: it is not a regular file")
