"""Deconvolution as a linear layer: every rule against lists of connections, and relevance in a net."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from builders import (
    BY_WINOGRAD,
    DIRECTLY,
    ENGINE,
    WORKSPACE,
    EagerWorkspace,
    assert_close,
    build,
    channels_last,
    conditions,
    from_scores,
    layer_net,
    parse,
    random_blob,
    random_weights,
)
from oracle import Array, Geometry, Real, Shape

from caffe_lrp.compute.window_map import DeconvolutionMap
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.engines.footprint import footprint_of
from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import PANEL
from caffe_lrp.kernels.blobs import Blob, pixels
from caffe_lrp.kernels.passes import copied
from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.convolution import Convolution
from caffe_lrp.layers.deconvolution import Deconvolution
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta
from caffe_lrp.relevance.rules.base import AnyRule, RuleParameters, Seen
from caffe_lrp.relevance.rules.epsilon import Epsilon, EpsilonWithSharedBias
from caffe_lrp.relevance.rules.flat import Flat
from caffe_lrp.relevance.rules.gradients import Gradient
from caffe_lrp.relevance.rules.shared_bias import AlphaBetaWithSharedBias
from caffe_lrp.relevance.rules.signed import SignedRule
from caffe_lrp.relevance.rules.stabiliser import Stabiliser
from caffe_lrp.relevance.rules.w_square import WSquare


@dataclass(frozen=True)
class Case:
    """A deconvolution over one input."""

    name: str
    shape: Shape
    outputs: int
    geometry: Geometry
    groups: int = 1
    has_bias: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def body(self) -> str:
        kernel, stride, _, dilation, _ = self.geometry
        (top, bottom), (left, right) = self.geometry.pads
        fields = [f"num_output: {self.outputs} group: {self.groups} bias_term: {str(self.has_bias).lower()}"]
        fields += [f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}"]
        fields += [f"dilation: {dilation[0]} dilation: {dilation[1]}"]
        if min(bottom, right) < 0:
            fields += [f"pad_h: {top} pad_w: {left} output_pad: {top - bottom} output_pad: {left - right}"]
        elif self.geometry.ends is None:
            fields += [f"pad_h: {top} pad_w: {left}"]
        else:
            fields += [f"pad_t: {top} pad_b: {bottom} pad_l: {left} pad_r: {right}"]
        return f'type: "Deconvolution" convolution_param {{ {" ".join(fields)} }}'

    def weights(self, folder: Path) -> list[Blob]:
        return random_weights(parse(folder, layer_net(self.body, self.shape)), 3)["layer"]

    def build(self, folder: Path, weights: list[Blob] | None = None) -> Deconvolution:
        stored = {"layer": self.weights(folder) if weights is None else weights}
        layer = build(folder, layer_net(self.body, self.shape), stored).layers[0]
        assert isinstance(layer, Deconvolution)
        return layer

    @property
    def edges(self) -> oracle.Edges:
        kernel = (self.shape[0], self.outputs // self.groups, *self.geometry.kernel)
        return oracle.deconvolution_edges(self.shape, kernel, self.geometry, self.groups)

    @property
    def output_shape(self) -> Shape:
        return self.edges.output_shape

    def x(self, sign: str = "both") -> Blob:
        x = random_blob((2, *self.shape), 1)
        x.reshape(-1)[::7] = 0
        return {"both": x, "positive": np.maximum(x, 0), "negative": np.minimum(x, 0)}[sign]

    @property
    def relevance(self) -> Blob:
        return random_blob((2, *self.output_shape), 2)


CASES = [
    Case("rectangular", (4, 3, 6), 5, Geometry((3, 4), (2, 3), (1, 2))),
    Case("without bias", (3, 5, 4), 7, Geometry((4, 2), (3, 2), (2, 0)), has_bias=False),
    Case("three groups", (6, 4, 5), 9, Geometry((2, 3), (3, 2), (0, 1)), 3),
    Case("one channel a group", (5, 3, 4), 5, Geometry((4, 5), (2, 3), (1, 0)), 5),
    Case("one channel a group, without stride", (5, 3, 4), 5, Geometry((2, 3), (1, 1), (0, 1)), 5),
    Case("two outputs for every channel", (3, 5, 4), 6, Geometry((3, 2), (2, 1)), 3),
    Case("two channels for every output", (6, 5, 4), 3, Geometry((3, 2), (1, 2)), 3),
    Case("dilated", (3, 4, 5), 4, Geometry((3, 2), (1, 2), (1, 0), (2, 3))),
    Case("dilated by more than its stride", (4, 5, 3), 6, Geometry((3, 4), (2, 4), (0, 1), (4, 2)), 2),
    Case("3×3 without stride", (4, 5, 7), 6, Geometry((3, 3), (1, 1), (1, 1))),
    Case("pointwise", (6, 4, 5), 4, Geometry((1, 1)), 2),
    Case("outputs that no input reaches", (3, 4, 2), 5, Geometry((1, 2), (3, 4))),
    Case("one pixel", (7, 1, 1), 3, Geometry((5, 4))),
    Case("padding that cuts a window off", (3, 4, 2), 2, Geometry((2, 3), (1, 4), (1, 2))),
    Case("padded unequally", (3, 4, 5), 4, Geometry((3, 4), (2, 1), (1, 0), (1, 2), (0, 2))),
    Case("padded outputs", (4, 3, 6), 2, Geometry((3, 2), (3, 4), (1, 0), (1, 1), (-1, -3)), 2),
    Case("many channels", (LANES + 2, 3, 4), PANEL + 5, Geometry((2, 3), (2, 1))),
]
by_case = pytest.mark.parametrize("case", CASES, ids=str)
by_quirk = pytest.mark.parametrize("quirk", [True, False], ids=["reference", "corrected"])


def bias_of(weights: list[Blob]) -> Blob | None:
    return weights[1] if len(weights) > 1 else None


def apply(
    rule: AnyRule, layer: Deconvolution, x: Blob, relevance: Blob, nonnegative: bool = False,
    workspace: Workspace = WORKSPACE,
) -> Blob:  # fmt: skip
    """Relevance of the input, as the engine asks for it."""
    prepared: Any = rule.prepare(layer, conditions(nonnegative))
    sums = None
    if isinstance(rule, SignedRule):
        sums, output = prepared.map.apply_sums(x, layer.bias, workspace)
    else:
        (output,) = layer.forward([x], workspace)
    seen = Seen((x,) if rule.uses_inputs(layer) else (), (output,) if rule.uses_outputs(layer) else (), sums)
    (handed,) = rule.propagate(layer, prepared, seen, [relevance], workspace)
    return handed


# --- The layer ------------------------------------------------------------------------------------


@by_case
def test_forward_equals_loops(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    layer = case.build(tmp_path, weights)
    assert layer.output_shapes == (case.output_shape,)
    (out,) = layer.forward([case.x()], WORKSPACE)
    assert_close(out, oracle.linear(case.x(), weights[0], bias_of(weights), case.edges), 3e-6)


@by_case
def test_gradient_equals_central_differences(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    (found,) = case.build(tmp_path, weights).gradient([], [], [case.relevance], WORKSPACE)

    def forward(x: Array) -> Array:
        return oracle.linear(x, weights[0], None, case.edges)

    assert_close(found, oracle.central_difference(forward, case.x(), case.relevance), 5e-6)


@by_case
def test_the_order_of_a_blob_in_memory_does_not_matter(case: Case, tmp_path: Path) -> None:
    layer, results = case.build(tmp_path), []
    for x, gradient in (
        (case.x(), case.relevance),
        (channels_last(case.x()).transpose(0, 3, 1, 2), channels_last(case.relevance).transpose(0, 3, 1, 2)),
    ):
        before = x.copy()
        found = [*layer.forward([x], WORKSPACE), *layer.gradient([], [], [gradient], WORKSPACE)]
        results.append([blob.tolist() for blob in found])
        np.testing.assert_array_equal(x, before)
    assert results[0] == results[1]


@by_case
def test_weights_are_rows_by_output_channel(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    layer, stored = case.build(tmp_path, weights), weights[0]
    channels, outputs = case.shape[0] // case.groups, case.outputs // case.groups
    assert layer.weight.shape == (case.outputs, channels, *case.geometry.kernel)
    for group, c, m in np.ndindex(case.groups, channels, outputs):
        found = layer.weight[group * outputs + m, c]
        assert found.tolist() == stored[group * channels + c, m].tolist()


@pytest.mark.slow
@by_case
def test_taps_and_inputs_are_the_most_an_output_sees_but_for_the_border(case: Case, tmp_path: Path) -> None:
    height, width = 9, 8  # large enough that some output is not at the border
    large = Case("", (case.shape[0], height, width), case.outputs, case.geometry, case.groups)
    layer = large.build(tmp_path)
    seen = np.bincount(large.edges.target).max()
    assert layer.fan_in == seen
    assert layer.taps == seen // (case.shape[0] // case.groups)


def test_a_deconvolution_is_a_convolution_to_formulas() -> None:
    """As transposed convolutions are to zennit: formula 100 takes αβ for it."""
    assert issubclass(Deconvolution, Convolution)


# --- Rules ----------------------------------------------------------------------------------------


@by_quirk
@by_case
def test_epsilon_equals_connections(case: Case, quirk: bool, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    found = apply(Epsilon(0.5, quirk), case.build(tmp_path, weights), case.x(), case.relevance)
    expected = oracle.epsilon(case.x(), weights[0], bias_of(weights), case.relevance, case.edges, 0.5, quirk)
    assert_close(found, expected, 1e-5)


@pytest.mark.slow
@by_quirk
@pytest.mark.parametrize("beta", [0.0, 0.75])
@pytest.mark.parametrize("sign", ["both", "positive", "negative"])
@by_case
def test_alpha_beta_equals_connections(
    case: Case, sign: str, beta: float, quirk: bool, tmp_path: Path
) -> None:
    weights, x, rule = case.weights(tmp_path), case.x(sign), AlphaBeta(beta, quirk)
    layer = case.build(tmp_path, weights)
    expected = oracle.alpha_beta(
        x, weights[0], bias_of(weights), case.relevance, case.edges, beta, quirk, case.groups
    )
    assert_close(apply(rule, layer, x, case.relevance), expected, 2e-5)
    if sign == "positive":
        assert_close(apply(rule, layer, x, case.relevance, nonnegative=True), expected, 2e-5)


@by_case
def test_alpha_beta_with_a_shared_bias_equals_connections(case: Case, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    bias = np.zeros(case.outputs, np.float32) if len(weights) == 1 else weights[1]
    expected, _ = oracle.alpha_beta_shared(x, weights[0], bias, case.relevance, case.edges, 0.75, None)
    found = apply(AlphaBetaWithSharedBias(0.75), case.build(tmp_path, weights), x, case.relevance)
    assert_close(found, expected, 2e-5)


@by_case
def test_epsilon_with_a_shared_bias_equals_connections(case: Case, tmp_path: Path) -> None:
    weights, x, edges = case.weights(tmp_path), case.x(), case.edges
    bias = np.zeros(case.outputs, np.float32) if len(weights) == 1 else weights[1]
    z = oracle.linear(x, weights[0], bias, edges)
    quotient = oracle.over_divisor(case.relevance, oracle.stabilised(z, 0.5, False, False, False))
    expected = oracle.epsilon_shared(x, weights[0], bias, quotient, edges, None)
    rule = EpsilonWithSharedBias(Stabiliser(0.5))
    assert_close(apply(rule, case.build(tmp_path, weights), x, case.relevance), expected, 2e-5)


@pytest.mark.parametrize("nonnegative", [True, False], ids=["nonnegative", "any sign"])
@by_case
def test_the_forward_pass_of_alpha_beta_is_that_of_the_layer(
    case: Case, nonnegative: bool, tmp_path: Path
) -> None:
    weights, x = case.weights(tmp_path), case.x("positive" if nonnegative else "both")
    layer = case.build(tmp_path, weights)
    prepared = AlphaBeta(1.0, True).prepare(layer, conditions(nonnegative))
    _, total = prepared.map.apply_sums(x, layer.bias, WORKSPACE)
    assert_close(total, oracle.linear(x, weights[0], bias_of(weights), case.edges), 5e-6)


@by_case
def test_flat_shares_over_the_inputs_that_an_output_sees(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    expected = oracle.shared(case.relevance, np.ones_like(weights[0]), case.edges)
    layer, channels = case.build(tmp_path, weights), case.shape[0] // case.groups
    assert_close(apply(Flat(False), layer, case.x(), case.relevance), expected, 1e-5)
    # By Q6 channels are not counted.
    assert_close(apply(Flat(True), layer, case.x(), case.relevance), channels * expected, 1e-5)


@by_case
def test_w_square_shares_over_the_inputs_that_an_output_sees(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    squares = np.square(weights[0], dtype=np.float64)
    found = apply(WSquare(), case.build(tmp_path, weights), case.x(), case.relevance)
    assert_close(found, oracle.shared(case.relevance, squares, case.edges), 1e-5)


@pytest.mark.parametrize("rule", [Flat(False), WSquare()], ids=["flat", "w²"])
@by_case
def test_what_is_shared_without_the_input_is_conserved(case: Case, rule: AnyRule, tmp_path: Path) -> None:
    reached = np.zeros(int(np.prod(case.output_shape)))
    reached[case.edges.target] = 1
    wanted = (case.relevance.reshape(2, -1) * reached).sum(axis=1)
    found = apply(rule, case.build(tmp_path), case.x(), case.relevance).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@by_case
def test_the_gradient_is_the_adjoint(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    layer = case.build(tmp_path, weights)
    expected = oracle.adjoint(case.relevance, weights[0], case.edges)
    assert_close(apply(Gradient(), layer, case.x(), case.relevance), expected, 5e-6)


@by_case
def test_an_adjoint_of_two_parts_needs_no_factor(case: Case, tmp_path: Path) -> None:
    """Without one there is no sign: what the positive parts get counts."""
    layer = case.build(tmp_path)
    handed = random_blob((2, 2 * case.outputs, *case.output_shape[1:]), 5)
    found, ones = layer.signed_map, np.ones((2, *case.shape), np.float32)
    source = copied(pixels(handed))
    without, positive = found.adjoint(source, None, WORKSPACE), found.adjoint(source, ones, WORKSPACE)
    np.testing.assert_array_equal(without, positive)


@by_case
def test_threads_do_not_change_a_bit(case: Case, tmp_path: Path) -> None:
    layer, x, results = case.build(tmp_path), case.x(), []
    for threads in (1, 3):
        with EagerWorkspace(threads) as workspace:
            found = [*layer.forward([x], workspace)]
            for rule in (Epsilon(0.5, True), AlphaBeta(1.0, True), Flat(True), WSquare(), Gradient()):
                found.append(apply(rule, layer, x, case.relevance, workspace=workspace))
            results.append([blob.tolist() for blob in found])
    assert results[0] == results[1]


def test_sums_are_formed_directly_whatever_the_method(tmp_path: Path) -> None:
    case = CASES[9]
    assert case.name == "3×3 without stride"
    layer, x = case.build(tmp_path), case.x()
    assert isinstance(layer.own_map, DeconvolutionMap)
    found, *others = (
        [
            layer.forward([x], workspace)[0].tolist(),
            apply(Epsilon(0.5, True), layer, x, case.relevance, workspace=workspace).tolist(),
        ]
        for workspace in (DIRECTLY, WORKSPACE, BY_WINOGRAD)
    )
    assert all(other == found for other in others)


# --- In a net -------------------------------------------------------------------------------------

DECODER = """
name: "decoder" input: "data" input_shape { dim: 2 dim: 3 dim: 7 dim: 9 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 stride: 2 bias_term: false } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "deconv" type: "Deconvolution" bottom: "conv" top: "deconv" convolution_param {
  num_output: 4 kernel_h: 3 kernel_w: 2 stride: 2 pad_h: 1 pad_w: 0 group: 2 bias_term: false } }
