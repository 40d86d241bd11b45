"""The table of formulas: which layers get which rule.

Formulas with numbers are the reference's (manual: toolbox, "Formulas and rules"); those with names are
from the literature.
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
    Neuron,
    Normalization,
    Router,
    WindowAverage,
    Winner,
)
from caffe_lrp.layers.linear import Linear, Windowed
from caffe_lrp.layers.output import Softmax
from caffe_lrp.messages import did_you_mean
from caffe_lrp.quirks import Quirks

from .composites import Composite, Match, among, any_layer, is_a, up_to
from .rules.alpha_beta import AlphaBeta, ZPlus, alpha2_beta1
from .rules.base import AnyRule, RuleParameters
from .rules.epsilon import Epsilon
from .rules.flat import Flat
from .rules.gamma import Gamma
from .rules.gradients import Backprojection, Gradient, PassGuided, PassPositive
from .rules.normalization import TaylorNormalization
from .rules.routing import Pass, PassMerged, Route
from .rules.sharing import Contribution, Proportional, Share
from .rules.softmax import Overwrite
from .rules.w_square import WSquare
from .rules.z_box import ZBox

#: A formula's number in the reference, or its name: letters, digits and hyphens.
FormulaCode = int | str


#: A function that makes a rule from its parameters.
RuleMaker = Callable[[RuleParameters], AnyRule]

PASS = Pass()


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
    rules
        Its rules in a few words, those of the lowest layers first.
    use
        When to use it, in a few words.
    linear
        Rule of linear layers that no other entry covers; None for pure gradients.
    convolution
        Rule of convolutions above the switch layer, if it differs from ``linear``.
    below
        Rule of linear layers up to the switch layer.
    first
        Rule of the lowest linear layers: those without another linear layer between them and the image.
    relu
        Rule of ReLU layers.
    elsewhere
        Rule of all layers at which the reference aborts; None for a rule by the kind of layer, see `_BEYOND`.
    finish
        Applied to the map at the end.
    """

    rules: str
    use: str
    linear: RuleMaker | None
    convolution: RuleMaker | None = None
    below: RuleMaker | None = None
    first: RuleMaker | None = None
    relu: AnyRule = PASS
    elsewhere: AnyRule | None = None
    finish: Callable[[Blob], Blob] | None = None

    @property
    def needs_switch_layer(self) -> bool:
        """Whether the formula depends on the switch layer."""
        return self.below is not None

    @property
    def is_gradient(self) -> bool:
        """Whether every layer gets its true gradient."""
        return self.linear is None


