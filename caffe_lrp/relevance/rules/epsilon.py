"""The ε rule: relevance in proportion to products, stabilized."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.quotients import stabilised
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs
from caffe_lrp.layers.linear import Linear

from .accounts import Loss, bias_of, doubles, ratio
from .base import Conditions, PassedItem, RuleParameters, Seen
from .recipe import LinearRule, Part, own_adjoint_floats


@dataclass(frozen=True)
class Epsilon(LinearRule[None]):
    """``r = x · Wᵀ (R / (z + ε·sign(z)))``, bias inside ``z``. Source: Bach et al. 2015, eq. 58.

    ``undivided_at_zero`` is Q4: where ``z`` is 0, relevance is not divided; without it sign(0) is +1. The sum
    is the layer's output, known from the forward pass.
    """

    title = "ε"
    epsilon: float
    undivided_at_zero: bool

    @classmethod
    def of(cls, parameters: RuleParameters) -> "Epsilon":
        """The rule of a formula."""
        return cls(parameters.epsilon, parameters.quirks.Q4_undivided_at_zero)

    def uses_outputs(self, layer: Linear) -> bool:
        return True

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        return (Part(bias=layer.bias),)

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        (z,) = sums
        return (ratio(relevance, self._divisor(z)),)

    def _divisor(self, z: Blob) -> Blob:
        epsilon = np.float32(self.epsilon)
        at_zero = np.float32(1) if self.undivided_at_zero else epsilon
        return np.where(z == 0, at_zero, z + np.where(z > 0, epsilon, -epsilon))

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
        divisor = self._divisor(z)
        quotient = ratio(relevance, divisor)
        if passed.layer.bias is not None:
            yield "bias", float(np.sum(quotient * bias_of(passed.layer, passed.constants, passed.workspace)))
        is_zero = z == 0
        yield "epsilon", float(np.sum(quotient * (divisor.astype(np.float64) - z), where=~is_zero))
        name = "Q4" if self.undivided_at_zero else "epsilon" if np.float32(self.epsilon) else "zero_sum"
        yield name, float(np.sum(relevance, where=is_zero))

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return own_adjoint_floats(layer, growth)
