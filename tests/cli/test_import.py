"""``caffe-lrp import``: Caffe files from ONNX."""

from pathlib import Path

import numpy as np
import pytest
from command_line import run

import caffe_lrp
from caffe_lrp.kernels.blobs import Blob

onnx = pytest.importorskip("onnx")

WEIGHT = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
MATRIX = np.random.default_rng(2).standard_normal((4, 5)).astype(np.float32)


def write_model(folder: Path, operator: str = "Relu", name: str = "net.onnx") -> Path:
    """A convolution, an activation function, an average, and a product with a matrix."""
    helper, numbers = onnx.helper, onnx.numpy_helper.from_array
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="/conv/Conv"),
        helper.make_node(operator, ["c"], ["r"], name="/act"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"], name="/fc/MatMul"),
    ]
    shapes = [
        helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, shape)
        for value, shape in (("x", ["N", 3, 9, 7]), ("y", ["N", 5]))
    ]
    graph = helper.make_graph(
        nodes, "net", shapes[:1], shapes[1:], [numbers(WEIGHT, "w"), numbers(MATRIX, "m")]
    )
    path = folder / name
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def scores(x: Blob) -> Blob:
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
    convolved = np.einsum("chwij,ocij->ohw", windows, WEIGHT)
    found: Blob = np.maximum(convolved, 0).mean((1, 2)) @ MATRIX
    return found


def test_the_new_files_give_the_scores_of_the_model_and_run(tmp_path: Path) -> None:
    result = run(
        "import", write_model(tmp_path), tmp_path / "new", "--pixel-range", 1,
        "--mean-values", "0.5,0.25,0", "--std-values", "0.5,0.5,1",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "config.yaml", "deploy.prototxt", "net.caffemodel", "report.md",
    ]  # fmt: skip
    report = (tmp_path / "new/report.md").read_text()
    assert "Convolution" in report
    assert "/conv/Conv (Conv)" in report
    with caffe_lrp.load(tmp_path / "new/config.yaml") as model:
        said = model.settings
        given = said.mean_values, said.std_values, said.channel_order
        assert given == ((127.5, 63.75, 0.0), (127.5, 127.5, 255.0), "RGB")
        x = np.random.default_rng(3).standard_normal((3, 9, 7)).astype(np.float32)
        (found,) = model.forward(x).values()
        np.testing.assert_allclose(found.ravel(), scores(x), rtol=1e-4, atol=1e-5)


def test_nothing_is_replaced_or_left_behind(tmp_path: Path) -> None:
    path = write_model(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new/config.yaml").write_text("mine")
    refused = run("import", path, tmp_path / "new")
    assert refused.returncode == 5
    assert "config.yaml: already exists; give another folder" in refused.stderr
    unknown = run("import", write_model(tmp_path, "Erf", "odd.onnx"), tmp_path / "other")
    assert unknown.returncode == 3
    assert "odd.onnx: node '/act' (Erf)" in unknown.stderr
    wrong = run("import", path, tmp_path / "third", "--labels", tmp_path / "none.txt")
    assert wrong.returncode == 3
    assert sorted(found.name for found in tmp_path.iterdir()) == ["net.onnx", "new", "odd.onnx"]
    assert [found.name for found in (tmp_path / "new").iterdir()] == ["config.yaml"]


def test_other_files_are_refused_by_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    refused = run("import", path, tmp_path / "new")
    assert refused.returncode == 3
    assert "photo.png: is a picture, which cannot be imported; check the path" in refused.stderr
