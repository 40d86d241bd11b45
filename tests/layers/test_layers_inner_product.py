"""Inner products over some axes, and with transposed weights: values, gradient and relevance."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import test_layers
from builders import (
    WORKSPACE,
    EagerWorkspace,
    Weights,
    assert_close,
    build,
    deployed,
    layer_net,
    random_blob,
    single_layer,
    without_biases,
)
from extended_walker import Pair
from oracle import Array, Edges, Real
from oracle_walker import Options, Walker
from test_layers import Case

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.inner_product import InnerProduct
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.build import build_net


def product(axis: int = 1, transposed: bool = False) -> Callable[[Real, list[Blob]], Array]:
    """The slow version: every position before ``axis`` (of the blob) by itself."""

    def slow(x: Real, weights: list[Blob]) -> Array:
        matrix = weights[0].astype(np.float64)
        before, length = x.shape[:axis], math.prod(x.shape[axis:])
        outputs = matrix.shape[1] if transposed else matrix.shape[0]
        out = np.zeros((*before, outputs))
        for at in np.ndindex(*before):
            numbers = x[at].reshape(length)
            for m in range(outputs):
                row = matrix[:, m] if transposed else matrix[m]
                out[(*at, m)] = sum(float(numbers[k]) * float(row[k]) for k in range(length))
                out[(*at, m)] += float(weights[1][m]) if len(weights) > 1 else 0
        return out

    return slow


def body(parameters: str) -> str:
    return f'type: "InnerProduct" inner_product_param {{ num_output: 5 {parameters} }}'


CASES = [
    Case("transposed", body("transpose: true"), (3, 4, 2), (5,), product(1, True)),
    Case("of image axes", body("axis: 2"), (3, 4, 2), (3, 5), product(2)),
    Case(
        "of image axes, transposed, without bias",
        body("axis: 2 transpose: true bias_term: false"),
        (3, 4, 2),
        (3, 5),
        product(2, True),
    ),
    Case("of columns", body("axis: 3"), (3, 4, 6), (3, 4, 5), product(3)),
    Case("of the last of four", body("axis: -1 transpose: true"), (3, 4, 6), (3, 4, 5), product(3, True)),
    Case("of the last of three", body("axis: -1"), (4, 6), (4, 5), product(2)),
    Case("of the last of two", body("axis: -1"), (9,), (5,), product(1)),
    Case("of all, counted from the end", body("axis: -3"), (3, 4, 2), (5,), product(1)),
    Case("of a single position", body("axis: 2"), (1, 4, 2), (1, 5), product(2)),
    Case("of columns of a single row", body("axis: 3"), (3, 1, 6), (3, 1, 5), product(3)),
]

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.slow
@by_name
@test_layers.by_check
def test_as_every_layer(check: Callable[[Case, Path], None], case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_an_image_of_positions_lies_as_images_do(tmp_path: Path) -> None:
    layer = single_layer(tmp_path, body("axis: 3"), (3, 4, 6))
    (out,) = layer.forward([random_blob((2, 3, 4, 6), 1)], WORKSPACE)
    assert out.transpose(0, 2, 3, 1).flags.c_contiguous


def test_transposed_weights_are_turned_round_once(tmp_path: Path) -> None:
    stored = random_blob((24, 5), 1)
    weights: Weights = {"layer": [stored, random_blob((5,), 2)]}
    layer = build(tmp_path, layer_net(body("transpose: true"), (3, 4, 2)), weights).layers[0]
    assert isinstance(layer, InnerProduct)
    assert layer.weight.tolist() == stored.T.tolist()
    assert layer.weight.flags.c_contiguous
    assert layer.weight is layer.weights[0]
    assert layer.weight_shapes == ((5, 24), (5,))
    again = layer.with_weights(layer.weights)
    assert isinstance(again, Linear)
    assert again.weight is layer.weight


def test_what_rules_ask_of_positions(tmp_path: Path) -> None:
    layer = single_layer(tmp_path, body("axis: 2"), (3, 4, 2))
    assert isinstance(layer, InnerProduct)
    assert (layer.fan_in, layer.taps, layer.group_outputs, layer.groups) == (8, 8, 5, 1)
    assert layer.weight_shapes == ((5, 8), (5,))
    relevance = random_blob((2, 3, 5), 1)
    spread = layer.uniform_adjoint(relevance, WORKSPACE)
    assert spread.shape == (2, 3, 4, 2)
    assert_close(spread, np.broadcast_to(relevance.sum(axis=2)[..., None, None], spread.shape), 1e-6)


BAD = {
    "over the batch": ("axis: 0", "axis 0 is not supported on a blob of 4 axes"),
    "over the batch, counted from the end": ("axis: -4", "axis -4 is not supported on a blob of 4 axes"),
    "over an axis too high": ("axis: 4", "axis 4 is not supported on a blob of 4 axes"),
}


@pytest.mark.parametrize(("parameters", "message"), BAD.values(), ids=BAD.keys())
def test_axes_that_are_not_there_are_refused(parameters: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        build_net(deployed(tmp_path, layer_net(body(parameters), (3, 4, 2))), {})


def test_weights_that_are_not_transposed_are_refused(tmp_path: Path) -> None:
    weights: Weights = {"layer": [random_blob((5, 24), 1), random_blob((5,), 2)]}
    with pytest.raises(ModelError, match="needs weights of shapes 24×5 and 5, but the caffemodel has 5×24"):
        build(tmp_path, layer_net(body("transpose: true"), (3, 4, 2)), weights)


# --- Relevance ----------------------------------------------------------------------------------------------

#: Three axes in the middle, four with what images have above them; ReLUs make inputs of all signs and of one.
NET = """
input: "data" input_shape { dim: 2 dim: 3 dim: 7 dim: 6 }
layer { name: "columns" type: "InnerProduct" bottom: "data" top: "columns"
  inner_product_param { num_output: 8 axis: 3 } }
