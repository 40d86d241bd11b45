"""Convolutions without padding."""

from typing import ClassVar

import numpy as np

from caffe_lrp.errors import UsageError

from .module import Array
from .random import GLOBAL, Random
from .weighted import Weighted
from .windows import Pair, sums_of_windows, windows_of


class Convolution(Weighted):
    """A convolution (in fact a correlation) of maps (N, H, W, D), without padding.

    Weights (h, w, d, n) are normal numbers of standard deviation 1/√(h·w·d), biases (n,) are 0. Rows and
    columns that no window reaches get no relevance.

    Parameters
    ----------
    filtersize
        (height, width, input channels, output channels).
    stride
        (vertical, horizontal).
    random
        Where weights are drawn from.
    """

    _slow_is_bounded: ClassVar[bool] = True

    def __init__(
        self,
        filtersize: tuple[int, int, int, int] = (5, 5, 3, 32),
        stride: Pair = (2, 2),
        random: Random = GLOBAL,
    ) -> None:
        self.fh, self.fw, self.fd, self.n = filtersize
        self.stride = stride
        deviation = (self.fh * self.fw * self.fd) ** -0.5
        super().__init__(np.asarray(random.normal(0, deviation, filtersize)), np.zeros(self.n))

    def gathered(self, X: Array) -> Array:  # noqa: D102
        windows = windows_of(X, (self.fh, self.fw), self.stride)
        if X.shape[3] != self.fd:
            raise UsageError(f"a Convolution of {self.fd} input channels got maps of shape {X.shape}")
        return windows.reshape(*windows.shape[:3], -1)

    def folded(self, columns: Array) -> Array:  # noqa: D102
        windows = columns.reshape(*columns.shape[:3], self.fh, self.fw, self.fd)
        return sums_of_windows(windows, self.X.shape, self.stride)

    def update(self, lrate: float) -> None:  # noqa: D102
        positions = self.Y.shape[1] * self.Y.shape[2]
        inputs = self.fh * self.fw * self.fd
        self.W = self.W - lrate * self.dW / (inputs * positions) ** 0.5
        self.B = self.B - lrate * self.dB / positions**0.5
