"""The one decorator that all kernels use, and what they are compiled for.

Kernels are compiled on first use and kept on disk, so that only the first run after an installation
pays for the compiler. They release the GIL. ``fastmath`` stays off: it would let the compiler
reorder sums, and reproducible ties in max pooling depend on the order.

Read from the environment: ``CAFFE_LRP_CPU``, and what says where the cache lies (see `cache`).
"""

import contextlib
import hashlib
import inspect
import os
import pickle
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numpy as np
from llvmlite import binding as llvm

from caffe_lrp.errors import UsageError

from . import cache
from .targets import HOST, features_of, require_baseline

_SOURCES = Path(__file__).parent


def _choose_cpu(name: str) -> None:
    """Have Numba, not yet imported, compile for the CPU ``name``, and for no feature beyond its own."""
    if name in {"", HOST}:
        return
    host = llvm.get_host_cpu_features()
    require_baseline(name, frozenset(feature for feature in host if host[feature]))
    os.environ.update(NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="")


_choose_cpu(os.environ.get("CAFFE_LRP_CPU", ""))

import numba  # noqa: E402 - reads the environment when it is imported
from numba import types as types  # noqa: E402, PLC0414 - for `_simd`
from numba.core import cgutils as cgutils  # noqa: E402, PLC0414
from numba.core import codegen  # noqa: E402
from numba.core.caching import NullCache  # noqa: E402
from numba.core.compiler import CompileResult  # noqa: E402
from numba.core.runtime.nrt import rtsys  # noqa: E402
from numba.core.serialize import dumps  # noqa: E402
from numba.extending import intrinsic as intrinsic  # noqa: E402, PLC0414

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_SETTINGS: Any = numba.config


def refuse_disabled_compiler() -> None:
    """UsageError if Numba is told to compile nothing: vector instructions mean nothing to an interpreter."""
    if _SETTINGS.DISABLE_JIT:
        raise UsageError(
            "the environment variable NUMBA_DISABLE_JIT is set, but kernels have to be compiled; unset it"
        )


refuse_disabled_compiler()


def _cpu() -> tuple[str, str]:
    """Name of the CPU that code is generated for, and how its features differ from those of the name."""
    changes = _SETTINGS.CPU_FEATURES
    if changes is None:
        changes = codegen.get_host_cpu_features()
    return _SETTINGS.CPU_NAME or llvm.get_host_cpu_name(), changes


def target_features() -> frozenset[str]:
    """Names, as LLVM knows them (``"avx2"``, ``"fma"``, ``"avx512f"``), of what code may use on its target.

    The target is the CPU of this machine unless ``CAFFE_LRP_CPU`` names another one.
    """
    return features_of(*_cpu())


def _target() -> str:
    """Everything besides the sources that decides what a kernel compiles to, as a short name."""
    settings = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "ENABLE_AVX", "USING_SVML")
    parts = (*_cpu(), *(f"{name}={getattr(_SETTINGS, name, None)}" for name in settings))
    return f"{parts[0]}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def _versions() -> tuple[str, ...]:
    """What else than our sources has a say in compiled code, and in the files it is kept in."""
    return (
        f"{sys.implementation.name} {platform.python_version()}{getattr(sys, 'abiflags', '')}",
        f"{sys.platform} {platform.machine()}",
        *(str(module.__version__) for module in (numba, llvmlite, np)),
    )


_TARGET = _target()

#: Where compiled kernels are kept, and why.
CACHE_PLACE = cache.find_place(
    _SOURCES / "__pycache__", os.environ, cache.sources_digest(_SOURCES, _versions()), _TARGET
)


def mark_cache_complete() -> None:
    """Note that the cache holds every kernel: it then serves where it cannot be written (see `cache`)."""
    if CACHE_PLACE.folder:
        cache.mark_complete(CACHE_PLACE.folder, _TARGET)


class KernelCache(NullCache):
    """The overloads of one kernel on disk, in the place of Numba's own cache.

    Numba's notices no change of a function that the kernel calls, and its index, one for all
    overloads of a kernel, lets processes that write at the same time take one overload for another.

    Parameters
    ----------
    function
        The kernel before it was compiled.
    folder
        Where files are kept.
    """

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._folder = folder
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._line = function.__code__.co_firstlineno

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def _place(self, signature: Any) -> tuple[Path, Any]:
        """File of an overload, and what it has to be for."""
        key = (self._name, self._line, _TARGET, signature)
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
        return self._folder / f"{self._name}-{digest}", key

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """What is stored for ``signature``; None, as for a miss, if it cannot be used."""
        path, key = self._place(signature)
        data = cache.load(path)
        if data is None:
            return None
        # All that loaded code needs; target_context.refresh() takes 0.2 s for what only compiling needs.
        rtsys.initialize(target_context)
        stored_key, parts = pickle.loads(data)
        return CompileResult._rebuild(target_context, *parts) if stored_key == key else None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Store a compiled kernel if there is room for it."""
        if any(not loop.can_cache for loop in compiled.lifted) or compiled.library.has_dynamic_globals:
            return  # it holds addresses of this process
        path, key = self._place(signature)
        with contextlib.suppress(OSError):
            cache.store(path, dumps((key, compiled._reduce())))


def kernel(function: Kernel) -> Kernel:
    """Compile ``function`` with Numba in nopython mode.

    Functions outside this package, and closures, whose sources the cache does not watch, are compiled
    anew in every run.
    """
    compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
    is_watched = Path(inspect.getfile(function)).parent == _SOURCES and not function.__closure__
    if CACHE_PLACE.folder and is_watched:
        compiled._cache = KernelCache(function, CACHE_PLACE.folder)
    return cast(Kernel, compiled)
