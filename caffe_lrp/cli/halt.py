"""Signals that ask the program to end, from its first instruction to its last.

This module imports almost nothing: until it is loaded, Python's own handlers are active.
"""

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

#: Sent on Ctrl-C, by a cluster, and when a terminal closes.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Seconds for batches in progress to finish; a cluster waits 30 before it kills.
_SECONDS_TO_FINISH = 20

#: `ExitCode.INTERRUPTED`; its module takes too long to import.
_INTERRUPTED = 130

_FINISHING = "\ncaffe-lrp: finishing the work in progress; interrupt again (Ctrl-C) to stop at once\n"
_LEAVING = "\ncaffe-lrp: interrupted: files written so far are complete\n"

_Handler = Callable[[int, FrameType | None], object] | int | None


class Halt:
    """A request to end, made by SIGINT (Ctrl-C), SIGTERM or SIGHUP, and its current effect.

    KeyboardInterrupt is raised at most once, so the cleanup it starts, such as the removal of a half-written
    file, is not interrupted by further signals. Further signals redirect standard streams that nobody reads,
    since a write to them could block forever. Signals that were ignored when the process started, as by
    ``nohup``, stay ignored.

    Attributes
    ----------
    requested
        Whether a signal has arrived: no new work is started.
    at_once
        Whether to drop work in progress, too.
    is_unwinding
        Whether KeyboardInterrupt was raised; later errors may be caused by it.
    """

    def __init__(self) -> None:
        self.requested = self.at_once = self.is_unwinding = False
        self._is_asked = self._owns_process = False
        self._answer = self._unwind

    # Installing handlers

    @contextmanager
    def listening(self) -> Iterator["Halt"]:
        """Handle signals within the block; the first one raises KeyboardInterrupt.

        Python delivers signals only to the main thread. In other threads this does nothing.
        """
        import threading  # noqa: PLC0415 - not needed by the command itself

        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = self._listen()
        try:
            yield self
        finally:
            signal.alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def __enter__(self) -> "Halt":
        """Handle signals from now on, in our own process: until work has begun, a signal ends it."""
        self._owns_process = True
        self._answer = self._leave
        self._listen()
        sys.unraisablehook = self._report_unraisable
        sys.excepthook = self._report
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ignore signals from now on: Python is shutting down, and a signal would cause a traceback."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.alarm(0)

    def _listen(self) -> dict[signal.Signals, _Handler]:
        """Install the handlers; return the previous ones."""
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before: dict[signal.Signals, _Handler] = {
            number: signal.signal(number, self._receive) for number in heard
        }
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._give_up)
        return before

    # Called by the work, to choose the effect of a signal

    def unwind(self) -> None:
        """Let signals raise KeyboardInterrupt from now on: there is something to clean up."""
        self._answer = self._unwind

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Let a signal within the block only request the end; a second one stops the work in progress.

        The second one raises KeyboardInterrupt, unless `is_requested` has been called.
        """
        with self._answering(self._finish):
            yield

    def is_requested(self) -> bool:
        """Return whether to start no new work. Callers also check `at_once` while waiting."""
        self._is_asked = True
        return self.requested

    @contextmanager
    def concluding(self) -> Iterator[None]:
        """Make signals have no effect within the block: its work is short, and must be completed."""
        with self._answering(self._conclude):
            yield

    def conclude(self) -> None:
        """Make signals have no effect from now on: the exit code is decided."""
        self._answer = self._conclude

    @contextmanager
    def _answering(self, answer: Callable[[], None]) -> Iterator[None]:
        before, self._answer = self._answer, answer
        try:
            yield
        finally:
            self._answer = before

    # Effects of a signal

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._answer()

    def _leave(self) -> None:
        _interject(_LEAVING)
        os._exit(_INTERRUPTED)

    def _unwind(self) -> None:
        if self._is_first():
            self._raise()

    def _finish(self) -> None:
        if self._is_first():
            _interject(_FINISHING)
        elif not self.at_once and not self._is_asked:
            self._raise()
        elif not self.at_once:
            self.at_once = True
            signal.alarm(_SECONDS_TO_FINISH)

    def _conclude(self) -> None:
        self._is_first()

    def _is_first(self) -> bool:
        """Request the end; return whether this is the first request. Later ones release blocked writes."""
        if self.requested:
            _let_go()
            return False
        self.requested = True
        signal.alarm(_SECONDS_TO_FINISH)
        return True

    def _raise(self) -> None:
        self.at_once = self.is_unwinding = True
        signal.alarm(_SECONDS_TO_FINISH)
        _let_go()
        raise KeyboardInterrupt

    def _give_up(self, number: int, frame: FrameType | None) -> None:
        """Handle the alarm: the process has not ended in time."""
        if self._owns_process and (self.at_once or self._answer != self._finish):
            self._leave()
        self._answer()

    # For exceptions that Python would only print: in destructors and callbacks from C

    def _report_unraisable(self, fault: "sys.UnraisableHookArgs") -> None:
        self._leave_if_lost(fault.exc_type)
        sys.__unraisablehook__(fault)

    def _report(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self._leave_if_lost(kind)
        sys.__excepthook__(kind, error, trace)

    def _leave_if_lost(self, kind: type[BaseException]) -> None:
        """End the process if ``kind`` requests it and nothing else will handle it."""
        if issubclass(kind, KeyboardInterrupt):
            self._leave()


def _interject(text: str) -> None:
    """Print from a signal handler, even during another print, unless that would block."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None and _is_writable(sys.stderr.fileno()):
            os.write(sys.stderr.fileno(), text.encode())


def _let_go() -> None:
    """Redirect standard streams that would block to the null device, including pending writes."""
    for number in (1, 2):
        with suppress(OSError, ValueError):
            if not _is_writable(number):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _is_writable(number: int) -> bool:
    """Return whether a write of a few bytes to a stream would not block."""
    return bool(select.select([], [number], [], 0)[1])
