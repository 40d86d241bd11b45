"""Prototxts, caffemodels and BlobProtos: what is read, and what bad files are answered with."""

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from caffe_lrp.errors import ModelError
from caffe_lrp.proto.caffe_pb2 import BlobProto, NetParameter
from caffe_lrp.proto.reader import read_prototxt, scan_blob, scan_caffemodel

WEIGHT = np.arange(24, dtype=np.float32).reshape(4, 3, 2) / 7


def net_with_blob(blob: BlobProto, name: str = "conv") -> bytes:
    net = NetParameter()
    layer = net.layer.add(name=name, type="Convolution")
    layer.blobs.append(blob)
    return net.SerializeToString()


def write(folder: Path, content: bytes, name: str = "net.caffemodel") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read_only_blob(path: Path) -> NDArray[np.float32]:
    ((stored,),) = scan_caffemodel(path).values()
    return stored.read()


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def test_packed_floats_arrive_bit_for_bit_and_aligned(tmp_path: Path) -> None:
    blob = BlobProto(data=WEIGHT.ravel().tolist())
    blob.shape.dim.extend(WEIGHT.shape)
    read = read_only_blob(write(tmp_path, net_with_blob(blob)))
    np.testing.assert_array_equal(read, WEIGHT)
    assert read.dtype == np.float32
    assert read.ctypes.data % 64 == 0
    assert read.flags.c_contiguous


def test_the_legacy_shape_has_four_axes(tmp_path: Path) -> None:
    blob = BlobProto(data=WEIGHT.ravel().tolist(), num=1, channels=4, height=3, width=2)
    assert read_only_blob(write(tmp_path, net_with_blob(blob))).shape == (1, 4, 3, 2)


def test_a_blob_without_any_shape_is_a_vector(tmp_path: Path) -> None:
    blob = BlobProto(data=[1.0, 2.0, 3.0])
    assert read_only_blob(write(tmp_path, net_with_blob(blob))).shape == (3,)


def test_unpacked_floats_are_read(tmp_path: Path) -> None:
    entries = b"".join(b"\x2d" + struct.pack("<f", value) for value in WEIGHT.ravel())
    shape = message(7, message(1, b"\x04\x03\x02"))
    content = message(100, message(1, b"conv") + message(7, entries + shape))
    np.testing.assert_array_equal(read_only_blob(write(tmp_path, content)), WEIGHT)


def test_many_unpacked_floats_are_read_in_runs(tmp_path: Path) -> None:
    values = np.arange(700_001, dtype="<f4")
    entries = np.empty((len(values), 5), np.uint8)
    entries[:, 0] = 0x2D
    entries[:, 1:] = values.view(np.uint8).reshape(-1, 4)
    content = message(100, message(1, b"conv") + message(7, entries.tobytes()))
    np.testing.assert_array_equal(read_only_blob(write(tmp_path, content)), values)


def test_floats_in_several_packed_pieces_are_joined(tmp_path: Path) -> None:
    flat = WEIGHT.ravel()
    payload = message(5, flat[:10].tobytes()) + message(5, flat[10:].tobytes())
    content = message(100, message(1, b"conv") + message(7, payload))
    np.testing.assert_array_equal(read_only_blob(write(tmp_path, content)), flat)


def test_double_data_is_converted(tmp_path: Path) -> None:
    blob = BlobProto(double_data=[0.1, -2.5])
    np.testing.assert_array_equal(
        read_only_blob(write(tmp_path, net_with_blob(blob))), np.array([0.1, -2.5], np.float32)
    )


def test_v1_layers_are_found(tmp_path: Path) -> None:
    net = NetParameter()
    layer = net.layers.add(name="fc")
    layer.blobs.add(data=[1.0, 2.0])
    assert list(scan_caffemodel(write(tmp_path, net.SerializeToString()))) == ["fc"]


