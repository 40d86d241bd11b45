"""Transposed convolution, which Caffe calls deconvolution."""

import math
from dataclasses import replace

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.window_map import DeconvolutionMap
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import ConvolutionParameter
from caffe_lrp.formats.spec import Shape
from caffe_lrp.kernels.blobs import Blob

from .base import register
from .convolution import Convolution
from .geometry import PaddedWindow, convolution_padded_window, spatial


@register("Deconvolution")
class Deconvolution(Convolution):
    """The adjoint of a convolution, with its own bias: every pixel is spread over a window.

    How many inputs an output sees depends on its position. Rules that do not use the input share relevance
    among the inputs that an output sees, so that none is lost at the border.
    """

    spreads = True

    @classmethod
    def _padded_window_of(cls, parameters: ConvolutionParameter) -> PaddedWindow:
        """Window and padding; ``output_pad`` takes away from the padding below and right, even below 0."""
        window, ends = convolution_padded_window(parameters)
        added = spatial(parameters.output_pad, "output_pad") if parameters.output_pad else (0, 0)
        limits = (max(window.stride_h, window.dilation_h), max(window.stride_w, window.dilation_w))
        if added[0] >= limits[0] or added[1] >= limits[1]:
            raise ModelError(f"output_pad {added} must be smaller than stride or dilation, here {limits}")
        return PaddedWindow(window, (ends[0] - added[0], ends[1] - added[1]))

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        kernel = (self.input_shapes[0][0], self.group_outputs, self.window.kernel_h, self.window.kernel_w)
        return (kernel, (self.output_channels,)) if self.has_bias else (kernel,)

    def with_weights(self, weights: tuple[Blob, ...]) -> "Deconvolution":
        """The layer with its learned blobs: the file has a row of weights for every input channel."""
        stored, *bias = weights
        by_group = stored.reshape(self.groups, -1, *stored.shape[1:]).swapaxes(1, 2)
        rows = by_group.reshape(self.output_channels, -1, *stored.shape[2:])
        return replace(self, weights=(rows, *bias))

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        window, (_, height, width) = self.window, self.input_shapes[0]
        out_height = (height - 1) * window.stride_h + window.dilation_h * (window.kernel_h - 1) + 1
        out_width = (width - 1) * window.stride_w + window.dilation_w * (window.kernel_w - 1) + 1
        size = (out_height - window.pad_h - self.ends[0], out_width - window.pad_w - self.ends[1])
        if min(size) < 1:
            raise ModelError(
                f"padding leaves nothing of an output of {out_height}×{out_width}; make pad smaller"
            )
        return ((self.output_channels, *size),)

    @property
    def taps(self) -> int:
        """The largest number that an output sees."""
        window = self.window
        rows = _most_taps(window.kernel_h, window.stride_h, window.dilation_h)
        return rows * _most_taps(window.kernel_w, window.stride_w, window.dilation_w)

    @property
    def fan_in(self) -> int:
        """The largest number that an output sees."""
        return self.taps * self.input_shapes[0][0] // self.groups

    @property
    def has_partial_windows(self) -> bool:
        """Whether some outputs see fewer inputs than others: always, even without padding."""
        return True

    def map_of(self, weight: Blob) -> LinearMap:
        return DeconvolutionMap(weight, self.window, self.input_shapes[0], self.output_shapes[0])

    def sharing_map(self, weight: Blob) -> LinearMap:
        given = self.map_of(self.lifted(weight))
        received = given.apply(np.ones((1, *self.input_shapes[0]), np.float32), None, Workspace())
        return DeconvolutionMap(
            given.weight, self.window, self.input_shapes[0], self.output_shapes[0], _reciprocals(received)
        )

    @shared_property
    def _summing_map(self) -> LinearMap:
        """One number per group and pixel, propagated back with weights 1."""
        weight = np.ones((self.groups, 1, 1, 1, 1, self.window.kernel_h, self.window.kernel_w), np.float32)
        inside, outside = (
            (self.groups, *shape[1:]) for shape in (self.input_shapes[0], self.output_shapes[0])
        )
        return DeconvolutionMap(weight, self.window, inside, outside)

    @shared_property
    def _shares(self) -> Blob:
        """(H, W): the share of an output's relevance that each input of a channel gets."""
        ones = np.ones((1, self.groups, *self.input_shapes[0][1:]), np.float32)
        shares: Blob = _reciprocals(self._summing_map.apply(ones, None, Workspace()))[0, 0]
        return shares

    def shared_equally(self, relevance: Blob, is_per_channel: bool, workspace: Workspace) -> Blob:
        spread = self.uniform_adjoint(relevance * self._shares, workspace)
        if not is_per_channel:
            spread /= np.float32(self.input_shapes[0][0] // self.groups)
        return spread


def _reciprocals(totals: Blob) -> Blob:
    """``1 / totals``, and 0 where a total is 0."""
    return np.divide(1, totals, out=np.zeros_like(totals), where=totals != 0)


def _most_taps(kernel: int, stride: int, dilation: int) -> int:
    """The largest number of taps that meet at one position when a window moves by ``stride``."""
    return -(-kernel // (stride // math.gcd(stride, dilation)))
