"""Layers that share learned blobs, which their ``param { name: … }`` say."""

from collections.abc import Mapping

from caffe_lrp.proto.reader import StoredBlob
from caffe_lrp.proto.spec import NetSpec

Weights = Mapping[str, tuple[StoredBlob, ...]]


def with_shared_weights(spec: NetSpec, weights: Weights) -> Weights:
    """``weights``, and those of layers that have none of their own but share all with others.

    Caffe stores shared blobs once for every layer; other programs that write caffemodels do not.
    """
    owners: dict[str, StoredBlob] = {}
    completed = dict(weights)
    for layer in spec.layers:
        names = [parameter.name for parameter in layer.parameters.param]
        if names and layer.name not in weights and all(name in owners for name in names):
            completed[layer.name] = tuple(owners[name] for name in names)
        for name, blob in zip(names, weights.get(layer.name, ()), strict=False):
            if name:
                owners.setdefault(name, blob)
    return completed
