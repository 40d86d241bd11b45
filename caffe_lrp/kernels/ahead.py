"""Kernels compiled before they are needed, by several processes in parallel.

Within a process, only one thread at a time can compile. So this process starts others, which compile and
store kernels, and loads the results. If the others cannot be started or cannot store anything, this
process compiles the rest.
"""

import hashlib
import math
import os
import pkgutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from queue import PriorityQueue
from types import TracebackType

from ..messages import counted, duration
from . import cache
from ._jit import CACHE_FOLDER, FOUND, OWNERS, SOURCES, TARGET
from ._kernel import KERNELS, skipped_calls, tracing
from ._worker import find_kernel

__all__ = [
    "Compilation",
    "Compiled",
    "all_kernels",
    "load",
    "skipped_calls",
    "tracing",
    "uncompiled",
    "unstored",
]

#: More processes would only wait for the slowest kernel.
MOST_PROCESSES = 6

#: Relative seconds to compile kernels that take longer than `_USUAL`; longest first.
_COSTS = {
    "winograd.convolve_tiles": 4.0,
    "convolution.convolve": 2.6,
    "adjoint.hand_back": 2.6,
    "passes.fill_rows": 0.8,
    "gemm.multiply": 0.8,
    "text.write_numbers": 0.7,
    "pooling.max_pool_route": 0.7,
    "gemm.multiply_adjoint": 0.6,
}
_USUAL = 0.3

#: Seconds until a process starts to compile, and seconds of work that make it worth starting one.
_SECONDS_TO_START = 0.8
_WORTH_A_PROCESS = 1.5

#: Folders of the packages that a process imports. It ignores the current folder, whoever filled that.
_PLACES = [
    str(Path(place).absolute())
    for place in dict.fromkeys([SOURCES.parents[1], *(Path(found).parents[1] for found in FOUND)])
]

#: The program of a process.
_PROGRAM = """
import sys
sys.path[:0] = {places!r}
from {package}._worker import serve
serve({target!r}, {folder!r})
"""

#: Set for processes, so that they use the cache of this one even if they would choose another.
_CACHE = "CAFFE_LRP_CACHE_DIR"
_CHANGES = {_CACHE: str(Path(os.environ[_CACHE]).absolute())} if os.environ.get(_CACHE) else {}


@dataclass(frozen=True)
class Compiled:
    """The progress of compiling kernels.

    Attributes
    ----------
    done, total
        How many kernels are compiled, and how many have to be.
    seconds
        Time since the start.
    seconds_left
        An estimate.
    is_kept
        Whether kernels are stored, so that later runs need not compile them.
    is_counted
        Whether ``total`` is final; it is not while the search for kernels goes on.
    """

    done: int
    total: int
    seconds: float
    seconds_left: float
    is_kept: bool = True
    is_counted: bool = True

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_counted and self.done == self.total

    @property
    def begun_line(self) -> str:
        """The message at the start."""
        what = counted(self.total, "kernel")
        return f"compiling {what} for this CPU{self.once}; that takes about {self.left}"

    @property
    def ended_line(self) -> str:
        """The message at the end."""
        kept = "later runs skip this" if self.is_kept else "they could not be stored for later runs"
        return f"compiled {counted(self.total, 'kernel')} in {duration(self.seconds)}; {kept}"

    @property
    def once(self) -> str:
        """The words that say that later runs need not compile; empty if they must."""
        return ", once" if self.is_kept else ""

    @property
    def left(self) -> str:
        """The time left, in words."""
        return duration(max(1.0, self.seconds_left))


def all_kernels() -> tuple[str, ...]:
    """Names of all kernels."""
    for module in pkgutil.iter_modules([str(SOURCES)]):
        if not module.name.startswith("_"):
            import_module(f"{__package__}.{module.name}")
    return tuple(KERNELS)


