"""Relevance rules: how relevance at the outputs of a layer is handed to its inputs.

A rule is written against a capability of layers (`Linear`, `Router`, …), never against a layer type.
Quirks of the reference that concern one rule are its parameters. Notation: ``x`` input, ``z``
output before the non-linearity, ``R`` relevance at the output, ``r`` at the input.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.kernels import elementwise as kernels
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.normalization import lrn_taylor
from caffe_lrp.kernels.pooling import average_pool_redistribute
from caffe_lrp.layers.base import Blobs, ChannelNormalization, Layer, Linear, WindowAverage


@dataclass(frozen=True)
class Rule(ABC):
    """How relevance passes one layer.

    Subclasses say which values of the forward pass they look at; others need not be kept, and
    `propagate` gets an empty sequence in their place.
    """

    title: ClassVar[str]

    def uses_inputs(self, layer: Layer) -> bool:
        """Whether `propagate` looks at the inputs of ``layer``."""
        del layer
        return False

    def uses_outputs(self, layer: Layer) -> bool:
        """Whether `propagate` looks at the outputs of ``layer``."""
        del layer
        return False

    def prepare(self, layer: Any) -> Any:
        """What the rule derives from the weights alone, computed once per run."""
        del layer

    @abstractmethod
    def propagate(
        self, layer: Any, prepared: Any, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        """Relevance of the inputs of ``layer``, given that of its outputs.

        Parameters
        ----------
        layer
            A layer with the capability the rule is written against.
        prepared
            What `prepare` returned.
        inputs, outputs
            Values of the forward pass, or empty.
        relevances
            One blob per output.
        """


@dataclass(frozen=True)
class Gradient(Rule):
    """The layer's true gradient; for routers and max pooling it is also the relevance."""

    title = "gradient"

    def uses_inputs(self, layer: Layer) -> bool:
        return layer.gradient_uses_inputs

    def uses_outputs(self, layer: Layer) -> bool:
        return layer.gradient_uses_outputs

    def propagate(
        self, layer: Layer, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        return layer.gradient(inputs, outputs, relevances)


@dataclass(frozen=True)
class Route(Gradient):
    """Relevance goes where the elements came from."""

    title = "route"


@dataclass(frozen=True)
class Pass(Rule):
    """Relevance passes unchanged."""

    title = "pass"

    def propagate(
        self, layer: Layer, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        return (relevances[0],)


@dataclass(frozen=True)
class PassPositive(Rule):
    """Only positive relevance passes (deconvolution; Zeiler and Fergus 2014)."""

    title = "pass R⁺"

    def propagate(
        self, layer: Layer, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        out = np.empty_like(relevances[0])
        kernels.positive_part(relevances[0].reshape(-1), out.reshape(-1))
        return (out,)


@dataclass(frozen=True)
class PassGuided(Rule):
    """Positive relevance passes where ``x > 0`` (guided backpropagation; Springenberg et al. 2015)."""

    title = "pass R⁺·[x>0]"

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: Layer, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        out = np.empty_like(relevances[0])
        kernels.guided(inputs[0].reshape(-1), relevances[0].reshape(-1), out.reshape(-1))
        return (out,)


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
        self, layer: Linear, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        quotient = np.empty_like(relevances[0])
        kernels.epsilon_quotient(
            relevances[0].reshape(-1),
            outputs[0].reshape(-1),
            self.epsilon,
            self.undivided_at_zero,
            quotient.reshape(-1),
        )
        factor = layer.adjoint(layer.by_group(quotient), layer.weight)
        kernels.multiply(inputs[0].reshape(-1), factor.reshape(-1), factor.reshape(-1))
        return (factor,)


@dataclass(frozen=True)
class SignedWeights:
    """What αβ derives from the weights: W⁺ and W⁻ stacked, and the parts of the bias (G, O)."""

    stacked: Blob
    bias_positive: Blob
    bias_negative: Blob


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """``r = α Σ (xw)⁺ R/p − β Σ (xw)⁻ R/n`` with α = 1 + β. Source: Bach et al. 2015, eq. 60.

    ``p = Σ (xw)⁺ + b⁺`` and ``n = Σ (xw)⁻ + b⁻``; a term whose sum is 0 is skipped.
    ``first_group_bias`` is Q5.
    """

    title = "αβ"
    beta: float
    first_group_bias: bool

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def prepare(self, layer: Linear) -> SignedWeights:
        bias = np.zeros((layer.groups, layer.group_outputs), np.float32)
        if layer.bias is not None:
            bias[:] = layer.bias.reshape(layer.groups, -1)
        if self.first_group_bias:
            bias[:] = bias[0]
        return SignedWeights(_signed_parts(layer), np.maximum(bias, 0), np.minimum(bias, 0))

    def propagate(
        self, layer: Linear, prepared: SignedWeights, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        x = inputs[0]
        received = layer.by_group(relevances[0])
        if not kernels.has_negative(x.reshape(-1)):
            quotients = _pairs(layer.apply(x, prepared.stacked))
            self._divide(received, prepared, quotients)
            factor = layer.adjoint(quotients, prepared.stacked)
            kernels.multiply(x.reshape(-1), factor.reshape(-1), factor.reshape(-1))
            return (factor,)
        x_positive, x_negative = np.empty_like(x), np.empty_like(x)
        kernels.positive_part(x.reshape(-1), x_positive.reshape(-1))
        kernels.negative_part(x.reshape(-1), x_negative.reshape(-1))
        quotients = _pairs(layer.apply(x_positive, prepared.stacked))
        quotients += _pairs(layer.apply(x_negative, prepared.stacked))[:, :, ::-1]
        self._divide(received, prepared, quotients)
        if_positive = layer.adjoint(quotients, prepared.stacked)
        swapped = np.ascontiguousarray(quotients[:, :, ::-1])
        if_negative = layer.adjoint(swapped, prepared.stacked)
        flat = if_positive.reshape(-1)
        kernels.by_sign(x.reshape(-1), flat, if_negative.reshape(-1), flat)
        return (if_positive,)

    def _divide(self, received: Blob, prepared: SignedWeights, sums: Blob) -> None:
        kernels.alpha_beta_quotients(
            received, prepared.bias_positive, prepared.bias_negative, self.beta, sums
        )


def _signed_parts(layer: Linear) -> Blob:
    """W⁺ and W⁻ joined along the outputs, group by group, so that one product applies both."""
    per_group = layer.weight.reshape(layer.groups, layer.group_outputs, -1)
    stacked = np.empty((layer.groups, 2, *per_group.shape[1:]), np.float32)
    np.maximum(per_group, 0, out=stacked[:, 0])
    np.minimum(per_group, 0, out=stacked[:, 1])
    return stacked.reshape(-1, *layer.weight.shape[1:])


def _pairs(stacked_outputs: Blob) -> Blob:
    """Outputs of two stacked weights (N, G, 2·O, P) viewed as (N, G, 2, O, P)."""
    items, groups, outputs, positions = stacked_outputs.shape
    return stacked_outputs.reshape(items, groups, 2, outputs // 2, positions)


@dataclass(frozen=True)
class Flat(Rule):
    """Relevance shared equally over the inputs an output sees; does not look at ``x``.

    ``ignore_channels`` (Q6) divides by the kernel area instead of the number of inputs. What falls
    on padding is lost.
    """

    title = "flat"
    ignore_channels: bool

    def propagate(
        self, layer: Linear, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        spread = layer.uniform_adjoint(relevances[0])
        spread /= np.float32(layer.taps if self.ignore_channels else layer.fan_in)
        return (spread,)


@dataclass(frozen=True)
class WSquare(Rule):
    """``r = Σ w² R / Σ w²``; does not look at ``x``. Source: Montavon et al. 2017, eq. 12."""

    title = "w²"

    def prepare(self, layer: Linear) -> Blob:
        squares = np.square(layer.weight)
        totals = squares.reshape(len(squares), -1).sum(axis=1)
        shares = np.divide(1, totals, out=np.zeros_like(totals), where=totals != 0)
        squares *= shares.reshape(-1, *(1,) * (squares.ndim - 1))
        return squares

    def propagate(
        self, layer: Linear, prepared: Blob, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        return (layer.adjoint(layer.by_group(relevances[0]), prepared),)


@dataclass(frozen=True)
class Proportional(Rule):
    """Average pooling: ``r = R x / Σx`` over the window.

    ``add_activations`` is Q7: where ``|Σx| < 1e-6`` the activations themselves are added.
    """

    title = "R·x/Σx"
    add_activations: bool

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: WindowAverage, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        out = np.empty_like(inputs[0])
        average_pool_redistribute(inputs[0], relevances[0], layer.window, self.add_activations, out)
        return (out,)


@dataclass(frozen=True)
class TaylorNormalization(Rule):
    """The reference's first-order Taylor rule for LRN across channels (Q8); it does not conserve."""

    title = "Taylor"

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: ChannelNormalization, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        x = inputs[0]
        scale = layer.scale(x)
        out = np.empty_like(scale)
        lrn_taylor(
            x.reshape(scale.shape),
            scale,
            relevances[0].reshape(scale.shape),
            layer.local_size,
            layer.alpha,
            layer.beta,
            layer.k,
            out,
        )
        return (out.reshape(x.shape),)


@dataclass(frozen=True)
class Overwrite(Rule):
    """Relevance is replaced by the layer's own output (Q9)."""

    title = "overwrite"

    def uses_outputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: Layer, prepared: None, inputs: Blobs, outputs: Blobs, relevances: Blobs
    ) -> tuple[Blob, ...]:
        return (outputs[0],)
