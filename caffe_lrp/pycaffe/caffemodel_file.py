"""Writing a caffemodel: layers with their blobs, in the current style of Caffe's binary format."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from caffe_lrp.files.atomic import write_atomically
from caffe_lrp.formats.caffe.caffe_pb2 import BlobProto, BlobShape, LayerParameter, NetParameter
from caffe_lrp.formats.spec import LayerSpec

from .blob import Floats, Weight

#: Numbers of fields that hold bytes (facts of the format).
_NET_LAYER, _LAYER_BLOBS, _BLOB_DATA = 100, 7, 5
_LENGTH_DELIMITED = 2


def write(path: Path, name: str, layers: Iterable[LayerSpec], params: Mapping[str, Sequence[Weight]]) -> None:
    """Write the layers of a net.

    Raises
    ------
    ImageError, OutputError
        The file cannot be written; no part of it is left behind.
    """
    parts = [NetParameter(name=name).SerializeToString()]
    for layer in layers:
        head = LayerParameter(name=layer.name, type=layer.type, bottom=layer.bottoms, top=layer.tops)
        blobs = [_field(_LAYER_BLOBS, _blob(weight.data)) for weight in params.get(layer.name, ())]
        parts.append(_field(_NET_LAYER, b"".join([head.SerializeToString(), *blobs])))
    write_atomically(path, b"".join(parts))


def _blob(numbers: Floats) -> bytes:
    """A BlobProto; its numbers are packed here, since protobuf would take them one by one."""
    shape = BlobProto(shape=BlobShape(dim=numbers.shape)).SerializeToString()
    return shape + _field(_BLOB_DATA, numbers.astype("<f4").tobytes())


def _field(number: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """A whole number, seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))
