"""The kind of a file that is read or written, and what is said of it."""

import logging
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path

from caffe_lrp.errors import UsageError
from caffe_lrp.messages import did_you_mean

#: Gets each line that the toolbox would print.
Report = Callable[[str], object]

log: Report = logging.getLogger("caffe_lrp").info


def format_of(path: Path, fmt: str | None, known: Iterable[str]) -> str:
    """The format that is given, or else the ending of the name.

    Raises
    ------
    UsageError
        It is not known.
    """
    choices = list(known)
    found = path.suffix.lower().lstrip(".") if fmt is None else fmt
    if found not in choices:
        near = did_you_mean(found, choices) or f"; use {', '.join(filter(None, choices))}"
        raise UsageError(f"{path}: there is no format '{found}'{near}")
    return found


def existing(path: str | PathLike[str], reader: str) -> Path:
    """The path of a file to read.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    found = Path(path)
    if not found.exists():
        raise FileNotFoundError(f"{reader} : No such file or directory: {path}")
    return found
