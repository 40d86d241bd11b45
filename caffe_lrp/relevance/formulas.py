"""The table of formulas: which rule for which layers.

Formulas with numbers are the reference's (spec/reference.md §6), those with names come from the literature.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from caffe_lrp.errors import ConfigError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.elementwise import channel_norm
from caffe_lrp.layers.activation import IdleDropout, ReLU
from caffe_lrp.layers.affine import Merged
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
    Windowed,
    Winner,
)
from caffe_lrp.layers.output import Softmax
from caffe_lrp.messages import did_you_mean
from caffe_lrp.quirks import Quirks

from .composites import Composite, Match, among, any_layer, is_a, up_to
from .linear_rules import AlphaBeta, Backprojection, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from .rules import (
    Contribution,
    Gradient,
    HandOn,
    Overwrite,
    Pass,
    PassGuided,
    PassPositive,
    Proportional,
    Route,
    Rule,
    Share,
    TaylorNormalization,
)

#: What names a formula: a number of the reference's, or letters, digits and hyphens.
FormulaCode = int | str


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
    gamma
        γ ≥ 0 of the γ rule.
    lowest, highest
        Least and greatest number that a pixel can have in the net's input, for every channel; only z^B needs
        them.
    """

    epsilon: float
    beta: float
    switch_layer: int
    quirks: Quirks
    gamma: float = 0.25
    lowest: tuple[float, ...] = ()
    highest: tuple[float, ...] = ()


RuleMaker = Callable[[RuleParameters], Rule]

PASS = Pass()


def EPSILON(parameters: RuleParameters) -> Rule:  # noqa: N802 - named like the other entries of the table
    """ε rule."""
    return Epsilon(parameters.epsilon, parameters.quirks.Q4_undivided_at_zero)


def ALPHA_BETA(parameters: RuleParameters) -> Rule:  # noqa: N802
    """αβ rule."""
    return AlphaBeta(parameters.beta, parameters.quirks.Q5_first_group_bias)


def ALPHA2_BETA1(parameters: RuleParameters) -> Rule:  # noqa: N802
    """αβ rule with α = 2 and β = 1."""
    return AlphaBeta(1.0, parameters.quirks.Q5_first_group_bias)


def Z_PLUS(parameters: RuleParameters) -> Rule:  # noqa: N802
    """z⁺ rule: αβ with α = 1 and β = 0, positive parts of biases inside the sum as with αβ."""
    return ZPlus(0.0, parameters.quirks.Q5_first_group_bias)


def GAMMA(parameters: RuleParameters) -> Rule:  # noqa: N802
    """γ rule."""
    return Gamma(parameters.gamma)


def Z_BOX(parameters: RuleParameters) -> Rule:  # noqa: N802
    """z^B rule."""
    return ZBox(parameters.lowest, parameters.highest)


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
    first
        Rule of the lowest linear layers: those that the image reaches through no other.
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
    first: RuleMaker | None = None
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


FORMULAS: dict[FormulaCode, Formula] = {
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
    # zennit's composites of these names (Anders et al. 2021), after Montavon et al. 2019 and Kohlbrenner et
    # al. 2020. Theirs have the rule of the first layer for one layer only.
    "epsilon-plus": Formula(convolution=Z_PLUS, rest=EPSILON),
    "epsilon-plus-flat": Formula(first=FLAT, convolution=Z_PLUS, rest=EPSILON),
    "epsilon-alpha2-beta1": Formula(convolution=ALPHA2_BETA1, rest=EPSILON),
    "epsilon-alpha2-beta1-flat": Formula(first=FLAT, convolution=ALPHA2_BETA1, rest=EPSILON),
    "epsilon-gamma-box": Formula(first=Z_BOX, convolution=GAMMA, rest=EPSILON),
    # γ in all layers (Andéol et al. 2021).
    "gamma-all": Formula(rest=GAMMA),
    # Deep Taylor decomposition (Montavon et al. 2017).
    "deep-taylor": Formula(first=Z_BOX, rest=Z_PLUS),
}


def find_formula(code: FormulaCode) -> Formula:
    """Row of the table.

    Raises
    ------
    ConfigError
        There is no such formula.
    """
    if code not in FORMULAS:
        names = [name for name in FORMULAS if isinstance(name, str)]
        numbers = ", ".join(str(number) for number in FORMULAS if isinstance(number, int))
        raise ConfigError(
            f"formula {code} is not supported; set relpropformulatype (--formula) to one of {numbers}, "
            f"{', '.join(names)}{did_you_mean(str(code), names)}"
        )
    return FORMULAS[code]


def compose(formula: Formula, parameters: RuleParameters, lowest: Collection[int]) -> Composite:
    """The composite of a formula: rules of linear layers, then those of all others.

    ``lowest`` are the indices of the lowest linear layers.
    """
    if formula.rest is None:
        return Composite(((any_layer, Gradient()),))
    entries: list[tuple[Match, Rule]] = []
    if formula.first is not None:
        entries.append((among(lowest, is_a(Linear)), formula.first(parameters)))
    if formula.below is not None:
        entries.append((up_to(parameters.switch_layer, is_a(Linear)), formula.below(parameters)))
    if formula.convolution is not None:
        entries.append((is_a(Windowed), formula.convolution(parameters)))
    entries.append((is_a(Linear), formula.rest(parameters)))
    entries.append((is_a(ReLU), formula.relu))
    entries.append((is_a(IdleDropout), PASS))
    entries.append((is_a(Merged), HandOn()))
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