layer { name: "relu1" type: "ReLU" bottom: "columns" top: "columns" }
layer { name: "conv" type: "Convolution" bottom: "columns" top: "conv"
  convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 } }
layer { name: "relu2" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "planes" type: "InnerProduct" bottom: "conv" top: "planes"
  inner_product_param { num_output: 6 axis: -2 transpose: true } }
layer { name: "last" type: "InnerProduct" bottom: "planes" top: "last"
  inner_product_param { num_output: 9 axis: 2 } }
layer { name: "relu3" type: "ReLU" bottom: "last" top: "last" }
layer { name: "fc" type: "InnerProduct" bottom: "last" top: "fc"
  inner_product_param { num_output: 7 transpose: true } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
CLASSES = [[3], [0, 4]]


class PositionsWalker(Walker):
    """A walker that sees an inner product as one over positions, with (M, P) outputs."""

    def _weights(self, layer: Any) -> tuple[Array, Array | None]:
        weight, bias = super()._weights(layer)
        is_transposed = layer.type == "InnerProduct" and layer.inner_product_param.transpose
        return (weight.T.copy() if is_transposed else weight), bias

    def _edges(self, layer: Any, x: Array) -> Edges:
        if layer.type != "InnerProduct":
            return super()._edges(layer, x)
        axis = layer.inner_product_param.axis % x.ndim
        positions, inputs = math.prod(x.shape[1:axis]), math.prod(x.shape[axis:])
        outputs = len(self._weights(layer)[0])
        found = [
            (p * inputs + i, o * positions + p, o * inputs + i)
            for p in range(positions)
            for o in range(outputs)
            for i in range(inputs)
        ]
        source, target, weight = np.array(found, np.intp).T
        return Edges(source, target, weight, x.shape[1:], (outputs, positions))

    def _output(self, layer: Any, xs: list[Array]) -> Array:
        out = super()._output(layer, xs)
        if layer.type != "InnerProduct":
            return out
        before = xs[0].shape[: layer.inner_product_param.axis % xs[0].ndim]
        return out.transpose(0, 2, 1).reshape(*before, -1)

    def _propagated(self, layer: Any, received: Array, formula: int | str, options: Options) -> list[Array]:
        if layer.type == "InnerProduct":
            outputs = received.shape[-1]
            received = received.reshape(len(received), -1, outputs).transpose(0, 2, 1)
        return super()._propagated(layer, received, formula, options)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path, NET, PositionsWalker)


