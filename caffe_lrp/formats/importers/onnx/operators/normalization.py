"""Normalization, and Softmax."""

import math

import numpy as np

from ..layers import NetBuilder
from ..node import Node
from .axes import axis_of


def _batch_norm(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    if node.integer("training_mode", 0) or len([name for name in node.outputs if name]) > 1:
        raise node.error(
            "normalizes by statistics of the batch, as in training", "call model.eval() before the export"
        )
    if not node.integer("spatial", 1) or len(value.shape) < 2:
        raise node.error("normalizes every element on its own", "normalize channels")
    channels = value.shape[1]
    scale, bias, mean, variance = (
        net.constant(node, place, what) for place, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    if any(array.shape != (channels,) for array in (scale, bias, mean, variance)):
        raise node.error(f"has statistics that do not fit {channels} channels", "export the net again")
    epsilon = node.number("epsilon", 1e-5)
    if not variance.min() + epsilon > 0:
        raise node.error(f"has a variance of {variance.min():.3g}", "export the net again")
    blobs = (mean, variance, np.ones(1, np.float32))
    normal = net.add(
        node, "BatchNorm", (value,), value.shape, {"batch_norm_param": {"eps": epsilon}}, blobs, weights=1
    )
    parameters = {"scale_param": {"bias_term": True}}
    found = net.add(node, "Scale", (normal,), value.shape, parameters, (scale, bias), weights=1, what="scale")
    net.bind(node.outputs[0], found)


def _lrn(net: NetBuilder, node: Node) -> None:
    value, size = net.value(node), node.integer("size", 0)
    if size < 1 or size % 2 == 0 or len(value.shape) != 4:
        raise node.error(
            f"normalizes over {size} channels of shape {value.shape}", "use an odd size, on images"
        )
    numbers = {"local_size": size, "alpha": node.number("alpha", 1e-4), "beta": node.number("beta", 0.75)}
    numbers["k"] = node.number("bias", 1.0)
    net.bind(node.outputs[0], net.add(node, "LRN", (value,), value.shape, {"lrn_param": numbers}))


def _softmax(net: NetBuilder, node: Node) -> None:
    """Softmax over an axis; before opset 13, over it and all axes after it."""
    value = net.value(node)
    axis = axis_of(node, value.shape, node.integer("axis", 1 if net.opset < 13 else -1))
    inner = value
    if net.opset < 13 and math.prod(value.shape[axis + 1 :]) > 1:
        inner = net.reshape(node, value, (*value.shape[:axis], math.prod(value.shape[axis:])), "flat")
    found = net.add(node, "Softmax", (inner,), inner.shape, {"softmax_param": {"axis": axis}})
    if node.operator == "LogSoftmax":
        found = net.add(node, "Log", (found,), found.shape, what="log")
    net.bind(node.outputs[0], net.reshape(node, found, value.shape, "shape"))


CONVERTERS = {"BatchNormalization": _batch_norm, "LRN": _lrn, "Softmax": _softmax, "LogSoftmax": _softmax}
