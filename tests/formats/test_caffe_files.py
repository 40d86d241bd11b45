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
from caffe_lrp.formats.caffe.caffe_pb2 import BlobProto, NetParameter
from caffe_lrp.formats.caffe.reader import read_prototxt, scan_blob, scan_caffemodel

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


def test_v0_layers_are_found(tmp_path: Path) -> None:
    net = NetParameter()
    layer = net.layers.add(name="outer", bottom=["a"])
    layer.blobs.add(data=[9.0])
    layer.layer.name = "fc"
    layer.layer.blobs.add(data=[1.0, 2.0], num=1, channels=1, height=1, width=2)
    path = write(tmp_path, net.SerializeToString())
    assert list(scan_caffemodel(path)) == ["fc"]
    assert read_only_blob(path).tolist() == [[[[1.0, 2.0]]]]


def test_layers_of_all_styles_are_found_in_one_file(tmp_path: Path) -> None:
    net = NetParameter()
    net.layers.add().layer.name = "v0"
    net.layers[0].layer.blobs.add(data=[0.0])
    net.layers.add(name="v1").blobs.add(data=[1.0])
    net.layer.add(name="current").blobs.add(data=[2.0])
    found = scan_caffemodel(write(tmp_path, net.SerializeToString()))
    assert {name: blob.read()[0] for name, (blob,) in found.items()} == {"v0": 0, "v1": 1, "current": 2}


def test_of_a_layer_that_is_there_twice_the_later_counts(tmp_path: Path) -> None:
    net = NetParameter()
    for value in (1.0, 2.0):
        net.layer.add(name="fc").blobs.add(data=[value])
    assert read_only_blob(write(tmp_path, net.SerializeToString())) == [2.0]


@pytest.mark.parametrize("old_first", [True, False])
def test_of_a_layer_in_both_styles_the_old_one_counts(tmp_path: Path, old_first: bool) -> None:
    old, current = NetParameter(), NetParameter()
    old.layers.add(name="fc").blobs.add(data=[1.0])
    current.layer.add(name="fc").blobs.add(data=[2.0])
    parts = [old.SerializeToString(), current.SerializeToString()]
    assert read_only_blob(write(tmp_path, b"".join(parts if old_first else parts[::-1]))) == [1.0]


@pytest.mark.parametrize(("number", "kind"), [(0, "<f8"), (1, "<f4"), (2, "<f2")])
@pytest.mark.parametrize("type_first", [True, False])
def test_raw_numbers_of_nvidias_caffe_are_read(
    tmp_path: Path, number: int, kind: str, type_first: bool
) -> None:
    stored = WEIGHT.astype(kind)
    shape = message(7, message(1, b"\x04\x03\x02"))
    parts = [varint(10 << 3) + varint(number), message(12, stored.tobytes())]
    payload = b"".join([shape, *(parts if type_first else parts[::-1])])
    content = message(100, message(1, b"conv") + message(7, payload))
    read = read_only_blob(write(tmp_path, content))
    np.testing.assert_array_equal(read, stored.astype(np.float32))


def test_raw_numbers_of_other_types_are_an_error(tmp_path: Path) -> None:
    payload = varint(10 << 3) + b"\x03" + message(12, bytes(8))
    content = message(100, message(1, b"conv") + message(7, payload))
    with pytest.raises(ModelError, match="numbers of an unknown type 3"):
        scan_caffemodel(write(tmp_path, content))


def test_of_single_and_double_precision_the_double_counts(tmp_path: Path) -> None:
    blob = BlobProto(data=[9.0, 9.0], double_data=[0.1, -2.5])
    read = read_only_blob(write(tmp_path, net_with_blob(blob)))
    np.testing.assert_array_equal(read, np.array([0.1, -2.5], np.float32))


def test_layers_without_blobs_are_left_out(tmp_path: Path) -> None:
    net = NetParameter()
    net.layer.add(name="relu")
    net.layer.add(name="fc").blobs.add(data=[1.0])
    assert list(scan_caffemodel(write(tmp_path, net.SerializeToString()))) == ["fc"]


def test_gradients_stored_with_the_weights_are_ignored(tmp_path: Path) -> None:
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


def test_a_caffemodel_written_as_text_is_recognised(tmp_path: Path) -> None:
    text = b'layer { name: "fc" ' + b" " * 1000 + b"blobs { data: 1.5 shape { dim: 1 } } }\n"
    with pytest.raises(ModelError, match=r"is a caffemodel written as text; write it in the binary format"):
        scan_caffemodel(write(tmp_path, text))


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


DATA = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 20 input_dim: 20\n'

