"""Layers with several inputs or outputs: they move elements, or combine them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import EltwiseParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob, flat

from .base import Blobs, Combination, Layer, Router, Winner, register
from .geometry import canonical_axis


@register("Split")
class Split(Router):
    """Copies of one blob for several layers; their relevance or gradients are summed."""

    output_counts: ClassVar[tuple[int, int | None]] = (1, None)
    is_alias = True

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (inputs[0],) * len(self.outputs)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        if len(gradients) == 1:
            return (gradients[0],)
        total = np.add(gradients[0], gradients[1], out=workspace.empty(gradients[0].shape))
        for gradient in gradients[2:]:
            total += gradient
        return (total,)


@register("Concat")
@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Router):
    """Blobs joined along one axis; in the backward pass each receives its slice."""

    input_counts: ClassVar[tuple[int, int | None]] = (1, None)

    axis: int

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Concat":
        parameters = spec.parameters.concat_param
        old_style = parameters.HasField("concat_dim")
        shapes: tuple[Shape, ...] = node["input_shapes"]
        axis = canonical_axis(parameters.concat_dim if old_style else parameters.axis, shapes[0])
        for shape in shapes[1:]:
            if len(shape) != len(shapes[0]) or _without(axis, shape) != _without(axis, shapes[0]):
                raise ModelError(
                    f"bottoms of shapes {shapes} cannot be joined along axis {axis + 1}; "
                    "check concat_param and the layers that write them"
                )
        return cls(axis=axis, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        first = self.input_shapes[0]
        joined = sum(shape[self.axis] for shape in self.input_shapes)
        return ((*first[: self.axis], joined, *first[self.axis + 1 :]),)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty((len(inputs[0]), *self.output_shapes[0]))
        return (np.concatenate(inputs, axis=self.axis + 1, out=out),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return _pieces(gradients[0], [shape[self.axis] for shape in self.input_shapes], self.axis, workspace)


@register("Slice")
@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Router):
    """One blob cut into pieces along one axis; in the backward pass they are joined.

    ``sizes`` are the sizes of the pieces.
    """

    output_counts: ClassVar[tuple[int, int | None]] = (1, None)

    axis: int
    sizes: tuple[int, ...]

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Slice":
        parameters = spec.parameters.slice_param
        old_style = parameters.HasField("slice_dim")
        shape: Shape = node["input_shapes"][0]
        axis = canonical_axis(parameters.slice_dim if old_style else parameters.axis, shape)
        points = tuple(parameters.slice_point)
        return cls(axis=axis, sizes=_piece_sizes(shape[axis], points, len(spec.tops)), **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        shape = self.input_shapes[0]
        return tuple((*shape[: self.axis], size, *shape[self.axis + 1 :]) for size in self.sizes)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return _pieces(inputs[0], self.sizes, self.axis, workspace)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty((len(gradients[0]), *self.input_shapes[0]))
        return (np.concatenate(gradients, axis=self.axis + 1, out=out),)


def _piece_sizes(size: int, points: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Sizes of ``count`` pieces of an axis of ``size``, cut at ``points`` or equally."""
    if not points:
        if size % count:
            raise ModelError(
                f"cannot cut {size} into {count} equal pieces; add slice_point, or change the tops"
            )
        return (size // count,) * count
    if len(points) != count - 1:
        raise ModelError(f"has {count} tops but {len(points)} slice_point; it needs one fewer than tops")
    ends = (0, *points, size)
    if any(first >= last for first, last in pairwise(ends)):
        raise ModelError(f"slice_point {points} must increase between 0 and {size}; check slice_param")
    return tuple(last - first for first, last in pairwise(ends))


def _pieces(blob: Blob, sizes: Sequence[int], axis: int, workspace: Workspace) -> tuple[Blob, ...]:
    """Copies of the pieces of ``blob`` along ``axis`` of one item."""
    parts = np.split(blob, np.cumsum(sizes)[:-1], axis=axis + 1)
    return tuple(workspace.copy(part) for part in parts)


@register("Eltwise")
class Eltwise(Layer):
    """Blobs of the same shape combined element by element; `from_spec` chooses the class of the operation."""

    input_counts: ClassVar[tuple[int, int | None]] = (2, None)

    def keeps_bounds(self, varying: int) -> bool:
        return varying == 1

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Eltwise":
        parameters = spec.parameters.eltwise_param
        shapes: tuple[Shape, ...] = node["input_shapes"]
        if any(shape != shapes[0] for shape in shapes):
            raise ModelError(
                f"bottoms of shapes {shapes} differ; check the layers that write them, or use a Scale layer "
                "with axis: 0 to multiply channels by one number each"
            )
        if parameters.operation == EltwiseParameter.PROD:
            if parameters.coeff:
                raise ModelError(
                    "has coeff, which only SUM uses; remove them, or scale the bottoms of the PROD"
                )
            return EltwiseProduct(**node)
        if parameters.operation in _WINNERS:
            return _WINNERS[parameters.operation](**node)
        if parameters.operation == EltwiseParameter.DIV:
            raise ModelError(
                "divides by its second bottom (operation: DIV), for which there is no rule; cut the net off "
                "below it"
            )
        coefficients = tuple(parameters.coeff) or (1.0,) * len(shapes)
        if len(coefficients) != len(shapes):
            raise ModelError(
                f"has {len(shapes)} bottoms but {len(coefficients)} coeff; give one for each, or none"
            )
        return EltwiseSum(coefficients=coefficients, **node)


@dataclass(frozen=True, eq=False, kw_only=True)
class EltwiseSum(Eltwise, Combination):
    """``Σ cᵢ xᵢ``."""

    coefficients: tuple[float, ...]

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) and min(self.coefficients) >= 0

    def _term(self, number: int, x: Blob) -> Blob:
        coefficient = self.coefficients[number]
        return x if coefficient == 1 else x * np.float32(coefficient)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        terms, target = [flat(self._term(number, x)) for number, x in enumerate(inputs)], flat(out)

        def add(first: int, last: int) -> None:
            np.add(terms[0][first:last], terms[1][first:last], out=target[first:last])
            for term in terms[2:]:
                target[first:last] += term[first:last]

        workspace.share(add, target.size, target.size)
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return tuple(self._term(number, gradients[0]) for number in range(len(self.inputs)))

    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        return tuple(self._term(number, x) for number, x in enumerate(inputs))


