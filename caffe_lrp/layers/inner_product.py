"""Inner product (fully connected layer)."""

import math
from dataclasses import dataclass
from typing import Any

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.proto.spec import LayerSpec, Shape
from caffe_lrp.workspace import Workspace

from .base import Linear, register
from .linear_map import LinearMap, MatrixMap


@register("InnerProduct")
@dataclass(frozen=True, eq=False, kw_only=True)
class InnerProduct(Linear):
    """Fully connected layer over everything but the batch axis."""

    groups: int = 1
    output_count: int
    has_bias: bool

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "InnerProduct":
        parameters = spec.parameters.inner_product_param
        if parameters.num_output < 1:
            raise ModelError("num_output must be at least 1; set it in inner_product_param")
        if parameters.axis != 1 or parameters.transpose:
            raise ModelError(
                "an axis other than 1 and transposed weights are not supported; nets with them cannot be "
                "explained"
            )
        return cls(output_count=parameters.num_output, has_bias=parameters.bias_term, **node)

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        matrix = (self.output_count, self.fan_in)
        return (matrix, (self.output_count,)) if self.has_bias else (matrix,)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return ((self.output_count,),)

    @property
    def group_outputs(self) -> int:
        return self.output_count

    @property
    def taps(self) -> int:
        return self.fan_in

    @property
    def fan_in(self) -> int:
        return math.prod(self.input_shapes[0])

    @property
    def has_partial_windows(self) -> bool:
        return False

    def map_of(self, weight: Blob) -> LinearMap:
        return MatrixMap(weight, self.input_shapes[0], self.output_shapes[0])

    def uniform_adjoint(self, relevance: Blob, workspace: Workspace) -> Blob:
        out = workspace.empty((len(relevance), *self.input_shapes[0]))
        totals = relevance.reshape(len(relevance), -1).sum(axis=1)
        out[...] = totals.reshape(-1, *(1,) * (out.ndim - 1))
        return out