@pytest.mark.slow
@pytest.mark.parametrize("corrected", [False, True], ids=["reference", "corrected"])
@pytest.mark.parametrize("code", [0, 2, 11, 26, 54, 56, 58, 60, 99, 100, 102, 104, 114, 166])
def test_every_rule_equals_the_walker(code: int, corrected: bool, pair: Pair) -> None:
    for switch in (0, 5):
        options = Options(epsilon=0.1, beta=1.0, switch=switch, corrected=corrected)
        expected = pair.expected(code, options, "fc", CLASSES)
        assert np.abs(expected).max() > 0
        assert_close(pair.explain(code, options, "fc", CLASSES), expected, 1e-4)


def test_positions_know_both_signs_of_inputs_and_one(pair: Pair) -> None:
    steps = {step.layer.name: step for step in pair.plan(2, Options(beta=1.0), "fc").steps}
    assert not steps["columns"].conditions.nonnegative
    assert steps["planes"].conditions.nonnegative
    assert not steps["last"].conditions.nonnegative


@pytest.mark.parametrize("code", [0, 2, 100])
def test_relevance_is_conserved(code: int, tmp_path: Path) -> None:
    pair = Pair(tmp_path, without_biases(NET), PositionsWalker, is_positive=True)
    found = pair.explain(code, Options(epsilon=1e-9, corrected=True), "fc", CLASSES)
    scores = pair.walker.values[-2]
    for item, chosen in enumerate(CLASSES):
        assert float(found[item].sum()) == pytest.approx(scores[item, chosen].sum(), rel=1e-3)


def test_threads_do_not_change_a_bit(pair: Pair) -> None:
    results = []
    for threads in (1, 3):
        with EagerWorkspace(threads) as workspace:
            layer = pair.net.layers[0]
            (out,) = layer.forward([pair.batch], workspace)
            (handed,) = layer.gradient([], [], [out], workspace)
            results.append((out.tolist(), handed.tolist()))
    assert results[0] == results[1]


def test_a_position_is_an_inner_product_of_its_own(tmp_path: Path) -> None:
    """The same bits as in a layer that has nothing but this position."""
    weights: Weights = {"layer": [random_blob((5, 8), 1), random_blob((5,), 2)]}
    positions = build(tmp_path, layer_net(body("axis: 2"), (3, 4, 2)), weights).layers[0]
    alone = build(tmp_path, layer_net(body(""), (8,)), weights).layers[0]
    x, gradient = random_blob((2, 3, 4, 2), 3), random_blob((2, 3, 5), 4)
    (out,), (handed,) = (
        positions.forward([x], WORKSPACE),
        positions.gradient([], [], [gradient], WORKSPACE),
    )
    for position in range(3):
        line = np.ascontiguousarray(x[:, position].reshape(2, 8))
        np.testing.assert_array_equal(out[:, position], alone.forward([line], WORKSPACE)[0])
        pull = np.ascontiguousarray(gradient[:, position])
        (expected,) = alone.gradient([], [], [pull], WORKSPACE)
        np.testing.assert_array_equal(handed[:, position].reshape(2, 8), expected)


def test_the_oracle_of_positions_is_that_of_inner_products(tmp_path: Path) -> None:
    """With one position, edges are those of the oracle."""
    text = layer_net(body(""), (3, 4, 2))
    walker = Pair(tmp_path, text, PositionsWalker).walker
    edges = walker._edges(walker.layers[0], walker.values[0])
    expected = oracle.inner_product_edges((3, 4, 2), 5)
    assert edges.source.tolist() == expected.source.tolist()
    assert edges.target.tolist() == expected.target.tolist()
    assert edges.weight.tolist() == expected.weight.tolist()
