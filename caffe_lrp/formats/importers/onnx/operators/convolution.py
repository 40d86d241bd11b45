"""Convolutions and transposed convolutions."""

from typing import Any

from ..layers import NetBuilder
from ..node import Node
from ..tensors import Array
from .windows import Geometry, geometry, optional_pair, require_image, shared_padding


def _parameters(node: Node, window: Geometry, outputs: int, blobs: list[Array]) -> dict[str, Any]:
    found: dict[str, Any] = {"num_output": outputs, "bias_term": len(blobs) > 1} | window.parameters()
    groups = node.integer("group", 1)
    if groups != 1:
        found["group"] = groups
    if max(window.dilation) > 1:
        found["dilation"] = list(window.dilation)
    return found


def _blobs(net: NetBuilder, node: Node, outputs_axis: int) -> tuple[list[Array], int]:
    """The weights and the bias if there is one, and the number of output channels."""
    shape, groups = net.constant_shape(node, 1, "weights"), node.integer("group", 1)
    if len(shape) != 4 or groups < 1 or shape[0] % groups:
        raise node.error(
            f"has weights of shape {shape} in {groups} groups", "only 2-D convolutions are supported"
        )
    weights = net.constant(node, 1, "weights")
    outputs = weights.shape[outputs_axis] * (groups if outputs_axis else 1)
    bias = net.optional_constant(node, 2, "bias")
    if bias is not None and bias.shape != (outputs,):
        raise node.error(
            f"has a bias of shape {bias.shape} for {outputs} output channels", "export the net again"
        )
    return [weights] if bias is None else [weights, bias], outputs


def _conv(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    require_image(node, value.shape)
    blobs, outputs = _blobs(net, node, 0)
    _, inputs, *kernel = blobs[0].shape
    if inputs * node.integer("group", 1) != value.shape[1]:
        raise node.error(
            f"has weights of shape {blobs[0].shape} for an input of {value.shape[1]} channels",
            "export the net again",
        )
    window = geometry(node, value.shape, (kernel[0], kernel[1]))
    size = [
        (length + begin + end - extent) // stride + 1
        for length, begin, end, extent, stride in zip(
            value.shape[2:], window.begins, window.ends, window.extent, window.stride, strict=True
        )
    ]
    parameters = {"convolution_param": _parameters(node, window, outputs, blobs)}
    shape = (value.shape[0], outputs, *size)
    net.bind(node.outputs[0], net.add(node, "Convolution", (value,), shape, parameters, blobs, weights=1))


def _conv_transpose(net: NetBuilder, node: Node) -> None:
    value = net.value(node)
    require_image(node, value.shape)
    blobs, outputs = _blobs(net, node, 1)
    inputs, _, *kernel = blobs[0].shape
    if inputs != value.shape[1]:
        raise node.error(
            f"has weights of shape {blobs[0].shape} for an input of {value.shape[1]} channels",
            "export the net again",
        )
    extra = optional_pair(node, "output_padding", (0, 0))
    window = _transposed_window(node, value.shape, (kernel[0], kernel[1]), extra)
    # Rows and columns that are added at the end can be taken from the padding, which is cut off there.
    taken = tuple(min(end, added) for end, added in zip(window.ends, extra, strict=True))
    window = window._replace(ends=(window.ends[0] - taken[0], window.ends[1] - taken[1]))
    rest = [added - own for added, own in zip(extra, taken, strict=True)]
    numbers = _parameters(node, window, outputs, blobs) | ({"output_pad": rest} if any(rest) else {})
    size = [
        (length - 1) * stride + extent - begin - end + added
        for length, stride, extent, begin, end, added in zip(
            value.shape[2:], window.stride, window.extent, window.begins, window.ends, rest, strict=True
        )
    ]
    shape = (value.shape[0], outputs, *size)
    found = net.add(node, "Deconvolution", (value,), shape, {"convolution_param": numbers}, blobs, weights=1)
    net.bind(node.outputs[0], found)


def _transposed_window(
    node: Node, shape: tuple[int, ...], kernel: tuple[int, int], extra: tuple[int, int]
) -> Geometry:
    """The window, whose padding may follow from the size of the output."""
    auto = node.text("auto_pad", "NOTSET")
    window = geometry(node, shape, kernel)
    wanted = node.integers("output_shape")[-2:]
    if auto.startswith("SAME") and not wanted:
        wanted = tuple(length * stride for length, stride in zip(shape[2:], window.stride, strict=True))
    if not wanted:
        return window
    if len(wanted) != 2:
        raise node.error(f"has output_shape {wanted}", "give the height and width")
    totals = [
        stride * (length - 1) + added + extent - size
        for stride, length, added, extent, size in zip(
            window.stride, shape[2:], extra, window.extent, wanted, strict=True
        )
    ]
    if min(totals) < 0:
        raise node.error(
            f"has an output of {wanted}, larger than its windows reach", "export it with output_padding"
        )
    return shared_padding(window, totals, "SAME_UPPER" if auto == "SAME_UPPER" else "SAME_LOWER")


CONVERTERS = {"Conv": _conv, "ConvTranspose": _conv_transpose}
