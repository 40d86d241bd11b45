"""The table of formulas: code -> which rule for which layers (spec/reference.md §6)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffe_lrp.errors import ConfigError
from caffe_lrp.kernels.elementwise import channel_norm
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.layers.activation import Dropout, ReLU
from caffe_lrp.layers.base import (
    Aggregation,
    ChannelNormalization,
    Combination,
    Layer,
    Linear,
    Neuron,
    Normalization,
    Router,
    WindowAverage,
    Winner,
)
from caffe_lrp.layers.convolution import Convolution
from caffe_lrp.layers.output import Softmax
from caffe_lrp.quirks import Quirks

from .aggregation import Share
from .composites import Composite, Match, any_layer, is_a, up_to
from .rules import (
    AlphaBeta,
    Backprojection,
    Contribution,
    Epsilon,
    Flat,
    Gradient,
    Overwrite,
    Pass,
    PassGuided,
    PassPositive,
    Proportional,
    Route,
    Rule,
    TaylorNormalization,
    WSquare,
)


@dataclass(frozen=True)
class RuleParameters:
    """Numbers that the rules of a formula depend on.

    Attributes
    ----------
    epsilon
        ε ≥ 0, the stabiliser of the ε rule.
    beta
        β ≥ 0 of αβ; α = 1 + β.
    switch_layer
        Layers up to this index get the formula's lower rule.
    quirks
        Quirks of the reference to reproduce.
    """

    epsilon: float
    beta: float
    switch_layer: int
    quirks: Quirks


RuleMaker = Callable[[RuleParameters], Rule]

PASS = Pass()


def EPSILON(parameters: RuleParameters) -> Rule:  # noqa: N802 - named like the other entries of the table
    """ε rule."""
    return Epsilon(parameters.epsilon, parameters.quirks.Q4_undivided_at_zero)


def ALPHA_BETA(parameters: RuleParameters) -> Rule:  # noqa: N802
    """αβ rule."""
    return AlphaBeta(parameters.beta, parameters.quirks.Q5_first_group_bias)


def FLAT(parameters: RuleParameters) -> Rule:  # noqa: N802
    """Flat rule."""
    return Flat(parameters.quirks.Q6_flat_ignores_channels)


def W_SQUARE(parameters: RuleParameters) -> Rule:  # noqa: N802
    """w² rule."""
    return WSquare()


def BACKPROJECTION(parameters: RuleParameters) -> Rule:  # noqa: N802
    """Wᵀ R."""
    return Backprojection()


def channel_l2(relevance: Blob) -> Blob:
    """L2 norm over the channels of (N, C, …), written to every channel."""
    planes = np.ascontiguousarray(relevance.reshape(*relevance.shape[:2], -1))
    out = np.empty_like(planes)
    channel_norm(planes, out)
    return out.reshape(relevance.shape)


@dataclass(frozen=True)
class Formula:
    """One row of the table.

    Attributes
    ----------
    rest
        Rule of linear layers that no other entry claims; None for pure gradients.
    convolution
        Rule of convolutions above the switch layer, where it differs from ``rest``.
    below
        Rule of linear layers up to the switch layer.
    relu
        Rule of ReLU layers.
    elsewhere
        Rule of all layers that the reference aborts on; None: what suits each, see `_BEYOND`.
    finish
        Applied to the map at the end.
    """

    rest: RuleMaker | None
    convolution: RuleMaker | None = None
    below: RuleMaker | None = None
    relu: Rule = PASS
    elsewhere: Rule | None = None
    finish: Callable[[Blob], Blob] | None = None

    @property
    def needs_switch_layer(self) -> bool:
        """Whether the formula depends on the switch layer."""
        return self.below is not None

    @property
    def is_gradient(self) -> bool:
        """Whether every layer gets its true gradient."""
        return self.rest is None


FORMULAS: dict[int, Formula] = {
    0: Formula(rest=EPSILON),
    2: Formula(rest=ALPHA_BETA),
    11: Formula(rest=None),
    26: Formula(rest=BACKPROJECTION, relu=PassPositive(), elsewhere=Gradient()),
    54: Formula(below=FLAT, rest=EPSILON),
    56: Formula(below=W_SQUARE, rest=EPSILON),
    58: Formula(below=FLAT, rest=ALPHA_BETA),
    60: Formula(below=W_SQUARE, rest=ALPHA_BETA),
    99: Formula(rest=None, finish=channel_l2),
    100: Formula(convolution=ALPHA_BETA, rest=EPSILON),
    102: Formula(below=FLAT, convolution=ALPHA_BETA, rest=EPSILON),
    104: Formula(below=W_SQUARE, convolution=ALPHA_BETA, rest=EPSILON),
    114: Formula(below=ALPHA_BETA, rest=EPSILON),
    166: Formula(rest=BACKPROJECTION, relu=PassGuided(), elsewhere=Gradient()),
}


def find_formula(code: int) -> Formula:
    """Row of the table.

    Raises
    ------
    ConfigError
        There is no such formula.
    """
    if code not in FORMULAS:
        raise ConfigError(
            f"formula {code} is not supported; set relpropformulatype (--formula) to one of "
            f"{', '.join(map(str, FORMULAS))}"
        )
    return FORMULAS[code]


def compose(formula: Formula, parameters: RuleParameters) -> Composite:
    """The composite of a formula: rules of linear layers, then those of all others."""
    if formula.rest is None:
        return Composite(((any_layer, Gradient()),))
    entries: list[tuple[Match, Rule]] = []
    if formula.below is not None:
        entries.append((up_to(parameters.switch_layer, is_a(Linear)), formula.below(parameters)))
    if formula.convolution is not None:
        entries.append((is_a(Convolution), formula.convolution(parameters)))
    entries.append((is_a(Linear), formula.rest(parameters)))
    entries.append((is_a(ReLU), formula.relu))
    entries.append((is_a(Dropout), PASS))
    entries.append((is_a(Router, Winner), Route()))
    entries += _quirky_entries(parameters.quirks)
    entries += [(is_a(capability), formula.elsewhere or rule) for capability, rule in _BEYOND]
    return Composite(tuple(entries))


#: What the reference has no rule for, and what is done instead.
#:
#: Neurons pass relevance as its ReLU does, and as it does itself for TanH and others under 0 and 2.
#: Sums share it by contribution, as zennit does for residual connections, and so do reductions and pooling
#: that the reference lacks, as average pooling where quirks are corrected; products give it to the signal
#: and nothing to the gate (Arras et al. 2017). Normalizations pass it, as zennit's and as LRN across
#: channels where quirks are corrected. Deconvolution and guided backpropagation are gradients but for
#: their ReLU, and so are these layers then (Springenberg et al. 2015).
_BEYOND: tuple[tuple[type[Layer], Rule], ...] = (
    (Neuron, PASS),
    (Combination, Contribution()),
    (Aggregation, Share()),
    (Normalization, PASS),
)


def _quirky_entries(quirks: Quirks) -> tuple[tuple[Match, Rule], ...]:
    """Layers outside the linear path, which the reference treats in its own way."""
    return (
        (is_a(WindowAverage), Proportional(quirks.Q7_zero_sum_adds_activations)),
        (is_a(ChannelNormalization), TaylorNormalization() if quirks.Q8_normalization_taylor else PASS),
        (is_a(Softmax), Overwrite() if quirks.Q9_softmax_overwrites else PASS),
    )