#: The same layers in all three styles.
V0_LAYERS = """
layers { layer { name: "c" type: "conv" num_output: 8 biasterm: false kernelsize: 3 stride: 2 pad: 1 group: 4
  weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1 weight_decay: 0 } bottom: "data" top: "c" }
layers { layer { name: "r" type: "relu" } bottom: "c" top: "c" }
layers { layer { name: "p" type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1 } bottom: "c" top: "p" }
layers { layer { name: "n" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } bottom: "p" top: "n" }
layers { layer { name: "j" type: "concat" concat_dim: 2 } bottom: "n" bottom: "p" top: "j" }
layers { layer { name: "d" type: "dropout" dropout_ratio: 0.25 } bottom: "j" top: "j" }
layers { layer { name: "f" type: "innerproduct" num_output: 7 biasterm: true } bottom: "j" top: "f" }
layers { layer { name: "s" type: "softmax" } bottom: "f" top: "s" }
"""
V1_LAYERS = """
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 weight_decay: 0
  convolution_param { num_output: 8 bias_term: false kernel_size: 3 stride: 2 pad: 1 group: 4 } }
layers { name: "r" type: RELU bottom: "c" top: "c" }
layers { name: "p" type: POOLING bottom: "c" top: "p"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "n" type: LRN bottom: "p" top: "n" lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } }
layers { name: "j" type: CONCAT bottom: "n" bottom: "p" top: "j" concat_param { concat_dim: 2 } }
layers { name: "d" type: DROPOUT bottom: "j" top: "j" dropout_param { dropout_ratio: 0.25 } }
layers { name: "f" type: INNER_PRODUCT bottom: "j" top: "f"
  inner_product_param { num_output: 7 bias_term: true } }
layers { name: "s" type: SOFTMAX bottom: "f" top: "s" }
"""
CURRENT_LAYERS = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 8 bias_term: false kernel_size: 3 stride: 2 pad: 1 group: 4 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "n" type: "LRN" bottom: "p" top: "n" lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } }
layer { name: "j" type: "Concat" bottom: "n" bottom: "p" top: "j" concat_param { concat_dim: 2 } }
layer { name: "d" type: "Dropout" bottom: "j" top: "j" dropout_param { dropout_ratio: 0.25 } }
layer { name: "f" type: "InnerProduct" bottom: "j" top: "f"
  inner_product_param { num_output: 7 bias_term: true } }
