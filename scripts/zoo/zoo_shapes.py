"""Shapes, weights and multiply-adds of a net in Caffe's current style, computed from its prototxt alone.

Uses textbook formulas and not the package, which is checked against them. Supports the layers of the zoo.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from caffe_lrp.formats.caffe import caffe_pb2

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sized:
    """A layer and its sizes.

    Attributes
    ----------
    message
        The layer as the prototxt describes it.
    inputs, output
        Shapes of the blobs, batch axis first.
    weights
        Shapes of the learned blobs; statistics of batch normalization are in `statistics`.
    multiply_adds
        Products that are added up in the layer; biases, comparisons and divisions are not counted.
    """

    message: Any
    inputs: tuple[Shape, ...]
    output: Shape
    weights: tuple[Shape, ...] = ()
    statistics: tuple[Shape, ...] = ()
    multiply_adds: int = 0

    @property
    def blobs(self) -> tuple[Shape, ...]:
        """Shapes of all blobs in the caffemodel."""
        return self.weights + self.statistics


@dataclass(frozen=True)
class SizedNet:
    """The layers of a net in order, with their sizes."""

    input_shape: Shape
    layers: tuple[Sized, ...]

    @property
    def parameters(self) -> int:
        """Number of learned parameters, without the statistics of batch normalization."""
        return sum(math.prod(shape) for layer in self.layers for shape in layer.weights)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of an image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def outputs(self) -> dict[str, Shape]:
        """Blobs that no layer reads, and their shapes."""
        read: set[str] = set()
        unread: dict[str, Shape] = {}
        for layer in reversed(self.layers):
            top = layer.message.top[0]
            if top not in read:
                unread[top] = layer.output
            read.update((*layer.message.bottom, top))
        return unread


def read_sized(path: Path) -> SizedNet:
    """Return the net of a prototxt with its sizes; KeyError for a layer type that the zoo does not have."""
    return read_sized_text(path.read_text(encoding="utf-8"))


def read_sized_text(text: str) -> SizedNet:
    """Return the net that the text of a prototxt describes, with its sizes."""
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    if net.input:
        name, input_shape = net.input[0], tuple(net.input_shape[0].dim)
    else:
        (name,) = net.layer[0].top
        input_shape = tuple(net.layer[0].input_param.shape[0].dim)
    return SizedNet(input_shape, tuple(_sized(net.layer, {name: input_shape})))


def _sized(layers: Sequence[Any], shapes: dict[str, Shape]) -> Iterator[Sized]:
    for message in layers:
        if message.type == "Input":
            continue
        sized = SIZES[message.type](message, tuple(shapes[name] for name in message.bottom))
        shapes[message.top[0]] = sized.output
        yield sized


def pair(plain: Any, high: int, wide: int, default: int) -> tuple[int, int]:
    """Return height and width of a size that is given as one number, as two numbers, or not at all."""
    listed = list(plain) if hasattr(plain, "__len__") else [plain] if plain else []
    if listed:
        return listed[0], listed[-1]
    return (high, wide) if high or wide else (default, default)


def convolution_geometry(parameters: Any) -> tuple[tuple[int, int], ...]:
    """Return kernel, stride, pad and dilation of a convolution, each as height and width."""
    p = parameters
    return (
        pair(p.kernel_size, p.kernel_h, p.kernel_w, 0),
        pair(p.stride, p.stride_h, p.stride_w, 1),
        pair(p.pad, p.pad_h, p.pad_w, 0),
        pair(p.dilation, 0, 0, 1),
    )


def _convolution(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    ((number, channels, *size),) = inputs
    p = message.convolution_param
    kernel, stride, pad, dilation = convolution_geometry(p)
    out = tuple(
        (side + 2 * border - step * (taps - 1) - 1) // move + 1
        for side, taps, move, border, step in zip(size, kernel, stride, pad, dilation, strict=True)
    )
    weight = (p.num_output, channels // p.group, *kernel)
    bias = ((p.num_output,),) if p.bias_term else ()
    return Sized(
        message,
        inputs,
        (number, p.num_output, *out),
        (weight, *bias),
        multiply_adds=math.prod(weight) * math.prod(out),
    )


def _deconvolution(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    ((number, channels, *size),) = inputs
    p = message.convolution_param
    kernel, stride, pad, dilation = convolution_geometry(p)
    out = tuple(
        move * (side - 1) + step * (taps - 1) + 1 - 2 * border
        for side, taps, move, border, step in zip(size, kernel, stride, pad, dilation, strict=True)
    )
    weight = (channels, p.num_output // p.group, *kernel)
    bias = ((p.num_output,),) if p.bias_term else ()
    return Sized(
        message,
        inputs,
        (number, p.num_output, *out),
        (weight, *bias),
        multiply_adds=math.prod(weight) * math.prod(size),
    )


def _inner_product(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    ((number, *shape),) = inputs
    outputs = message.inner_product_param.num_output
    weight = (outputs, math.prod(shape))
    bias = ((outputs,),) if message.inner_product_param.bias_term else ()
    return Sized(message, inputs, (number, outputs), (weight, *bias), multiply_adds=math.prod(weight))


def pooling_geometry(parameters: Any, size: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return kernel, stride and pad of a pooling layer, and the size of its output."""
    p = parameters
    if p.global_pooling:
        return (size[0], size[1]), (1, 1), (0, 0), (1, 1)
    kernel = pair(p.kernel_size, p.kernel_h, p.kernel_w, 0)
    stride = pair(p.stride, p.stride_h, p.stride_w, 1)
    pad = pair(p.pad, p.pad_h, p.pad_w, 0)
    rounds_up = p.ceil_mode and p.round_mode == caffe_pb2.PoolingParameter.CEIL
    out = []
    for side, taps, move, border in zip(size, kernel, stride, pad, strict=True):
        steps = (side + 2 * border - taps) / move
        count = (math.ceil(steps) if rounds_up else math.floor(steps)) + 1
        # With padding, Caffe has every window begin inside the image or the padding before it.
        out.append(count - 1 if any(pad) and (count - 1) * move >= side + border else count)
    return kernel, stride, pad, (out[0], out[1])


