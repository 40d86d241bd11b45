"""Max, average and stochastic pooling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import PoolingParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels import pooling as kernels
from caffe_lrp.kernels.blobs import Blob, pixels
from caffe_lrp.kernels.window import Window

from .base import Aggregation, Blobs, ClippedWindows, WindowAverage, Winner, register
from .geometry import (
    Pad,
    PaddedWindow,
    Tap,
    every_window_sees,
    filled_size,
    pooled_size,
    pooling_padded_window,
    require_image,
    rounds_up,
    taps,
    window_areas,
)

#: Caffe's initial value for a maximum, and so the maximum of an empty window.
LOWEST = np.finfo(np.float32).min


@register("Pooling")
@dataclass(frozen=True, eq=False, kw_only=True)
class Pooling(ClippedWindows):
    """Geometry common to all pooling methods; `from_spec` chooses the class of the method.

    ``window`` has the padding above and left of the image, ``ends`` the padding below and right of it.
    ``keeps_empty`` says whether a last window outside the image is kept where there is no padding.
    """

    output_counts: ClassVar[tuple[int, int | None]] = (1, 2)

    window: Window
    ends: Pad
    round_up: bool
    keeps_empty: bool = True

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Pooling":
        parameters = spec.parameters.pooling_param
        if parameters.pool != PoolingParameter.MAX and len(node["outputs"]) > 1:
            raise ModelError("has 2 tops, but only MAX pooling has a mask to write; remove the second")
        padded = pooling_padded_window(parameters, require_image(node["input_shapes"][0]))
        keeps_empty = parameters.round_mode != PoolingParameter.CEIL_INSIDE
        return pooling_of(parameters.pool, padded, rounds_up(parameters), keeps_empty=keeps_empty, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        channels = self.input_shapes[0][0]
        size = pooled_size(self._padded_window, self.input_shapes[0], self.round_up, self.keeps_empty)
        return ((channels, *size),) * len(self.outputs)

    @property
    def _padded_window(self) -> PaddedWindow:
        return PaddedWindow(self.window, self.ends)

    @property
    def _sizes(self) -> tuple[Pad, Pad]:
        """Height and width of the input, and of the output."""
        (_, height, width), (_, rows, columns) = self.input_shapes[0], self.output_shapes[0]
        return (height, width), (rows, columns)

    @property
    def filled_size(self) -> tuple[int, int]:
        return filled_size(self.window, *self._sizes)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def _pool(self, pool: Callable[..., None], x: Blob, workspace: Workspace) -> Blob:
        """The output of the forward kernel ``pool`` for the windows that see pixels."""
        out = workspace.empty((len(x), x.shape[1], *self.filled_size))
        source, target = pixels(x), pixels(out)
        workspace.share(
            lambda first, last: pool(first, last, source, self.window, target),
            len(x) * target.shape[1],
            source.size,
        )
        return out

    def _taps(self) -> list[Tap]:
        """The positions of the kernel in scan order, for loops over windows with NumPy."""
        return list(taps(self.window, *self._sizes))


class MaxPooling(Pooling, Winner):
    """The largest element of every window; the first in scan order wins a tie.

    A second output is the mask: the position of each of them in its plane, counted row by row. No relevance
    is propagated through it. As in Caffe, a window without a pixel gives the lowest number and position −1;
    it propagates nothing.
    """

    gradient_uses_inputs: ClassVar[bool] = True

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) and not self.has_empty_windows

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = self._pool(kernels.max_pool, inputs[0], workspace)
        if self.has_empty_windows:
            out = self._with_empty_windows(out, workspace)
        if len(self.outputs) == 1:
            return (out,)
        return out, self._mask(inputs[0], out, workspace)

    def _with_empty_windows(self, filled: Blob, workspace: Workspace) -> Blob:
        """The output, given that of the windows that see pixels."""
        out = workspace.empty((len(filled), *self.output_shapes[0]))
        out[...] = LOWEST
        out[:, :, : filled.shape[2], : filled.shape[3]] = filled
        return out

    def _mask(self, x: Blob, largest: Blob, workspace: Workspace) -> Blob:
        """Position of every element of ``largest`` in its plane; −1 if a window is empty or all NaN."""
        out = workspace.empty(largest.shape)
        source, winners, target = pixels(x), pixels(largest), pixels(out)
        height, width = source.shape[1:3]
        positions = np.arange(height * width).reshape(1, height, width, 1)
        target[...] = -1
        for tap in reversed(self._taps()):  # so that the first of equal ones is written last
            is_winner = source[tap.inputs] == winners[tap.outputs]
            np.copyto(target[tap.outputs], positions[tap.inputs], where=is_winner, casting="same_kind")
        return out

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        rows, columns = self.filled_size
        x, gradient = pixels(inputs[0]), pixels(gradients[0][:, :, :rows, :columns])
        target = pixels(out)
        workspace.share(
            lambda first, last: kernels.max_pool_route(first, last, x, gradient, self.window, target),
            target.shape[3],
            target.size,
        )
        return (out,)


class DilatedMaxPooling(MaxPooling):
    """Max pooling over pixels at a distance (`dilation`; not in Caffe)."""

    gradient_uses_outputs: ClassVar[bool] = True

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty((len(inputs[0]), *self.output_shapes[0]))
        x, target = pixels(inputs[0]), pixels(out)
        target[...] = LOWEST
        for tap in self._taps():
            np.maximum(target[tap.outputs], x[tap.inputs], out=target[tap.outputs])
        return (out,) if len(self.outputs) == 1 else (out, self._mask(inputs[0], out, workspace))

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        x, largest, gradient = pixels(inputs[0]), pixels(outputs[0]), pixels(gradients[0])
        target, is_open = pixels(out), np.ones(largest.shape, np.bool_)
        target[...] = 0
        for tap in self._taps():
            wins = is_open[tap.outputs] & (x[tap.inputs] == largest[tap.outputs])
            target[tap.inputs] += np.where(wins, gradient[tap.outputs], 0)
            is_open[tap.outputs] &= ~wins
        return (out,)

    @property
    def sees_pixels(self) -> bool:
        """Whether every window holds a pixel of the image."""
        return every_window_sees(self.window, *self._sizes)


class AveragePooling(Pooling, WindowAverage):
    """The mean of every window, clipped to the padded image."""

    #: Whether pixels in the padding count, as zeros.
    counts_padding: ClassVar[bool] = True

    @shared_property
    def _areas(self) -> Blob:
        """(rows, columns): the divisor of the sum over every window."""
        return window_areas(self._padded_window, *self._sizes, self.counts_padding)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        areas = self._areas

        def pool(first: int, last: int, x: Blob, window: Window, out: Blob) -> None:
            kernels.average_pool(first, last, x, window, areas, out)

        return (self._pool(pool, inputs[0], workspace),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty((len(gradients[0]), *self.input_shapes[0]))
        kernels.average_pool_gradient(pixels(gradients[0]), self.window, self._areas, pixels(out))
        return (out,)

    def shared(self, inputs: Blobs, relevance: Blob, workspace: Workspace) -> Blob:
        out = workspace.empty(inputs[0].shape)
        kernels.average_pool_redistribute(
            pixels(inputs[0]), pixels(relevance), self.window, False, pixels(out)
        )
        return out


class AverageOfPixels(AveragePooling):
    """The mean of every window, clipped to the image (``AVE_EXC_PAD`` of forks)."""

    counts_padding: ClassVar[bool] = False


class StochasticPooling(Pooling, Aggregation):
    """``Σx²/Σx`` of every window, 0 where the sum is 0: the expected value of the random choice in training.

    An element is chosen with probability ``x/Σx``, so it contributes ``x·x/Σx``. Source: Zeiler and
    Fergus 2013, eq. 6.
    """

    gradient_uses_inputs: ClassVar[bool] = True

    def _sums(self, numbers: Blob) -> Blob:
        """Sum over every window of ``numbers`` (N, H, W, C)."""
        channels, *size = self.output_shapes[0]
        sums = np.zeros((len(numbers), *size, channels), np.float32)
        for tap in self._taps():
            sums[tap.outputs] += numbers[tap.inputs]
        return sums

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty((len(inputs[0]), *self.output_shapes[0]))
        pixels(out)[...] = self._means(pixels(inputs[0]))[0]
        return (out,)

    def _means(self, x: Blob) -> tuple[Blob, Blob]:
        """The output, and the sum over every window."""
        with np.errstate(all="ignore"):
            sums, squares = self._sums(x), self._sums(np.square(x))
            return np.divide(squares, sums, out=np.zeros_like(sums), where=sums != 0), sums

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        x, gradient, target = pixels(inputs[0]), pixels(gradients[0]), pixels(out)
        means, sums = self._means(x)
        target[...] = 0
        with np.errstate(all="ignore"):
            pull = np.divide(gradient, sums, out=np.zeros_like(sums), where=sums != 0)
            for tap in self._taps():
                target[tap.inputs] += pull[tap.outputs] * (2 * x[tap.inputs] - means[tap.outputs])
        return (out,)

    def shared(self, inputs: Blobs, relevance: Blob, workspace: Workspace) -> Blob:
        out = workspace.empty(inputs[0].shape)
        x, received, target = pixels(inputs[0]), pixels(relevance), pixels(out)
        counts = self._sums(np.ones_like(x))
        target[...] = 0
        with np.errstate(all="ignore"):
            squares = np.square(x)
            sums = self._sums(squares)
            for tap in self._taps():
                total = sums[tap.outputs]
                share = np.divide(squares[tap.inputs], total, out=1 / counts[tap.outputs], where=total != 0)
                target[tap.inputs] += received[tap.outputs] * share
        return out


def pooling_of(method: int, padded: PaddedWindow, round_up: bool, **node: Any) -> Pooling:
    """A layer that pools by Caffe's ``method``; ``node`` are the attributes common to all layers.

    Raises
    ------
    ModelError
        The method does not support this geometry.
    """
    if method == PoolingParameter.STOCHASTIC and padded.is_padded:
        raise ModelError("STOCHASTIC pooling takes no padding; use MAX or AVE, or no padding")
    if padded.window.dilation_h > 1 or padded.window.dilation_w > 1:
        return _dilated(method, padded, round_up, **node)
    pooling = METHODS[method](window=padded.window, ends=padded.ends, round_up=round_up, **node)
    if isinstance(pooling, AveragePooling) and pooling.has_empty_windows:
        (rows, columns), filled = pooling.output_shapes[0][1:], pooling.filled_size
        raise ModelError(
            f"only {filled[0]}×{filled[1]} of its {rows}×{columns} windows hold pixels; the others are "
            "outside the image, and a mean over nothing is NaN, as in Caffe; make the stride at most the "
            "kernel size, round sizes down (round_mode: FLOOR), or use MAX pooling"
        )
    return pooling


def _dilated(method: int, padded: PaddedWindow, round_up: bool, **node: Any) -> DilatedMaxPooling:
    """A layer that pools by ``method`` over pixels at a distance.

    Raises
    ------
    ModelError
        It is not MAX, or a window holds no pixel.
    """
    if method != PoolingParameter.MAX:
        raise ModelError("only MAX pooling takes dilation; pool by MAX, or without dilation")
    pooling = DilatedMaxPooling(window=padded.window, ends=padded.ends, round_up=round_up, **node)
    if not pooling.sees_pixels:
        raise ModelError(
            "some windows lie outside the image and have no maximum; make padding, dilation or stride "
            "smaller, or round sizes down (round_mode: FLOOR)"
        )
    return pooling


METHODS: dict[int, type[Pooling]] = {
    PoolingParameter.MAX: MaxPooling,
    PoolingParameter.AVE: AveragePooling,
    PoolingParameter.AVE_EXC_PAD: AverageOfPixels,
    PoolingParameter.AVE_TF: AverageOfPixels,
    PoolingParameter.STOCHASTIC: StochasticPooling,
}
