"""Bounds of the values that layers compute from the image by moving, scaling and shifting only."""

from collections.abc import Mapping, Sequence

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.net.net import Net

#: Lowest and highest number of every element: (1, …), in the shape of one item.
Bounds = tuple[Blob, Blob]


def bounded_values(net: Net) -> frozenset[int]:
    """Values with bounds that follow from those of the image."""
    found = {net.input_value}
    for layer in net.layers:
        varying = _varying(layer, net)
        if varying and found.issuperset(varying) and layer.keeps_bounds(len(varying)):
            found.update(layer.outputs)
    return frozenset(found)


def bounds_of_values(net: Net, lowest: Sequence[float], highest: Sequence[float]) -> Mapping[int, Bounds]:
    """Bounds of all `bounded_values`.

    Parameters
    ----------
    net
        The net, with its weights.
    lowest, highest
        Bounds of the image, one number per channel.
    """
    bounded, workspace = bounded_values(net), Workspace()
    fixed = net.filled_constants(1)
    found = {net.input_value: (_of_image(lowest, net), _of_image(highest, net))}
    for layer in net.layers:
        if net.fixed_values.issuperset(layer.outputs) and layer.outputs:
            outputs = layer.forward([fixed[value] for value in layer.inputs], workspace)
            fixed.update(zip(layer.outputs, outputs, strict=True))
        elif bounded.issuperset(layer.outputs):
            ends = [layer.forward(_inputs(layer, fixed, found, end), workspace) for end in (0, 1)]
            pairs = [(np.minimum(*pair), np.maximum(*pair)) for pair in zip(*ends, strict=True)]
            found.update(zip(layer.outputs, pairs, strict=True))
    return found


def _varying(layer: Layer, net: Net) -> list[int]:
    """Inputs of a layer that depend on the image, unless only their shape matters."""
    numbered = enumerate(layer.inputs)
    read = [value for place, value in numbered if place not in layer.shape_inputs]
    return [value for value in read if value not in net.fixed_values]


def _of_image(numbers: Sequence[float], net: Net) -> Blob:
    """A blob of the image's shape, filled with one number per channel."""
    channels = np.array(numbers, np.float32).reshape(1, -1, *(1,) * (len(net.input_shape) - 1))
    return np.ascontiguousarray(np.broadcast_to(channels, (1, *net.input_shape)))


def _inputs(layer: Layer, fixed: Mapping[int, Blob], bounds: Mapping[int, Bounds], end: int) -> list[Blob]:
    """The bounds of a layer's inputs; 0 where only the shape matters."""
    read = []
    for value, shape in zip(layer.inputs, layer.input_shapes, strict=True):
        other = fixed[value] if value in fixed else np.zeros((1, *shape), np.float32)
        read.append(bounds[value][end] if value in bounds else other)
    return read
