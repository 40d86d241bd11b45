"""Variants of ReLU, and of the logistic function, that Caffe lacks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import GELUParameter
from caffe_lrp.formats.spec import LayerSpec
from caffe_lrp.kernels import elementwise as kernels

from .activation import KernelNeuron, ReLU
from .base import AnyNumbers, Layer, register
from .neurons import NumpyNeuron

_CUBIC = 0.044715
_STEEPNESS = math.sqrt(2 / math.pi)
#: Beyond this GELU is 0 or ``x`` in single precision; squares are still far from overflow.
_FAR = 20.0


@dataclass(frozen=True, eq=False, kw_only=True)
class ApproximateGELU(NumpyNeuron):
    """``c·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2``, the approximation used by forks.

    ``coefficient`` is c. Source: Hendrycks and Gimpel 2016.
    """

    coefficient: float

    def value(self, x: AnyNumbers) -> AnyNumbers:
        share: AnyNumbers = 0.5 * (1 + self._tanh(np.clip(x, -_FAR, _FAR)))
        return self.coefficient * x * share

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        near = np.clip(x, -_FAR, _FAR)
        tanh = self._tanh(near)
        rise = _STEEPNESS * (1 + 3 * _CUBIC * near * near)
        slope: AnyNumbers = 0.5 * (1 + tanh + near * (1 - tanh * tanh) * rise)
        return self.coefficient * slope

    @staticmethod
    def _tanh(x: AnyNumbers) -> AnyNumbers:
        return np.tanh(_STEEPNESS * (x + _CUBIC * x * x * x))

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) and self.coefficient >= 0


@dataclass(frozen=True, eq=False, kw_only=True)
class ExactGELU(KernelNeuron):
    """``c·x·Φ(x)``, with the normal distribution function Φ (`approximate: NONE`; not in Caffe).

    ``coefficient`` is c. Source: Hendrycks and Gimpel 2016.
    """

    gradient_uses_inputs = True
    forward_kernel = staticmethod(kernels.gelu)
    gradient_kernel = staticmethod(kernels.gelu_gradient)

    coefficient: float

    @property
    def coefficients(self) -> tuple[float, ...]:
        return (self.coefficient,)

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) and self.coefficient >= 0


@register("GELU")
class GELU(Layer):
    """``c·x·Φ(x)``; `from_spec` chooses the class."""

    variants = (ApproximateGELU, ExactGELU)

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> Layer:
        parameters = spec.parameters.gelu_param
        is_exact = parameters.approximate == GELUParameter.NONE
        return (ExactGELU if is_exact else ApproximateGELU)(coefficient=parameters.coeff, **node)


@register("HardSigmoid")
@dataclass(frozen=True, eq=False, kw_only=True)
class HardSigmoid(NumpyNeuron):
    """``min(max(αx + β, 0), 1)``, a gate like `Sigmoid` (ONNX; not in Caffe)."""

    alpha: float
    beta: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "HardSigmoid":
        parameters = spec.parameters.hard_sigmoid_param
        return cls(alpha=parameters.alpha, beta=parameters.beta, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return np.clip(self.alpha * x + self.beta, 0, 1)

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        line = self.alpha * x + self.beta
        return np.multiply((line > 0) & (line < 1), np.float32(self.alpha))

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return True

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return True


@register("HardSwish")
class HardSwish(NumpyNeuron):
    """``x·min(max(x/6 + 1/2, 0), 1)`` (MobileNet v3; not in Caffe). Source: Howard et al. 2019."""

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return x * np.clip(x * (1 / 6) + 0.5, 0, 1)

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return np.where(np.abs(x) < 3, x * (1 / 3) + 0.5, x > 0)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)


@register("SELU")
@register("SeLU")
@register("SeLu")
@dataclass(frozen=True, eq=False, kw_only=True)
class SELU(NumpyNeuron):
    """``λx`` above 0, ``λα(e^x − 1)`` below; forks spell its name in three ways.

    ``factor`` is λ. Source: Klambauer et al. 2017.
    """

    factor: float
    alpha: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "SELU":
        parameters = spec.parameters.selu_param
        # The name of the field is a keyword in Python.
        return cls(factor=getattr(parameters, "lambda"), alpha=parameters.alpha, **node)

    def value(self, x: AnyNumbers) -> AnyNumbers:
        return self.factor * (np.maximum(x, 0) + self.alpha * np.expm1(np.minimum(x, 0)))

    def slope(self, x: AnyNumbers) -> AnyNumbers:
        return self.factor * ((x > 0) + (x <= 0) * np.exp(np.minimum(x, 0)) * self.alpha)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return self.factor >= 0 and (all(inputs) or self.alpha <= 0)


@register("RReLU")
class RReLU(ReLU):
    """Randomized leaky ReLU at test time: negative values are divided by the mean of the two bounds.

    In training they are divided by a random number between the bounds. Source: Xu et al. 2015.
    """

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "RReLU":
        parameters = spec.parameters.rrelu_param
        bounds = (parameters.negative_slope_lower, parameters.negative_slope_upper)
        if not 0 < bounds[0] <= bounds[1] < math.inf:
            raise ModelError(
                f"divides by numbers between {bounds[0]:g} and {bounds[1]:g}, which must be above 0 and in "
                "this order; set negative_slope_lower and negative_slope_upper in rrelu_param"
            )
        return cls(negative_slope=2 / sum(bounds), **node)
