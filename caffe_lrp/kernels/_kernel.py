"""The two decorators of compiled functions: `kernel` if Python calls it, `helper` if only kernels do.

Kernels are compiled on first use, or ahead (see `ahead`), and kept on disk, so that only the first run after
an installation pays for the compiler. They release the GIL. ``fastmath`` stays off: it would let the
compiler reorder sums, and reproducible ties in max pooling depend on the order.
"""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from ._jit import CACHE_FOLDER, SOURCES, CPUDispatcher
from ._pipeline import KernelCompiler, PartCompiler
from ._stored import KernelCache
from ._types import stated_types

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

#: Name -> kernel, of all modules of kernels that have been imported.
KERNELS: dict[str, "CompiledKernel"] = {}


class _Helper(CPUDispatcher):
    """A function that kernels call; a call from Python runs the uncompiled function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(
            py_func=function,
            targetoptions={**_OPTIONS, "no_cpython_wrapper": True},
            pipeline_class=PartCompiler,
        )

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments)

    def add_overload(self, compiled: Any) -> None:
        """Record code compiled for kernels; nothing is compiled for calls from Python."""
        self.overloads[tuple(compiled.signature.args)] = compiled


class _Tracing(threading.local):
    """The function that receives each kernel the calling thread calls, instead of running it."""

    note: "Callable[[str], None] | None" = None
    skipped = 0


_TRACING = _Tracing()


class CompiledKernel(CPUDispatcher):
    """A function that Python calls; kernels may call it as well."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(py_func=function, targetoptions=dict(_OPTIONS), pipeline_class=KernelCompiler)
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._part = _Helper(function)
        self._nothing = 0 if function.__annotations__.get("return") is int else None
        self.stated: tuple[Any, ...] = ()
        self.stored: KernelCache | None = None

    def __call__(self, *arguments: Any) -> Any:
        note = _TRACING.note
        if note is None:
            return super().__call__(*arguments)
        note(self.name)
        _TRACING.skipped += 1
        return self._nothing

    def keep_in(self, stored: KernelCache) -> None:
        """Load compiled code from there, and store it there."""
        self.stored = self._cache = stored

    @property
    def is_stored(self) -> bool:
        """Whether a file holds the kernel compiled for the types in its annotations."""
        return self.stored is not None and self.stored.holds(self.stated)

    @property
    def is_ready(self) -> bool:
        """Whether it is compiled already, in memory or on disk."""
        return self.stated in self.overloads or self.is_stored

    def get_call_template(self, arguments: Any, keywords: Any) -> Any:
        """The template through which kernels call it."""
        return self._part.get_call_template(arguments, keywords)

    def get_overload(self, signature: Any) -> Any:
        """The compiled code that kernels call."""
        return self._part.get_overload(signature)


def skipped_calls() -> int:
    """The number of calls by this thread that did nothing; their results must not be kept."""
    return _TRACING.skipped


@contextmanager
def tracing(note: Callable[[str], None]) -> Iterator[None]:
    """Within the block, kernels that this thread calls do nothing, and return 0 or None.

    ``note`` is called with their names.
    """
    _TRACING.note = note
    try:
        yield
    finally:
        _TRACING.note = None


def kernel(function: Function) -> Function:
    """Compile ``function`` with Numba in nopython mode, for the annotated types and any others it is given.

    Functions outside this package, and closures, are compiled again in every run, because the cache does not
    watch their sources; they may have any annotations.
    """
    compiled = CompiledKernel(function)
    if Path(inspect.getfile(function)).parent == SOURCES and not function.__closure__:
        compiled.stated = stated_types(function)
        KERNELS[compiled.name] = compiled
        if CACHE_FOLDER.folder:
            compiled.keep_in(KernelCache(function, CACHE_FOLDER.folder))
    return cast(Function, compiled)


def helper(function: Function) -> Function:
    """Compile ``function`` as a part of the kernels that call it; a call from Python runs it uncompiled."""
    return cast(Function, _Helper(function))
