"""Computing with constants and shapes: what an exporter writes as nodes though no image changes it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_lrp.formats.spec import Shape

from .node import Node
from .tensors import DTYPES, Array, Constant

#: Numbers that a node may make from constants; the largest weights have fewer.
LARGEST_RESULT = 2**28
_ADVICE = "export the net again, with constant folding"

#: Inputs, node, opset -> the output.
Fold = Callable[[Sequence[Array], Node, int], Array]


def folded(node: Node, inputs: Sequence[Array | None], opset: int) -> Array:
    """The only output of a node whose inputs are all constants; absent inputs are None.

    Raises
    ------
    ModelError
        The operator is not in the table, or its inputs make no sense.
    """
    fold = FOLDS.get(node.operator)
    if fold is None or node.domain:
        raise node.error("computes with constants in a way that is not supported", _ADVICE)
    arrays = [array for array in inputs if array is not None]
    try:
        with np.errstate(all="ignore"):
            result = fold(arrays, node, opset)
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as fault:
        raise node.error(f"cannot be computed from its constants: {fault}", _ADVICE) from fault
    _require_size(math.prod(result.shape))
    return np.asarray(result)


def _require_size(count: float) -> None:
    if not count <= LARGEST_RESULT:
        raise ValueError(f"the result would have {count:.3g} numbers")


def _broadcast(operation: Callable[..., Any]) -> Fold:
    def fold(inputs: Sequence[Array], node: Node, opset: int) -> Array:
        shape = np.broadcast_shapes(*(array.shape for array in inputs))
        _require_size(math.prod(shape))
        return np.asarray(operation(*inputs))

    return fold


def _quotient(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if not b.all():
        raise ZeroDivisionError("division by 0")
    return np.asarray((a - np.fmod(a, b)) // b)  # towards zero, as in C


def _shape(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    return shape_slice(inputs[0].shape, node)


def shape_slice(shape: Shape, node: Node) -> Array:
    """What operator Shape makes of a shape."""
    return np.array(shape[node.integer("start", 0) : node.integer("end", len(shape))], np.int64)


def _gather(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    data, indices = inputs
    _require_size(data.size // max(1, data.shape[node.integer("axis", 0)]) * indices.size)
    return np.take(data, indices, axis=node.integer("axis", 0))


def axes_of(node: Node, inputs: Sequence[Array], place: int, name: str = "axes") -> tuple[int, ...] | None:
    """A list of integers, which newer opsets have as a constant input; None if it is not given."""
    if name in node.attributes:
        return node.integers(name)
    return tuple(map(int, inputs[place].ravel())) if place < len(inputs) else None


def _unsqueeze(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    return np.expand_dims(inputs[0], axes_of(node, inputs, 1) or ())


def _squeeze(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    return np.squeeze(inputs[0], axes_of(node, inputs, 1))


def slices_of(node: Node, inputs: Sequence[Array], axes: int) -> dict[int, slice]:
    """Axis -> slice, of operator Slice, whose first input has ``axes`` axes."""
    starts, ends, *rest = (
        (node.integers("starts"), node.integers("ends"), node.integers("axes"))
        if "starts" in node.attributes
        else [tuple(map(int, array.ravel())) for array in inputs[1:]]
    )
    along = rest[0] if rest and rest[0] else range(len(starts))
    steps = rest[1] if len(rest) > 1 else (1,) * len(starts)
    return {
        axis % axes: slice(first, None if step < 0 and last < -(2**31) + 2 else last, step)
        for axis, first, last, step in zip(along, starts, ends, steps, strict=True)
    }


def _slice(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    cuts = slices_of(node, inputs, inputs[0].ndim)
    return np.asarray(inputs[0][tuple(cuts.get(axis, slice(None)) for axis in range(inputs[0].ndim))])


def _cast(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    kind = node.integer("to", 0)
    if kind not in DTYPES:
        raise ValueError(f"cast to type {kind}")
    return inputs[0].astype("<f4" if kind == 16 else DTYPES[kind])  # bfloat16 is computed in float32


def _reshape(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    return inputs[0].reshape(reshaped(inputs[0].shape, inputs[1], node))


def reshaped(shape: Shape, wanted: Array, node: Node) -> Shape:
    """The shape that operator Reshape gives; 0 copies an axis, −1 follows from the others."""
    sizes = [int(size) for size in wanted.ravel()]
    if not node.integer("allowzero", 0):
        sizes = [size or shape[place] for place, size in enumerate(sizes)]
    if sizes.count(-1) > 1 or min(sizes, default=1) < -1:
        raise ValueError(f"the sizes {tuple(sizes)} are no shape")
    if -1 in sizes:
        others = -math.prod(sizes)
        sizes[sizes.index(-1)] = math.prod(shape) // others if others else 0
    if math.prod(sizes) != math.prod(shape):
        raise ValueError(f"numbers of shape {shape} do not fit into shape {tuple(sizes)}")
    return tuple(sizes)


def _expand(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(map(int, inputs[1].ravel())))
    _require_size(math.prod(shape))
    return np.broadcast_to(inputs[0], shape)


def _tile(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    repeats = [int(times) for times in inputs[1].ravel()]
    _require_size(inputs[0].size * math.prod(repeats))
    return np.tile(inputs[0], repeats)


def _range(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    start, limit, delta = (array.item() for array in inputs)
    _require_size(abs((limit - start) / delta))
    return np.arange(start, limit, delta, dtype=inputs[0].dtype)


def _constant_of_shape(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    shape = tuple(int(size) for size in inputs[0].ravel())
    _require_size(math.prod(shape))
    value = node.tensor("value")
    return np.full(shape, value.load().ravel()[0]) if value is not None else np.zeros(shape, np.float32)


def constant_in(node: Node) -> Array | Constant:
    """What operator Constant holds."""
    value = node.tensor("value")
    if value is not None:
        return value
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in node.attributes:
            return np.array(node.attributes[name], dtype)
    raise node.error("has no numbers", "export the net again")


def _concat(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    return np.concatenate(inputs, axis=node.integer("axis", 0))


def _transpose(inputs: Sequence[Array], node: Node, opset: int) -> Array:
    return np.transpose(inputs[0], node.integers("perm") or None)


def _reduction(operation: Callable[..., Any]) -> Fold:
    def fold(inputs: Sequence[Array], node: Node, opset: int) -> Array:
        return np.asarray(
            operation(inputs[0], axis=axes_of(node, inputs, 1), keepdims=bool(node.integer("keepdims", 1)))
        )

    return fold


FOLDS: Mapping[str, Fold] = {
    "Add": _broadcast(np.add),
    "Sub": _broadcast(np.subtract),
    "Mul": _broadcast(np.multiply),
    "Div": _broadcast(_quotient),
    "Pow": _broadcast(np.power),
    "Mod": _broadcast(np.mod),
    "Neg": _broadcast(np.negative),
    "Abs": _broadcast(np.abs),
    "Sqrt": _broadcast(np.sqrt),
    "Exp": _broadcast(np.exp),
    "Reciprocal": _broadcast(np.reciprocal),
    "Floor": _broadcast(np.floor),
    "Ceil": _broadcast(np.ceil),
    "Max": _broadcast(lambda *arrays: np.maximum.reduce(np.broadcast_arrays(*arrays))),
    "Min": _broadcast(lambda *arrays: np.minimum.reduce(np.broadcast_arrays(*arrays))),
    "Equal": _broadcast(np.equal),
    "Less": _broadcast(np.less),
    "Greater": _broadcast(np.greater),
    "Not": _broadcast(np.logical_not),
    "And": _broadcast(np.logical_and),
    "Or": _broadcast(np.logical_or),
    "Where": _broadcast(np.where),
    "Shape": _shape,
    "Size": lambda inputs, node, opset: np.array(inputs[0].size, np.int64),
    "Gather": _gather,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Cast": _cast,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Concat": _concat,
    "Transpose": _transpose,
    "Identity": lambda inputs, node, opset: inputs[0],
    "ReduceProd": _reduction(np.prod),
    "ReduceSum": _reduction(np.sum),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
}