def _pooling(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    ((number, channels, *size),) = inputs
    *_, out = pooling_geometry(message.pooling_param, size)
    return Sized(message, inputs, (number, channels, *out))


def _unchanged(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    return Sized(message, inputs, inputs[0])


def _sum(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    if len(set(inputs)) > 1:
        raise ValueError(f"layer '{message.name}' adds up blobs of shapes {inputs}")
    return Sized(message, inputs, inputs[0])


def _axpy(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    factor, scaled, added = inputs
    if factor != (*scaled[:2], 1, 1) or added != scaled:
        raise ValueError(f"layer '{message.name}' combines blobs of shapes {inputs}")
    return Sized(message, inputs, scaled)


def _concat(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    if len({(shape[0], *shape[2:]) for shape in inputs}) > 1:
        raise ValueError(f"layer '{message.name}' joins blobs of shapes {inputs}")
    number, _, *size = inputs[0]
    return Sized(message, inputs, (number, sum(shape[1] for shape in inputs), *size))


def _batch_norm(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    channels = inputs[0][1]
    return Sized(message, inputs, inputs[0], statistics=((channels,), (channels,), (1,)))


def _scale(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    channels = inputs[0][1]
    count = 2 if message.scale_param.bias_term else 1
    return Sized(message, inputs, inputs[0], ((channels,),) * count)


def _crop(message: Any, inputs: tuple[Shape, ...]) -> Sized:
    cropped, like = inputs
    axis = message.crop_param.axis
    offset = max(message.crop_param.offset)
    for whole, part in zip(cropped[axis:], like[axis:], strict=True):
        if offset + part > whole:
            raise ValueError(f"layer '{message.name}' cuts {part} of {whole} elements after {offset}")
    return Sized(message, inputs, (*cropped[:axis], *like[axis:]))


#: Layer type -> its sizes.
SIZES: Mapping[str, Callable[[Any, tuple[Shape, ...]], Sized]] = {
    "Axpy": _axpy,
    "BatchNorm": _batch_norm,
    "Concat": _concat,
    "Convolution": _convolution,
    "ConvolutionDepthwise": _convolution,
    "Crop": _crop,
    "Deconvolution": _deconvolution,
    "Dropout": _unchanged,
    "Eltwise": _sum,
    "InnerProduct": _inner_product,
    "LRN": _unchanged,
    "Pooling": _pooling,
    "ReLU": _unchanged,
    "ReLU6": _unchanged,
    "Scale": _scale,
    "ShuffleChannel": _unchanged,
    "Sigmoid": _unchanged,
    "Softmax": _unchanged,
}
