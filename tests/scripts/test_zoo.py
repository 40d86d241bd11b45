"""The zoo: prototxts that a script writes are the published nets, and their configs fit them."""

import argparse
import importlib
import io
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_nets
import check_zoo
import make_zoo
import numpy as np
import pytest
from builders import (
    ENGINE,
    WORKSPACE,
    assert_close,
    build,
    from_scores,
    random_blob,
)
from google.protobuf import text_format
from make_random_weights import write_net
from weight_spread import PIXEL_RMS, Draw, draws
from zoo_engine import one_sided
from zoo_entry import ZooNet
from zoo_shapes import SizedNet, read_sized, read_sized_text
from zoo_table import LABELS, ZOO
from zoo_text import Sketch
from zoo_worker import Job, JobError, ask

from caffe_lrp.config import read_config
from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.layers import REGISTRY
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.build import build_graph, weight_shapes
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

pytestmark = pytest.mark.slow

NETS = tuple(ZOO)
FOLDER = make_zoo.FOLDER

#: Learned parameters without the statistics of batch normalization. Counts of the nets in Caffe, torchvision,
#: Keras and Cadene's and timm's collections, where these have the same layers; others worked out by hand from
#: the publication.
PARAMETERS = {
    "lenet": 431_080,
    "alexnet": 60_965_224,
    "caffenet": 60_965_224,
    "rcnn": 60_965_224 - 4_097 * 800,
    "googlenet": 6_998_552,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "cnn_f": 60_834_536,
    "cnn_m": 102_908_520,
    "cnn_s": 102_908_520,
    "nin": 7_595_176,
    "squeezenet_v1.0": 1_248_424,
    "squeezenet_v1.1": 1_235_496,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032 + 64,  # with the bias of conv1
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet50_v2": 25_549_352,
    "resnext50": 25_028_904,
    "bn_inception": 11_194_984,
    "inception_v3": 23_834_568,
    "inception_v4": 42_679_816,
    "inception_resnet_v2": 55_843_464,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "shufflenet": 1_865_728,
    "densenet121": 7_978_856,
    "se_resnet50": 28_088_024,
    "xception": 22_855_952,
    "fcn32s": 138_357_544 - 4_097 * (1_000 - 21) + 21 * 21 * 64**2,
    "age": 11_415_048,
    "gender": 11_415_048 - 513 * 6,
}

#: Millions of multiply-adds of an image, as published: by the authors of the nets, for their own or for
#: others they compare with, or in the collections named above.
MULTIPLY_ADDS = {
    "alexnet": 720,
    "googlenet": 1_580,
    "vgg16": 15_500,
    "vgg19": 19_600,
    "nin": 1_100,
    "squeezenet_v1.0": 860,
    "squeezenet_v1.1": 360,
    "resnet18": 1_800,
    "resnet50": 3_860,
    "resnet101": 7_600,
    "resnet152": 11_300,
    "resnet50_v2": 4_100,
    "resnext50": 4_200,
    "bn_inception": 2_030,
    "inception_v3": 5_710,
    "inception_v4": 12_280,
    "inception_resnet_v2": 13_180,
    "mobilenet_v1": 569,
    "mobilenet_v2": 300,
    "shufflenet": 137,
    "densenet121": 2_830,
    "se_resnet50": 3_870,
    "xception": 8_400,
}
TOLERANCE = {"squeezenet_v1.1": 0.08}
"""Relative, where it is not 1.5 %: the authors' 0.72 GFLOP leave out what we count, or have another input."""


def prototxt_of(name: str) -> Path:
    return (FOLDER / make_zoo.prototxt_path(name, ZOO[name])).resolve()


def sized(name: str) -> SizedNet:
    return read_sized(prototxt_of(name))


def message_of(name: str) -> Any:
    return text_format.Parse(prototxt_of(name).read_text(encoding="utf-8"), caffe_pb2.NetParameter())


def settings_of(name: str) -> dict[str, str]:
    """Keys and values of a config, those of its one block among them."""
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    pairs = (line.strip().split(": ", 1) for line in lines if ": " in line and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs}


# --- the files


def test_files_are_what_the_script_writes() -> None:
    assert make_zoo.differing(make_zoo.zoo()) == []


