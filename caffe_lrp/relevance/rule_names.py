"""The rules as composites name them: parameters, how their values are read, and what the manual says of them.

What a name stands for in a net is in `rules.makers`. Importing this module loads no NumPy.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from caffe_lrp.messages import did_you_mean

#: Numbers of rules, start vectors and inputs beyond this overflow float32.
LARGEST_NUMBER = 1e30

#: How numbers are written in files and options.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FLAGS = {"true": True, "yes": True, "false": False, "no": False}
#: What the parameter ``bias`` can be, and what it means.
BIASES: dict[str, str] = {
    "count": "the bias is in the sum that relevance is divided by, and keeps its share",
    "ignore": "the bias is left out of that sum",
    "share": "every product gets an equal part of the bias",
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a rule.

    Attributes
    ----------
    parse
        From a value in a file, a text, or in Python; ValueError says what is wrong with it.
    help
        What it is, for the documentation.
    default
        What it is unless given, for the documentation.
    """

    parse: Callable[[Any], Any]
    help: str
    default: str


@dataclass(frozen=True)
class RuleName:
    """A rule as composites name it.

    Attributes
    ----------
    layers
        The kinds of layers that can have it; empty: all.
    help
        What it does, in a few words.
    parameters
        By name.
    """

    layers: tuple[str, ...]
    help: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


def number_at_least(least: float) -> Callable[[Any], float]:
    """A parser of finite numbers; texts must be written as in a config."""

    def parse(value: Any) -> float:
        is_text = isinstance(value, str)
        if isinstance(value, bool) or not (is_text or isinstance(value, Real)):
            raise ValueError("must be a number")
        if is_text and not NUMBER.fullmatch(value):
            raise ValueError("must be a number, such as 0.25")
        try:
            number = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if not least <= number <= LARGEST_NUMBER:
            bounds = f"at least {least:g} and at most" if least > -LARGEST_NUMBER else "between -1e+30 and"
            raise ValueError(f"must be {bounds} {LARGEST_NUMBER:g}")
        return number

    return parse


_any_number, _not_negative = number_at_least(-LARGEST_NUMBER), number_at_least(0)


def _epsilon(value: Any) -> float | tuple[str, float]:
    """A number, or ``{rms: number}``."""
    if not isinstance(value, Mapping):
        return _not_negative(value)
    if list(value) != ["rms"]:
        raise ValueError("must be a number, or {rms: number}")
    return "rms", _not_negative(value["rms"])


def _bounds(value: Any) -> tuple[float, ...]:
    """One number, or one for every channel."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("must be a number, or one for every channel")
        return tuple(map(_any_number, value))
    return (_any_number(value),)


def flag(value: Any) -> bool:
    """True or false, in Python or as a text."""
    text = str(value).lower()
    if text not in _FLAGS:
        raise ValueError("must be true or false")
    return _FLAGS[text]


def one_of(choices: Collection[str]) -> Callable[[Any], str]:
    """A parser of one of a few words."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}{did_you_mean(str(value), choices)}")
        return value

    return parse


_EPSILON = Parameter(_epsilon, "ε; or {rms: 0.25}: that share of the root mean square of z", "the run's")
_GAMMA = Parameter(_not_negative, "γ", "the run's")
_BIAS = Parameter(one_of(BIASES), "count, ignore or share", "count")
_TWO_BIASES = Parameter(one_of(("count", "ignore")), "count or ignore", "count")
_BOUND = "of the layer's input, a number or one per channel"

#: All rules by name.
RULES: dict[str, RuleName] = {
    "epsilon": RuleName(
        ("linear",),
        "relevance in proportion to products, stabilised by ε",
        {
            "epsilon": _EPSILON,
            "clip": Parameter(flag, "where z is at least ε away from 0, divide by z itself", "false"),
            "bias": _BIAS,
        },
    ),
    "gamma": RuleName(
        ("linear",),
        "products that have the sign of the output count 1 + γ times",
        {"gamma": _GAMMA, "bias": _TWO_BIASES},
    ),
    "gamma-2019": RuleName(
        ("linear",),
        "the γ rule as first published, for inputs that are not negative",
        {"gamma": _GAMMA, "epsilon": Parameter(_not_negative, "ε", "1e-9"), "bias": _TWO_BIASES},
    ),
    "alpha-beta": RuleName(
        ("linear",),
        "positive products get α R, negative ones −β R",
        {
            "alpha": Parameter(_any_number, "α", "1 + β"),
            "beta": Parameter(_any_number, "β", "α − 1; without α the run's"),
            "bias": _BIAS,
        },
    ),
    "z-plus": RuleName(("linear",), "αβ with α = 1 and β = 0", {"bias": _BIAS}),
    "flat": RuleName(("linear",), "relevance in equal parts"),
    "w-square": RuleName(("linear",), "relevance in proportion to squared weights"),
    "z-box": RuleName(
        ("linear",),
        "for inputs between two bounds",
        {
            "low": Parameter(_bounds, f"lower bound {_BOUND}", "the image's"),
            "high": Parameter(_bounds, f"upper bound {_BOUND}", "the image's"),
        },
    ),
    "gradient": RuleName((), "the gradient of the layer"),
    "pass": RuleName(("activation", "normalization", "lrn", "softmax"), "relevance passes unchanged"),
    "winner": RuleName(("max-pooling",), "all relevance goes to the input that became the output"),
    "proportional": RuleName(
        ("max-pooling", "average-pooling", "combination", "aggregation"),
        "relevance in proportion to contributions",
    ),
    "taylor": RuleName(("lrn",), "the toolbox's first-order Taylor rule, which does not conserve"),
    "overwrite": RuleName(("softmax",), "relevance is replaced by the output"),
    "deconvolution": RuleName(("relu",), "only positive relevance passes"),
    "guided-backprop": RuleName(("relu",), "only positive relevance passes, where the input is positive"),
    "softplus": RuleName(
        ("relu",),
        "the gradient of a softplus in place of the ReLU's",
        {"sharpness": Parameter(number_at_least(1e-6), "β of the softplus log(1 + exp(βx)) / β", "10")},
    ),
}
