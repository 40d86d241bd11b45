"""The exception tree; every class has the exit code of the command line.

Messages name the file, line, layer or image, say what is wrong, and what to do about it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

#: Control and invisible characters; line breaks in messages are our own.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
#: Longer lines are cut in the middle: only quotes from files are that long.
_LONGEST_LINE = 2000


class ExitCode(IntEnum):
    """Exit codes of the command line (manual: errors, "How a run ends")."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    BAD_INPUT = 3
    IMAGES_FAILED = 4
    OUTPUT = 5
    INTERRUPTED = 130


@dataclass(frozen=True)
class Notice:
    """A note or warning about something that can be used.

    Attributes
    ----------
    text
        Its text.
    setting
        The setting that it is about: an argument of the Python interface, or an attribute of the config;
        empty if it is not about a setting.
    """

    text: str
    setting: str = ""

    def __str__(self) -> str:
        """Return the text of the notice, without the place of its setting."""
        return f"{self.setting}: {self.text}" if self.setting else self.text

    def placed(self, places: Mapping[str, str]) -> str:
        """Return the notice, with the place of its setting (a line of a file, an option) if known."""
        place = places.get(self.setting, self.setting)
        return f"{place}: {self.text}" if place else self.text


class CaffeLrpError(Exception):
    """Base of all errors that a user can cause and fix.

    Its text is safe to print, whatever names a file contains: control characters are escaped, and very long
    lines are shortened.

    Parameters
    ----------
    message
        What is wrong, where, and what to do.
    setting
        The setting at fault: an argument of the Python interface, or an attribute of the config.

    Attributes
    ----------
    setting
        As given; empty if no setting is at fault.
    place
        Where the setting was given: a line of a file, or an option; set by `placing`. In the text it replaces
        the setting's name.
    layer
        Name of the layer at fault; empty if there is none.
    file
        The file at fault; None if there is none, or several.
    hint
        Another possible cause; part of the text.
    notices
        Earlier notices, which may explain the error.
    """

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str = "", *, setting: str = "") -> None:
        super().__init__(message)
        self.setting, self.place, self.layer = setting, "", ""
        self.file: Path | None = None
        self.hint: Notice | None = None
        self.notices: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """The text without the setting or its place."""
        return super().__str__()

    def __str__(self) -> str:
        """The message."""
        place = self.place or self.setting
        text = f"{place}: {self.message}" if place else self.message
        lines = text if self.hint is None else f"{text}\n{self.hint}"
        return "\n".join(map(presentable, lines.split("\n")))


@contextmanager
def about(
    kind: type[CaffeLrpError] = CaffeLrpError,
    *,
    setting: str = "",
    place: Path | str = "",
    layer: str = "",
    file: Path | str | None = None,
) -> Iterator[None]:
    """Add setting, layer or file to errors of class ``kind`` raised within the block, unless already set.

    Parameters
    ----------
    kind
        Class of the errors.
    setting, layer, file
        See `CaffeLrpError`.
    place
        A file or something else at fault; it is put in front of errors that name no setting.
    """
    try:
        yield
    except kind as error:
        if not (error.setting or error.place):
            error.setting, error.place = setting, str(place)
        error.layer = error.layer or layer
        error.file = error.file or (None if file is None else Path(file))
        raise


@contextmanager
def placing(places: Mapping[str, str]) -> Iterator[None]:
    """Add the places of settings to errors raised within the block.

    Parameters
    ----------
    places
        Setting -> line of a config file, or option.
    """
    try:
        yield
    except CaffeLrpError as error:
        error.place = error.place or places.get(error.setting, "")
        if error.hint is not None:
            error.hint = Notice(error.hint.placed(places))
        raise


@contextmanager
def noticing(notices: Sequence[str]) -> Iterator[None]:
    """Add earlier notices to errors raised within the block."""
    try:
        yield
    except CaffeLrpError as error:
        error.notices = (*notices, *error.notices)
        raise


def notices_of(error: BaseException) -> tuple[str, ...]:
    """Return the notices of an error and of its causes, without duplicates."""
    found: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        found.extend(cause.notices if isinstance(cause, CaffeLrpError) else ())
        cause = cause.__cause__
    return tuple(dict.fromkeys(found))


def presentable(line: str) -> str:
    """One line of a message, with control characters escaped, and shortened if necessary."""
    if len(line) > _LONGEST_LINE:
        half = _LONGEST_LINE // 2
        line = f"{line[:half]} … {line[-half:]}"
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), line)


class UsageError(CaffeLrpError):
    """The program or a function was called with invalid arguments, or in an unsuitable environment."""

    exit_code = ExitCode.USAGE


class LimitError(UsageError):
    """A limit of the process or the machine was reached, which ends the run; no image is at fault."""


class ConfigError(CaffeLrpError):
    """The config file, or a value that replaces one of its values, is wrong."""


class FileListError(CaffeLrpError):
    """The list of images is missing, unreadable or malformed."""


class ModelError(CaffeLrpError):
    """The prototxt, caffemodel or mean file cannot be used."""


class PlanError(CaffeLrpError):
    """The formula cannot be applied to this net: a layer has no rule."""


class OutputError(CaffeLrpError):
    """The output folder cannot be used: it is full, not writable, or has files that must not be lost."""

    exit_code = ExitCode.OUTPUT


class ClusterError(CaffeLrpError):
    """The connection to the cluster is lost; the same command continues once it is back."""

    exit_code = ExitCode.INTERRUPTED


class ImageError(CaffeLrpError):
    """One image cannot be explained; the others are not affected."""

    exit_code = ExitCode.IMAGES_FAILED
