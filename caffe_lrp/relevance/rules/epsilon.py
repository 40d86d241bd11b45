"""The ε rule: relevance in proportion to products, stabilized."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from caffe_lrp.compute.quotients import stabilised, undivided
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs
from caffe_lrp.layers.linear import Linear

from .accounts import Doubles, Loss, bias_of, doubles, kept_of_equal_shares, ratio
from .base import Conditions, PassedItem, Rule, Seen, UnpreparedRule
from .recipe import AppliedPart, LinearRule, Part, own_adjoint_floats
from .stabiliser import Stabiliser


def epsilon_rule(
    stabiliser: Stabiliser, bias: Literal["count", "ignore", "share"] = "count"
) -> Rule[Linear, AppliedPart] | Rule[Linear, None]:
    """The ε rule with a stabiliser and a treatment of the bias; the fast class where that can do it."""
    if bias == "share":
        return EpsilonWithSharedBias(stabiliser)
    if bias == "count" and stabiliser.is_plain:
        return Epsilon(stabiliser.epsilon, stabiliser.undivided_at_zero)
    return StabilisedEpsilon(stabiliser, bias)


@dataclass(frozen=True)
class Epsilon(LinearRule[None]):
    """``r = x · Wᵀ (R / (z + ε·sign(z)))``, bias inside ``z``. Source: Bach et al. 2015, eq. 58.

    ``undivided_at_zero`` is Q4: where ``z`` is 0, relevance is not divided; without it sign(0) is +1. The sum
    is the layer's output, known from the forward pass.
    """

    title = "ε"
    epsilon: float
    undivided_at_zero: bool

    @property
    def stabiliser(self) -> Stabiliser:
        """What the sum is stabilised by."""
        return Stabiliser(self.epsilon, undivided_at_zero=self.undivided_at_zero)

    def uses_outputs(self, layer: Linear) -> bool:
        return True

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        return (Part(bias=layer.bias),)

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        (z,) = sums
        return (ratio(relevance, self.stabiliser.divisor(z)),)

    def prepare(self, layer: Linear, conditions: Conditions) -> None:
        del layer, conditions

    def propagate(
        self, layer: Linear, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        at_zero = 1 if self.undivided_at_zero else self.epsilon
        quotient = stabilised(relevances[0], seen.outputs[0], self.epsilon, at_zero)
        return (layer.own_map.adjoint(quotient, seen.inputs[0], workspace),)

    def losses(self, passed: PassedItem[Linear, None]) -> Iterator[Loss]:
        """The inputs receive ``q (z − b)`` of R, with ``q = R / (z + ε sign z)``."""
        relevance, z = doubles(passed.relevances[0]), passed.seen.outputs[0]
        quotient = ratio(relevance, self.stabiliser.divisor(z))
        if passed.layer.bias is not None:
            yield "bias", _taken_by_bias(quotient, passed)
        yield from self.stabiliser.losses(relevance, z, quotient)

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return own_adjoint_floats(layer, growth)


@dataclass(frozen=True)
class StabilisedEpsilon(LinearRule[AppliedPart]):
    """The ε rule with any stabiliser, ``r = x · Wᵀ (R / d(z))``.

    ``bias`` says whether z counts the bias, as the layer's output does. If it is ignored, the inputs get all
    relevance but what the stabiliser takes.
    """

    title = "ε"
    stabiliser: Stabiliser
    bias: Literal["count", "ignore"] = "count"

    def uses_outputs(self, layer: Linear) -> bool:
        """Whether z is the layer's output."""
        return self.bias == "count" or layer.bias is None

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        return (Part(bias=layer.bias if self.bias == "count" else None),)

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        (z,) = sums
        return (_over(relevance, self.stabiliser.divisor(z)),)

    def prepare(self, layer: Linear, conditions: Conditions) -> AppliedPart:
        (part,) = self.parts(layer)
        return AppliedPart(part, layer.own_map, conditions.is_compared)

    def propagate(
        self, layer: Linear, prepared: AppliedPart, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        (quotient,) = self.quotients(relevances[0], iter((_sum_of(prepared, seen, workspace),)))
        return (layer.own_map.adjoint(undivided(quotient), seen.inputs[0], workspace),)

    def losses(self, passed: PassedItem[Linear, AppliedPart]) -> Iterator[Loss]:
        """Of R, ``R (z − b) / d(z)`` arrives, and ``R z / d(z)`` if z does not count the bias."""
        z, relevance = _sum_of(passed.prepared, passed.seen, passed.workspace), doubles(passed.relevances[0])
        quotient = ratio(relevance, self.stabiliser.divisor(z))
        if passed.prepared.part.bias is not None:
            yield "bias", _taken_by_bias(quotient, passed)
        yield from self.stabiliser.losses(relevance, z, quotient)

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return own_adjoint_floats(layer, growth)

    def passing_floats(self, layer: Linear) -> int:
        return _divisor_floats(layer)


@dataclass(frozen=True)
class EpsilonWithSharedBias(UnpreparedRule[Linear]):
    """``r_i = Σ_j (x_i w_ij + b_j/K) R_j / d(z_j)``: the K inputs of an output share its bias alike.

    K counts padding, too, and what falls there is lost. Source: Arras et al. 2017, whose ``bias_factor``
    shares the stabiliser as well.
    """

    title = "ε"
    stabiliser: Stabiliser

    def uses_inputs(self, layer: Linear) -> bool:
        return True

    def uses_outputs(self, layer: Linear) -> bool:
        return True

    def propagate(
        self, layer: Linear, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        quotient = _over(relevances[0], self.stabiliser.divisor(seen.outputs[0]))
        found = layer.own_map.adjoint(undivided(quotient), seen.inputs[0], workspace)
        if layer.bias is not None:
            quotient *= layer.by_channel(layer.bias)
            found += layer.shared_equally(quotient, False, workspace)
        return (found,)

    def losses(self, passed: PassedItem[Linear, None]) -> Iterator[Loss]:
        """Of R, ``R z / d(z)`` arrives, less the bias of padding."""
        layer, relevance, z = passed.layer, doubles(passed.relevances[0]), passed.seen.outputs[0]
        quotient = ratio(relevance, self.stabiliser.divisor(z))
        if layer.bias is not None:
            outside = 1 - kept_of_equal_shares(layer, passed.constants, passed.workspace)
            yield "padding", float(np.sum(quotient * layer.by_channel(layer.bias) * outside))
        yield from self.stabiliser.losses(relevance, z, quotient)

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return own_adjoint_floats(layer, growth)

    def passing_floats(self, layer: Linear) -> int:
        """The divisor on its way, or the quotient and what the inputs get of the bias."""
        inputs, outputs = math.prod(layer.input_shapes[0]), math.prod(layer.output_shapes[0])
        return max(_divisor_floats(layer), outputs + inputs)


def _over(relevance: Blob, divisor: Blob) -> Blob:
    """Relevance over the divisor, in the memory of the latter."""
    return ratio(relevance, divisor, out=divisor)


def _sum_of(prepared: AppliedPart, seen: Seen, workspace: Workspace) -> Blob:
    """The sum to divide by: the layer's output where the forward pass has kept it for the rule."""
    return seen.outputs[0] if seen.outputs else prepared.sums(seen.inputs[0], workspace)


def _taken_by_bias(quotient: Doubles, passed: PassedItem[Linear, Any]) -> float:
    """What biases get of ``quotient``, (1, …) in the shape of the output."""
    return float(np.sum(quotient * bias_of(passed.layer, passed.constants, passed.workspace)))


def _divisor_floats(layer: Linear) -> int:
    """A divisor, and what it is chosen from."""
    return 3 * math.prod(layer.output_shapes[0])
