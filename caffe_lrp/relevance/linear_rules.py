"""Relevance rules of linear layers, written against the capability `Linear`.

Quirks of the reference that concern one rule are its parameters. Notation as in `rules`; besides, ``w`` are
weights, ``b`` biases, ``⁺`` and ``⁻`` positive and negative parts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.quotients import (
    alpha_beta_quotient,
    epsilon_quotient,
    gamma_quotient,
    undivided,
)
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Layer, Linear

from .rules import Conditions, Gradient, Rule, Seen


@dataclass(frozen=True)
class Backprojection(Gradient):
    """``r = Wᵀ R``: the gradient of a linear layer."""

    title = "Wᵀ R"


@dataclass(frozen=True)
class Epsilon(Rule):
    """``r = x · Wᵀ (R / (z + ε·sign(z)))``, bias inside ``z``. Source: Bach et al. 2015, eq. 58.

    ``undivided_at_zero`` is Q4.
    """

    title = "ε"
    epsilon: float
    undivided_at_zero: bool

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def uses_outputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: Linear, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        quotient = epsilon_quotient(
            relevances[0], seen.outputs[0], self.epsilon, undivided_at_zero=self.undivided_at_zero
        )
        return (layer.own_map.adjoint(quotient, seen.inputs[0], workspace),)


@dataclass(frozen=True, eq=False)
class SignedMap:
    """What αβ and γ derive from a layer.

    Attributes
    ----------
    map
        To the two sums.
    way_back
        The map along whose weights relevance is handed back.
    bias_positive, bias_negative
        (C,): the parts of the bias that the sums lack.
    """

    map: LinearMap
    way_back: LinearMap
    bias_positive: Blob
    bias_negative: Blob


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """``r = α Σ (xw)⁺ R/p − β Σ (xw)⁻ R/n`` with α = 1 + β. Source: Bach et al. 2015, eq. 60.

    ``p = Σ (xw)⁺ + b⁺`` and ``n = Σ (xw)⁻ + b⁻``; a term whose sum is 0 is skipped.
    ``first_group_bias`` is Q5.
    """

    title = "αβ"
    uses_sums = True
    beta: float
    first_group_bias: bool

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def prepare(self, layer: Linear, conditions: Conditions) -> SignedMap:
        bias = np.zeros((layer.groups, layer.group_outputs), np.float32)
        if layer.bias is not None:
            bias[:] = layer.bias.reshape(layer.groups, -1)
        if self.first_group_bias:
            bias[:] = bias[0]
        both = _signed_map(layer, conditions)
        way_back = both
        if self.beta == 0:  # what negative products would hand back is 0
            way_back = layer.positive_map_of_nonnegative if conditions.nonnegative else layer.positive_map
        return SignedMap(both, way_back, *_parts(bias.reshape(-1)))

    def propagate(
        self, layer: Linear, prepared: SignedMap, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        if seen.sums is None:
            raise ValueError("αβ needs the sums of the forward pass")
        quotients = alpha_beta_quotient(
            relevances[0], seen.sums, prepared.bias_positive, prepared.bias_negative, self.beta
        )
        return (prepared.way_back.adjoint(quotients, seen.inputs[0], workspace),)


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """αβ with α = 1 and β = 0. Source: Montavon et al. 2017, eq. 14."""

    title = "z⁺"


def _signed_map(layer: Linear, conditions: Conditions) -> LinearMap:
    both: LinearMap = layer.signed_map_of_nonnegative if conditions.nonnegative else layer.signed_map
    return both


def _parts(numbers: Blob) -> tuple[Blob, Blob]:
    """Positive and negative parts."""
    return np.maximum(numbers, 0), np.minimum(numbers, 0)


@dataclass(frozen=True)
class Gamma(Rule):
    """Products that have the sign of ``z`` count 1 + γ times: ``r = Σ (xw + γ (xw)ˢ) R / (z + γ zˢ)``.

    ``zˢ`` is the sum of these products, and of the bias if it has that sign too; the sign of 0 is positive.
    What would be divided by 0 is 0. Source: Andéol et al. 2021; where no input is negative, outputs that a
    ReLU lets through get what Montavon et al. 2019 have, ``w + γw⁺`` in the place of ``w``.
    """

    title = "γ"
    uses_sums = True
    gamma: float

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def prepare(self, layer: Linear, conditions: Conditions) -> SignedMap:
        both = _signed_map(layer, conditions)
        outputs = layer.groups * layer.group_outputs
        bias = np.zeros(outputs, np.float32) if layer.bias is None else layer.bias
        return SignedMap(both, both, *_parts(bias))

    def propagate(
        self, layer: Linear, prepared: SignedMap, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        if seen.sums is None:
            raise ValueError("γ needs the sums of the forward pass")
        quotients = gamma_quotient(
            relevances[0], seen.sums, prepared.bias_positive, prepared.bias_negative, self.gamma
        )
        return (prepared.way_back.adjoint(quotients, seen.inputs[0], workspace),)


@dataclass(frozen=True)
class Flat(Rule):
    """Relevance shared equally over the inputs an output sees; does not look at ``x``.

    ``ignore_channels`` (Q6) divides by the kernel area instead of the number of inputs. What falls
    on padding is lost.
    """

    title = "flat"
    ignore_channels: bool

    def propagate(
        self, layer: Linear, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (layer.shared_equally(relevances[0], self.ignore_channels, workspace),)


@dataclass(frozen=True)
class WSquare(Rule):
    """``r = Σ w² R / Σ w²``; does not look at ``x``. Source: Montavon et al. 2017, eq. 12."""

    title = "w²"

    def prepare(self, layer: Linear, conditions: Conditions) -> LinearMap:
        return layer.sharing_map(np.square(layer.weight))

    def propagate(
        self, layer: Linear, prepared: LinearMap, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (prepared.adjoint(undivided(relevances[0]), None, workspace),)


@dataclass(frozen=True, eq=False)
class BoxedMaps:
    """What z^B derives from a layer.

    Attributes
    ----------
    positive, negative
        Maps along the parts of the weights.
    lowest, highest
        Bounds of every input, in the shape of one item.
    is_compared
        Whether max pooling compares the layer's outputs: then equal windows have equal sums here, too.
    """

    positive: LinearMap
    negative: LinearMap
    lowest: Blob
    highest: Blob
    is_compared: bool

    def sums(self, above: Blob, below: Blob, workspace: Workspace) -> Blob:
        """What relevance is shared by: the sums for inputs less either bound, in the layer's output shape."""
        total = self._applied(self.positive, above, workspace)
        total += self._applied(self.negative, below, workspace)
        return total

    def _applied(self, part: LinearMap, x: Blob, workspace: Workspace) -> Blob:
        out = part.apply(x, None, workspace)
        if self.is_compared:
            part.restore_ties(x, out, workspace)
        return out


