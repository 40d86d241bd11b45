"""Fully connected layers."""

import numpy as np

from caffe_lrp.errors import UsageError

from .module import Array
from .random import GLOBAL, Random
from .weighted import Weighted


class Linear(Weighted):
    """A fully connected layer of ``m`` inputs and ``n`` outputs.

    Weights (m, n) are normal numbers of standard deviation 1/√m, biases (n,) are 0.
    """

    def __init__(self, m: int, n: int, random: Random = GLOBAL) -> None:
        super().__init__(np.asarray(random.normal(0, m**-0.5, (m, n))), np.zeros(n))
        self.m, self.n = m, n

    def gathered(self, X: Array) -> Array:  # noqa: D102
        if X.ndim != 2 or X.shape[1] != self.m:
            raise UsageError(
                f"Linear({self.m}, {self.n}) got an input of shape {X.shape}, not (N, {self.m}); put a "
                "Flatten before it, or reshape the input"
            )
        return X

    def folded(self, columns: Array) -> Array:  # noqa: D102
        return columns

    def backward(self, DY: Array) -> Array:  # noqa: D102
        # The toolbox scales gradients from layer to layer.
        scaled: Array = self.gradient(DY) * (self.m**0.5 / self.n**0.5)
        return scaled

    def update(self, lrate: float) -> None:  # noqa: D102
        self.W = self.W - lrate * self.dW / self.m**0.5
        self.B = self.B - lrate * self.dB / self.n**0.25
