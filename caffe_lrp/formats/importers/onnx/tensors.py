"""Constants of an ONNX graph: their types and shapes, and their numbers once they are needed."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ModelError
from caffe_lrp.files.reading import open_input, why_unreadable
from caffe_lrp.formats.spec import Shape

Array = NDArray[Any]

#: Numbers in one tensor.
LARGEST_TENSOR = 2**29
MOST_AXES = 32
#: Bytes in files besides the model.
MOST_EXTERNAL_BYTES = 2**33

_BFLOAT16, _EXTERNAL = 16, 1
#: Type of a TensorProto -> how its numbers are stored. Those in ``int32_data`` are read from there if they
#: are not
#: raw bytes; bfloat16 is the upper half of a float32.
DTYPES: dict[int, str] = {
    1: "<f4",
    2: "u1",
    3: "i1",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    9: "?",
    10: "<f2",
    11: "<f8",
    _BFLOAT16: "<u2",
}
_FIELDS = {1: "float_data", 7: "int64_data", 11: "double_data"}
#: Types by name, for messages: those of numbers that a net computes with, and others.
FLOATS = {1: "float32", 10: "float16", 11: "float64", _BFLOAT16: "bfloat16"}
_NAMES = FLOATS | {
    0: "undefined",
    2: "uint8",
    3: "int8",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
}


def type_name(number: int) -> str:
    """Name of a type of tensors."""
    return _NAMES.get(number, f"number {number}")


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor of known shape; its numbers are only read when asked for.

    Attributes
    ----------
    shape
        As the file says it.
    is_float
        Whether its numbers are floating-point numbers.
    load
        Reads them.
    """

    shape: Shape
    is_float: bool
    load: Callable[[], Array]

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)


def constant_of(array: Array) -> Constant:
    """A constant in memory."""
    return Constant(array.shape, array.dtype.kind == "f", lambda: array)


class ExternalFiles:
    """The files beside a model that hold the numbers of its tensors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left: dict[Path, int] = {}

    def read(self, entries: dict[str, str], size: int) -> bytes:
        """``size`` bytes of a file below the model's folder.

        Raises
        ------
        ModelError
            The file is elsewhere, missing or too small, or has been read completely already.
        """
        path = self._path(entries.get("location", ""))
        offset, length = (
            _count(entries.get(key, default), key)
            for key, default in (("offset", "0"), ("length", str(size)))
        )
        if length != size:
            raise ModelError(
                f"should have {size} bytes for its shape, but length says {length}; export the net again"
            )
        try:
            with open_input(path) as file:
                room = os.fstat(file.fileno()).st_size
                if offset + size > room:
                    raise ModelError(
                        f"its numbers should be at bytes {offset} to {offset + size} of {path}, which "
                        f"has {room}; copy "
                        "the file again, or export the net again"
                    )
                self._take(path, size, room)
                file.seek(offset)
                return file.read(size)
        except (OSError, ValueError) as fault:
            raise ModelError(
                f"its numbers are in {path}, which cannot be read: {why_unreadable(fault, path)}"
            ) from fault

    def _path(self, location: str) -> Path:
        if not location or "\0" in location:
            raise ModelError("does not say in which file its numbers are; export the net again")
        path = Path(os.path.normpath(self._folder / location))
        is_inside = path.is_relative_to(os.path.normpath(self._folder)) and not Path(location).is_absolute()
        real = Path(os.path.realpath(path))
        if not is_inside or not real.is_relative_to(os.path.realpath(self._folder)):
            raise ModelError(
                f"its numbers are in '{location[:200]}', which is not below the folder of the model; "
                "put the file there, and "
                "export the net again"
            )
        return real

    def _take(self, path: Path, size: int, room: int) -> None:
        """Count what is read, so that a small file cannot fill the memory by being read many times."""
        self._left.setdefault(path, min(room, MOST_EXTERNAL_BYTES))
        self._left[path] -= size
        if self._left[path] < 0:
            raise ModelError(
                f"{path} has fewer bytes than the tensors in it together, or more than 8 GB; export "
                "the net again"
            )


def _count(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{what} of its external data is '{text[:40]}', not a number; export the net again")
    return int(text)


def stored_constant(tensor: Any, files: ExternalFiles) -> Constant:
    """A constant for a TensorProto, whose shape and size agree with what the file has.

    Raises
    ------
    ModelError
        Its type is not supported, or its numbers do not fit its shape.
    """
    shape = tuple(int(size) for size in tensor.dims)
    kind = int(tensor.data_type)
    if kind not in DTYPES:
        raise ModelError(
            f"has numbers of type {type_name(kind)}, which are not supported; export the net with "
            "float32 numbers"
        )
    if len(shape) > MOST_AXES or min(shape, default=1) < 0 or math.prod(shape) > LARGEST_TENSOR:
        raise ModelError(f"has the impossible shape {shape[:8]}; export the net again")
    if tensor.HasField("segment"):
        raise ModelError("is stored in segments, which are not supported; export the net again")
    if tensor.data_location != _EXTERNAL:
        _require_size(tensor, kind, math.prod(shape))
    return Constant(shape, kind in FLOATS, lambda: _numbers(tensor, kind, shape, files))


def _require_size(tensor: Any, kind: int, count: int) -> None:
    """Refuse a tensor that has fewer or more numbers than its shape."""
    if tensor.HasField("raw_data"):
        found, width = len(tensor.raw_data), np.dtype(DTYPES[kind]).itemsize
    else:
        found, width = len(getattr(tensor, _FIELDS.get(kind, "int32_data"))), 1
    if found != count * width:
        raise ModelError(
            f"has shape {tuple(tensor.dims)} and needs {count * width} "
            f"{'bytes' if width > 1 else 'numbers'}, but has "
            f"{found}; export the net again"
        )


def _numbers(tensor: Any, kind: int, shape: Shape, files: ExternalFiles) -> Array:
    dtype = np.dtype(DTYPES[kind])
    if tensor.data_location == _EXTERNAL:
        entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}
        found = np.frombuffer(files.read(entries, math.prod(shape) * dtype.itemsize), dtype)
    elif tensor.HasField("raw_data"):
        found = np.frombuffer(tensor.raw_data, dtype)
    elif kind in _FIELDS:
        found = np.array(getattr(tensor, _FIELDS[kind]), dtype)
    else:
        stored = np.array(tensor.int32_data, np.int64)
        found = stored.astype(np.uint16).view("<f2") if kind == 10 else stored.astype(dtype)
    if kind == _BFLOAT16:
        found = (found.astype(np.uint32) << 16).view(np.float32)
    return found.reshape(shape)
