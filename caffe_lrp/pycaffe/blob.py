"""Blobs: arrays that scripts read and write in place."""

import math
import operator
import zlib
from collections import OrderedDict
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.formats.spec import Shape
from caffe_lrp.messages import did_you_mean

from .faults import CaffeError, CaffeKeyError, CaffeValueError

Floats = NDArray[np.float32]
ValueT = TypeVar("ValueT")

_LEGACY_AXES = 4
_LARGEST = 2**31 - 1


class Named(OrderedDict[str, ValueT]):
    """Blobs or layers by name, in order; an unknown name is answered with a suggestion.

    Scripts of Python 2 call the methods ``iteritems``, ``iterkeys`` and ``itervalues``.
    """

    iteritems, iterkeys, itervalues = OrderedDict.items, OrderedDict.keys, OrderedDict.values

    def __missing__(self, name: str) -> NoReturn:
        raise CaffeKeyError(
            f"there is no '{name}' here{did_you_mean(str(name), self) or '; names: ' + ', '.join(self)}"
        )


class Blob:
    """An array and its gradient or relevance, as ``caffe.Blob``.

    Parameters
    ----------
    shape
        The shape, batch axis first.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = tuple(shape)
        self._memory = {"data": np.zeros(self.count, np.float32)}

    def _view(self, kind: str) -> Floats:
        memory = self._memory.get(kind)
        if memory is None or memory.size < self.count:
            memory = self._memory[kind] = np.zeros(self.count, np.float32)
        return memory[: self.count].reshape(self._shape)

    @property
    def data(self) -> Floats:
        """The numbers: a view, into which scripts write."""
        return self._view("data")

    @property
    def diff(self) -> Floats:
        """What the last backward pass left, a gradient or relevance: a view."""
        return self._view("diff")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; CaffeError for ``data`` and ``diff``."""
        if name in ("data", "diff"):
            raise CaffeError(f"a blob's {name} cannot be replaced; write into it: blob.{name}[...] = numbers")
        super().__setattr__(name, value)

    @property
    def shape(self) -> Shape:
        """All sizes, batch axis first."""
        return self._shape

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self._shape)

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > _LEGACY_AXES:
            raise CaffeValueError(f"a blob of {len(self._shape)} axes has no num and width; use its shape")
        return (*self._shape, 1, 1, 1, 1)[axis]

    @property
    def num(self) -> int:
        """Size of axis 0."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """Size of axis 1, or 1."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """Size of axis 2, or 1."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """Size of axis 3, or 1."""
        return self._legacy(3)

    def reshape(self, *sizes: int) -> None:
        """Change the shape; the net's layers follow at `Net.reshape`, or in the next forward pass.

        Memory is replaced only if it grows; older views are then out of date.

        Raises
        ------
        CaffeValueError
            A size is not a positive whole number, or there are far too many elements.
        """
        try:
            shape = tuple(operator.index(size) for size in sizes)
        except TypeError as error:
            raise CaffeValueError(
                f"reshape{sizes}: sizes must be whole numbers, such as reshape(10, 3, 227, 227)"
            ) from error
        if min(shape, default=1) < 1 or math.prod(shape) > _LARGEST:
            raise CaffeValueError(
                f"reshape{shape}: sizes must be positive, and at most {_LARGEST} elements together"
            )
        self._shape = shape

    def take(self, numbers: Floats) -> None:
        """Become a copy of ``numbers``, in their shape."""
        self._shape = numbers.shape
        self.data[...] = numbers


class Weight(Blob):
    """A learned blob of a layer, which scripts may edit in place.

    Parameters
    ----------
    numbers
        Its memory, C-contiguous.
    """

    def __init__(self, numbers: Floats) -> None:
        super().__init__((0,))
        self._shape, self._numbers = numbers.shape, numbers
        self._print: int | None = None

    @property
    def data(self) -> Floats:
        """The numbers: a view, into which scripts write. Layers follow in the next pass."""
        if self._print is None:  # only what was handed out can have been changed
            self._print = zlib.crc32(self._numbers.data)
        return self._numbers

    @property
    def diff(self) -> NoReturn:
        """Refused: gradients are computed for blobs between layers only."""
        raise CaffeError(
            "gradients of weights are not computed; net.backward() gives those of the blobs between layers"
        )

    def reshape(self, *sizes: int) -> None:
        """Refused: shapes of weights follow from the prototxt."""
        raise CaffeError("weights cannot be reshaped; change the prototxt, and open another caffe.Net")

    def has_changed(self) -> bool:
        """Whether the numbers were edited since they were first handed out, or since the last call."""
        before = self._print
        if before is not None:
            self._print = zlib.crc32(self._numbers.data)
        return self._print != before
