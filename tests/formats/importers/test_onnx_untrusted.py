"""ONNX files that are broken, hostile or of other nets: refused in words, by node, without memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_builders import imported, model_of, node, onnx, written
from refusals import assert_refused

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.importers.onnx import read, scan

CONV = node("Conv", "x w", name="conv1")
WEIGHTS = np.ones((3, 2, 3, 3), np.float32)
GOOD = model_of([CONV], {"w": WEIGHTS}).SerializeToString()


def changed(change: Callable[[Any], Any]) -> bytes:
    """The good model, changed."""
    model = onnx.ModelProto.FromString(GOOD)
    change(model)
    return bytes(model.SerializeToString())


def lying(*dims: int) -> bytes:
    return changed(lambda model: model.graph.initializer[0].dims.__setitem__(slice(None), dims))


def typed(kind: int) -> bytes:
    return changed(lambda model: setattr(model.graph.initializer[0], "data_type", kind))


def bare(nodes: list[Any], constants: dict[str, Any] | None = None, **options: Any) -> bytes:
    return bytes(model_of(nodes, constants or {}, **options).SerializeToString())


def with_function() -> bytes:
    version = [onnx.helper.make_opsetid("", 17)]
    function = onnx.helper.make_function("mine", "F", ["a"], ["b"], [node("Relu", "a", "b")], version)
    return changed(lambda model: model.functions.append(function))


BRANCH = onnx.helper.make_graph([], "branch", [], [])
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no ONNX file"),
    "text": (b"hello world\n" * 99, "damaged|no ONNX file"),
    "cut off": (GOOD[:-9], "is damaged or cut off"),
    "large shape": (lying(1 << 40, 3), "initializer 'w': has the impossible shape"),
    "lying shape": (lying(1 << 28), "initializer 'w': has shape .* bytes, but has 216"),
    "negative shape": (lying(-1, -216), "initializer 'w': has the impossible shape"),
    "text tensor": (typed(8), "initializer 'w': has numbers of type string"),
    "unknown type": (typed(99), "initializer 'w': has numbers of type number 99"),
    "not finite": (
        bare([CONV], {"w": WEIGHTS * np.inf}),
        r"node 'conv1' \(Conv\): its weights .* NaN or infinite",
    ),
    "cycle": (bare([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b")]), "form a cycle"),
    "missing": (bare([CONV]), r"node 'conv1' \(Conv\): reads 'w', which is no input"),
    "twice": (bare([node("Relu", "x"), node("Relu", "x")]), "'y' is the name of .* and of"),
    "no output": (bare([CONV], {"w": WEIGHTS}, outputs="z"), "output 'z' is written by no node"),
    "old": (bare([CONV], {"w": WEIGHTS}, opset=6), "uses opset 6; supported are 7 to"),
    "too new": (bare([CONV], {"w": WEIGHTS}, opset=999), "uses opset 999, but the installed package onnx"),
    "function": (with_function(), r"defines functions of its own \('mine.F'\)"),
    "branches": (bare([node("If", "x", then_branch=BRANCH, else_branch=BRANCH)]), r"\(If\): has a subgraph"),
    "attention": (bare([node("MatMul", "x x", name="qk")]), r"node 'qk' \(MatMul\): multiplies two matrices"),
    "softmax inside": (
        bare([node("Softmax", "x", "a"), node("Relu", "a")]),
        r"node a \(Softmax\): is in the middle of the net, as in attention",
    ),
    "layer norm": (
        bare([node("LayerNormalization", "x w")], {"w": WEIGHTS}),
        "transformers are not supported",
    ),
    "quantized": (bare([node("QuantizeLinear", "x s")], {"s": WEIGHTS[0, 0, 0, 0]}), "quantized nets"),
    "unknown operator": (
        bare([node("Frobnicate", "x")]),
        r"\(Frobnicate\): is an operator that is not supported",
    ),
    "domain": (bare([node("FusedConv", "x", domain="com.microsoft")]), "use the file from before"),
    "data decides": (bare([node("Reshape", "x x")]), "its shape is computed from the image"),
    "large constant": (
        bare([node("ConstantOfShape", "s", "c"), node("Add", "x c")], {"s": np.array([1 << 20, 1 << 20])}),
        r"node 'c' \(ConstantOfShape\): cannot be computed .* 1.1e\+12 numbers",
    ),
    "large range": (
        bare([node("Range", "a b c", "r"), node("Add", "x r")], {"a": 0, "b": 1 << 60, "c": 1}),
        r"node 'r' \(Range\): cannot be computed",
    ),
    "large output": (
        bare([node("Tile", "x t")], {"t": np.array([1, 1, 1 << 30, 1])}),
        "its output would have shape",
    ),
    "training": (
        bare([node("Dropout", "x r t")], {"r": np.float32(0.5), "t": np.array(True)}),
        "model.eval()",
    ),
    "batch axis": (bare([node("Transpose", "x", perm=[1, 0, 2, 3])]), "moves the batch axis"),
    "strides": (bare([node("Conv", "x w", strides=[0, 1])], {"w": WEIGHTS}), r"has strides \(0, 1\)"),
    "two lines": (bare([node("Evil\nsays", "x", name="a\nb")]), r"node 'a b' \(Evil says\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_without_taking_memory(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = written(tmp_path, content)
    assert_refused(read, path, message, megabytes=8)


def test_many_small_messages_are_refused_before_they_are_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "MOST_BYTES", 2**20)
    path = written(tmp_path, b"\x08\x08\x3a\x80\x80\x04" + b"\x0a\x00" * 2**15)
    with pytest.raises(ModelError, match="has more than 1 MB besides the numbers of its tensors"):
        read(path)


def external(location: str, **entries: str) -> bytes:
    def move(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)

    return changed(move)


def test_weights_are_read_from_a_file_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"head" + WEIGHTS.tobytes())
    net = read(written(tmp_path, external("weights/w.bin", offset="4", length="216")))
    np.testing.assert_array_equal(net.layers[0].blobs[0], WEIGHTS)


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../w.bin", {}, "not below the folder of the model"),
        ("link.bin", {}, "not below the folder of the model"),
        ("{outside}", {}, "not below the folder of the model"),
        ("w\0.bin", {}, "does not say in which file"),
        ("gone.bin", {}, "cannot be read"),
        (".", {}, "cannot be read"),
        ("w.bin", {"offset": "1"}, "at bytes 1 to 217 of .*, which has 216"),
        ("w.bin", {"offset": "-1"}, "is '-1', not a number"),
        ("w.bin", {"length": "8"}, "length says 8"),
    ],
)
def test_weights_elsewhere_or_of_another_size_are_refused(
    tmp_path: Path, location: str, entries: dict[str, str], message: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    outside = tmp_path / "w.bin"
    for path in (outside, folder / "w.bin"):
        path.write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to(outside)
    path = written(folder, external(location.format(outside=outside), **entries))
    with pytest.raises(ModelError, match=rf"node 'conv1' \(Conv\): weights 'w': .*{message}"):
        read(path)


def test_half_precision_and_bfloat16_become_single_precision(tmp_path: Path) -> None:
    net = imported(tmp_path, [CONV], {"w": WEIGHTS.astype(np.float16) / 4})
    np.testing.assert_array_equal(net.layers[0].blobs[0], WEIGHTS / 4)
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, WEIGHTS.shape, WEIGHTS.ravel() / 4)
    content = changed(lambda model: model.graph.initializer[0].CopyFrom(tensor))
    np.testing.assert_array_equal(read(written(tmp_path, content)).layers[0].blobs[0], WEIGHTS / 4)


def test_without_the_package_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(
        ModelError, match=r"need the package onnx; install it with: pip install \"caffe-lrp\[onnx\]\""
    ):
        read(written(tmp_path, GOOD))
