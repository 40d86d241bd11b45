"""The αβ rule with the bias shared among all products before they are split by sign."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.products import Products
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs
from caffe_lrp.layers.linear import Linear

from .accounts import Loss, doubles, kept_of_equal_shares, ratio
from .base import Conditions, PassedItem, Rule, Seen


@dataclass(frozen=True)
class AlphaBetaWithSharedBias(Rule[Linear, Products]):
    """``r = α Σ v⁺ R/p − β Σ v⁻ R/n`` for ``v = xw + b/K``, with α = 1 + β; ``p = Σ v⁺`` and ``n = Σ v⁻``.

    K is the number of products of an output, those with padding included, whose relevance is lost; a term
    whose sum is 0 is skipped. Source: ``biastreatmenttype`` 1 of the toolbox's Python interface.
    """

    title = "αβ"
    beta: float

    def uses_inputs(self, layer: Linear) -> bool:
        return True

    def prepare(self, layer: Linear, conditions: Conditions) -> Products:
        return layer.products

    def propagate(
        self, layer: Linear, prepared: Products, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        bias = _bias(layer)
        of_positive, of_negative = prepared.signed_sums(seen.inputs[0], bias, workspace)
        for factor, sums in zip(self._factors, (of_positive, of_negative), strict=True):
            ratio(np.float32(factor) * relevances[0].reshape(sums.shape), sums, out=sums)
        return (prepared.adjoint(seen.inputs[0], bias, of_positive, of_negative, workspace),)

    @property
    def _factors(self) -> tuple[float, float]:
        """α and −β."""
        return 1 + self.beta, -self.beta

    def losses(self, passed: PassedItem[Linear, Products]) -> Iterator[Loss]:
        """Of ``α R`` the shares of padding are lost, and all where p is 0; likewise of ``−β R``."""
        layer, bias = passed.layer, _bias(passed.layer)
        outside = 1 - kept_of_equal_shares(layer, passed.constants, passed.workspace)
        relevance = doubles(passed.relevances[0])
        both = passed.prepared.signed_sums(passed.seen.inputs[0], bias, passed.workspace)
        parts = np.maximum(bias, 0), np.minimum(bias, 0)
        causes = "no_positive", "no_negative"
        for factor, sums, part, cause in zip(self._factors, both, parts, causes, strict=True):
            total = sums.reshape(relevance.shape)
            to_share = float(np.float32(factor)) * relevance
            yield "padding", float(np.sum(ratio(to_share, total) * layer.by_channel(part) * outside))
            yield cause, float(np.sum(to_share, where=total == 0))

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return {"products, both ways": 2 * layer.weight.size}

    def passing_floats(self, layer: Linear) -> int:
        """Both sums, and what is divided by them; the input, if it has to be laid out anew."""
        return 3 * math.prod(layer.output_shapes[0]) + math.prod(layer.input_shapes[0])


def _bias(layer: Linear) -> Blob:
    """(C,), zeros for none."""
    outputs = layer.groups * layer.group_outputs
    return np.zeros(outputs, np.float32) if layer.bias is None else layer.bias
