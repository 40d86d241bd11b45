"""Settings of libraries that hold for the whole process, where several threads work at a time."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2


class _Uses:
    """Who needs OpenCV to compute in one thread, and what it did before the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = self._threads_before = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A block that needs it; blocks of several threads may overlap."""
        with self._lock:
            if self._count == 0:
                self._threads_before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if self._count == 0:
                    cv2.setNumThreads(self._threads_before)


#: Within its blocks OpenCV has one thread: different pictures are worked on at the same time instead.
ONE_THREAD_OF_OPENCV = _Uses()


class Silence:
    """Python's warnings are off while any thread is within it.

    ``warnings.catch_warnings`` alone is of no use here: its filters are those of the whole process, and the
    first thread that leaves would turn them on again for the others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._filters = warnings.catch_warnings()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Have no warnings within the block."""
        with self._lock:
            if self._threads == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads -= 1
                if self._threads == 0:
                    self._filters.__exit__(None, None, None)


#: One for all of the package, as the filters are.
unwarned = Silence().__call__
