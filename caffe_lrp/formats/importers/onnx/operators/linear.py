"""Fully connected layers."""

import numpy as np

from ..advice import TRANSFORMER
from ..layers import NetBuilder, Value
from ..node import Node
from ..tensors import Array
from .arithmetic import shifted


def inner_product(net: NetBuilder, node: Node, value: Value, rows: Array, bias: Array | None) -> Value:
    """``value`` times ``rows`` (outputs, inputs), along its last axis."""
    if rows.shape[1] != value.shape[-1]:
        raise node.error(
            f"multiplies shape {value.shape} by weights for {rows.shape[1]} inputs", "export the net again"
        )
    numbers = {"num_output": len(rows), "bias_term": bias is not None}
    if len(value.shape) > 2:
        numbers["axis"] = len(value.shape) - 1
    blobs = [rows] if bias is None else [rows, bias]
    shape = (*value.shape[:-1], len(rows))
    return net.add(node, "InnerProduct", (value,), shape, {"inner_product_param": numbers}, blobs, weights=1)


def _gemm(net: NetBuilder, node: Node) -> None:
    value, shape = net.value(node), net.constant_shape(node, 1, "weights")
    if node.integer("transA", 0):
        raise node.error("transposes the image's batch", "export it with transA=0")
    if len(value.shape) != 2 or len(shape) != 2:
        raise node.error(f"multiplies shapes {value.shape} and {shape}", "flatten the input first")
    weights = net.constant(node, 1, "weights")
    rows = weights if node.integer("transB", 0) else weights.T
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if alpha != 1:
        rows = rows * np.float32(alpha)
    if not node.has_input(2):
        net.bind(node.outputs[0], inner_product(net, node, value, rows, None))
        return
    bias = net.constant(node, 2, "bias") * np.float32(beta)
    if bias.ndim <= 2 and bias.size in (1, len(rows)) and (bias.ndim < 2 or len(bias) == 1):
        bias = np.broadcast_to(bias.reshape(-1), (len(rows),))
        net.bind(node.outputs[0], inner_product(net, node, value, rows, bias))
        return
    net.bind(node.outputs[0], shifted(net, node, inner_product(net, node, value, rows, None), bias))


def _matmul(net: NetBuilder, node: Node) -> None:
    if not (net.is_constant(node, 0) or net.is_constant(node, 1)):
        raise node.error("multiplies two matrices that depend on the image, as attention does", TRANSFORMER)
    value, shape = net.value(node), net.constant_shape(node, 1, "weights")
    if len(shape) != 2 or len(value.shape) < 2:
        raise node.error(f"multiplies shapes {value.shape} and {shape}", "use weights of 2 axes")
    rows = net.constant(node, 1, "weights").T
    net.bind(node.outputs[0], inner_product(net, node, value, rows, None))


CONVERTERS = {"Gemm": _gemm, "MatMul": _matmul}
