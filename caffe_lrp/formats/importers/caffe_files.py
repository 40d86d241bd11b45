"""Writing Caffe files: the prototxt and the caffemodel of a net from elsewhere."""

from collections.abc import Iterator

import numpy as np
from google.protobuf import text_format

from caffe_lrp.formats.caffe import caffe_pb2

from .imported import ImportedLayer, ImportedNet


def prototxt_of(net: ImportedNet) -> str:
    """The text of a deploy prototxt."""
    message = caffe_pb2.NetParameter(name=net.name)
    message.input.append(net.input_name)
    message.input_shape.add(dim=net.input_shape)
    message.layer.extend(map(_without_blobs, net.layers))
    return text_format.MessageToString(message, as_utf8=True)


def caffemodel_of(net: ImportedNet) -> Iterator[bytes]:
    """The bytes of a caffemodel, layer by layer, so that no second copy of all weights is in memory."""
    yield caffe_pb2.NetParameter(name=net.name).SerializeToString()
    for layer in net.layers:
        if layer.blobs:
            message = _without_parameters(layer)
            for blob in layer.blobs:
                # Values are assigned from the buffer: a list of Python numbers takes ten times the memory.
                added = message.blobs.add(shape=caffe_pb2.BlobShape(dim=blob.shape))
                added.data.extend(np.ascontiguousarray(blob, np.float32).ravel())
            yield caffe_pb2.NetParameter(layer=[message]).SerializeToString()


def _without_parameters(layer: ImportedLayer) -> caffe_pb2.LayerParameter:
    return caffe_pb2.LayerParameter(name=layer.name, type=layer.type, bottom=layer.bottoms, top=layer.tops)


def _without_blobs(layer: ImportedLayer) -> caffe_pb2.LayerParameter:
    return caffe_pb2.LayerParameter(
        name=layer.name, type=layer.type, bottom=layer.bottoms, top=layer.tops, **layer.parameters
    )
