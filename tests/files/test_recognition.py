"""What a file is that stands in place of another: told by its content, whatever its name."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from caffe_lrp.config import read_config
from caffe_lrp.errors import CaffeLrpError, ConfigError
from caffe_lrp.files.reading import MEGABYTE, read_small_file
from caffe_lrp.files.recognition import HEAD_BYTES, foreign_kind, why_no_text
from caffe_lrp.formats.caffe.reader import read_prototxt, scan_caffemodel
from caffe_lrp.imaging.decode import decode
from caffe_lrp.imaging.mean import load_mean
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.collection import read_images
from caffe_lrp.sources.filelist import read_filelist


def zipped(*names: str, content: bytes = b"weights") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), content)  # not of today: it names a test
    return buffer.getvalue()


def field(number: int, payload: bytes | int) -> bytes:
    """A field of a protobuf message; numbers and lengths below 128 alone."""
    if isinstance(payload, int):
        return bytes((number << 3, payload))
    return bytes((number << 3 | 2, len(payload))) + payload


def safetensors() -> bytes:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "conv.weight": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, kind)
    return buffer.getvalue()


NODE = field(1, b"data") + field(2, b"Placeholder")
ONNX = field(1, 8) + field(2, b"pytorch") + field(7, field(1, NODE)) + field(8, field(2, 17))
#: Models of other programs -> what they are called.
MODELS = {
    "state.pt": (zipped("net/data.pkl", "net/byteorder", "net/data/0"), "a PyTorch model"),
    "script.pt": (zipped("script/data/0", "script/code/net.py"), "a PyTorch model"),
    "old.pth": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "a PyTorch model"),
    "whole.pkl": (b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x18torch.nn.modules.container", "a PyTorch model"),
    "net.safetensors": (safetensors(), "a safetensors file"),
    "net.onnx": (ONNX, "an ONNX model"),
    "net.keras": (zipped("metadata.json", content=b'{"keras_version": "3.0"}'), "a Keras model"),
    "net.h5": (b"\x89HDF\r\n\x1a\n" + bytes(3000) + b"keras_version", "a Keras model"),
    "frozen.pb": (field(1, NODE) + field(1, NODE), "a TensorFlow model"),
    "saved_model.pb": (field(1, 1) + field(2, field(1, field(4, b"serve"))), "a TensorFlow model"),
    "net.nn": (b"\x80\x02(cmodules.sequential\nSequential\n", "a pickled net of the LRP Toolbox"),
    "net.mat": (b"MATLAB 5.0 MAT-file, Platform: PCWIN64", "a MATLAB file"),
    "net.tflite": (b"\x1c\0\0\0TFL3" + bytes(20), "a TensorFlow Lite model"),
}
MODEL_CASES = pytest.mark.parametrize(("content", "name"), MODELS.values(), ids=MODELS)


@MODEL_CASES
def test_a_model_of_another_program_is_recognised_by_every_reader(
    content: bytes, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content + bytes(HEAD_BYTES))
    readers: list[Callable[[Path], object]] = [
        read_prototxt,
        scan_caffemodel,
        read_config,
        read_filelist,
        decode,
        lambda path: read_images(path, Target(-1)),
        lambda path: load_mean(path, 0, REFERENCE, 3),
        lambda path: load_mean(path, 1, REFERENCE, 3),
    ]
    for read in readers:
        with pytest.raises(CaffeLrpError, match=rf"file: is .*{name}.*; caffe-lrp runs only"):
            read(path)


def test_a_large_file_is_recognised_before_its_size_is_complained_of(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(MODELS["state.pt"][0] + bytes(MEGABYTE))
    with pytest.raises(ConfigError, match="is a PyTorch model, not a prototxt"):
        read_small_file(path, "prototxt", ConfigError, most_megabytes=1)


@pytest.mark.parametrize(
    "content",
    [
        field(1, 100) + field(2, b"net_iter_100.caffemodel") + field(3, b"\x08\x01"),
        field(1, 1) + field(2, 3) + field(3, 2) + field(4, 2) + field(5, bytes(48)),
        field(1, b"net") + field(2, field(1, b"data") + field(2, b"conv")),
        b"\x80\x02" + b"a pickle of anything else",
        b"\x40\0\0\0\0\0\0\0" + b"binary",
    ],
    ids=["solverstate", "mean image", "caffemodel", "pickle", "binary"],
)
def test_files_of_caffe_and_of_no_known_program_are_none_of_these(content: bytes) -> None:
    assert foreign_kind(content) is None


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\xef\xbb\xbf \r\n<!doctype HTML>", "a web page (HTML)"),
        (b"\n\n<HTML lang='en'>", "a web page (HTML)"),
        (b"<head><title>404</title></head>", "a web page (HTML)"),
        (b"<body>Not Found</body>", "a web page (HTML)"),
        (b"<script>window.location='/'</script>", "a web page (HTML)"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an XML file"),
        (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"),
        (b"\x93NUMPY\x01\x00", "a NumPy file"),
        (zipped("net.caffemodel"), "a ZIP archive"),
        (gzip.compress(b"weights", mtime=0), "a gzip archive"),
        (bz2.compress(b"weights", 1), "a bzip2 archive"),
        (bz2.compress(b"weights", 9), "a bzip2 archive"),
        (lzma.compress(b"weights"), "an xz archive"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
        (b"%PDF-1.7\n", "a PDF file"),
        *((encoded(kind), "a picture") for kind in ("PNG", "JPEG", "GIF")),
        (b"GIF87a\x01\0\x01\0", "a picture"),
        ("images/a.jpg 1".encode("utf-16"), "a text in UTF-16"),
        (codecs.BOM_UTF16_BE + "images/a.jpg 1".encode("utf-16-be"), "a text in UTF-16"),
    ],
)
def test_well_known_kinds_of_file_are_recognised(content: bytes, name: str) -> None:
    kind = foreign_kind(content)
    assert kind is not None
    assert kind.name == name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"param_file\n",
        b"version 2\n",
        b'name: "net"\n',
        b"\n\x04tiny\xa2\x06",
        b"<!-- a comment -->\n",
        b"GIF8/a.gif 1\n",
        b"BZh/a.jpg 1\n",
        b"%PDFpages/a.jpg 1\n",
    ],
)
def test_other_files_are_of_no_such_kind(content: bytes) -> None:
    assert foreign_kind(content) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n\x04tiny\x00", "is a binary file, not a list; look again"),
        (b"\x1f\x8b\x08", "is a gzip archive, not a list; unpack it first"),
        (b"a\tb\r\n\x0c\x1a caf\xe9", ""),
        (b" " * 512 + b"\x00", ""),
        (b"", ""),
    ],
)
def test_what_is_no_text_is_named(content: bytes, reason: str) -> None:
    assert why_no_text(content, "list", "look again") == reason
