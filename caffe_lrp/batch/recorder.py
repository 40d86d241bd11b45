"""Writing outcomes into the journal while the run goes on.

A line of the journal guarantees that files exist, even if the machine loses power right after. Syncing
takes longer than making a small map, so a separate thread does it: it syncs the files of all outcomes
since the last time together, and then appends their lines.
"""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from caffe_lrp.machine.crew import SECONDS_DEAF

from .job import JobOutcome

#: With more outcomes waiting, the run waits, too: the disk cannot keep up.
_MOST_WAITING = 1024
#: The same, before the speed of the disk is known.
_MOST_WAITING_AT_FIRST = 32
#: No more outcomes wait than can be recorded in this many seconds, as the end of a run waits for them.
_SECONDS_BEHIND = 2.0
#: Seconds to collect outcomes before a sync: syncing files together is far faster than one by one. If the
#: process is killed, their maps are made again.
_SECONDS_TOGETHER = 0.2


class Recorder:
    """Records outcomes in its own thread; a context manager, which exits when all are recorded.

    Parameters
    ----------
    note
        Syncs the files of outcomes, and adds them to the journal.
    """

    def __init__(self, note: Callable[[Sequence[JobOutcome]], None]) -> None:
        self._note, self._most_waiting = note, _MOST_WAITING_AT_FIRST
        self._waiting: list[JobOutcome] = []
        self._is_ending = False
        self._fault: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="recorder")

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        while self._thread.is_alive():
            self._thread.join(SECONDS_DEAF)
        if error is None and self._fault is not None:
            raise self._fault

    def add(self, outcome: JobOutcome) -> None:
        """Queue an outcome for the journal.

        Raises
        ------
        OutputError
            Earlier ones could not be recorded.
        """
        with self._changed:
            while len(self._waiting) >= self._most_waiting and self._fault is None:
                self._changed.wait(SECONDS_DEAF)
            if self._fault is not None:
                raise self._fault
            self._waiting.append(outcome)
            self._changed.notify_all()

    def _run(self) -> None:
        while outcomes := self._taken():
            begun = time.monotonic()
            try:
                self._note(outcomes)
            except BaseException as fault:  # noqa: BLE001 - passed on to the thread that adds outcomes
                with self._changed:
                    self._fault = fault
                    self._changed.notify_all()
                return
            self._most_waiting = _most_after(len(outcomes), time.monotonic() - begun)

    def _taken(self) -> list[JobOutcome]:
        """Wait for outcomes, and return all that are queued; none at the end."""
        with self._changed:
            while not self._waiting and not self._is_ending:
                self._changed.wait()
            self._changed.wait_for(self._is_due, _SECONDS_TOGETHER)
            taken, self._waiting = self._waiting, []
            self._changed.notify_all()
        return taken

    def _is_due(self) -> bool:
        return self._is_ending or len(self._waiting) >= self._most_waiting


def _most_after(noted: int, seconds: float) -> int:
    """Return how many outcomes may wait, given the time it took to record some."""
    return max(1, int(min(_MOST_WAITING, noted * _SECONDS_BEHIND / max(seconds, 1e-6))))
