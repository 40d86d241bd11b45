"""Local response normalisation, across channels and within them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels import normalization as kernels
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.layout import as_blob, lines, pixels
from caffe_lrp.kernels.pooling import average_pool, average_pool_gradient
from caffe_lrp.kernels.window import Window
from caffe_lrp.proto.caffe_pb2 import LRNParameter
from caffe_lrp.proto.spec import LayerSpec
from caffe_lrp.workspace import Workspace

from .base import Blobs, ChannelNormalization, Layer, register
from .window import LARGEST_SIZE, require_image


@register("LRN")
@dataclass(frozen=True, eq=False, kw_only=True)
class LocalResponseNormalization(Layer):
    """Coefficients common to both regions; `from_spec` gives the class of the region asked for."""

    gradient_uses_inputs: ClassVar[bool] = True

    local_size: int
    alpha: float
    beta: float
    k: float

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "LocalResponseNormalization":
        parameters = spec.parameters.lrn_param
        require_image(node["input_shapes"][0])
        if parameters.local_size % 2 == 0:
            raise ModelError(f"local_size must be odd, not {parameters.local_size}")
        if parameters.local_size > LARGEST_SIZE:
            raise ModelError(f"local_size must be at most {LARGEST_SIZE}, not {parameters.local_size}")
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

    @property
    def coefficients(self) -> tuple[int, float, float, float]:
        """Size, α, β and k, as kernels take them."""
        return self.local_size, self.alpha, self.beta, self.k

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        x, target = lines(inputs[0]), lines(out)
        workspace.share(
            lambda first, last: kernels.lrn_forward(x[first:last], *self.coefficients, target[first:last]),
            len(x),
            x.size,
        )
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        x, gradient, target = lines(inputs[0]), lines(gradients[0]), lines(out)
        workspace.share(
            lambda first, last: kernels.lrn_gradient(
                x[first:last], gradient[first:last], *self.coefficients, target[first:last]
            ),
            len(x),
            x.size,
        )
        return (out,)


class WithinChannel(LocalResponseNormalization):
    """``x (1 + α·mean(x²))^(−β)``, the mean over n×n neighbours of one channel.

    The mean divides by n² at the border too, and k is not used, as in Caffe.
    """

    @property
    def _window(self) -> Window:
        reach = (self.local_size - 1) // 2
        return Window(self.local_size, self.local_size, pad_h=reach, pad_w=reach)

    def _scale(self, x: Blob) -> Blob:
        """``1 + α·mean(x²)`` for ``x`` (N, H, W, C)."""
        squares, mean = np.square(x), np.empty_like(x)
        average_pool(0, len(x) * x.shape[1], squares, self._window, mean)
        return np.float32(1) + np.float32(self.alpha) * mean

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        scale = self._scale(pixels(inputs[0])).reshape(-1, out.shape[1])
        kernels.lrn_apply(lines(inputs[0]), scale, self.beta, lines(out))
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        x, gradient = pixels(inputs[0]), pixels(gradients[0])
        scale = self._scale(x)
        pull = gradient * x * scale ** np.float32(-self.beta - 1)
        spread = np.empty_like(x)
        average_pool_gradient(pull, self._window, spread)
        factor = np.float32(2 * self.alpha * self.beta)
        found = gradient * scale ** np.float32(-self.beta) - factor * x * spread
        return (as_blob(found, inputs[0].shape),)
