"""Caffe's binary files: learned blobs of a caffemodel, and single BlobProtos such as mean images.

`scan_caffemodel` reads only headers; `StoredBlob.read` reads one blob directly into an aligned array.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ModelError
from caffe_lrp.files.reading import require_file, why_unreadable
from caffe_lrp.files.recognition import HEAD_BYTES, SEARCHED_BYTES, why_foreign
from caffe_lrp.formats.spec import Shape

from .wire import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, Field, WireError, WireFile

_ALIGNMENT = 64
_UNPACKED_RUN_BYTES = 1 << 20
_MOST_PIECES = 4096
#: As in Caffe.
_MOST_AXES = 32
#: Bytes of this many packed sizes, at most ten bytes each.
_MOST_SHAPE_BYTES = 10 * (_MOST_AXES + 1)
_LONGEST_NAME_BYTES = 1 << 16
#: Numbers of the fields with a layer's name and blobs, by the number of the NetParameter field that holds
#: the layer (100 current, 2 V1; V0 layers are nested in V1 ones). Facts of the format.
_CURRENT, _V1 = 100, 2
_LAYER_FIELDS = {_CURRENT: (1, 7), _V1: (4, 6)}
_NESTED_LAYER, _V0_FIELDS = 1, (1, 50)
_BLOB_SHAPE, _BLOB_DATA, _BLOB_DOUBLE_DATA = 7, 5, 8
#: Fields in caffemodels of NVIDIA's Caffe: the raw bytes of the numbers, and their type.
_BLOB_RAW_TYPE, _BLOB_RAW_DATA = 10, 12
_RAW_TYPES: dict[int, np.dtype[Any]] = dict(enumerate(map(np.dtype, ("<f8", "<f4", "<f2"))))
_LEGACY_DIMENSIONS = (1, 2, 3, 4)
_ELEMENT_TYPES: dict[int, np.dtype[Any]] = {_BLOB_DATA: np.dtype("<f4"), _BLOB_DOUBLE_DATA: np.dtype("<f8")}
_UNPACKED_WIRE_TYPES = {_BLOB_DATA: FIXED32, _BLOB_DOUBLE_DATA: FIXED64}
_NOT_TEXT = re.compile(rb"[^\t\n\r -~]")
#: First field numbers and wire types of files that are not a NetParameter (facts of their formats).
_MEAN_BEGINNINGS = (((1, VARINT), (2, VARINT)), ((5, LENGTH_DELIMITED), (7, LENGTH_DELIMITED)))
_SOLVERSTATE_BEGINNINGS = (
    ((1, VARINT), (2, LENGTH_DELIMITED)),
    ((1, VARINT), (3, LENGTH_DELIMITED)),
    ((1, VARINT), (4, VARINT)),
)

_TEXT_BLOBS = re.compile(rb"\bblobs\s*[{<:]")
_TEXT_CONVERSION = "write it in the binary format, see 'Converting weights' in caffe-lrp help nets"


@dataclass(frozen=True)
class _Piece:
    """A run of numbers in the file: packed, or one tag byte before each (``is_packed`` False)."""

    start: int
    count: int
    element: np.dtype[Any]
    is_packed: bool


@dataclass(frozen=True)
class StoredBlob:
    """A blob stored in a file: its shape, and the position of its numbers."""

    path: Path
    shape: Shape
    pieces: tuple[_Piece, ...]

    @property
    def count(self) -> int:
        """Number of stored elements."""
        return sum(piece.count for piece in self.pieces)

    def read(self) -> NDArray[np.float32]:
        """Return the blob as an aligned, C-contiguous float32 array in its own shape.

        Raises
        ------
        ModelError
            The file cannot be read or has shrunk since it was scanned.
        """
        blob = _aligned(self.count)
        position = 0
        with _opened(self.path) as file:
            for piece in self.pieces:
                _read_piece(file, piece, blob[position : position + piece.count])
                position += piece.count
        return blob.reshape(self.shape)


#: Blobs of a caffemodel by layer name.
StoredWeights = Mapping[str, tuple[StoredBlob, ...]]


def scan_caffemodel(path: Path) -> dict[str, tuple[StoredBlob, ...]]:
    """Learned blobs of every layer that has any, by layer name; only headers are read.

    Raises
    ------
    ModelError
        The file is missing, truncated, no caffemodel, or contains no layer with weights.
    """
    layers: dict[int, dict[str, tuple[StoredBlob, ...]]] = {_CURRENT: {}, _V1: {}}
    require_file(path, "caffemodel", ModelError)
    with _opened(path, _why_no_caffemodel) as file:
        for field in file.fields(0, file.size):
            if field.number in _LAYER_FIELDS and field.wire_type == LENGTH_DELIMITED:
                name, blobs = _scan_layer(file, field, _LAYER_FIELDS[field.number], path)
                if blobs:
                    layers[field.number][name] = blobs
        if not any(layers.values()):
            raise ModelError(
                f"{path}: contains no layer with weights; give the caffemodel of the trained net"
            )
    # Caffe takes the later of two layers with one name, and the old style if a file has both.
    return layers[_CURRENT] | layers[_V1]


def scan_blob(path: Path) -> StoredBlob:
    """The blob in a file that holds one BlobProto, such as ``imagenet_mean.binaryproto``; not yet read.

    Raises
    ------
    ModelError
        The file is missing, truncated, or no BlobProto.
    """
    require_file(path, "mean image", ModelError)
    with _opened(path, _why_no_mean) as file:
        blob = _scan_blob(file, Field(0, LENGTH_DELIMITED, 0, file.size), path, "the blob")
        if not blob.count:
            raise ModelError(f"{path}: contains no mean image (a BlobProto); check mean_file in the config")
    return blob


@contextmanager
def _opened(path: Path, why_other: Callable[[WireFile], str] | None = None) -> Iterator[WireFile]:
    """Open the file; errors while reading it become a ModelError that names it.

    ``why_other`` then checks whether it is a well-known file of another kind.
    """
    try:
        with WireFile(path) as file:
            try:
                yield file
            except (WireError, ModelError) as error:
                other = why_other(file) if why_other else ""
                if other:
                    raise ModelError(f"{path}: {other}") from error
                raise
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {why_unreadable(error, path)}") from error
    except WireError as error:
        raise ModelError(
            f"{path}: is truncated or not one of Caffe's binary files ({error}); download or copy it again"
        ) from error


def _why_no_caffemodel(file: WireFile) -> str:
    """What kind of file was given instead of a caffemodel; empty if unknown."""
    other = _why_other_format(file, "caffemodel", "is it the prototxt?")
    if other:
        return other
    fields: list[Field] = []
    with suppress(WireError):
        fields.extend(itertools.islice(file.fields(0, file.size), 2))
    first = tuple((field.number, field.wire_type) for field in fields)
    if first in _SOLVERSTATE_BEGINNINGS:
        return (
            "is a solverstate (for resuming training), not a caffemodel; give the caffemodel that was saved "
            "with it"
        )
    if first in _MEAN_BEGINNINGS:
        return "is a mean image, not a caffemodel; were mean_file and model_file swapped?"
    return ""


def _why_no_mean(file: WireFile) -> str:
    """What kind of file was given instead of a BlobProto; empty if unknown."""
    return _why_other_format(
        file, "binary mean image", "for a text mean, set use_mean_file_asbinaryprotoblob to 0"
    )


def _why_other_format(file: WireFile, what: str, advice_on_text: str) -> str:
    """Which well-known file type other than Caffe's was given instead of ``what``."""
    if file.size == 0:
        return "is empty; download or copy it again"
    start = file.read(0, min(SEARCHED_BYTES, file.size))
    foreign = why_foreign(start, what)
    if foreign or _NOT_TEXT.search(start, 0, HEAD_BYTES):
        return foreign
    if what == "caffemodel" and _TEXT_BLOBS.search(start):
        return f"is a {what} written as text; {_TEXT_CONVERSION}"
    return f"is a text file, not a {what}; {advice_on_text}"


