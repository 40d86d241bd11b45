"""``caffe-lrp init``: a config for a net, which a run takes, or refuses with what is left to fill in."""

import re
from pathlib import Path

import pytest
import yaml
from builders import parse, random_weights, write_caffemodel
from command_line import Result, files_below, run

from caffe_lrp.config import read_config
from caffe_lrp.errors import ExitCode

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs/demo"
DEPLOY = 'input: "data" input_shape { dim: 1 dim: 3 dim: 20 dim: 20 } '
TRAINING = """
layer { name: "data" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 20 mean_file: "mean" } }
"""
TRUNK = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 } }
"""
HEAD = """
layer { name: "fc_NAME" type: "InnerProduct" bottom: "conv" top: "fc_NAME"
  inner_product_param { num_output: COUNT } }
layer { name: "p_NAME" type: "Softmax" bottom: "fc_NAME" top: "p_NAME" }
"""
AGE, SEX = (
    HEAD.replace("NAME", "age").replace("COUNT", "5"),
    HEAD.replace("NAME", "sex").replace("COUNT", "2"),
)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A folder with a net with two heads, and its weights."""
    folder = tmp_path / "faces"
    folder.mkdir()
    write_caffemodel(folder / "net.caffemodel", random_weights(parse(folder, DEPLOY + TRUNK + SEX + AGE), 0))
    return folder


def refused(result: Result) -> str:
    assert result.returncode == ExitCode.BAD_INPUT
    return result.stderr


def test_the_config_for_the_demo_net_explains_a_folder_of_pictures(tmp_path: Path) -> None:
    made = run(
        "init", DEMO / "deploy.prototxt", DEMO / "shapes.caffemodel", "--labels", DEMO / "synset.txt",
        "--mean-file", DEMO / "mean.binaryproto", cwd=tmp_path,
    )  # fmt: skip
    assert (made.returncode, made.stderr) == (ExitCode.DONE, "")
    assert made.stdout.endswith(
        "next:\n  caffe-lrp -c demo.yaml --dry-run\n  caffe-lrp -c demo.yaml --images FOLDER -p out\n"
    )
    pictures = ROOT / "filelists/demo"
    ended = run("-c", "demo.yaml", "--images", pictures, "-p", "out", "--outputs", "heatmap", cwd=tmp_path)
    assert ended.returncode == ExitCode.DONE, ended.stderr
    names = sorted(path.name for path in pictures.glob("*.png"))
    assert files_below(tmp_path / "out") == [f"heatmaps/{name}_heatmap.png" for name in names]


def test_a_config_says_what_the_net_tells_and_why(net: Path) -> None:
    made = run("init", net / "deploy.prototxt", net / "net.caffemodel", "--mean-values=1,2,3", cwd=net.parent)
    assert "has 2 heads" in made.stderr
    text = (net.parent / "faces.yaml").read_text()
    assert yaml.safe_load(text) == {
        "prototxt": "faces/deploy.prototxt",
        "caffemodel": "faces/net.caffemodel",
        "start_layer": "auto",
        "head": "p_age",
        "class_count": 5,
        "output_root": "heatmaps",
        "formula": "epsilon-plus",
        "preprocess": {
            "mean_values": [1, 2, 3],
            "input_scale": 1,
            "channel_order": "BGR",
            "resize": "short-side",
            "base_size": 20,
        },
    }
    assert "'fc_age' (InnerProduct) computes the scores of 5 classes.\nstart_layer: auto" in text
    assert "# The heads of this net: 'p_age', 'p_sex'.\nhead: p_age" in text
    assert run("-c", "faces.yaml", "--dry-run", cwd=net.parent).returncode == ExitCode.DONE


def test_what_the_input_is_divided_by_replaces_the_factor(net: Path) -> None:
    arguments = ("init", "deploy.prototxt", "net.caffemodel", "--mean-values=1,2,3")
    run(*arguments, "--std-values=58.4,57.1,57.4", "-c", "new.yaml", cwd=net)
    made = yaml.safe_load((net / "new.yaml").read_text())["preprocess"]
    assert (made["std_values"], "input_scale" in made) == ([58.4, 57.1, 57.4], False)
    assert run("-c", "new.yaml", "--dry-run", cwd=net).returncode == ExitCode.DONE
    assert "--std-values: " in refused(run(*arguments, "--std-values=1,2", "-c", "other.yaml", cwd=net))