FORMULAS: dict[FormulaCode, Formula] = {
    0: Formula("ε", "small nets; noisy in deep ones", linear=Epsilon.of),
    2: Formula("αβ", "separates evidence for and against", linear=AlphaBeta.of),
    11: Formula("gradient", "comparison: sensitivity", linear=None),
    26: Formula(
        "deconvolution", "comparison", linear=Backprojection.of, relu=PassPositive(), elsewhere=Gradient()
    ),
    54: Formula("flat, ε", "as 0, coarser and less noisy", below=Flat.of, linear=Epsilon.of),
    56: Formula("w², ε", "as 0, coarser and less noisy", below=WSquare.of, linear=Epsilon.of),
    58: Formula("flat, αβ", "as 102, for all-convolutional nets", below=Flat.of, linear=AlphaBeta.of),
    60: Formula("w², αβ", "as 104, for all-convolutional nets", below=WSquare.of, linear=AlphaBeta.of),
    99: Formula("gradient, L2 norm", "comparison, channels combined", linear=None, finish=channel_l2),
    100: Formula("αβ, ε", "low (β=0) or high contrast (β=1)", convolution=AlphaBeta.of, linear=Epsilon.of),
    102: Formula(
        "flat, αβ, ε", "as 100, less pixel noise", below=Flat.of, convolution=AlphaBeta.of, linear=Epsilon.of
    ),
    104: Formula(
        "w², αβ, ε", "as 100, less pixel noise", below=WSquare.of, convolution=AlphaBeta.of, linear=Epsilon.of
    ),
    114: Formula("αβ, ε", "ε in small layers, αβ below them", below=AlphaBeta.of, linear=Epsilon.of),
    166: Formula(
        "guided backprop", "comparison", linear=Backprojection.of, relu=PassGuided(), elsewhere=Gradient()
    ),
    # zennit's composites with these names (Anders et al. 2021), after Montavon et al. 2019 and Kohlbrenner et
    # al. 2020. In zennit, only one layer gets the rule of the first layer.
    "epsilon-plus": Formula(
        "z⁺, ε", "small pictures, such as digits", convolution=ZPlus.of, linear=Epsilon.of
    ),
    "epsilon-plus-flat": Formula(
        "flat, z⁺, ε",
        "a good start: photos, deep nets",
        first=Flat.of,
        convolution=ZPlus.of,
        linear=Epsilon.of,
    ),
    "epsilon-alpha2-beta1": Formula(
        "α2β1, ε", "also evidence against the class", convolution=alpha2_beta1, linear=Epsilon.of
    ),
    "epsilon-alpha2-beta1-flat": Formula(
        "flat, α2β1, ε", "the same in deep nets", first=Flat.of, convolution=alpha2_beta1, linear=Epsilon.of
    ),
    "epsilon-gamma-box": Formula(
        "zᴮ, γ, ε", "between epsilon and epsilon-plus", first=ZBox.of, convolution=Gamma.of, linear=Epsilon.of
    ),
    # γ in all layers (Andéol et al. 2021).
    "gamma-all": Formula("γ", "one rule in all layers; both signs", linear=Gamma.of),
    # Deep Taylor decomposition (Montavon et al. 2017).
    "deep-taylor": Formula("zᴮ, z⁺", "positive only, close to contours", first=ZBox.of, linear=ZPlus.of),
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
    if formula.linear is None:
        return Composite(((any_layer, Gradient()),))
    entries: list[tuple[Match, AnyRule]] = []
    if formula.first is not None:
        entries.append((among(lowest, is_a(Linear)), formula.first(parameters)))
    if formula.below is not None:
        entries.append((up_to(parameters.switch_layer, is_a(Linear)), formula.below(parameters)))
    if formula.convolution is not None:
        entries.append((is_a(Windowed), formula.convolution(parameters)))
    entries.append((is_a(Linear), formula.linear(parameters)))
    entries.append((is_a(ReLU), formula.relu))
    entries.append((is_a(IdleDropout), PASS))
    entries.append((is_a(Merged), PassMerged()))
    entries.append((is_a(Router, Winner), Route()))
    entries += _quirky_entries(parameters.quirks)
    entries += [(is_a(capability), formula.elsewhere or rule) for capability, rule in _BEYOND]
    return Composite(tuple(entries))


#: The rules of layers for which the reference has none.
#:
#: Neurons pass relevance unchanged, like the reference's ReLU, and like its TanH and others under 0 and 2.
#: Sums share it by contribution, as zennit does for residual connections. So do reductions and kinds of
#: pooling that the reference lacks, like average pooling with corrected quirks. Products give it to the
#: signal and none to the gate (Arras et al. 2017). Normalizations pass it unchanged, as in zennit, and like
#: LRN across channels with corrected quirks. Deconvolution and guided backpropagation are gradients except
#: for their ReLU, and under them these layers have gradients, too (Springenberg et al. 2015).
_BEYOND: tuple[tuple[type[Layer], AnyRule], ...] = (
    (Neuron, PASS),
    (Combination, Contribution()),
    (Aggregation, Share()),
    (Normalization, PASS),
)


def _quirky_entries(quirks: Quirks) -> tuple[tuple[Match, AnyRule], ...]:
    """Rules of other than linear layers that the reference treats in its own way."""
    return (
        (is_a(WindowAverage), Proportional(quirks.Q7_zero_sum_adds_activations)),
        (is_a(ChannelNormalization), TaylorNormalization() if quirks.Q8_normalization_taylor else PASS),
        (is_a(Softmax), Overwrite() if quirks.Q9_softmax_overwrites else PASS),
    )
