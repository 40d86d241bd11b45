"""Pooling, and means and sums over axes."""

from typing import Any

import numpy as np

from caffe_lrp.formats.spec import Shape

from ..folding import axes_of
from ..layers import NetBuilder, Value
from ..node import Node
from .windows import Geometry, geometry, kernel_shape, require_image

_REDUCTIONS = {"ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "MAX"}
_IMAGE_AXES = {2, 3}


def _max_pool(net: NetBuilder, node: Node) -> None:
    if len([name for name in node.outputs if name]) > 1:
        raise node.error(
            "has a second output, the positions of the maxima", "export the net without unpooling"
        )
    net.bind(node.outputs[0], _pooled(net, node, "MAX"))


def _average_pool(net: NetBuilder, node: Node) -> None:
    counts = bool(node.integer("count_include_pad", 0))
    net.bind(node.outputs[0], _pooled(net, node, "AVE" if counts else "AVE_EXC_PAD"))


def _pooled(net: NetBuilder, node: Node, method: str) -> Value:
    value = net.value(node)
    require_image(node, value.shape)
    window = geometry(node, value.shape, kernel_shape(node))
    if method != "MAX" and max(window.dilation) > 1:
        raise node.error("takes means over pixels that are not next to each other", "use dilation 1")
    rounds_up = bool(node.integer("ceil_mode", 0)) and node.text("auto_pad", "NOTSET") in ("NOTSET", "")
    is_padded = any((*window.begins, *window.ends))
    parameters: dict[str, Any] = {"pool": "AVE" if method == "AVE_EXC_PAD" and not is_padded else method}
    parameters |= window.parameters()
    size = _size(node, window, value.shape, rounds_up)
    if rounds_up:
        parameters["round_mode"] = (
            "CEIL" if is_padded or size == _caffe_size(window, value.shape) else "CEIL_INSIDE"
        )
    else:
        parameters["round_mode"] = "FLOOR"
    if max(window.dilation) > 1:
        parameters["dilation"] = list(window.dilation)
    return net.add(node, "Pooling", (value,), (*value.shape[:2], *size), {"pooling_param": parameters})


def _size(node: Node, window: Geometry, shape: Shape, rounds_up: bool) -> list[int]:
    """Height and width of the output; a last window outside the image is dropped."""
    found = []
    for length, extent, stride, begin, end in zip(
        shape[2:], window.extent, window.stride, window.begins, window.ends, strict=True
    ):
        if max(begin, end) >= extent:
            raise node.error(
                f"has padding {max(begin, end)} for windows of {extent} pixels", "make it smaller"
            )
        span = length + begin + end - extent
        steps = (-(-span // stride) if rounds_up else span // stride) + 1
        found.append(steps - 1 if rounds_up and (steps - 1) * stride >= length + begin else steps)
    return found


def _caffe_size(window: Geometry, shape: Shape) -> list[int]:
    """The same in Caffe without padding, where last windows outside the image are kept."""
    return [
        -(-(length - extent) // stride) + 1
        for length, extent, stride in zip(shape[2:], window.extent, window.stride, strict=True)
    ]


def _global_pool(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    require_image(node, value.shape)
    net.bind(
        node.outputs[0], _of_image(net, node, value, "AVE" if node.operator == "GlobalAveragePool" else "MAX")
    )


def _of_image(net: NetBuilder, node: Node, value: Value, method: str) -> Value:
    parameters = {"pooling_param": {"pool": method, "global_pooling": True}}
    return net.add(node, "Pooling", (value,), (*value.shape[:2], 1, 1), parameters)


def _reduce(net: NetBuilder, node: Node) -> None:
    given, operation = net.value(node), _REDUCTIONS[node.operator]
    arrays = [np.zeros(0, np.int64), *([net.constant(node, 1, "axes")] if node.has_input(1) else [])]
    listed = axes_of(node, arrays, 1)
    if not listed and node.integer("noop_with_empty_axes", 0):
        net.rename(node, given)
        return
    count = len(given.shape)
    axes = {axis + count if axis < 0 else axis for axis in listed or range(count)}
    if not axes <= set(range(1, count)):
        raise node.error(f"reduces axes {sorted(axes)} of shape {given.shape}", "keep the batch axis")
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(given.shape))
    found = _reduced(net, node, given, axes, operation)
    if not node.integer("keepdims", 1):
        shape = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    net.bind(node.outputs[0], net.reshape(node, found, shape if len(shape) > 1 else (*shape, 1), "axes"))


def _reduced(net: NetBuilder, node: Node, value: Value, axes: set[int], operation: str) -> Value:
    """The mean, sum or maximum over axes; axes of size 1 may be left."""
    before = net.drafts.writers.get(value.blob)
    if (
        before is not None and before.type == "Permute"
    ):  # reduce the channels-first blob that it was made from
        order = before.parameters["permute_param"]["order"]
        own = {order[axis] for axis in axes}
        if own == _IMAGE_AXES and len(order) == 4:
            value, axes = Value(before.bottoms[0], net.drafts.shapes[before.bottoms[0]]), own
    if axes == _IMAGE_AXES and len(value.shape) == 4 and operation != "SUM":
        return _of_image(net, node, value, "AVE" if operation == "MEAN" else "MAX")
    if operation == "MAX":
        raise node.error(f"takes the maximum over axes {sorted(axes)}", "take it over height and width")
    kept = [axis for axis in range(len(value.shape)) if axis not in axes]
    turned = net.permute(node, value, [*kept, *sorted(axes)], "order")
    parameters = {"reduction_param": {"operation": operation, "axis": len(kept)}}
    if len(kept) == 1:  # one number for each image keeps an axis
        return net.add(node, "Reduction", (turned,), (value.shape[0], 1), parameters)
    return net.add(node, "Reduction", (turned,), tuple(value.shape[axis] for axis in kept), parameters)


CONVERTERS = {
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    **dict.fromkeys(_REDUCTIONS, _reduce),
}