def test_check_names_a_file_that_differs_and_one_that_nothing_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_zoo, "FOLDER", tmp_path)
    made, changed, unknown = (tmp_path / f"{name}.prototxt" for name in ("made", "changed", "unknown"))
    for path in (made, changed, unknown):
        path.write_text("text\n", encoding="utf-8")
    files = {made: "text\n", changed: "other text\n", tmp_path / "absent.yaml": ""}
    assert make_zoo.differing(files) == [changed, tmp_path / "absent.yaml", unknown]


def test_zoo_has_every_net_that_was_asked_for() -> None:
    assert len(ZOO) == 32
    assert set(PARAMETERS) == set(ZOO)
    assert set(MULTIPLY_ADDS) <= set(ZOO)


def test_zoo_stays_small() -> None:
    assert sum(len(text) for text in make_zoo.zoo().values()) < 1_300_000


# --- the nets


@pytest.mark.parametrize("name", NETS)
def test_net_has_the_published_number_of_parameters(name: str) -> None:
    assert sized(name).parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", list(MULTIPLY_ADDS))
def test_net_has_about_the_published_multiply_adds(name: str) -> None:
    published = 1e6 * MULTIPLY_ADDS[name]
    assert abs(sized(name).multiply_adds - published) <= TOLERANCE.get(name, 0.015) * published


@pytest.mark.parametrize("name", NETS)
def test_net_has_one_output_of_a_score_for_every_class(name: str) -> None:
    entry, net = ZOO[name], sized(name)
    assert net.input_shape == (1, *entry.input_shape)
    (shape,) = net.outputs.values()
    assert shape == (1, 21, 500, 500) if name == "fcn32s" else math.prod(shape) == shape[1] == entry.classes


@pytest.mark.parametrize("name", NETS)
def test_net_is_in_the_current_style_and_calls_no_two_layers_the_same(name: str) -> None:
    net = message_of(name)
    assert not net.layers
    assert not net.input_dim
    names = [layer.name for layer in net.layer]
    assert len(set(names)) == len(names)
    for layer in net.layer:
        assert not layer.param
        assert not layer.convolution_param.HasField("weight_filler")


@pytest.mark.parametrize("name", NETS)
def test_prototxt_names_its_source(name: str) -> None:
    comments = " ".join(
        line.removeprefix("#").strip()
        for line in prototxt_of(name).read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    )
    assert ZOO[name].source in comments


def test_blocks_of_deep_resnets_are_called_as_the_authors_call_them() -> None:
    names = {net: {layer.name for layer in message_of(net).layer} for net in ("resnet50", "resnet152")}
    assert {"res3d_branch2c", "res4f_branch2a", "res5c"} <= names["resnet50"]
    assert {"res2c_branch2b", "res3b7_branch2c", "res4b35_branch2a", "res5c"} <= names["resnet152"]


# --- the package sees the same nets


def unknown_types(name: str) -> set[str]:
    return {layer.type for layer in message_of(name).layer} - REGISTRY.keys()


@pytest.fixture(params=NETS)
def known_net(request: pytest.FixtureRequest) -> Iterator[str]:
    unknown = unknown_types(request.param)
    if unknown:
        pytest.skip(f"no layer for {', '.join(sorted(unknown))}")
    yield request.param


def test_package_finds_the_same_weights(known_net: str) -> None:
    expected = {layer.message.name: layer.blobs for layer in sized(known_net).layers if layer.blobs}
    assert weight_shapes(deploy(read_prototxt(prototxt_of(known_net)))) == expected


def test_package_finds_the_same_shapes(known_net: str) -> None:
    found = {
        layer.name: layer.output_shapes[0]
        for layer in build_graph(deploy(read_prototxt(prototxt_of(known_net)))).layers
    }
    for layer in sized(known_net).layers:
        assert found[layer.message.name] == layer.output[1:]


# --- the configs


