"""From the names of rules in composites to rules: which layers can have them, and how they are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from caffe_lrp.layers.activation import ReLU
from caffe_lrp.layers.base import (
    Aggregation,
    ChannelNormalization,
    Combination,
    Layer,
    Neuron,
    Normalization,
    WindowAverage,
    Winner,
)
from caffe_lrp.layers.linear import Linear
from caffe_lrp.layers.output import Softmax
from caffe_lrp.layers.pooling import MaxPooling
from caffe_lrp.relevance.composite import Entry

from .alpha_beta import AlphaBeta, ZPlus
from .base import AnyRule, RuleParameters
from .epsilon import epsilon_rule
from .flat import Flat
from .gamma import Gamma, Gamma2019
from .gradients import Gradient, PassGuided, PassPositive, PassSmoothly
from .normalization import TaylorNormalization
from .routing import Pass, Route
from .shared_bias import AlphaBetaWithSharedBias
from .sharing import Contribution, Proportional, Share
from .softmax import Overwrite
from .stabiliser import Stabiliser
from .w_square import WSquare
from .z_box import ZBox, ZBoxOfNumbers


@dataclass(frozen=True)
class Maker:
    """How a rule is made for layers of some classes.

    Attributes
    ----------
    layers
        Classes of layers, or their capabilities.
    make
        From an entry, and the numbers of the run.
    """

    layers: tuple[type[Layer], ...]
    make: Callable[[Entry, RuleParameters], AnyRule]


#: ε of rules that only have to avoid a division by 0.
_LEAST_EPSILON = 1e-9


def maker_for(rule: str, layer: Layer) -> Maker | None:
    """How a rule is made for a layer; None if the layer cannot have it."""
    return next((maker for maker in MAKERS[rule] if isinstance(layer, maker.layers)), None)


def _bias(entry: Entry) -> Literal["count", "ignore"]:
    return cast('Literal["count", "ignore"]', entry.parameter("bias", "count"))


def _epsilon(entry: Entry, run: RuleParameters) -> AnyRule:
    epsilon = entry.parameter("epsilon", run.epsilon)
    is_relative = isinstance(epsilon, tuple)
    stabiliser = Stabiliser(
        epsilon[1] if is_relative else epsilon,
        is_relative=is_relative,
        is_clipped=entry.parameter("clip", False),
        undivided_at_zero=run.quirks.Q4_undivided_at_zero,
    )
    return epsilon_rule(stabiliser, entry.parameter("bias", "count"))


def _gamma(entry: Entry, run: RuleParameters) -> AnyRule:
    return Gamma(entry.parameter("gamma", run.gamma), bias=_bias(entry))


def _gamma_2019(entry: Entry, run: RuleParameters) -> AnyRule:
    stabiliser = Stabiliser(entry.parameter("epsilon", _LEAST_EPSILON))
    return Gamma2019(entry.parameter("gamma", run.gamma), stabiliser, _bias(entry))


def _alpha_beta(entry: Entry, run: RuleParameters) -> AnyRule:
    alpha = entry.parameter("alpha")
    beta = entry.parameter("beta", run.beta) if alpha is None else alpha - 1
    if entry.parameter("bias") == "share":
        return AlphaBetaWithSharedBias(beta)
    return AlphaBeta(beta, run.quirks.Q5_first_group_bias, bias=_bias(entry))


def _z_plus(entry: Entry, run: RuleParameters) -> AnyRule:
    if entry.parameter("bias") == "share":
        return AlphaBetaWithSharedBias(0.0)
    return ZPlus(0.0, run.quirks.Q5_first_group_bias, bias=_bias(entry))


def _z_box(entry: Entry, run: RuleParameters) -> AnyRule:
    low, high = entry.parameter("low"), entry.parameter("high")
    return ZBox(run.lowest, run.highest) if low is None else ZBoxOfNumbers(low, high)


def _proportional(entry: Entry, run: RuleParameters) -> AnyRule:
    return Proportional(run.quirks.Q7_zero_sum_adds_activations)


def _plain(rule: AnyRule) -> Callable[[Entry, RuleParameters], AnyRule]:
    """The maker of a rule without parameters."""
    return lambda entry, parameters: rule


#: Rule -> its makers, of which the first that fits a layer counts.
MAKERS: Mapping[str, tuple[Maker, ...]] = {
    "epsilon": (Maker((Linear,), _epsilon),),
    "gamma": (Maker((Linear,), _gamma),),
    "gamma-2019": (Maker((Linear,), _gamma_2019),),
    "alpha-beta": (Maker((Linear,), _alpha_beta),),
    "z-plus": (Maker((Linear,), _z_plus),),
    "flat": (Maker((Linear,), lambda entry, run: Flat(run.quirks.Q6_flat_ignores_channels)),),
    "w-square": (Maker((Linear,), _plain(WSquare())),),
    "z-box": (Maker((Linear,), _z_box),),
    "gradient": (Maker((Layer,), _plain(Gradient())),),
    "pass": (Maker((Neuron, Normalization, ChannelNormalization, Softmax), _plain(Pass())),),
    "winner": (Maker((Winner,), _plain(Route())),),
    "proportional": (
        Maker((WindowAverage, MaxPooling), _proportional),
        Maker((Combination,), _plain(Contribution())),
        Maker((Aggregation,), _plain(Share())),
    ),
    "taylor": (Maker((ChannelNormalization,), _plain(TaylorNormalization())),),
    "overwrite": (Maker((Softmax,), _plain(Overwrite())),),
    "deconvolution": (Maker((ReLU,), _plain(PassPositive())),),
    "guided-backprop": (Maker((ReLU,), _plain(PassGuided())),),
    "softplus": (Maker((ReLU,), lambda entry, _: PassSmoothly(entry.parameter("sharpness", 10.0))),),
}
