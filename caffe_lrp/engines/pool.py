"""Engines for several threads that explain at a time."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .base import Engine
from .cpu import CpuEngine


class EnginePool:
    """Engines that are lent, one to each thread that explains, and used again.

    Parameters
    ----------
    threads
        Threads of each engine. Engines are made when they are needed; those that come first in the sequence
        are lent first.
    convolution
        How they compute convolutions: ``auto``, ``direct`` or ``winograd``.
    """

    def __init__(self, threads: Sequence[int], convolution: str = "auto") -> None:
        self._convolution = convolution
        self._lock = threading.Lock()
        self._free = threading.Semaphore(len(threads))
        self._to_make, self._idle = deque(threads), list[Engine]()
        self._is_closed = False

    @contextmanager
    def borrowed(self) -> Iterator[Engine]:
        """Lend an engine exclusively for the block; waits until one is free."""
        with self._free:
            with self._lock:
                engine = self._idle.pop() if self._idle else self._made()
            try:
                yield engine
            finally:
                with self._lock:
                    self._idle.append(engine)
                    if self._is_closed:
                        self._close_idle()

    def _made(self) -> Engine:
        """The next of the engines that have not been made yet."""
        return CpuEngine(self._to_make.popleft(), convolution=self._convolution)

    def close(self) -> None:
        """Close the engines, those in use when they are returned; threads that wait for one still get one."""
        with self._lock:
            self._is_closed = True
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
            self._to_make.append(1)
