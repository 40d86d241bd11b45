"""Writing Caffe files: the prototxt and the caffemodel of a net from elsewhere."""

from collections.abc import Iterator

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray

from caffe_lrp.formats.caffe import caffe_pb2

from .imported import ImportedLayer, ImportedNet

#: Numbers of fields: of layers in a net, of blobs in a layer, of numbers in a blob; and their wire type.
_LAYERS, _BLOBS, _NUMBERS = 100, 7, 5
_LENGTH_DELIMITED = 2


def prototxt_of(net: ImportedNet) -> str:
    """The text of a deploy prototxt."""
    message = caffe_pb2.NetParameter(name=net.name)
    message.input.append(net.input_name)
    message.input_shape.add(dim=net.input_shape)
    message.layer.extend(map(_without_blobs, net.layers))
    return text_format.MessageToString(message, as_utf8=True)


def caffemodel_of(net: ImportedNet) -> Iterator[bytes]:
    """The bytes of a caffemodel in pieces, so that no second copy of all weights is in memory.

    Numbers are written as they are in memory: protobuf's lists of Python numbers take minutes for large nets.
    """
    yield caffe_pb2.NetParameter(name=net.name).SerializeToString()
    for layer in net.layers:
        if layer.blobs:
            head = caffe_pb2.LayerParameter(
                name=layer.name, type=layer.type, bottom=layer.bottoms, top=layer.tops
            ).SerializeToString()
            framed = [_framed_blob(blob) for blob in layer.blobs]
            yield (
                _field(_LAYERS, len(head) + sum(map(len, (part for parts in framed for part in parts))))
                + head
            )
            for parts in framed:
                yield from parts


def _framed_blob(blob: NDArray[np.float32]) -> tuple[bytes, bytes]:
    """The field of a blob in a layer: what comes before the numbers, and these."""
    numbers = np.ascontiguousarray(blob, "<f4").tobytes()
    shape = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=blob.shape)).SerializeToString()
    inner = shape + _field(_NUMBERS, len(numbers))
    return _field(_BLOBS, len(inner) + len(numbers)) + inner, numbers


def _field(number: int, length: int) -> bytes:
    """The beginning of a field of ``length`` bytes."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _without_blobs(layer: ImportedLayer) -> caffe_pb2.LayerParameter:
    return caffe_pb2.LayerParameter(
        name=layer.name, type=layer.type, bottom=layer.bottoms, top=layer.tops, **layer.parameters
    )
