"""Rules that no formula has: other stabilisers, given bounds, max pooling in proportion, softplus."""

from pathlib import Path

import numpy as np
import oracle
import pytest
from builders import EagerWorkspace, assert_close, random_blob, single_layer
from oracle import Geometry
from test_conservation_report import assert_losses, losses
from test_rules import CONVOLUTION, Case, apply, bias_of, by_case, by_quirk, relevance_for

from caffe_lrp.layers.linear import Linear
from caffe_lrp.relevance.rules.epsilon import (
    Epsilon,
    EpsilonWithSharedBias,
    StabilisedEpsilon,
    epsilon_rule,
)
from caffe_lrp.relevance.rules.gradients import PassSmoothly
from caffe_lrp.relevance.rules.sharing import Proportional
from caffe_lrp.relevance.rules.stabiliser import Stabiliser
from caffe_lrp.relevance.rules.z_box import ZBox, ZBoxOfNumbers

# --- Stabilisers ------------------------------------------------------------------------------------------


@by_quirk
@pytest.mark.parametrize(("is_relative", "is_clipped"), [(True, False), (False, True), (True, True)])
@by_case
def test_stabilised_sums_equal_loops(
    case: Case, is_relative: bool, is_clipped: bool, quirk: bool, tmp_path: Path
) -> None:
    weights, x = case.weights(tmp_path), case.x()
    weights[0][2] = 0
    if len(weights) > 1:
        weights[1][2] = 0  # this output is 0 everywhere
    layer, relevance, edges = case.build(tmp_path, weights), relevance_for(case, weights), case.edges(weights)
    z = oracle.linear(x, weights[0], bias_of(weights), edges)
    divisor = oracle.stabilised(z, 0.25, is_relative, is_clipped, quirk)
    expected = x * oracle.adjoint(oracle.over_divisor(relevance, divisor), weights[0], edges)
    rule = StabilisedEpsilon(Stabiliser(0.25, is_relative, is_clipped, quirk))
    assert_close(apply(rule, layer, x, relevance), expected, 1e-5)


