"""Types of arguments: in annotations, in Numba, and in JSON."""

import importlib
import operator
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np

from ._jit import types

#: Name -> type of a number, or None's type.
_SCALARS = {str(scalar): scalar for scalar in (*types.number_domain, types.boolean, types.none)}


_TUPLE: Any = types.BaseTuple
_NAMED_TUPLE: Any = types.BaseNamedTuple


def described(kind: Any) -> Any:
    """A unique JSON description of a type; `type_of` reads the descriptions of results."""
    if isinstance(kind, _NAMED_TUPLE):
        pair = kind.instance_class
        return ["named", pair.__module__, pair.__qualname__, *map(described, kind.types)]
    if isinstance(kind, _TUPLE):
        return ["tuple", *map(described, kind.types)]
    if type(kind) is types.Array:
        return ["array", described(kind.dtype), kind.ndim, kind.layout, not kind.mutable, kind.aligned]
    if isinstance(kind, types.IntegerLiteral):
        return ["literal", kind.literal_value]
    return repr(kind)


def type_of(description: Any) -> Any:
    """The inverse of `described`; KeyError or ValueError if the description is not enough."""
    if isinstance(description, str):
        return _SCALARS[description]
    name, *parts = description
    if name == "array":
        dtype, dimensions, layout, is_readonly, is_aligned = parts
        return types.Array(type_of(dtype), dimensions, layout, is_readonly, aligned=is_aligned)
    if name == "literal":
        return types.literal(*parts)
    if name == "tuple":
        return types.BaseTuple.from_types([type_of(part) for part in parts])
    module, attribute, *fields = parts
    if module.rpartition(".")[0] != __package__:
        raise ValueError(f"{module} is not a module of kernels")
    pair = operator.attrgetter(attribute)(importlib.import_module(module))
    return types.BaseTuple.from_types([type_of(field) for field in fields], pair)


def stated_types(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Argument types from the annotations of a kernel; TypeError if one is not specific enough.

    Arrays are annotated with their number of axes, as in `blobs.Blob4`, and are contiguous.
    """
    hints = get_type_hints(function, include_extras=True)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return tuple(_stated(hints.get(name), f"'{name}' of {function.__qualname__}") for name in names)


_NUMBERS = {int: types.int64, float: types.float64, bool: types.boolean}


def _stated(hint: Any, what: str) -> Any:
    if hint in _NUMBERS:
        return _NUMBERS[hint]
    if get_origin(hint) is Annotated:
        array, axes = get_args(hint)
        return types.Array(getattr(types, np.dtype(_numbers_of(array)).name), axes, "C")
    if isinstance(hint, type) and issubclass(hint, tuple):
        fields = get_type_hints(hint, include_extras=True)
        return types.BaseTuple.from_types([_stated(kind, what) for kind in fields.values()], hint)
    raise TypeError(f"a kernel cannot be compiled for the annotation of {what}: {hint}")


def _numbers_of(array: Any) -> type[np.generic]:
    """The element type of an annotated array; NumPy has two forms of the alias ``NDArray``."""
    kinds = [get_args(part) or (part,) for part in get_args(array)]
    (number,) = (kind for (kind, *_) in kinds if isinstance(kind, type) and issubclass(kind, np.generic))
    return number
