"""Functions of single elements, and operators that do nothing at test time."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..layers import NetBuilder
from ..node import Node

_LARGEST = float(np.finfo(np.float32).max)
_CELU_ADVICE = "use alpha 1, which is ELU"

#: Type of the layer, and its parameters.
_Layer = tuple[str, dict[str, Any]]


def _power(power: float = 1.0, scale: float = 1.0, shift: float = 0.0) -> _Layer:
    return "Power", {"power_param": {"power": power, "scale": scale, "shift": shift}}


def _celu(node: Node) -> _Layer:
    if node.number("alpha", 1.0) != 1:
        raise node.error("is CELU with another alpha than 1", _CELU_ADVICE)
    return "ELU", {"elu_param": {"alpha": 1.0}}


def _gelu(node: Node) -> _Layer:
    exact = node.text("approximate", "none") == "none"
    return "GELU", {"gelu_param": {"approximate": "NONE"}} if exact else {}


#: Operator -> the layer for its attributes.
_LAYERS: Mapping[str, Callable[[Node], _Layer]] = {
    "Relu": lambda node: ("ReLU", {}),
    "LeakyRelu": lambda node: ("ReLU", {"relu_param": {"negative_slope": node.number("alpha", 0.01)}}),
    "Elu": lambda node: ("ELU", {"elu_param": {"alpha": node.number("alpha", 1.0)}}),
    "Celu": _celu,
    "Selu": lambda node: (
        "SELU",
        {"selu_param": {"alpha": node.number("alpha", 1.6732632), "lambda": node.number("gamma", 1.050701)}},
    ),
    "Gelu": _gelu,
    "Sigmoid": lambda node: ("Sigmoid", {}),
    "HardSigmoid": lambda node: (
        "HardSigmoid",
        {"hard_sigmoid_param": {"alpha": node.number("alpha", 0.2), "beta": node.number("beta", 0.5)}},
    ),
    "HardSwish": lambda node: ("HardSwish", {}),
    "Swish": lambda node: ("Swish", {"swish_param": {"beta": node.number("alpha", 1.0)}}),
    "Tanh": lambda node: ("TanH", {}),
    "Softplus": lambda node: ("BNLL", {}),
    "Exp": lambda node: ("Exp", {}),
    "Log": lambda node: ("Log", {}),
    "Abs": lambda node: ("AbsVal", {}),
    "Neg": lambda node: _power(scale=-1.0),
    "Sqrt": lambda node: _power(power=0.5),
    "Reciprocal": lambda node: _power(power=-1.0),
    "Affine": lambda node: _power(scale=node.number("scale", 1.0), shift=node.number("shift", 0.0)),
}


def _function(net: NetBuilder, node: Node) -> None:
    kind, parameters = _LAYERS[node.operator](node)
    value = net.value(node)
    net.bind(node.outputs[0], net.add(node, kind, (value,), value.shape, parameters))


def _bound(net: NetBuilder, node: Node, place: int, name: str, default: float) -> float:
    """A bound of Clip: an attribute, or a constant in newer opsets."""
    if name in node.attributes:
        found = float(node.attributes[name])
    else:
        array = net.optional_constant(node, place, f"{name}imum")
        if array is not None and array.size != 1:
            raise node.error(f"its {name}imum has {array.size} numbers", "export it as a single number")
        found = default if array is None else float(array.ravel()[0])
    if math.isnan(found):
        raise node.error(f"its {name}imum is not a number", "export the net again")
    return max(-_LARGEST, min(found, _LARGEST))


def clipped(lowest: float, highest: float) -> _Layer:
    """The layer that limits its input."""
    if lowest == 0:
        return ("ReLU", {}) if highest >= _LARGEST else ("ReLU6", {"relu6_param": {"threshold": highest}})
    return "Clip", {"clip_param": {"min": lowest, "max": highest}}


def _clip(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    lowest, highest = _bound(net, node, 1, "min", -_LARGEST), _bound(net, node, 2, "max", _LARGEST)
    if lowest > highest or lowest == highest == 0:
        raise node.error(f"limits its input to {lowest:g} … {highest:g}", "correct the limits")
    if (lowest, highest) == (-_LARGEST, _LARGEST):
        net.rename(node, value)
        return
    kind, parameters = clipped(lowest, highest)
    net.bind(node.outputs[0], net.add(node, kind, (value,), value.shape, parameters))


def _prelu(net: NetBuilder, node: Node) -> None:
    value, slopes = net.value(node), net.constant(node, 1, "slope")
    channels = value.shape[1] if len(value.shape) > 1 else 1
    of_channels = slopes.shape[-len(value.shape) + 1 :] if slopes.ndim >= len(value.shape) - 1 else ()
    is_shared = slopes.size == 1
    if not is_shared and (
        slopes.size != channels or of_channels != (channels, *(1,) * (len(value.shape) - 2))
    ):
        raise node.error(
            f"has slopes of shape {slopes.shape} for an input of {value.shape}",
            "use one slope, or one for every channel",
        )
    parameters = {"prelu_param": {"channel_shared": is_shared}}
    found = net.add(node, "PReLU", (value,), value.shape, parameters, (slopes.reshape(-1),), weights=1)
    net.bind(node.outputs[0], found)


def _nothing(net: NetBuilder, node: Node) -> None:
    net.note(f"{node.source}: left out, as it does nothing at test time")
    net.rename(node, net.value(node))


def _dropout(net: NetBuilder, node: Node) -> None:
    if node.has_input(2) and bool(net.constant(node, 2, "training_mode").any()):
        raise node.error("drops units at random, as in training", "call model.eval() before the export")
    _nothing(net, node)


def _cast(net: NetBuilder, node: Node) -> None:
    if node.integer("to", 0) not in (1, 10, 11, 16):
        raise node.error("makes integers of numbers that depend on the image", "cut the net off before it")
    _nothing(net, node)


CONVERTERS = {
    **dict.fromkeys(_LAYERS, _function),
    "Clip": _clip,
    "PRelu": _prelu,
    "Identity": _nothing,
    "Dropout": _dropout,
    "Cast": _cast,
}
