"""Builders of blobs, model files and small nets that several test modules share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from oracle import Geometry

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.engines.base import Engine
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.formats.caffe.reader import StoredWeights, read_prototxt, scan_caffemodel
from caffe_lrp.formats.spec import NetSpec
from caffe_lrp.imaging.pixels import DecodedImage
from caffe_lrp.imaging.resize import resize, target_size
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.window import Window
from caffe_lrp.layers.base import Layer
from caffe_lrp.net.build import build_graph, build_net, weight_shapes
from caffe_lrp.net.deploy.deployed import DeployedNet, deploy
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.beginning import at_scores
from caffe_lrp.relevance.passage import ForwardPass, Observer
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.rules.base import Conditions

#: Memory of all tests, used again and again: what a kernel leaves unwritten shows as old numbers.
WORKSPACE = Workspace()

#: Memory of tests that have all convolutions computed in one way.
DIRECTLY, BY_WINOGRAD = WORKSPACE.directly(), Workspace(convolution="winograd")

#: The engine of all tests that do not ask for another one.
ENGINE = CpuEngine()


def from_scores(
    plan: Plan,
    forward: ForwardPass,
    classes: Sequence[Sequence[int]],
    observer: Observer | None = None,
    engine: Engine = ENGINE,
) -> Blob:
    """Relevance of a plan's target that starts, for each item, as the scores of its classes."""
    return engine.explain(plan, forward, at_scores(plan, forward, classes), observer)


class EagerWorkspace(Workspace):
    """Threads share everything, however little there is to do."""

    def share(self, work: Callable[[int, int], None], count: int, size: int | None = None) -> None:
        del size
        super().share(work, count)


class EagerEngine(CpuEngine):
    """An engine on an `EagerWorkspace`."""

    def __init__(self, threads: int, convolution: str = "auto") -> None:
        super().__init__()
        self._workspace = EagerWorkspace(threads, convolution=convolution)


def conditions(
    nonnegative: bool = False, is_compared: bool = False, gates: Sequence[bool] = ()
) -> Conditions:
    """Conditions of a layer about which nothing is special, unless that is said."""
    return Conditions(nonnegative, is_compared, tuple(gates))


Weights = dict[str, list[Blob]]


def random_blob(shape: tuple[int, ...], seed: int) -> Blob:
    """Normally distributed numbers of mean 0 and variance 1."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def blank(shape: tuple[int, ...]) -> Blob:
    """A blob for a kernel to overwrite: whatever it leaves shows as NaN."""
    return np.full(shape, np.nan, np.float32)


def channels_last(blob: NDArray[Any]) -> NDArray[Any]:
    """``blob`` (N, C, H, W) as kernels take it: (N, H, W, C), contiguous."""
    return np.ascontiguousarray(blob.transpose(0, 2, 3, 1))


def channels_first(pixels: NDArray[Any]) -> NDArray[Any]:
    """The inverse of `channels_last`, contiguous as well."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def window_of(geometry: Geometry) -> Window:
    """The package's window for the oracle's geometry."""
    return Window(*geometry.kernel, *geometry.stride, *geometry.pad, *geometry.dilation)


def assert_close(
    actual: Blob, expected: NDArray[np.floating[Any]], tolerance: float = 1e-5, scale: float | None = None
) -> None:
    """Fail unless ``actual`` is float32 and differs by at most ``tolerance`` of the largest value."""
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    largest = float(np.abs(expected).max()) if scale is None else scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(largest, 1e-30))


