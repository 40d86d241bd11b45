"""The nets and configs that come with the package, and the script that makes random weights for them."""

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, text_format
from numpy.typing import NDArray

from caffe_lrp.formats.caffe import caffe_pb2

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
MAKE_RANDOM_WEIGHTS = ROOT / "scripts" / "make_random_weights.py"

NETS = ("caffenet", "googlenet", "vgg16")
PARAMETERS = {"caffenet": 60_965_224, "googlenet": 6_998_552, "vgg16": 138_357_544}
INPUT_SIDES = {"caffenet": 227, "googlenet": 224, "vgg16": 224}

KEYS = (
    "param_file",
    "model_file",
    "mean_file",
    "use_mean_file_asbinaryprotoblob",
    "synsetfile",
    "lastlayerindex",
    "firstlayerindex",
    "numclasses",
    "baseimgsize",
    "standalone_outpath",
    "standalone_rootpath",
    "relpropformulatype",
    "epsstab",
    "alphabeta_beta",
    "auxiliaryvariable_maxlayerindexforflatdistinconv",
)

# Layer names in order, blanks between them.
CAFFENET_LAYERS = """
    conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 conv5 relu5 pool5
    fc6 relu6 drop6 fc7 relu7 drop7 fc8 prob
"""
VGG16_LAYERS = """
    conv1_1 relu1_1 conv1_2 relu1_2 pool1 conv2_1 relu2_1 conv2_2 relu2_2 pool2
    conv3_1 relu3_1 conv3_2 relu3_2 conv3_3 relu3_3 pool3
    conv4_1 relu4_1 conv4_2 relu4_2 conv4_3 relu4_3 pool4
    conv5_1 relu5_1 conv5_2 relu5_2 conv5_3 relu5_3 pool5
    fc6 relu6 drop6 fc7 relu7 drop7 fc8 prob
"""
GOOGLENET_STEM = """
    conv1/7x7_s2 conv1/relu_7x7 pool1/3x3_s2 pool1/norm1 conv2/3x3_reduce conv2/relu_3x3_reduce
    conv2/3x3 conv2/relu_3x3 conv2/norm2 pool2/3x3_s2
"""
GOOGLENET_TOP = "pool5/7x7_s1 pool5/drop_7x7_s1 loss3/classifier prob"
INCEPTION_MODULE = """
    {0}/1x1 {0}/relu_1x1 {0}/3x3_reduce {0}/relu_3x3_reduce {0}/3x3 {0}/relu_3x3
    {0}/5x5_reduce {0}/relu_5x5_reduce {0}/5x5 {0}/relu_5x5
    {0}/pool {0}/pool_proj {0}/relu_pool_proj {0}/output
"""

# Szegedy et al. 2015, table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj.
INCEPTION_BRANCHES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
INCEPTION_WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def read_net(net: str) -> caffe_pb2.NetParameter:
    text = (CONFIGS / net / "deploy.prototxt").read_text(encoding="utf-8")
    return text_format.Parse(text, caffe_pb2.NetParameter())


def layers_by_name(net: str) -> dict[str, caffe_pb2.LayerParameter]:
    return {layer.name: layer for layer in read_net(net).layer}


def read_settings(net: str) -> dict[str, str]:
    """The settings of a config as the reference reads them: the first line that begins with the key."""
    lines = [line.strip(" \t") for line in (CONFIGS / f"{net}.txt").read_text(encoding="utf-8").splitlines()]
    settings = {}
    for key in KEYS:
        number = next((n for n, line in enumerate(lines) if line.startswith(key)), None)
        if number is not None:
            settings[key] = lines[number + 1].split()[0]
    return settings


