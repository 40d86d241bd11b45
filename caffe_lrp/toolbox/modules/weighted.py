"""Modules with weights: their rules, written once, for columns of inputs.

A fully connected layer has one column, its input; a convolution has one for each window. A subclass gathers
columns and folds them back.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .module import Array, Module, Rule, sign, stabilised

_TINY = 1e-16


class Weighted(Module):
    """A layer y = xw + b on columns.

    Attributes
    ----------
    W, B
        Weights and biases.
    Z
        Products of the last forward pass, if it was ``lrp_aware``.
    dW, dB
        Gradients of the last backward pass, as sums over the batch.
    """

    parameters: ClassVar[tuple[str, ...]] = ("W", "B")
    temporaries: ClassVar[tuple[str, ...]] = ("X", "Y", "Z", "dW", "dB", "_columns")
    #: Whether 0/0 is 0 in the slow αβ rule, and not NaN.
    _slow_is_bounded: ClassVar[bool] = False

    def __init__(self, W: Array, B: Array) -> None:
        super().__init__()
        self.W, self.B = W, B
        self.Z: Any = None
        self.dW: Any = None
        self.dB: Any = None
        self._columns: Any = None

    # What a subclass defines

    def gathered(self, X: Array) -> Array:
        """Columns (…, K) of an input."""
        raise NotImplementedError

    def folded(self, columns: Array) -> Array:
        """The sum of columns (…, K) at each input, in the shape of the last input."""
        raise NotImplementedError

    @property
    def matrix(self) -> Array:
        """The weights, (K, outputs)."""
        matrix: Array = self.W.reshape(-1, self.W.shape[-1])
        return matrix

    # Forward and backward pass

    def forward(self, X: Array, lrp_aware: bool = False) -> Array:  # noqa: D102
        self.X, self._columns = X, self.gathered(X)
        self.Z = self._products() if lrp_aware else None
        self.Y = self._columns @ self.matrix + self.B
        output: Array = self.Y
        return output

    def gradient(self, DY: Array, is_first: bool = False) -> Array:  # noqa: D102
        flat = DY.reshape(-1, DY.shape[-1])
        self.dW = (self._columns.reshape(len(flat), -1).T @ flat).reshape(self.W.shape)
        self.dB = flat.sum(axis=0)
        # Nobody asks for the gradient at the image while a net is trained.
        return DY if is_first else self.folded(DY @ self.matrix.T)

    def _products(self) -> Array:
        """Every input times every weight, (…, K, outputs)."""
        products: Array = self._columns[..., np.newaxis] * self.matrix
        return products

    # Relevance

    def rules(self) -> Mapping[str, Rule]:  # noqa: D102
        return {
            "simple": lambda R, _: self._by_ratio(R / stabilised(self.Y)),
            "epsilon": lambda R, epsilon: self._by_ratio(R / stabilised(self.Y, epsilon)),
            "alphabeta": self._alphabeta if self.Z is None else self._alphabeta_of_products,
            "flat": self._flat,
            "ww": self._squared,
            "simple_slow": lambda R, _: self._slowly(R, _TINY),
            "epsilon_slow": self._slowly,
            "alphabeta_slow": self._alphabeta_slowly,
        }

    def _by_ratio(self, ratio: Array) -> Array:
        """Products times ``ratio``, (…, outputs), at each input."""
        if self.Z is not None:
            return self.folded(np.einsum("...ko,...o->...k", self.Z, ratio))
        return self.folded(self._columns * (ratio @ self.matrix.T))

    def _alphabeta(self, R: Array, alpha: float) -> Array:
        positive, negative = np.maximum(self.matrix, 0), np.minimum(self.matrix, 0)
        up, down = np.maximum(self._columns, 0), np.minimum(self._columns, 0)
        above = up @ positive + down @ negative + np.maximum(self.B, 0) + _TINY
        found = np.zeros_like(self._columns)
        if alpha != 0:
            ratio = alpha * (R / above)
            found += up * (ratio @ positive.T) + down * (ratio @ negative.T)
        if alpha != 1:
            below = up @ negative + down @ positive + np.minimum(self.B, 0) - _TINY
            ratio = (1 - alpha) * (R / below)
            found += up * (ratio @ negative.T) + down * (ratio @ positive.T)
        return self.folded(found)

    def _alphabeta_of_products(self, R: Array, alpha: float) -> Array:
        positive = np.maximum(self.Z, 0)
        above = positive.sum(axis=-2) + np.maximum(self.B, 0) + _TINY
        found = np.einsum("...ko,...o->...k", positive, alpha * (R / above))
        if alpha != 1:
            negative = np.minimum(self.Z, 0)
            below = negative.sum(axis=-2) + np.minimum(self.B, 0) - _TINY
            found += np.einsum("...ko,...o->...k", negative, (1 - alpha) * (R / below))
        return self.folded(found)

    def _flat(self, R: Array, _: Any) -> Array:
        share = R.sum(axis=-1, keepdims=True) / len(self.matrix)
        return self.folded(np.broadcast_to(share, self._columns.shape))

    def _squared(self, R: Array, _: Any) -> Array:
        squares = self.matrix**2
        with np.errstate(invalid="ignore"):
            return self.folded(R @ (squares / squares.sum(axis=0)).T)

    # The same by definition

    def _slowly(self, R: Array, epsilon: float) -> Array:
        products = self._products()
        sums = products.sum(axis=-2) + self.B
        ratio = R / (sums + epsilon * sign(sums))
        return self.folded((products * ratio[..., np.newaxis, :]).sum(axis=-1))

    def _alphabeta_slowly(self, R: Array, alpha: float) -> Array:
        products = self._products()
        found = np.zeros_like(self._columns)
        for factor, part, bias in (
            (alpha, np.maximum(products, 0), np.maximum(self.B, 0)),
            (1 - alpha, np.minimum(products, 0), np.minimum(self.B, 0)),
        ):
            if factor == 0:
                continue
            with np.errstate(invalid="ignore", divide="ignore"):
                shares = part / (part.sum(axis=-2) + bias)[..., np.newaxis, :]
            if self._slow_is_bounded:
                shares = np.nan_to_num(shares, copy=False, nan=0.0)
            found += factor * (shares * R[..., np.newaxis, :]).sum(axis=-1)
        return self.folded(found)