class EltwiseProduct(Eltwise, Combination):
    """``Π xᵢ``; some of the inputs may be gates."""

    gradient_uses_inputs: ClassVar[bool] = True

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (_product(inputs, workspace),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return tuple(
            _product([gradients[0], *inputs[:number], *inputs[number + 1 :]], workspace)
            for number in range(len(inputs))
        )

    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        """Every signal contributes equally; if all inputs are gates, every gate does."""
        taking = [not is_gate for is_gate in gates] if not all(gates) else [True] * len(inputs)
        signals = sum(taking)
        part = outputs[0] if signals == 1 else outputs[0] / np.float32(signals)
        return tuple(part if takes else None for takes in taking)


class EltwiseMaximum(Eltwise, Winner):
    """The largest of all inputs; the first of equal ones."""

    gradient_uses_inputs: ClassVar[bool] = True
    #: The winner of two inputs, and whether an input beats an earlier one.
    winner_of: ClassVar[np.ufunc] = np.maximum
    beats: ClassVar[np.ufunc] = np.greater

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return any(inputs)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty(inputs[0].shape)
        self.winner_of(inputs[0], inputs[1], out=out)
        for x in inputs[2:]:
            self.winner_of(out, x, out=out)
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        best, winners = inputs[0], np.zeros_like(inputs[0], np.int32)
        for number, x in enumerate(inputs[1:], 1):
            np.copyto(winners, number, where=self.beats(x, best))
            best = self.winner_of(best, x)
        return tuple(
            np.multiply(gradients[0], winners == number, out=workspace.empty(best.shape))
            for number in range(len(inputs))
        )


class EltwiseMinimum(EltwiseMaximum):
    """The smallest of all inputs; the first of equal ones (forks only)."""

    winner_of: ClassVar[np.ufunc] = np.minimum
    beats: ClassVar[np.ufunc] = np.less

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)