@pytest.mark.parametrize("name", NETS)
def test_config_names_the_net_and_a_layer_of_it(name: str) -> None:
    entry, settings = ZOO[name], settings_of(name)
    assert (FOLDER / settings["param_file"]).resolve() == prototxt_of(name)
    assert settings["model_file"].endswith(".caffemodel")
    assert settings["auxiliaryvariable_maxlayerindexforflatdistinconv"] in {
        layer.name for layer in message_of(name).layer if layer.type == "Convolution"
    }
    assert settings["lastlayerindex"] == "auto"
    assert int(settings["numclasses"]) == entry.classes
    assert len(settings["mean_values"].split(",")) == entry.channels
    assert int(settings["baseimgsize"]) >= entry.side


@pytest.mark.parametrize("name", NETS)
def test_config_has_a_label_for_every_class(name: str) -> None:
    labels = settings_of(name)["synsetfile"]
    if labels in LABELS:
        assert len((FOLDER / labels).read_text(encoding="utf-8").splitlines()) == ZOO[name].classes
    else:
        assert labels == ("../det_synset_words.txt" if name == "rcnn" else "../synset_words.txt")


@pytest.mark.parametrize("name", NETS)
def test_package_reads_the_config(name: str) -> None:
    pytest.importorskip("caffe_lrp.config.yaml_file", reason="the package does not read YAML")
    found, entry = read_config(FOLDER / f"{name}.yaml"), ZOO[name]
    assert found.prototxt.resolve() == prototxt_of(name)
    assert found.caffemodel.name == entry.weights
    assert found.class_count == entry.classes
    assert str(found.start_layer) == "auto"
    assert str(found.switch_layer) == entry.switch


def test_configs_have_the_formula_that_suits_the_net() -> None:
    formulas = {name: settings_of(name)["relpropformulatype"] for name in NETS}
    assert formulas.pop("lenet") == "epsilon-plus"
    assert set(formulas.values()) == {"epsilon-plus-flat"}


# --- the builder and the counter


def test_sketch_reads_the_last_blob_by_default() -> None:
    net = Sketch("n", (3, 9, 8))
    first = net.conv("a", 4, (1, 3), stride=2, pad=(0, 1), groups=2, bias=False)
    net.relu("r")
    net.conv("b", 5, 3, of=first)
    net.add("sum", (first, net.last), factors=(1, 0.25))
    assert net.text == (
        'name: "n"\ninput: "data"\ninput_shape { dim: 1 dim: 3 dim: 9 dim: 8 }\n'
        'layer { name: "a" type: "Convolution" bottom: "data" top: "a"\n'
        "  convolution_param { num_output: 4 kernel_h: 1 kernel_w: 3 pad_h: 0 pad_w: 1 stride: 2 group: 2 "
        "bias_term: false } }\n"
        'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }\n'
        'layer { name: "b" type: "Convolution" bottom: "a" top: "b"\n'
        "  convolution_param { num_output: 5 kernel_size: 3 } }\n"
        'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum"\n'
        "  eltwise_param { operation: SUM coeff: 1 coeff: 0.25 } }\n"
    )


def test_counter_counts_by_hand() -> None:
    net = Sketch("n", (3, 9, 8))
    net.conv("a", 4, (1, 3), stride=2, pad=(0, 1))  # 5x4: 4 * 9 + 4 numbers, 36 * 20 products
    net.batch_norm("bn")
    net.scale("s")
    net.pool("p", 2, 3)  # 2x2, the last column half outside
    net.conv("d", 6, 3, stride=2, bias=False, kind="Deconvolution")  # 5x5: 4 * 6 * 9 weights, for 4 pixels
    net.fc("f", 7)  # 150 * 7 weights
    counted = read_sized_text(net.text)
    assert [layer.output for layer in counted.layers][2:] == [
        (1, 4, 5, 4), (1, 4, 2, 2), (1, 6, 5, 5), (1, 7),
    ]  # fmt: skip
    assert counted.parameters == 40 + 8 + 216 + 1057
    assert counted.multiply_adds == 720 + 864 + 1050
    assert counted.outputs == {"f": (1, 7)}


# --- random weights for them


def draws_of(name: str, input_rms: float = PIXEL_RMS) -> dict[str, list[Draw]]:
    shapes = {layer.message.name: layer.blobs for layer in sized(name).layers}
    return draws(read_prototxt(prototxt_of(name)), shapes, input_rms)


