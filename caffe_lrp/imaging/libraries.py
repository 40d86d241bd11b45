"""Process-wide settings of libraries, changed safely while several threads work."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2


class _Uses:
    """Counts the blocks that need OpenCV single-threaded, and restores its thread count after the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = self._threads_before = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A block in which OpenCV has one thread; blocks of several threads may overlap."""
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


#: Within its blocks OpenCV has one thread: the package processes several pictures in parallel instead.
ONE_THREAD_OF_OPENCV = _Uses()


class Silence:
    """Turns off Python's warnings while any thread is in its block.

    ``warnings.catch_warnings`` alone is not enough: its filters apply to the whole process, and the first
    thread to leave its block would turn warnings on again for the others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._filters = warnings.catch_warnings()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Turn off warnings within the block."""
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


#: One for the whole package, as the filters apply to the whole process.
unwarned = Silence().__call__
