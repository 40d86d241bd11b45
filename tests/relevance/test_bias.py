"""Biases that count in the sums of a rule, are ignored, or are shared among the inputs of an output."""

from pathlib import Path

import numpy as np
import oracle
import pytest
from builders import assert_close, random_blob, single_layer
from test_conservation_report import assert_losses, losses
from test_rules import CASES, Case, apply, bias_of, by_case, relevance_for

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta, ZPlus
from caffe_lrp.relevance.rules.base import AnyRule
from caffe_lrp.relevance.rules.epsilon import EpsilonWithSharedBias, StabilisedEpsilon
from caffe_lrp.relevance.rules.gamma import Gamma, Gamma2019
from caffe_lrp.relevance.rules.shared_bias import AlphaBetaWithSharedBias
from caffe_lrp.relevance.rules.stabiliser import Stabiliser

ONE_OUTPUT = 'type: "InnerProduct" inner_product_param { num_output: 1 }'
HALF = Stabiliser(0.5)


def by_hand(rule: AnyRule, weight: list[float], bias: float, folder: Path) -> list[float]:
    """What a rule makes of R = 1 at the only output of an inner product whose inputs are 1."""
    case = Case("", ONE_OUTPUT, (len(weight),))
    layer = case.build(folder, [np.array([weight], np.float32), np.array([bias], np.float32)])
    found = apply(rule, layer, np.ones((1, len(weight)), np.float32), np.ones((1, 1), np.float32))
    return [float(number) for number in found[0]]


# --- Ignored ----------------------------------------------------------------------------------------------


