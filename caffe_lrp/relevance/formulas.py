"""The table of formulas: which layers get which rule.

Formulas with numbers are the reference's (manual: toolbox, "Formulas and rules"); those with names are
from the literature.
"""

from dataclasses import dataclass

import numpy as np

from caffe_lrp.errors import ConfigError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.elementwise import channel_norm
from caffe_lrp.messages import did_you_mean

from .composite import LOWEST, UP_TO_SWITCH, Composite, Entry, FormulaCode


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
    entries
        Its rules, as a composite has them.
    channel_norm
        Whether the map is replaced by its L2 norm over the channels.
    """

    rules: str
    use: str
    entries: tuple[Entry, ...]
    channel_norm: bool = False


def _linear(rule: str) -> Entry:
    """The rule of linear layers that no later entry covers."""
    return Entry(rule, kinds=("linear",))


def _convolution(rule: str, **parameters: float) -> Entry:
    return Entry(rule, tuple(parameters.items()), kinds=("convolution",), is_optional=True)


def _below(rule: str) -> Entry:
    """The rule of linear layers up to the switch layer."""
    return Entry(rule, kinds=("linear",), position=UP_TO_SWITCH, is_optional=True)


def _lowest(rule: str) -> Entry:
    """The rule of the lowest linear layers: those without another linear layer between them and the image."""
    return Entry(rule, kinds=("linear",), position=LOWEST, is_optional=True)


def _gradient_but_for(rule: str) -> tuple[Entry, ...]:
    """Gradients, but for the rule of ReLU (Springenberg et al. 2015)."""
    others = ("activation", "combination", "aggregation", "normalization")
    return (
        _linear("gradient"),
        Entry("gradient", kinds=others, is_optional=True),
        Entry(rule, kinds=("relu",), is_optional=True),
    )


_GRADIENT = (Entry("gradient"),)
_ALPHA_BETA_ABOVE = (_linear("epsilon"), _convolution("alpha-beta"))

FORMULAS: dict[int | str, Formula] = {
    0: Formula("ε", "small nets; noisy in deep ones", (_linear("epsilon"),)),
    2: Formula("αβ", "separates evidence for and against", (_linear("alpha-beta"),)),
    11: Formula("gradient", "comparison: sensitivity", _GRADIENT),
    26: Formula("deconvolution", "comparison", _gradient_but_for("deconvolution")),
    54: Formula("flat, ε", "as 0, coarser and less noisy", (_linear("epsilon"), _below("flat"))),
    56: Formula("w², ε", "as 0, coarser and less noisy", (_linear("epsilon"), _below("w-square"))),
    58: Formula("flat, αβ", "as 102, for all-convolutional nets", (_linear("alpha-beta"), _below("flat"))),
    60: Formula("w², αβ", "as 104, for all-convolutional nets", (_linear("alpha-beta"), _below("w-square"))),
    99: Formula("gradient, L2 norm", "comparison, channels combined", _GRADIENT, channel_norm=True),
    100: Formula("αβ, ε", "low (β=0) or high contrast (β=1)", _ALPHA_BETA_ABOVE),
    102: Formula("flat, αβ, ε", "as 100, less pixel noise", (*_ALPHA_BETA_ABOVE, _below("flat"))),
    104: Formula("w², αβ, ε", "as 100, less pixel noise", (*_ALPHA_BETA_ABOVE, _below("w-square"))),
    114: Formula("αβ, ε", "ε in small layers, αβ below them", (_linear("epsilon"), _below("alpha-beta"))),
    166: Formula("guided backprop", "comparison", _gradient_but_for("guided-backprop")),
    # zennit's composites with these names (Anders et al. 2021), after Montavon et al. 2019 and Kohlbrenner et
    # al. 2020. In zennit, only one layer gets the rule of the first layer.
    "epsilon-plus": Formula(
        "z⁺, ε", "small pictures, such as digits", (_linear("epsilon"), _convolution("z-plus"))
    ),
    "epsilon-plus-flat": Formula(
        "flat, z⁺, ε",
        "a good start: photos, deep nets",
        (_linear("epsilon"), _convolution("z-plus"), _lowest("flat")),
    ),
    "epsilon-alpha2-beta1": Formula(
        "α2β1, ε",
        "also evidence against the class",
        (_linear("epsilon"), _convolution("alpha-beta", alpha=2.0, beta=1.0)),
    ),
    "epsilon-alpha2-beta1-flat": Formula(
        "flat, α2β1, ε",
        "the same in deep nets",
        (_linear("epsilon"), _convolution("alpha-beta", alpha=2.0, beta=1.0), _lowest("flat")),
    ),
    "epsilon-gamma-box": Formula(
        "zᴮ, γ, ε",
        "between epsilon and epsilon-plus",
        (_linear("epsilon"), _convolution("gamma"), _lowest("z-box")),
    ),
    # γ in all layers (Andéol et al. 2021).
    "gamma-all": Formula("γ", "one rule in all layers; both signs", (_linear("gamma"),)),
    # Deep Taylor decomposition (Montavon et al. 2017).
    "deep-taylor": Formula(
        "zᴮ, z⁺", "positive only, close to contours", (_linear("z-plus"), _lowest("z-box"))
    ),
}


def find_formula(code: int | str) -> Formula:
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


def composite_for(code: FormulaCode) -> Composite:
    """The composite of a formula, whose base it is, by number or name; a composite itself as it is.

    Raises
    ------
    ConfigError
        There is no such formula.
    """
    if isinstance(code, Composite):
        return code
    find_formula(code)
    return Composite(str(code), base=code)


def written_out(code: int | str) -> Composite:
    """A formula as a composite with entries of its own."""
    formula = find_formula(code)
    return Composite(str(code), formula.entries, channel_norm=formula.channel_norm)


def base_of(composite: Composite) -> Formula | None:
    """The formula that comes before the entries of a composite, if there is one.

    Raises
    ------
    ConfigError
        There is no such formula.
    """
    if composite.base is None or composite.base in FORMULAS:
        return None if composite.base is None else FORMULAS[composite.base]
    names = [str(code) for code in FORMULAS]
    raise ConfigError(
        f"{composite.label}: the base must be a formula, and '{composite.base}' is none"
        f"{did_you_mean(str(composite.base), names) or '; they are ' + ', '.join(names)}"
    )


def all_entries(composite: Composite) -> tuple[Entry, ...]:
    """The entries of a composite, those of its base first."""
    base = base_of(composite)
    return (*base.entries, *composite.entries) if base else composite.entries


def needs_switch_layer(composite: Composite) -> bool:
    """Whether a composite, or its base, depends on the switch layer."""
    return any(entry.position == UP_TO_SWITCH for entry in all_entries(composite))


def has_channel_norm(composite: Composite) -> bool:
    """Whether the map of a composite is replaced by its L2 norm over the channels."""
    base = base_of(composite)
    return composite.channel_norm or (base is not None and base.channel_norm)
