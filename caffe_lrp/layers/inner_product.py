"""Inner product (fully connected layer)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.elementwise import add_bias
from caffe_lrp.kernels.gemm import Blob, product
from caffe_lrp.proto.spec import LayerSpec, Shape

from .base import Blobs, Linear, register


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

    def apply(self, x: Blob, weight: Blob) -> Blob:
        return product(x.reshape(len(x), -1), weight.T).reshape(len(x), 1, len(weight), 1)

    def adjoint(self, relevance: Blob, weight: Blob) -> Blob:
        handed_back = product(relevance.reshape(len(relevance), len(weight)), weight)
        return handed_back.reshape(len(relevance), *self.input_shapes[0])

    def uniform_adjoint(self, relevance: Blob) -> Blob:
        totals = relevance.reshape(len(relevance), -1).sum(axis=1, keepdims=True)
        spread = np.repeat(totals, self.fan_in, axis=1)
        return spread.reshape(len(relevance), *self.input_shapes[0])

    def forward(self, inputs: Blobs) -> tuple[Blob, ...]:
        out = self.apply(inputs[0], self.weight).reshape(len(inputs[0]), self.output_count, 1)
        if self.bias is not None:
            add_bias(out, self.bias)
        return (out.reshape(len(out), self.output_count),)
