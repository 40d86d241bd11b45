"""Borders around blobs: of constants, of repeated edges, and of reflections (not in Caffe)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import PadParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob

from .base import Blobs, Bordered, Router, register
from .geometry import LARGEST_SIZE, canonical_axis

#: For every axis of one item, how many elements the border has before and after the input.
Widths = tuple[tuple[int, int], ...]


@register("Pad")
@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Router):
    """A blob in a border; `from_spec` chooses the class of the border's mode."""

    widths: Widths

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Pad":
        parameters = spec.parameters.pad_param
        shape: Shape = node["input_shapes"][0]
        axis = canonical_axis(parameters.axis, shape)
        begins, ends = (
            _by_axis(sizes, len(shape) - axis, what)
            for sizes, what in ((parameters.begin, "begin"), (parameters.end, "end"))
        )
        widths = (*((0, 0),) * axis, *zip(begins, ends, strict=True))
        if parameters.mode == PadParameter.CONSTANT:
            if not math.isfinite(parameters.value):
                raise ModelError(
                    f"value must be a number, not {parameters.value:g}; for a maximum, pad in pooling_param"
                )
            return ConstantBorder(widths=widths, value=parameters.value, **node)
        if parameters.mode == PadParameter.EDGE:
            return EdgeBorder(widths=widths, **node)
        if any(max(pair) >= size for pair, size in zip(widths, shape, strict=True)):
            raise ModelError(
                f"reflects {widths} elements of a blob of {shape}, but a reflection leaves out the edge, "
                "so every border must be smaller than its axis; correct pad_param"
            )
        return ReflectedBorder(widths=widths, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        sizes = zip(self.input_shapes[0], self.widths, strict=True)
        return (tuple(size + sum(pair) for size, pair in sizes),)


@dataclass(frozen=True, eq=False, kw_only=True)
class ConstantBorder(Pad, Bordered):
    """A blob in a border of one ``value``, which receives no relevance of the image."""

    value: float

    @property
    def inside(self) -> tuple[slice, ...]:
        sizes = zip(self.input_shapes[0], self.widths, strict=True)
        return (slice(None), *(slice(begin, begin + size) for size, (begin, _) in sizes))

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) and self.value >= 0

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty((len(inputs[0]), *self.output_shapes[0]))
        out[...] = self.value
        out[self.inside] = inputs[0]
        return (out,)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (workspace.copy(gradients[0][self.inside]),)


class CopiedBorder(Pad):
    """A border of elements of the input; `sources` says of which."""

    @staticmethod
    def sources(size: int, begin: int, end: int) -> list[int]:
        """The place in an axis of ``size`` of every element of the output."""
        raise NotImplementedError

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        x = inputs[0]
        for axis, places in self._places():
            x = x.take(places, axis)
        return (workspace.copy(x),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        """Every element gets the gradients of all its copies, added up from the first to the last."""
        handed = gradients[0]
        for axis, places in reversed(self._places()):
            begin, size = self.widths[axis - 1][0], self.input_shapes[0][axis - 1]
            inner = np.moveaxis(handed, axis, 0)
            gathered = inner[begin : begin + size].copy()
            for place, source in enumerate(places):
                if not begin <= place < begin + size:
                    gathered[source] += inner[place]
            handed = np.moveaxis(gathered, 0, axis)
        return (workspace.copy(handed),)

    def _places(self) -> list[tuple[int, list[int]]]:
        """The axes of a batch that get a border, and where the elements of the output come from."""
        sizes = enumerate(zip(self.input_shapes[0], self.widths, strict=True), 1)
        return [(axis, self.sources(size, *pair)) for axis, (size, pair) in sizes if any(pair)]


class EdgeBorder(CopiedBorder):
    """A blob whose edges are repeated (`mode: EDGE`)."""

    @staticmethod
    def sources(size: int, begin: int, end: int) -> list[int]:
        return [min(max(place, 0), size - 1) for place in range(-begin, size + end)]


class ReflectedBorder(CopiedBorder):
    """A blob and its reflection at the edges, which are not repeated (`mode: REFLECT`)."""

    @staticmethod
    def sources(size: int, begin: int, end: int) -> list[int]:
        return [size - 1 - abs(size - 1 - abs(place)) for place in range(-begin, size + end)]


def _by_axis(sizes: Sequence[int], axes: int, what: str) -> tuple[int, ...]:
    """A width for every axis from one width for all, one for each, or none at all.

    Raises
    ------
    ModelError
        There is another number of widths, or one is absurdly large.
    """
    given = tuple(sizes) or (0,)
    if len(given) not in (1, axes):
        raise ModelError(f"gives {len(given)} {what} for {axes} axes; give one for all, or one each")
    if max(given) > LARGEST_SIZE:
        raise ModelError(f"{what} must be at most {LARGEST_SIZE}, not {max(given)}; correct pad_param")
    return (given * axes)[:axes]
