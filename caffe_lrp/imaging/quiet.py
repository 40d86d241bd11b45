"""Silence of libraries that warn about what does not concern the user, in several threads at a time."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


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
