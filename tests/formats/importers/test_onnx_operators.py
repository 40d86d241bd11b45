"""ONNX operators as layers: the same output as loops and formulas in NumPy."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_builders import Array, image, imported, model_of, node, scores, types, written

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.importers.onnx import read

RANDOM = np.random.default_rng(3)
X = image()
#: A convolution in front, so that there are weights to store: it doubles the input.
DOUBLE = node("Conv", "x twice", "v", group=2)
TWICE = {"twice": np.full((2, 1, 1, 1), 2, np.float32)}
erf = np.vectorize(math.erf)


def result_of(
    folder: Path, nodes: list[Any], constants: Mapping[str, Any] | None = None, **options: Any
) -> Array:
    """The output for the input 2·X of nodes that read v."""
    net = imported(folder, [DOUBLE, *nodes], {**TWICE, **(constants or {})}, **options)
    return scores(folder, net, X)


def number(value: float) -> Array:
    return np.array(value, np.float32)


def convolved(x: Array, weights: Array, pads: tuple[int, int, int, int], stride: int, dilation: int) -> Array:
    """Loops over outputs and taps, one group."""
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))).astype(np.float64)
    outputs, _, height, width = weights.shape
    rows = (padded.shape[2] - dilation * (height - 1) - 1) // stride + 1
    columns = (padded.shape[3] - dilation * (width - 1) - 1) // stride + 1
    found = np.zeros((1, outputs, rows, columns))
    for o, r, c, i, j in np.ndindex(outputs, rows, columns, height, width):
        taps = padded[0, :, r * stride + i * dilation, c * stride + j * dilation]
        found[0, o, r, c] += taps @ weights[o, :, i, j]
    return found


def test_a_convolution_has_asymmetric_padding_stride_and_dilation(tmp_path: Path) -> None:
    weights = RANDOM.standard_normal((3, 2, 2, 3)).astype(np.float32)
    conv = node("Conv", "v w", pads=[0, 1, 2, 3], strides=[2, 2], dilations=[2, 2])
    expected = convolved(2 * X, weights, (0, 1, 2, 3), 2, 2)
    np.testing.assert_allclose(result_of(tmp_path, [conv], {"w": weights}), expected, rtol=1e-4, atol=1e-5)


def test_auto_pad_and_a_border_of_zeros_become_the_padding_of_the_convolution(tmp_path: Path) -> None:
    weights = RANDOM.standard_normal((3, 2, 3, 3)).astype(np.float32)
    same = node("Conv", "v w", auto_pad="SAME_UPPER", strides=[2, 2])
    expected = convolved(2 * X, weights, (0, 1, 1, 1), 2, 1)
    np.testing.assert_allclose(result_of(tmp_path, [same], {"w": weights}), expected, rtol=1e-4, atol=1e-5)
    border = node("Pad", "x pads", "p")
    net = imported(
        tmp_path,
        [border, node("Conv", "p w", strides=[2, 2])],
        {"pads": [0, 0, 0, 1, 0, 0, 1, 1], "w": weights},
    )
    assert types(net) == ["Convolution"]
    np.testing.assert_allclose(scores(tmp_path, net, 2 * X), expected, rtol=1e-4, atol=1e-5)


def test_a_transposed_convolution_with_output_padding_spreads_every_pixel(tmp_path: Path) -> None:
    weights = RANDOM.standard_normal((2, 3, 3, 3)).astype(np.float32)
    bias = RANDOM.standard_normal(3).astype(np.float32)
    deconvolution = node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0])
    spread = np.zeros((1, 3, 14, 12))
    for r, c in np.ndindex(6, 5):
        spread[0, :, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3] += np.einsum("i,iohw->ohw", X[0, :, r, c], weights)
    expected = spread[:, :, 1:13, 1:10] + bias.reshape(3, 1, 1)
    net = imported(tmp_path, [deconvolution], {"w": weights, "b": bias})
    np.testing.assert_allclose(scores(tmp_path, net, X), expected, rtol=1e-4, atol=1e-5)


#: Operator and attributes -> the value for the pixels of a window, and its area with padding.
POOLS: list[tuple[str, dict[str, Any], Callable[[Array, int], Any]]] = [
    ("MaxPool", {}, lambda window, area: window.max()),
    ("AveragePool", {}, lambda window, area: window.mean()),
    ("AveragePool", {"count_include_pad": 1}, lambda window, area: window.sum() / area),
]


@pytest.mark.parametrize(("operator", "attributes", "value"), POOLS)
def test_pooling_rounds_up_and_counts_padding_as_asked(
    tmp_path: Path, operator: str, attributes: dict[str, Any], value: Callable[[Array, int], Any]
) -> None:
    expected = np.zeros((1, 2, 4, 3))
    for channel, r, c in np.ndindex(2, 4, 3):  # windows of 3×3 with stride 2 and padding 1 over 6×5 pixels
        top, left = 2 * r - 1, 2 * c - 1
        area = (min(top + 3, 7) - top) * (min(left + 3, 6) - left)
        expected[0, channel, r, c] = value(
            2 * X[0, channel, max(top, 0) : top + 3, max(left, 0) : left + 3], area
        )
    pool = node(
        operator, "v", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, **attributes
    )
    np.testing.assert_allclose(result_of(tmp_path, [pool]), expected, rtol=1e-5)


V = 2 * X.astype(np.float64)
SQRT2, ALPHA = number(math.sqrt(2)), np.float32(1 / 6)
#: What the nodes compute, their constants, the only layer that they become, and its values.
FUNCTIONS: dict[str, tuple[list[Any], dict[str, Any], str, Array]] = {
    "GELU by Erf": (
        [
            node("Div", "v s", "a"),
            node("Erf", "a", "b"),
            node("Add", "b one", "c"),
            node("Mul", "v c", "d"),
            node("Mul", "d half"),
        ],
        {"s": SQRT2, "one": number(1), "half": number(0.5)},
        "GELU",
        0.5 * V * (1 + erf(V / math.sqrt(2))),
    ),
    "GELU by Erf, halved first": (
        [
            node("Mul", "half v", "h"),
            node("Mul", "v s", "a"),
            node("Erf", "a", "b"),
            node("Add", "one b", "c"),
            node("Mul", "h c"),
        ],
        {"s": number(math.sqrt(0.5)), "one": number(1), "half": number(0.5)},
        "GELU",
        0.5 * V * (1 + erf(V / math.sqrt(2))),
    ),
    "Swish": (
        [node("Sigmoid", "v", "a"), node("Mul", "v a")],
        {},
        "Swish",
        V / (1 + np.exp(-V)),
    ),
    "HardSwish by HardSigmoid": (
        [node("HardSigmoid", "v", "a", alpha=float(ALPHA)), node("Mul", "a v")],
        {},
        "HardSwish",
        V * np.clip(V / 6 + 0.5, 0, 1),
    ),
    "HardSwish by Clip": (
        [
            node("Add", "v three", "a"),
            node("Clip", "a low high", "b"),
            node("Mul", "v b", "c"),
            node("Div", "c six"),
        ],
        {"three": number(3), "low": number(0), "high": number(6), "six": number(6)},
        "HardSwish",
        V * np.clip(V / 6 + 0.5, 0, 1),
    ),
    "HardSigmoid by Clip": (
        [node("Add", "v three", "a"), node("Clip", "a low high", "b"), node("Div", "b six")],
        {"three": number(3), "low": number(0), "high": number(6), "six": number(6)},
        "HardSigmoid",
        np.clip(V / 6 + 0.5, 0, 1),
    ),
    "limits": (
        [node("Max", "v low", "a"), node("Min", "high a")],
        {"low": number(0), "high": number(1.5)},
        "ReLU6",
        np.clip(V, 0, 1.5),
    ),
    "scale and shift": (
        [node("Sub", "one v", "a"), node("Div", "a s")],
        {"one": number(1), "s": number(4)},
        "Power",
        (1 - V) / 4,
    ),
    "channel shuffle": (
        [
            node("Reshape", "v five", "a"),
            node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
            node("Reshape", "b four"),
        ],
        {"five": [0, 2, 1, 6, 5], "four": [-1, 2, 6, 5]},
        "ShuffleChannel",
        V,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_several_nodes_become_one_layer(tmp_path: Path, name: str) -> None:
    nodes, constants, kind, expected = FUNCTIONS[name]
    net = imported(tmp_path, [DOUBLE, *nodes], {**TWICE, **constants})
    assert types(net) == ["Convolution", kind]
    np.testing.assert_allclose(scores(tmp_path, net, X), expected, rtol=2e-5, atol=2e-6)


def test_a_value_that_others_read_is_not_merged(tmp_path: Path) -> None:
    nodes = [node("Sigmoid", "v", "a"), node("Mul", "v a", "b"), node("Add", "a b")]
    found = result_of(tmp_path, nodes)
    np.testing.assert_allclose(found, (1 + V) / (1 + np.exp(-V)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 17])
def test_normalization_and_constants_for_channels(tmp_path: Path, opset: int) -> None:
    scale, bias, mean, variance = RANDOM.uniform(0.5, 2, (4, 2)).astype(np.float32)
    nodes = [
        node("BatchNormalization", "v s b m w", "n", epsilon=0.01),
        node("Mul", "n f", "a"),
        node("Sub", "a c"),
    ]
    factor, shift = (RANDOM.standard_normal((2, 1, 1)).astype(np.float32) for _ in range(2))
    constants = {"s": scale, "b": bias, "m": mean, "w": variance, "f": factor, "c": shift}
    by_channel = [array.reshape(2, 1, 1) for array in (scale, bias, mean, variance)]
    normal = (V - by_channel[2]) / np.sqrt(by_channel[3] + 0.01) * by_channel[0] + by_channel[1]
    expected = normal * factor - shift
    np.testing.assert_allclose(
        result_of(tmp_path, nodes, constants, opset=opset), expected, rtol=1e-4, atol=1e-5
    )


def test_squeeze_and_excitation_is_a_scale_by_a_gate(tmp_path: Path) -> None:
    weights = RANDOM.standard_normal((2, 2)).astype(np.float32)
    nodes = [
        node("ReduceMean", "v", "m", axes=[2, 3], keepdims=0),
        node("MatMul", "m w", "f"),
        node("Sigmoid", "f", "g"),
        node("Reshape", "g shape", "h"),
        node("Mul", "h v"),
    ]
    net = imported(tmp_path, [DOUBLE, *nodes], {**TWICE, "w": weights, "shape": [1, 2, 1, 1]})
    assert types(net) == ["Convolution", "Pooling", "Flatten", "InnerProduct", "Sigmoid", "Flatten", "Scale"]
    gate = 1 / (1 + np.exp(-V.mean(axis=(2, 3)) @ weights))
    np.testing.assert_allclose(scores(tmp_path, net, X), V * gate[..., None, None], rtol=1e-4, atol=1e-5)


def test_a_fully_connected_layer_takes_its_bias_and_transposed_weights(tmp_path: Path) -> None:
    weights, bias = RANDOM.standard_normal((60, 3)).astype(np.float32), np.array([1, 2, 3], np.float32)
    nodes = [
        node("Flatten", "v", "f"),
        node("MatMul", "f w", "m"),
        node("Add", "b m", "s"),
        node("LogSoftmax", "s"),
    ]
    net = imported(tmp_path, [DOUBLE, *nodes], {**TWICE, "w": weights, "b": bias})
    assert types(net) == ["Convolution", "Flatten", "InnerProduct", "Softmax", "Log"]
    logits = V.reshape(1, -1) @ weights + bias
    top = logits.max()
    expected = logits - top - np.log(np.exp(logits - top).sum())
    np.testing.assert_allclose(scores(tmp_path, net, X), expected, rtol=1e-4, atol=1e-4)
    gemm = node("Gemm", "f r b", alpha=0.5, beta=2.0, transB=1)
    found = result_of(tmp_path, [nodes[0], gemm], {"r": weights.T, "b": bias})
    np.testing.assert_allclose(found, 0.5 * (V.reshape(1, -1) @ weights) + 2 * bias, rtol=1e-4, atol=1e-4)


def test_pieces_that_nothing_reads_are_no_outputs(tmp_path: Path) -> None:
    constants = {"a": [1], "b": [9], "axis": [1], "i": np.array(0), "c": [3], "rows": [2]}
    nodes = [
        node("Slice", "v a b axis", "p"),
        node("Gather", "v i", "q", axis=1),
        node("Unsqueeze", "q axis", "r"),
        node("Concat", "p r", "s", axis=-3),
        node("Slice", "s a c rows"),
    ]
    net = imported(tmp_path, [DOUBLE, *nodes], {**TWICE, **constants})
    assert types(net)[-1] == "Silence"
    np.testing.assert_allclose(scores(tmp_path, net, X), V[:, ::-1, 1:3], rtol=1e-6)


def test_shapes_are_computed_for_the_size_of_the_input(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axes", "m"),
        node("Concat", "m rest", "shape", axis=0),
        node("Reshape", "v shape"),
    ]
    model = model_of(
        [DOUBLE, *nodes],
        {**TWICE, "zero": np.array(0), "axes": [0], "rest": [-1]},
        shape=("batch", 2, "height", "width"),
    )
    net = read(written(tmp_path, model), (6, 5))
    assert net.input_shape == (1, 2, 6, 5)
    np.testing.assert_allclose(scores(tmp_path, net, X), V.reshape(1, -1), rtol=1e-6)
    assert any("1 Concat, 1 Gather, 1 Shape, 1 Unsqueeze" in note for note in net.notes)
    with pytest.raises(ModelError, match=r"net.onnx: input 'x' leaves its size open; give --input-size"):
        read(tmp_path / "net.onnx")


def test_images_with_channels_last_lose_their_transpositions(tmp_path: Path) -> None:
    weights = RANDOM.standard_normal((4, 2, 1, 1)).astype(np.float32)
    nodes = [
        node("Transpose", "x", "a", perm=[0, 3, 1, 2]),
        node("Conv", "a w", "b"),
        node("Transpose", "b", "c", perm=[0, 2, 3, 1]),
        node("ReduceMean", "c", axes=[1, 2], keepdims=0),
    ]
    net = imported(tmp_path, nodes, {"w": weights}, shape=("n", 6, 5, 2))
    assert (net.input_shape, types(net)) == ((1, 2, 6, 5), ["Convolution", "Pooling", "Flatten"])
    expected = np.einsum("oihw,nirc->norc", weights, X).mean(axis=(2, 3))
    np.testing.assert_allclose(scores(tmp_path, net, X), expected, rtol=1e-4, atol=1e-6)


def test_images_are_enlarged_by_repetition_and_by_lines(tmp_path: Path) -> None:
    resized = node("Resize", "v - scales", mode="nearest")
    found = result_of(tmp_path, [resized], {"scales": np.array([1, 1, 2, 3], np.float32)})
    np.testing.assert_allclose(found, V.repeat(2, axis=2).repeat(3, axis=3), rtol=1e-6)
    lines = node("Resize", "v - scales", mode="linear")
    found = result_of(tmp_path, [lines], {"scales": np.array([1, 1, 3, 3], np.float32)})
    rows, columns = ((np.arange(3 * size) + 0.5) / 3 - 0.5 for size in (6, 5))
    expected = np.empty((1, 2, 18, 15))
    for channel in range(2):
        tall = np.stack([np.interp(rows, range(6), V[0, channel, :, c]) for c in range(5)], axis=1)
        expected[0, channel] = [np.interp(columns, range(5), row) for row in tall]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_choice_among_scores_at_the_end_is_left_out(tmp_path: Path) -> None:
    net = imported(tmp_path, [DOUBLE, node("ArgMax", "v", axis=1)], TWICE)
    assert types(net) == ["Convolution"]
    assert net.notes == (
        "y (ArgMax): left out, as it only chooses among the scores, which are the output now",
    )


def test_layers_are_named_as_modules_of_pytorch(tmp_path: Path) -> None:
    weights = {
        "layer1.0.conv1.weight": np.ones((2, 2, 1, 1), np.float32),
        "onnx::Conv_9": np.ones((2, 2, 1, 1), np.float32),
    }
    nodes = [
        node("Conv", "x layer1.0.conv1.weight", "v1", name="/layer1/layer1.0/conv1/Conv"),
        node("Relu", "v1", "v2", name="/layer1/layer1.0/relu/Relu"),
        node("Conv", "v2 onnx::Conv_9", "v3", name="/layer1/layer1.0/conv2/Conv"),
        node("Add", "v3 v1", "y", name="/layer1/layer1.0/Add"),
    ]
    net = imported(tmp_path, nodes, weights)
    names = [layer.name for layer in net.layers]
    assert names == ["layer1.0.conv1", "layer1.0.relu", "layer1.0.conv2", "layer1.0.Add"]
    assert net.layers[1].source == "/layer1/layer1.0/relu/Relu (Relu)"