@register("Add")
class Add(Combination):
    """The sum of all inputs; an input is repeated along axes where it has size 1 (forks only)."""

    input_counts: ClassVar[tuple[int, int | None]] = (2, None)

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Add":
        shapes: tuple[Shape, ...] = node["input_shapes"]
        sizes = [{size for size in axis if size != 1} for axis in zip(*shapes, strict=False)]
        if len(set(map(len, shapes))) > 1 or any(len(different) > 1 for different in sizes):
            raise ModelError(
                f"bottoms of shapes {shapes} cannot be added: along every axis they must have the same size, "
                "or 1; check the layers that write them"
            )
        return cls(**node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return (tuple(max(axis) for axis in zip(*self.input_shapes, strict=True)),)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty((len(inputs[0]), *self.output_shapes[0]))
        np.add(inputs[0], inputs[1], out=out)
        for x in inputs[2:]:
            out += x
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return tuple(self.gathered(number, gradients[0]) for number in range(len(self.inputs)))

    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        return tuple(np.broadcast_to(x, (len(x), *self.output_shapes[0])) for x in inputs)

    def gathered(self, number: int, share: Blob) -> Blob:
        """Summed over the axes along which the input is repeated."""
        sizes = zip(self.input_shapes[number], self.output_shapes[0], strict=True)
        axes = tuple(axis for axis, (own, whole) in enumerate(sizes, 1) if own != whole)
        return share.sum(axis=axes, dtype=np.float64, keepdims=True).astype(np.float32) if axes else share


_WINNERS: dict[int, type[EltwiseMaximum]] = {
    EltwiseParameter.MAX: EltwiseMaximum,
    EltwiseParameter.MIN: EltwiseMinimum,
}


@register("Axpy")
class Axpy(Combination):
    """``a·x + y`` for bottoms a, x and y; a has one number per channel and is a gate of x (SE-nets)."""

    input_counts: ClassVar[tuple[int, int | None]] = (3, 3)
    gradient_uses_inputs: ClassVar[bool] = True

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Axpy":
        scale, x, y = node["input_shapes"]
        if x != y or scale not in {x[:1], (*x[:1], 1, 1)}:
            raise ModelError(
                f"bottoms of shapes {(scale, x, y)} do not fit together; the first must have one number for "
                "every channel, the others the same shape: check the layers that write them"
            )
        return cls(**node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return (self.input_shapes[1],)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        scale, x, y = inputs
        out = np.multiply(x, _per_channel(scale, x.ndim), out=workspace.empty(x.shape))
        out += y
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        scale, x, _ = inputs
        products = np.multiply(gradients[0], x, out=workspace.empty(x.shape))
        for_scale = products.sum(axis=tuple(range(2, x.ndim))).reshape(scale.shape)
        np.multiply(gradients[0], _per_channel(scale, x.ndim), out=products)
        return for_scale, products, gradients[0]

    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        scale, x, y = inputs
        return None, x * _per_channel(scale, x.ndim), y


def _per_channel(numbers: Blob, axes: int) -> Blob:
    """One number per channel, as a factor of a blob with ``axes`` axes."""
    return numbers.reshape(*numbers.shape[:2], *(1,) * (axes - 2))


def _product(blobs: Blobs, workspace: Workspace) -> Blob:
    """The product of all ``blobs``."""
    out = np.multiply(blobs[0], blobs[1], out=workspace.empty(blobs[0].shape))
    for blob in blobs[2:]:
        out *= blob
    return out


def _without(axis: int, shape: Shape) -> Shape:
    return shape[:axis] + shape[axis + 1 :]
