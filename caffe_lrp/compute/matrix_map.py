"""Linear maps given by a matrix, for the whole input or for every position of a blob."""

import math
from dataclasses import dataclass

import numpy as np

from caffe_lrp.kernels.blobs import Blob, as_blob
from caffe_lrp.kernels.gemm import multiply, multiply_adjoint
from caffe_lrp.kernels.passes import (
    NO_BIAS,
    NO_BLOB,
    Source,
    add_sums,
    by_sign,
    choose_parts,
    copied,
    fill_rows,
    multiply_rows,
)

from .linear_map import LinearMap
from .workspace import Workspace


@dataclass(frozen=True, eq=False)
class MatrixMap(LinearMap):
    """A map of the whole input, like a convolution with a window as large as the input.

    Attributes
    ----------
    weight
        Lifted weights, 7 axes; one group, a window of one pixel over all inputs.
    input_shape, output_shape
        Shapes of the layer.
    """

    weight: Blob
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def _matrix(self) -> Blob:
        """(parts·outputs, parts·inputs)."""
        return self.weight.reshape(self.weight.shape[1] * self.weight.shape[2], -1)

    @property
    def _parts_in(self) -> int:
        return int(self.weight.shape[3])

    def _products(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        """(N, 1, 1, parts·outputs)."""
        lines = x.reshape(len(x), 1, 1, -1)
        source = copied(lines) if self._parts_in == 1 else by_sign(lines, 1)
        numbers = _filled(source, self._matrix.shape[1], workspace)
        out = workspace.empty((len(x), len(self._matrix)))
        shift = NO_BIAS if bias is None else bias
        workspace.share(
            lambda first, last: multiply(first, last, numbers, self._matrix, shift, out), len(self._matrix)
        )
        return out.reshape(len(x), 1, 1, -1)

    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        return self._products(x, bias, workspace).reshape(len(x), *self.output_shape)

    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        sums = self._products(x, None, workspace)
        out = workspace.pixels((len(x), 1, 1, self.weight.shape[2]))
        add_sums(sums[:, 0], NO_BIAS if bias is None else bias, 1, out[:, 0])
        return sums, out.reshape(len(x), *self.output_shape)

    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        matrix, items = self._matrix, len(source.blob)
        numbers = _filled(source, len(matrix), workspace)
        products = workspace.pixels((items, 1, 1, matrix.shape[1]))
        lines = products.reshape(items, -1)
        workspace.share(
            lambda first, last: multiply_adjoint(first, last, numbers, matrix, lines), matrix.shape[1]
        )
        if self._parts_in == 2:
            out = workspace.pixels((items, 1, 1, matrix.shape[1] // 2))
            other = NO_BLOB.reshape(0, 0, 0) if factor is None else factor.reshape(items, 1, -1)
            choose_parts(products[:, 0], other, 1, out[:, 0])
            products = out
        elif factor is not None:
            multiply_rows(factor.reshape(items, 1, -1), products[:, 0])
        return products.reshape(items, *self.input_shape)


@dataclass(frozen=True, eq=False)
class PositionMap(LinearMap):
    """One matrix map applied at every position: the output's axes but the last are positions.

    Rules pass and receive blobs in the layer's shapes. Only the sums from `apply_sums` to `adjoint` have
    another: (N·positions, 1, 1, 2·outputs).

    Attributes
    ----------
    weight
        Lifted weights of the matrix map.
    input_shape, output_shape
        Shapes of the layer: the axes of the input that the matrix reads are replaced by one axis of outputs.
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
        """A blob in the shape of the layer's input, as (N·positions, inputs)."""
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
            # Sums are stored by position already, outputs in the same way as relevance.
            other=self._by_position(source.other) if source.other.shape == shape else source.other,
        )
        factors = None if factor is None else self._items(factor)
        return self._at_each.adjoint(source, factors, workspace).reshape(-1, *self.input_shape)

    def _by_position(self, numbers: Blob) -> Blob:
        """A blob in the shape of the layer's output, as (N·positions, 1, 1, outputs)."""
        blob = as_blob(numbers, (len(numbers), *self.output_shape))
        return np.ascontiguousarray(blob.reshape(-1, 1, 1, self.output_shape[-1]))

    def rows(self, numbers: Blob) -> Blob:
        return np.ascontiguousarray(numbers).reshape(len(numbers), -1, self.output_shape[-1])


def _filled(source: Source, channels: int, workspace: Workspace) -> Blob:
    """The input of a product that ``source`` describes: (N, channels)."""
    out = workspace.pixels((len(source.blob), 1, 1, channels))
    for item in range(len(source.blob)):
        fill_rows(source, item, 0, 0, out[item])
    return out.reshape(len(out), channels)