layer { name: "s" type: "Softmax" bottom: "f" top: "s" }
"""


def parameters(folder: Path, layers: str) -> list[str]:
    return [str(layer.parameters) for layer in read_prototxt(prototxt(folder, DATA + layers)).layers]


def entries(layers: str) -> list[str]:
    """Texts of the layers, one by one."""
    return [f"layer{entry}" for entry in layers.split("\nlayer")[1:]]


@pytest.mark.parametrize("old", [V0_LAYERS, V1_LAYERS], ids=["V0", "V1"])
def test_old_styles_are_upgraded_to_the_current_one(tmp_path: Path, old: str) -> None:
    assert parameters(tmp_path, old) == parameters(tmp_path, CURRENT_LAYERS)


@pytest.mark.slow
@given(st.lists(st.sampled_from([V0_LAYERS, V1_LAYERS, CURRENT_LAYERS]), min_size=8, max_size=8))
@example([V0_LAYERS, V1_LAYERS] * 4)
@example([CURRENT_LAYERS, V0_LAYERS] * 4)
def test_styles_may_take_turns(tmp_path_factory: pytest.TempPathFactory, styles: list[str]) -> None:
    folder = tmp_path_factory.mktemp("mixed")
    mixed = "\n".join(entries(style)[number] for number, style in enumerate(styles))
    assert parameters(folder, mixed) == parameters(folder, CURRENT_LAYERS)
    notices = read_prototxt(prototxt(folder, DATA + mixed)).notices
    is_refused_by_caffe = CURRENT_LAYERS in styles and set(styles) != {CURRENT_LAYERS}
    assert len(notices) == is_refused_by_caffe
    assert all("has both 'layer { … }' and 'layers { … }' entries" in notice for notice in notices)


def test_layers_in_a_list_take_turns_too(tmp_path: Path) -> None:
    first, second, third, *rest = entries(CURRENT_LAYERS)
    joined = f"layer: [{first.removeprefix('layer')}, {second.removeprefix('layer')}] # {{ layers {{ }} }}\n"
    old = entries(V1_LAYERS)[2].replace("layers", "layers # a comment {\n:\n")
    mixed = joined + old + "\n".join(rest)
    assert third
    assert parameters(tmp_path, mixed) == parameters(tmp_path, CURRENT_LAYERS)


@pytest.mark.parametrize("kind", ["conv", "pool"])
def test_padding_layers_of_v0_go_into_the_layer_that_reads_them(tmp_path: Path, kind: str) -> None:
    padded = (
        'layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "pad" }\n'
        f'layers {{ layer {{ name: "x" type: "{kind}" num_output: 4 kernelsize: 5 pad: 1 }} '
        'bottom: "pad" top: "x" }\n'
        'layers { layer { name: "r" type: "relu" } bottom: "x" top: "pad" }\n'
    )
    first, second = read_prototxt(prototxt(tmp_path, DATA + padded)).layers
    assert (first.name, first.bottoms, second.name, second.bottoms) == ("x", ("data",), "r", ("x",))
    convolution, pooling = first.parameters.convolution_param, first.parameters.pooling_param
    assert (list(convolution.pad) if kind == "conv" else [pooling.pad]) == [2]


@pytest.mark.parametrize(
    ("reader", "bottoms"), [("relu", 'bottom: "data"'), ("conv", 'bottom: "data" bottom: "data"')]
)
def test_padding_layers_elsewhere_are_an_error(tmp_path: Path, reader: str, bottoms: str) -> None:
    text = (
        f'layers {{ layer {{ name: "pad" type: "padding" pad: 2 }} {bottoms} top: "pad" }}\n'
        f'layers {{ layer {{ name: "x" type: "{reader}" }} bottom: "pad" top: "x" }}\n'
    )
    with pytest.raises(ModelError, match=r"padding layer 'pad' .* set pad in those layers instead"):
        read_prototxt(prototxt(tmp_path, DATA + text))


def test_unknown_types_of_v0_are_an_error_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no type 'inner_product'; did you mean 'innerproduct'\?"):
        read_prototxt(prototxt(tmp_path, 'layers { layer { name: "f" type: "inner_product" } }'))


@pytest.mark.parametrize("place", ["data_param", "image_data_param", "window_data_param"])
def test_transformations_of_old_data_layers_are_moved(tmp_path: Path, place: str) -> None:
    text = (
        f'layers {{ name: "d" type: DATA top: "data" {place} {{ crop_size: 5 mean_file: "m" scale: 0.5 }} '
        "transform_param { crop_size: 7 } }"
    )
    (layer,) = read_prototxt(prototxt(tmp_path, text)).layers
    moved = layer.parameters.transform_param
    assert (moved.crop_size, moved.mean_file, moved.scale) == (7, "m", 0.5)


def test_v0_data_layers_keep_what_they_do_to_images(tmp_path: Path) -> None:
    text = (
        'layers { layer { name: "d" type: "images" cropsize: 5 meanfile: "m" scale: 0.5 new_height: 9 '
        'new_width: 8 source: "list.txt" batchsize: 4 } top: "data" }'
    )
    (layer,) = read_prototxt(prototxt(tmp_path, text)).layers
    assert layer.type == "ImageData"
    assert (layer.parameters.image_data_param.new_height, layer.parameters.image_data_param.new_width) == (
        9,
        8,
    )
    moved = layer.parameters.transform_param
    assert (moved.crop_size, moved.mean_file, moved.scale) == (5, "m", 0.5)


@pytest.mark.parametrize(
    ("holes", "dilation"),
    [
        ("hole: 4", [4]),
        ("hole_h: 2 hole_w: 3", [2, 3]),
        ("hole_w: 3", [1, 3]),
        ("hole: 4 dilation: 2", [2]),
        ("", []),
    ],
)
def test_holes_of_forks_are_dilation(tmp_path: Path, holes: str, dilation: list[int]) -> None:
    text = (
        f'layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {{ {holes} }} }}'
    )
    (layer,) = read_prototxt(prototxt(tmp_path, DATA + text)).layers
    assert list(layer.parameters.convolution_param.dilation) == dilation


def test_shared_blobs_of_v1_keep_their_names(tmp_path: Path) -> None:
    text = 'layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" param: "w" param: "b" }'
    (layer,) = read_prototxt(prototxt(tmp_path, DATA + text)).layers
    assert [parameter.name for parameter in layer.parameters.param] == ["w", "b"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('input: "data" input_dim: 3 input_dim: 8 input_dim: 8', r"1 input\(s\) with 3 input_dim; every"),
        (
            'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8 '
            "input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }",
            r"1 input\(s\) with 1 input_shape and 4 input_dim",
        ),
        (
            'input: "data" ' + 2 * "input_shape { dim: 1 dim: 3 dim: 9 dim: 9 } ",
            r"declares 1 input\(s\) but 2 shape",
        ),
    ],
)
def test_inputs_that_contradict_themselves_are_an_error(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        read_prototxt(prototxt(tmp_path, f"{text} {RELU}"))


def test_the_same_shape_may_stand_in_both_styles(tmp_path: Path) -> None:
    text = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 9 '
    spec = read_prototxt(prototxt(tmp_path, f"{text} input_shape {{ dim: [1, 3, 8, 9] }} {RELU}"))
    assert spec.inputs[0].shape == (1, 3, 8, 9)


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
def test_errors_in_a_prototxt_are_reported_with_the_line(tmp_path: Path, text: str, complaint: str) -> None:
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
def test_the_part_that_cannot_be_read_as_prototxt_is_named(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
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
