"""Nets that the reference refuses, from config to files: their inputs, and where relevance starts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_builders import opened
from builders import WORKSPACE, deployed, parse, random_weights, write_caffemodel
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.cli.main import main
from caffe_lrp.config import read_config
from caffe_lrp.errors import ConfigError, ModelError
from caffe_lrp.formats.caffe import reader
from caffe_lrp.formats.caffe.caffe_pb2 import BlobProto
from caffe_lrp.formats.spec import Transform
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.model.notices import notices_on
from caffe_lrp.model.preprocessing import make_preprocessor, mean_of_prototxt
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.net.deploy import deployed as deployment
from caffe_lrp.net.deploy.deployed import DeployedNet

#: A classifier with an inner product, and one whose scores are an average over positions.
DENSE = """
input: "data" input_shape { dim: 2 dim: CHANNELS dim: 20 dim: 14 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 5 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool1" top: "fc1" inner_product_param { num_output: 6 } }
layer { name: "prob" type: "Softmax" bottom: "fc1" top: "prob" }
"""
AVERAGED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 20 dim: 14 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv10" type: "Convolution" bottom: "conv1" top: "conv10"
  convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "relu10" type: "ReLU" bottom: "conv10" top: "conv10" }
"""
POOLED = """
layer { name: "pool10" type: "Pooling" bottom: "conv10" top: "pool10"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "prob" type: "Softmax" bottom: "pool10" top: "prob" }
"""
VALUES: Mapping[str, object] = {
    "prototxt": "deploy.prototxt",
    "caffemodel": "net.caffemodel",
    "synset_file": "labels.txt",
    "start_layer": "auto",
    "first_layer": 0,
    "class_count": 6,
    "output_root": "out",
    "path_root": "images",
    "formula": 100,
    "epsilon": 0.01,
    "beta": 1,
    "switch_layer": 0,
    "quirks": "corrected",
    "base_size": 24,
    "mean_values": [100],
}
IMAGE = "images/photo.png"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image, and labels; paths are short."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    pixels = np.random.default_rng(4).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).resize((60, 48)).save(IMAGE)
    Path("labels.txt").write_text("a class\n" * 6)


def arrange(
    text: str, weights: Mapping[str, Sequence[Blob]] | None = None, **changes: object
) -> Mapping[str, Sequence[Blob]]:
    """Config and net; None leaves a key out."""
    spec = parse(Path(), text)
    weights = weights or random_weights(spec, 2)
    write_caffemodel(Path("net.caffemodel"), weights)
    values = {**VALUES, **changes}
    lines = [f"{key}: {value}\n" for key, value in values.items() if value is not None]
    Path("config.yaml").write_text("".join(lines))
    return weights


def notes() -> list[str]:
    """What is said of the model of the config, which is in the current folder."""
    config = read_config(Path("config.yaml"))
    return [notice.placed(config.places) for notice in notices_on(opened(config))]


def run(*options: str, image: str = IMAGE, target: int = -1) -> int:
    """Explain one image; what options say counts."""
    Path("list.txt").write_text(f"{image} {target}\n")
    arguments = ["-c", "config.yaml", "-f", "list.txt", "--overwrite", "--quiet"]
    return main([*arguments, "--outputs", "heatmap,input,top10,npy,rawhm", *options])


def heatmap(image: str = IMAGE) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.load(f"out/{image}_relevance.npy")
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0
    return found


def scores(image: str = IMAGE) -> dict[int, float]:
    lines = Path(f"out/{image}_top10scores.txt").read_text().splitlines()
    return {int(line.split()[0]): float(line.split()[1]) for line in lines}


# --- Channels and sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["0", "2", "11", "100", "102", "104", "166"])
def test_nets_of_one_channel_are_explained(formula: str) -> None:
    arrange(DENSE.replace("CHANNELS", "1"), input_scale=0.00390625, resize="stretch")
    assert run("--formula", formula) == 0
    assert heatmap().shape == (1, 20, 14)
    assert Path(f"out/{IMAGE}_rawhm.txt").read_text().startswith("1\n20 14\n")
    shown = np.asarray(Image.open(f"out/{IMAGE}_as_inputted_into_the_dnn.png"))
    np.testing.assert_array_equal(shown, shown[..., :1].repeat(3, axis=2))


def test_a_net_that_wants_red_first_gives_the_same_files() -> None:
    weights = dict(arrange(DENSE.replace("CHANNELS", "3"), mean_values=[90, 100, 110]))
    assert run() == 0
    expected, picture = heatmap(), Path(f"out/{IMAGE}_as_inputted_into_the_dnn.png").read_bytes()
    kernel, bias = weights["conv1"]
    weights["conv1"] = [np.ascontiguousarray(kernel[:, ::-1]), bias]
    arrange(DENSE.replace("CHANNELS", "3"), weights, mean_values=[110, 100, 90], channel_order="RGB")
    assert run() == 0
    np.testing.assert_allclose(heatmap(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert Path(f"out/{IMAGE}_as_inputted_into_the_dnn.png").read_bytes() == picture


def test_nets_of_other_channels_take_numpy_files_alone(capsys: pytest.CaptureFixture[str]) -> None:
    arrange(DENSE.replace("CHANNELS", "5"), mean_values=[0])
    np.save("images/levels.npy", np.random.default_rng(1).uniform(0, 255, (5, 22, 14)).astype(np.float32))
    assert run(image="images/levels.npy") == 0
    assert heatmap("images/levels.npy").shape == (5, 20, 14)
    assert run() == 4
    assert (
        "the net's input has 5 channels, which no image has; give NumPy files (.npy)"
        in capsys.readouterr().err
    )


def test_an_input_that_is_no_image_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    text = 'input: "data" input_shape { dim: 1 dim: 192 }'
    text += 'layer { name: "fc1" type: "InnerProduct" bottom: "data" top: "fc1" '
    text += "inner_product_param { num_output: 6 } }"
    arrange(text)
    assert run() == 3
    assert "the input must be images (N×C×H×W), but it is 1×192; only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bottom", "message"),
    [
        ('bottom: "image"', 'reads the blob \'image\', which no input or layer before it writes; declare the '
         'input: input: "image" input_shape { dim: 1 dim: 3 dim: H dim: W }'),
        ("", 'declares no input; add one: input: "data" input_shape { dim: 1 dim: 3 dim: H dim: W }'),
    ],
)  # fmt: skip
def test_the_error_for_a_missing_input_shows_how_to_declare_one(
    bottom: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arrange(DENSE.replace("CHANNELS", "3"))
    layer = f'layer {{ name: "conv1" type: "Convolution" {bottom} top: "conv1" '
    Path("deploy.prototxt").write_text(layer + "convolution_param { num_output: 4 kernel_size: 5 } }")
    assert run() == 3
    assert capsys.readouterr().err.endswith(f"{message}\n")


@pytest.mark.parametrize(("size", "sides"), [("20x14", (20, 14)), ("33x40", (33, 40)), ("5x5", (5, 5))])
def test_a_net_without_inner_products_takes_any_size(size: str, sides: tuple[int, int]) -> None:
    arrange(AVERAGED + POOLED, base_size=None)
    assert run("--input-size", size) == 0
    assert heatmap().shape == (3, *sides)
    arrange(AVERAGED + POOLED, base_size=None, input_size=size)
    before = heatmap()
    assert run() == 0
    np.testing.assert_array_equal(heatmap(), before)


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        (DENSE.replace("CHANNELS", "3"), "33x40", "layer 3 'fc1' (InnerProduct): needs weights of shapes 6×"),
        (AVERAGED + POOLED, "4x4", "layer 0 'conv1' (Convolution): the kernel does not fit into"),
    ],
)
def test_a_size_that_does_not_fit_the_net_is_named(
    text: str, size: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arrange(text, base_size=None)
    assert run("--input-size", size) == 3
    error = capsys.readouterr().err
    assert message in error
    assert f"command line: the input was made {size} (input_size); only nets without" in error


def test_an_absurd_size_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    arrange(AVERAGED + POOLED)
    assert run("--input-size", "99999x99999") == 3
    assert "command line: deploy.prototxt: input 'data' has the impossible size" in capsys.readouterr().err


# --- What is said of the mean -------------------------------------------------------------------------------


def test_one_mean_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    arrange(AVERAGED + POOLED, mean_values=None)
    assert run() == 3
    assert "neither the config nor the prototxt says which mean to subtract" in capsys.readouterr().err


def test_a_mean_must_have_a_number_for_every_channel(capsys: pytest.CaptureFixture[str]) -> None:
    arrange(AVERAGED + POOLED, mean_values=[1, 2])
    assert run() == 3
    assert "config.yaml: line 15: mean_values has 2 numbers, but the net's input has 3 channel(s)" in (
        capsys.readouterr().err
    )


def write_mean(path: Path) -> NDArray[np.float32]:
    values = np.arange(3 * 24 * 24, dtype=np.float32)
    path.parent.mkdir(exist_ok=True)
    blob = BlobProto(num=1, channels=3, height=24, width=24, data=values.tolist())
    path.write_bytes(blob.SerializeToString())
    return values.reshape(3, 24, 24)


@pytest.mark.parametrize("order", ["BGR", "RGB"])
@pytest.mark.parametrize("mean_format", [1, 2])
def test_a_mean_image_is_put_in_the_order_of_the_net(order: str, mean_format: int) -> None:
    arrange(
        AVERAGED + POOLED,
        mean_values=None,
        mean_file="mean",
        mean_format=mean_format,
        channel_order=order,
    )
    mean = write_mean(Path("mean"))
    expected = mean if (mean_format == 1) == (order == "BGR") else mean[::-1]
    np.testing.assert_array_equal(opened(read_config(Path("config.yaml"))).preprocessor.mean, expected)


@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_a_mean_of_one_pixel_is_that_of_all_pixels(order: str) -> None:
    arrange(AVERAGED + POOLED, mean_values=None, mean_file="mean", channel_order=order)
    Path("mean").write_bytes(
        BlobProto(num=1, channels=3, height=1, width=1, data=[1, 2, 4]).SerializeToString()
    )
    mean = opened(read_config(Path("config.yaml"))).preprocessor.mean
    expected = np.array([1, 2, 4] if order == "BGR" else [4, 2, 1], np.float32).reshape(3, 1, 1)
    np.testing.assert_array_equal(mean, np.broadcast_to(expected, (3, 20, 14)))


# --- A transform_param in the prototxt ----------------------------------------------------------------------


def net_with(**transform: Any) -> DeployedNet:
    """The net, whose prototxt says something of the input."""
    return replace(deployed(Path(), AVERAGED + POOLED), transform=Transform("data", **transform))


def preprocessing(net: DeployedNet) -> tuple[Preprocessor, tuple[str, ...]]:
    """How images become the input of a net, by the config."""
    return make_preprocessor(ModelSettings(**read_config(Path("config.yaml")).model_arguments()), net)


@pytest.mark.parametrize(
    ("transform", "mean", "scale", "remark"),
    [
        ({"mean_values": (104.0, 117.0, 123.0)}, [104, 117, 123], 1, "mean 104, 117, 123"),
        ({"mean_values": (104.0,), "scale": 0.5}, [104, 104, 104], 0.5, "mean 104, scale 0.5"),
        ({"scale": 0.5}, [0, 0, 0], 0.5, "mean 0, scale 0.5"),
    ],
)
def test_the_prototxt_is_asked_where_the_config_says_nothing(
    transform: dict[str, Any], mean: list[float], scale: float, remark: str
) -> None:
    arrange(AVERAGED + POOLED, mean_values=None)
    found, remarks = preprocessing(net_with(**transform))
    assert found.mean[:, 0, 0].tolist() == mean
    assert found.scale == scale
    assert remarks == (
        f"deploy.prototxt: settings missing from the config are taken from its transform_param: {remark}",
    )


def test_the_config_comes_before_the_prototxt() -> None:
    arrange(AVERAGED + POOLED, mean_values=[7], input_scale=0.25)
    net = net_with(mean_values=(104.0,), scale=0.5)
    found, remarks = preprocessing(net)
    assert (found.mean[0, 0, 0], found.scale, remarks) == (7, 0.25, ())


@pytest.mark.parametrize("place", ["mean", "models/mean"])
def test_the_mean_image_of_a_prototxt_is_looked_up_in_its_folder(place: str) -> None:
    arrange(AVERAGED + POOLED, mean_values=None)
    mean = write_mean(Path(place))
    name = "data/mean" if "/" in place else "mean"
    net = replace(net_with(mean_file=name), source="models/deploy.prototxt")
    found, remarks = preprocessing(net)
    np.testing.assert_array_equal(found.mean, mean)
    assert remarks[0].endswith(f"mean image {place}")


@pytest.mark.parametrize(
    ("transform", "kind", "message"),
    [
        (
            {"mean_file": "nowhere"},
            ModelError,
            "nowhere.*\nmean_file: deploy.prototxt names this mean image; set mean_file to another file",
        ),
        ({"mean_values": (1.0, 2.0)}, ConfigError, "deploy.prototxt: mean_value has 2 numbers"),
    ],
)
def test_a_transform_that_does_not_fit_is_refused(
    transform: dict[str, Any], kind: type[Exception], message: str
) -> None:
    arrange(AVERAGED + POOLED, mean_values=None)
    with pytest.raises(kind, match=message):
        preprocessing(net_with(**transform))


# --- The start of a run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(), ("--input-size", "20x20")])
def test_a_run_reads_its_prototxt_once_and_deploys_its_net_once(
    size: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mean(Path("mean"))
    data = (
        'layer { name: "data" type: "Data" top: "data" transform_param { crop_size: 20 mean_file: "mean" } }'
    )
    arrange(DENSE.replace(DENSE.splitlines()[1], data), mean_values=None)
    calls = []
    for module, name in ((reader, "parsed"), (deployment, "what_remains"), (deployment, "insert_splits")):
        real = getattr(module, name)

        def counted(*given: object, name: str = name, real: Callable[..., object] = real) -> object:
            calls.append(name)
            return real(*given)

        monkeypatch.setattr(module, name, counted)
    assert run(*size) == 0
    assert calls == ["parsed", "what_remains", "insert_splits"]


def test_a_mean_image_that_only_the_prototxt_names_is_known() -> None:
    mean = write_mean(Path("mean"))
    data = 'layer { name: "data" type: "Data" top: "data" transform_param { mean_file: "mean" } }'
    text = DENSE.replace(DENSE.splitlines()[1], data)
    arrange(text, mean_values=None)
    explainer = opened(read_config(Path("config.yaml")))
    assert mean_of_prototxt(explainer.settings, explainer.deployed) == Path("mean")
    np.testing.assert_array_equal(explainer.preprocessor.mean, mean)
    arrange(text)
    explainer = opened(read_config(Path("config.yaml")))
    assert mean_of_prototxt(explainer.settings, explainer.deployed) is None


@pytest.mark.parametrize(
    ("options", "notes"), [((), 1), (("--dry-run",), 1), (("--quiet",), 0), (("--input-size", "20x14"), 1)]
)
def test_notes_come_before_the_error_unless_quiet(
    options: tuple[str, ...], notes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    arrange(DENSE.replace("CHANNELS", "3"))
    parse(Path(), Path("deploy.prototxt").read_text().replace("num_output: 6", "num_output: 7 fancy: 1"))
    Path("list.txt").write_text(f"{IMAGE} -1\n")
    assert main(["-c", "config.yaml", "-f", "list.txt", "-p", "out", *options]) == 3
    said = capsys.readouterr().err.splitlines()
    assert ["note: deploy.prototxt: line 8: field 'fancy' in" in line for line in said[: notes + 1]] == [
        *[True] * notes,
        False,
    ]
    assert "error: deploy.prototxt: layer 3 'fc1' (InnerProduct): needs weights of shapes" in said[notes]


# --- Start layers -------------------------------------------------------------------------------------------


def test_the_scores_of_all_positions_are_explained_and_noted() -> None:
    weights = arrange(AVERAGED + POOLED)
    explainer = opened(read_config(Path("config.yaml")))
    assert (explainer.output_size, explainer.plan.start_size) == (6, 6)
    (note,) = notes()
    assert note == (
        "config.yaml: line 4: relevance starts at layer 2 'conv10' (Convolution): class c stands for its "
        "scores at all 40 positions"
    )
    assert run(target=5) == 0
    planes = heatmap()
    arrange(AVERAGED + POOLED, weights, start_layer="pool10")
    assert run(target=5) == 0
    np.testing.assert_allclose(planes, 40 * heatmap(), rtol=2e-3, atol=1e-4 * np.abs(planes).max())


def test_a_net_of_class_planes_is_ranked_by_their_sums(capsys: pytest.CaptureFixture[str]) -> None:
    arrange(AVERAGED)
    assert run(target=-1) == 0
    found = scores()
    assert sorted(found) == list(range(6))
    explainer = opened(read_config(Path("config.yaml")))
    image = explainer.preprocessor(Path(IMAGE)).blob
    output = explainer.net.forward(image[np.newaxis], frozenset(), WORKSPACE)[explainer.net.output_value]
    for each, score in found.items():
        assert score == pytest.approx(float(output[0, each].sum()), rel=1e-4)
    assert run(target=6) == 4
    assert "class 6 does not exist: the net has 6 outputs" in capsys.readouterr().err


def test_elements_that_are_taken_for_classes_are_noted() -> None:
    arrange(AVERAGED, start_layer="conv10", class_count=240)
    (note,) = notes()
    assert "the net's outputs are 6 planes of 8×5 positions, and class c stands for element c; with" in note


def test_more_classes_than_planes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    arrange(AVERAGED, class_count=7)
    assert run() == 3
    assert "numclasses 7 is more than the 6 outputs of deploy.prototxt" in capsys.readouterr().err


@pytest.mark.parametrize("squash", ["Sigmoid", ""])
@pytest.mark.parametrize("outputs", [1, 6])
def test_labels_and_regressions_are_ranked_by_the_raw_output(squash: str, outputs: int) -> None:
    text = DENSE.replace("CHANNELS", "3").replace("num_output: 6", f"num_output: {outputs}")
    text = text.replace("Softmax", squash) if squash else text[: text.rindex("layer")]
    arrange(text, class_count=outputs)
    assert run("--top", "1") == 0
    assert len(list(Path("out/images").glob("*_rank1_heatmap.png"))) == 1


def test_layers_are_named_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    arrange(DENSE.replace("CHANNELS", "3"), formula=102)
    options = ("--first-layer", "relu1", "--switch-layer", "conv1", "--start-layer", "fc1")
    assert run(*options, target=2) == 0
    by_name = heatmap()
    assert run("--first-layer", "1", "--switch-layer", "0", "--start-layer", "3", target=2) == 0
    np.testing.assert_array_equal(heatmap(), by_name)
    for option, key in (
        ("--start-layer", "lastlayerindex"),
        ("--first-layer", "firstlayerindex"),
        ("--switch-layer", "auxiliaryvariable_maxlayerindexforflatdistinconv"),
    ):
        assert run(option, "Fc1x") == 3
        error = capsys.readouterr().err
        assert (
            f"command line: {key} Fc1x ({option}): deploy.prototxt has no layer with this name; did you"
            in error
        )


#: Two heads whose scores are their biases, whatever the image.
HEADS = """
input: "data" input_shape { dim: 1 dim: 3 dim: 20 dim: 14 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 5 stride: 3 } }
layer { name: "fc_age" type: "InnerProduct" bottom: "conv" top: "fc_age"
  inner_product_param { num_output: 3 } }
layer { name: "p_age" type: "Softmax" bottom: "fc_age" top: "p_age" }
layer { name: "fc_sex" type: "InnerProduct" bottom: "conv" top: "fc_sex"
  inner_product_param { num_output: 5 } }
layer { name: "p_sex" type: "Softmax" bottom: "fc_sex" top: "p_sex" }
"""
BIASES = {"fc_age": [2.0, 0.0, 1.0], "fc_sex": [0.0, 3.0, 1.0, 0.0, 4.0]}


def arrange_heads(**changes: object) -> None:
    weights = {name: list(blobs) for name, blobs in random_weights(parse(Path(), HEADS), 2).items()}
    for name, biases in BIASES.items():
        weights[name] = [np.zeros_like(weights[name][0]), np.array(biases, np.float32)]
    arrange(HEADS, weights, **{"class_count": 3, **changes})


def probabilities(name: str, count: int) -> dict[int, float]:
    """The first classes of a head, best first."""
    powers = [math.exp(bias) for bias in BIASES[name]]
    best = sorted(range(count), key=lambda index: -powers[index])
    return {index: powers[index] / sum(powers) for index in best}


@pytest.mark.parametrize(
    ("options", "changes", "name"),
    [
        ([], {}, "fc_age"),
        (["--head", "p_sex"], {}, "fc_sex"),
        (["--head", "fc_sex"], {}, "fc_sex"),
        ([], {"head": "p_sex"}, "fc_sex"),
        (["--head", "p_age"], {"head": "p_sex"}, "fc_age"),
        ([], {"start_layer": "fc_sex"}, "fc_sex"),
        ([], {"start_layer": -2}, "fc_sex"),
        (["--head", "p_sex"], {"start_layer": -1}, "fc_sex"),
    ],
)
def test_the_classes_of_the_head_that_is_chosen_are_ranked_and_counted(
    options: list[str], changes: dict[str, object], name: str
) -> None:
    arrange_heads(**changes)
    assert run(*options) == 0
    expected = probabilities(name, 5 if options and name == "fc_sex" else 3)
    assert list(scores()) == list(expected)
    assert scores() == pytest.approx(expected, rel=1e-5)
    assert run(*options, target=4) == (0 if name == "fc_sex" else 4)


def test_limits_of_classes_name_the_head(capsys: pytest.CaptureFixture[str]) -> None:
    arrange_heads(class_count=5)
    assert run("--head", "p_age") == 0
    assert sorted(scores()) == [0, 1, 2]
    assert run() == 3
    assert (
        "numclasses 5 is more than the 3 outputs of the head 'p_age' of deploy.prototxt; set it to 3 or "
        "fewer, or choose another head (--head): 'p_sex'"
    ) in capsys.readouterr().err
    arrange_heads()
    assert run(target=4) == 4
    assert "class 4 does not exist: the head 'p_age' has 3 outputs" in capsys.readouterr().err


def test_a_head_that_is_chosen_is_not_noted_and_one_that_is_not_is() -> None:
    arrange_heads()
    (note,) = notes()
    assert note == (
        "deploy.prototxt: has 2 heads; classes are those of 'p_age', not of 'p_sex'; head (--head) chooses "
        "another"
    )
    arrange_heads(head="fc_sex")
    (note,) = notes()
    assert "numclasses is 3, but the head 'p_sex' has 5 outputs; outputs from 3 on are not ranked" in note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--head", "conv"],
            "command line: head conv (--head): deploy.prototxt: 'conv' leads to several heads",
        ),
        (["--head", "p_sax"], "no head with this name; did you mean 'p_sex'? Its heads are 'p_age', 'p_sex'"),
        (
            ["--head", "p_sex", "--start-layer", "fc_age"],
            "command line: lastlayerindex fc_age (--start-layer): deploy.prototxt: layer 2 'fc_age' "
            "(InnerProduct) does not lead to the head 'p_sex' (--head) but to 'p_age'",
        ),
    ],
)
def test_heads_that_cannot_be_chosen_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arrange_heads()
    assert run(*options) == 3
    assert message in capsys.readouterr().err


def test_the_map_is_that_of_the_head() -> None:
    """As of a net that has no other."""
    text = DENSE.replace("CHANNELS", "3")
    weights = arrange(text)
    assert run(target=2) == 0
    expected = heatmap()
    other = 'layer { name: "fc2" type: "InnerProduct" bottom: "conv1" top: "fc2" '
    other += (
        'inner_product_param { num_output: 3 } }\nlayer { name: "a" type: "Softmax" bottom: "fc2" top: "a" }'
    )
    arrange(text + other, {**random_weights(parse(Path(), text + other), 5), **weights}, switch_layer=0)
    assert run("--head", "prob", target=2) == 0
    np.testing.assert_array_equal(heatmap(), expected)


def test_a_named_switch_layer_above_the_start_is_noted() -> None:
    arrange(DENSE.replace("CHANNELS", "3"), formula=102, switch_layer="prob")
    (note,) = notes()
    assert "the switch layer 4 is not below the start layer 3" in note
