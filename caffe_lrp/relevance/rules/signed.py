"""The common part of rules that treat positive and negative products differently: αβ and γ.

Both sums are computed in the forward pass, at half the cost of computing them later.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.quotients import AdjointInput
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs
from caffe_lrp.layers.linear import Linear

from .accounts import Doubles
from .base import Conditions, PassedItem, Seen
from .recipe import LinearRule, Part, negative, positive


@dataclass(frozen=True, eq=False)
class SignedMap:
    """The data that a rule of signed products derives from a layer.

    Attributes
    ----------
    map
        The map to the two sums.
    backward_map
        The map that propagates relevance.
    bias_positive, bias_negative
        (C,): the parts of the bias, which the sums do not contain.
    """

    map: LinearMap
    backward_map: LinearMap
    bias_positive: Blob
    bias_negative: Blob


@dataclass(frozen=True)
class SignedRule(LinearRule[SignedMap]):
    """A rule that divides relevance by the sums of positive and of negative products.

    ``bias`` says whether the bias counts in the sums. Its share of the relevance is lost; if it is ignored,
    the inputs get all relevance.
    """

    bias: Literal["count", "ignore"] = field(default="count", kw_only=True)

    def counted_bias(self, layer: Linear) -> Blob:
        """(C,): its positive part is added to the first sum, its negative part to the second; 0 for none."""
        if layer.bias is None or self.bias == "ignore":
            return np.zeros(layer.groups * layer.group_outputs, np.float32)
        return layer.bias

    @abstractmethod
    def quotient(self, relevance: Blob, sums: Blob, prepared: SignedMap) -> AdjointInput:
        """The quotient to propagate along the weights, for the sums from the forward pass."""

    @property
    def only_positive_receives(self) -> bool:
        """Whether negative products receive no relevance."""
        return False

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        """Positive products and the positive part of the bias, then negative ones; for inputs of each sign.

        Pairs of them add up to the sums of the forward pass.
        """
        bias = self.counted_bias(layer)
        return (
            Part(positive, positive, positive(bias)),
            Part(negative, negative),
            Part(negative, positive, negative(bias)),
            Part(positive, negative),
        )

    def prepare(self, layer: Linear, conditions: Conditions) -> SignedMap:
        bias, nonnegative = self.counted_bias(layer), conditions.nonnegative
        both = layer.signed_map_of_nonnegative if nonnegative else layer.signed_map
        backward_map = both
        if self.only_positive_receives:
            backward_map = layer.positive_map_of_nonnegative if nonnegative else layer.positive_map
        return SignedMap(both, backward_map, positive(bias), negative(bias))

    def forward(self, layer: Linear, prepared: SignedMap, x: Blob, workspace: Workspace) -> tuple[Blob, Blob]:
        """The sums of positive and of negative products, and the layer's output computed from them."""
        return prepared.map.apply_sums(x, layer.bias, workspace)

    def propagate(
        self, layer: Linear, prepared: SignedMap, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        quotient = self.quotient(relevances[0], self._sums(seen), prepared)
        return (prepared.backward_map.adjoint(quotient, seen.inputs[0], workspace),)

    def kept_floats(self, layer: Linear) -> int:
        return 2 * math.prod(layer.output_shapes[0])

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        signed = layer.weight.size * (2 if conditions.nonnegative else 4)
        found = {"both signs": math.ceil(signed * (1 + growth))}
        if self.only_positive_receives:
            return found | {"positive, backwards": math.ceil(signed * growth / 2)}
        return found | {"both signs, backwards": math.ceil(signed * growth)}

    def _sums(self, seen: Seen) -> Blob:
        if seen.sums is None:
            raise ValueError(f"{self.title} needs the sums of the forward pass")
        return seen.sums

    def rows_of_one(self, passed: PassedItem[Linear, SignedMap]) -> tuple[Doubles, tuple[Blob, Blob]]:
        """(positions, C): relevance of a batch of one, and its sums of positive and of negative products."""
        received = passed.prepared.map.rows(passed.relevances[0])[0].astype(np.float64)
        return received, passed.prepared.map.sums_of_item(self._sums(passed.seen), 0)
