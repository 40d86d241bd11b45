"""Ending a run in good order when somebody asks for it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: Batches that are under way may take so many seconds more; a cluster waits 30 before it kills.
_SECONDS_TO_FINISH = 20

_MESSAGE = "\ncaffe-lrp: finishing what is under way; once more (Ctrl-C) stops at once\n"


class Halt:
    """A request to begin nothing new, made by SIGINT (Ctrl-C) or SIGTERM.

    A second signal, or one that has had no effect for 20 seconds, raises KeyboardInterrupt.

    Attributes
    ----------
    requested
        Whether it was made.
    """

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals for requests within the block; in the main thread only."""
        before = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._give_up)
        try:
            yield
        finally:
            signal.alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        signal.alarm(_SECONDS_TO_FINISH)
        # A print could meet another one half done.
        os.write(sys.stderr.fileno(), _MESSAGE.encode())

    def _give_up(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
