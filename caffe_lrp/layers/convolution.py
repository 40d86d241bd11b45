"""Convolution."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.products import Products
from caffe_lrp.compute.quotients import undivided
from caffe_lrp.compute.window_map import ConvolutionMap
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import ConvolutionParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob, as_blob, pixels
from caffe_lrp.kernels.window import Window

from .base import register
from .geometry import Pad, PaddedWindow, convolution_padded_window, convolved_size, require_image
from .linear import Windowed


@register("Convolution")
@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Windowed):
    """2-D convolution with groups, stride, padding, dilation, and an optional bias.

    ``window`` has the padding above and left of the image, ``ends`` the padding below and right of it.
    """

    #: Whether windows lie in the output, over which every pixel of the input is spread.
    spreads: ClassVar[bool] = False

    window: Window
    ends: Pad
    output_channels: int
    groups: int
    has_bias: bool

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Convolution":
        parameters = spec.parameters.convolution_param
        channels = require_image(node["input_shapes"][0])[0]
        outputs, groups = cls._output_channels(parameters, channels)
        if outputs < 1 or groups < 1:
            raise ModelError("num_output and group must be at least 1; set them in convolution_param")
        if channels % groups or outputs % groups:
            raise ModelError(
                f"{channels} input and {outputs} output channels do not divide into {groups} groups; "
                "check num_output and group"
            )
        if parameters.axis not in (1, -3):
            raise ModelError(f"axis {parameters.axis} is not supported; channels must be axis 1")
        window, ends = cls._padded_window_of(parameters)
        return cls(
            window=window,
            ends=ends,
            output_channels=outputs,
            groups=groups,
            has_bias=parameters.bias_term,
            **node,
        )

    @classmethod
    def _padded_window_of(cls, parameters: ConvolutionParameter) -> PaddedWindow:
        """Window and padding.

        Raises
        ------
        ModelError
            A size is wrong, or is one that the layer does not take.
        """
        if parameters.output_pad:
            raise ModelError("output_pad is for Deconvolution; use pad_b and pad_r")
        return convolution_padded_window(parameters)

    @classmethod
    def _output_channels(cls, parameters: ConvolutionParameter, channels: int) -> tuple[int, int]:
        """The numbers of output channels and of groups, for a number of input channels."""
        del channels
        return parameters.num_output, parameters.group

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        group_inputs = self.input_shapes[0][0] // self.groups
        kernel = (self.output_channels, group_inputs, self.window.kernel_h, self.window.kernel_w)
        return (kernel, (self.output_channels,)) if self.has_bias else (kernel,)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return ((self.output_channels, *convolved_size(self._padded_window, self.input_shapes[0])),)

    @property
    def _padded_window(self) -> PaddedWindow:
        return PaddedWindow(self.window, self.ends)

    @property
    def group_outputs(self) -> int:
        return self.output_channels // self.groups

    @property
    def taps(self) -> int:
        return self.window.taps

    @property
    def fan_in(self) -> int:
        return self.window.taps * self.input_shapes[0][0] // self.groups

    @property
    def has_partial_windows(self) -> bool:
        return self._padded_window.is_padded

    def map_of(self, weight: Blob) -> LinearMap:
        return ConvolutionMap(weight, self.window, self.input_shapes[0], self.output_shapes[0])

    @shared_property
    def products(self) -> Products:
        return Products.of(
            self.weight, self.groups, self.window, self.input_shapes[0], self.output_shapes[0], self.spreads
        )

    @shared_property
    def _summing_map(self) -> LinearMap:
        """One number per group and pixel, propagated back with weights 1."""
        weight = np.ones((self.groups, 1, 1, 1, 1, self.window.kernel_h, self.window.kernel_w), np.float32)
        inside, outside = (
            (self.groups, *shape[1:]) for shape in (self.input_shapes[0], self.output_shapes[0])
        )
        return ConvolutionMap(weight, self.window, inside, outside, is_direct=True)

    def uniform_adjoint(self, relevance: Blob, workspace: Workspace) -> Blob:
        received = pixels(relevance)
        per_group = received.reshape(*received.shape[:3], self.groups, self.group_outputs)
        totals = as_blob(per_group.sum(axis=4), (len(received), self.groups, *relevance.shape[2:]))
        spread = pixels(self._summing_map.adjoint(undivided(totals), None, workspace))
        channels = self.input_shapes[0][0]
        out = workspace.pixels((*spread.shape[:3], channels))
        by_group = out.reshape(*spread.shape, channels // self.groups)
        by_group[...] = spread[..., np.newaxis]
        return as_blob(out, (len(out), *self.input_shapes[0]))


@register("DepthwiseConvolution")
class DepthwiseConvolution(Convolution):
    """Depthwise convolution of forks, with an optional number of groups and outputs."""

    @classmethod
    def _output_channels(cls, parameters: ConvolutionParameter, channels: int) -> tuple[int, int]:
        if parameters.group not in (1, channels):
            raise ModelError(
                f"has {parameters.group} groups for {channels} channels; leave group out, or make it a "
                "Convolution"
            )
        return parameters.num_output if parameters.HasField("num_output") else channels, channels


@register("ConvolutionDepthwise")
class ConvolutionDepthwise(DepthwiseConvolution):
    """Depthwise convolution of a fork that reads neither ``group`` nor ``num_output``.

    Another fork reads ``num_output``, and has several outputs per channel.
    """

    @classmethod
    def _output_channels(cls, parameters: ConvolutionParameter, channels: int) -> tuple[int, int]:
        wanted = parameters.num_output if parameters.HasField("num_output") else channels
        return (channels if wanted % channels else wanted), channels
