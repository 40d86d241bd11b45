"""Threads that all run from the start, and that are missed when one of them is lost.

A thread takes address space for its stack and for a heap of its own. Where a limit leaves no room for that,
it cannot be started, and a library that needs memory for it may end the process. So threads are started
before any work is done, not in the middle of it, where the fault would be taken for one of an image.
"""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NoReturn, ParamSpec, TypeVar

from caffe_lrp.errors import LimitError

from .environment import lack_of_memory, no_more_threads

Given = ParamSpec("Given")
Found = TypeVar("Found")

#: How long the end of a thread, or an interruption, may go unnoticed.
SECONDS_DEAF = 0.5


class Crew:
    """A pool of threads of which all are running.

    Parameters
    ----------
    count
        How many.
    name
        How the names of the threads begin.

    Raises
    ------
    RuntimeError
        They cannot be started; none is left.
    """

    def __init__(self, count: int, name: str = "") -> None:
        self._pool = ThreadPoolExecutor(count, name)
        all_are_there = threading.Event()

        def report() -> threading.Thread:
            all_are_there.wait()  # the pool starts a thread only where no other one is free
            return threading.current_thread()

        try:
            reports = [self._pool.submit(report) for _ in range(count)]
        except BaseException:
            all_are_there.set()
            self._pool.shutdown()
            raise
        all_are_there.set()
        self._is_dismissed = False
        self._threads = [present.result() for present in reports]

    def submit(
        self, work: Callable[Given, Found], *given: Given.args, **named: Given.kwargs
    ) -> Future[Found]:
        """Have a thread call ``work``."""
        return self._pool.submit(work, *given, **named)

    def wait(self, work: Collection[Future[Found]]) -> None:
        """Wait until all of ``work`` is done, or dropped.

        Raises
        ------
        LimitError
            A thread is lost, and perhaps what it was at.
        """
        for future in work:
            while not future.done():  # asked, because what was dropped does not end a wait
                wait([future], SECONDS_DEAF)
                # Asked first: a thread that has ended may have done the work before.
                if self._is_short() and not future.done():
                    self._refuse()

    def require_all(self) -> None:
        """Raise LimitError if a thread has ended: only a lack of memory outside of its work can end it."""
        if self._is_short():
            self._refuse()

    def _is_short(self) -> bool:
        """Whether a thread is missing: none of a crew that was dismissed while others finish their work."""
        are_alive = [thread.is_alive() for thread in self._threads]
        return not (any(are_alive) if self._is_dismissed else all(are_alive))

    def _refuse(self) -> NoReturn:
        raise LimitError(f"a thread of the run was lost: {lack_of_memory()}")

    def dismiss(self) -> None:
        """Drop what no thread has begun, and begin nothing more."""
        self._is_dismissed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait until the threads have ended."""
        self._pool.shutdown()


def require_threads(count: int) -> None:
    """Refuse to go on where ``count`` threads cannot be started: libraries start some when they are loaded.

    Raises
    ------
    LimitError
        They cannot; the message names the limit.
    """
    try:
        Crew(count).join()
    except RuntimeError as error:
        raise LimitError(no_more_threads()) from error
