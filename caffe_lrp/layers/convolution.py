"""Convolution."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.convolution import Precision, convolve, convolve_adjoint
from caffe_lrp.kernels.elementwise import add_bias
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.window import Window
from caffe_lrp.proto.spec import LayerSpec, Shape

from .base import Blobs, Linear, register
from .window import convolution_window, convolved_size, require_image


@register("Convolution")
@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Linear):
    """2-D convolution with groups, stride, padding, dilation, and an optional bias."""

    window: Window
    output_channels: int
    groups: int
    has_bias: bool

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Convolution":
        parameters = spec.parameters.convolution_param
        channels = require_image(node["input_shapes"][0])[0]
        outputs, groups = parameters.num_output, parameters.group
        if outputs < 1 or groups < 1:
            raise ModelError("num_output and group must be at least 1; set them in convolution_param")
        if channels % groups or outputs % groups:
            raise ModelError(
                f"{channels} input and {outputs} output channels do not divide into {groups} groups; "
                "check num_output and group"
            )
        if parameters.axis not in (1, -3):
            raise ModelError(f"axis {parameters.axis} is not supported; channels must be axis 1")
        return cls(
            window=convolution_window(parameters),
            output_channels=outputs,
            groups=groups,
            has_bias=parameters.bias_term,
            **node,
        )

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        group_inputs = self.input_shapes[0][0] // self.groups
        kernel = (self.output_channels, group_inputs, self.window.kernel_h, self.window.kernel_w)
        return (kernel, (self.output_channels,)) if self.has_bias else (kernel,)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return ((self.output_channels, *convolved_size(self.window, self.input_shapes[0])),)

    @property
    def group_outputs(self) -> int:
        return self.output_channels // self.groups

    @property
    def taps(self) -> int:
        return self.window.taps

    @property
    def fan_in(self) -> int:
        return self.window.taps * self.input_shapes[0][0] // self.groups

    def apply(self, x: Blob, weight: Blob) -> Blob:
        out = self._convolve(x, weight, np.float32)
        return out.reshape(len(x), self.groups, len(weight) // self.groups, -1)

    def _convolve(self, x: Blob, weight: Blob, precision: Precision) -> Blob:
        """(N, M, H_out, W_out) for ``weight`` with M outputs."""
        out = np.empty((len(x), len(weight), *self.output_shapes[0][1:]), np.float32)
        convolve(x, weight, self.groups, self.window, precision, out)
        return out

    def adjoint(self, relevance: Blob, weight: Blob) -> Blob:
        shape = (len(relevance), self.groups * weight.shape[1], *self.input_shapes[0][1:])
        out = np.empty(shape, np.float32)
        outputs = relevance.reshape(len(relevance), len(weight), *self.output_shapes[0][1:])
        convolve_adjoint(outputs, weight, self.groups, self.window, out)
        return out

    def uniform_adjoint(self, relevance: Blob) -> Blob:
        totals = self.by_group(relevance).sum(axis=2, keepdims=True)
        ones = np.ones((self.groups, 1, self.window.kernel_h, self.window.kernel_w), np.float32)
        spread = self.adjoint(totals, ones)
        return np.repeat(spread, self.input_shapes[0][0] // self.groups, axis=1)

    def forward(self, inputs: Blobs) -> tuple[Blob, ...]:
        out = self._convolve(inputs[0], self.weight, np.float64)
        if self.bias is not None:
            add_bias(out.reshape(len(out), self.output_channels, -1), self.bias)
        return (out,)
