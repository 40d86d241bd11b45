"""Sliding windows, sizes and axes, from the parameters in prototxts."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import ConvolutionParameter, PoolingParameter
from caffe_lrp.formats.spec import Shape
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.window import Window

#: A limit far above all windows, strides and padding of nets for images.
LARGEST_SIZE = 2**16

#: Padding of the two axes.
Pad = tuple[int, int]

#: Fields of forks for the padding of each side: above and left of the image, below and right of it.
_BEGINS, _ENDS = ("pad_t", "pad_l"), ("pad_b", "pad_r")


class PaddedWindow(NamedTuple):
    """A window, with the padding above and left of the image in itself, and the padding below and right.

    The latter affects only the sizes of outputs, and the divisors of averages.
    """

    window: Window
    ends: Pad

    @property
    def is_padded(self) -> bool:
        """Whether there is padding anywhere."""
        return max(self.window.pad_h, self.window.pad_w, *self.ends) > 0


def convolution_padded_window(parameters: ConvolutionParameter) -> PaddedWindow:
    """Window and padding of a convolution.

    Raises
    ------
    ModelError
        A size is missing, not positive or absurdly large, or given in two ways.
    """
    kernel = _pair(parameters, "kernel", parameters.kernel_size, None)
    stride = _pair(parameters, "stride", parameters.stride, 1)
    pad = _pair(parameters, "pad", parameters.pad, 0)
    dilation = spatial(parameters.dilation, "dilation") if parameters.dilation else (1, 1)
    return _padded(parameters, Window(*kernel, *stride, *pad, *dilation))


def pooling_padded_window(parameters: PoolingParameter, input_shape: Shape) -> PaddedWindow:
    """Window and padding of pooling over (C, H, W); the whole image for global pooling.

    Raises
    ------
    ModelError
        A size is missing, not positive or absurdly large, given in two ways or against global pooling, or
        the padding reaches the kernel size.
    """

    def given(field: str) -> list[int]:
        return [getattr(parameters, field)] if parameters.HasField(field) else []

    stride = _pair(parameters, "stride", given("stride"), 1)
    pad = _pair(parameters, "pad", given("pad"), 0)
    if parameters.global_pooling:
        if any(map(parameters.HasField, ("kernel_size", "kernel_h", "kernel_w"))):
            raise ModelError("gives a kernel size, but global_pooling takes the whole image; keep one")
        is_padded = any((*pad, *(getattr(parameters, side) for side in (*_BEGINS, *_ENDS))))
        if stride != (1, 1) or is_padded or any(size != 1 for size in parameters.dilation):
            raise ModelError("global_pooling takes the whole image; remove stride, pad and dilation")
        return PaddedWindow(Window(input_shape[1], input_shape[2]), (0, 0))
    kernel = _pair(parameters, "kernel", given("kernel_size"), None)
    dilation = spatial(parameters.dilation, "dilation") if parameters.dilation else (1, 1)
    padded = _padded(parameters, Window(*kernel, *stride, *pad, *dilation))
    begins, extent = (padded.window.pad_h, padded.window.pad_w), padded.window.extent
    for pad in (begins, padded.ends):
        if pad[0] >= extent[0] or pad[1] >= extent[1]:
            raise ModelError(f"padding {pad} must be smaller than the kernel {extent}")
    return padded


def _padded(parameters: ConvolutionParameter | PoolingParameter, window: Window) -> PaddedWindow:
    """``window``, padded equally on both sides, or with the padding in fields of forks.

    Raises
    ------
    ModelError
        A size is not positive or absurdly large, or padding is given in two ways.
    """
    sizes = (window.kernel_h, window.kernel_w, window.stride_h, window.stride_w, *window[6:])
    if min(sizes) < 1:
        raise ModelError("kernel size, stride and dilation must be at least 1")
    begins, ends = (tuple(int(getattr(parameters, side)) for side in sides) for sides in (_BEGINS, _ENDS))
    if not any((*begins, *ends)):
        begins = ends = (window.pad_h, window.pad_w)
    elif window.pad_h or window.pad_w:
        raise ModelError("gives padding in two ways, pad and pad_l/pad_r/pad_t/pad_b; keep one")
    largest = max(*sizes, *begins, *ends)
    if largest > LARGEST_SIZE:
        raise ModelError(
            f"kernel size, stride, padding and dilation must be at most {LARGEST_SIZE}, not {largest}"
        )
    return PaddedWindow(window._replace(pad_h=begins[0], pad_w=begins[1]), (ends[0], ends[1]))


def _pair(
    parameters: ConvolutionParameter | PoolingParameter, what: str, sizes: Sequence[int], default: int | None
) -> tuple[int, int]:
    """(h, w) from ``what``_h and ``what``_w, or from the repeated field, or the default."""
    fields = (f"{what}_h", f"{what}_w")
    if any(parameters.HasField(field) for field in fields):
        if sizes:
            raise ModelError(f"gives both {what} and {what}_h/{what}_w; keep one")
        alone = [field for field in fields if parameters.HasField(field)]
        if len(alone) == 1 and default != 0:
            raise ModelError(f"gives {alone[0]} alone; give both {what}_h and {what}_w")
        height, width = (int(getattr(parameters, field)) for field in fields)
        return height, width
    if sizes:
        return spatial(sizes, what)
    if default is None:
        raise ModelError(f"has no {what} size; add kernel_size to its parameters")
    return default, default


def spatial(sizes: Sequence[int], what: str) -> tuple[int, int]:
    """(h, w) from one or two numbers."""
    if len(sizes) > 2:
        raise ModelError(f"gives {len(sizes)} numbers for {what}; only 2 spatial axes are supported")
    return int(sizes[0]), int(sizes[-1])


def convolved_size(padded: PaddedWindow, input_shape: Shape) -> tuple[int, int]:
    """Output height and width of a convolution over (C, H, W).

    Raises
    ------
    ModelError
        The kernel is larger than the padded input.
    """
    (window, ends), (_, height, width) = padded, input_shape
    size = (height + window.pad_h + ends[0], width + window.pad_w + ends[1])
    out_height = _floor_steps(size[0], window.kernel_h, window.stride_h, window.dilation_h)
    out_width = _floor_steps(size[1], window.kernel_w, window.stride_w, window.dilation_w)
    if out_height < 1 or out_width < 1:
        raise ModelError(_misfit(height, width))
    return out_height, out_width


def _misfit(height: int, width: int) -> str:
    return (
        f"the kernel does not fit into the input of {height}×{width}; check kernel_size, and the size of the "
        "net's input"
    )


def _floor_steps(padded: int, kernel: int, stride: int, dilation: int) -> int:
    extent = dilation * (kernel - 1) + 1
    return (padded - extent) // stride + 1 if padded >= extent else 0


def pooled_size(
    padded: PaddedWindow, input_shape: Shape, round_up: bool, keeps_empty: bool = True
) -> tuple[int, int]:
    """Output height and width of pooling over (C, H, W).

    Sizes are rounded up, as in Caffe, unless the layer asks for rounding down. If there is padding on either
    axis, a last window without pixels of the image is dropped; without padding it is kept, and is empty,
    unless ``keeps_empty`` is False.

    Raises
    ------
    ModelError
        The kernel is larger than the padded input.
    """
    window, ends = padded
    sizes = []
    for size, kernel, stride, begin, end in zip(
        input_shape[1:], window.extent, window[2:4], window[4:6], ends, strict=True
    ):
        span = size + begin + end - kernel
        steps = (-(-span // stride) if round_up else span // stride) + 1
        if steps < 1:
            raise ModelError(_misfit(*input_shape[1:]))
        is_dropped = (padded.is_padded or not keeps_empty) and (steps - 1) * stride >= size + begin
        sizes.append(steps - 1 if is_dropped else steps)
    return sizes[0], sizes[1]


def filled_size(window: Window, size: Pad, outputs: Pad) -> tuple[int, int]:
    """How many of the first ``outputs`` along each axis see pixels of an image of ``size``."""
    found = [
        min(count, -(-(length + begin) // stride))
        for length, count, stride, begin in zip(size, outputs, window[2:4], window[4:6], strict=True)
    ]
    return found[0], found[1]


def window_areas(padded: PaddedWindow, size: Pad, outputs: Pad, counts_padding: bool) -> Blob:
    """(rows, columns): pixels in every window of an image of ``size``, with or without padding."""
    window, ends = padded
    lengths = []
    for length, count, kernel, stride, begin, end in zip(
        size, outputs, window[:2], window[2:4], window[4:6], ends, strict=True
    ):
        first = np.arange(count) * stride - begin
        last = np.minimum(first + kernel, length + (end if counts_padding else 0))
        lengths.append(last - (first if counts_padding else np.maximum(first, 0)))
    areas: Blob = np.multiply.outer(*lengths).astype(np.float32)
    return areas


def rounds_up(parameters: PoolingParameter) -> bool:
    """Whether a pooling layer rounds its output sizes up; forks have an extra field for it.

    Raises
    ------
    ModelError
        The two fields contradict each other.
    """
    by_mode = parameters.round_mode != PoolingParameter.FLOOR
    if not parameters.HasField("ceil_mode"):
        return by_mode
    if parameters.HasField("round_mode") and by_mode != parameters.ceil_mode:
        raise ModelError("round_mode and ceil_mode contradict each other; keep one")
    return parameters.ceil_mode


Index = tuple[slice, slice, slice]


class Tap(NamedTuple):
    """One position in a kernel: the part of the input (N, H, W, C) that it sees, and for which outputs."""

    inputs: Index
    outputs: Index


def taps(window: Window, size: tuple[int, int], outputs: tuple[int, int]) -> Iterator[Tap]:
    """The positions of a kernel in scan order, without those that are never inside the image.

    Parameters
    ----------
    window
        Geometry.
    size
        Height and width of the image.
    outputs
        Height and width of the output.
    """
    rows, columns = (
        [
            reach
            for place in range(window[axis])
            if (reach := _reach(place * dilation - pad, stride, size[axis], outputs[axis])) is not None
        ]
        for axis, (stride, pad, dilation) in enumerate(zip(window[2:4], window[4:6], window[6:], strict=True))
    )
    for row, column in product(rows, columns):
        yield Tap((slice(None), row[0], column[0]), (slice(None), row[1], column[1]))


def every_window_sees(window: Window, size: Pad, outputs: Pad) -> bool:
    """Whether each of ``outputs`` windows has a pixel of an image of ``size``; windows may be dilated."""
    for axis, (stride, pad, dilation) in enumerate(zip(window[2:4], window[4:6], window[6:], strict=True)):
        starts = np.arange(outputs[axis]) * stride - pad
        first = np.maximum(-(starts // dilation), 0)
        if not ((first < window[axis]) & (starts + first * dilation < size[axis])).all():
            return False
    return True


def _reach(offset: int, stride: int, size: int, outputs: int) -> tuple[slice, slice] | None:
    """Pixels seen at ``offset`` from the start of windows without padding, and the outputs that see them."""
    first = max(0, -(offset // stride))
    last = min(outputs - 1, (size - 1 - offset) // stride)
    if last < first:
        return None
    begin = first * stride + offset
    return slice(begin, last * stride + offset + 1, stride), slice(first, last + 1)


def canonical_axis(axis: int, shape: Shape) -> int:
    """``axis`` of the full blob (negative counts from the end) as an axis of one item.

    Raises
    ------
    ModelError
        The axis is the batch axis, or the blob does not have it.
    """
    axes = len(shape) + 1
    resolved = axis + axes if axis < 0 else axis
    if not 0 < resolved < axes:
        raise ModelError(f"axis {axis} is not supported on a blob of {axes} axes")
    return resolved - 1


def require_image(shape: Shape) -> Shape:
    """``shape`` if it is (C, H, W), else ModelError."""
    if len(shape) != 3:
        raise ModelError(f"needs an input with 4 axes (N, C, H, W), but gets {len(shape) + 1}")
    return shape
