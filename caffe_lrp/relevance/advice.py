"""Which formula suits a net: decided only here, for messages and for the configs of the zoo.

The criteria were measured on nets with trained weights: manual: formulas, "How much a heatmap shows".
"""

import math
from dataclasses import dataclass

from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.heads import layers_below
from caffe_lrp.net.net import Net

from .composite import FormulaCode
from .plan import lowest_linear_layers

#: The share of the lowest layers' input that a window may cover if flat is to smooth a map, not blur it. On
#: LeNet, where it is 3 %, flat puts nearly half of the relevance next to the digit; on ResNet-20 for 32×32
#: pixels, where it is 1 %, flat improves maps.
_MOST_COVERED = 0.02


@dataclass(frozen=True)
class Advice:
    """A formula, and why it suits a net."""

    formula: FormulaCode
    reason: str


def suitable_formula(net: Net, output: int) -> Advice:
    """The formula to start with for ``output``, by the windows of the lowest linear layers below it.

    Convolutions always get z⁺: in deep nets αβ with β = 1 concentrates relevance in single pixels, and ε
    gives noise.
    """
    lowest = lowest_linear_layers(net)
    covered = max(
        (_covered(layer) for layer in layers_below(net, output) if layer.index in lowest), default=0.0
    )
    if covered > _MOST_COVERED:
        return Advice(
            "epsilon-plus",
            "z⁺ does not concentrate relevance in single pixels; flat would blur the picture, "
            f"because a window of the lowest layer covers {100 * covered:.0f} % of it",
        )
    return Advice(
        "epsilon-plus-flat",
        "flat spreads relevance over the windows of the lowest layer, and z⁺ does not concentrate it in "
        "single pixels",
    )


def _covered(layer: Layer) -> float:
    """Share of an input channel that an output of a linear layer sees, at most 1."""
    assert isinstance(layer, Linear)
    _, *sides = layer.input_shapes[0]
    return min(1.0, layer.taps / math.prod(sides))
