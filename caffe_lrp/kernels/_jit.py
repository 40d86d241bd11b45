"""The one decorator that all kernels use, and what they are compiled for.

Kernels are compiled on first use and kept on disk, so that only the first run after an installation
pays for the compiler. They release the GIL. ``fastmath`` stays off: it would let the compiler
reorder sums, and reproducible ties in max pooling depend on the order.

Read from the environment: ``CAFFE_LRP_CPU``, and what says where the cache lies (see `cache`). Settings of
Numba's own, in the environment or in a file, are kept from it.
"""

import contextlib
import hashlib
import importlib
import inspect
import operator
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from caffe_lrp.errors import UsageError

from . import cache
from .releases import require_supported
from .targets import HOST, features_of, require_baseline

_SOURCES = Path(__file__).parent
#: How the names of variables begin that change what Numba and llvmlite compile, or what they print.
_VARIABLES = ("NUMBA_", "LLVMLITE_", "VS_PROFILER")


@contextlib.contextmanager
def _configured(**ours: str) -> Iterator[None]:
    """While Numba and llvmlite are imported: the environment with our settings for them and no others.

    Numba also reads a file of settings in the current folder, whoever put it there, if it finds a parser.
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


with _configured():
    import llvmlite

    require_supported("llvmlite", llvmlite.__version__)
    from llvmlite import binding as llvm


def _choice_of_cpu(name: str) -> dict[str, str]:
    """What makes Numba compile for the CPU ``name``, and for no feature beyond its own."""
    if name in {"", HOST}:
        return {}
    host = llvm.get_host_cpu_features()
    features = frozenset(feature for feature in host if host[feature])
    require_baseline(name, features, llvm.llvm_version_info[0])
    return {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""}


#: A program that has loaded Numba before has made its own choices, all but that of the CPU.
_IS_FIRST = "numba" not in sys.modules
_CHOICE = _choice_of_cpu(os.environ.get("CAFFE_LRP_CPU", ""))

with _configured(**_CHOICE):
    import numba

    require_supported("numba", numba.__version__)
    from numba import types as types  # noqa: PLC0414 - for `_simd`
    from numba.core import cgutils as cgutils  # noqa: PLC0414
    from numba.core import codegen
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.environment import _rebuild_env
    from numba.core.funcdesc import PythonFunctionDescriptor
    from numba.core.runtime.nrt import rtsys
    from numba.extending import intrinsic as intrinsic  # noqa: PLC0414

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_SETTINGS: Any = numba.config
if _IS_FIRST:
    # Before anything is compiled, it would read environment and file again.
    _SETTINGS.reload_config = lambda: None
for _name, _value in _CHOICE.items():
    setattr(_SETTINGS, _name.removeprefix("NUMBA_"), _value)


def refuse_disabled_compiler() -> None:
    """UsageError if a program that has loaded Numba before has it compile nothing.

    Vector instructions mean nothing to an interpreter.
    """
    if _SETTINGS.DISABLE_JIT:
        raise UsageError(
            "Numba was loaded while NUMBA_DISABLE_JIT is set, or disable_jit in .numba_config.yaml, but "
            "kernels have to be compiled; unset it"
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
#: Whoever owns the package is trusted with kernels: their code runs anyway.
_OWNERS = (_SOURCES.stat().st_uid,)

#: Where compiled kernels are kept, and why.
CACHE_FOLDER = cache.find_folder(
    _SOURCES / "__pycache__", os.environ, cache.sources_digest(_SOURCES, _versions()), _TARGET
)


def mark_cache_complete() -> None:
    """Note that the cache holds every kernel: it then serves where it cannot be written (see `cache`)."""
    if CACHE_FOLDER.folder:
        cache.mark_complete(CACHE_FOLDER.folder, _TARGET, _OWNERS)


#: Name -> type of a number, or of nothing.
_SCALARS = {str(scalar): scalar for scalar in (*types.number_domain, types.boolean, types.none)}


_TUPLE: Any = types.BaseTuple
_NAMED_TUPLE: Any = types.BaseNamedTuple


def _description(kind: Any) -> Any:
    """A type as JSON can hold it, and no other type has the same; `_type_of` reads those of results."""
    if isinstance(kind, _NAMED_TUPLE):
        pair = kind.instance_class
        return ["named", pair.__module__, pair.__qualname__, *map(_description, kind.types)]
    if isinstance(kind, _TUPLE):
        return ["tuple", *map(_description, kind.types)]
    if type(kind) is types.Array:
        return ["array", _description(kind.dtype), kind.ndim, kind.layout, not kind.mutable, kind.aligned]
    if isinstance(kind, types.IntegerLiteral):
        return ["literal", kind.literal_value]
    return repr(kind)


def _type_of(description: Any) -> Any:
    """The type that `_description` has described; KeyError or ValueError if that is not enough to tell."""
    if isinstance(description, str):
        return _SCALARS[description]
    name, *parts = description
    if name == "array":
        dtype, dimensions, layout, is_readonly, is_aligned = parts
        return types.Array(_type_of(dtype), dimensions, layout, is_readonly, aligned=is_aligned)
    if name == "literal":
        return types.literal(*parts)
    if name == "tuple":
        return types.BaseTuple.from_types([_type_of(part) for part in parts])
    module, attribute, *fields = parts
    if module.rpartition(".")[0] != __package__:
        raise ValueError(f"{module} is no module of kernels")
    pair = operator.attrgetter(attribute)(importlib.import_module(module))
    return types.BaseTuple.from_types([_type_of(field) for field in fields], pair)


def _environment_as_json(environment: Any) -> list[Any]:
    """What compiled code refers to besides other code: a module, a name, and types of elements of arrays."""
    return [
        environment.globals["__name__"],
        [dtype.str for dtype in environment.consts],
        environment.env_name,
    ]


def _environment_of(stored: Sequence[Any]) -> Any:
    module, constants, name = stored
    return _rebuild_env(module, [np.dtype(constant) for constant in constants], name)


_DESCRIPTOR_FIELDS = tuple(
    name for base in PythonFunctionDescriptor.__mro__ for name in getattr(base, "__slots__", ())
)


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
        self._function = function
        self._folder = folder
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._line = function.__code__.co_firstlineno

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def _place(self, signature: Any) -> tuple[Path, list[Any]]:
        """File of an overload, and what it has to be for."""
        key = [self._name, self._line, _TARGET, [_description(kind) for kind in signature]]
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
        return self._folder / f"{self._name}-{digest}", key

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """What is stored for ``signature``; None, as for a miss, if it cannot be used."""
        path, key = self._place(signature)
        found = cache.load(path, _OWNERS)
        if found is None or found[0]["key"] != key:
            return None
        header, code = found
        # All that loaded code needs; target_context.refresh() takes 0.2 s for what only compiling needs.
        rtsys.initialize(target_context)
        result = _type_of(header["result"])
        return CompileResult._rebuild(
            target_context,
            libdata=(header["library"], "object", tuple(code)),
            fndesc=self._descriptor(header, signature, result),
            env=_environment_of(header["environment"]),
            signature=result(*signature),
            objectmode=False,
            lifted=(),
            typeann="",
            reload_init=[],
            referenced_envs=[_environment_of(stored) for stored in header["referenced"]],
        )

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Store a compiled kernel if there is room for it, and if it is one that can be stored."""
        path, key = self._place(signature)
        described = self._described(signature, compiled)
        if described is None:
            return
        header, code = described
        with contextlib.suppress(OSError):
            cache.store(path, {"key": key} | header, code)

    def _described(self, signature: Any, compiled: Any) -> tuple[dict[str, Any], tuple[bytes, bytes]] | None:
        """What of a compiled kernel is stored; None if it cannot be made again from that, just as it is."""
        # The first holds addresses of this process; kernels are none of the others.
        if (
            compiled.library.has_dynamic_globals
            or compiled.objectmode
            or compiled.lifted
            or compiled.reload_init
        ):
            return None
        (library, _, code), descriptor, environment, *_, referenced = compiled._reduce()
        try:
            header = {
                "library": library,
                "result": _description(descriptor.restype),
                "unique_name": descriptor.unique_name,
                "uid": descriptor.uid,
                "abi_tags": list(descriptor.abi_tags),
                "environment": _environment_as_json(environment),
                "referenced": [_environment_as_json(other) for other in referenced],
            }
            again = self._descriptor(header, signature, _type_of(header["result"]))
        except (KeyError, ValueError, AttributeError):
            return None
        is_same = all(getattr(again, name) == getattr(descriptor, name) for name in _DESCRIPTOR_FIELDS)
        return (header, code) if is_same else None

    def _descriptor(self, header: Mapping[str, Any], signature: Any, result: Any) -> Any:
        """How Numba describes the function that it compiled for ``signature``."""
        function = self._function
        return PythonFunctionDescriptor(
            native=True,
            modname=function.__module__,
            qualname=function.__qualname__,
            unique_name=header["unique_name"],
            doc=function.__doc__ or "",
            typemap=None,
            restype=result,
            calltypes=None,
            args=function.__code__.co_varnames[: function.__code__.co_argcount],
            kws=(),
            argtypes=tuple(signature),
            abi_tags=header["abi_tags"],
            uid=header["uid"],
        )


def kernel(function: Kernel) -> Kernel:
    """Compile ``function`` with Numba in nopython mode.

    Functions outside this package, and closures, whose sources the cache does not watch, are compiled
    anew in every run.
    """
    compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
    is_watched = Path(inspect.getfile(function)).parent == _SOURCES and not function.__closure__
    if CACHE_FOLDER.folder and is_watched:
        compiled._cache = KernelCache(function, CACHE_FOLDER.folder)
    return cast(Kernel, compiled)
