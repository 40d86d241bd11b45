"""OpenCV's threads, a setting of the whole process that is other people's, too."""

import threading
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