def write_caffemodel(
    path: Path, weights: Mapping[str, Sequence[Blob]], legacy_shapes: bool = False, v1: bool = False
) -> Path:
    """A caffemodel with the given blobs by layer name.

    ``legacy_shapes`` writes num, channels, height and width in place of a shape; ``v1`` writes the
    layers in V1 style.
    """
    model = caffe_pb2.NetParameter(name="test")
    for name, blobs in weights.items():
        layer = model.layers.add(name=name) if v1 else model.layer.add(name=name)
        for blob in blobs:
            stored = layer.blobs.add()
            stored.data.extend(blob.reshape(-1).tolist())
            if legacy_shapes:
                padded = (1,) * (4 - blob.ndim) + blob.shape
                stored.num, stored.channels, stored.height, stored.width = padded
            else:
                stored.shape.dim.extend(blob.shape)
    path.write_bytes(model.SerializeToString())
    return path


def resize_to_base(image: DecodedImage, base_size: int) -> NDArray[np.uint16]:
    """The image resized so that its longer side is ``base_size``, as the reference does."""
    height, width = image.sides
    return resize(image, target_size(height, width, base_size))


def parse(folder: Path, text: str) -> NetSpec:
    """``text`` as the package reads it from a prototxt in ``folder``."""
    path = folder / "deploy.prototxt"
    path.write_text(text, encoding="utf-8")
    return read_prototxt(path)


def deployed(folder: Path, text: str, weights: StoredWeights | None = None) -> DeployedNet:
    """``text`` as the net at test time that the package makes of a prototxt in ``folder``."""
    return deploy(parse(folder, text), weights)


def messages(text: str) -> list[Any]:
    """Layers of a prototxt as protobuf messages, for the oracle."""
    net = caffe_pb2.NetParameter()
    text_format.Parse(text, net)
    return list(net.layer)


def weight_roles(spec: NetSpec) -> dict[str, tuple[str, ...]]:
    """What each of the blobs of `weight_shapes` is: see `Layer.weight_roles`."""
    return {
        layer.name: layer.weight_roles for layer in build_graph(deploy(spec)).layers if layer.weight_shapes
    }


def random_weights(spec: NetSpec, seed: int, bias_scale: float = 0.5) -> Weights:
    """Weights for every layer that needs some, of a size that keeps activations near 1."""
    rng = np.random.default_rng(seed)
    roles = weight_roles(spec)
    return {
        name: [
            _random_weight(role, shape, rng, bias_scale)
            for role, shape in zip(roles[name], shapes, strict=True)
        ]
        for name, shapes in weight_shapes(deploy(spec)).items()
    }


def _random_weight(role: str, shape: tuple[int, ...], rng: np.random.Generator, bias_scale: float) -> Blob:
    """One learned blob; ``bias_scale`` is the standard deviation of what is added or subtracted."""
    if role == "factor":
        return np.ones(shape, np.float32)
    if role in ("variance", "scale"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    deviation = np.sqrt(1.5 / np.prod(shape[1:])) if role == "weight" else bias_scale
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)


def build(
    folder: Path,
    text: str,
    weights: Mapping[str, Sequence[Blob]] | None = None,
    seed: int = 0,
    canonize: str = "auto",
) -> Net:
    """The net of a prototxt; random weights unless some are given. Passes through real files."""
    spec = parse(folder, text)
    if weights is None:
        weights = random_weights(spec, seed)
    if not weights:
        return build_net(deploy(spec), {}, canonize=canonize)
    stored = scan_caffemodel(write_caffemodel(folder / "net.caffemodel", weights))
    return build_net(deploy(spec, stored), stored, canonize=canonize)


def layer_net(body: str, *shapes: tuple[int, ...], tops: int = 1) -> str:
    """Prototxt of one layer named ``layer``; ``body`` has its type and parameters.

    One input of the first shape (C, …). Further bottoms are made from it by convolutions with the
    channels that their shapes ask for.
    """
    sizes = " ".join(f"dim: {size}" for size in (2, *shapes[0]))
    text = f'name: "one" input: "data" input_shape {{ {sizes} }}\n'
    bottoms = ["data"]
    for number, shape in enumerate(shapes[1:]):
        bottoms.append(f"extra{number}")
        text += (
            f'layer {{ name: "extra{number}" type: "Convolution" bottom: "data" top: "extra{number}" '
            f"convolution_param {{ num_output: {shape[0]} kernel_size: 1 }} }}\n"
        )
    reads = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    writes = " ".join(f'top: "top{number}"' for number in range(tops))
    return text + f'layer {{ name: "layer" {reads} {writes} {body} }}\n'


