"""Recognition of wrong files by their content: one table of kinds.

File names do not matter, and nothing is unpacked, unpickled or parsed in full: only the beginning of a
file is checked.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

UNPACK_ADVICE = "unpack it first"
_FETCH_ADVICE = "download the file itself, not the page that shows it"
_ONLY_CAFFE = "caffe-lrp runs only Caffe nets"
IMPORT_ADVICE = "'caffe-lrp import MODEL OUTDIR' makes Caffe files of it"
_EXPORT_ADVICE = "export the net to ONNX for 'caffe-lrp import', see caffe-lrp help import"

#: Bytes at the beginning of a file that show whether it is a text.
HEAD_BYTES = 512
#: Bytes at its beginning that are searched for the marks of a kind.
SEARCHED_BYTES = 1 << 20

#: Bytes that do not occur near the beginning of a text.
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x19\x1c-\x1f]")

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n"
#: Offsets of the length of the first file's name in a ZIP archive, and of the name.
_ZIP_NAME_LENGTH, _ZIP_NAME = slice(26, 28), 30
_PYTORCH_MEMBER = re.compile(
    rb"[^/]+/(data\.pkl|data/\d+|constants\.pkl|byteorder|\.format_version|code/.+)", re.DOTALL
)
#: Beginning of files of ``torch.save`` before version 1.6: a pickle of this number.
_PYTORCH_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_SAFETENSORS = re.compile(rb'\{\s*"')
_LARGEST_SAFETENSORS_HEADER = 100_000_000
_TENSORFLOW_OPERATOR = re.compile(rb"[A-Za-z_][A-Za-z0-9_>]*")

#: Wire types of protobuf.
_VARINT, _LENGTH_DELIMITED = 0, 2
_MOST_VARINT_BYTES = 10
#: Fields of ONNX's ModelProto before the graph, with their wire types; and the graph.
_ONNX_BEFORE_GRAPH = {1: _VARINT, 2: _LENGTH_DELIMITED, 3: _LENGTH_DELIMITED, 4: _LENGTH_DELIMITED} | {
    5: _VARINT,
    6: _LENGTH_DELIMITED,
}
_ONNX_GRAPH = 7


class ForeignKind(NamedTuple):
    """A kind of file that users give instead of the expected one.

    Attributes
    ----------
    name
        Its name, with an article.
    advice
        What to do about it.
    is_kind_of
        Whether a file with this content, or beginning, is of the kind.
    """

    name: str
    advice: str
    is_kind_of: Callable[[bytes], bool]


class _Field(NamedTuple):
    """A field of a protobuf message; its payload may be cut off at the end of the available bytes."""

    number: int
    wire_type: int
    value: int
    payload: bytes


def _begins(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda content: content.startswith(beginnings)


def _text_begins(*beginnings: bytes) -> Callable[[bytes], bool]:
    """The same after whitespace and a byte order mark, ignoring case."""

    def test(content: bytes) -> bool:
        text = content[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        return text.startswith(beginnings)

    return test


def _is_pytorch(content: bytes) -> bool:
    """Return whether it is from ``torch.save`` (a ZIP archive, formerly a pickle) or TorchScript."""
    if content.startswith(_ZIP):
        length = int.from_bytes(content[_ZIP_NAME_LENGTH], "little")
        first = content[_ZIP_NAME : _ZIP_NAME + length]
        return bool(_PYTORCH_MEMBER.fullmatch(first)) or b"/data.pkl" in content
    return content.startswith(_PYTORCH_MAGIC) or (bool(_PICKLE.match(content)) and b"torch" in content)


def is_toolbox_pickle(content: bytes) -> bool:
    """Return whether it is a pickle that begins with a net of the LRP Toolbox."""
    beginning = content[:HEAD_BYTES]
    return beginning.startswith((b"\x80", b"(", b"c")) and b"modules.sequential" in beginning


def _is_keras(content: bytes) -> bool:
    """Return whether it is a ``.keras`` file, or an HDF5 file written by Keras."""
    if content.startswith(_ZIP):
        return b"model.weights.h5" in content or b'"keras_version"' in content
    return content.startswith(_HDF5) and b"keras" in content


def _is_safetensors(content: bytes) -> bool:
    length = int.from_bytes(content[:8], "little")
    is_json = 2 <= length <= _LARGEST_SAFETENSORS_HEADER and _SAFETENSORS.match(content, 8)
    return bool(is_json) and (b'"dtype"' in content or b'"__metadata__"' in content)


def is_onnx(content: bytes) -> bool:
    """Return whether it is a ModelProto, given its first bytes."""
    last = 0
    for field in _fields(content):
        if field.number == _ONNX_GRAPH:
            return last > 0 and field.wire_type == _LENGTH_DELIMITED
        if field.number <= last or _ONNX_BEFORE_GRAPH.get(field.number) != field.wire_type:
            break
        last = field.number
    return False


def _is_tensorflow(content: bytes) -> bool:
    """Return whether it is a SavedModel (version 1, then a graph with metadata), or only a graph."""
    first, second = _first_two(content)
    if (first.number, first.wire_type, first.value) == (1, _VARINT, 1):
        about, _ = _first_two(second.payload)
        return (second.number, about.number, about.wire_type) == (2, 1, _LENGTH_DELIMITED)
    name, operator = _first_two(first.payload)
    return (
        (first.number, name.number, operator.number) == (1, 1, 2)
        and first.wire_type == name.wire_type == operator.wire_type == _LENGTH_DELIMITED
        and bool(_TENSORFLOW_OPERATOR.fullmatch(operator.payload))
    )


def _first_two(content: bytes) -> tuple[_Field, _Field]:
    """Return the first two fields of a message; missing ones have number 0."""
    fields = _fields(content)
    none = _Field(0, 0, 0, b"")
    return next(fields, none), next(fields, none)


def _fields(content: bytes) -> Iterator[_Field]:
    """Yield the fields of a protobuf message, given its first bytes, up to an unknown wire type."""
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        if tag < 8 or tag & 7 not in (_VARINT, _LENGTH_DELIMITED):
            return
        value, position = _varint(content, position)
        stop = position + value if tag & 7 == _LENGTH_DELIMITED else position
        yield _Field(tag >> 3, tag & 7, value, content[position:stop])
        position = stop


def _varint(content: bytes, start: int) -> tuple[int, int]:
    """Return a number, and the offset of the byte after it."""
    value = 0
    for count, byte in enumerate(content[start : start + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, start + count + 1
    return 0, len(content)


#: The first matching kind is used: models can be archives or HDF5 files, which come later.
_KINDS = (
    ForeignKind(
        "a Git LFS pointer",
        "run 'git lfs pull' to fetch the file itself",
        _text_begins(b"version https://git-lfs"),
    ),
    ForeignKind(
        "a web page (HTML)",
        _FETCH_ADVICE,
        _text_begins(b"<!doctype html", b"<html", b"<head", b"<body", b"<script"),
    ),
    ForeignKind("an XML file", _FETCH_ADVICE, _text_begins(b"<?xml", b"<svg")),
    ForeignKind(
        "a PyTorch model",
        f"{_ONLY_CAFFE}; {_EXPORT_ADVICE}, or use zennit or Captum",
        _is_pytorch,
    ),
    ForeignKind(
        "an ONNX model",
        f"{_ONLY_CAFFE}; {IMPORT_ADVICE}",
        is_onnx,
    ),
    ForeignKind(
        "a safetensors file",
        f"{_ONLY_CAFFE}; load these weights into their PyTorch net, and {_EXPORT_ADVICE}",
        _is_safetensors,
    ),
    ForeignKind("a Keras model", f"{_ONLY_CAFFE}; {_EXPORT_ADVICE}, or use iNNvestigate", _is_keras),
    ForeignKind(
        "a TensorFlow model",
        f"{_ONLY_CAFFE}; {_EXPORT_ADVICE}, or use iNNvestigate for nets of tf.keras",
        _is_tensorflow,
    ),
    ForeignKind(
        "a TensorFlow Lite model",
        f"{_ONLY_CAFFE}; take the model that it was made from, and {_EXPORT_ADVICE}",
        lambda content: content[4:8] == b"TFL3",
    ),
    ForeignKind("a pickled net of the LRP Toolbox", f"{_ONLY_CAFFE}; {IMPORT_ADVICE}", is_toolbox_pickle),
    ForeignKind(
        "a MATLAB file",
        f"{_ONLY_CAFFE}; if it is a net of the LRP Toolbox, write it as text in Matlab, with "
        "model_io.write(model, 'net.txt'), and use 'caffe-lrp import net.txt OUTDIR'",
        _begins(b"MATLAB "),
    ),
    ForeignKind(
        "an HDF5 file",
        "write it in the binary format, see 'Converting weights' in caffe-lrp help nets",
        _begins(_HDF5),
    ),
    ForeignKind(
        "a NumPy file",
        "check the path: only images and mean images can have this format",
        _begins(b"\x93NUMPY"),
    ),
    ForeignKind("a ZIP archive", UNPACK_ADVICE, _begins(_ZIP)),
    ForeignKind("a gzip archive", UNPACK_ADVICE, _begins(b"\x1f\x8b")),
    ForeignKind(
        "a bzip2 archive",
        UNPACK_ADVICE,
        _begins(*(b"BZh%d1AY&SY" % level for level in range(1, 10))),
    ),
    ForeignKind("an xz archive", UNPACK_ADVICE, _begins(b"\xfd7zXZ")),
    ForeignKind("a Zstandard archive", UNPACK_ADVICE, _begins(b"\x28\xb5\x2f\xfd")),
    ForeignKind("a 7z archive", UNPACK_ADVICE, _begins(b"7z\xbc\xaf")),
    ForeignKind("a PDF file", "extract the file that is needed", _begins(b"%PDF-")),
    ForeignKind("a picture", "check the path", _begins(b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")),
    ForeignKind("a text in UTF-16", "save it as UTF-8", _begins(b"\xff\xfe", b"\xfe\xff")),
)


def foreign_kind(content: bytes) -> ForeignKind | None:
    """Return the kind of file that ``content`` begins like; None if it is not a known wrong one.

    To be called only for files that could not be read: a list may well begin with ``GIF89a/bee.gif 1``.
    """
    beginning = content[:SEARCHED_BYTES]
    return next((kind for kind in _KINDS if kind.is_kind_of(beginning)), None)


def why_no_text(content: bytes, what: str, advice_on_binary: str = "were two paths swapped?") -> str:
    """Return what a file, which could not be read as ``what``, really is; empty if it may be a text."""
    binary = f"is a binary file, not a {what}; {advice_on_binary}"
    return why_foreign(content, what) or (binary if _CONTROL.search(content, 0, HEAD_BYTES) else "")


def why_foreign(content: bytes, what: str) -> str:
    """Return the known wrong kind of a file that should be ``what``; empty if it is not one of them."""
    kind = foreign_kind(content)
    return f"is {kind.name}, not a {what}; {kind.advice}" if kind else ""


def why_foreign_model(content: bytes, what: str) -> str:
    """Return of which other framework a model is that should be ``what``; empty if it is none."""
    kind = foreign_kind(content)
    return why_foreign(content, what) if kind and kind.advice.startswith(_ONLY_CAFFE) else ""
