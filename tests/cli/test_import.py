"""``caffe-lrp import``: new files that run at once, a comparison, and nothing replaced or left behind."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import Result, files_below, run

import caffe_lrp
from caffe_lrp.cli import compared
from caffe_lrp.errors import ExitCode

#: A net on vectors of 64 numbers with two classes, and one on 3×3 pixels.
VECTORS = f"Linear 64 2\n{'1 -1 ' * 64}\n0 1\nSoftMax\n"
PIXELS = "Convolution 3 3 1 2 1 1\n" + "1 2 " * 9 + "\n0 0\nRect\nFlatten\n"
NAMES = {"config.yaml", "deploy.prototxt", "net.caffemodel", "report.md"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.txt").write_text(PIXELS)
    return tmp_path


def importing(*options: object, folder: Path) -> Result:
    return run("import", "net.txt", "new", *options, cwd=folder)


def preprocessing(folder: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((folder / "new/config.yaml").read_text())["preprocess"]
    return found


def test_the_new_config_explains_images_at_once(folder: Path) -> None:
    (folder / "labels.txt").write_text("one\ntwo\n")
    made = importing("--labels", "labels.txt", folder=folder)
    assert made.returncode == ExitCode.DONE
    assert (
        "compared: the scores of 4 random inputs differ from those of the toolbox's formulas" in made.stdout
    )
    assert made.stdout.endswith("  caffe-lrp -c new/config.yaml --images FOLDER -p out\n")
    assert {path.name for path in (folder / "new").iterdir()} == NAMES
    image = np.full((3, 3), 255, np.uint8)
    with caffe_lrp.load("new/config.yaml") as model:
        explanation = model.explain(np.repeat(image[..., None], 3, 2))
        np.testing.assert_allclose(explanation.scores, [9, 18])
        assert model.labels == ("one", "two")


def test_the_report_says_what_each_module_became(folder: Path) -> None:
    importing(folder=folder)
    report = (folder / "new/report.md").read_text()
    assert "| conv1 | Convolution | 2×1×1 | line 1: Convolution 3 3 1 2 1 1 |" in report
    assert "| relu1 | ReLU | 2×1×1 | line 4: Rect |" in report
    assert "- comparison: the scores of 4 random inputs differ" in report


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"mean_values": [127.5], "std_values": [127.5], "resize": "none"}),
        (("--pixel-range", "1"), {"mean_values": [0.0], "std_values": [255.0], "resize": "none"}),
        (
            ("--pixel-range", "1", "--mean-values", "0.485", "--std-values", "0.229"),
            {"mean_values": [123.675], "std_values": [58.395], "resize": "none"},
        ),
        (("--mean-values", "104"), {"mean_values": [104.0], "std_values": [127.5], "resize": "none"}),
    ],
)
def test_preprocessing_is_given_in_the_unit_of_the_pixels(
    folder: Path, options: tuple[str, ...], expected: dict[str, object]
) -> None:
    assert importing(*options, folder=folder).returncode == ExitCode.DONE
    assert preprocessing(folder) == expected


def test_a_net_on_vectors_takes_square_pictures(folder: Path) -> None:
    (folder / "net.txt").write_text(VECTORS)
    made = importing(folder=folder)
    assert "input 1×8×8" in made.stdout
    assert "64 inputs are taken for 8×8 pixels" in made.stderr


def test_nothing_is_replaced_and_an_existing_folder_gets_the_files(folder: Path) -> None:
    (folder / "new").mkdir()
    (folder / "new/notes").write_text("mine")
    assert importing(folder=folder).returncode == ExitCode.DONE
    before = files_below(folder)
    again = importing(folder=folder)
    assert again.returncode == ExitCode.OUTPUT
    assert "new/deploy.prototxt: already exists" in again.stderr
    assert files_below(folder) == before


BAD: dict[str, tuple[tuple[str, ...], int, str]] = {
    "labels": (("--labels", "none.txt"), 3, "none.txt: the synset file cannot be read"),
    "mean": (("--mean-values", "1,2,3"), 3, "--mean-values: mean_values has 3 numbers, but .* 1 channel"),
    "unit": (("--std-values", "0.229"), 2, "add --pixel-range 1, or --pixel-range 255"),
    "order": (("--flatten-order", "java"), 2, "is not one of python, matlab"),
    "size": (("--input-size", "2x2"), 3, "its window does not fit the map of 2×2 pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_after_an_error_nothing_is_left(folder: Path, name: str) -> None:
    options, code, message = BAD[name]
    before = files_below(folder)
    ended = importing(*options, folder=folder)
    assert ended.returncode == code
    assert re.search(message, ended.stderr)
    assert files_below(folder) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.txt", b"MATLAB 5.0 MAT-file", "with model_io.write(model, 'net.txt')"),
        ("net.txt", b"\x80\x02cos\nsystem\n.", "names os.system"),
        ("net.txt", b"PK\x03\x04" + bytes(26) + b"archive/data.pkl", "export the net to ONNX"),
        ("net.dat", b"name: 'net'", "is not a net that can be imported"),
        ("net.onnx", b"spam", "is damaged or cut off"),
    ],
)
def test_other_files_are_refused_with_what_to_do(
    folder: Path, name: str, content: bytes, message: str
) -> None:
    if name.endswith(".onnx"):
        pytest.importorskip("onnx", reason="the extra onnx is not installed")
    (folder / name).write_bytes(content)
    ended = run("import", name, "new", cwd=folder)
    assert (ended.returncode, message in ended.stderr) == (ExitCode.BAD_INPUT, True)
    assert not (folder / "new").exists()


def test_a_full_disk_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, os.strerror(28), "new/report.md")

    monkeypatch.setattr("caffe_lrp.files.together._place", no_space)
    before = files_below(folder)
    ended = importing(folder=folder)
    assert ended.returncode == ExitCode.OUTPUT
    assert "No space left on device; free some space on the disk" in ended.stderr
    assert files_below(folder) == before
    assert not (folder / "new").exists()


def test_scores_that_differ_give_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "_MOST", 0.0)
    made = importing(folder=folder)
    assert "warning: the scores are not those of the source" in made.stderr
    assert "**warning**" in (folder / "new/report.md").read_text()


def test_an_onnx_net_leaves_the_mean_to_fill_in(folder: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    shapes = [[1, 3, 4, 4], [1, 2, 1, 1]]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in zip("xy", shapes, strict=True)
    ]
    weights = onnx.numpy_helper.from_array(np.ones((2, 3, 4, 4), np.float32), "w")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    made = run("import", "net.onnx", "new", cwd=folder)
    assert made.returncode == ExitCode.DONE
    assert "to fill in: new/config.yaml line" in made.stdout
    assert preprocessing(folder)["channel_order"] == "RGB"
    ended = run("-c", "new/config.yaml", "--images", folder, "-p", "out", cwd=folder)
    assert "the value of 'mean_values' is empty" in ended.stderr


def test_scores_that_hardly_depend_on_the_input_show_little(folder: Path) -> None:
    (folder / "net.txt").write_text(PIXELS.replace("1 2 " * 9, "0 0 " * 9).replace("\n0 0\n", "\n3 4\n"))
    made = importing(folder=folder)
    assert made.returncode == ExitCode.DONE
    assert "but they hardly depend on the input, so that says little" in made.stdout