def single_layer(folder: Path, body: str, shape: tuple[int, ...], seed: int = 0) -> Layer:
    """The layer that ``body`` describes over an input of ``shape`` (without batch axis)."""
    return build(folder, layer_net(body, shape), seed=seed).layers[0]


#: A small net with everything in it. Layers and their numbers, Splits counted: `INCEPTION_INDICES`.
INCEPTION = """
name: "inception"
input: "data"
input_shape { dim: 2 dim: 3 dim: 13 dim: 11 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 1 pad_h: 1 pad_w: 0 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1"
  lrn_param { local_size: 5 alpha: 0.3 beta: 0.75 k: 1.5 } }
layer { name: "a" type: "Convolution" bottom: "norm1" top: "a"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "relu_a" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b_reduce" type: "Convolution" bottom: "norm1" top: "b_reduce"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "relu_b_reduce" type: "ReLU" bottom: "b_reduce" top: "b_reduce" }
layer { name: "b" type: "Convolution" bottom: "b_reduce" top: "b"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "relu_b" type: "ReLU" bottom: "b" top: "b" }
layer { name: "c_pool" type: "Pooling" bottom: "norm1" top: "c_pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "c" type: "Convolution" bottom: "c_pool" top: "c"
  convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "relu_c" type: "ReLU" bottom: "c" top: "c" }
layer { name: "joined" type: "Concat" bottom: "a" bottom: "b" bottom: "c" top: "joined" }
layer { name: "pool2" type: "Pooling" bottom: "joined" top: "pool2"
  pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 } }
layer { name: "drop" type: "Dropout" bottom: "pool2" top: "pool2" }
layer { name: "fc1" type: "InnerProduct" bottom: "pool2" top: "fc1" inner_product_param { num_output: 8 } }
layer { name: "relu_fc1" type: "ReLU" bottom: "fc1" top: "fc1" relu_param { negative_slope: 0.1 } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""

INCEPTION_INDICES = {
    "conv1": 0,
    "relu1": 1,
    "pool1": 2,
    "norm1": 3,
    "norm1_norm1_0_split": 4,
    "a": 5,
    "relu_a": 6,
    "b_reduce": 7,
    "relu_b_reduce": 8,
    "b": 9,
    "relu_b": 10,
    "c_pool": 11,
    "c": 12,
    "relu_c": 13,
    "joined": 14,
    "pool2": 15,
    "drop": 16,
    "fc1": 17,
    "relu_fc1": 18,
    "fc2": 19,
    "prob": 20,
}

INCEPTION_SHAPE = (3, 13, 11)


def without_biases(text: str) -> str:
    """``text`` with ``bias_term: false`` in every convolution and inner product."""
    for parameters in ("convolution_param {", "inner_product_param {"):
        text = text.replace(parameters, parameters + " bias_term: false")
    return text


def lone_layer(folder: Path, body: str, *shapes: tuple[int, ...], tops: int = 1, batch: int = 2) -> Layer:
    """The layer named ``layer`` that ``body`` describes, without weights, over inputs of any ``shapes``."""
    text = ""
    for number, shape in enumerate(shapes):
        sizes = " ".join(f"dim: {size}" for size in (batch, *shape))
        text += f'input: "input{number}" input_shape {{ {sizes} }}\n'
    reads = " ".join(f'bottom: "input{number}"' for number in range(len(shapes)))
    writes = " ".join(f'top: "top{number}"' for number in range(tops))
    spec = parse(folder, text + f'layer {{ name: "layer" {reads} {writes} {body} }}\n')
    return build_graph(deploy(spec)).layers[0]
