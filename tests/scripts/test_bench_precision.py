"""Double precision gives what the oracle does; distances and changed decisions are right by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import bench_float64
import bench_precision
import numpy as np
import pytest
from bench_precision import Distance, changes, relative, summary
from builders import (
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    build,
    messages,
    parse,
    random_blob,
    random_weights,
    single_layer,
)
from oracle import Array
from oracle_routers import RouterWalker, eltwise_sum
from oracle_walker import Options
from twins import FC2, Twins

from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.pooling import MaxPooling
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.passage import ForwardPass
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEMO = [str(ROOT / "configs" / "demo.txt"), "--photos", str(ROOT / "filelists" / "demo"), "--images", "2"]
CLASSES = [3, 0]

RESIDUAL = """
name: "residual" input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 5 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 dilation: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "branch" type: "Convolution" bottom: "conv" top: "branch"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "branch" top: "sum"
  eltwise_param { coeff: 1 coeff: 0.5 } }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def assert_equal_but_for_rounding(found: Array, expected: Array, tolerance: float = 1e-11) -> None:
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * float(np.abs(expected).max()))


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("formula", [0, 2, 11, 100])
def test_maps_in_double_precision_equal_those_of_the_oracle(
    formula: int, corrected: bool, tmp_path: Path
) -> None:
    """Grouped convolution, max and average pooling, LRN, a leaky ReLU, Concat and Split are in this net."""
    twins = Twins(tmp_path, INCEPTION, INCEPTION_INDICES, INCEPTION_SHAPE)
    options = Options(epsilon=0.01, beta=0.5, corrected=corrected)
    values = bench_float64.forward(twins.net, twins.batch)
    found = bench_float64.explain(twins.plan(formula, options, FC2), values, CLASSES)
    expected = twins.walker.relevance(formula, options, "fc2", [[each] for each in CLASSES], first="conv1")
    # The oracle's gradients of LRN are central differences.
    assert_equal_but_for_rounding(found, expected, 1e-6 if formula == 11 else 1e-11)


@pytest.mark.parametrize("formula", [0, 11, 100])
def test_double_precision_passes_residual_connections_as_the_oracle_does(
    formula: int, tmp_path: Path
) -> None:
    weights, x = random_weights(parse(tmp_path, RESIDUAL), 1), random_blob((2, 3, 6, 5), 2)
    net, half = build(tmp_path, RESIDUAL, weights), np.float64(0.5)
    sums: dict[str, Any] = {"sum": (eltwise_sum((1, 0.5)), lambda x, y: [x, half * y])}
    walker = RouterWalker(messages(RESIDUAL), weights, {}, sums)
    walker.forward(x)
    options = Options(epsilon=0.01, beta=0.5, corrected=True)
    expected = walker.relevance(formula, options, "fc", [[each] for each in CLASSES], first="conv")
    plan = resolve_plan(net, formula, RuleParameters(0.01, 0.5, -1, CORRECTED), "fc", 0)
    values = bench_float64.forward(net, x)
    assert_equal_but_for_rounding(bench_float64.explain(plan, values, CLASSES), expected)


def pooling(folder: Path) -> MaxPooling:
    body = 'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride: 2 }'
    layer = single_layer(folder, body, (1, 2, 4))
    assert isinstance(layer, MaxPooling)
    return layer


def test_the_first_of_numbers_wins_that_are_equal_but_for_rounding(tmp_path: Path) -> None:
    x = np.array([[[[1.0, 1.0 + 1e-14, 2.0, 2.0], [0.5, 1.0, 2.0 + 1e-9, 0.0]]]])
    assert bench_float64.winners(pooling(tmp_path), x).tolist() == [[[[0, 2]]]]
    assert bench_float64.winners(pooling(tmp_path), x, 0.0).tolist() == [[[[1, 2]]]]


def test_a_distance_is_relative_to_the_map_as_a_whole() -> None:
    wanted = np.array([3.0, -4.0, 0.0, 0.0])
    found = np.array([3.0, -4.0, 0.0, 0.5], np.float32)
    assert np.allclose(relative(found, wanted), [0.1, 0.125])


def changed(layer: Layer, found: list[Any], wanted: list[Any]) -> tuple[int, int]:
    """What changes at one layer, given its input by the package and in double precision."""
    plan, passed = SimpleNamespace(steps=[SimpleNamespace(layer=layer)]), SimpleNamespace()
    (value,) = layer.inputs
    passed.activations = {value: np.array(found, np.float32)}
    return changes(cast(Plan, plan), cast(ForwardPass, passed), {value: np.array(wanted)})


def test_winners_and_signs_that_differ_are_counted(tmp_path: Path) -> None:
    one, other = [[1.0, 2.0, 3.0, 3.0], [1.5, 0.0, 0.0, 0.0]], [[2.0, 1.0, 3.0, 3.5], [1.5, 0.0, 0.0, 0.0]]
    assert changed(pooling(tmp_path), [[other]], [[one]]) == (2, 0)
    relu = single_layer(tmp_path, 'type: "ReLU"', (4,))
    assert changed(relu, [[-1e-9, 1e-9, -1.0, 2.0]], [[1e-9, 0.0, -1.0, 2.0]]) == (0, 2)


def test_a_row_has_the_median_and_the_worst_of_the_images() -> None:
    row = summary([Distance(1e-3, 2e-3, 4, 0), Distance(3e-3, 1e-2, 1, 1), Distance(2e-3, 4e-3, 1, 0)])
    assert (row["rms"], row["worst_rms"], row["largest"], row["worst_largest"]) == (2e-3, 3e-3, 4e-3, 1e-2)
    assert (row["winners"], row["signs"]) == (2.0, pytest.approx(1 / 3))


def test_the_script_prints_a_row_for_every_formula_and_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    arguments = ["--formulas", "11", "100", "--convolution", "direct", "winograd", "--json", str(path)]
    assert bench_precision.main(["--nets", *DEMO, *arguments]) == 0
    rows = json.loads(path.read_text())["tables"]["precision"]
    assert [(row["formula"], row["convolution"]) for row in rows] == [
        (11, "direct"), (11, "winograd"), (100, "direct"), (100, "winograd")
    ]  # fmt: skip
    assert all(len(row["images"]) == 2 for row in rows)
    # But for changed decisions, maps differ by rounding alone.
    calm = [image["rms"] for row in rows for image in row["images"] if not image["winners"] + image["signs"]]
    assert calm
    assert max(calm) < 1e-4
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split(" | ")[2:5] == ["convolution", " r.m.s.", "  worst"]
    assert len(printed) == 6


def test_a_rule_that_is_not_known_in_double_precision_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_precision.main(["--nets", *DEMO, "--formulas", "gamma-all"]) == 1
    assert "no evaluation in double precision of Gamma" in capsys.readouterr().err
