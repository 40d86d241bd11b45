"""Activation functions written with NumPy: their values and derivatives.

A new type needs one class here, and nothing elsewhere in the package. Those in `activation` have kernels
instead.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import ExpParameter, LogParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob, lines

from .base import AnyNumbers, Blobs, Neuron, Range, register


class NumpyNeuron(Neuron):
    """A neuron layer defined by `value` and `slope`, both for some pixels of the input: (P, C)."""

    gradient_uses_inputs = True

    @abstractmethod
    def value(self, x: AnyNumbers) -> AnyNumbers:
        """The output of the layer for ``x``."""

    @abstractmethod
    def slope(self, x: AnyNumbers) -> AnyNumbers:
        """The derivative of `value`."""

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        x, target = lines(inputs[0]), lines(out)

        def compute(first: int, last: int) -> None:
            with _silent_overflow():
                target[first:last] = self.value(x[first:last])

        workspace.share_in_pieces(compute, len(x), x.size)
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        x, gradient, target = lines(inputs[0]), lines(gradients[0]), lines(out)

        def compute(first: int, last: int) -> None:
            with _silent_overflow():
                np.multiply(gradient[first:last], self.slope(x[first:last]), out=target[first:last])

        workspace.share_in_pieces(compute, len(x), x.size)
        return (out,)


def _silent_overflow() -> np.errstate:
    """Let overflows become infinite without a warning."""
    return np.errstate(all="ignore")


@register("PReLU")
@dataclass(frozen=True, eq=False, kw_only=True)
class PReLU(NumpyNeuron):
    """``max(x, 0) + a·min(x, 0)``; the slope ``a`` is learned, one per channel or one for all."""

    is_shared: bool

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "PReLU":
        return cls(is_shared=spec.parameters.prelu_param.channel_shared, **node)

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        return ((1 if self.is_shared else self.input_shapes[0][0],),)

    @shared_property
    def _slopes(self) -> Blob:
        """One slope for every number of a pixel, or a single one."""
        slopes, shape = self.weights[0], self.input_shapes[0]
        # The numbers of a channel are contiguous, except in images, where the channels of a pixel are.
        apart = self.is_shared or len(shape) == 3
        return slopes if apart else np.repeat(slopes, math.prod(shape[1:]))

    def value(self, x: AnyNumbers) -> AnyNumbers:
        falling: AnyNumbers = self._slopes * np.minimum(x, 0)
        return np.add(np.maximum(x, 0), falling)

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        falling: AnyNumbers = self._slopes * (x <= 0)
        return np.add(x > 0, falling)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        never_falls = bool(self.weights) and bool(self.weights[0].max() <= 0)
        return all(inputs) or never_falls


@register("ELU")
@dataclass(frozen=True, eq=False, kw_only=True)
class ELU(NumpyNeuron):
    """``x`` above 0, ``α(e^x − 1)`` below."""

    alpha: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "ELU":
        return cls(alpha=spec.parameters.elu_param.alpha, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return np.maximum(x, 0) + self.alpha * np.expm1(np.minimum(x, 0))

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return (x > 0) + (x <= 0) * np.exp(np.minimum(x, 0)) * self.alpha

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) or self.alpha <= 0


@register("ReLU6")
@dataclass(frozen=True, eq=False, kw_only=True)
class ReLU6(NumpyNeuron):
    """``min(max(x, 0) + slope·min(x, 0), threshold)``."""

    threshold: float
    negative_slope: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "ReLU6":
        parameters = spec.parameters.relu6_param
        if not parameters.threshold > 0:
            raise ModelError(
                f"threshold must be above 0, not {parameters.threshold:g}; set it in relu6_param"
            )
        return cls(threshold=parameters.threshold, negative_slope=parameters.negative_slope, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return np.minimum(np.where(x > 0, x, np.float32(self.negative_slope) * x), self.threshold)

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return np.where(x > 0, x < self.threshold, np.float32(self.negative_slope))

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return self.negative_slope == 0 or (self.negative_slope > 0 and all(inputs))

    def range_of(self, inputs: Sequence[Range | None]) -> Range | None:
        return (0.0, self.threshold) if self.negative_slope == 0 else None


@register("Clip")
@dataclass(frozen=True, eq=False, kw_only=True)
class Clip(NumpyNeuron):
    """``x``, but at least ``lowest`` and at most ``highest``."""

    lowest: float
    highest: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Clip":
        parameters = spec.parameters.clip_param
        if not (parameters.HasField("min") and parameters.HasField("max")):
            raise ModelError("needs both min and max; set them in clip_param")
        if not parameters.min <= parameters.max:
            raise ModelError(
                f"min {parameters.min:g} is above max {parameters.max:g}; correct them in clip_param"
            )
        return cls(lowest=parameters.min, highest=parameters.max, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return np.clip(x, self.lowest, self.highest)

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return (x >= self.lowest) & (x <= self.highest)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return self.lowest >= 0 or (all(inputs) and self.highest >= 0)

    def range_of(self, inputs: Sequence[Range | None]) -> Range | None:
        return self.lowest, self.highest


@register("Swish")
@dataclass(frozen=True, eq=False, kw_only=True)
class Swish(NumpyNeuron):
    """``x / (1 + e^−βx)``."""

    beta: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Swish":
        return cls(beta=spec.parameters.swish_param.beta, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return x * _logistic(self.beta * x)

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        share = _logistic(self.beta * x)
        return share + self.beta * (1 - share) * self.value(x)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)


@register("Power")
@dataclass(frozen=True, eq=False, kw_only=True)
class Power(NumpyNeuron):
    """``(shift + scale·x)^power``."""

    power: float
    scale: float
    shift: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Power":
        parameters = spec.parameters.power_param
        return cls(power=parameters.power, scale=parameters.scale, shift=parameters.shift, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return np.power(self.scale * x + self.shift, self.power)

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        factor = self.power * self.scale
        # A constant has slope 0 even where its power minus one is infinite.
        return factor * np.power(self.scale * x + self.shift, self.power - 1) if factor else np.zeros_like(x)

    def range_of(self, inputs: Sequence[Range | None]) -> Range | None:
        if self.power != 1 or inputs[0] is None:
            return None
        ends = [self.scale * end + self.shift for end in inputs[0]]
        return min(ends), max(ends)

    def keeps_bounds(self, varying: int) -> bool:
        return self.power == 1

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        if self.power % 2 != 1:  # even, or a root, which is NaN for negative numbers
            return True
        return self.shift >= 0 and (self.scale == 0 or (self.scale > 0 and all(inputs)))


@register("Exp")
@dataclass(frozen=True, eq=False, kw_only=True)
class Exp(NumpyNeuron):
    """``base^(shift + scale·x)``, written as ``e^(factor·x + summand)``."""

    factor: float
    summand: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Exp":
        parameters = spec.parameters.exp_param
        base = _logarithm_of_base(parameters)
        return cls(factor=base * parameters.scale, summand=base * parameters.shift, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return np.exp(self.factor * x + self.summand)

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return np.multiply(self.value(x), self.factor)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return True


@register("Log")
@dataclass(frozen=True, eq=False, kw_only=True)
class Log(NumpyNeuron):
    """Logarithm of ``shift + scale·x``; ``base`` is the natural logarithm of its base."""

    base: float
    scale: float
    shift: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Log":
        parameters = spec.parameters.log_param
        base = _logarithm_of_base(parameters)
        if base == 0:
            raise ModelError("there are no logarithms to base 1; set another base in log_param")
        return cls(base=base, scale=parameters.scale, shift=parameters.shift, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return np.log(self.scale * x + self.shift) / self.base

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return self.scale / self.base / (self.scale * x + self.shift)


@register("BNLL")
class BNLL(NumpyNeuron):
    """``ln(1 + e^x)``, the binomial normal log likelihood."""

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return _logistic(x)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return True


@register("Threshold")
@dataclass(frozen=True, eq=False, kw_only=True)
class Threshold(NumpyNeuron):
    """1 where ``x`` is above the threshold, else 0."""

    threshold: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Threshold":
        return cls(threshold=spec.parameters.threshold_param.threshold, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return x > self.threshold

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return np.zeros_like(x)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return True

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return True


def _logistic(x: AnyNumbers) -> AnyNumbers:
    """``1 / (1 + e^−x)``, without overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def _logarithm_of_base(parameters: ExpParameter | LogParameter) -> float:
    """Natural logarithm of the base; −1 means e, as in Caffe.

    Raises
    ------
    ModelError
        There is no such base.
    """
    if parameters.base == -1:
        return 1.0
    if not 0 < parameters.base < math.inf:
        raise ModelError(f"base must be above 0, or -1 for e, not {parameters.base:g}; correct it")
    return math.log(parameters.base)
