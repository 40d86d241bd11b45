"""Resize and its forerunner Upsample."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import NetBuilder, Value
from ..node import Node
from .axes import padded
from .windows import require_image

_ADVICE = "use nearest or bilinear interpolation by a whole factor, or bilinear with aligned corners"

#: Coordinates of outputs in the input: number of the output, scale, sizes of input and output.
_PLACES: Mapping[str, Callable[[NDArray[Any], float, int, int], NDArray[Any]]] = {
    "half_pixel": lambda out, scale, have, want: (out + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda out, scale, have, want: (out + 0.5) / scale - 0.5 if want > 1 else out * 0.0,
    "asymmetric": lambda out, scale, have, want: out / scale,
    "align_corners": lambda out, scale, have, want: out * (have - 1) / max(want - 1, 1),
}
_ROUNDINGS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "round_prefer_floor": lambda places: np.ceil(places - 0.5),
    "round_prefer_ceil": lambda places: np.floor(places + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _resize(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    require_image(node, value.shape)
    size, scales = _size(net, node, value)
    mode = node.text("mode", "nearest")
    is_old = node.operator == "Upsample" or net.opset < 11
    places = "asymmetric" if is_old else node.text("coordinate_transformation_mode", "half_pixel")
    if (*value.shape[:2], *size) == value.shape:
        net.rename(node, value)
    elif mode == "nearest" and places in _PLACES:
        net.bind(node.outputs[0], _nearest(net, node, value, size, scales, places))
    elif mode in ("linear", "bilinear") and places == "align_corners" and _is_whole(value, size, scales):
        numbers = {"interp_param": {"height": size[0], "width": size[1]}}
        net.bind(node.outputs[0], net.add(node, "Interp", (value,), (*value.shape[:2], *size), numbers))
    elif (
        mode in ("linear", "bilinear")
        and places in ("half_pixel", "pytorch_half_pixel")
        and not node.integer("antialias", 0)
    ):
        net.bind(node.outputs[0], _bilinear(net, node, value, size))
    else:
        raise node.error(f"resizes in mode '{mode}' with coordinates '{places}'", _ADVICE)


def _size(net: NetBuilder, node: Node, value: Value) -> tuple[tuple[int, int], tuple[float, float]]:
    """Height and width of the output, and their scales."""
    if "scales" in node.attributes:  # opset 7
        scales = np.array(node.attributes["scales"], np.float64)
    else:
        place = 1 if len(node.inputs) < 3 else 2
        given = net.optional_constant(node, place, "scales")
        scales = np.zeros(0) if given is None else given.astype(np.float64).ravel()
    if (
        scales.size == 4
        and tuple(scales[:2]) == (1, 1)
        and np.isfinite(scales).all()
        and 0 < scales.min() <= scales.max() < 1e4
    ):
        sizes = [
            int(np.floor(length * scale)) for length, scale in zip(value.shape[2:], scales[2:], strict=True)
        ]
        return (sizes[0], sizes[1]), (float(scales[2]), float(scales[3]))
    wanted = net.optional_constant(node, 3, "sizes") if len(node.inputs) > 3 else None
    if (
        wanted is None
        or wanted.size != 4
        or tuple(map(int, wanted.ravel()[:2])) != value.shape[:2]
        or wanted.min() < 1
    ):
        raise node.error(f"resizes shape {value.shape} in another way than its height and width", _ADVICE)
    height, width = map(int, wanted.ravel()[2:])
    return (height, width), (height / value.shape[2], width / value.shape[3])


def _is_whole(value: Value, size: tuple[int, int], scales: tuple[float, float]) -> bool:
    """Whether the scales give the size without rounding, which would move the corners."""
    wanted = np.multiply(value.shape[2:], scales)
    return bool(np.allclose(wanted, size, rtol=1e-5))


def _nearest(
    net: NetBuilder, node: Node, value: Value, size: tuple[int, int], scales: tuple[float, float], places: str
) -> Value:
    rounding = node.text("nearest_mode", "round_prefer_floor") if net.opset >= 11 else "floor"
    for have, want, scale in zip(value.shape[2:], size, scales, strict=True):
        if want % have or rounding not in _ROUNDINGS or want > 2**20:
            raise node.error(f"resizes {have} to {want} pixels by '{rounding}'", _ADVICE)
        found = _ROUNDINGS[rounding](_PLACES[places](np.arange(want, dtype=np.float64), scale, have, want))
        if not np.array_equal(np.clip(found, 0, have - 1), np.arange(want) // (want // have)):
            raise node.error("does not repeat every pixel equally often", _ADVICE)
    times = [want // have for have, want in zip(value.shape[2:], size, strict=True)]
    numbers = {"upsample_param": {"scale_h": times[0], "scale_w": times[1]}}
    return net.add(node, "Upsample", (value,), (*value.shape[:2], *size), numbers)


def _bilinear(net: NetBuilder, node: Node, value: Value, size: tuple[int, int]) -> Value:
    """Bilinear interpolation by a whole factor: a border, then a transposed convolution by channel."""
    batch, channels, height, width = value.shape
    factor = size[0] // height
    if size != (height * factor, width * factor) or not 1 < factor <= 64:
        raise node.error(f"interpolates {height}×{width} to {size[0]}×{size[1]} pixels", _ADVICE)
    border = padded(net, node, value, ((0, 0, 1, 1), (0, 0, 1, 1)), "EDGE")
    length = 2 * factor - factor % 2
    weights = 1 - np.abs(np.arange(length) - (length - 1) / 2) / factor
    kernel = np.broadcast_to(np.outer(weights, weights), (channels, 1, length, length))
    numbers = {
        "num_output": channels,
        "group": channels,
        "bias_term": False,
        "kernel_size": [length],
        "stride": [factor],
        "pad": [factor + (length - factor) // 2],
    }
    return net.add(
        node, "Deconvolution", (border,), (batch, channels, *size), {"convolution_param": numbers}, (kernel,)
    )


CONVERTERS = {"Resize": _resize, "Upsample": _resize}
