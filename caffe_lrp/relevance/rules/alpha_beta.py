"""The αβ rule and z⁺: positive and negative products share relevance separately."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.quotients import AdjointInput, over_positive_sum, over_sums
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.linear import Linear

from .accounts import Doubles, Loss, ratio
from .base import PassedItem
from .recipe import negative, positive
from .signed import SignedMap, SignedRule


@dataclass(frozen=True)
class AlphaBeta(SignedRule):
    """``r = α Σ (xw)⁺ R/p − β Σ (xw)⁻ R/n`` with α = 1 + β. Source: Bach et al. 2015, eq. 60.

    ``p = Σ (xw)⁺ + b⁺`` and ``n = Σ (xw)⁻ + b⁻``; a term whose sum is 0 is skipped. β may be below 0, and α
    below 1: then negative products receive relevance of the sign of R, too.
    ``first_group_bias`` is Q5: biases of group 0 count in every group.
    """

    title = "αβ"
    beta: float
    first_group_bias: bool

    @property
    def only_positive_receives(self) -> bool:
        return self.beta == 0

    def counted_bias(self, layer: Linear) -> Blob:
        own = super().counted_bias(layer)
        return np.tile(own[: layer.group_outputs], layer.groups) if self.first_group_bias else own

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        of_positive, of_negative = next(sums) + next(sums), next(sums) + next(sums)
        alpha, minus_beta = np.float32(1 + self.beta), np.float32(-self.beta)
        shared = ratio(alpha * relevance, of_positive), ratio(minus_beta * relevance, of_negative)
        return shared[0], shared[0], shared[1], shared[1]

    def quotient(self, relevance: Blob, sums: Blob, prepared: SignedMap) -> AdjointInput:
        if self.beta == 0:
            return over_positive_sum(relevance, sums, prepared.bias_positive)
        biases = prepared.bias_positive, prepared.bias_negative
        return over_sums(relevance, sums, *biases, (1 + self.beta, -self.beta))

    def losses(self, passed: PassedItem[Linear, SignedMap]) -> Iterator[Loss]:
        """The bias takes ``b⁺/p`` of ``α R``, and all of it is lost where p is 0; likewise for ``−β R``."""
        layer, prepared = passed.layer, passed.prepared
        relevance, sums = self.rows_of_one(passed)
        used = self._losses(relevance, sums, prepared.bias_positive, prepared.bias_negative)
        if not (self.first_group_bias and layer.groups > 1 and layer.has_bias):
            yield from used.items()
            return
        own = super().counted_bias(layer)
        meant = self._losses(relevance, sums, positive(own), negative(own))
        yield from meant.items()
        yield "Q5", sum(used.values()) - sum(meant.values())

    def _losses(
        self, relevance: Doubles, sums: tuple[Blob, Blob], bias_positive: Blob, bias_negative: Blob
    ) -> dict[str, float]:
        """The losses of (positions, C) for the given parts of the bias, (C,) each."""
        found = {"bias": 0.0, "no_positive": 0.0, "no_negative": 0.0}
        factors = {"no_positive": 1 + self.beta, "no_negative": -self.beta}
        for (name, factor), products, bias in zip(
            factors.items(), sums, (bias_positive, bias_negative), strict=True
        ):
            if factor:
                total = products + bias
                to_share = relevance * float(np.float32(factor))
                found["bias"] += float(np.sum(ratio(to_share, total) * bias))
                found[name] += float(np.sum(to_share, where=total == 0))
        return found


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """αβ with α = 1 and β = 0. Source: Montavon et al. 2017, eq. 14.

    Positive parts of biases are part of the sum, as in αβ. Without them (``bias="ignore"``) it is excitation
    backpropagation (Zhang et al. 2016).
    """

    title = "z⁺"
