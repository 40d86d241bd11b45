"""The γ rule, where products with the sign of the output count more, and its older form."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.compute.quotients import AdjointInput, over_favoured_sum
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.linear import Linear

from .accounts import Loss, doubles, ratio
from .base import PassedItem
from .recipe import AppliedPart, Part, PlainRule, positive
from .signed import SignedMap, SignedRule
from .stabiliser import Stabiliser


@dataclass(frozen=True)
class Gamma(SignedRule):
    """Products that have the sign of ``z`` count 1 + γ times: ``r = Σ (xw + γ (xw)ˢ) R / (z + γ zˢ)``.

    ``zˢ`` is the sum of these products, and of the bias if it has the same sign; the sign of 0 is positive.
    A division by 0 gives 0. Source: Andéol et al. 2021. If no input is negative, this is the rule of Montavon
    et al. 2019, with ``w + γw⁺`` instead of ``w``, for outputs that a ReLU lets through. An ignored bias does
    not count for the sign of z either, so the divisor is 0 only if all products are.
    """

    title = "γ"
    gamma: float

    def _favouring(self, is_positive: NDArray[np.bool_], p: Blob, n: Blob) -> Blob:
        """``p + n``, plus γ times the one with the sign of the output."""
        favoured: Blob = np.where(is_positive, p, n)
        return p + n + np.float32(self.gamma) * favoured

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        p, n = next(sums) + next(sums), next(sums) + next(sums)
        is_positive = p + n >= 0
        plain = ratio(relevance, self._favouring(is_positive, p, n))
        favoured = (1 + np.float32(self.gamma)) * plain
        of_positive, of_negative = (
            np.where(is_positive, favoured, plain),
            np.where(is_positive, plain, favoured),
        )
        return of_positive, of_positive, of_negative, of_negative

    def quotient(self, relevance: Blob, sums: Blob, prepared: SignedMap) -> AdjointInput:
        return over_favoured_sum(relevance, sums, prepared.bias_positive, prepared.bias_negative, self.gamma)

    def losses(self, passed: PassedItem[Linear, SignedMap]) -> Iterator[Loss]:
        """The bias takes ``(b + γbˢ) / (z + γzˢ)`` of R, and all of it is lost where that sum is 0."""
        relevance, sums = self.rows_of_one(passed)
        biases = passed.prepared.bias_positive, passed.prepared.bias_negative
        p, n = (products + bias for products, bias in zip(sums, biases, strict=True))
        is_positive = p + n >= 0
        total, bias = self._favouring(is_positive, p, n), self._favouring(is_positive, *biases)
        yield "bias", float(np.sum(ratio(relevance, total) * bias))
        yield "zero_sum", float(np.sum(relevance, where=total == 0))


@dataclass(frozen=True)
class Gamma2019(PlainRule):
    """``r = x · (w + γw⁺)ᵀ (R / d(z'))``, where z' is the output for weights w + γw⁺ and biases b + γb⁺.

    Source: Montavon et al. 2019. For inputs ≥ 0 and outputs ≥ 0 it gives what `Gamma` gives, but for the
    stabiliser. Elsewhere the two differ: of inputs below 0 it favours the negative products, and for outputs
    below 0 it goes on favouring positive weights, so that z' may be near 0 or change its sign, which `Gamma`
    rules out. ``bias`` says whether biases count.
    """

    title = "γ (2019)"
    gamma: float
    stabiliser: Stabiliser
    bias: Literal["count", "ignore"] = "count"

    def _favoured(self, numbers: Blob) -> Blob:
        return numbers + np.float32(self.gamma) * positive(numbers)

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        if self.bias == "ignore" or layer.bias is None:
            return (Part(self._favoured),)
        return (Part(self._favoured, bias=self._favoured(layer.bias)),)

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        divisor = self.stabiliser.divisor(next(sums))
        return (ratio(relevance, divisor, out=divisor),)

    def losses(self, passed: PassedItem[Linear, tuple[AppliedPart, ...]]) -> Iterator[Loss]:
        """Of R, the bias takes ``(b + γb⁺) / d(z')``, and the stabiliser its share."""
        (applied,), relevance = passed.prepared, doubles(passed.relevances[0])
        z = applied.sums(passed.seen.inputs[0], passed.workspace)
        quotient = ratio(relevance, self.stabiliser.divisor(z))
        if applied.part.bias is not None:
            yield "bias", float(np.sum(quotient * passed.layer.by_channel(applied.part.bias)))
        yield from self.stabiliser.losses(relevance, z, quotient)

    def passing_floats(self, layer: Linear) -> int:
        """The sums, their divisor, and what that is chosen from."""
        return 4 * math.prod(layer.output_shapes[0])