@by_case
def test_rules_that_ignore_the_bias_equal_loops_without_one(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    layer, relevance = case.build(tmp_path, weights), relevance_for(case, weights)
    given = weights[0], None, relevance, case.edges(weights)
    x = case.x()
    for rule, expected in (
        (AlphaBeta(0.75, True, bias="ignore"), oracle.alpha_beta(x, *given, 0.75, True, case.groups)),
        (ZPlus(0.0, False, bias="ignore"), oracle.alpha_beta(x, *given, 0.0, False, case.groups)),
        (Gamma(0.25, bias="ignore"), oracle.gamma(x, *given, 0.25)),
        (StabilisedEpsilon(HALF, "ignore"), oracle.epsilon(x, *given, 0.5, False)),
    ):
        assert_close(apply(rule, layer, x, relevance), expected, 2e-5)
        assert losses(rule, layer, x, relevance).get("bias", 0.0) == 0


def test_z_plus_without_bias_is_excitation_backpropagation(tmp_path: Path) -> None:
    # Of w⁺ alone, 3 and 1: Zhang et al. 2016.
    assert by_hand(ZPlus(0.0, True, bias="ignore"), [3, -5, 1], 100, tmp_path) == [0.75, 0, 0.25]


# --- Shared -----------------------------------------------------------------------------------------------


def products_of_output(case: Case, weights: list[Blob]) -> int:
    """K, padding included."""
    return int(weights[0][0].size)


def test_alpha_beta_shares_a_bias_before_products_are_split_by_sign(tmp_path: Path) -> None:
    # Products 1 and −2 become 1.3 and −1.7.
    assert by_hand(AlphaBetaWithSharedBias(1.0), [1, -2], 0.6, tmp_path) == pytest.approx([2, -1])
    assert by_hand(AlphaBeta(1.0, False), [1, -2], 0.6, tmp_path) == pytest.approx([1.25, -1])


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.25])
@by_case
def test_alpha_beta_with_a_shared_bias_equals_loops(case: Case, beta: float, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    weights[0][1] = np.abs(weights[0][1])  # so that some outputs lack products of one sign
    x[1].reshape(-1)[: x[1].size // 2] = 0
    bias = bias_of(weights)
    layer, relevance = case.build(tmp_path, weights), relevance_for(case, weights)
    shared = np.zeros(len(weights[0])) if bias is None else bias
    count = products_of_output(case, weights)
    expected, lost = oracle.alpha_beta_shared(
        x, weights[0], shared, relevance, case.edges(weights), beta, count
    )
    rule = AlphaBetaWithSharedBias(beta)
    assert_close(apply(rule, layer, x, relevance), expected, 2e-5)
    assert_losses(losses(rule, layer, x, relevance), lost, float(np.abs(expected).sum()))


@by_case
def test_epsilon_with_a_shared_bias_equals_loops(case: Case, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    layer, relevance, edges = case.build(tmp_path, weights), relevance_for(case, weights), case.edges(weights)
    bias = bias_of(weights)
    divisor = oracle.stabilised(oracle.linear(x, weights[0], bias, edges), 0.5, False, False, False)
    shared, count = np.zeros(len(weights[0])) if bias is None else bias, products_of_output(case, weights)
    quotient = oracle.over_divisor(relevance, divisor)
    expected = oracle.epsilon_shared(x, weights[0], shared, quotient, edges, count)
    assert_close(apply(EpsilonWithSharedBias(HALF), layer, x, relevance), expected, 2e-5)


@pytest.mark.parametrize(
    "rule", [EpsilonWithSharedBias(Stabiliser(0.0)), AlphaBetaWithSharedBias(1.0)], ids=repr
)
def test_a_shared_bias_takes_nothing_where_there_is_no_padding(rule: AnyRule, tmp_path: Path) -> None:
    body = 'type: "Convolution" convolution_param { num_output: 6 kernel_h: 2 kernel_w: 3 group: 2 }'
    layer = single_layer(tmp_path, body, (4, 5, 7))
    x, relevance = random_blob((2, 4, 5, 7), 1), random_blob((2, *layer.output_shapes[0]), 2)
    handed, lost = apply(rule, layer, x, relevance)[1], losses(rule, layer, x, relevance)
    assert {cause for cause, amount in lost.items() if amount} <= {"no_positive", "no_negative"}
    expected = float(relevance[1].sum()) - sum(lost.values())
    assert float(handed.sum()) == pytest.approx(expected, abs=1e-5 * float(np.abs(handed).sum()))


@pytest.mark.parametrize("rule", [EpsilonWithSharedBias(HALF), AlphaBetaWithSharedBias(0.5)], ids=repr)
def test_inner_products_share_a_bias_at_every_position(rule: AnyRule, tmp_path: Path) -> None:
    layer = single_layer(tmp_path, 'type: "InnerProduct" inner_product_param { num_output: 5 axis: 2 }',
                         (3, 4, 2))  # fmt: skip
    alone = Case("", ONE_OUTPUT.replace("1", "5"), (4, 2)).build(tmp_path, list(layer.weights))
    x, relevance = random_blob((2, 3, 4, 2), 1), random_blob((2, 3, 5), 2)
    found = apply(rule, layer, x, relevance)
    for position in range(3):
        parts = (np.ascontiguousarray(blob[:, position]) for blob in (x, relevance))
        expected = apply(rule, alone, *parts)
        assert_close(found[:, position], expected.astype(np.float64), 1e-6)


def test_layers_without_a_bias_share_none(tmp_path: Path) -> None:
    case = CASES[-1]
    layer, x = case.build(tmp_path), case.x()
    relevance = random_blob((2, 5), 2)
    found = apply(AlphaBetaWithSharedBias(1.0), layer, x, relevance)
    assert_close(found, apply(AlphaBeta(1.0, False), layer, x, relevance).astype(np.float64), 2e-6)


# --- Any α ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [-0.25, -1.0, -1.5])
@by_case
def test_alpha_below_1_equals_loops(case: Case, beta: float, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    layer, relevance = case.build(tmp_path, weights), relevance_for(case, weights)
    expected = oracle.alpha_beta(
        x, weights[0], bias_of(weights), relevance, case.edges(weights), beta, False, case.groups
    )
    assert_close(apply(AlphaBeta(beta, False), layer, x, relevance), expected, 2e-5)


def test_alpha_below_1_gives_negative_products_relevance_of_the_same_sign(tmp_path: Path) -> None:
    # α = 0.75 over 3 and 1, and 0.25 over −5.
    assert by_hand(AlphaBeta(-0.25, True), [3, -5, 1], 0, tmp_path) == pytest.approx([0.5625, 0.25, 0.1875])


# --- The older γ ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["count", "ignore"])
@by_case
def test_gamma_of_2019_equals_loops(case: Case, bias: str, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    layer, relevance = case.build(tmp_path, weights), relevance_for(case, weights)
    own = bias_of(weights) if bias == "count" else None
    favoured = [each + 0.25 * np.maximum(each, 0) for each in (weights[0], own) if each is not None]
    expected = oracle.epsilon(
        x, favoured[0], favoured[1] if len(favoured) > 1 else None, relevance, case.edges(weights), 0.5, False
    )
    rule = Gamma2019(0.25, HALF, "count" if bias == "count" else "ignore")
    assert_close(apply(rule, layer, x, relevance), expected, 2e-5)


def test_gamma_of_2019_is_the_newer_one_where_nothing_is_negative(tmp_path: Path) -> None:
    older = by_hand(Gamma2019(1.0, Stabiliser(0.0)), [3, -1], 1, tmp_path)
    # (3 + 3) / (6 − 1 + 2), and −1 / 7.
    assert older == pytest.approx([6 / 7, -1 / 7])
    assert by_hand(Gamma(1.0), [3, -1], 1, tmp_path) == pytest.approx(older)


def test_gamma_of_2019_favours_positive_weights_also_for_outputs_below_0(tmp_path: Path) -> None:
    # z = −3: here 2 + 2 over 4 − 5, there 2 over 2 − 10.
    assert by_hand(Gamma2019(1.0, Stabiliser(0.0)), [2, -5], 0, tmp_path) == pytest.approx([-4, 5])
    assert by_hand(Gamma(1.0), [2, -5], 0, tmp_path) == pytest.approx([-0.25, 1.25])