def test_layers_without_blobs_are_left_out(tmp_path: Path) -> None:
    net = NetParameter()
    net.layer.add(name="relu")
    net.layer.add(name="fc").blobs.add(data=[1.0])
    assert list(scan_caffemodel(write(tmp_path, net.SerializeToString()))) == ["fc"]


def test_gradients_stored_beside_the_weights_are_ignored(tmp_path: Path) -> None:
    blob = BlobProto(data=[1.0, 2.0], diff=[9.0, 9.0])
    np.testing.assert_array_equal(read_only_blob(write(tmp_path, net_with_blob(blob))), [1.0, 2.0])


def test_a_mean_is_read_with_its_shape(tmp_path: Path) -> None:
    blob = BlobProto(data=WEIGHT.ravel().tolist(), num=1, channels=3, height=4, width=2)
    path = write(tmp_path, blob.SerializeToString(), "mean.binaryproto")
    np.testing.assert_array_equal(scan_blob(path).read(), WEIGHT.reshape(1, 3, 4, 2))


@pytest.mark.parametrize("keep", [1, 10, 40, 100])
def test_a_truncated_file_is_an_error(tmp_path: Path, keep: int) -> None:
    blob = BlobProto(data=WEIGHT.ravel().tolist())
    content = net_with_blob(blob)
    path = write(tmp_path, content[:keep])
    with pytest.raises(ModelError, match=r"net\.caffemodel: is truncated"):
        scan_caffemodel(path)


def test_a_length_of_two_gigabytes_in_a_small_file_takes_no_memory(tmp_path: Path) -> None:
    lying = message(1, b"conv") + varint(7 << 3 | 2) + varint(2**31) + bytes(1000)
    path = write(tmp_path, varint(100 << 3 | 2) + varint(2**31 + 20) + lying)
    tracemalloc.start()
    with pytest.raises(ModelError, match="claims 2147483668 bytes"):
        scan_caffemodel(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_shape_of_a_million_axes_is_refused_at_once(tmp_path: Path) -> None:
    content = message(100, message(1, b"conv") + message(7, message(7, message(1, b"\x7f" * 1_000_000))))
    with pytest.raises(ModelError, match="more than 32 axes"):
        scan_caffemodel(write(tmp_path, content))


def test_a_file_of_countless_fields_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more than 200000 fields"):
        scan_caffemodel(write(tmp_path, b"\x08\x00" * 1_000_001))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (scan_caffemodel, scan_blob, read_prototxt):
        with pytest.raises(ModelError, match="not a regular file"):
            read(tmp_path / "pipe")


def test_a_shape_that_does_not_fit_the_data_is_an_error(tmp_path: Path) -> None:
    blob = BlobProto(data=[1.0, 2.0, 3.0])
    blob.shape.dim.extend([2**40, 2**40])
    with pytest.raises(ModelError, match=r"layer 'conv', blob 0 says its shape is .* but holds 3"):
        scan_caffemodel(write(tmp_path, net_with_blob(blob)))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"version https://git-lfs", "Git LFS"),
        (b"PK\x03\x04rest", "ZIP"),
    ],
)
def test_other_kinds_of_file_are_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ModelError, match=complaint):
        scan_caffemodel(path)
    with pytest.raises(ModelError, match=complaint):
        scan_blob(path).read()


@pytest.mark.parametrize("has_shape", [True, False])
def test_a_mean_given_as_caffemodel_is_recognised(tmp_path: Path, has_shape: bool) -> None:
    blob = BlobProto(data=WEIGHT.ravel().tolist())
    if has_shape:
        blob.shape.dim.extend([1, 3, 4, 2])
    else:
        blob.num, blob.channels, blob.height, blob.width = 1, 3, 4, 2
    with pytest.raises(ModelError, match="is a mean image, not a caffemodel"):
        scan_caffemodel(write(tmp_path, blob.SerializeToString()))


