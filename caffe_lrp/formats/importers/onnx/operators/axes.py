"""Operators that move elements: other shapes and orders of axes, pieces, copies, borders."""

from collections.abc import Sequence

import numpy as np

from caffe_lrp.formats.spec import Shape

from ..advice import TRANSFORMER
from ..folding import axes_of, reshaped, slices_of
from ..layers import NetBuilder, Value
from ..node import Node
from ..tensors import Array

_NONE: Array = np.zeros(0, np.int64)
_FIXED = "export the net for inputs of a fixed size"


def axis_of(node: Node, shape: Shape, axis: int) -> int:
    """An axis, counted from the end if negative; never the batch axis."""
    found = axis + len(shape) if axis < 0 else axis
    if not 0 < found < len(shape):
        what = "the batch axis" if found == 0 else f"axis {axis} of a blob with {len(shape)} axes"
        raise node.error(f"works along {what}", "keep the batch axis first and apart")
    return found


def _arrays(net: NetBuilder, node: Node, what: str) -> list[Array]:
    """The constant inputs after the first, in its place an empty one."""
    found = [net.optional_constant(node, place, what) for place in range(1, len(node.inputs))]
    return [_NONE, *(_NONE if array is None else array for array in found)]


def _axes(net: NetBuilder, node: Node) -> tuple[int, ...] | None:
    if "axes" not in node.attributes and not node.has_input(1):
        return None
    return axes_of(node, _arrays(net, node, "axes"), 1)


