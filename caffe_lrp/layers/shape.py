"""Layers that move the elements of a blob: they reshape, reorder, repeat or crop it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob

from .base import Blobs, Router, register
from .geometry import canonical_axis, require_image


@register("Flatten")
@dataclass(frozen=True, eq=False, kw_only=True)
class Flatten(Router):
    """Axes ``first`` to ``last`` of one item joined into one."""

    is_alias = True

    first: int
    last: int

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Flatten":
        parameters = spec.parameters.flatten_param
        shape: Shape = node["input_shapes"][0]
        first = canonical_axis(parameters.axis, shape)
        last = canonical_axis(parameters.end_axis, shape)
        if last < first:
            raise ModelError(f"end_axis {parameters.end_axis} is before axis {parameters.axis}")
        return cls(first=first, last=last, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        shape = self.input_shapes[0]
        joined = math.prod(shape[self.first : self.last + 1])
        return ((*shape[: self.first], joined, *shape[self.last + 1 :]),)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (inputs[0].reshape(len(inputs[0]), *self.output_shapes[0]),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (gradients[0].reshape(len(gradients[0]), *self.input_shapes[0]),)


@register("Reshape")
@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Router):
    """The elements of every item in another ``shape``."""

    shape: Shape

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Reshape":
        parameters = spec.parameters.reshape_param
        shape: Shape = node["input_shapes"][0]
        wanted = _reshaped(
            (node["batch_size"], *shape), tuple(parameters.shape.dim), parameters.axis, parameters.num_axes
        )
        if len(wanted) < 2 or min(wanted) < 1 or math.prod(wanted[1:]) != math.prod(shape):
            sizes = tuple(parameters.shape.dim)
            raise ModelError(
                f"cannot reshape items of {shape} by the dims {sizes} from axis {parameters.axis} on; check "
                "reshape_param, whose first dim must be 0, to keep the batch, where axis is 0"
            )
        return cls(shape=wanted[1:], **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return (self.shape,)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (inputs[0].reshape(len(inputs[0]), *self.shape),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (gradients[0].reshape(len(gradients[0]), *self.input_shapes[0]),)


def _reshaped(shape: Shape, sizes: Sequence[int], axis: int, axes: int) -> Shape:
    """``shape``, batch axis first, with ``sizes`` replacing ``axes`` axes from ``axis`` on.

    A size of 0 copies that of the axis in the same position, −1 follows from all others; −1 for ``axes``
    means all remaining axes, and −1 for ``axis`` is after the last one.
    """
    first = axis + len(shape) + 1 if axis < 0 else axis
    end = len(shape) if axes == -1 else first + axes
    if not 0 <= first <= end <= len(shape):
        raise ModelError(
            f"axis {axis} and num_axes {axes} do not fit a blob of {len(shape)} axes; check reshape_param"
        )
    if min(sizes, default=0) < -1 or sizes.count(-1) > 1:
        raise ModelError(f"dims {tuple(sizes)} are not sizes; give numbers, 0 or one -1 in reshape_param")
    if any(size == 0 and first + place >= len(shape) for place, size in enumerate(sizes)):
        raise ModelError("a dim of 0 copies an axis that its bottom does not have; give a number")
    copied = [size or shape[first + place] for place, size in enumerate(sizes)]
    others = math.prod(size for size in (*shape[:first], *copied, *shape[end:]) if size != -1)
    missing = math.prod(shape) // max(1, others)
    return (*shape[:first], *(missing if size == -1 else size for size in copied), *shape[end:])


@register("Flip")
@dataclass(frozen=True, eq=False, kw_only=True)
class Flip(Router):
    """Elements in reverse order along ``axes`` of the batch (forks only)."""

    axes: tuple[int, ...]

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Flip":
        parameters = spec.parameters.flip_param
        shape: Shape = node["input_shapes"][0]
        if parameters.keep_original:
            raise ModelError(
                "keep_original adds the mirror images to the batch, but every image is explained on its own; "
                "remove it, and join the two with a Concat or Eltwise layer"
            )
        if parameters.HasField("axis"):
            return cls(axes=(1 + canonical_axis(parameters.axis, shape),), **node)
        require_image(shape)
        flipped = ((2, parameters.flip_height), (3, parameters.flip_width))
        return cls(axes=tuple(axis for axis, is_flipped in flipped if is_flipped), **node)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (workspace.copy(np.flip(inputs[0], self.axes)),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (workspace.copy(np.flip(gradients[0], self.axes)),)


@register("Permute")
@dataclass(frozen=True, eq=False, kw_only=True)
class Permute(Router):
    """Axes in another ``order``, which starts with the batch axis."""

    is_alias = True

    order: tuple[int, ...]

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Permute":
        given = list(spec.parameters.permute_param.order)
        axes = range(len(node["input_shapes"][0]) + 1)
        order = (*given, *(axis for axis in axes if axis not in given))
        if sorted(order) != list(axes):
            raise ModelError(f"order {given} must name each of {len(axes)} axes once; check permute_param")
        if order[0] != 0:
            raise ModelError(f"order {given} moves the batch axis; the first order must be 0")
        return cls(order=order, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return (tuple(self.input_shapes[0][axis - 1] for axis in self.order[1:]),)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (inputs[0].transpose(self.order),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (gradients[0].transpose(np.argsort(self.order)),)


@register("Tile")
@dataclass(frozen=True, eq=False, kw_only=True)
class Tile(Router):
    """``count`` copies of a blob, one after another along ``axis`` of one item."""

    axis: int
    count: int

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Tile":
        parameters = spec.parameters.tile_param
        if parameters.tiles < 1:
            raise ModelError("tiles must be at least 1; set it in tile_param")
        axis = canonical_axis(parameters.axis, node["input_shapes"][0])
        return cls(axis=axis, count=parameters.tiles, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        shape = self.input_shapes[0]
        return ((*shape[: self.axis], self.count * shape[self.axis], *shape[self.axis + 1 :]),)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty((len(inputs[0]), *self.output_shapes[0]))
        return (np.concatenate([inputs[0]] * self.count, axis=self.axis + 1, out=out),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        total, *others = np.split(gradients[0], self.count, axis=self.axis + 1)
        out = workspace.copy(total)
        for copy in others:
            out += copy
        return (out,)


@register("ShuffleChannel")
@dataclass(frozen=True, eq=False, kw_only=True)
class ShuffleChannel(Router):
    """Channels of ``groups`` groups in turn: the first channel of each, then the second of each."""

    groups: int

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "ShuffleChannel":
        groups = spec.parameters.shuffle_channel_param.group
        channels = node["input_shapes"][0][0]
        if groups < 1 or channels % groups:
            raise ModelError(f"{channels} channels do not divide into {groups} groups; check group")
        return cls(groups=groups, **node)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (_shuffled(inputs[0], self.groups, workspace),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (_shuffled(gradients[0], self.input_shapes[0][0] // self.groups, workspace),)


def _shuffled(blob: Blob, groups: int, workspace: Workspace) -> Blob:
    """Channel j of group i of ``blob`` becomes channel i of group j."""
    items, channels, *rest = blob.shape
    out = workspace.empty(blob.shape)
    others = out.reshape(items, channels // groups, groups, *rest)
    others[...] = blob.reshape(items, groups, channels // groups, *rest).swapaxes(1, 2)
    return out


@register("Crop")
@dataclass(frozen=True, eq=False, kw_only=True)
class Crop(Router):
    """The first bottom, cropped to the size of the second, which is used for nothing else.

    ``offsets`` are where the crop begins, and ``size`` is its size, for every axis of one item.
    """

    input_counts: ClassVar[tuple[int, int | None]] = (2, 2)
    shape_inputs: ClassVar[frozenset[int]] = frozenset((1,))

    offsets: tuple[int, ...]
    size: Shape

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Crop":
        parameters = spec.parameters.crop_param
        shape, reference = node["input_shapes"]
        if len(shape) != len(reference):
            raise ModelError(
                f"bottoms of shapes {(shape, reference)} have different numbers of axes; check the layers "
                "that write them"
            )
        axis = canonical_axis(parameters.axis, shape)
        given = tuple(parameters.offset) or (0,)
        cropped = len(shape) - axis
        if len(given) not in (1, cropped):
            raise ModelError(
                f"gives {len(given)} offset for {cropped} axes; give one for all, or one for each"
            )
        offsets = (*(0,) * axis, *(given * cropped)[:cropped])
        size = (*shape[:axis], *reference[axis:])
        if any(first + count > room for first, count, room in zip(offsets, size, shape, strict=True)):
            raise ModelError(
                f"a crop of {size} at offset {offsets} does not fit in {shape}; check offset in crop_param"
            )
        return cls(offsets=offsets, size=size, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return (self.size,)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    @property
    def _place(self) -> tuple[slice, ...]:
        """Position of the piece in a batch."""
        ends = zip(self.offsets, self.size, strict=True)
        return (slice(None), *(slice(first, first + count) for first, count in ends))

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (workspace.copy(inputs[0][self._place]),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        handed, nothing = (workspace.zeros((len(gradients[0]), *shape)) for shape in self.input_shapes)
        handed[self._place] = gradients[0]
        return handed, nothing