def uncompiled(names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that are neither loaded nor stored, without duplicates."""
    return tuple(name for name in dict.fromkeys(names) if not find_kernel(name).is_ready)


def unstored(names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that are not stored, or only in part."""
    return tuple(name for name in names if not find_kernel(name).is_stored)


def remember(purpose: str, names: Iterable[str]) -> None:
    """Store which kernels a purpose needs in the kernels' folder, if there is enough space on disk."""
    if CACHE_FOLDER.folder is not None:
        with suppress(OSError):
            cache.store(_place_of(purpose), {"purpose": purpose, "names": list(names)}, ())


def recall(purpose: str) -> tuple[str, ...] | None:
    """The names of kernels stored for a purpose; None if there are none."""
    found = None if CACHE_FOLDER.folder is None else cache.load(_place_of(purpose), OWNERS)
    if found is None or found[0]["purpose"] != purpose:
        return None
    known = all_kernels()
    return tuple(name for name in found[0]["names"] if name in known)


def _place_of(purpose: str) -> Path:
    assert CACHE_FOLDER.folder is not None
    return CACHE_FOLDER.folder / f"needed-{hashlib.sha256(purpose.encode()).hexdigest()[:24]}"


def load(name: str) -> None:
    """Load a kernel for the types in its annotations; compile it if it is not stored."""
    found = find_kernel(name)
    found.compile(found.stated)


def _runs_python() -> bool:
    """Whether this process runs the Python interpreter: another program might ignore the arguments."""
    return "python" in Path(sys.executable or "").name and not getattr(sys, "frozen", False)


def _cost(name: str) -> float:
    return _COSTS.get(name, _USUAL)


class Compilation:
    """Kernels being compiled; a context manager that ends its processes.

    Parameters
    ----------
    processes
        How many processes may compile, including this one.
    """

    def __init__(self, processes: int) -> None:
        can_help = processes > 1 and CACHE_FOLDER.folder is not None and _runs_python()
        self._most = min(processes, MOST_PROCESSES) if can_help else 0
        self._queue: PriorityQueue[tuple[float, str]] = PriorityQueue()
        self._asked: dict[str, None] = {}
        self._begun: set[str] = set()
        self._done: set[str] = set()
        self._changed = threading.Condition()
        self._started = time.monotonic()
        self._is_over = False
        self._search: threading.Thread | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Compilation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        if self._search is not None:
            self._search.join()
        self._end_queue()
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join()

    def search(self, find: Callable[[], object]) -> None:
        """Run ``find``, which adds the kernels that are needed, in a separate thread."""
        self._search = threading.Thread(target=find, daemon=True)
        self._search.start()

    def require_open(self) -> None:
        """Raise RuntimeError if the compilation was left and kernels are no longer needed."""
        if self._is_over:
            raise RuntimeError("the compilation was ended")

    def add(self, names: Iterable[str]) -> None:
        """Compile kernels that are not compiled yet, slowest first; RuntimeError as in `require_open`."""
        self.require_open()
        for name in uncompiled(names):
            if name not in self._asked:
                self._asked[name] = None
                self._queue.put((-_cost(name), name))
        while len(self._threads) < min(self._most, int(self._cost / _WORTH_A_PROCESS)):
            self._threads.append(threading.Thread(target=self._feed, daemon=True))
            self._threads[-1].start()

    @property
    def _cost(self) -> float:
        return sum(map(_cost, list(self._asked)))

    def _end_queue(self) -> None:
        """End every thread once the queue is empty."""
        for _ in self._threads:
            self._queue.put((math.inf, ""))

    def steps(self, interval: float = 0.2) -> Iterator[Compiled]:
        """Wait until everything is compiled; yields the progress at the start, at intervals, and at the end.

        Yields nothing if there is nothing to compile.
        """
        while self._search is not None and self._search.is_alive():
            self._search.join(interval)
            if self._asked:
                yield replace(self._state(), is_counted=False)
        if not self._asked:
            return
        self._end_queue()
        yield self._state()
        while any(thread.is_alive() for thread in self._threads):
            with self._changed:
                self._changed.wait(interval)
            if len(self._done) < len(self._asked):
                yield self._state()
        for name in self._asked:
            if name not in self._done:
                self._begun.add(name)
                load(name)
                self._done.add(name)
                if len(self._done) < len(self._asked):
                    yield self._state()
        yield self._state()

    def _state(self) -> Compiled:
        done = len(self._done)
        seconds = time.monotonic() - self._started
        begun = sum(map(_cost, list(self._begun)))
        most = max(1, len(self._threads))
        # Kernels in progress may be almost finished, so this is a lower bound of the machine's slowness.
        slowness = max(1.0, most * (seconds - _SECONDS_TO_START) / begun) if begun else 1.0
        left = slowness * self._cost / most + _SECONDS_TO_START - seconds
        is_kept = CACHE_FOLDER.folder is not None
        if done == len(self._asked):
            is_kept = is_kept and not unstored(self._asked)
        return Compiled(done, len(self._asked), seconds, max(0.0, left), is_kept)

    def _feed(self) -> None:
        """Start a process, and give it one kernel after another until none is left or it fails."""
        try:
            process = self._start()
        except OSError:
            return
        with suppress(OSError), process:  # it has ended: the rest is compiled here
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                while (name := self._queue.get()[1]) and not self._is_over:
                    self._begun.add(name)
                    process.stdin.write(f"{name}\n")
                    process.stdin.flush()
                    if process.stdout.readline() != f"{name}\n":
                        break
                    with self._changed:
                        self._done.add(name)
                        self._changed.notify()
            finally:
                process.kill()

    def _start(self) -> "subprocess.Popen[str]":
        program = _PROGRAM.format(
            places=_PLACES, package=__package__, target=TARGET, folder=str(CACHE_FOLDER.folder)
        )
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _CHANGES,
            text=True,
        )
        self._processes.append(process)
        return process