def _transpose(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    order = node.integers("perm") or tuple(reversed(range(len(value.shape))))
    net.bind(node.outputs[0], net.permute(node, value, order))


def _reshape(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    try:
        shape = reshaped(value.shape, net.constant(node, 1, "shape"), node)
    except (ValueError, IndexError) as fault:
        raise node.error(
            f"cannot reshape its input: {fault}", f"{_FIXED}, and a batch of one image"
        ) from fault
    net.bind(node.outputs[0], net.reshape(node, value, shape))


def _flatten(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    axis = node.integer("axis", 1)
    if (axis + len(value.shape) if axis < 0 else axis) != 1:
        raise node.error(f"flattens from axis {axis} on", "flatten from axis 1 on, to keep the batch axis")
    size = 1
    for length in value.shape[1:]:
        size *= length
    net.bind(node.outputs[0], net.reshape(node, value, (value.shape[0], size)))


def _squeeze(net: NetBuilder, node: Node) -> None:
    value, axes = net.value(node), _axes(net, node)
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(value.shape) if axis and size == 1)
    dropped = {axis_of(node, value.shape, axis) for axis in axes}
    if any(value.shape[axis] != 1 for axis in dropped):
        raise node.error(f"drops axes {sorted(dropped)} of shape {value.shape}", _FIXED)
    shape = tuple(size for axis, size in enumerate(value.shape) if axis not in dropped)
    net.bind(node.outputs[0], net.reshape(node, value, shape))


def _unsqueeze(net: NetBuilder, node: Node) -> None:
    value, axes = net.value(node), _axes(net, node) or ()
    count = len(value.shape) + len(axes)
    new = {axis + count if axis < 0 else axis for axis in axes}
    if not new or len(new) != len(axes) or not all(0 < axis < count for axis in new):
        raise node.error(f"adds axes {axes} to shape {value.shape}", "keep the batch axis first")
    sizes = iter(value.shape)
    net.bind(
        node.outputs[0],
        net.reshape(node, value, tuple(1 if axis in new else next(sizes) for axis in range(count))),
    )


def _concat(net: NetBuilder, node: Node) -> None:
    if any(net.is_constant(node, place) for place in range(len(node.inputs))):
        raise node.error("joins constants to the image, as transformers do (class token)", TRANSFORMER)
    values = net.values(node)
    axis = axis_of(node, values[0].shape, node.integer("axis", 1))
    if len(values) == 1:
        net.rename(node, values[0])
        return
    others = {(len(value.shape), *value.shape[:axis], *value.shape[axis + 1 :]) for value in values}
    if len(others) > 1:
        raise node.error(f"joins shapes {', '.join(str(value.shape) for value in values)}", "check the net")
    first = values[0].shape
    shape = (*first[:axis], sum(value.shape[axis] for value in values), *first[axis + 1 :])
    net.bind(node.outputs[0], net.add(node, "Concat", values, shape, {"concat_param": {"axis": axis}}))


def _split(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    axis = axis_of(node, value.shape, node.integer("axis", 0))
    given = (
        axes_of(node, _arrays(net, node, "sizes"), 1, "split")
        if "split" in node.attributes or node.has_input(1)
        else None
    )
    count = len(node.outputs)
    part = -(-value.shape[axis] // count)
    sizes = given or (*(part,) * (count - 1), value.shape[axis] - part * (count - 1))
    if len(sizes) != count or sum(sizes) != value.shape[axis] or min(sizes) < 1:
        raise node.error(
            f"splits {value.shape[axis]} into {sizes} for {count} outputs", "export the net again"
        )
    for name, piece in zip(node.outputs, net.add_slices(node, value, axis, sizes), strict=True):
        net.bind(name, piece)


def _cut(net: NetBuilder, node: Node, value: Value, axis: int, first: int, last: int) -> Value:
    """Elements ``first`` to ``last``, excluding this one."""
    sizes = (first, last - first, value.shape[axis] - last)
    pieces = net.add_slices(node, value, axis, [size for size in sizes if size])
    return pieces[1 if first else 0]


def _slice(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    arrays = _arrays(net, node, "limits")
    try:
        cuts = slices_of(node, arrays, len(value.shape))
    except (ValueError, ZeroDivisionError) as fault:
        raise node.error(
            "has starts, ends, axes and steps of different lengths", "export the net again"
        ) from fault
    for axis, cut in sorted(cuts.items()):
        places = range(value.shape[axis])[cut] if cut.step else range(0)
        if places == range(value.shape[axis]):
            continue
        axis_of(node, value.shape, axis)
        value = picked(net, node, value, axis, places)
    net.bind(node.outputs[0], value)


def picked(net: NetBuilder, node: Node, value: Value, axis: int, places: Sequence[int]) -> Value:
    """Elements of an axis: some in a row, or all in reverse order."""
    size = value.shape[axis]
    if len(places) and list(places) == list(range(places[0], places[0] + len(places))):
        return _cut(net, node, value, axis, places[0], places[-1] + 1)
    if list(places) == list(reversed(range(size))):
        return net.add(node, "Flip", (value,), value.shape, {"flip_param": {"axis": axis}})
    raise node.error(
        f"picks {len(places)} of {size} elements of axis {axis} that are not next to each other",
        "replace it by a convolution with weights 0 and 1",
    )


def _gather(net: NetBuilder, node: Node) -> None:
    value, indices = net.value(node), net.constant(node, 1, "indices")
    axis = axis_of(node, value.shape, node.integer("axis", 0))
    size = value.shape[axis]
    if indices.ndim > 1 or indices.size > size or not indices.size:
        raise node.error(
            f"picks by indices of shape {indices.shape}", "pick elements that are next to each other"
        )
    places = [int(place) + size if place < 0 else int(place) for place in indices.ravel()]
    if not all(0 <= place < size for place in places):
        raise node.error(f"picks element {max(places)} of {size}", "export the net again")
    found = picked(net, node, value, axis, places)
    if not indices.ndim:
        found = net.reshape(node, found, (*value.shape[:axis], *value.shape[axis + 1 :]), "axes")
    net.bind(node.outputs[0], found)


def _expand(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    wanted = tuple(map(int, net.constant(node, 1, "shape").ravel()))
    if len(wanted) > len(value.shape):
        raise node.error(f"adds axes to shape {value.shape}", "keep the batch axis first")
    aligned = (*(1,) * (len(value.shape) - len(wanted)), *wanted)
    shape = tuple(have if want == 1 else want for have, want in zip(value.shape, aligned, strict=True))
    net.bind(node.outputs[0], net.repeat(node, value, shape))


def _tile(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    times = tuple(map(int, net.constant(node, 1, "repeats").ravel()))
    if len(times) != len(value.shape) or times[0] != 1 or min(times) < 1:
        raise node.error(f"repeats shape {value.shape} {times} times", "keep the batch as it is")
    for axis, count in enumerate(times):
        if count > 1:
            shape = (*value.shape[:axis], value.shape[axis] * count, *value.shape[axis + 1 :])
            value = net.add(node, "Tile", (value,), shape, {"tile_param": {"axis": axis, "tiles": count}})
    net.bind(node.outputs[0], value)


_MODES = {"constant": "CONSTANT", "edge": "EDGE", "reflect": "REFLECT"}


def _pad(net: NetBuilder, node: Node) -> None:
    value, mode = net.value(node), node.text("mode", "constant")
    pads = axes_of(node, _arrays(net, node, "pads"), 1, "pads") or ()
    axes = (
        tuple(map(int, net.constant(node, 3, "axes").ravel()))
        if node.has_input(3)
        else tuple(range(len(value.shape)))
    )
    number = net.optional_constant(node, 2, "value") if node.has_input(2) else None
    fill = node.number("value", 0.0) if number is None else float(number.ravel()[0])
    if mode not in _MODES or len(pads) != 2 * len(axes):
        raise node.error(
            f"pads {axes} by {pads} in mode '{mode}'", "pad by a constant, by the edge or by reflection"
        )
    begins, ends = [0] * len(value.shape), [0] * len(value.shape)
    for place, axis in enumerate(axes):
        begins[axis % len(value.shape)], ends[axis % len(value.shape)] = pads[place], pads[place + len(axes)]
    net.bind(node.outputs[0], padded(net, node, value, (begins, ends), _MODES[mode], fill))


def padded(
    net: NetBuilder,
    node: Node,
    value: Value,
    border: tuple[Sequence[int], Sequence[int]],
    mode: str,
    fill: float = 0.0,
) -> Value:
    """``value`` with a border of elements before and after each axis."""
    begins, ends = border
    touched = [axis for axis, counts in enumerate(zip(begins, ends, strict=True)) if any(counts)]
    if not touched:
        return value
    if touched[0] == 0 or min(*begins, *ends) < 0:
        raise node.error(
            f"pads shape {value.shape} by {tuple(begins)} and {tuple(ends)}", "cut by Slice instead"
        )
    first = min(touched[0], 2 if len(value.shape) == 4 else touched[0])
    shape = tuple(map(sum, zip(begins, value.shape, ends, strict=True)))
    numbers = {"begin": list(begins[first:]), "end": list(ends[first:]), "mode": mode, "axis": first}
    if fill:
        numbers["value"] = fill
    return net.add(
        node, "Pad", (value,), shape, {"pad_param": numbers}, what="" if node.operator == "Pad" else "pad"
    )


def _depth_to_space(net: NetBuilder, node: Node) -> None:
    value, block = net.value(node), node.integer("blocksize", 0)
    if len(value.shape) != 4 or block < 1 or value.shape[1] % (block * block):
        raise node.error(f"rearranges shape {value.shape} by blocks of {block}", "check the net")
    batch, channels, height, width = value.shape
    rest = channels // block**2
    is_deep = node.text("mode", "DCR") == "DCR"
    inner = (block, block, rest) if is_deep else (rest, block, block)
    apart = net.reshape(node, value, (batch, *inner, height, width), "apart")
    turned = net.permute(node, apart, (0, 3, 4, 1, 5, 2) if is_deep else (0, 1, 4, 2, 5, 3), "order")
    net.bind(node.outputs[0], net.reshape(node, turned, (batch, rest, height * block, width * block)))


CONVERTERS = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
}
