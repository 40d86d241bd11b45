"""Printing; no other module prints."""

import io
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

#: Columns of output that is not shown on a terminal.
WIDTH = 80
#: Longer lines of running text are hard to read, even on a wide terminal; those of tables are not.
_WIDEST_TEXT, _WIDEST_TABLE, _NARROWEST = 100, 160, 30

#: Escape sequences of our colours; they are sent only to a terminal.
_COLOURS = {"good": "\x1b[32m", "bad": "\x1b[31m"}
_NO_COLOUR = "\x1b[0m"


class StandardOutput(io.TextIOBase):
    """Standard output that remembers why a write failed, so that the work can continue.

    Attributes
    ----------
    fault
        Reason of the failure; None if all was written, or the reader stopped (``caffe-lrp … | head``).
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.fault: str | None = None

    def write(self, text: str) -> int:
        """Write ``text``, or discard it after a failure."""
        if self._stream is None:
            if text:
                self.fault = "it is closed"
        else:
            self._attempt(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write buffered text."""
        self._attempt(lambda stream: stream.flush())

    def _attempt(self, work: Callable[[TextIO], object]) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            work(stream)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.fault = error.strerror or str(error)
            _discard(stream)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        """The encoding of the stream."""
        return self._stream.encoding if self._stream else "utf-8"


@contextmanager
def prepared_streams() -> Iterator[StandardOutput]:
    """Make standard streams safe to print to within the block; yield the one for results.

    Characters that the terminal lacks are escaped. Text that cannot be written is discarded.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    before = sys.stdout, sys.stderr
    for number in (1, 2):
        _occupy(number)
    output = StandardOutput(before[0])
    sys.stdout = output
    sys.stderr = before[1] or open(os.devnull, "w")  # noqa: SIM115, PTH123 - open until the end
    try:
        yield output
    finally:
        output.flush()
        sys.stdout, sys.stderr = before


def _occupy(number: int) -> None:
    """Redirect a closed standard stream to the null device, as the next opened file would take its number."""
    try:
        os.fstat(number)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def say(text: str, stream: TextIO, write: Callable[..., None] = print) -> None:
    """Print a line; if the reader is gone, do nothing."""
    try:
        write(text, file=stream)
        stream.flush()
    except OSError:
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """Discard all further output to ``stream``, including buffered text."""
    with suppress(OSError):  # a stream in a test may have no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def remark(text: str) -> None:
    """Print a remark, apart from the results."""
    say(f"caffe-lrp: {text}", sys.stderr)


@contextmanager
def remarking_logs() -> Iterator[None]:
    """Print the package's log messages, which are meant for programs, as notes within the block."""
    handler = _Remarks()
    logger = logging.getLogger("caffe_lrp")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Remarks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        remark(f"note: {record.getMessage()}")


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """Return ``text`` in a colour if ``stream`` is a terminal that allows it (see https://no-color.org)."""
    return f"{_COLOURS[colour]}{text}{_NO_COLOUR}" if wants_styles(stream) else text


def wants_styles(stream: TextIO) -> bool:
    """Return whether ``stream`` is a terminal with colours and bold text, and they are not turned off."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def text_width() -> int:
    """Return the columns of running text on standard output: the terminal's, within limits, or 80."""
    return min(table_width(), _WIDEST_TEXT)


def table_width() -> int:
    """Return the columns of tables on standard output, as for running text, but possibly more."""
    if not sys.stdout.isatty():
        return WIDTH
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST_TABLE)
