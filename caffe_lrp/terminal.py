"""What people read: the only module that prints."""

import io
import os
import sys
from collections.abc import Callable
from typing import TextIO

#: Escape sequences of the colours we use; only a terminal is sent them.
_COLOURS = {"good": "\x1b[32m", "bad": "\x1b[31m"}
_NO_COLOUR = "\x1b[0m"


def prepare_streams() -> None:
    """Make printing safe: a closed stream swallows, and characters the terminal lacks are escaped."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - open until the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str, stream: TextIO, write: Callable[..., None] = print) -> None:
    """Print a line; if nobody can read it any more (``caffe-lrp … | head``), the work goes on silently."""
    try:
        write(text, file=stream)
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def remark(text: str) -> None:
    """Say something besides the results."""
    say(f"caffe-lrp: {text}", sys.stderr)


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """``text`` in a colour if ``stream`` is a terminal that wants some (see https://no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"{_COLOURS[colour]}{text}{_NO_COLOUR}"
