"""Numba, configured for our kernels, and the CPU that they are compiled for.

Reads ``CAFFE_LRP_CPU`` and the location of the cache (see `cache`) from the environment. Numba's own
settings, in the environment or in a file, are hidden from it.
"""

import contextlib
import hashlib
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from caffe_lrp.errors import UsageError

from . import cache
from .releases import require_supported
from .targets import HOST, features_of, require_baseline

#: The folder with the sources of kernels.
SOURCES = Path(__file__).parent
#: Prefixes of environment variables that change what Numba and llvmlite compile or print.
_VARIABLES = ("NUMBA_", "LLVMLITE_", "VS_PROFILER")


@contextlib.contextmanager
def _configured(**ours: str) -> Iterator[None]:
    """Give Numba and llvmlite our settings, and no others, while they are imported.

    Numba would also read a settings file in the current folder, whoever put it there, if PyYAML is installed.
    """
    theirs = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_VARIABLES)}
    parser = sys.modules.get("yaml")
    sys.modules["yaml"] = cast(Any, None)
    os.environ.update(ours)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A Numba config file is found")
            yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(theirs)
        del sys.modules["yaml"]
        if parser:
            sys.modules["yaml"] = parser


#: What other modules of this package use from Numba; nothing else imports it.
__all__ = [
    "CPUDispatcher",
    "CompileResult",
    "Compiler",
    "DefaultPassBuilder",
    "NativeLowering",
    "NullCache",
    "PassManager",
    "PythonFunctionDescriptor",
    "_rebuild_env",
    "cgutils",
    "codegen",
    "intrinsic",
    "llvm",
    "lookup_environment",
    "register_pass",
    "rtsys",
    "types",
]

with _configured():
    import llvmlite

    require_supported("llvmlite", llvmlite.__version__)
    from llvmlite import binding as llvm


def _choice_of_cpu(name: str) -> dict[str, str]:
    """The settings that make Numba compile for the features of the CPU ``name`` only."""
    if name in {"", HOST}:
        return {}
    host = llvm.get_host_cpu_features()
    features = frozenset(feature for feature in host if host[feature])
    require_baseline(name, features, llvm.llvm_version_info[0])
    return {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""}


#: A program that loaded Numba earlier has chosen its own settings, except for the CPU.
_IS_FIRST = "numba" not in sys.modules
_CHOICE = _choice_of_cpu(os.environ.get("CAFFE_LRP_CPU", ""))

with _configured(**_CHOICE):
    import numba

    require_supported("numba", numba.__version__)
    from numba import types
    from numba.core import cgutils, codegen
    from numba.core.caching import NullCache
    from numba.core.compiler import Compiler, CompileResult, DefaultPassBuilder
    from numba.core.compiler_machinery import PassManager, register_pass
    from numba.core.environment import _rebuild_env, lookup_environment
    from numba.core.funcdesc import PythonFunctionDescriptor
    from numba.core.registry import CPUDispatcher
    from numba.core.runtime.nrt import rtsys
    from numba.core.typed_passes import NativeLowering
    from numba.extending import intrinsic

_SETTINGS: Any = numba.config
if _IS_FIRST:
    # Otherwise Numba would read the environment and the file again before it compiles.
    _SETTINGS.reload_config = lambda: None
for _name, _value in _CHOICE.items():
    setattr(_SETTINGS, _name.removeprefix("NUMBA_"), _value)


def refuse_disabled_compiler() -> None:
    """Raise UsageError if a program that loaded Numba earlier has disabled its compiler.

    Our vector instructions cannot be interpreted.
    """
    if _SETTINGS.DISABLE_JIT:
        raise UsageError(
            "Numba was loaded while NUMBA_DISABLE_JIT is set, or disable_jit in .numba_config.yaml, but "
            "kernels have to be compiled; unset it"
        )


refuse_disabled_compiler()


def _cpu() -> tuple[str, str]:
    """Name of the CPU that code is generated for, and how its features differ from that CPU's usual ones."""
    changes = _SETTINGS.CPU_FEATURES
    if changes is None:
        changes = codegen.get_host_cpu_features()
    return _SETTINGS.CPU_NAME or llvm.get_host_cpu_name(), changes


def target_features() -> frozenset[str]:
    """LLVM's names of the features that code may use on its target (``"avx2"``, ``"fma"``, ``"avx512f"``).

    The target is the CPU of this machine unless ``CAFFE_LRP_CPU`` names another one.
    """
    return features_of(*_cpu())


def _target() -> str:
    """A short name for everything, apart from the sources, that determines a kernel's compiled code."""
    settings = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "ENABLE_AVX", "USING_SVML")
    parts = (*_cpu(), *(f"{name}={getattr(_SETTINGS, name, None)}" for name in settings))
    return f"{parts[0]}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def _versions() -> tuple[str, ...]:
    """The versions and settings that, apart from our sources, determine compiled code and its files."""
    return (
        f"{sys.implementation.name} {platform.python_version()}{getattr(sys, 'abiflags', '')}",
        f"{sys.platform} {platform.machine()}",
        *(str(module.__version__) for module in (numba, llvmlite, np)),
    )


#: Where the packages needed for compiling were found.
FOUND = tuple(str(module.__file__) for module in (numba, llvmlite, np))

#: A short name for everything, apart from the sources, that determines compiled code.
TARGET = _target()
#: The owner of the package is trusted with kernels, because their code runs anyway.
OWNERS = (SOURCES.stat().st_uid,)

#: Where compiled kernels are kept, and why.
CACHE_FOLDER = cache.find_folder(
    SOURCES / "__pycache__", os.environ, cache.sources_digest(SOURCES, _versions()), TARGET
)


def mark_cache_complete() -> None:
    """Record that the cache holds every kernel, so that it can be used read-only (see `cache`)."""
    if CACHE_FOLDER.folder:
        cache.mark_complete(CACHE_FOLDER.folder, TARGET, OWNERS)