def test_biases_of_nets_without_normalization_are_normal() -> None:
    for name in ("caffenet", "googlenet", "vgg16"):
        for weight, bias in draws_of(name).values():
            assert bias == Draw(0.0, 1.0, is_added=True)
            assert not weight.is_added


@pytest.mark.parametrize(
    "name", [name for name in NETS if '"BatchNorm"' in prototxt_of(name).read_text(encoding="utf-8")]
)
def test_normalization_keeps_deep_nets_from_growing(name: str) -> None:
    entry: ZooNet = ZOO[name]
    input_rms = PIXEL_RMS * entry.preprocessing.scale
    statistics = {layer.message.name for layer in sized(name).layers if layer.message.type == "BatchNorm"}
    found = [blobs for layer, blobs in draws_of(name, input_rms).items() if layer in statistics]
    mean, variance, factor = found[0]
    assert variance.centre == pytest.approx(2 * input_rms**2)
    assert mean.spread == pytest.approx(0.1 * math.sqrt(2) * input_rms)
    for _, variance, factor in found[1:]:
        assert 0.1 < variance.centre < 80
        assert factor == Draw(1.0, 0.0, is_uniform=True)


def test_weights_without_biases_have_zeros_where_something_is_added() -> None:
    shapes = {layer.message.name: layer.blobs for layer in sized("resnet18").layers}
    file = io.BytesIO()
    write_net(
        file,
        read_prototxt(prototxt_of("resnet18")),
        np.random.default_rng(0),
        has_biases=False,
        shapes_of=shapes,
    )
    written = {
        layer.name: [np.array(blob.data, np.float32) for blob in layer.blobs]
        for layer in caffe_pb2.NetParameter.FromString(file.getvalue()).layer
    }
    mean, variance, factor = written["bn3a_branch2a"]
    assert not mean.any()
    assert np.array_equal(factor, [1.0])
    assert variance.min() > 0
    assert variance.max() > 2 * variance.min()
    scale, shift = written["scale3a_branch2a"]
    assert not shift.any()
    assert 0.75 <= scale.min() < scale.max() <= 1.25
    weight, bias = written["fc1000"]
    assert not bias.any()
    assert np.std(weight) == pytest.approx(math.sqrt(2 / 512), rel=0.01)


# --- the check


def test_difference_is_relative_to_the_largest_number() -> None:
    expected = np.array([1.0, -4.0, 2.0])
    assert check_zoo.difference(np.array([1.0, -4.0, 2.1]), expected) == pytest.approx(0.025)
    assert check_zoo.difference(np.zeros(2), expected) == math.inf


def test_table_has_a_column_for_whatever_any_row_has() -> None:
    assert check_zoo.table([{"net": "a", "x": "1"}, {"net": "b", "remarks": "slow"}]) == (
        "| net | x | remarks |\n| --- | --- | --- |\n| a | 1 |  |\n| b |  | slow |\n"
    )


def test_images_are_what_the_config_makes_of_them() -> None:
    gray, colours = check_zoo.image_for(ZOO["lenet"]), check_zoo.image_for(ZOO["mobilenet_v1"])
    assert gray.shape == (1, 1, 28, 28)
    assert 0 <= gray.min() < gray.max() < 1
    assert colours.shape == (1, 3, 224, 224)
    assert -2.2 < colours.min() < -1 < 1 < colours.max() < 2.8


def options_for(folder: Path) -> argparse.Namespace:
    return argparse.Namespace(folder=folder, torch=sys.executable, opencv=sys.executable)


def test_a_net_that_cannot_run_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(setting: check_zoo.Setting) -> check_zoo.Result:
        raise JobError(f"no layer for {setting.name}")

    monkeypatch.setitem(check_zoo.PARTS, "formulas", refuse)
    result = check_zoo.checked("formulas", "lenet", options_for(tmp_path))
    assert result.rows == [{"net": "lenet", "remarks": "FAILED: no layer for lenet"}]
    assert result.failures == ("lenet: no layer for lenet",)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(JobError, match=r"absent\.prototxt"):
        ask(
            sys.executable,
            "zoo_engine.py",
            "forward",
            Job("absent.prototxt", "absent.caffemodel", "absent.npy"),
        )