def test_what_nobody_says_is_left_to_fill_in_and_refused_by_its_line(net: Path) -> None:
    made = run("init", "deploy.prototxt", "-c", "new.yaml", cwd=net)
    told = dict(re.findall(r"to fill in: new\.yaml (line \d+): (\w+): ", made.stdout))
    assert list(told.values()) == ["caffemodel", "mean_values"]
    assert "such as [104,117,123], which caffe-lrp explain guesses" in made.stdout
    error = refused(run("-c", "new.yaml", "--dry-run", cwd=net))
    for line, key in told.items():
        assert f"new.yaml: {line}: the value of '{key}' is empty" in error


def test_a_mean_image_that_a_training_net_names_is_left_to_fill_in_where_it_is_not_there(net: Path) -> None:
    (net / "train.prototxt").write_text(TRAINING + TRUNK + AGE)
    made = run("init", "train.prototxt", "net.caffemodel", "-c", "new.yaml", cwd=net)
    assert "mean_values: train.prototxt names the mean image mean, which does not exist." in made.stdout
    (net / "mean").write_bytes(b"\x08\x01\x10\x03\x18\x01\x20\x01\x2a\x0c" + bytes(12))
    assert run("init", "train.prototxt", "net.caffemodel", "-c", "known.yaml", cwd=net).returncode == 0
    config = read_config(net / "known.yaml")
    assert (config.mean_file, config.base_size) == (net / "mean", 20)
    assert run("-c", "known.yaml", "--dry-run", cwd=net).returncode == ExitCode.DONE


def test_paths_lead_to_the_same_files_whatever_lies_in_the_current_folder(net: Path) -> None:
    here = net.parent
    (here / "deploy.prototxt").write_text("another net")
    run("init", "faces/deploy.prototxt", "faces/net.caffemodel", "-c", "faces/new.yaml", cwd=here)
    made = yaml.safe_load((net / "new.yaml").read_text())
    assert (made["prototxt"], made["caffemodel"]) == (str(net / "deploy.prototxt"), "net.caffemodel")


def test_labels_that_do_not_fit_are_told(net: Path) -> None:
    (net / "labels.txt").write_text("one\ntwo\n")
    made = run("init", "deploy.prototxt", "--labels", "labels.txt", "-c", "new.yaml", cwd=net)
    assert "note: labels.txt: has 2 lines, but the net has 5 classes" in made.stderr
    assert "labels: labels.txt\n" in (net / "new.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("deploy.prototxt",), ExitCode.OUTPUT, "faces.yaml: already exists; give another name with -c"),
        (("deploy.prototxt", "-c", "a.txt"), ExitCode.USAGE, "give it a name that ends with .yaml"),
        (
            ("deploy.prototxt", "-c", "none/a.yaml"),
            ExitCode.OUTPUT,
            "No such file or directory; create its folder",
        ),
        (
            ("net.caffemodel", "deploy.prototxt", "-c", "a.yaml"),
            ExitCode.BAD_INPUT,
            "were two paths swapped?",
        ),
        (("deploy.prototxt", "--mean-values", "1,2", "-c", "a.yaml"), ExitCode.BAD_INPUT, "--mean-values: "),
        (
            ("deploy.prototxt", "--mean-values", "1", "--mean-file", "m", "-c", "a.yaml"),
            ExitCode.USAGE,
            "--mean-values and --mean-file cannot be combined",
        ),
        (
            ("deploy.prototxt", "--labels", "none", "-c", "a.yaml"),
            ExitCode.BAD_INPUT,
            "none: the synset file",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_written(
    net: Path, arguments: tuple[str, ...], code: ExitCode, reason: str
) -> None:
    (net / "faces.yaml").write_text("precious")
    result = run("init", *arguments, cwd=net)
    assert result.returncode == code
    assert reason in result.stderr
    assert (net / "faces.yaml").read_text() == "precious"
    assert not (net / "a.yaml").exists()


def test_a_model_of_another_program_is_named_by_explain_before_what_else_is_missing(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    result = run("explain", "net.tflite", "cat.jpg", cwd=tmp_path)
    assert result.returncode == ExitCode.BAD_INPUT
    assert "net.tflite: is a TensorFlow Lite model, not a prototxt; caffe-lrp runs only" in result.stderr
