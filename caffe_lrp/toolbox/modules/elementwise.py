"""Modules without parameters: activation functions, SoftMax, Flatten. Relevance passes them unchanged."""

from collections.abc import Mapping

import numpy as np

from caffe_lrp.toolbox.quirks import NO_QUIRKS, ToolboxQuirks

from .module import VARIANTS, Array, Module, Rule


class _Activation(Module):
    """A function of each number."""

    def forward(self, X: Array, lrp_aware: bool = False) -> Array:
        self.X, self.Y = X, self._value(X)
        output: Array = self.Y
        return output

    def gradient(self, DY: Array) -> Array:
        return DY * self._slope()

    def _value(self, X: Array) -> Array:
        raise NotImplementedError

    def _slope(self) -> Array:
        """The derivative at the last input."""
        raise NotImplementedError


class Rect(_Activation):
    """max(0, x), also called ReLU."""

    def _value(self, X: Array) -> Array:
        value: Array = np.maximum(X, 0)
        return value

    def _slope(self) -> Array:
        slope: Array = self.Y != 0
        return slope


class Tanh(_Activation):
    """The hyperbolic tangent."""

    def _value(self, X: Array) -> Array:
        value: Array = np.tanh(X)
        return value

    def _slope(self) -> Array:
        slope: Array = 1 - self.Y**2
        return slope


class Sigmoid(_Activation):
    """1/(1 + exp(−x)). Not in the toolbox."""

    def _value(self, X: Array) -> Array:
        value: Array = 0.5 * (1 + np.tanh(0.5 * X))
        return value

    def _slope(self) -> Array:
        slope: Array = self.Y * (1 - self.Y)
        return slope


class Elu(_Activation):
    """x, and α(exp(x) − 1) below 0. Not in the toolbox."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def _value(self, X: Array) -> Array:
        return np.where(X > 0, X, self.alpha * np.expm1(np.minimum(X, 0)))

    def _slope(self) -> Array:
        slope: Array = np.where(self.X > 0, self.X.dtype.type(1), self.Y + self.alpha)
        return slope


class LeakyRect(_Activation):
    """x, and a multiple of it below 0. Not in the toolbox; the slope is that of interprettensor."""

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = slope

    def _value(self, X: Array) -> Array:
        return np.where(X > 0, X, self.slope * X)

    def _slope(self) -> Array:
        slope: Array = np.where(self.X > 0, self.X.dtype.type(1), self.X.dtype.type(self.slope))
        return slope


class SoftMax(Module):
    """exp(x) divided by its sum over the classes.

    Its `backward` passes what it gets, as training starts from the difference of probabilities and targets:
    that is the gradient of the cross-entropy at its input.

    Parameters
    ----------
    quirks
        Which faults of the toolbox are reproduced.
    """

    def __init__(self, quirks: ToolboxQuirks = NO_QUIRKS) -> None:
        super().__init__()
        self.quirks = quirks

    def forward(self, X: Array, lrp_aware: bool = False) -> Array:  # noqa: D102
        self.X = X
        shift = 0 if self.quirks.softmax_overflows else X.max(axis=1, keepdims=True)
        with np.errstate(over="ignore", invalid="ignore"):
            powers = np.exp(X - shift)
            self.Y = powers / powers.sum(axis=1, keepdims=True)
        output: Array = self.Y
        return output

    def backward(self, DY: Array) -> Array:  # noqa: D102
        return DY

    def gradient(self, DY: Array) -> Array:  # noqa: D102
        inner = (DY * self.Y).sum(axis=1, keepdims=True)
        gradient: Array = self.Y * (DY - inner)
        return gradient


class Flatten(Module):
    """Maps (N, H, W, D) as vectors (N, H·W·D)."""

    def __init__(self) -> None:
        super().__init__()
        self.inputshape: tuple[int, ...] | list[int] = []

    def forward(self, X: Array, lrp_aware: bool = False) -> Array:  # noqa: D102
        self.X, self.inputshape = X, X.shape
        self.Y = X.reshape(len(X), -1)
        output: Array = self.Y
        return output

    def gradient(self, DY: Array) -> Array:  # noqa: D102
        return DY.reshape(self.inputshape)

    def rules(self) -> Mapping[str, Rule]:  # noqa: D102
        return dict.fromkeys({*VARIANTS.values()}, lambda R, _: R.reshape(self.inputshape))