@pytest.mark.parametrize(
    "state",
    [
        b"\x08\x64" + message(2, b"net_iter_100.caffemodel") + message(3, b"\x08\x01"),
        b"\x08\x64" + message(3, b"\x08\x01"),
        b"\x08\x64\x20\x00",
    ],
)
def test_a_solverstate_given_as_caffemodel_is_recognised(tmp_path: Path, state: bytes) -> None:
    with pytest.raises(ModelError, match="is a solverstate"):
        scan_caffemodel(write(tmp_path, state))


def test_a_prototxt_given_as_caffemodel_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a text file, not a caffemodel; is it the prototxt"):
        scan_caffemodel(write(tmp_path, b'name: "net"\nlayer { name: "conv" }\n'))


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    for read in (scan_caffemodel, scan_blob, read_prototxt):
        with pytest.raises(ModelError, match="cannot be read"):
            read(tmp_path / name)


@given(st.binary(max_size=400))
@example(b"\x00" * 50)
@example(b"\xa2\x06\x02\x0a\x00")
def test_no_bytes_cause_anything_but_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("files"), content)
    for read in (scan_caffemodel, scan_blob, read_prototxt):
        try:
            read(path)
        except ModelError as error:
            assert str(path) in str(error)


@given(st.data())
def test_damaged_models_cause_nothing_but_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(net_with_blob(BlobProto(data=[1.0, 2.0, 3.0], num=1, channels=3, height=1, width=1)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.mktemp("files"), bytes(content))
    try:
        for blobs in scan_caffemodel(path).values():
            for blob in blobs:
                assert blob.read().shape == blob.shape
    except ModelError as error:
        assert str(path) in str(error)


def prototxt(folder: Path, text: str) -> Path:
    return write(folder, text.encode(), "net.prototxt")


RELU = 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'


def test_inputs_are_declared_by_four_dims_each(tmp_path: Path) -> None:
    dims = " ".join(f"input_dim: {size}" for size in (1, 3, 8, 9, 2, 5, 6, 7))
    spec = read_prototxt(prototxt(tmp_path, f'input: "data" input: "more" {dims} {RELU}'))
    assert [(declared.name, declared.shape) for declared in spec.inputs] == [
        ("data", (1, 3, 8, 9)),
        ("more", (2, 5, 6, 7)),
    ]


def test_inputs_are_declared_by_shape(tmp_path: Path) -> None:
    spec = read_prototxt(prototxt(tmp_path, f'input: "data" input_shape {{ dim: 4 dim: 3 }} {RELU}'))
    assert spec.inputs[0].shape == (4, 3)


def test_an_input_without_a_shape_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"declares 1 input\(s\) but 0 shape"):
        read_prototxt(prototxt(tmp_path, f'input: "data" {RELU}'))


def test_unknown_fields_of_custom_layers_are_skipped(tmp_path: Path) -> None:
    text = (
        'input: "data" input_shape { dim: 1 dim: 3 } fancy: 3 '
        'layer { name: "x" type: "MyOwn" bottom: "data" top: "x" '
        "my_own_param { gain: 2 mode: FAST list: [1, 2] } }"
    )
    assert read_prototxt(prototxt(tmp_path, text)).layers[0].type == "MyOwn"


def test_bytes_that_are_not_utf8_do_not_stop_a_prototxt(tmp_path: Path) -> None:
    text = b'# gr\xf6\xdfe\ninput: "data" input_shape { dim: 1 dim: 3 }\n' + RELU.encode()
    assert read_prototxt(write(tmp_path, text, "net.prototxt")).layers[0].type == "ReLU"


def test_v1_types_and_parameters_are_upgraded(tmp_path: Path) -> None:
    text = (
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8 '
        'layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 include { phase: TEST } '
        "convolution_param { num_output: 5 kernel_size: 3 } }"
    )
    (layer,) = read_prototxt(prototxt(tmp_path, text)).layers
    assert (layer.name, layer.type, layer.bottoms, layer.tops) == ("c", "Convolution", ("data",), ("c",))
    assert layer.parameters.convolution_param.num_output == 5
    assert layer.parameters.include[0].HasField("phase")