def _scan_layer(
    file: WireFile, layer: Field, numbers: tuple[int, int], path: Path
) -> tuple[str, tuple[StoredBlob, ...]]:
    """Name and blobs of one layer message; ``numbers`` are the numbers of these two fields."""
    name_field, blobs_field = numbers
    name, blobs = "", []
    for field in file.fields(layer.start, layer.stop):
        if field.wire_type != LENGTH_DELIMITED:
            continue
        if field.number == name_field:
            if field.stop - field.start > _LONGEST_NAME_BYTES:
                raise WireError(f"a layer name of {field.stop - field.start} bytes at byte {field.start}")
            name = file.read(field.start, field.stop).decode(errors="replace")
        elif field.number == blobs_field:
            blobs.append(field)
        elif layer.number == _V1 and field.number == _NESTED_LAYER:
            return _scan_layer(file, field, _V0_FIELDS, path)
    what = f"layer '{name}'"
    return name, tuple(_scan_blob(file, blob, path, f"{what}, blob {i}") for i, blob in enumerate(blobs))


def _scan_blob(file: WireFile, message: Field, path: Path, what: str) -> StoredBlob:
    """Shape and data pieces of one BlobProto; ``what`` names it in messages."""
    shape: Shape | None = None
    legacy = [0, 0, 0, 0]
    raw, raw_type = None, 0
    pieces: list[_Piece] = []
    for field in _blob_fields(file, message, pieces):
        if field.number == _BLOB_SHAPE and field.wire_type == LENGTH_DELIMITED:
            shape = _dimensions(file, field)
        elif field.number in _LEGACY_DIMENSIONS and field.wire_type == VARINT:
            legacy[field.number - 1] = field.value
        elif field.number == _BLOB_RAW_DATA and field.wire_type == LENGTH_DELIMITED:
            raw = field
        elif field.number == _BLOB_RAW_TYPE and field.wire_type == VARINT:
            raw_type = field.value
    chosen = (_raw_piece(raw, raw_type),) if raw else _most_precise(pieces)
    count = sum(piece.count for piece in chosen)
    if shape is None:
        shape = tuple(legacy) if any(legacy) else (count,)
    if math.prod(shape) != count:
        raise ModelError(
            f"{path}: {what} says its shape is {shape} but holds {count} numbers; the file is damaged, "
            "download or copy it again"
        )
    return StoredBlob(path, shape, chosen)


