"""Compiled kernels on disk, instead of Numba's own cache."""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import cache
from ._jit import (
    OWNERS,
    TARGET,
    CompileResult,
    NullCache,
    PythonFunctionDescriptor,
    _rebuild_env,
    llvm,
    rtsys,
)
from ._types import described, type_of


def _environment_as_json(environment: Any) -> list[Any]:
    """What compiled code refers to apart from other code: a module, a name, and array element types."""
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


def _names_of(library: Any) -> bytes:
    """A module, as bitcode, that defines all names of a library; only its names are read.

    Numba stores a second copy of a library's code for functions that call it. Our kernels need none, because
    they are compiled together with the functions they call.
    """
    module = library._get_module_for_linking()
    found = [each for each in (*module.functions, *module.global_variables) if not each.is_declaration]
    text = "\n".join(f'@"{each.name}" = global i8 0' for each in found)
    return bytes(llvm.parse_assembly(text).as_bitcode())


class KernelCache(NullCache):
    """The overloads of one kernel on disk, instead of Numba's own cache.

    Numba's cache does not notice when a function that the kernel calls changes. It also has one index for all
    overloads of a kernel, so that processes that write at the same time can mix up overloads.

    Parameters
    ----------
    function
        The kernel's Python function.
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
        """The file of an overload, and the description that its header must match."""
        key = [self._name, self._line, TARGET, [described(kind) for kind in signature]]
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
        return self._folder / f"{self._name}-{digest}", key

    def holds(self, signature: Any) -> bool:
        """Whether a complete file is stored for ``signature``."""
        return self._found(signature) is not None

    def _found(self, signature: Any) -> tuple[dict[str, Any], list[bytes]] | None:
        path, key = self._place(signature)
        found = cache.load(path, OWNERS)
        return found if found is not None and found[0]["key"] == key else None

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The stored code for ``signature``; None if there is none or it cannot be used."""
        found = self._found(signature)
        if found is None:
            return None
        header, code = found
        # Loaded code needs no more; target_context.refresh() takes 0.2 s for what only the compiler needs.
        rtsys.initialize(target_context)
        result = type_of(header["result"])
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
        """Store a compiled kernel if it can be stored and there is enough space on disk."""
        path, key = self._place(signature)
        described = self._described(signature, compiled)
        if described is None:
            return
        header, code = described
        with contextlib.suppress(OSError):
            cache.store(path, {"key": key} | header, code)

    def _described(self, signature: Any, compiled: Any) -> tuple[dict[str, Any], tuple[bytes, bytes]] | None:
        """The parts of a compiled kernel to store; None if it cannot be restored from them exactly."""
        # The first means that code holds addresses of this process; the others do not apply to kernels.
        if (
            compiled.library.has_dynamic_globals
            or compiled.objectmode
            or compiled.lifted
            or compiled.reload_init
        ):
            return None
        (library, _, (code, _)), descriptor, environment, *_, referenced = compiled._reduce()
        try:
            header = {
                "library": library,
                "result": described(descriptor.restype),
                "unique_name": descriptor.unique_name,
                "uid": descriptor.uid,
                "abi_tags": list(descriptor.abi_tags),
                "environment": _environment_as_json(environment),
                "referenced": [_environment_as_json(other) for other in referenced],
            }
            again = self._descriptor(header, signature, type_of(header["result"]))
        except (KeyError, ValueError, AttributeError):
            return None
        is_same = all(getattr(again, name) == getattr(descriptor, name) for name in _DESCRIPTOR_FIELDS)
        return (header, (code, _names_of(compiled.library))) if is_same else None

    def _descriptor(self, header: Mapping[str, Any], signature: Any, result: Any) -> Any:
        """Numba's description of the function that it compiled for ``signature``."""
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
