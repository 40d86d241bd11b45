"""Engines for several threads that explain at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .base import Engine
from .cpu import CpuEngine


class EnginePool:
    """Engines that are lent, one to each thread that explains, and used again.

    Parameters
    ----------
    threads
        Threads of each engine; no more engines than that are lent at a time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._idle: list[Engine] = []
        self._free = threading.Semaphore(threads)  # more at a time would only take memory
        self._is_closed = False

    @contextmanager
    def borrowed(self) -> Iterator[Engine]:
        """An engine that nobody else uses within the block."""
        with self._free:
            try:
                engine = self._idle.pop()
            except IndexError:
                engine = CpuEngine(self._threads)
            try:
                yield engine
            finally:
                if self._is_closed:
                    engine.close()
                else:
                    self._idle.append(engine)

    def close(self) -> None:
        """Close the engines, those in use when they are handed back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()
