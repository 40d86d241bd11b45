"""Max and average pooling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels import pooling as kernels
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.layout import pixels
from caffe_lrp.kernels.window import Window
from caffe_lrp.proto.caffe_pb2 import PoolingParameter
from caffe_lrp.proto.spec import LayerSpec, Shape
from caffe_lrp.workspace import Workspace

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

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def _pool(self, pool: Callable[..., None], x: Blob, workspace: Workspace) -> Blob:
        """The output of the forward kernel ``pool``."""
        out = workspace.empty((len(x), *self.output_shapes[0]))
        source, target = pixels(x), pixels(out)
        workspace.share(
            lambda first, last: pool(first, last, source, self.window, target),
            len(x) * target.shape[1],
            source.size,
        )
        return out


class MaxPooling(Pooling, Winner):
    """The largest element of every window; the first in scan order wins a tie."""

    gradient_uses_inputs: ClassVar[bool] = True

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (self._pool(kernels.max_pool, inputs[0], workspace),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        x, gradient, target = pixels(inputs[0]), pixels(gradients[0]), pixels(out)
        workspace.share(
            lambda first, last: kernels.max_pool_route(first, last, x, gradient, self.window, target),
            target.shape[3],
            target.size,
        )
        return (out,)


class AveragePooling(Pooling, WindowAverage):
    """The mean of every window, over the window clipped to the padded image."""

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (self._pool(kernels.average_pool, inputs[0], workspace),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty((len(gradients[0]), *self.input_shapes[0]))
        kernels.average_pool_gradient(pixels(gradients[0]), self.window, pixels(out))
        return (out,)


METHODS: dict[int, type[Pooling]] = {PoolingParameter.MAX: MaxPooling, PoolingParameter.AVE: AveragePooling}