layer { name: "relu2" type: "ReLU" bottom: "deconv" top: "deconv" }
layer { name: "fc" type: "InnerProduct" bottom: "deconv" top: "fc"
  inner_product_param { num_output: 5 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
CLASSES, FC = [[3], [1]], 4


def walk(weights: dict[str, list[Blob]], x: Real, formula: int | str) -> tuple[Array, Array]:
    """Scores of `DECODER` and relevance of its input in float64.

    By formula 0, 2, 11 or 100 with quirks corrected, ε 0.01 and β 0.5.
    """
    conv, deconv, fc = (weights[name][0] for name in ("conv", "deconv", "fc"))
    to_hidden = oracle.convolution_edges((3, 7, 9), conv.shape, Geometry((3, 3), (2, 2)), 1)
    to_wide = oracle.deconvolution_edges((6, 3, 4), deconv.shape, Geometry((3, 2), (2, 2), (1, 0)), 2)
    to_scores = oracle.inner_product_edges((4, 5, 8), 5)
    hidden = oracle.linear(x, conv, None, to_hidden)
    wide = oracle.linear(np.maximum(hidden, 0), deconv, None, to_wide)
    scores = oracle.linear(np.maximum(wide, 0), fc, None, to_scores)
    seed = np.zeros_like(scores)
    for item, (chosen,) in enumerate(CLASSES):
        seed[item, chosen] = 1 if formula == 11 else scores[item, chosen]
    if formula == 11:
        at_wide = oracle.adjoint(seed, fc, to_scores) * (wide > 0)
        return scores, oracle.adjoint(
            oracle.adjoint(at_wide, deconv, to_wide) * (hidden > 0), conv, to_hidden
        )
    handed = seed
    for number, (below, weight, edges, groups) in enumerate((
        (np.maximum(wide, 0), fc, to_scores, 1),
        (np.maximum(hidden, 0), deconv, to_wide, 2),
        (x.astype(np.float64), conv, to_hidden, 1),
    )):  # fmt: skip
        if formula == 0 or (formula == 100 and number == 0):
            handed = oracle.epsilon(below, weight, None, handed, edges, 0.01, False)
        else:
            handed = oracle.alpha_beta(below, weight, None, handed, edges, 0.5, False, groups)
    return scores, handed


@pytest.mark.parametrize("formula", [0, 2, 11, 100])
def test_relevance_passes_a_net_with_a_deconvolution(formula: int | str, tmp_path: Path) -> None:
    weights = random_weights(parse(tmp_path, DECODER), 1)
    net, x = build(tmp_path, DECODER, weights), random_blob((2, 3, 7, 9), 2)
    parameters = RuleParameters(epsilon=0.01, beta=0.5, switch_layer=-1, quirks=CORRECTED)
    plan = resolve_plan(net, formula, parameters, FC, 0)
    forward = ENGINE.forward(net, [plan], x)
    scores, expected = walk(weights, x, formula)
    assert_close(forward.activations[plan.seeds[plan.start.outputs[0]]], scores, 1e-5)
    assert_close(from_scores(plan, forward, CLASSES), expected, 1e-4)


@pytest.mark.parametrize("formula", [0, 2, 54, 56, 58, 60, 100, 102, 104])
def test_a_net_with_a_deconvolution_conserves_relevance(formula: int | str, tmp_path: Path) -> None:
    """Weights are positive, so that no part of αβ is without the other where it takes part."""
    weights = {
        name: [np.abs(blobs[0])] for name, blobs in random_weights(parse(tmp_path, DECODER), 1).items()
    }
    net, x = build(tmp_path, DECODER, weights), np.abs(random_blob((2, 3, 7, 9), 2))
    parameters = RuleParameters(epsilon=1e-6, beta=0, switch_layer=2, quirks=CORRECTED)
    plan = resolve_plan(net, formula, parameters, FC, 0)
    forward = ENGINE.forward(net, [plan], x)
    scores, _ = walk(weights, x, 0)
    wanted = [scores[item, chosen] for item, (chosen,) in enumerate(CLASSES)]
    found = from_scores(plan, forward, CLASSES).reshape(2, -1).sum(axis=1)
    assert found.tolist() == pytest.approx(wanted, rel=1e-3)


def test_the_footprint_counts_a_deconvolution(tmp_path: Path) -> None:
    net = build(tmp_path, DECODER)
    parameters = RuleParameters(epsilon=0.01, beta=0.5, switch_layer=-1, quirks=CORRECTED)
    layer: Layer = net.layers[2]
    assert layer.type == "Deconvolution"
    plan = resolve_plan(net, 2, parameters, FC, 0)
    weights = sum(blob.size for each in net.layers for blob in each.weights)
    # Its weights once more for the forward pass, and twice, twice more packed, for αβ.
    derived = layer.weights[0].size * (1 + 2 * 3)
    assert footprint_of(net, [plan]).fixed >= 4 * (weights + derived)
