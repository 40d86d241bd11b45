"""Local response normalisation, across channels and within them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels import normalization as kernels
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.pooling import average_pool, average_pool_gradient
from caffe_lrp.kernels.window import Window
from caffe_lrp.proto.caffe_pb2 import LRNParameter
from caffe_lrp.proto.spec import LayerSpec

from .base import Blobs, ChannelNormalization, Layer, register
from .window import require_image


@register("LRN")
@dataclass(frozen=True, eq=False, kw_only=True)
class LocalResponseNormalization(Layer):
    """Coefficients common to both regions; `from_spec` gives the class of the region asked for."""

    gradient_uses_inputs: ClassVar[bool] = True

    local_size: int
    alpha: float
    beta: float
    k: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "LocalResponseNormalization":
        parameters = spec.parameters.lrn_param
        require_image(node["input_shapes"][0])
        if parameters.local_size % 2 == 0:
            raise ModelError(f"local_size must be odd, not {parameters.local_size}")
        across = parameters.norm_region == LRNParameter.ACROSS_CHANNELS
        return (AcrossChannels if across else WithinChannel)(
            local_size=parameters.local_size,
            alpha=parameters.alpha,
            beta=parameters.beta,
            k=parameters.k,
            **node,
        )


class AcrossChannels(LocalResponseNormalization, ChannelNormalization):
    """``x_i (k + α/n Σ x_j²)^(−β)`` over n neighbouring channels."""

    def scale(self, x: Blob) -> Blob:
        planes = x.reshape(*x.shape[:2], -1)
        scale = np.empty_like(planes)
        kernels.lrn_scale(planes, self.local_size, self.alpha, self.k, scale)
        return scale

    def forward(self, inputs: Blobs) -> tuple[Blob, ...]:
        x = inputs[0]
        scale = self.scale(x)
        out = np.empty_like(scale)
        kernels.lrn_apply(x.reshape(scale.shape), scale, self.beta, out)
        return (out.reshape(x.shape),)

    def gradient(self, inputs: Blobs, outputs: Blobs, gradients: Blobs) -> tuple[Blob, ...]:
        x = inputs[0]
        scale = self.scale(x)
        out = np.empty_like(scale)
        kernels.lrn_gradient(
            x.reshape(scale.shape),
            scale,
            gradients[0].reshape(scale.shape),
            self.local_size,
            self.alpha,
            self.beta,
            out,
        )
        return (out.reshape(x.shape),)


class WithinChannel(LocalResponseNormalization):
    """``x (1 + α·mean(x²))^(−β)``, the mean over n×n neighbours of one channel.

    The mean divides by n² at the border too, and k is not used, as in Caffe.
    """

    @property
    def _window(self) -> Window:
        reach = (self.local_size - 1) // 2
        return Window(self.local_size, self.local_size, pad_h=reach, pad_w=reach)

    def _scale(self, x: Blob) -> Blob:
        squares, mean = np.square(x), np.empty_like(x)
        average_pool(squares, self._window, mean)
        return np.float32(1) + np.float32(self.alpha) * mean

    def forward(self, inputs: Blobs) -> tuple[Blob, ...]:
        out = np.empty_like(inputs[0])
        kernels.lrn_apply(_planes(inputs[0]), _planes(self._scale(inputs[0])), self.beta, _planes(out))
        return (out,)

    def gradient(self, inputs: Blobs, outputs: Blobs, gradients: Blobs) -> tuple[Blob, ...]:
        x, gradient = inputs[0], gradients[0]
        scale = self._scale(x)
        pull = gradient * x * scale ** np.float32(-self.beta - 1)
        spread = np.empty_like(x)
        average_pool_gradient(pull, self._window, spread)
        factor = np.float32(2 * self.alpha * self.beta)
        return (gradient * scale ** np.float32(-self.beta) - factor * x * spread,)


def _planes(blob: Blob) -> Blob:
    """``blob`` (N, C, H, W) viewed as (N, C, P)."""
    return blob.reshape(*blob.shape[:2], -1)