def test_files_of_two_styles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="use one style"):
        read_prototxt(prototxt(tmp_path, f"{RELU} layers {{ name: 'x' type: RELU }}"))


def test_v0_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="upgrade_net_proto_text"):
        read_prototxt(prototxt(tmp_path, 'layers { layer { name: "c" type: "conv" } }'))
    net = NetParameter()
    net.layers.add().layer.name = "c"
    with pytest.raises(ModelError, match="upgrade_net_proto_binary"):
        scan_caffemodel(write(tmp_path, net.SerializeToString()))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{RELU}\nlayer {{ name: ", r"line 2: not a valid prototxt"),
        (f"{RELU}\n\nlayer {{ name: 5 }}", r"line 3: not a valid prototxt"),
        ("name: 'only a name'", "describes no layers"),
        ("layer { " * 5000, "not a valid prototxt"),
        ("layers { name: 'x' type: WARP }", "WARP"),
    ],
)
def test_what_is_no_prototxt_is_reported_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint) as caught:
        read_prototxt(prototxt(tmp_path, text))
    assert "net.prototxt" in str(caught.value)


def test_a_caffemodel_given_as_prototxt_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a binary file, not a prototxt"):
        read_prototxt(write(tmp_path, b"\x0a\x04tiny\xa2\x06\x00"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"<!DOCTYPE html>", "is a web page"),
        (RELU.encode("utf-16"), "is a text in UTF-16"),
        (b"layer { # \x01", "is a binary file"),
        (b"layer { #" + b" " * 600 + b"\0", "ends before"),
    ],
)
def test_what_could_not_be_read_as_prototxt_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        read_prototxt(write(tmp_path, content, "net.prototxt"))


@pytest.mark.parametrize("beginning", [b"# \x00\n", b"#<html>\n", b"\xef\xbb\xbf# \x01\n"])
def test_a_prototxt_that_can_be_read_is_not_judged_by_its_beginning(tmp_path: Path, beginning: bytes) -> None:
    path = write(tmp_path, beginning + RELU.encode(), "net.prototxt")
    assert read_prototxt(path).layers[0].type == "ReLU"


def test_binary_files_that_can_be_read_are_not_judged_by_their_beginning(tmp_path: Path) -> None:
    """As protobuf, "%PDF-" is field 4 with four bytes."""
    blob = BlobProto(data=[1.0, 2.0])
    assert list(scan_caffemodel(write(tmp_path, b"%PDF-" + net_with_blob(blob)))) == ["conv"]
    assert scan_blob(write(tmp_path, b"%PDF-" + blob.SerializeToString())).read().tolist() == [1.0, 2.0]
    with pytest.raises(ModelError, match="is a PDF file, not a caffemodel"):
        scan_caffemodel(write(tmp_path, b"%PDF-"))


def test_engines_of_forks_do_not_stop_a_prototxt(tmp_path: Path) -> None:
    text = (
        'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } '
        'layer { name: "r" type: "ReLU" bottom: "data" top: "r" '
        "relu_param { engine: MKL2017 negative_slope: 0.5 } }"
    )
    (layer,) = read_prototxt(prototxt(tmp_path, text)).layers
    assert layer.parameters.relu_param.negative_slope == 0.5


def test_loading_takes_no_more_memory_than_the_file(tmp_path: Path) -> None:
    values = np.ones(5_000_000, np.float32)
    content = message(100, message(1, b"fc") + message(7, message(5, values.tobytes())))
    path = write(tmp_path, content)
    del values, content
    tracemalloc.start()
    blob = read_only_blob(path)
    assert tracemalloc.get_traced_memory()[1] < 1.1 * path.stat().st_size
    tracemalloc.stop()
    assert blob.sum() == 5_000_000