@pytest.mark.parametrize("part", ["formulas", "conservation"])
def test_lenet_passes_the_check(part: str, tmp_path: Path) -> None:
    result = check_zoo.checked(part, "lenet", options_for(tmp_path))
    assert result.failures == ()
    assert [row["net"] for row in result.rows] == ["lenet"] * (5 if part == "conservation" else 1)


def test_sums_that_change_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"formula": 2, "starts": 2.0, "arrives": 1.0, "layer": "c", "absolute": 1.0, "one_sided": 1.0}
    for unexplained, count in ((0.0005, 0), (0.002, 2)):
        found = {"rows": [kept | {"unexplained": unexplained}]}
        monkeypatch.setattr(check_zoo.Setting, "ours", lambda *_, found=found: found)
        failures = check_zoo.checked("conservation", "lenet", options_for(tmp_path)).failures
        assert len(failures) == count
        assert all("sums change" in failure for failure in failures)


ONE_SIDED = """
name: "n"
input: "data"
input_shape { dim: 1 dim: 1 dim: 1 dim: 4 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 3 kernel_h: 1 kernel_w: 2 bias_term: false } }
"""


def test_windows_with_products_of_one_sign_are_found(tmp_path: Path) -> None:
    weight = np.array([[1, 2], [1, -1], [-3, -1]], np.float32).reshape(3, 1, 1, 2)
    (layer,) = build(tmp_path, ONE_SIDED, {"c": [weight]}).layers
    assert isinstance(layer, Linear)
    x = np.array([1, 2, 0, -1], np.float32).reshape(1, 1, 1, 4)
    relevance = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 1, 3)
    # Products: (1, 4) (2, 0) (0, -2); (1, -2) (2, 0) (0, 1); (-3, -2) (-6, 0) (0, 1).
    positive = [[1, 1, 0], [1, 1, 1], [0, 0, 1]]
    negative = [[0, 0, 1], [1, 0, 0], [1, 1, 0]]
    handed = 1.5 * np.array(positive) - 0.5 * np.array(negative)
    taken = (relevance[0, :, 0] * (1 - handed)).sum()
    assert one_sided(layer, x, relevance, 0.5, WORKSPACE) == pytest.approx(taken)


# --- ResNet-50 in the benchmark


def test_the_benchmark_has_a_config_for_resnet50() -> None:
    prototxt, config = bench_nets.files_of("resnet50")
    assert prototxt.resolve() == prototxt_of("resnet50")
    assert read_config(config).start_layer == -2  # the highest inner product: fc1000
    assert bench_nets.files_of("caffenet")[0].resolve() == prototxt_of("caffenet")


SHORTCUT = """
name: "n"
input: "data"
input_shape { dim: 1 dim: 3 dim: 6 dim: 5 }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "c1" bottom: "c2" top: "sum"
  eltwise_param { operation: SUM FACTORS } }
layer { name: "r2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc" inner_product_param { num_output: 7 } }
"""


@pytest.mark.parametrize("formula", [0, 100])
def test_zennit_gets_sums(formula: int, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    bench_zennit = importlib.import_module("bench_zennit")
    net = build(tmp_path, SHORTCUT.replace("FACTORS", ""))
    plan = resolve_plan(net, formula, RuleParameters(0.01, 1.0, 0, CORRECTED), -2, 0)
    images = random_blob((2, *net.input_shape), seed=1)
    forward = ENGINE.forward(net, (plan,), images)
    relevance = from_scores(plan, forward, [(0,), (1,)])
    assert_close(np.ascontiguousarray(relevance), bench_zennit.Zennit(plan, images).attribute(), 1e-4)


def test_zennit_gets_no_sums_with_coefficients(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    bench_zennit = importlib.import_module("bench_zennit")
    net = build(tmp_path, SHORTCUT.replace("FACTORS", "coeff: 1 coeff: 0.5"))
    plan = resolve_plan(net, 0, RuleParameters(0.01, 1.0, 0, CORRECTED), -2, 0)
    with pytest.raises(TypeError, match="sum"):
        bench_zennit.Zennit(plan, random_blob((2, *net.input_shape), seed=1))
