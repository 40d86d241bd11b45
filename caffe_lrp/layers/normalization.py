"""Normalization by statistics of the image: local responses, means and variances, norms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import LRNParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels import normalization as kernels
from caffe_lrp.kernels.blobs import Blob, as_blob, lines, pixels
from caffe_lrp.kernels.pooling import average_pool, average_pool_gradient
from caffe_lrp.kernels.window import Window

from .base import Blobs, ChannelNormalization, Layer, Normalization, register
from .geometry import LARGEST_SIZE, PaddedWindow, require_image, window_areas


@register("LRN")
@dataclass(frozen=True, eq=False, kw_only=True)
class LocalResponseNormalization(Layer):
    """Coefficients common to both norm regions; `from_spec` chooses the class of the region."""

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
        """Size, α, β and k, for kernels."""
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


class WithinChannel(LocalResponseNormalization, Normalization):
    """``x (1 + α·mean(x²))^(−β)``, with the mean over n×n neighbours in the same channel.

    The mean divides by n² even at the border, and k is not used, as in Caffe.
    """

    @property
    def _window(self) -> Window:
        reach = (self.local_size - 1) // 2
        return Window(self.local_size, self.local_size, pad_h=reach, pad_w=reach)

    @shared_property
    def _areas(self) -> Blob:
        """The divisors of the means: windows clipped to the padded image."""
        window, size = self._window, (self.input_shapes[0][1], self.input_shapes[0][2])
        ends = (window.pad_h, window.pad_w)
        return window_areas(PaddedWindow(window, ends), size, size, counts_padding=True)

    def _scale(self, x: Blob) -> Blob:
        """``1 + α·mean(x²)`` for ``x`` (N, H, W, C)."""
        squares, mean = np.square(x), np.empty_like(x)
        average_pool(0, len(x) * x.shape[1], squares, self._window, self._areas, mean)
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
        average_pool_gradient(pull, self._window, self._areas, spread)
        factor = np.float32(2 * self.alpha * self.beta)
        found = gradient * scale ** np.float32(-self.beta) - factor * x * spread
        return (as_blob(found, inputs[0].shape),)


def _numbers(blob: Blob) -> tuple[Blob, int]:
    """``blob`` in memory order, so that sums do not depend on its layout, and the axis of its channels."""
    return (pixels(blob), 3) if blob.ndim == 4 else (np.ascontiguousarray(blob), 1)


def _in_shape(numbers: NDArray[np.floating[Any]], shape: Shape) -> Blob:
    """The inverse of `_numbers`."""
    return as_blob(numbers.astype(np.float32, copy=False), shape)


def _mean(numbers: Blob, axes: tuple[int, ...]) -> Blob:
    """Mean over some axes, which are kept."""
    return np.asarray(np.mean(numbers, axis=axes, dtype=np.float64, keepdims=True), np.float32)


@register("MVN")
@dataclass(frozen=True, eq=False, kw_only=True)
class MeanVarianceNormalization(Normalization):
    """``(x − mean)/(√variance + ε)`` per channel, or for all channels together; or only ``x − mean``."""

    gradient_uses_inputs: ClassVar[bool] = True

    divides: bool
    across_channels: bool
    epsilon: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "MeanVarianceNormalization":
        parameters = spec.parameters.mvn_param
        return cls(
            divides=parameters.normalize_variance,
            across_channels=parameters.across_channels,
            epsilon=parameters.eps,
            **node,
        )

    def _axes(self, numbers: Blob, channels: int) -> tuple[int, ...]:
        """The axes over which statistics are computed."""
        return tuple(axis for axis in range(1, numbers.ndim) if self.across_channels or axis != channels)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        x, channels = _numbers(inputs[0])
        axes = self._axes(x, channels)
        centred = x - _mean(x, axes)
        if self.divides:
            centred /= np.sqrt(_mean(np.square(centred), axes)) + np.float32(self.epsilon)
        return (_in_shape(centred, inputs[0].shape),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        (x, channels), (gradient, _) = _numbers(inputs[0]), _numbers(gradients[0])
        axes = self._axes(x, channels)
        found = gradient - _mean(gradient, axes)
        if self.divides:
            centred = x - _mean(x, axes)
            deviation = np.sqrt(_mean(np.square(centred), axes))
            divisor = deviation + np.float32(self.epsilon)
            found /= divisor
            pull = _mean(gradient * centred, axes) / (divisor * divisor)
            found -= centred * np.divide(pull, deviation, out=np.zeros_like(pull), where=deviation != 0)
        return (_in_shape(found, inputs[0].shape),)


@register("Normalize")
@dataclass(frozen=True, eq=False, kw_only=True)
class L2Normalization(Normalization):
    """``s·x/√(Σ x² + ε)`` over the channels of a pixel, or over the whole image (SSD, ParseNet)."""

    gradient_uses_inputs: ClassVar[bool] = True

    across_spatial: bool
    shares_scale: bool
    epsilon: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "L2Normalization":
        parameters = spec.parameters.norm_param
        return cls(
            across_spatial=parameters.across_spatial,
            shares_scale=parameters.channel_shared,
            epsilon=parameters.eps,
            **node,
        )

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        return ((1,) if self.shares_scale else self.input_shapes[0][:1],)

    @property
    def weight_roles(self) -> tuple[str, ...]:
        return ("scale",)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) and bool(self.weights) and bool(self.weights[0].min() >= 0)

    def _scale(self, numbers: Blob, channels: int) -> Blob:
        shape = [1] * numbers.ndim
        shape[channels] = -1
        return self.weights[0].reshape(shape)

    def _sums(self, numbers: Blob, channels: int) -> Blob:
        """Sums over the numbers that are normalized together."""
        axes = tuple(range(1, numbers.ndim)) if self.across_spatial else (channels,)
        return np.asarray(np.sum(numbers, axis=axes, dtype=np.float64, keepdims=True), np.float32)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        x, channels = _numbers(inputs[0])
        norm = np.sqrt(self._sums(np.square(x), channels) + np.float32(self.epsilon))
        return (_in_shape(x / norm * self._scale(x, channels), inputs[0].shape),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        (x, channels), (gradient, _) = _numbers(inputs[0]), _numbers(gradients[0])
        scaled = gradient * self._scale(x, channels)
        squares = self._sums(np.square(x), channels) + np.float32(self.epsilon)
        pull = self._sums(scaled * x, channels) / squares
        return (_in_shape((scaled - x * pull) / np.sqrt(squares), inputs[0].shape),)
