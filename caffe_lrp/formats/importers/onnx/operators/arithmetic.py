"""Sums, products and the like, of two blobs, or of a blob and constants."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe_lrp.formats.spec import Shape

from ..layers import NetBuilder, Value
from ..node import Node
from ..tensors import Array
from .functions import clipped

_LARGEST = float(np.finfo(np.float32).max)
_ORDER_ADVICE = "export the net again, with constant folding"


def _span(node: Node, numbers: Array, shape: Shape) -> tuple[int, Array]:
    """The first axis that constants differ along, and those for it and later axes; a number has no axes."""
    if numbers.ndim > len(shape):
        raise node.error(
            f"combines an input of {shape} with constants of {numbers.shape}", "give both as many axes"
        )
    whole = numbers.reshape((1,) * (len(shape) - numbers.ndim) + numbers.shape)
    if any(own not in (1, size) for own, size in zip(whole.shape, shape, strict=True)):
        raise node.error(
            f"repeats an input of {shape} to fit constants of {numbers.shape}",
            "expand the input first (Expand)",
        )
    differing = [axis for axis, own in enumerate(whole.shape) if own != 1]
    if not differing:
        return 0, whole.reshape(())
    first, last = differing[0], differing[-1]
    if first == 0:
        raise node.error(
            "has different constants for the images of a batch", "export the net with a batch of one image"
        )
    inner = whole.reshape(whole.shape[first : last + 1])
    return first, np.broadcast_to(inner, shape[first : last + 1])


def scaled(
    net: NetBuilder, node: Node, value: Value, numbers: Array, what: str = "", weights: int | None = None
) -> Value:
    """``value`` times constants."""
    first, factors = _span(node, numbers, value.shape)
    if factors.ndim == 0:
        return _power(net, node, value, {"scale": float(factors)}, what)
    parameters = {"scale_param": {"axis": first, "num_axes": factors.ndim}}
    return net.add(node, "Scale", (value,), value.shape, parameters, (factors,), what=what, weights=weights)


def shifted(
    net: NetBuilder, node: Node, value: Value, numbers: Array, what: str = "", weights: int | None = None
) -> Value:
    """``value`` plus constants."""
    first, summands = _span(node, numbers, value.shape)
    if summands.ndim == 0:
        return _power(net, node, value, {"shift": float(summands)}, what)
    parameters = {"bias_param": {"axis": first, "num_axes": summands.ndim}}
    return net.add(node, "Bias", (value,), value.shape, parameters, (summands,), what=what, weights=weights)


def _power(net: NetBuilder, node: Node, value: Value, numbers: dict[str, float], what: str = "") -> Value:
    if not all(np.isfinite(number) and abs(number) <= _LARGEST for number in numbers.values()):
        raise node.error("has a constant that is NaN or infinite", "export the net again")
    return net.add(node, "Power", (value,), value.shape, {"power_param": numbers}, what=what)


def _same_axes(net: NetBuilder, node: Node, values: Sequence[Value]) -> tuple[Value, ...]:
    """The blobs with axes of size 1 added, so that all have as many; the batch axis stays first."""
    most = max(len(value.shape) for value in values)
    return tuple(
        net.reshape(
            node, value, (value.shape[0], *(1,) * (most - len(value.shape)), *value.shape[1:]), "axes"
        )
        for value in values
        if _require_batch(node, value, most)
    )


def _require_batch(node: Node, value: Value, axes: int) -> bool:
    """Whether a blob can be aligned from its last axis on; it always is so, or an error."""
    if len(value.shape) < axes and value.shape[0] != 1:
        raise node.error(
            "lines up the batch axis of one blob with another axis", "keep the number of axes the same"
        )
    return True


def _eltwise(net: NetBuilder, node: Node, values: Sequence[Value], parameters: dict[str, Any]) -> Value:
    return net.add(node, "Eltwise", values, values[0].shape, {"eltwise_param": parameters})


def _broadcast_shape(node: Node, values: Sequence[Value]) -> Shape:
    try:
        return tuple(map(int, np.broadcast_shapes(*(value.shape for value in values))))
    except ValueError as fault:
        shapes = ", ".join(str(value.shape) for value in values)
        raise node.error(f"combines blobs of shapes {shapes}", "check the net") from fault


def added(net: NetBuilder, node: Node, values: Sequence[Value], signs: Sequence[float]) -> Value:
    """The sum of blobs with signs."""
    if len({value.blob for value in values}) == 1:
        return _power(net, node, values[0], {"scale": float(sum(signs))})
    aligned = _same_axes(net, node, values)
    shape = _broadcast_shape(node, aligned)
    if all(value.shape == shape for value in aligned):
        return _eltwise(
            net, node, aligned, {"operation": "SUM"} | ({"coeff": list(signs)} if min(signs) < 0 else {})
        )
    terms = [
        value if sign > 0 else _power(net, node, value, {"scale": -1.0}, "negated")
        for value, sign in zip(aligned, signs, strict=True)
    ]
    return net.add(node, "Add", terms, shape)


def _product(net: NetBuilder, node: Node, values: Sequence[Value]) -> Value:
    if values[0].blob == values[1].blob:
        return _power(net, node, values[0], {"power": 2.0})
    aligned = _same_axes(net, node, values)
    shape = _broadcast_shape(node, aligned)
    for x, gate in (aligned, aligned[::-1]):
        if x.shape == shape and gate.shape == (*shape[:2], *(1,) * (len(shape) - 2)) and gate.shape != shape:
            numbers = net.reshape(node, gate, shape[:2], "numbers")
            return net.add(node, "Scale", (x, numbers), shape, {"scale_param": {"axis": 0}})
    return _eltwise(net, node, [net.repeat(node, value, shape) for value in aligned], {"operation": "PROD"})


def _pair(net: NetBuilder, node: Node) -> tuple[Value, Array, bool] | None:
    """The blob, the constants, and whether these come first; None if no input is constant."""
    if len(node.inputs) != 2:
        raise node.error(f"has {len(node.inputs)} inputs instead of 2", "export the net again")
    if net.is_constant(node, 0):
        return net.value(node, 1), net.constant(node, 0, "first input"), True
    return (
        (net.value(node, 0), net.constant(node, 1, "second input"), False)
        if net.is_constant(node, 1)
        else None
    )


def _add(net: NetBuilder, node: Node) -> None:
    pair = _pair(net, node)
    found = (
        shifted(net, node, *pair[:2], weights=None)
        if pair
        else added(net, node, net.values(node), (1.0, 1.0))
    )
    net.bind(node.outputs[0], found)


def _sub(net: NetBuilder, node: Node) -> None:
    pair = _pair(net, node)
    if pair is None:
        found = added(net, node, net.values(node), (1.0, -1.0))
    elif pair[2]:
        found = shifted(net, node, _power(net, node, pair[0], {"scale": -1.0}, "negated"), pair[1])
    else:
        found = shifted(net, node, pair[0], -pair[1])
    net.bind(node.outputs[0], found)


def _mul(net: NetBuilder, node: Node) -> None:
    pair = _pair(net, node)
    net.bind(node.outputs[0], scaled(net, node, *pair[:2]) if pair else _product(net, node, net.values(node)))


def _div(net: NetBuilder, node: Node) -> None:
    pair = _pair(net, node)
    if pair is None:
        raise node.error(
            "divides by numbers that depend on the image, for which there is no rule",
            "cut the net off before it",
        )
    value, numbers, is_first = pair
    if is_first:
        inverse = _power(net, node, value, {"power": -1.0}, "inverse")
        found = (
            inverse if numbers.size == 1 and numbers.ravel()[0] == 1 else scaled(net, node, inverse, numbers)
        )
    elif not numbers.all():
        raise node.error("divides by 0", "export the net again")
    else:
        found = scaled(net, node, value, 1 / numbers.astype(np.float64))
    net.bind(node.outputs[0], found)


def _pow(net: NetBuilder, node: Node) -> None:
    value, exponent = net.value(node), net.constant(node, 1, "exponent")
    if exponent.size != 1:
        raise node.error("has an exponent for every element", "use a single one")
    net.bind(node.outputs[0], _power(net, node, value, {"power": float(exponent.ravel()[0])}))


def _sum(net: NetBuilder, node: Node) -> None:
    values = net.values(node)
    found = values[0] if len(values) == 1 else added(net, node, values, (1.0,) * len(values))
    net.bind(node.outputs[0], found)


def _extreme(net: NetBuilder, node: Node) -> None:
    """Max and Min: of blobs of the same shape, or a limit."""
    is_max = node.operator == "Max"
    pair = _pair(net, node) if len(node.inputs) == 2 else None
    if pair is None:
        values = net.values(node)
        if any(value.shape != values[0].shape for value in values):
            raise node.error("compares blobs of different shapes", "expand them first (Expand)")
        found = values[0]
        if len(values) > 1:
            found = _eltwise(net, node, values, {"operation": "MAX" if is_max else "MIN"})
    elif pair[1].size != 1:
        raise node.error("has a limit for every element", "use a single one")
    else:
        limit = float(pair[1].ravel()[0])
        kind, parameters = clipped(*((limit, _LARGEST) if is_max else (-_LARGEST, limit)))
        found = net.add(node, kind, pair[:1], pair[0].shape, parameters)
    net.bind(node.outputs[0], found)


CONVERTERS = {
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Pow": _pow,
    "Sum": _sum,
    "Max": _extreme,
    "Min": _extreme,
}
