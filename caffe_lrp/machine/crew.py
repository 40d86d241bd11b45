"""Threads that all run from the start; the loss of one is detected.

A thread needs address space for its stack and its own heap. If a limit does not allow that, it cannot be
started, and a library that needs memory for it may end the process. So threads are started before any work
is done; during the work, the error would be taken for a fault of an image.
"""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NoReturn, ParamSpec, TypeVar

from caffe_lrp.errors import LimitError

from .environment import lack_of_memory, no_more_threads

Given = ParamSpec("Given")
Found = TypeVar("Found")

#: Longest time until the end of a thread, or an interruption, is noticed.
SECONDS_DEAF = 0.5


class Crew:
    """A pool of threads that are all running.

    Parameters
    ----------
    count
        Number of threads.
    name
        Prefix of the names of threads.

    Raises
    ------
    RuntimeError
        The threads cannot be started; those that were are ended.
    """

    def __init__(self, count: int, name: str = "") -> None:
        self._pool = ThreadPoolExecutor(count, name)
        all_are_there = threading.Event()

        def report() -> threading.Thread:
            all_are_there.wait()  # the pool starts a thread only if no other one is free
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
        """Call ``work`` in a thread."""
        return self._pool.submit(work, *given, **named)

    def wait(self, work: Collection[Future[Found]]) -> None:
        """Wait until all of ``work`` is done or dropped.

        Raises
        ------
        LimitError
            A thread was lost, and perhaps its work.
        """
        for future in work:
            while not future.done():  # dropped work does not end a wait
                wait([future], SECONDS_DEAF)
                # In this order: a thread may have finished the work before it ended.
                if self._is_short() and not future.done():
                    self._refuse()

    def require_all(self) -> None:
        """Raise LimitError if a thread has ended, as only a lack of memory outside its work can cause."""
        if self._is_short():
            self._refuse()

    def _is_short(self) -> bool:
        """Whether a thread is missing; False after `dismiss`, when threads end one after another."""
        are_alive = [thread.is_alive() for thread in self._threads]
        return not (any(are_alive) if self._is_dismissed else all(are_alive))

    def _refuse(self) -> NoReturn:
        raise LimitError(f"a thread of the run was lost: {lack_of_memory()}")

    def dismiss(self) -> None:
        """Drop work that no thread has started, and start none."""
        self._is_dismissed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait until the threads have ended."""
        self._pool.shutdown()


def require_threads(count: int) -> None:
    """Raise unless ``count`` threads can be started; libraries start some when they are loaded.

    Raises
    ------
    LimitError
        They cannot be started; the message names the limit.
    """
    try:
        Crew(count).join()
    except RuntimeError as error:
        raise LimitError(no_more_threads()) from error