@dataclass(frozen=True)
class ZBox(Rule):
    """``r = Σ (xw − lw⁺ − hw⁻) R / Σ (xw − lw⁺ − hw⁻)`` for inputs with ``l ≤ x ≤ h``; without bias.

    Formed as ``(x − l)w⁺ + (x − h)w⁻``, of which nothing is negative. What would be divided by 0 is 0.
    Source: Montavon et al. 2017.

    ``lowest`` and ``highest`` are l and h: one number for every channel of the input, or for every element.
    """

    title = "zᴮ"
    needs_bounds: ClassVar[bool] = True
    lowest: tuple[float, ...]
    highest: tuple[float, ...]

    def within(self, lowest: Blob, highest: Blob) -> "ZBox":
        return replace(self, lowest=_by_channel(lowest), highest=_by_channel(highest))

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def prepare(self, layer: Linear, conditions: Conditions) -> BoxedMaps:
        shape = layer.input_shapes[0]
        positive, negative = (layer.map_of(part) for part in _parts(layer.lifted(layer.weight)))
        lowest, highest = _bounds(self.lowest, shape), _bounds(self.highest, shape)
        return BoxedMaps(positive, negative, lowest, highest, conditions.is_compared)

    def propagate(
        self, layer: Linear, prepared: BoxedMaps, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        x = seen.inputs[0]
        above, below = workspace.empty(x.shape), workspace.empty(x.shape)
        np.subtract(x, prepared.lowest, out=above)
        np.subtract(x, prepared.highest, out=below)
        z = prepared.sums(above, below, workspace)
        quotient = epsilon_quotient(relevances[0], z, 0.0, undivided_at_zero=False)
        shared = prepared.positive.adjoint(quotient, above, workspace)
        shared += prepared.negative.adjoint(quotient, below, workspace)
        return (shared,)


def _by_channel(bound: Blob) -> tuple[float, ...]:
    """One number for every channel of (1, C, …), or for every element where they differ within a channel."""
    channels = bound.reshape(bound.shape[1], -1)
    is_alike = bool((channels == channels[:, :1]).all())
    return tuple((channels[:, 0] if is_alike else channels.reshape(-1)).tolist())


def _bounds(numbers: Sequence[float], shape: tuple[int, ...]) -> Blob:
    """One number for every channel of an image, for inputs in whose ``shape`` the image comes."""
    size = math.prod(shape)
    if not numbers or size % len(numbers):
        raise ValueError(f"bounds of {len(numbers)} channels do not fit inputs of shape {shape}")
    return np.repeat(np.array(numbers, np.float32), size // len(numbers)).reshape(shape)
