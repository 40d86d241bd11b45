"""Linear maps at several positions of a blob: each position is an item of its own."""

import math
from dataclasses import dataclass

import numpy as np

from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.layout import as_blob
from caffe_lrp.kernels.passes import Source

from .linear_map import LinearMap, MatrixMap
from .workspace import Workspace


@dataclass(frozen=True, eq=False)
class PositionMap(LinearMap):
    """One matrix map at every position that the axes before the last of the output make up.

    Rules hand over, and get, blobs in the layer's shapes. Sums alone go from `apply_sums` to `adjoint`
    as they are: (N·positions, 1, 1, 2·outputs).

    Attributes
    ----------
    weight
        Lifted weights of the matrix map.
    input_shape, output_shape
        Of the layer: the output has one axis, of as many numbers as there are outputs, in place of all
        axes of the input that the matrix reads.
    """

    weight: Blob
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def _at_each(self) -> MatrixMap:
        """The map at a single position."""
        return MatrixMap(self.weight, (self._inputs,), self.output_shape[-1:])

    @property
    def _inputs(self) -> int:
        return math.prod(self.input_shape[len(self.output_shape) - 1 :])

    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        found = self._at_each.apply(self._items(x), bias, workspace)
        return self._output(len(x), found, workspace)

    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        sums, total = self._at_each.apply_sums(self._items(x), bias, workspace)
        return sums, self._output(len(x), total, workspace)

    def _items(self, x: Blob) -> Blob:
        """Something in the shape of the layer's input, as (N·positions, inputs)."""
        return np.ascontiguousarray(x.reshape(-1, self._inputs))

    def _output(self, items: int, numbers: Blob, workspace: Workspace) -> Blob:
        """``numbers`` of all positions, (N·positions, outputs), as the layer's output."""
        out = workspace.empty((items, *self.output_shape))
        out[...] = numbers.reshape(out.shape)
        return out

    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        shape = source.blob.shape
        source = source._replace(
            blob=self._by_position(source.blob),
            # Sums lie by position already, outputs lie as relevance does.
            other=self._by_position(source.other) if source.other.shape == shape else source.other,
        )
        factors = None if factor is None else self._items(factor)
        return self._at_each.adjoint(source, factors, workspace).reshape(-1, *self.input_shape)

    def _by_position(self, numbers: Blob) -> Blob:
        """`pixels` of something in the shape of the layer's output, as (N·positions, 1, 1, outputs)."""
        blob = as_blob(numbers, (len(numbers), *self.output_shape))
        return np.ascontiguousarray(blob.reshape(-1, 1, 1, self.output_shape[-1]))
