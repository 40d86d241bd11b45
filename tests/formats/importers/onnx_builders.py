"""ONNX files for tests, and a forward pass through what they become."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.formats.caffe.reader import read_prototxt, scan_caffemodel
from caffe_lrp.formats.importers.caffe_files import caffemodel_of, prototxt_of
from caffe_lrp.formats.importers.imported import ImportedNet
from caffe_lrp.formats.importers.onnx import read
from caffe_lrp.net.build import build_net
from caffe_lrp.net.deploy.deployed import deploy

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")

Array = NDArray[Any]
SHAPE = (1, 2, 6, 5)


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    """A node; names are separated by blanks, and ``-`` is an input that is not given."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return onnx.helper.make_node(operator, names, outputs.split(), **attributes)


def model_of(
    nodes: Sequence[Any],
    constants: Mapping[str, Any] | None = None,
    *,
    shape: Sequence[int | str] = SHAPE,
    outputs: str = "y",
    opset: int = 17,
) -> Any:
    """A model with input x."""
    tensors = [
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()
    ]
    floats = onnx.TensorProto.FLOAT
    ends = [onnx.helper.make_tensor_value_info(name, floats, None) for name in outputs.split()]
    begin = onnx.helper.make_tensor_value_info("x", floats, shape)
    graph = onnx.helper.make_graph(nodes, "graph", [begin], ends, tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])


def written(folder: Path, model: Any) -> Path:
    """The file of a model."""
    path = folder / "net.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def imported(folder: Path, *arguments: Any, **options: Any) -> ImportedNet:
    """What becomes of a model, see `model_of`."""
    return read(written(folder, model_of(*arguments, **options)))


def types(net: ImportedNet) -> list[str]:
    """Types of its layers."""
    return [layer.type for layer in net.layers]


def image(shape: Sequence[int] = SHAPE) -> NDArray[np.float32]:
    """An input."""
    return np.random.default_rng(7).standard_normal(tuple(shape)).astype(np.float32)


def scores(folder: Path, net: ImportedNet, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The output of the Caffe files of a net."""
    prototxt, caffemodel = folder / "deploy.prototxt", folder / "net.caffemodel"
    prototxt.write_text(prototxt_of(net), encoding="utf-8")
    caffemodel.write_bytes(b"".join(caffemodel_of(net)))
    stored = scan_caffemodel(caffemodel)
    built = build_net(deploy(read_prototxt(prototxt), stored, None, None), stored, 1 << 32, "off")
    with CpuEngine() as engine:
        return engine.forward(built, (), x, frozenset(built.outputs)).activations[built.outputs[0]]
