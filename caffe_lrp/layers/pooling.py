"""Max and average pooling."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels import pooling as kernels
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.window import Window
from caffe_lrp.proto.caffe_pb2 import PoolingParameter
from caffe_lrp.proto.spec import LayerSpec, Shape

from .base import Blobs, Layer, WindowAverage, Winner, register
from .window import pooled_size, pooling_window, require_image


@register("Pooling")
@dataclass(frozen=True, eq=False, kw_only=True)
class Pooling(Layer):
    """Geometry common to all pooling methods; `from_spec` gives the class of the method asked for."""

    window: Window
    round_up: bool

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Pooling":
        parameters = spec.parameters.pooling_param
        if parameters.pool not in METHODS:
            method = PoolingParameter.PoolMethod.Name(parameters.pool)
            raise ModelError(f"pooling method {method} is not supported; MAX and AVE are")
        return METHODS[parameters.pool](
            window=pooling_window(parameters, require_image(node["input_shapes"][0])),
            round_up=parameters.round_mode == PoolingParameter.CEIL,
            **node,
        )

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        channels = self.input_shapes[0][0]
        return ((channels, *pooled_size(self.window, self.input_shapes[0], self.round_up)),)

    def _empty_output(self, x: Blob) -> Blob:
        return np.empty((len(x), *self.output_shapes[0]), np.float32)

    def _empty_input(self, relevance: Blob) -> Blob:
        return np.empty((len(relevance), *self.input_shapes[0]), np.float32)


class MaxPooling(Pooling, Winner):
    """The largest element of every window; the first in scan order wins a tie."""

    gradient_uses_inputs: ClassVar[bool] = True

    def forward(self, inputs: Blobs) -> tuple[Blob, ...]:
        out = self._empty_output(inputs[0])
        kernels.max_pool(inputs[0], self.window, out)
        return (out,)

    def gradient(self, inputs: Blobs, outputs: Blobs, gradients: Blobs) -> tuple[Blob, ...]:
        out = np.empty_like(inputs[0])
        kernels.max_pool_route(inputs[0], gradients[0], self.window, out)
        return (out,)


class AveragePooling(Pooling, WindowAverage):
    """The mean of every window, over the window clipped to the padded image."""

    def forward(self, inputs: Blobs) -> tuple[Blob, ...]:
        out = self._empty_output(inputs[0])
        kernels.average_pool(inputs[0], self.window, out)
        return (out,)

    def gradient(self, inputs: Blobs, outputs: Blobs, gradients: Blobs) -> tuple[Blob, ...]:
        out = self._empty_input(gradients[0])
        kernels.average_pool_gradient(gradients[0], self.window, out)
        return (out,)


METHODS: dict[int, type[Pooling]] = {PoolingParameter.MAX: MaxPooling, PoolingParameter.AVE: AveragePooling}