def _most_precise(pieces: list[_Piece]) -> tuple[_Piece, ...]:
    """The pieces in double precision if there are any: Caffe then ignores the others."""
    doubles = tuple(piece for piece in pieces if piece.element == _ELEMENT_TYPES[_BLOB_DOUBLE_DATA])
    return doubles or tuple(pieces)


def _raw_piece(field: Field, type_number: int) -> _Piece:
    """Numbers as NVIDIA's Caffe stores them."""
    if type_number not in _RAW_TYPES:
        raise WireError(f"numbers of an unknown type {type_number} at byte {field.start}")
    return _packed_piece(field, _RAW_TYPES[type_number])


def _packed_piece(field: Field, element: np.dtype[Any]) -> _Piece:
    length = field.stop - field.start
    if length % element.itemsize:
        raise WireError(f"{length} bytes of {element.itemsize}-byte numbers at byte {field.start}")
    return _Piece(field.start, length // element.itemsize, element, is_packed=True)


def _blob_fields(file: WireFile, message: Field, pieces: list[_Piece]) -> Iterator[Field]:
    """Fields of a BlobProto other than its data, which is collected in ``pieces``.

    Runs of unpacked numbers are skipped as a whole: one by one they would take minutes.
    """
    position = message.start
    while position < message.stop:
        for field in file.fields(position, message.stop):
            position = field.stop
            if field.number not in _ELEMENT_TYPES:
                yield field
                continue
            if len(pieces) == _MOST_PIECES:
                raise WireError(f"numbers in more than {_MOST_PIECES} pieces at byte {field.start}")
            piece = _scan_piece(file, field, message.stop)
            pieces.append(piece)
            if not piece.is_packed:
                position = piece.start + piece.count * (piece.element.itemsize + 1)
                break


def _dimensions(file: WireFile, message: Field) -> Shape:
    """Sizes in a BlobShape message, packed or not."""
    sizes: list[int] = []
    for field in file.fields(message.start, message.stop):
        if field.number == 1 and field.wire_type == VARINT:
            sizes.append(field.value)
        elif field.number == 1 and field.wire_type == LENGTH_DELIMITED:
            packed = file.read(field.start, min(field.stop, field.start + _MOST_SHAPE_BYTES))
            sizes.extend(itertools.islice(_packed_varints(packed), _MOST_AXES + 1))
        if len(sizes) > _MOST_AXES:
            raise WireError(f"a blob of more than {_MOST_AXES} axes at byte {message.start}")
    return tuple(sizes)


def _packed_varints(payload: bytes) -> Iterator[int]:
    value, shift = 0, 0
    for byte in payload:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value, shift = 0, 0


def _scan_piece(file: WireFile, field: Field, stop: int) -> _Piece:
    """The run of numbers that begins at ``field``: a packed payload, or consecutive single values."""
    element = _ELEMENT_TYPES[field.number]
    if field.wire_type == LENGTH_DELIMITED:
        return _packed_piece(field, element)
    if field.wire_type != _UNPACKED_WIRE_TYPES[field.number]:
        raise WireError(f"wire type {field.wire_type} for numbers at byte {field.start}")
    first_tag = field.start - 1
    tag = field.number << 3 | field.wire_type
    width = element.itemsize + 1
    entries = np.frombuffer(file.read(first_tag, min(stop, first_tag + _UNPACKED_RUN_BYTES)), np.uint8)
    tags = entries[: len(entries) // width * width : width]
    others = np.flatnonzero(tags != tag)
    return _Piece(first_tag, int(others[0]) if len(others) else len(tags), element, is_packed=False)


def _aligned(count: int) -> NDArray[np.float32]:
    """Uninitialised float32 vector that begins at the start of a cache line."""
    raw = np.empty(count * 4 + _ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % _ALIGNMENT
    return raw[offset : offset + count * 4].view(np.float32)


def _read_piece(file: WireFile, piece: _Piece, target: NDArray[np.float32]) -> None:
    """Read one run of numbers into ``target``, float32; without a copy if the file has float32."""
    if piece.is_packed and piece.element == target.dtype:
        file.read_into(target.view(np.uint8).data, piece.start)
        return
    tag_bytes = 0 if piece.is_packed else 1
    width = piece.element.itemsize + tag_bytes
    stored = file.read(piece.start, piece.start + piece.count * width)
    entries = np.frombuffer(stored, np.uint8).reshape(piece.count, width)[:, tag_bytes:]
    target[:] = np.ascontiguousarray(entries).view(piece.element).reshape(-1)
