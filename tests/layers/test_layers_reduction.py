"""Reduction: sums, their gradient, signs, and relevance shared by contribution."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_layers
from builders import (
    WORKSPACE,
    Weights,
    assert_close,
    deployed,
    layer_net,
    random_blob,
    single_layer,
    without_biases,
)
from extended_walker import ExtendedWalker, Pair, Slow
from oracle import Array, Real
from oracle_walker import Options, Walker
from test_layers import IMAGE, Case

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.reduction import Reduction
from caffe_lrp.net.build import build_net

#: What an element contributes to the sum.
CONTRIBUTIONS: dict[str, Callable[[float], float]] = {
    "SUM": lambda x: x,
    "MEAN": lambda x: x,
    "ASUM": abs,
    "SUMSQ": lambda x: x * x,
}


def rows(x: Real, axis: int) -> Array:
    """The elements of every sum side by side; ``axis`` is that of the blob."""
    return x.astype(np.float64).reshape(*x.shape[:axis], -1)


def reduction(operation: str, axis: int, coefficient: float = 1) -> Callable[[Real, list[Blob]], Array]:
    def slow(x: Real, weights: list[Blob]) -> Array:
        del weights
        elements = rows(x, axis)
        out = np.zeros(elements.shape[:-1])
        for at in np.ndindex(*out.shape):
            total = sum(CONTRIBUTIONS[operation](float(element)) for element in elements[at])
            out[at] = coefficient * total / (elements.shape[-1] if operation == "MEAN" else 1)
        return out if out.ndim > 1 else out[:, None]

    return slow


def shares(operation: str, axis: int) -> Callable[[Array, Array], Array]:
    """How relevance passes, in proportion to contributions, alike where they sum to nearly nothing."""

    def slow(x: Array, received: Array) -> Array:
        elements = rows(x, axis)
        out = np.zeros(elements.shape)
        for at in np.ndindex(*elements.shape[:-1]):
            parts = [CONTRIBUTIONS[operation](float(element)) for element in elements[at]]
            for number, part in enumerate(parts):
                share = part / sum(parts) if abs(sum(parts)) >= 1e-6 else 1 / len(parts)
                out[(*at, number)] = share * received.reshape(elements.shape[:-1])[at]
        return out.reshape(x.shape)

    return slow


def body(parameters: str) -> str:
    return f'type: "Reduction" reduction_param {{ {parameters} }}'


CASES = [
    Case("sum", body("axis: 2"), IMAGE, (4,), reduction("SUM", 2)),
    Case("sum of columns", body("axis: -1 coeff: -0.5"), IMAGE, (4, 7), reduction("SUM", 3, -0.5)),
    Case("sum of all", body("axis: 1"), IMAGE, (1,), reduction("SUM", 1)),
    Case("mean", body("operation: MEAN axis: 2 coeff: 3"), IMAGE, (4,), reduction("MEAN", 2, 3)),
    Case("mean of a vector", body("operation: MEAN axis: 1"), (9,), (1,), reduction("MEAN", 1)),
    Case(
        "absolute sum", body("operation: ASUM axis: 1 coeff: 0.25"), (4, 5), (1,), reduction("ASUM", 1, 0.25)
    ),
    Case("absolute sum of rows", body("operation: ASUM axis: 2"), (4, 5), (4,), reduction("ASUM", 2)),
    Case("squares", body("operation: SUMSQ axis: -2"), IMAGE, (4,), reduction("SUMSQ", 2)),
    Case("columns of five axes", body("axis: 4"), (2, 3, 4, 5), (2, 3, 4), reduction("SUM", 4)),
]

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.slow
@by_name
@test_layers.by_check
def test_as_every_layer(check: Callable[[Case, Path], None], case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("axis: 1", (False, True)),
        ("axis: 1 coeff: -1", (False, False)),
        ("axis: 1 operation: MEAN", (False, True)),
        ("axis: 1 operation: ASUM", (True, True)),
        ("axis: 1 operation: ASUM coeff: -2", (False, False)),
        ("axis: 1 operation: SUMSQ coeff: 0.5", (True, True)),
    ],
)
def test_signs_of_outputs_are_known(parameters: str, expected: tuple[bool, bool], tmp_path: Path) -> None:
    layer = single_layer(tmp_path, body(parameters), (9,))
    assert (layer.is_nonnegative([False]), layer.is_nonnegative([True])) == expected
    x = random_blob((23, 9), 1)
    for claimed, numbers in zip(expected, (x, np.abs(x)), strict=True):
        assert bool((layer.forward([numbers], WORKSPACE)[0] >= 0).all()) == claimed


@by_name
def test_overflow_is_silent(case: Case, tmp_path: Path) -> None:
    layer = single_layer(tmp_path, case.body, case.shape)
    assert isinstance(layer, Reduction)
    x = np.full((1, *case.shape), 3e38, np.float32)
    x[0, 0] = np.inf
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        (out,) = layer.forward([x], WORKSPACE)
        layer.gradient([x], [], [out], WORKSPACE)
        layer.shared([x], out, WORKSPACE)


@pytest.mark.parametrize("parameters", ["axis: 0", "", "axis: -4"])
def test_images_of_a_batch_are_never_added_up(parameters: str, tmp_path: Path) -> None:
    message = "axis 0 would add up the images of a batch; set another axis in reduction_param"
    with pytest.raises(ModelError, match=message):
        build_net(deployed(tmp_path, layer_net(body(parameters), IMAGE)), {})


def test_axes_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="axis 4 is not supported on a blob of 4 axes"):
        build_net(deployed(tmp_path, layer_net(body("axis: 4"), IMAGE)), {})


# --- Relevance ----------------------------------------------------------------------------------------------

CLASSES = [[3], [0, 4]]


def reduced_net(layer: str) -> str:
    return f"""
    input: "data" input_shape {{ dim: 2 dim: 3 dim: 8 dim: 5 }}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
      convolution_param {{ num_output: 6 kernel_h: 3 kernel_w: 2 }} }}
    layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
    layer {{ name: "reduced" {layer} bottom: "conv" top: "reduced" }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "reduced" top: "fc"
      inner_product_param {{ num_output: 7 }} }}
    layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
    """


def pair_of(folder: Path, text: str, operation: str, axis: int, is_positive: bool = False) -> Pair:
    slow = Slow(lambda x: reduction(operation, axis)(x, []), shares(operation, axis))

    def walker(layers: list[Any], weights: Weights, indices: dict[str, int]) -> ExtendedWalker:
        return ExtendedWalker(layers, weights, indices, {"reduced": slow})

    return Pair(folder, text, walker, is_positive)


@pytest.mark.slow
@pytest.mark.parametrize("corrected", [False, True], ids=["reference", "corrected"])
@pytest.mark.parametrize("code", [0, 2, 11, 26, 100])
@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("operation", CONTRIBUTIONS)
def test_relevance_is_shared_by_contribution(
    operation: str, axis: int, code: int, corrected: bool, tmp_path: Path
) -> None:
    text = reduced_net(body(f"operation: {operation} axis: {axis}"))
    pair = pair_of(tmp_path, text, operation, axis)
    options = Options(epsilon=0.1, beta=1.0, corrected=corrected)
    expected = pair.expected(code, options, "fc", CLASSES)
    assert np.abs(expected).max() > 0
    assert_close(pair.explain(code, options, "fc", CLASSES), expected, 1e-4)


@pytest.mark.parametrize("code", [0, 2, 100])
@pytest.mark.parametrize("operation", CONTRIBUTIONS)
def test_relevance_is_conserved(operation: str, code: int, tmp_path: Path) -> None:
    text = without_biases(reduced_net(body(f"operation: {operation} axis: 2")))
    pair = pair_of(tmp_path, text, operation, 2, is_positive=True)
    found = pair.explain(code, Options(epsilon=1e-9, corrected=True), "fc", CLASSES)
    scores = pair.walker.values[4]
    for item, chosen in enumerate(CLASSES):
        assert float(found[item].sum()) == pytest.approx(scores[item, chosen].sum(), rel=1e-3)


@pytest.mark.parametrize("corrected", [False, True], ids=["reference", "corrected"])
@pytest.mark.parametrize("code", [0, 2, 11, 100, 102])
def test_a_mean_over_the_image_is_global_average_pooling(code: int, corrected: bool, tmp_path: Path) -> None:
    options = Options(epsilon=0.1, beta=1.0, switch=0, corrected=corrected)
    pooling = 'type: "Pooling" pooling_param { pool: AVE global_pooling: true }'
    found = pair_of(tmp_path, reduced_net(body("operation: MEAN axis: 2")), "MEAN", 2)
    expected = Pair(tmp_path, reduced_net(pooling), Walker)
    assert_close(
        found.explain(code, options, "fc", CLASSES),
        expected.explain(code, options, "fc", CLASSES).astype(np.float64),
        1e-5,
    )


@pytest.mark.parametrize(
    ("operation", "elements", "expected"),
    [
        ("SUM", [2, -2, 0, 0], [2, 2, 2, 2]),
        ("MEAN", [1, -1, 2, -2], [2, 2, 2, 2]),
        ("SUM", [0.5, -0.4999999, 0, 0], [2, 2, 2, 2]),
        ("SUM", [3, -1, 0, 0], [12, -4, 0, 0]),
        ("ASUM", [2, -2, 0, 0], [4, 4, 0, 0]),
        ("ASUM", [0, 0, 0, 0], [2, 2, 2, 2]),
        ("SUMSQ", [1, -1, 0, 0], [4, 4, 0, 0]),
        ("SUMSQ", [3e-4, -1e-4, 0, 0], [7.2, 0.8, 0, 0]),
        ("SUMSQ", [1e-30, 0, 0, 0], [2, 2, 2, 2]),
    ],
)
def test_contributions_that_sum_to_nothing_share_alike(
    operation: str, elements: list[float], expected: list[float], tmp_path: Path
) -> None:
    layer = single_layer(tmp_path, body(f"axis: 1 operation: {operation}"), (4,))
    assert isinstance(layer, Reduction)
    relevance = np.full((1, 1), 8, np.float32)
    found = layer.shared([np.array([elements], np.float32)], relevance, WORKSPACE)
    assert_close(found, np.array([expected]), 1e-6)
