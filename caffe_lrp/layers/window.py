"""Sliding-window parameters as Caffe's messages give them, for convolution and pooling."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.window import Window
from caffe_lrp.proto.caffe_pb2 import ConvolutionParameter, PoolingParameter
from caffe_lrp.proto.spec import Shape

#: No window, step or border of a net for images comes near it.
LARGEST_SIZE = 2**16


def convolution_window(parameters: ConvolutionParameter) -> Window:
    """Window of a convolution.

    Raises
    ------
    ModelError
        A size is missing, not positive or absurdly large, or given in two ways.
    """
    kernel = _pair(parameters, "kernel", parameters.kernel_size, None)
    stride = _pair(parameters, "stride", parameters.stride, 1)
    pad = _pair(parameters, "pad", parameters.pad, 0)
    dilation = _spatial(parameters.dilation, "dilation") if parameters.dilation else (1, 1)
    return _checked(Window(*kernel, *stride, *pad, *dilation))


def pooling_window(parameters: PoolingParameter, input_shape: Shape) -> Window:
    """Window of a pooling layer; the whole image for global pooling.

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
        if stride != (1, 1) or pad != (0, 0):
            raise ModelError("global_pooling takes the whole image; remove stride and pad")
        return Window(input_shape[1], input_shape[2])
    kernel = _pair(parameters, "kernel", given("kernel_size"), None)
    window = _checked(Window(*kernel, *stride, *pad))
    if window.pad_h >= window.kernel_h or window.pad_w >= window.kernel_w:
        raise ModelError(f"padding {pad} must be smaller than the kernel {kernel}")
    return window


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
        return _spatial(sizes, what)
    if default is None:
        raise ModelError(f"has no {what} size; add kernel_size to its parameters")
    return default, default


def _spatial(sizes: Sequence[int], what: str) -> tuple[int, int]:
    """(h, w) from one or two numbers."""
    if len(sizes) > 2:
        raise ModelError(f"gives {len(sizes)} numbers for {what}; only 2 spatial axes are supported")
    return int(sizes[0]), int(sizes[-1])


def _checked(window: Window) -> Window:
    sizes = (window.kernel_h, window.kernel_w, window.stride_h, window.stride_w, *window[6:])
    if min(sizes) < 1:
        raise ModelError("kernel size, stride and dilation must be at least 1")
    if max(window) > LARGEST_SIZE:
        raise ModelError(
            f"kernel size, stride, padding and dilation must be at most {LARGEST_SIZE}, not {max(window)}"
        )
    return window


def convolved_size(window: Window, input_shape: Shape) -> tuple[int, int]:
    """Output height and width of a convolution over (C, H, W).

    Raises
    ------
    ModelError
        The kernel is larger than the padded input.
    """
    _, height, width = input_shape
    out_height = _floor_steps(height + 2 * window.pad_h, window.kernel_h, window.stride_h, window.dilation_h)
    out_width = _floor_steps(width + 2 * window.pad_w, window.kernel_w, window.stride_w, window.dilation_w)
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


def pooled_size(window: Window, input_shape: Shape, round_up: bool) -> tuple[int, int]:
    """Output height and width of pooling over (C, H, W).

    Sizes are rounded up, as Caffe does, unless the layer asks for rounding down; a last window that
    would hold no pixel of the image is dropped.

    Raises
    ------
    ModelError
        The kernel is larger than the padded input.
    """
    sizes = []
    for size, kernel, stride, pad in zip(
        input_shape[1:],
        window[:2],
        (window.stride_h, window.stride_w),
        (window.pad_h, window.pad_w),
        strict=True,
    ):
        span = size + 2 * pad - kernel
        steps = (-(-span // stride) if round_up else span // stride) + 1
        if steps < 1:
            raise ModelError(_misfit(*input_shape[1:]))
        sizes.append(steps - 1 if (steps - 1) * stride >= size + pad else steps)
    return sizes[0], sizes[1]


def rounds_up(parameters: PoolingParameter) -> bool:
    """Whether sizes of a pooling layer's output are rounded up; forks have a field of their own for it.

    Raises
    ------
    ModelError
        The two fields contradict each other.
    """
    by_mode = parameters.round_mode == PoolingParameter.CEIL
    if not parameters.HasField("ceil_mode"):
        return by_mode
    if parameters.HasField("round_mode") and by_mode != parameters.ceil_mode:
        raise ModelError("round_mode and ceil_mode contradict each other; keep one")
    return parameters.ceil_mode


Index = tuple[slice, slice, slice]


class Tap(NamedTuple):
    """One place of a kernel: what it sees of the input (N, H, W, C), and for which outputs."""

    inputs: Index
    outputs: Index


def taps(window: Window, size: tuple[int, int], outputs: tuple[int, int]) -> Iterator[Tap]:
    """Places of a kernel in scan order, without those that are never inside the image.

    Parameters
    ----------
    window
        Its geometry; without dilation.
    size
        Height and width of the image.
    outputs
        Height and width of the output.
    """
    for y in range(window.kernel_h):
        rows = _reach(y - window.pad_h, window.stride_h, size[0], outputs[0])
        for x in range(window.kernel_w):
            columns = _reach(x - window.pad_w, window.stride_w, size[1], outputs[1])
            if rows is not None and columns is not None:
                yield Tap((slice(None), rows[0], columns[0]), (slice(None), rows[1], columns[1]))


def _reach(offset: int, stride: int, size: int, outputs: int) -> tuple[slice, slice] | None:
    """Pixels seen at ``offset`` from where windows would begin without padding, and who sees them."""
    first = max(0, -(offset // stride))
    last = min(outputs - 1, (size - 1 - offset) // stride)
    if last < first:
        return None
    begin = first * stride + offset
    return slice(begin, last * stride + offset + 1, stride), slice(first, last + 1)


def require_image(shape: Shape) -> Shape:
    """``shape`` if it is (C, H, W), else ModelError."""
    if len(shape) != 3:
        raise ModelError(f"needs an input with 4 axes (N, C, H, W), but gets {len(shape) + 1}")
    return shape
