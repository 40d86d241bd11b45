"""Inner product (fully connected layer)."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.matrix_map import MatrixMap, PositionMap
from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.products import Products
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.window import Window

from .base import Layer, register
from .geometry import canonical_axis
from .linear import Linear


@register("InnerProduct")
@dataclass(frozen=True, eq=False, kw_only=True)
class InnerProduct(Linear):
    """Fully connected layer over ``axis`` of one item and all after it.

    The axes before it are positions, all with the same weights. Weights that are stored transposed, (K, M),
    are transposed back when they are loaded.
    """

    groups: int = 1
    output_count: int
    has_bias: bool
    axis: int
    is_transposed: bool

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "InnerProduct":
        parameters = spec.parameters.inner_product_param
        if parameters.num_output < 1:
            raise ModelError("num_output must be at least 1; set it in inner_product_param")
        return cls(
            output_count=parameters.num_output,
            has_bias=parameters.bias_term,
            axis=canonical_axis(parameters.axis, node["input_shapes"][0]),
            is_transposed=parameters.transpose,
            **node,
        )

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        matrix = (self.fan_in, self.output_count) if self.is_transposed else (self.output_count, self.fan_in)
        return (matrix, (self.output_count,)) if self.has_bias else (matrix,)

    def with_weights(self, weights: tuple[Blob, ...]) -> Layer:
        if not self.is_transposed:
            return super().with_weights(weights)
        turned = np.ascontiguousarray(weights[0].T)
        return replace(self, is_transposed=False, weights=(turned, *weights[1:]))

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return ((*self.input_shapes[0][: self.axis], self.output_count),)

    @property
    def group_outputs(self) -> int:
        return self.output_count

    @property
    def taps(self) -> int:
        return self.fan_in

    @property
    def fan_in(self) -> int:
        return math.prod(self.input_shapes[0][self.axis :])

    @property
    def has_partial_windows(self) -> bool:
        return False

    def map_of(self, weight: Blob) -> LinearMap:
        kind = PositionMap if self.axis else MatrixMap
        # The kernel reads contiguous float32 rows, without a check.
        rows = np.ascontiguousarray(weight, np.float32)
        return kind(rows, self.input_shapes[0], self.output_shapes[0])

    @shared_property
    def products(self) -> Products:
        pixel = Window(kernel_h=1, kernel_w=1)
        weight = self.weight.reshape(*self.weight.shape, 1, 1)
        return Products.of(weight, 1, pixel, (self.fan_in, 1, 1), (self.output_count, 1, 1), spreads=False)

    def uniform_adjoint(self, relevance: Blob, workspace: Workspace) -> Blob:
        out = workspace.empty((len(relevance), *self.input_shapes[0]))
        totals = relevance.sum(axis=-1)
        out[...] = totals.reshape(*totals.shape, *(1,) * (out.ndim - totals.ndim))
        return out
