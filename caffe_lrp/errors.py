"""The exception tree; every class carries the exit code with which the command line ends.

Messages name the file, line, layer or image, say what is wrong, and what to do about it.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

#: What a terminal would obey, or a reader not see; ends of lines are our own.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
#: Longer lines are cut in the middle: only what was quoted from a file is as long.
_LONGEST_LINE = 2000


class ExitCode(IntEnum):
    """Exit codes of the command line (documented in the README)."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    BAD_INPUT = 3
    IMAGES_FAILED = 4
    OUTPUT = 5
    INTERRUPTED = 130


class CaffeLrpError(Exception):
    """Base of all errors that a user can cause and mend.

    As a text it is fit to be printed, whatever a file had for names: control characters are escaped, and
    lines of absurd length shortened. ``notices`` were gathered before it was raised, and may explain it.
    """

    exit_code = ExitCode.BAD_INPUT
    notices: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The message."""
        return "\n".join(map(presentable, super().__str__().split("\n")))


@contextmanager
def noticing(notices: Sequence[str]) -> Iterator[None]:
    """Give errors that are raised meanwhile what was noticed before them."""
    try:
        yield
    except CaffeLrpError as error:
        error.notices = (*notices, *error.notices)
        raise


def notices_of(error: BaseException) -> tuple[str, ...]:
    """What was noticed before an error, and before those that it was made from; nothing twice."""
    found: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        found.extend(cause.notices if isinstance(cause, CaffeLrpError) else ())
        cause = cause.__cause__
    return tuple(dict.fromkeys(found))


def presentable(line: str) -> str:
    """One line of a message, without control characters and not too long."""
    if len(line) > _LONGEST_LINE:
        half = _LONGEST_LINE // 2
        line = f"{line[:half]} … {line[-half:]}"
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), line)


class UsageError(CaffeLrpError):
    """The program is called, or its environment set, in a way that cannot be meant."""

    exit_code = ExitCode.USAGE


class LimitError(UsageError):
    """A limit of the process or of the machine is reached, which ends the run; no image is at fault."""


class ConfigError(CaffeLrpError):
    """The config file, or a value given in its place on the command line, is wrong."""


class FileListError(CaffeLrpError):
    """The list of images is missing, unreadable or malformed."""


class ModelError(CaffeLrpError):
    """The prototxt, caffemodel or mean file cannot be used."""


class PlanError(CaffeLrpError):
    """The formula cannot be applied to this net: a layer has no rule."""


class OutputError(CaffeLrpError):
    """The output folder cannot be used: it is full, cannot be written, or holds what must not be lost."""

    exit_code = ExitCode.OUTPUT


class ClusterError(CaffeLrpError):
    """The cluster that did the work is lost; the same command goes on when it is there again."""

    exit_code = ExitCode.INTERRUPTED


class ImageError(CaffeLrpError):
    """One image cannot be explained; the others are not concerned."""

    exit_code = ExitCode.IMAGES_FAILED