@pytest.mark.parametrize(
    ("stabiliser", "expected"),
    [
        (Stabiliser(2.0), [[5, -6], [2, 7]]),
        (Stabiliser(2.0, is_clipped=True), [[3, -4], [2, 5]]),
        # The root mean squares are 5/√2 and 5/√2.
        (Stabiliser(2**0.5, is_relative=True), [[8, -9], [5, 10]]),
        (Stabiliser(0.8 * 2**0.5, is_relative=True, is_clipped=True), [[4, -4], [4, 5]]),
        (Stabiliser(2.0, is_clipped=True, undivided_at_zero=True), [[3, -4], [1, 5]]),
    ],
    ids=repr,
)
def test_divisors_by_hand(stabiliser: Stabiliser, expected: list[list[float]]) -> None:
    found = stabiliser.divisor(np.array([[3, -4], [0, 5]], np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == [pytest.approx(row) for row in expected]


def test_a_relative_stabiliser_gives_nothing_where_all_sums_are_0() -> None:
    assert Stabiliser(0.25, is_relative=True).divisor(np.zeros((1, 3), np.float32)).tolist() == [[0, 0, 0]]


def test_a_relative_stabiliser_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    x, relevance = random_blob((3, *CONVOLUTION.shape), 1), random_blob((3, *layer.output_shapes[0]), 2)
    rule = StabilisedEpsilon(Stabiliser(0.25, is_relative=True))
    with EagerWorkspace(3) as workspace:
        together = apply(rule, layer, x, relevance, workspace=workspace)
    for item in range(3):
        one = slice(item, item + 1)
        assert apply(rule, layer, x[one], relevance[one]).tolist() == together[one].tolist()


def test_plain_epsilon_keeps_its_fast_rule() -> None:
    assert epsilon_rule(Stabiliser(0.5, undivided_at_zero=True)) == Epsilon(0.5, True)
    for stabiliser in (Stabiliser(0.5, is_relative=True), Stabiliser(0.5, is_clipped=True)):
        assert epsilon_rule(stabiliser) == StabilisedEpsilon(stabiliser)
    assert epsilon_rule(Stabiliser(0.5), "ignore") == StabilisedEpsilon(Stabiliser(0.5), "ignore")
    assert epsilon_rule(Stabiliser(0.5), "share") == EpsilonWithSharedBias(Stabiliser(0.5))


# --- Given bounds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [((-2.0,), (1.5,)), ((-1.0, -2.0, 0.0, -0.5), (1.0, 0.5, 2.0, 0.0))])
def test_a_box_of_given_numbers_equals_loops(
    bounds: tuple[tuple[float, ...], tuple[float, ...]], tmp_path: Path
) -> None:
    weights, x = CONVOLUTION.weights(tmp_path), CONVOLUTION.x()
    layer, relevance = CONVOLUTION.build(tmp_path, weights), relevance_for(CONVOLUTION, weights)
    lowest, highest = (
        np.broadcast_to(np.array(numbers).reshape(-1, 1, 1), CONVOLUTION.shape) for numbers in bounds
    )
    expected = oracle.z_box(x, weights[0], relevance, CONVOLUTION.edges(weights), lowest, highest)
    assert_close(apply(ZBoxOfNumbers(*bounds), layer, x, relevance), expected, 2e-5)


def test_a_box_of_given_numbers_needs_no_image() -> None:
    assert ZBox((-1.0,), (1.0,)).needs_bounds
    assert not ZBoxOfNumbers((-1.0,), (1.0,)).needs_bounds


def test_a_box_of_given_numbers_has_one_for_all_or_for_every_channel(tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    assert isinstance(layer, Linear)
    assert ZBoxOfNumbers((-1.0,), (1.0,) * 4).refusal(layer) == ""
    assert ZBoxOfNumbers((-1.0,), (1.0,) * 2).refusal(layer) == (
        "its input has 4 channels, but high has 2 numbers; give one number, or one for every channel"
    )


# --- Max pooling in proportion ----------------------------------------------------------------------------

#: Windows are clipped, and the last row of them has no pixel.
MAX_POOLING = (
    'type: "Pooling" pooling_param { pool: MAX kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 2 pad_w: 1 }'
)
MAX_GEOMETRY = Geometry((2, 3), (3, 2), (0, 1))


@by_quirk
def test_max_pooling_in_proportion_equals_loops(quirk: bool, tmp_path: Path) -> None:
    layer = single_layer(tmp_path, MAX_POOLING, (4, 6, 7))
    x = random_blob((2, 4, 6, 7), 1)
    x[:, 1, :5] = 0
    relevance = random_blob((2, *layer.output_shapes[0]), 2)
    expected = oracle.average_pool_relevance(x, relevance, MAX_GEOMETRY, quirk)
    assert_close(apply(Proportional(quirk), layer, x, relevance), expected, 1e-5)


@by_quirk
def test_max_pooling_in_proportion_loses_to_empty_windows_and_q7(quirk: bool, tmp_path: Path) -> None:
    layer = single_layer(tmp_path, 'type: "Pooling" pooling_param { kernel_size: 1 stride: 2 }', (3, 4, 6))
    x, relevance = np.abs(random_blob((2, 3, 4, 6), 1)), random_blob((2, 3, 3, 4), 2)
    x[1, 0] = 0
    inside = relevance[1, :, :2, :3].astype(np.float64)
    expected = {"padding": float(relevance[1].sum(dtype=np.float64) - inside.sum())}
    if quirk:
        expected["Q7"] = float(inside[0].sum())
    assert expected["padding"] != 0
    assert_losses(losses(Proportional(quirk), layer, x, relevance), expected, 10)


def test_max_pooling_in_proportion_by_hand(tmp_path: Path) -> None:
    body = 'type: "Pooling" pooling_param { pool: MAX kernel_h: 1 kernel_w: 2 stride_h: 1 stride_w: 2 }'
    layer = single_layer(tmp_path, body, (1, 1, 5))
    x = np.array([[[[1, 3, 2, 2, 5]]]], np.float32)
    found = apply(Proportional(False), layer, x, np.array([[[[8, 6, 7]]]], np.float32))
    assert found.reshape(-1).tolist() == [2, 6, 3, 3, 7]


# --- Softplus in place of ReLU ----------------------------------------------------------------------------


def test_softplus_in_place_of_relu_equals_loops(tmp_path: Path) -> None:
    layer = single_layer(tmp_path, 'type: "ReLU"', (4, 3, 5))
    x, relevance = random_blob((2, 4, 3, 5), 1), random_blob((2, 4, 3, 5), 2)
    expected = oracle.softplus_gradient(x, relevance, 10.0)
    assert_close(apply(PassSmoothly(), layer, x, relevance), expected, 1e-6)
    x[0] *= 1e4
    found = apply(PassSmoothly(2.5), layer, x, relevance)
    assert np.isfinite(found).all()


def test_softplus_in_place_of_relu_by_hand(tmp_path: Path) -> None:
    layer = single_layer(tmp_path, 'type: "ReLU"', (3,))
    x = np.array([[0, np.log(3) / 2, -np.log(3) / 2]], np.float32)
    found = apply(PassSmoothly(2.0), layer, x, np.array([[8, 8, 8]], np.float32))
    assert found.tolist() == [pytest.approx([4, 6, 2])]
