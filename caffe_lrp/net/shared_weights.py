"""Layers that share learned blobs by ``param { name: … }``.

Source: Caffe's net.cpp. A caffemodel contains the blobs of every layer, with shared ones repeated, and
layers are found by name. Other programs that write caffemodels store a shared blob once.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import ParamSpec
from caffe_lrp.formats.caffe.reader import StoredBlob, StoredWeights
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.layers import Layer


def with_shared_weights(
    described: Sequence[LayerSpec], layers: Sequence[Layer], weights: StoredWeights
) -> StoredWeights:
    """``weights``, completed by those of layers that share all of their weights with others.

    Parameters
    ----------
    described
        All layers of the prototxt, including those that are not in the net.
    layers
        The net's layers, with or without weights.
    weights
        Blobs of the caffemodel by layer name.
    """
    needed = {layer.name: layer.weight_shapes for layer in layers if layer.weight_shapes}
    owners: dict[str, StoredBlob] = {}
    for layer in described:
        for parameter, blob in zip(layer.parameters.param, weights.get(layer.name, ()), strict=False):
            if parameter.name:
                owners.setdefault(parameter.name, blob)
    completed = dict(weights)
    for layer in described:
        parameters = layer.parameters.param
        if layer.name not in weights and parameters and all(each.name in owners for each in parameters):
            stored = [owners[parameter.name] for parameter in parameters]
            shapes = needed.get(layer.name, ())
            completed[layer.name] = tuple(
                _reshaped(blob, parameter, shapes[number] if number < len(shapes) else blob.shape)
                for number, (parameter, blob) in enumerate(zip(parameters, stored, strict=True))
            )
    return completed


def _reshaped(blob: StoredBlob, parameter: ParamSpec, shape: Shape) -> StoredBlob:
    """A shared blob in the shape that its layer needs, if only the number of elements has to match."""
    fits = parameter.share_mode == ParamSpec.PERMISSIVE and math.prod(shape) == blob.count
    return replace(blob, shape=shape) if fits else blob


def refuse_shared_names(specs: Sequence[LayerSpec], layers: Sequence[Layer], source: str) -> None:
    """Reject layers with the same name but different weights: weights are matched by name.

    Layers that share all their weights may have the same name.

    Parameters
    ----------
    specs, layers
        The layers as described in the prototxt, and the layers of the net.
    source
        The prototxt, for messages.

    Raises
    ------
    ModelError
        There are such layers; the message names them.
    """
    owners: dict[str, tuple[LayerSpec, Layer]] = {}
    for spec, layer in zip(specs, layers, strict=True):
        if not layer.weight_shapes:
            continue
        other_spec, other = owners.setdefault(layer.name, (spec, layer))
        names, shapes = _parameter_names(spec), layer.weight_shapes
        is_one_set = (names, shapes) == (_parameter_names(other_spec), other.weight_shapes)
        if other is not layer and not (is_one_set and len(names) == len(shapes)):
            raise ModelError(
                f"{source}: layers {other.index} and {layer.index} are both named '{layer.name}'; weights "
                "are matched by name, so rename one here and in the caffemodel; if they share all weights, "
                "give every blob the same param { name: … } in both"
            )


def _parameter_names(spec: LayerSpec) -> tuple[str, ...]:
    """Names of all learned blobs of a layer; empty if one has no name."""
    names = tuple(parameter.name for parameter in spec.parameters.param)
    return names if all(names) else ()
