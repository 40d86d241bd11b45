"""Kernels compiled before they are needed, by several processes side by side.

The compiler of a process works in one thread at a time. So processes are started that compile and store
kernels, and this one loads them. What they leave undone, because they cannot be started or store nothing, is
compiled here.
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

#: More processes would only wait for the kernel that takes longest.
MOST_PROCESSES = 6

#: Seconds that kernels take in relation to each other, where that is more than `_USUAL`; longest first.
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

#: Seconds a process takes until it compiles, and those of work from which one is worth starting.
_SECONDS_TO_START = 0.8
_WORTH_A_PROCESS = 1.5

#: Where the packages lie that a process imports: it does not look into the current folder, whoever filled it.
_PLACES = [
    str(Path(place).absolute())
    for place in dict.fromkeys([SOURCES.parents[1], *(Path(found).parents[1] for found in FOUND)])
]

#: What a process runs.
_PROGRAM = """
import sys
sys.path[:0] = {places!r}
from {package}._worker import serve
serve({target!r}, {folder!r})
"""

#: Environment of processes: they look for the cache where this one does, wherever that has gone since.
_CACHE = "CAFFE_LRP_CACHE_DIR"
_CHANGES = {_CACHE: str(Path(os.environ[_CACHE]).absolute())} if os.environ.get(_CACHE) else {}


@dataclass(frozen=True)
class Compiled:
    """The progress of compiling kernels.

    Attributes
    ----------
    done, total
        Kernels that are compiled, and all that have to be.
    seconds
        Since it began.
    seconds_left
        An estimate.
    is_kept
        Whether they are stored, or will be, so that later runs need not compile them.
    is_counted
        Whether ``total`` is final: which kernels are needed may still be searched for.
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
        """The message at the beginning."""
        what = counted(self.total, "kernel")
        return f"compiling {what} for this CPU{self.once}; that takes about {self.left}"

    @property
    def ended_line(self) -> str:
        """The message at the end."""
        kept = "later runs skip this" if self.is_kept else "they could not be kept for later runs"
        return f"compiled {counted(self.total, 'kernel')} in {duration(self.seconds)}; {kept}"

    @property
    def once(self) -> str:
        """Whether it is done once, in words."""
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
    """Those of ``names`` that are neither loaded nor stored, once each."""
    return tuple(name for name in dict.fromkeys(names) if not find_kernel(name).is_ready)


def unstored(names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that are not stored, or not whole."""
    return tuple(name for name in names if not find_kernel(name).is_stored)


def remember(purpose: str, names: Iterable[str]) -> None:
    """Store which kernels a purpose needs, beside the kernels, if there is room for it."""
    if CACHE_FOLDER.folder is not None:
        with suppress(OSError):
            cache.store(_place_of(purpose), {"purpose": purpose, "names": list(names)}, ())


def recall(purpose: str) -> tuple[str, ...] | None:
    """The data stored for a purpose; None if there is none."""
    found = None if CACHE_FOLDER.folder is None else cache.load(_place_of(purpose), OWNERS)
    if found is None or found[0]["purpose"] != purpose:
        return None
    known = all_kernels()
    return tuple(name for name in found[0]["names"] if name in known)


def _place_of(purpose: str) -> Path:
    assert CACHE_FOLDER.folder is not None
    return CACHE_FOLDER.folder / f"needed-{hashlib.sha256(purpose.encode()).hexdigest()[:24]}"


def load(name: str) -> None:
    """Load a kernel, for what its annotations state; compile it if it is not stored."""
    found = find_kernel(name)
    found.compile(found.stated)


def _runs_python() -> bool:
    """Whether this is Python's own program: another one may start itself, whatever it is told."""
    return "python" in Path(sys.executable or "").name and not getattr(sys, "frozen", False)


def _cost(name: str) -> float:
    return _COSTS.get(name, _USUAL)


class Compilation:
    """Kernels that are being compiled; a context manager, which ends the processes.

    Parameters
    ----------
    processes
        How many may compile. One is this process itself.
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
        """Have ``find`` add what is needed, in a thread of its own."""
        self._search = threading.Thread(target=find, daemon=True)
        self._search.start()

    def require_open(self) -> None:
        """Raise RuntimeError if no process waits for the kernels."""
        if self._is_over:
            raise RuntimeError("nobody waits for the kernels any more")

    def add(self, names: Iterable[str]) -> None:
        """Have kernels compiled, those that take longest first, unless they are; as `require_open`."""
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
        """Have every thread end that finds nothing else to do."""
        for _ in self._threads:
            self._queue.put((math.inf, ""))

    def steps(self, interval: float = 0.2) -> Iterator[Compiled]:
        """Wait until everything is compiled: how far it is when it begins, at intervals, and when it ends.

        Nothing comes if there is nothing to compile.
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
        # What has begun may be all but done, so that this is the least by which the machine is slower.
        slowness = max(1.0, most * (seconds - _SECONDS_TO_START) / begun) if begun else 1.0
        left = slowness * self._cost / most + _SECONDS_TO_START - seconds
        is_kept = CACHE_FOLDER.folder is not None
        if done == len(self._asked):
            is_kept = is_kept and not unstored(self._asked)
        return Compiled(done, len(self._asked), seconds, max(0.0, left), is_kept)

    def _feed(self) -> None:
        """Start a process, and hand it one kernel after the other until none is left, or it fails."""
        try:
            process = self._start()
        except OSError:
            return
        with suppress(OSError), process:  # it has ended: what it leaves undone is compiled here
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
