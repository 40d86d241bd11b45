"""The toolbox's pickles (``.nn``): eight classes of modules, their container and NumPy arrays, nothing else.

Arrays are made from the bytes in the file by this module alone, once their shape and type are checked.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ModelError
from caffe_lrp.files.reading import read_small_file

from .machine import Made, Named, content_of_pickle
from .module import LARGEST_SIZE, MOST_MODULES, SIZES, Module, Numbers, checked_module

_MOST_MEGABYTES = 2048
_MOST_AXES = 4
#: The modules of the toolbox's classes, wherever the toolbox was.
_TOOLBOX = re.compile(r"(?:\w+\.)*modules\.\w+")
_CONTAINER = "Sequential"
#: What NumPy's arrays and numbers are pickled with, by its versions 1 and 2; and classes by Python 3.
_NUMPY = re.compile(r"numpy(?:\.(?:core|_core)\.(?:multiarray|numeric))?")
_FROM_NUMPY = ("_reconstruct", "_frombuffer", "scalar", "ndarray", "dtype")
_RECONSTRUCTORS = (Named("copyreg", "_reconstructor"), Named("copy_reg", "_reconstructor"))
_OTHERS = (
    *_RECONSTRUCTORS,
    Named("builtins", "object"),
    Named("__builtin__", "object"),
    Named("_codecs", "encode"),
    Named("builtins", "bytearray"),
)
#: Types of weights, and of sizes.
_FLOATS = ("f8", "f4", "f2")
_LEAST_BYTES = 2
_INTEGERS = ("i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1")

#: Kind of module -> attributes with its sizes. A tuple gives as many sizes as it has numbers.
_SIZE_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "Linear": ("m", "n"),
    "Convolution": ("fh", "fw", "fd", "n", "stride"),
    "SumPool": ("pool", "stride"),
    "MaxPool": ("pool", "stride"),
}


def read_pickle(path: Path) -> tuple[Module, ...]:
    """The modules of a pickled net.

    Raises
    ------
    ModelError
        It cannot be read, or has anything that is no part of a net of the toolbox.
    """
    content = read_small_file(path, "pickled net", ModelError, most_megabytes=_MOST_MEGABYTES)
    net = content_of_pickle(content, _require)
    if not isinstance(net, Made) or _class_of(net) != _CONTAINER:
        raise ModelError("is a pickle, but of something else than a net of the LRP Toolbox (Sequential)")
    modules = _attributes(net, "the net").get("modules")
    if not isinstance(modules, list) or not modules:
        raise ModelError("the net has no modules; write it again with model_io.write")
    if len(modules) > MOST_MODULES:
        raise ModelError(f"the net has more than {MOST_MODULES} modules; is it really a net?")
    found = []
    left = len(content)  # an array that a thousand modules share would become a thousand
    for number, value in enumerate(modules, 1):
        found.append(_module(value, f"module {number}"))
        left -= _LEAST_BYTES * (0 if found[-1].weights is None else found[-1].weights.size)
        if left < 0:
            raise ModelError("several of its modules share their weights; write the net again as text (.txt)")
    return tuple(found)


def _require(named: Named) -> None:
    """Refuse whatever is no part of a net of the toolbox."""
    if named in _OTHERS or (_TOOLBOX.fullmatch(named.module) and named.name in (_CONTAINER, *SIZES)):
        return
    if _NUMPY.fullmatch(named.module) and named.name in _FROM_NUMPY:
        return
    advice = "it is not opened, as opening it could run any program"
    if named.module.startswith("cupy"):
        advice = "its arrays are on a GPU; write the net again after model.to_numpy()"
    elif _TOOLBOX.fullmatch(named.module):
        advice = "that module is not one of the toolbox's own; there is no layer for it"
    elif named.module.startswith("numpy"):
        advice = "write the net again with model_io.write, as text (.txt)"
    raise ModelError(f"names {named}, which is no part of a net of the LRP Toolbox; {advice}")


def _class_of(made: Made) -> str:
    """Name of the toolbox's class that an object is of; empty if it is of another."""
    what = made.what
    if what in _RECONSTRUCTORS and made.arguments and isinstance(made.arguments[0], Named):
        what = made.arguments[0]
    return what.name if _TOOLBOX.fullmatch(what.module) else ""


def _attributes(made: Made, place: str) -> Mapping[str, Any]:
    if not isinstance(made.state, dict):
        raise ModelError(f"{place}: has no attributes; write the net again with model_io.write")
    return made.state


