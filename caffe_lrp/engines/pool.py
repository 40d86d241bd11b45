"""Engines for several threads that explain in parallel."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .base import Engine
from .cpu import CpuEngine


class EnginePool:
    """Engines lent to threads, one to each, and reused.

    Parameters
    ----------
    threads
        Threads of each engine. Engines are created when they are needed, and lent in the order of the
        sequence.
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
        """The next engine that has not been created yet."""
        return CpuEngine(self._to_make.popleft(), convolution=self._convolution)

    def close(self) -> None:
        """Close the engines, those in use when they are returned; waiting threads still get one."""
        with self._lock:
            self._is_closed = True
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
            self._to_make.append(1)
