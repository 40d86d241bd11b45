"""Kernels, strides, padding and dilation of convolutions and pooling, as ONNX and Caffe write them."""

from typing import Any, NamedTuple

from caffe_lrp.formats.spec import Shape

from ..node import Node

Pair = tuple[int, int]
_LARGEST = 2**16


class Geometry(NamedTuple):
    """Numbers of a window, vertical and horizontal."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    begins: Pair
    ends: Pair

    @property
    def extent(self) -> Pair:
        """Pixels from the first to the last of the window."""
        return (self.dilation[0] * (self.kernel[0] - 1) + 1, self.dilation[1] * (self.kernel[1] - 1) + 1)

    def parameters(self) -> dict[str, Any]:
        """Fields for kernel, stride and padding."""
        found: dict[str, Any] = {"kernel_h": self.kernel[0], "kernel_w": self.kernel[1]}
        found |= {"stride_h": self.stride[0], "stride_w": self.stride[1]}
        return found | pad_fields(self.begins, self.ends)


def pad_fields(begins: Pair, ends: Pair) -> dict[str, int]:
    """Fields for padding: those of Caffe if both ends are padded equally, otherwise those of forks."""
    if begins == ends:
        return {"pad_h": begins[0], "pad_w": begins[1]} if any(begins) else {}
    return {"pad_t": begins[0], "pad_l": begins[1], "pad_b": ends[0], "pad_r": ends[1]}


def require_image(node: Node, shape: Shape) -> None:
    """Refuse blobs that are no images."""
    if len(shape) != 4:
        raise node.error(f"works on shape {shape}", "only images (N, C, H, W) are supported")


def geometry(node: Node, shape: Shape, kernel: Pair) -> Geometry:
    """The window of a convolution or pooling over images of ``shape``."""
    stride = _pair(node, "strides", (1, 1), 1)
    dilation = _pair(node, "dilations", (1, 1), 1)
    window = Geometry(kernel, stride, dilation, (0, 0), (0, 0))
    if min(kernel) < 1 or max(kernel) > _LARGEST:
        raise node.error(f"has a kernel of {kernel}", "export the net again")
    auto = node.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max(0, (-(-size // step) - 1) * step + extent - size)
            for size, step, extent in zip(shape[2:], stride, window.extent, strict=True)
        ]
        return shared_padding(window, totals, auto)
    if auto not in ("NOTSET", "VALID", ""):
        raise node.error(f"has the unknown auto_pad '{auto}'", "export the net with explicit padding")
    pads = node.integers("pads", (0, 0, 0, 0)) if auto != "VALID" else (0, 0, 0, 0)
    if len(pads) != 4 or min(pads) < 0 or max(pads) > _LARGEST:
        raise node.error(f"has padding {pads}", "give 4 numbers that are not negative, two for each axis")
    return window._replace(begins=(pads[0], pads[1]), ends=(pads[2], pads[3]))


def shared_padding(window: Geometry, totals: list[int], auto: str) -> Geometry:
    """``window``, with the whole padding of each axis shared between both ends."""
    halves = [total // 2 for total in totals]
    rests = [total - half for total, half in zip(totals, halves, strict=True)]
    first, last = (halves, rests) if auto == "SAME_UPPER" else (rests, halves)
    return window._replace(begins=(first[0], first[1]), ends=(last[0], last[1]))


def _pair(node: Node, name: str, default: tuple[int, ...], least: int) -> Pair:
    found = node.integers(name, default)
    if len(found) != 2 or min(found) < least or max(found) > _LARGEST:
        raise node.error(f"has {name} {found}", f"give 2 numbers from {least} to {_LARGEST}")
    return found[0], found[1]


def kernel_shape(node: Node) -> Pair:
    """The attribute of this name."""
    return _pair(node, "kernel_shape", (), 1)


def optional_pair(node: Node, name: str, default: Pair) -> Pair:
    """Two numbers that may be 0."""
    return _pair(node, name, default, 0)