def _module(value: Any, place: str) -> Module:
    kind = _class_of(value) if isinstance(value, Made) else ""
    if kind not in SIZES:
        what = "another net" if kind == _CONTAINER else "no module of the toolbox"
        raise ModelError(f"{place}: is {what}; put all modules into one list, and write the net again")
    given = _attributes(value, f"{place} ({kind})")
    place_of = f"{place} ({kind}): its "
    names = _SIZE_ATTRIBUTES.get(kind, ())
    sizes = tuple(size for name in names for size in _sizes(given.get(name), place_of + name))
    if len(sizes) != len(SIZES[kind]):
        raise ModelError(f"{place} ({kind}): has {len(sizes)} sizes, not {len(SIZES[kind])}; write it again")
    weights = bias = None
    if kind in ("Linear", "Convolution"):
        weights = _weights(given.get("W"), place_of + "W")
        bias = _weights(given.get("B"), place_of + "B")
    return checked_module(kind, place, sizes, weights, bias)


def _sizes(value: Any, label: str) -> tuple[int, ...]:
    parts = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return tuple(_size(part, label) for part in parts[:_MOST_AXES])


def _size(value: Any, label: str) -> int:
    if isinstance(value, Made) and value.what.name == "scalar":
        array = _array(value, label, _INTEGERS)
        value = int(array.flat[0]) if array.size == 1 else None
    if type(value) is not int or not 1 <= value <= LARGEST_SIZE:
        raise ModelError(f"{label} must be whole numbers from 1 to {LARGEST_SIZE}; write the net again")
    return value


def _weights(value: Any, label: str) -> Numbers:
    with np.errstate(all="ignore"):
        return _array(value, label, _FLOATS).astype(np.float64)


class _Stored(NamedTuple):
    """An array as the pickle has it."""

    shape: Any
    dtype: Any
    is_fortran: bool
    data: Any


def _array(value: Any, label: str, kinds: tuple[str, ...]) -> NDArray[Any]:
    """The array that a pickle describes."""
    try:
        stored = _STORED[value.what.name](value)
    except (KeyError, ValueError, TypeError, AttributeError):
        raise ModelError(f"{label} is no array of numbers; write the net again") from None
    dtype = _dtype(stored.dtype, label, kinds)
    shape = stored.shape
    if (
        not isinstance(shape, tuple)
        or len(shape) > _MOST_AXES
        or any(type(side) is not int for side in shape)
    ):
        raise ModelError(f"{label} has a shape that no weights have; write the net again")
    data = _bytes(stored.data)
    if any(side < 1 for side in shape) or data is None or math.prod(shape) * dtype.itemsize != len(data):
        raise ModelError(f"{label} does not have the bytes that its shape needs; get a complete copy of it")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape, order="F" if stored.is_fortran else "C")


def _reconstructed(made: Made) -> _Stored:
    """An array of NumPy's own: its state is (version, shape, type, whether in Fortran's order, bytes)."""
    _, shape, dtype, is_fortran, data = made.state
    return _Stored(shape, dtype, is_fortran is True, data)


def _from_buffer(made: Made) -> _Stored:
    """One of protocol 5: (bytes, type, shape, order)."""
    data, dtype, shape, order = made.arguments
    return _Stored(shape, dtype, order == "F", data)


def _from_scalar(made: Made) -> _Stored:
    dtype, data = made.arguments
    return _Stored((), dtype, False, data)


#: What makes an array -> its parts.
_STORED: Mapping[str, Callable[[Made], _Stored]] = {
    "_reconstruct": _reconstructed,
    "_frombuffer": _from_buffer,
    "scalar": _from_scalar,
}


def _dtype(value: Any, label: str, kinds: tuple[str, ...]) -> np.dtype[Any]:
    """The type of numbers that a pickled ``numpy.dtype`` stands for: one of ``kinds``."""
    name = order = ""
    if isinstance(value, Made) and value.what.name == "dtype" and value.arguments:
        name = value.arguments[0]
        state = value.state if isinstance(value.state, tuple) else ()
        order = state[1] if len(state) > 1 else "<"
    if name not in kinds or order not in ("<", ">", "=", "|"):
        raise ModelError(f"{label} must be {kinds[0]} numbers; write the net again")
    return np.dtype(f"{'<' if order in ('=', '|') else order}{name}")


def _bytes(value: Any) -> bytes | bytearray | None:
    """The bytes of an array; None if they are something else."""
    if isinstance(value, Made) and value.what.name in ("encode", "bytearray"):
        value = value.arguments[0] if value.arguments else None
    if isinstance(value, str):  # of Python 2, or of a protocol that has no bytes
        try:
            return value.encode("latin-1")
        except ValueError:
            return None
    return value if isinstance(value, (bytes, bytearray)) else None
