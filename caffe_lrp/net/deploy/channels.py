"""The number of channels of images, derived from the first weights that read them."""

import math
from collections.abc import Callable, Mapping, Sequence

from caffe_lrp.formats.caffe.reader import StoredWeights
from caffe_lrp.formats.caffe.wiring import Value
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.layers import REGISTRY
from caffe_lrp.layers.base import Neuron

from .training import TrainingNet

#: Layers, apart from neurons, that change neither the number of channels nor height and width.
_SAME_SHAPE = ("BatchNorm", "Bias", "BN", "Eltwise", "LRN", "MVN", "Normalize", "Scale", "Split")
#: Layers that change only height and width.
_SAME_CHANNELS = ("Crop", "Interp", "Pooling", "Upsample")
#: Layers that keep the numbers and change only the shape.
_SAME_NUMBERS = ("Flatten", "Reshape")


def _of_convolution(layer: LayerSpec, shape: Shape) -> int | None:
    if len(shape) != 4:
        return None
    return shape[1] * layer.parameters.convolution_param.group


def _of_first_axis(layer: LayerSpec, shape: Shape) -> int | None:
    return shape[0] if len(shape) == 4 else None


def _of_numbers(layer: LayerSpec, shape: Shape) -> int | None:
    return math.prod(shape)


def _of_scale(layer: LayerSpec, shape: Shape) -> int | None:
    parameters = layer.parameters.scale_param if layer.type == "Scale" else layer.parameters.bias_param
    return math.prod(shape) if (parameters.axis, parameters.num_axes) == (1, 1) else None


def _of_slopes(layer: LayerSpec, shape: Shape) -> int | None:
    return None if layer.parameters.prelu_param.channel_shared else math.prod(shape)


#: Type of a layer -> the number of channels of its input, by the shape of its first blob.
_CHANNELS: Mapping[str, Callable[[LayerSpec, Shape], int | None]] = {
    "BatchNorm": _of_numbers,
    "Bias": _of_scale,
    "BN": _of_numbers,
    "Convolution": _of_convolution,
    "ConvolutionDepthwise": _of_first_axis,
    "Deconvolution": _of_first_axis,
    "DepthwiseConvolution": _of_first_axis,
    "PReLU": _of_slopes,
    "Scale": _of_scale,
}


def channels_by_weights(
    net: TrainingNet, weights: StoredWeights, value: Value, size: tuple[int, int]
) -> int | None:
    """The number of channels of the images in ``value``; None if no weights determine it.

    Parameters
    ----------
    net
        The net, not necessarily converted yet.
    weights
        Blobs of the caffemodel by layer name.
    value
        The output of a data layer.
    size
        Height and width of the images.
    """
    with_channels, with_numbers = {value}, {value}
    for number in net.kept:
        layer, read = net.layers[number], net.wiring.read[number]
        shapes = [blob.shape for blob in weights.get(layer.name, ())]
        found = None
        if shapes and not with_channels.isdisjoint(read) and layer.type in _CHANNELS:
            found = _CHANNELS[layer.type](layer, shapes[0])
        elif shapes and not with_numbers.isdisjoint(read) and layer.type == "InnerProduct":
            found = _of_product(layer, shapes, size)
        if found:
            return found
        written = net.wiring.written(number)
        kind = layer.type
        is_same = kind in _SAME_SHAPE or issubclass(REGISTRY.get(kind, object), Neuron)
        if (is_same or kind in _SAME_CHANNELS) and not with_channels.isdisjoint(read):
            with_channels.update(written)
        if (is_same or kind in _SAME_NUMBERS) and not with_numbers.isdisjoint(read):
            with_numbers.update(written)
    return None


def _of_product(layer: LayerSpec, shapes: Sequence[Shape], size: tuple[int, int]) -> int | None:
    """Channels of the images that an inner product reads as a whole."""
    parameters = layer.parameters.inner_product_param
    matrix = shapes[0][-2:]
    if len(matrix) < 2 or parameters.axis != 1:
        return None
    channels, rest = divmod(matrix[0 if parameters.transpose else 1], math.prod(size))
    return None if rest else channels
