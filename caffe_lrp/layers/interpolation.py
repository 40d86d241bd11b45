"""Layers that enlarge or reduce images without weights: interpolation, repetition and unpooling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import InterpParameter, UpsampleParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob, as_blob, pixels

from .base import Blobs, Router, register
from .geometry import require_image

Size = tuple[int, int]

#: Fields of an InterpParameter for the size of the output.
_SIZE_FIELDS = ("height", "width", "zoom_factor", "shrink_factor")


@dataclass(frozen=True, eq=False, kw_only=True)
class Resizer(Router):
    """A layer that resizes its first bottom to ``size``; a second bottom receives no relevance."""

    input_counts: ClassVar[tuple[int, int | None]] = (1, 2)

    size: Size

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return ((self.input_shapes[0][0], *self.size),)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    def _handed(self, found: Blob, workspace: Workspace) -> tuple[Blob, ...]:
        """``found`` for the first bottom, zeros for others."""
        others = (workspace.zeros((len(found), *shape)) for shape in self.input_shapes[1:])
        return found, *others


@dataclass(frozen=True)
class _Line:
    """Linear interpolation along one axis: the weights of the two neighbouring inputs of each output.

    Attributes
    ----------
    lower, upper
        Positions of the neighbours.
    share
        Weight of the upper one; the lower one has the rest.
    """

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    share: NDArray[np.float32]


def _line(first: int, count: int, outputs: int) -> _Line:
    """Interpolation of ``count`` inputs from ``first`` on; the outermost outputs equal the outermost inputs.

    In single precision, as Caffe's forks compute it.
    """
    step = np.float32(count - 1) / np.float32(max(1, outputs - 1))
    places = step * np.arange(outputs, dtype=np.float32)
    lower = np.minimum(places.astype(np.intp), count - 1)
    return _Line(first + lower, first + np.minimum(lower + 1, count - 1), places - lower.astype(np.float32))


@register("Interp")
@dataclass(frozen=True, eq=False, kw_only=True)
class Interpolation(Resizer):
    """Bilinear interpolation with aligned corners (DeepLab, PSPNet).

    ``cropped`` is how many pixels are left out at the start and at the end of the image.
    """

    shape_inputs: ClassVar[frozenset[int]] = frozenset((1,))

    cropped: Size

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Interpolation":
        parameters = spec.parameters.interp_param
        shape, *others = node["input_shapes"]
        _, height, width = require_image(shape)
        padding = (parameters.pad_beg, parameters.pad_end)
        if max(padding) > 0:
            raise ModelError(f"pad_beg and pad_end must be at most 0, not {padding}; see interp_param")
        inner = (height + sum(padding), width + sum(padding))
        if min(inner) < 1:
            raise ModelError(f"pad_beg and pad_end {padding} leave nothing of {height}×{width}")
        if others and any(parameters.HasField(field) for field in _SIZE_FIELDS):
            raise ModelError("has a size in interp_param and another as its second bottom; keep one")
        size = _size_of(require_image(others[0])) if others else _interpolated_size(parameters, inner)
        return cls(size=size, cropped=(-padding[0], -padding[1]), **node)

    @shared_property
    def _rows(self) -> _Line:
        before, after = self.cropped
        return _line(before, self.input_shapes[0][1] - before - after, self.size[0])

    @shared_property
    def _columns(self) -> _Line:
        before, after = self.cropped
        return _line(before, self.input_shapes[0][2] - before - after, self.size[1])

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        x, rows, columns = pixels(inputs[0]), self._rows, self._columns
        out = workspace.pixels((len(x), *self.size, x.shape[3]))
        below = columns.share[:, np.newaxis]
        for row in range(len(rows.share)):
            line = _between(x[:, rows.lower[row]], x[:, rows.upper[row]], rows.share[row])
            out[:, row] = _between(line[:, columns.lower], line[:, columns.upper], below)
        return (as_blob(out, (len(x), *self.output_shapes[0])),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        gradient, rows, columns = pixels(gradients[0]), self._rows, self._columns
        items, (channels, height, width) = len(gradient), self.input_shapes[0]
        lines = workspace.pixels((items, self.size[0], width, channels))
        _hand_back(gradient.swapaxes(1, 2), columns, lines.swapaxes(1, 2))
        out = workspace.pixels((items, height, width, channels))
        _hand_back(lines, rows, out)
        return self._handed(as_blob(out, (items, *self.input_shapes[0])), workspace)


def _between(lower: Blob, upper: Blob, share: Any) -> Blob:
    """``lower`` and ``upper`` interpolated; ``share`` is the weight of the latter."""
    return np.asarray(lower * (np.float32(1) - share) + upper * share)


def _hand_back(gradient: Blob, line: _Line, out: Blob) -> None:
    """The adjoint of interpolation along axis 1, into ``out``, which is overwritten."""
    out[...] = 0
    for place, share in enumerate(line.share):
        out[:, line.lower[place]] += gradient[:, place] * (np.float32(1) - share)
        out[:, line.upper[place]] += gradient[:, place] * share


def _interpolated_size(parameters: InterpParameter, size: Size) -> Size:
    """Height and width of the output for an image of ``size``; a factor takes precedence over pixels."""
    shrinks, zooms = parameters.HasField("shrink_factor"), parameters.HasField("zoom_factor")
    is_sized = parameters.HasField("height") and parameters.HasField("width")
    if is_sized and shrinks == zooms:
        found = (parameters.height, parameters.width)
    elif not (shrinks or zooms):
        raise ModelError("has no size; add height and width, zoom_factor or shrink_factor to interp_param")
    else:
        if min(parameters.shrink_factor, parameters.zoom_factor) < 1:
            raise ModelError("shrink_factor and zoom_factor must be at least 1; set them in interp_param")
        shrunk = ((length - 1) // parameters.shrink_factor for length in size)
        found_height, found_width = (parameters.zoom_factor * steps + 1 for steps in shrunk)
        found = (found_height, found_width)
    if min(found) < 1:
        raise ModelError(f"height and width must be at least 1, not {found}; set them in interp_param")
    return found


def _size_of(shape: Shape) -> Size:
    return shape[1], shape[2]


@register("Upsample")
class Upsample(Resizer):
    """Upsampling; `from_spec` chooses the class by the number of bottoms."""

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Upsample":
        shape, *masks = node["input_shapes"]
        size = _upsampled_size(spec.parameters.upsample_param, _size_of(require_image(shape)))
        if not masks:
            if size[0] % shape[1] or size[1] % shape[2]:
                raise ModelError(
                    f"cannot repeat pixels of {shape[1]}×{shape[2]} to {size[0]}×{size[1]}; give a multiple, "
                    "or the mask of a max pooling layer as the second bottom"
                )
            return Repetition(size=size, **node)
        if masks[0] != shape:
            raise ModelError(
                f"bottoms of shapes {(shape, *masks)} differ; the second must be the mask of the max pooling "
                "layer whose output has the size of the first"
            )
        return Unpooling(size=size, **node)


def _upsampled_size(parameters: UpsampleParameter, size: Size) -> Size:
    """Height and width of the output for an image of ``size``."""
    if parameters.HasField("upsample_h") or parameters.HasField("upsample_w"):
        found = (parameters.upsample_h, parameters.upsample_w)
    else:
        apart = parameters.HasField("scale_h") or parameters.HasField("scale_w")
        scales = (parameters.scale_h, parameters.scale_w) if apart else (parameters.scale,) * 2
        found = (
            size[0] * scales[0] - parameters.pad_out_h,
            size[1] * scales[1] - parameters.pad_out_w,
        )
    if min(found) < 1:
        raise ModelError(
            f"the output would be {found[0]}×{found[1]} pixels; check scale, or upsample_h and upsample_w, "
            "in upsample_param"
        )
    return found


class Repetition(Upsample):
    """Every pixel repeated, horizontally and vertically."""

    @property
    def _times(self) -> Size:
        _, height, width = self.input_shapes[0]
        return self.size[0] // height, self.size[1] // width

    def _apart(self, large: Blob) -> Blob:
        """An output (N, H, W, C) as (N, height, times, width, times, C) of the input's height and width."""
        (_, height, width), (down, across) = self.input_shapes[0], self._times
        return large.reshape(len(large), height, down, width, across, -1)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        x = pixels(inputs[0])
        out = workspace.pixels((len(x), *self.size, x.shape[3]))
        self._apart(out)[...] = x[:, :, np.newaxis, :, np.newaxis]
        return (as_blob(out, (len(x), *self.output_shapes[0])),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        found = self._apart(pixels(gradients[0])).sum(axis=(2, 4))
        return (as_blob(found, (len(found), *self.input_shapes[0])),)


class Unpooling(Upsample):
    """Every element at its position in the mask, zero elsewhere (SegNet).

    The mask is the second output of a max pooling layer: positions in a plane, counted row by row. If two
    elements have the same position, the last one in scan order is used.
    """

    gradient_uses_inputs: ClassVar[bool] = True

    def _places(self, mask: Blob) -> NDArray[np.intp]:
        """(N, C, P): positions in the planes of the output."""
        places = mask.reshape(*mask.shape[:2], -1).astype(np.intp)
        largest, room = int(places.max(initial=0)), self.size[0] * self.size[1]
        if places.min(initial=0) < 0:
            raise ModelError(
                f"{self.label}: its mask has no position for a pooling window that is all NaN or outside the "
                "image; check the image, and the kernel and stride of the pooling layer"
            )
        if largest >= room:
            raise ModelError(
                f"{self.label}: its mask points at pixel {largest} of {room}; check that its size is that "
                "of the pooling layer's input"
            )
        return places

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        x, places = inputs[0], self._places(inputs[1])
        planes = np.zeros((*x.shape[:2], self.size[0] * self.size[1]), np.float32)
        np.put_along_axis(planes, places, x.reshape(places.shape), axis=2)
        return (workspace.copy(planes.reshape(len(x), *self.output_shapes[0])),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        places = self._places(inputs[1])
        gradient = gradients[0].reshape(*places.shape[:2], -1)
        takers = np.empty(gradient.shape, np.intp)
        numbers = np.broadcast_to(np.arange(places.shape[2]), places.shape)
        np.put_along_axis(takers, places, numbers, axis=2)
        takes = np.take_along_axis(takers, places, axis=2) == numbers
        found = np.take_along_axis(gradient, places, axis=2) * takes
        return self._handed(workspace.copy(found.reshape(inputs[0].shape)), workspace)