class BlobTracer:
    """Follows channels and side through a net by the textbook formulas, and counts its parameters."""

    def __init__(self, net: caffe_pb2.NetParameter) -> None:
        _, channels, side, _ = net.input_shape[0].dim
        self.blobs = {net.input[0]: (channels, side)}
        self.parameters = 0
        for layer in net.layer:
            self.blobs[layer.top[0]] = self.output(layer, [self.blobs[name] for name in layer.bottom])

    def output(self, layer: caffe_pb2.LayerParameter, inputs: list[tuple[int, int]]) -> tuple[int, int]:
        channels, side = inputs[0]
        if layer.type == "Convolution":
            p = layer.convolution_param
            kernel, pad, stride = p.kernel_size[0], sum(p.pad), (list(p.stride) or [1])[0]
            self.parameters += p.num_output * (channels // p.group * kernel**2 + 1)
            return p.num_output, (side + 2 * pad - kernel) // stride + 1
        if layer.type == "Pooling":
            q = layer.pooling_param
            return channels, math.ceil((side + 2 * q.pad - q.kernel_size) / q.stride) + 1
        if layer.type == "InnerProduct":
            width = layer.inner_product_param.num_output
            self.parameters += width * (channels * side**2 + 1)
            return width, 1
        if layer.type == "Concat":
            assert {other_side for _, other_side in inputs} == {side}
            return sum(other_channels for other_channels, _ in inputs), side
        assert layer.type in {"ReLU", "LRN", "Dropout", "Softmax"}
        return channels, side


@pytest.mark.parametrize("net", NETS)
def test_net_has_one_square_colour_image_as_input(net: str) -> None:
    parameter = read_net(net)
    side = INPUT_SIDES[net]
    assert list(parameter.input) == ["data"]
    assert [list(shape.dim) for shape in parameter.input_shape] == [[1, 3, side, side]]


@pytest.mark.parametrize("net", NETS)
def test_net_has_the_published_number_of_parameters(net: str) -> None:
    assert BlobTracer(read_net(net)).parameters == PARAMETERS[net]


@pytest.mark.parametrize("net", NETS)
def test_net_ends_in_a_softmax_over_a_thousand_classes(net: str) -> None:
    parameter = read_net(net)
    assert parameter.layer[-1].type == "Softmax"
    assert BlobTracer(parameter).blobs["prob"] == (1000, 1)


@pytest.mark.parametrize("net", NETS)
def test_net_uses_the_current_style_without_fillers_or_rates(net: str) -> None:
    parameter = read_net(net)
    assert not parameter.layers
    assert not parameter.input_dim
    for layer in parameter.layer:
        assert not layer.param
        assert not layer.convolution_param.HasField("weight_filler")
        assert not layer.inner_product_param.HasField("weight_filler")


def test_caffenet_layers_have_bvlcs_names() -> None:
    assert [layer.name for layer in read_net("caffenet").layer] == CAFFENET_LAYERS.split()


def test_vgg16_layers_have_the_authors_names() -> None:
    assert [layer.name for layer in read_net("vgg16").layer] == VGG16_LAYERS.split()


def test_googlenet_layers_have_bvlcs_names() -> None:
    expected = GOOGLENET_STEM.split()
    for module in INCEPTION_WIDTHS:
        expected += INCEPTION_MODULE.format(f"inception_{module}").split()
        if module in {"3b", "4e"}:
            expected.append("pool3/3x3_s2" if module == "3b" else "pool4/3x3_s2")
    expected += GOOGLENET_TOP.split()
    assert [layer.name for layer in read_net("googlenet").layer] == expected


def test_googlenet_has_nine_inception_modules_with_the_published_widths() -> None:
    layers = layers_by_name("googlenet")
    widths = {
        name.split("_")[1].split("/")[0]: tuple(
            layers[name.replace("output", branch)].convolution_param.num_output
            for branch in INCEPTION_BRANCHES
        )
        for name in layers
        if name.endswith("/output")
    }
    assert widths == INCEPTION_WIDTHS


def test_googlenet_concatenates_the_four_branches_in_order() -> None:
    for name, layer in layers_by_name("googlenet").items():
        if layer.type == "Concat":
            branches = ("1x1", "3x3", "5x5", "pool_proj")
            assert list(layer.bottom) == [name.replace("output", branch) for branch in branches]


def test_caffenet_pools_before_it_normalizes_and_groups_three_convolutions() -> None:
    layers = layers_by_name("caffenet")
    assert list(layers["pool1"].bottom) == ["conv1"]
    assert list(layers["norm1"].bottom) == ["pool1"]
    groups = {
        name: layer.convolution_param.group for name, layer in layers.items() if layer.type == "Convolution"
    }
    assert groups == {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}


@pytest.mark.parametrize("net", ["caffenet", "googlenet"])
def test_normalization_is_the_published_one(net: str) -> None:
    layers = [layer for layer in read_net(net).layer if layer.type == "LRN"]
    assert len(layers) == 2
    for layer in layers:
        p = layer.lrn_param
        assert (p.local_size, p.beta, p.k) == (5, 0.75, 1)
        assert p.alpha == np.float32(0.0001)


def test_nets_keep_the_published_grids() -> None:
    caffenet = BlobTracer(read_net("caffenet")).blobs
    assert [caffenet[name][1] for name in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [
        55, 27, 27, 13, 13, 6,
    ]  # fmt: skip
    googlenet = BlobTracer(read_net("googlenet")).blobs
    assert googlenet["conv1/7x7_s2"] == (64, 112)
    assert googlenet["inception_3b/output"] == (480, 28)
    assert googlenet["inception_4e/output"] == (832, 14)
    assert googlenet["inception_5b/output"] == (1024, 7)
    assert BlobTracer(read_net("vgg16")).blobs["pool5"] == (512, 7)


@pytest.mark.parametrize("net", NETS)
def test_config_has_all_keys_with_sensible_values(net: str) -> None:
    settings = read_settings(net)
    assert set(settings) == set(KEYS)
    assert settings["param_file"] == f"{net}/deploy.prototxt"
    assert settings["model_file"].startswith(f"{net}/")
    assert settings["mean_file"] == "imagenet_mean.binaryproto"
    assert settings["synsetfile"] == "synset_words.txt"
    assert settings["standalone_outpath"] == "./heatmaps"
    assert settings["standalone_rootpath"] == "images"
    numbers = {key: value for key, value in settings.items() if re.fullmatch(r"-?[0-9.]+", value)}
    del numbers["auxiliaryvariable_maxlayerindexforflatdistinconv"]
    assert numbers == {
        "use_mean_file_asbinaryprotoblob": "1",
        "lastlayerindex": "-2",
        "firstlayerindex": "0",
        "numclasses": "1000",
        "baseimgsize": "256",
        "relpropformulatype": "100",
        "epsstab": "0.01",
        "alphabeta_beta": "1",
    }


@pytest.mark.parametrize("net", NETS)
def test_the_prototxt_is_in_the_folder_of_the_config(net: str) -> None:
    assert (CONFIGS / read_settings(net)["param_file"]).is_file()


@pytest.mark.parametrize(
    ("net", "layer"), [("caffenet", "conv2"), ("googlenet", "conv2/3x3"), ("vgg16", "conv2_2")]
)
def test_config_switch_index_is_the_layer_its_comment_names(net: str, layer: str) -> None:
    index = read_settings(net)["auxiliaryvariable_maxlayerindexforflatdistinconv"]
    # No blob below this layer feeds several others, so no Split layer shifts the prototxt's numbering.
    assert read_net(net).layer[int(index)].name == layer
    assert f"# {index} is {layer}:" in (CONFIGS / f"{net}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("net", NETS)
def test_config_comments_begin_with_a_hash_and_the_file_has_no_line_of_blanks(net: str) -> None:
    lines = (CONFIGS / f"{net}.txt").read_text(encoding="ascii").split("\n")
    values = {n + 1 for n, line in enumerate(lines) if line in KEYS}
    assert len(values) == len(KEYS)
    for number, line in enumerate(lines):
        assert line == line.strip()
        assert line == "" or line.startswith("#") or line in KEYS or number in values


SMALL_NET = """
name: "small"
input: "data"
input_shape { dim: 2 dim: 3 dim: 33 dim: 29 }
layer { name: "wide" type: "Convolution" bottom: "data" top: "wide"
  convolution_param { num_output: 64 kernel_size: 5 pad: 2 } }
layer { name: "wide_relu" type: "ReLU" bottom: "wide" top: "wide" }
layer { name: "grouped" type: "Convolution" bottom: "wide" top: "grouped"
  convolution_param { num_output: 40 kernel_h: 3 kernel_w: 2 group: 4 stride: 2 } }
layer { name: "pool" type: "Pooling" bottom: "grouped" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "unbiased" type: "InnerProduct" bottom: "pool" top: "unbiased"
  inner_product_param { num_output: 500 bias_term: false } }
layer { name: "classes" type: "InnerProduct" bottom: "unbiased" top: "classes"
  inner_product_param { num_output: 17 } }
layer { name: "prob" type: "Softmax" bottom: "classes" top: "prob" }
"""

# grouped: (33 - 3) // 2 + 1 = 16 rows, (29 - 2) // 2 + 1 = 14 columns; pooled to 8 by 7.
SMALL_SHAPES = {
    "wide": [(64, 3, 5, 5), (64,)],
    "grouped": [(40, 16, 3, 2), (40,)],
    "unbiased": [(500, 40 * 8 * 7)],
    "classes": [(17, 500), (17,)],
}
SMALL_FAN_IN = {"wide": 75, "grouped": 96, "unbiased": 2240, "classes": 500}


def make_random_weights(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MAKE_RANDOM_WEIGHTS), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def small_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small net, its random weights, mean image and labels."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "net.prototxt").write_text(SMALL_NET, encoding="utf-8")
    done = make_random_weights(
        folder / "net.prototxt", folder / "net.caffemodel", "--seed", "3",
        "--mean", folder / "mean.binaryproto", "--synset", folder / "synset.txt",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def read_weights(path: Path) -> dict[str, list[NDArray[np.float32]]]:
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    assert net.name == "small"
    return {
        layer.name: [np.array(blob.data, np.float32).reshape(tuple(blob.shape.dim)) for blob in layer.blobs]
        for layer in net.layer
        if layer.blobs
    }


@pytest.mark.slow
def test_random_weights_have_the_shapes_of_the_net(small_net: Path) -> None:
    weights = read_weights(small_net / "net.caffemodel")
    assert {name: [blob.shape for blob in blobs] for name, blobs in weights.items()} == SMALL_SHAPES
    assert list(weights) == list(SMALL_SHAPES)


def test_random_weights_name_the_type_of_each_layer(small_net: Path) -> None:
    net = caffe_pb2.NetParameter.FromString((small_net / "net.caffemodel").read_bytes())
    types = {layer.name: layer.type for layer in net.layer if layer.blobs}
    assert types == {
        "wide": "Convolution",
        "grouped": "Convolution",
        "unbiased": "InnerProduct",
        "classes": "InnerProduct",
    }


def test_random_weights_are_he_normal(small_net: Path) -> None:
    for name, blobs in read_weights(small_net / "net.caffemodel").items():
        expected = math.sqrt(2 / SMALL_FAN_IN[name])
        assert blobs[0].std() == pytest.approx(expected, rel=0.05)
        assert abs(blobs[0].mean()) < 0.05 * expected
        # A normal distribution has 68.3 % of its numbers within one standard deviation.
        assert np.mean(np.abs(blobs[0]) < expected) == pytest.approx(0.683, abs=0.03)


def test_random_biases_are_small_but_not_zero(small_net: Path) -> None:
    for blobs in read_weights(small_net / "net.caffemodel").values():
        for bias in blobs[1:]:
            assert 0.5 < bias.std() < 2
            assert np.all(bias != 0)


@pytest.mark.slow
def test_random_weights_are_the_same_for_the_same_seed_only(small_net: Path, tmp_path: Path) -> None:
    for name, seed in (("same", "3"), ("other", "4")):
        done = make_random_weights(small_net / "net.prototxt", tmp_path / name, "--seed", seed)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "same").read_bytes() == (small_net / "net.caffemodel").read_bytes()
    assert (tmp_path / "other").read_bytes() != (small_net / "net.caffemodel").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "same"]


def test_random_mean_is_a_smooth_bgr_image(small_net: Path) -> None:
    blob = caffe_pb2.BlobProto.FromString((small_net / "mean.binaryproto").read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 256, 256)
    mean = np.array(blob.data, np.float32).reshape(3, 256, 256)
    np.testing.assert_allclose(mean.mean(axis=(1, 2)), (104, 117, 123), atol=8)
    assert np.abs(np.diff(mean, axis=1)).max() < 1
    assert np.abs(np.diff(mean, axis=2)).max() < 1
    assert not np.allclose(mean, mean.transpose(0, 2, 1), atol=1)


def test_synset_has_one_label_for_each_output(small_net: Path) -> None:
    labels = (small_net / "synset.txt").read_text(encoding="utf-8").splitlines()
    assert len(labels) == 17
    assert len(set(labels)) == 17


@pytest.mark.slow
def test_missing_folder_for_the_weights_is_a_clear_error(small_net: Path, tmp_path: Path) -> None:
    done = make_random_weights(small_net / "net.prototxt", tmp_path / "absent" / "net.caffemodel")
    assert done.returncode != 0
    assert f"the folder {tmp_path / 'absent'} does not exist" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_missing_prototxt_is_a_clear_error_and_writes_nothing(tmp_path: Path) -> None:
    done = make_random_weights(tmp_path / "absent.prototxt", tmp_path / "net.caffemodel")
    assert done.returncode != 0
    assert "absent.prototxt" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


ProtoField = tuple[str, str, int, str, bool]  # label, type, number, default, packed
FIELD = re.compile(r"(optional|repeated|required)\s+(\w+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[(.*)\])?;")


def options_of(text: str | None) -> tuple[str, bool]:
    pairs = dict(re.findall(r"(\w+)\s*=\s*\"?([^\",\]]+)\"?", text or ""))
    return canonical(pairs.get("default", "").strip()), pairs.get("packed", "").strip() == "true"


def canonical(default: str) -> str:
    """A default as text, whichever way a number is written; all fractions of this schema are floats."""
    try:
        return repr(float(np.float32(default)))
    except ValueError:
        return default


def schema_of_text(text: str) -> tuple[dict[str, dict[str, ProtoField]], dict[str, dict[str, int]]]:
    messages: dict[str, dict[str, ProtoField]] = {}
    enums: dict[str, dict[str, int]] = {}
    scopes: list[tuple[str, str]] = []
    for line in re.sub(r"//.*", "", text).splitlines():
        if opened := re.search(r"\b(message|enum)\s+(\w+)\s*\{", line):
            scopes.append((opened[1], opened[2]))
            path = ".".join(name for _, name in scopes)
            (messages if opened[1] == "message" else enums)[path] = {}
        elif "}" in line:
            scopes.pop()
        elif scopes:
            path = ".".join(name for _, name in scopes)
            if scopes[-1][0] == "enum" and (value := re.search(r"(\w+)\s*=\s*(\d+)\s*;", line)):
                enums[path][value[1]] = int(value[2])
            elif field := FIELD.search(line):
                default, packed = options_of(field[5])
                messages[path][field[3]] = (field[1], field[2], int(field[4]), default, packed)
    return messages, enums


def schema_of_descriptor() -> tuple[dict[str, dict[str, ProtoField]], dict[str, dict[str, int]]]:
    file = descriptor_pb2.FileDescriptorProto()
    caffe_pb2.DESCRIPTOR.CopyToProto(file)
    messages: dict[str, dict[str, ProtoField]] = {}
    enums = {enum.name: {value.name: value.number for value in enum.value} for enum in file.enum_type}

    def describe(field: descriptor_pb2.FieldDescriptorProto) -> ProtoField:
        label = descriptor_pb2.FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
        scalar = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        type_name = field.type_name.rpartition(".")[2] or scalar
        return label, type_name, field.number, canonical(field.default_value), field.options.packed

    def walk(message: descriptor_pb2.DescriptorProto, path: str) -> None:
        messages[path] = {field.name: describe(field) for field in message.field}
        for enum in message.enum_type:
            enums[f"{path}.{enum.name}"] = {value.name: value.number for value in enum.value}
        for nested in message.nested_type:
            walk(nested, f"{path}.{nested.name}")

    for message in file.message_type:
        walk(message, message.name)
    return messages, enums


def test_compiled_schema_describes_the_same_messages_as_its_text() -> None:
    text = (ROOT / "caffe_lrp" / "formats" / "caffe" / "caffe.proto").read_text(encoding="utf-8")
    text_messages, text_enums = schema_of_text(text)
    messages, enums = schema_of_descriptor()
    assert len(messages) > 30
    assert sum(map(len, messages.values())) > 200
    assert text_messages == messages
    assert text_enums == enums
