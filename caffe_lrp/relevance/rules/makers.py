"""From the names of rules in composites to rules: which layers can have them, and how they are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
from caffe_lrp.relevance.composite import Entry

from .alpha_beta import AlphaBeta, ZPlus
from .base import AnyRule, RuleParameters
from .epsilon import Epsilon
from .flat import Flat
from .gamma import Gamma
from .gradients import Gradient, PassGuided, PassPositive
from .normalization import TaylorNormalization
from .routing import Pass, Route
from .sharing import Contribution, Proportional, Share
from .softmax import Overwrite
from .w_square import WSquare
from .z_box import ZBox


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


def maker_for(rule: str, layer: Layer) -> Maker | None:
    """How a rule is made for a layer; None if the layer cannot have it."""
    return next((maker for maker in MAKERS[rule] if isinstance(layer, maker.layers)), None)


def _epsilon(entry: Entry, parameters: RuleParameters) -> AnyRule:
    return Epsilon(entry.parameter("epsilon", parameters.epsilon), parameters.quirks.Q4_undivided_at_zero)


def _alpha_beta(entry: Entry, parameters: RuleParameters) -> AnyRule:
    beta, alpha = entry.parameter("beta", parameters.beta), entry.parameter("alpha")
    return AlphaBeta(beta if alpha is None else alpha - 1, parameters.quirks.Q5_first_group_bias)


def _z_box(entry: Entry, parameters: RuleParameters) -> AnyRule:
    return ZBox(parameters.lowest, parameters.highest)


def _plain(rule: AnyRule) -> Callable[[Entry, RuleParameters], AnyRule]:
    """The maker of a rule without parameters."""
    return lambda entry, parameters: rule


#: Rule -> its makers, of which the first that fits a layer counts.
MAKERS: Mapping[str, tuple[Maker, ...]] = {
    "epsilon": (Maker((Linear,), _epsilon),),
    "gamma": (Maker((Linear,), lambda entry, run: Gamma(entry.parameter("gamma", run.gamma))),),
    "gamma-2019": (),
    "alpha-beta": (Maker((Linear,), _alpha_beta),),
    "z-plus": (Maker((Linear,), lambda entry, run: ZPlus(0.0, run.quirks.Q5_first_group_bias)),),
    "flat": (Maker((Linear,), lambda entry, run: Flat(run.quirks.Q6_flat_ignores_channels)),),
    "w-square": (Maker((Linear,), _plain(WSquare())),),
    "z-box": (Maker((Linear,), _z_box),),
    "gradient": (Maker((Layer,), _plain(Gradient())),),
    "pass": (Maker((Neuron, Normalization, ChannelNormalization, Softmax), _plain(Pass())),),
    "winner": (Maker((Winner,), _plain(Route())),),
    "proportional": (
        Maker((WindowAverage,), lambda entry, run: Proportional(run.quirks.Q7_zero_sum_adds_activations)),
        Maker((Combination,), _plain(Contribution())),
        Maker((Aggregation,), _plain(Share())),
    ),
    "taylor": (Maker((ChannelNormalization,), _plain(TaylorNormalization())),),
    "overwrite": (Maker((Softmax,), _plain(Overwrite())),),
    "deconvolution": (Maker((ReLU,), _plain(PassPositive())),),
    "guided-backprop": (Maker((ReLU,), _plain(PassGuided())),),
    "softplus": (),
}
