"""Neuron layers: they work element by element and keep the shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.spec import LayerSpec
from caffe_lrp.kernels import elementwise as kernels
from caffe_lrp.kernels.blobs import Blob, flat

from .affine import Affine
from .base import Blobs, Identity, Layer, Neuron, Numbers, register


class KernelNeuron(Neuron):
    """A neuron layer defined by its two kernels.

    ``forward_kernel(x, *coefficients, out)`` and ``gradient_kernel(source, gradient, *coefficients,
    out)`` on flat views, where the source is the layer's output if `gradient_uses_outputs` is set
    and its input otherwise.
    """

    forward_kernel: ClassVar[Callable[..., None]]
    gradient_kernel: ClassVar[Callable[..., None]]

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Numbers that the kernels need in addition to the blobs."""
        return ()

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        x, target = flat(inputs[0]), flat(out)
        workspace.share(
            lambda first, last: self.forward_kernel(x[first:last], *self.coefficients, target[first:last]),
            x.size,
            x.size,
        )
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        source = outputs[0] if self.gradient_uses_outputs else inputs[0]
        out = workspace.empty(source.shape)
        x, gradient, target = flat(source), flat(gradients[0]), flat(out)
        workspace.share(
            lambda first, last: self.gradient_kernel(
                x[first:last], gradient[first:last], *self.coefficients, target[first:last]
            ),
            x.size,
            x.size,
        )
        return (out,)


@register("ReLU")
@dataclass(frozen=True, eq=False, kw_only=True)
class ReLU(KernelNeuron):
    """``max(x, 0) + slope·min(x, 0)``; a slope other than 0 makes it leaky."""

    gradient_uses_inputs = True
    forward_kernel = staticmethod(kernels.leaky_relu)
    gradient_kernel = staticmethod(kernels.leaky_relu_gradient)

    negative_slope: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "ReLU":
        return cls(negative_slope=spec.parameters.relu_param.negative_slope, **node)

    @property
    def coefficients(self) -> tuple[float, ...]:
        return (self.negative_slope,)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return self.negative_slope == 0 or (self.negative_slope > 0 and all(inputs))


@register("Sigmoid")
class Sigmoid(KernelNeuron):
    """Logistic function."""

    gradient_uses_outputs = True
    forward_kernel = staticmethod(kernels.sigmoid)
    gradient_kernel = staticmethod(kernels.sigmoid_gradient)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return True

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return True


@register("TanH")
class TanH(KernelNeuron):
    """Hyperbolic tangent."""

    gradient_uses_outputs = True
    forward_kernel = staticmethod(kernels.tanh)
    gradient_kernel = staticmethod(kernels.tanh_gradient)


@register("AbsVal")
class AbsVal(KernelNeuron):
    """Absolute value."""

    gradient_uses_inputs = True
    forward_kernel = staticmethod(kernels.absolute)
    gradient_kernel = staticmethod(kernels.absolute_gradient)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return True


class IdleDropout(Neuron, Identity):
    """Identity: dropout does nothing at test time."""

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)


@dataclass(frozen=True, eq=False, kw_only=True)
class ScaledDropout(Affine):
    """``kept·x``, for the share of units kept in training: `scale_train: false` of forks."""

    kept: float

    @property
    def exact(self) -> tuple[Numbers, Numbers]:
        shape = (1,) * len(self.input_shapes[0])
        return np.full(shape, self.kept), np.zeros(shape)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)


@register("Dropout")
class Dropout(Layer):
    """Dropout at test time; `from_spec` chooses the class."""

    variants = (IdleDropout, ScaledDropout)

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> Layer:
        parameters = spec.parameters.dropout_param
        if parameters.scale_train:
            return IdleDropout(**node)
        if not 0 <= parameters.dropout_ratio < 1:
            raise ModelError(
                f"dropout_ratio must be at least 0 and below 1, not {parameters.dropout_ratio:g}; correct it "
                "in dropout_param"
            )
        return ScaledDropout(kept=1 - parameters.dropout_ratio, **node)
