"""Sum and max pooling of maps (N, H, W, D)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe_lrp.toolbox.quirks import NO_QUIRKS, ToolboxQuirks

from .module import Array, Module, Rule, stabilised
from .windows import Pair, sums_of_windows, windows_of

_TINY, _STABILISER = 1e-16, 1e-12
_OF_WINDOW = (3, 4)


class _Pooling(Module):
    """Pooling windows of size ``pool``; those that do not fit at the edges are left out."""

    def __init__(self, pool: Pair = (2, 2), stride: Pair = (2, 2)) -> None:
        super().__init__()
        self.pool, self.stride = pool, stride

    @property
    def _windows(self) -> Array:
        return windows_of(self.X, self.pool, self.stride)

    def _folded(self, windows: Array) -> Array:
        return sums_of_windows(windows, self.X.shape, self.stride)

    def _evenly(self, values: Array) -> Array:
        """Values (N, H', W', D) at every position of their windows."""
        shape = (*values.shape[:3], *self.pool, values.shape[3])
        return self._folded(np.broadcast_to(_per_window(values), shape))

    def _flat(self, R: Array, _: Any) -> Array:
        return self._evenly(R / (self.pool[0] * self.pool[1]))


def _per_window(values: Array) -> Array:
    """(N, H', W', D) as (N, H', W', 1, 1, D)."""
    return values[:, :, :, np.newaxis, np.newaxis]


class SumPool(_Pooling):
    """The sum of each window divided by the square root of its size.

    Parameters
    ----------
    pool, stride
        Size of a window and steps between windows, (vertical, horizontal).
    quirks
        Which faults of the toolbox are reproduced.
    """

    def __init__(self, pool: Pair = (2, 2), stride: Pair = (2, 2), quirks: ToolboxQuirks = NO_QUIRKS) -> None:
        super().__init__(pool, stride)
        self.quirks = quirks

    @property
    def _norm(self) -> float:
        return 1 / math.sqrt(self.pool[0] * self.pool[1])

    def forward(self, X: Array, lrp_aware: bool = False) -> Array:  # noqa: D102
        self.X = X
        self.Y = self._windows.sum(axis=_OF_WINDOW) * np.asarray(self._norm, X.dtype)
        output: Array = self.Y
        return output

    def gradient(self, DY: Array) -> Array:  # noqa: D102
        return self._evenly(DY * np.asarray(self._norm, DY.dtype))

    def rules(self) -> Mapping[str, Rule]:  # noqa: D102
        is_squared = self.quirks.pooled_relevance_is_squared
        return {
            "simple": lambda R, _: self._in_proportion(R, _STABILISER),
            "epsilon": self._in_proportion,
            "alphabeta": lambda R, alpha: self._alphabeta(R, alpha, is_squared=is_squared),
            "flat": self._flat,
            "ww": self._flat,
            "simple_slow": lambda R, _: self._in_proportion(R, _STABILISER),
            "epsilon_slow": self._in_proportion,
            "alphabeta_slow": self._alphabeta,
        }

    def _in_proportion(self, R: Array, epsilon: float) -> Array:
        windows = self._windows
        ratio = R / stabilised(windows.sum(axis=_OF_WINDOW), epsilon)
        return self._folded(windows * _per_window(ratio))

    def _alphabeta(self, R: Array, alpha: float, *, is_squared: bool = False) -> Array:
        windows = self._windows
        positive = np.maximum(windows, 0)
        above = positive.sum(axis=_OF_WINDOW) + _TINY
        found = positive * _per_window(alpha * (R / above))
        if alpha != 1:
            negative = np.minimum(windows, 0)
            below = negative.sum(axis=_OF_WINDOW) - _TINY
            factor = R * R if is_squared and alpha != 0 else R
            found += negative * _per_window((1 - alpha) * (factor / below))
        return self._folded(found)


class MaxPool(_Pooling):
    """The maximum of each window. Relevance is shared among all inputs that equal it."""

    def forward(self, X: Array, lrp_aware: bool = False) -> Array:  # noqa: D102
        self.X = X
        self.Y = self._windows.max(axis=_OF_WINDOW)
        output: Array = self.Y
        return output

    @property
    def _winners(self) -> Array:
        """Where windows equal their maximum."""
        winners: Array = self._windows == _per_window(self.Y)
        return winners

    def backward(self, DY: Array) -> Array:  # noqa: D102
        # The toolbox gives every maximum the whole gradient.
        return self._folded(self._winners * _per_window(DY))

    def gradient(self, DY: Array) -> Array:  # noqa: D102
        return self._shared(DY, None)

    def rules(self) -> Mapping[str, Rule]:  # noqa: D102
        shared = ("simple", "epsilon", "alphabeta", "simple_slow", "epsilon_slow", "alphabeta_slow")
        return dict.fromkeys(shared, self._shared) | {"flat": self._flat, "ww": self._flat}

    def _shared(self, R: Array, _: Any) -> Array:
        winners = self._winners
        return self._folded(winners * _per_window(R / winners.sum(axis=_OF_WINDOW, dtype=R.dtype)))
