"""Every relevance rule against its slow version, and every quirk by name, on and off."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from builders import (
    BY_WINOGRAD,
    WORKSPACE,
    EagerWorkspace,
    Weights,
    assert_close,
    build,
    conditions,
    layer_net,
    parse,
    random_blob,
    random_weights,
)
from numpy.typing import NDArray
from oracle import Geometry, Lrn, Shape

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Layer
from caffe_lrp.layers.linear import Linear
from caffe_lrp.relevance.passage import Passage
from caffe_lrp.relevance.plan import Step
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta
from caffe_lrp.relevance.rules.base import AnyRule, Seen
from caffe_lrp.relevance.rules.epsilon import Epsilon, EpsilonWithSharedBias, StabilisedEpsilon
from caffe_lrp.relevance.rules.flat import Flat
from caffe_lrp.relevance.rules.gamma import Gamma, Gamma2019
from caffe_lrp.relevance.rules.gradients import Backprojection, Gradient, PassGuided, PassPositive
from caffe_lrp.relevance.rules.normalization import TaylorNormalization
from caffe_lrp.relevance.rules.routing import Pass, Route
from caffe_lrp.relevance.rules.shared_bias import AlphaBetaWithSharedBias
from caffe_lrp.relevance.rules.sharing import Proportional
from caffe_lrp.relevance.rules.signed import SignedRule
from caffe_lrp.relevance.rules.softmax import Overwrite
from caffe_lrp.relevance.rules.stabiliser import Stabiliser
from caffe_lrp.relevance.rules.w_square import WSquare
from caffe_lrp.relevance.rules.z_box import ZBox


def apply(
    rule: AnyRule,
    layer: Layer,
    x: Blob,
    relevance: Blob,
    *,
    nonnegative: bool = False,
    is_compared: bool = False,
    workspace: Workspace = WORKSPACE,
) -> Blob:
    """Relevance of the input, the rule given only what it says it looks at."""
    prepared = rule.prepare(layer, conditions(nonnegative, is_compared))
    seen = see(rule, layer, prepared, x, workspace)
    (handed,) = rule.propagate(layer, prepared, seen, [relevance], workspace)
    return handed


def see(rule: AnyRule, layer: Layer, prepared: Any, x: Blob, workspace: Workspace) -> Seen:
    """What a rule looks at of the forward pass, as the engine collects it."""
    outputs: Blobs
    sums: Blob | None = None
    if isinstance(rule, SignedRule):
        assert isinstance(layer, Linear)
        sums, output = prepared.map.apply_sums(x, layer.bias, workspace)
        outputs = (output,)
    else:
        outputs = layer.forward([x], workspace)
    return Seen((x,) if rule.uses_inputs(layer) else (), outputs if rule.uses_outputs(layer) else (), sums)


def passage_of(rule: AnyRule, layer: Layer, x: Blob, relevance: Blob, nonnegative: bool = False) -> Passage:
    """One step, the rule given only what it says it looks at."""
    step = Step(layer, rule, conditions(nonnegative))
    seen = see(rule, layer, step.prepared, x, WORKSPACE)
    handed = rule.propagate(layer, step.prepared, seen, [relevance], WORKSPACE)
    return Passage(step, seen, [relevance], handed, WORKSPACE)


@dataclass(frozen=True)
class Case:
    """A linear layer over one input."""

    name: str
    body: str
    shape: Shape
    groups: int = 1
    geometry: Geometry | None = None

    def weights(self, folder: Path) -> list[Blob]:
        spec = parse(folder, layer_net(self.body, self.shape))
        return random_weights(spec, 3)["layer"]

    def build(self, folder: Path, weights: list[Blob] | None = None) -> Layer:
        stored: Weights = {"layer": self.weights(folder) if weights is None else weights}
        return build(folder, layer_net(self.body, self.shape), stored).layers[0]

    def edges(self, weights: Sequence[Blob]) -> oracle.Edges:
        if self.geometry is None:
            return oracle.inner_product_edges(self.shape, len(weights[0]))
        return oracle.convolution_edges(self.shape, weights[0].shape, self.geometry, self.groups)

    def x(self, sign: str = "both") -> Blob:
        x = random_blob((2, *self.shape), 1)
        x.reshape(-1)[::7] = 0
        return {"both": x, "positive": np.maximum(x, 0), "negative": np.minimum(x, 0)}[sign]


def bias_of(weights: Sequence[Blob]) -> Blob | None:
    return weights[1] if len(weights) > 1 else None


def relevance_for(case: Case, weights: Sequence[Blob]) -> Blob:
    return random_blob((2, *case.edges(weights).output_shape), 2)


RECTANGULAR = (
    'type: "Convolution" convolution_param { num_output: 5 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 '
)
GROUPED = (
    'type: "Convolution" convolution_param { num_output: 6 kernel_h: 2 kernel_w: 3 pad_h: 1 pad_w: 2 '
    "group: 3 "
)
GROUPED_GEOMETRY = Geometry((2, 3), (1, 1), (1, 2))

CONVOLUTION = Case(
    "convolution", RECTANGULAR + "pad_h: 1 pad_w: 0 }", (4, 7, 6), geometry=Geometry((3, 2), (2, 1), (1, 0))
)
GROUPS = Case("grouped convolution", GROUPED + "}", (9, 7, 4), 3, GROUPED_GEOMETRY)
CASES = [
    CONVOLUTION,
    GROUPS,
    Case("grouped convolution without bias", GROUPED + "bias_term: false }", (9, 7, 4), 3, GROUPED_GEOMETRY),
    Case(
        "dilated convolution",
        RECTANGULAR + "dilation: 2 dilation: 3 }",
        (4, 7, 6),
        geometry=Geometry((3, 2), (2, 1), (0, 0), (2, 3)),
    ),
    Case(
        "convolution padded unequally",
        RECTANGULAR + "pad_t: 2 pad_b: 1 pad_r: 3 }",
        (4, 7, 6),
        geometry=Geometry((3, 2), (2, 1), (2, 0), ends=(1, 3)),
    ),
    Case(
        "pointwise convolution",
        'type: "Convolution" convolution_param { num_output: 6 kernel_size: 1 group: 2 }',
        (4, 7, 5),
        2,
        Geometry((1, 1)),
    ),
    Case("inner product", 'type: "InnerProduct" inner_product_param { num_output: 5 }', (4, 3, 6)),
    Case(
        "inner product without bias",
        'type: "InnerProduct" inner_product_param { num_output: 5 bias_term: false }',
        (9,),
    ),
]
#: Rules of linear layers that do not depend on the layer.
RULES: list[AnyRule] = [
    Epsilon(0.5, True),
    StabilisedEpsilon(Stabiliser(0.25, is_relative=True)),
    EpsilonWithSharedBias(Stabiliser(0.5, is_clipped=True)),
    AlphaBeta(1.0, True),
    AlphaBetaWithSharedBias(0.5),
    Gamma(0.25),
    Gamma2019(0.25, Stabiliser(0.5)),
    Flat(True),
    WSquare(),
    Backprojection(),
]
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_quirk = pytest.mark.parametrize("quirk", [True, False], ids=["reference", "corrected"])


def boxed(case: Case) -> ZBox:
    """z^B for the inputs of a case, with a box of its own for every channel."""
    steps = np.arange(case.shape[0])
    return ZBox(tuple((-5 - 0.5 * steps).tolist()), tuple((4 + 0.25 * steps).tolist()))


def boxed_by_loops(case: Case, x: Blob, weights: Sequence[Blob], relevance: Blob) -> oracle.Array:
    rule = boxed(case)
    lowest, highest = (
        np.broadcast_to(np.array(bounds).reshape(-1, *(1,) * (len(case.shape) - 1)), case.shape)
        for bounds in (rule.lowest, rule.highest)
    )
    assert (lowest < x).all()
    assert (x < highest).all()
    return oracle.z_box(x, weights[0], relevance, case.edges(weights), lowest, highest)


# --- Linear layers ----------------------------------------------------------------------------------------


@by_quirk
@by_case
def test_epsilon_equals_loops(case: Case, quirk: bool, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    relevance = relevance_for(case, weights)
    found = apply(Epsilon(0.5, quirk), case.build(tmp_path, weights), case.x(), relevance)
    expected = oracle.epsilon(
        case.x(), weights[0], bias_of(weights), relevance, case.edges(weights), 0.5, quirk
    )
    assert_close(found, expected, 1e-5)


def test_epsilon_divides_by_the_pre_activation_with_its_bias(tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 1 }', (2,))
    layer = case.build(tmp_path, [np.array([[3, -1]], np.float32), np.array([4], np.float32)])
    found = apply(Epsilon(1.0, True), layer, np.array([[2, 1]], np.float32), np.array([[18]], np.float32))
    # z = 6 − 1 + 4 = 9, and ε makes it 10.
    assert found.tolist() == [pytest.approx([6 * 18 / 10, -1 * 18 / 10])]


@pytest.mark.slow
@by_quirk
@pytest.mark.parametrize("beta", [0.0, 1.0, 0.75])
@pytest.mark.parametrize("sign", ["both", "positive", "negative"])
@by_case
def test_alpha_beta_equals_loops(case: Case, sign: str, beta: float, quirk: bool, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x(sign)
    relevance = relevance_for(case, weights)
    found = apply(AlphaBeta(beta, quirk), case.build(tmp_path, weights), x, relevance)
    expected = oracle.alpha_beta(
        x, weights[0], bias_of(weights), relevance, case.edges(weights), beta, quirk, case.groups
    )
    assert_close(found, expected, 2e-5)


@by_quirk
@pytest.mark.parametrize("beta", [0.0, 0.75])
@by_case
def test_alpha_beta_of_inputs_known_not_to_be_negative_equals_loops(
    case: Case, beta: float, quirk: bool, tmp_path: Path
) -> None:
    weights, x = case.weights(tmp_path), case.x("positive")
    layer, relevance = case.build(tmp_path, weights), relevance_for(case, weights)
    found = apply(AlphaBeta(beta, quirk), layer, x, relevance, nonnegative=True)
    expected = oracle.alpha_beta(
        x, weights[0], bias_of(weights), relevance, case.edges(weights), beta, quirk, case.groups
    )
    assert_close(found, expected, 2e-5)
    for_any_sign = apply(AlphaBeta(beta, quirk), layer, x, relevance, nonnegative=False)
    assert_close(found, for_any_sign.astype(np.float64), 2e-6)


WINOGRAD = Case(
    "3×3 convolution", 'type: "Convolution" convolution_param { num_output: 9 kernel_size: 3 pad: 1 }',
    (5, 7, 6), geometry=Geometry((3, 3), pad=(1, 1)),
)  # fmt: skip
WINOGRAD_GROUPS = Case(
    "grouped 3×3 convolution",
    'type: "Convolution" convolution_param { num_output: 6 kernel_size: 3 pad_h: 0 pad_w: 2 group: 2 }',
    (8, 9, 5), 2, Geometry((3, 3), pad=(0, 2)),
)  # fmt: skip


@pytest.mark.parametrize("is_compared", [True, False], ids=["compared", "not compared"])
@pytest.mark.parametrize("nonnegative", [True, False], ids=["nonnegative", "any sign"])
@pytest.mark.parametrize("case", [WINOGRAD, WINOGRAD_GROUPS], ids=lambda case: case.name)
def test_every_rule_equals_loops_by_winograd(
    case: Case, nonnegative: bool, is_compared: bool, tmp_path: Path
) -> None:
    """Ten times the errors of direct summation, see `test_kernels_winograd`, which quotients make larger."""
    weights = case.weights(tmp_path)
    layer, relevance = case.build(tmp_path, weights), relevance_for(case, weights)
    x = case.x("positive" if nonnegative else "both")
    edges, bias, area = case.edges(weights), bias_of(weights), weights[0][0, 0].size
    alpha_beta = oracle.alpha_beta(x, weights[0], bias, relevance, edges, 1.0, True, case.groups)
    expected: list[tuple[AnyRule, oracle.Array]] = [
        (Epsilon(0.5, True), oracle.epsilon(x, weights[0], bias, relevance, edges, 0.5, True)),
        (AlphaBeta(1.0, True), alpha_beta),
        (Flat(True), oracle.flat(relevance, edges, area)),
        (WSquare(), oracle.w_square(relevance, weights[0], edges)),
        (Backprojection(), oracle.adjoint(relevance, weights[0], edges)),
        (Gamma(0.5), oracle.gamma(x, weights[0], bias, relevance, edges, 0.5)),
        (boxed(case), boxed_by_loops(case, x, weights, relevance)),
    ]
    for rule, wanted in expected:
        found = apply(
            rule,
            layer,
            x,
            relevance,
            nonnegative=nonnegative,
            is_compared=is_compared,
            workspace=BY_WINOGRAD,
        )
        assert_close(found, wanted, 1e-4)


@pytest.mark.parametrize("is_compared", [True, False], ids=["compared", "not compared"])
def test_equal_windows_share_by_equal_sums_in_a_box_where_max_pooling_compares(
    is_compared: bool, tmp_path: Path
) -> None:
    """Columns that repeat themselves, but not with the tiles."""
    case = replace(WINOGRAD, shape=(5, 7, 35))
    layer = case.build(tmp_path)
    assert isinstance(layer, Linear)
    x = np.tile(random_blob((1, 5, 7, 7), 1), (1, 1, 1, 5))
    applied = boxed(case).prepare(layer, conditions(is_compared=is_compared))
    sums = np.sum([each.sums(each.part.input(x), BY_WINOGRAD) for each in applied], axis=0)[..., 3:-3]
    assert (sums[..., 7:] == sums[..., :-7]).all() == is_compared


def test_threads_do_not_change_a_bit_of_any_rule(tmp_path: Path) -> None:
    for case in CASES:
        layer, x = case.build(tmp_path), case.x()
        relevance = random_blob((2, *layer.output_shapes[0]), 2)
        for rule in (*RULES, boxed(case)):
            with EagerWorkspace(3) as workspace:
                shared = apply(rule, layer, x, relevance, workspace=workspace)
            assert shared.tolist() == apply(rule, layer, x, relevance).tolist()


def test_alpha_beta_without_the_sums_of_the_forward_pass_is_an_error(tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    assert isinstance(layer, Linear)
    rule = AlphaBeta(1.0, True)
    relevance = random_blob((2, *layer.output_shapes[0]), 2)
    with pytest.raises(ValueError, match="sums of the forward pass"):
        rule.propagate(
            layer, rule.prepare(layer, conditions()), Seen((CONVOLUTION.x(),)), [relevance], WORKSPACE
        )


def test_alpha_beta_by_hand(tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 1 }', (4,))
    layer = case.build(tmp_path, [np.array([[2, -3, 1, -1]], np.float32), np.array([-4], np.float32)])
    x = np.array([[3, 2, -5, -2]], np.float32)
    found = apply(AlphaBeta(1.0, True), layer, x, np.array([[120]], np.float32))
    # Products 6, −6, −5, 2: p = 8, n = −11 − 4 = −15.
    assert found.tolist() == [pytest.approx([2 * 6 / 8 * 120, -6 / 15 * 120, -5 / 15 * 120, 2 * 2 / 8 * 120])]


def test_alpha_beta_with_beta_zero_hands_on_positive_parts_only(tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 1 bias_term: false }', (3,))
    layer = case.build(tmp_path, [np.array([[2, -3, 1]], np.float32)])
    found = apply(AlphaBeta(0.0, True), layer, np.array([[3, 2, 4]], np.float32), np.array([[5]], np.float32))
    assert found.tolist() == [[3, 0, 2]]


def test_alpha_beta_skips_terms_whose_sum_is_zero(tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 3 bias_term: false }', (2,))
    weight = np.array([[1, 3], [-1, -3], [0, 0]], np.float32)
    layer = case.build(tmp_path, [weight])
    x = np.ones((1, 2), np.float32)
    found = apply(AlphaBeta(1.0, True), layer, x, np.array([[8, 16, 32]], np.float32))
    # The first output has no negative part, the second no positive one, the third neither.
    assert found.tolist() == [[2 * 8 / 4 - 16 / 4, 2 * 8 * 3 / 4 - 16 * 3 / 4]]


@by_quirk
@by_case
def test_alpha_beta_of_an_input_of_zeros_is_zero(case: Case, quirk: bool, tmp_path: Path) -> None:
    layer = case.build(tmp_path)
    x = np.zeros((2, *case.shape), np.float32)
    relevance = random_blob((2, *layer.output_shapes[0]), 2)
    assert not apply(AlphaBeta(1.0, quirk), layer, x, relevance).any()


@pytest.mark.parametrize("gamma", [0.25, 3.0])
@pytest.mark.parametrize("sign", ["both", "positive", "negative"])
@by_case
def test_gamma_equals_loops(case: Case, sign: str, gamma: float, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x(sign)
    layer, relevance = case.build(tmp_path, weights), relevance_for(case, weights)
    expected = oracle.gamma(x, weights[0], bias_of(weights), relevance, case.edges(weights), gamma)
    assert_close(apply(Gamma(gamma), layer, x, relevance), expected, 2e-5)
    if sign == "positive":
        assert_close(apply(Gamma(gamma), layer, x, relevance, nonnegative=True), expected, 2e-5)


@by_case
def test_gamma_of_zero_is_epsilon_without_stabiliser(case: Case, tmp_path: Path) -> None:
    layer = case.build(tmp_path)
    relevance = relevance_for(case, layer.weights)
    expected = apply(Epsilon(0.0, False), layer, case.x(), relevance).astype(np.float64)
    assert_close(apply(Gamma(0.0), layer, case.x(), relevance), expected, 1e-4)


def test_gamma_by_hand(tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 2 }', (3,))
    weight = np.array([[2, -3, 1], [-2, 1, 1]], np.float32)
    layer = case.build(tmp_path, [weight, np.array([4, -2], np.float32)])
    x = np.array([[3, 2, -1]], np.float32)
    found = apply(Gamma(0.5), layer, x, np.array([[90, 150]], np.float32))
    # Products 6, −6, −1 and bias 4: z = 3, and half of 10 makes it 8. Products −6, 2, −1 and bias −2:
    # z = −7, and half of −9 makes it −11.5.
    first, second = 90 / 8, 150 / -11.5
    expected = [1.5 * 6 * first - 1.5 * 6 * second, -6 * first + 2 * second, -first - 1.5 * second]
    assert found.tolist() == [pytest.approx(expected, rel=1e-5)]


def test_gamma_of_nonnegative_inputs_counts_positive_weights_more(tmp_path: Path) -> None:
    """As Montavon et al. 2019 have it: ``w + γw⁺`` in the place of ``w``, for outputs above 0."""
    layer, x = CONVOLUTION.build(tmp_path), CONVOLUTION.x("positive")
    relevance = np.where(layer.forward([x], WORKSPACE)[0] > 0, relevance_for(CONVOLUTION, layer.weights), 0)
    favoured = [(blob + 0.3 * np.maximum(blob, 0)).astype(np.float32) for blob in layer.weights]
    expected = apply(Epsilon(0.0, False), CONVOLUTION.build(tmp_path, favoured), x, relevance)
    assert (relevance != 0).any()
    assert_close(apply(Gamma(0.3), layer, x, relevance, nonnegative=True), expected.astype(np.float64), 1e-5)


def test_gamma_without_the_sums_of_the_forward_pass_is_an_error(tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    assert isinstance(layer, Linear)
    relevance, rule = relevance_for(CONVOLUTION, layer.weights), Gamma(0.25)
    with pytest.raises(ValueError, match="γ needs the sums of the forward pass"):
        rule.propagate(
            layer, rule.prepare(layer, conditions()), Seen((CONVOLUTION.x(),)), [relevance], WORKSPACE
        )


def weights_without_biases(case: Case, folder: Path) -> list[Blob]:
    weight, *biases = case.weights(folder)
    return [weight, *map(np.zeros_like, biases)]


@pytest.mark.parametrize("nonnegative", [True, False])
@by_case
def test_gamma_conserves_without_biases(case: Case, nonnegative: bool, tmp_path: Path) -> None:
    weights = weights_without_biases(case, tmp_path)
    layer, x = case.build(tmp_path, weights), np.abs(case.x()) if nonnegative else case.x()
    relevance = relevance_for(case, weights)
    reached = np.where(layer.forward([x], WORKSPACE)[0] != 0, relevance, 0)
    found = apply(Gamma(0.25), layer, x, relevance, nonnegative=nonnegative)
    assert conserved(found, reached) < 1e-4


@by_case
def test_z_plus_conserves_without_biases_where_something_is_positive(case: Case, tmp_path: Path) -> None:
    weights = weights_without_biases(case, tmp_path)
    layer, x, relevance = case.build(tmp_path, weights), case.x(), relevance_for(case, weights)
    edges = case.edges(weights)
    positive = [oracle.alpha_beta_sums(item, weights[0], None, edges, False, 1)[0] for item in x]
    found = apply(AlphaBeta(0.0, False), layer, x, relevance)
    assert conserved(found, np.where(np.array(positive) > 0, relevance, 0)) < 1e-4


@by_case
def test_z_box_conserves_with_biases_and_where_windows_hang_over_the_border(
    case: Case, tmp_path: Path
) -> None:
    layer = case.build(tmp_path)
    relevance = relevance_for(case, layer.weights)
    has_inputs = [case.edges(layer.weights).target.tolist().count(at) > 0 for at in range(relevance[0].size)]
    reached = np.where(np.array(has_inputs).reshape(relevance[0].shape), relevance, 0)
    assert conserved(apply(boxed(case), layer, case.x(), relevance), reached) < 1e-5


def conserved(found: Blob, relevance: NDArray[Any]) -> float:
    """By how much the sums of items differ, relative to the sum of absolute values."""
    sums = [blob.reshape(len(blob), -1).sum(axis=1, dtype=np.float64) for blob in (found, relevance)]
    return float(np.abs(sums[0] - sums[1]).max() / np.abs(relevance).sum())


@by_case
def test_z_box_equals_loops(case: Case, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    relevance = relevance_for(case, weights)
    found = apply(boxed(case), case.build(tmp_path, weights), x, relevance)
    assert_close(found, boxed_by_loops(case, x, weights, relevance), 2e-5)


def test_z_box_by_hand(tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 1 }', (2, 1, 2))
    layer = case.build(tmp_path, [np.array([[1, -2, 3, 0]], np.float32), np.array([100], np.float32)])
    x = np.array([2, 1, -1, 5], np.float32).reshape(1, 2, 1, 2)
    found = apply(ZBox((-1.0, -4.0), (3.0, 6.0)), layer, x, np.array([[32]], np.float32))
    # (2 + 1)·1, (1 − 3)·−2, (−1 + 4)·3 and nothing, which sum to 16; the bias does not count.
    assert found.reshape(-1).tolist() == [6, 8, 18, 0]


def test_z_box_gives_nothing_for_outputs_without_weights(tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 2 bias_term: false }', (2,))
    layer = case.build(tmp_path, [np.array([[0, 0], [1, 1]], np.float32)])
    found = apply(ZBox((-1.0,), (1.0,)), layer, np.zeros((1, 2), np.float32), np.array([[7, 4]], np.float32))
    assert found.tolist() == [[2, 2]]


@pytest.mark.parametrize("bounds", [(), (1.0,) * 5])
def test_a_box_that_does_not_fit_the_input_is_an_error(bounds: tuple[float, ...], tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    assert isinstance(layer, Linear)
    with pytest.raises(ValueError, match=rf"bounds of {len(bounds)} channels do not fit .*\(4, 7, 6\)"):
        ZBox(bounds, bounds).prepare(layer, conditions())


@by_quirk
@by_case
def test_flat_equals_loops(case: Case, quirk: bool, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    relevance = relevance_for(case, weights)
    fan_in = weights[0][0].size
    area = fan_in if case.geometry is None else case.geometry.kernel[0] * case.geometry.kernel[1]
    expected = oracle.flat(relevance, case.edges(weights), area if quirk else fan_in)
    found = apply(Flat(quirk), case.build(tmp_path, weights), case.x(), relevance)
    assert_close(found, expected, 1e-5)


@by_case
def test_w_square_equals_loops(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    relevance = relevance_for(case, weights)
    found = apply(WSquare(), case.build(tmp_path, weights), case.x(), relevance)
    assert_close(found, oracle.w_square(relevance, weights[0], case.edges(weights)), 1e-5)


def test_w_square_drops_what_goes_to_outputs_without_weights(tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 2 bias_term: false }', (2,))
    layer = case.build(tmp_path, [np.array([[0, 0], [1, -3]], np.float32)])
    found = apply(WSquare(), layer, np.zeros((1, 2), np.float32), np.array([[7, 20]], np.float32))
    assert found.tolist() == [pytest.approx([2, 18])]


@pytest.mark.parametrize("rule", [Flat(True), Flat(False), WSquare()], ids=["Q6", "flat", "w²"])
@by_case
def test_rules_for_the_lowest_layers_do_not_look_at_the_input(
    case: Case, rule: AnyRule, tmp_path: Path
) -> None:
    layer = case.build(tmp_path)
    assert not rule.uses_inputs(layer)
    assert not rule.uses_outputs(layer)


def test_w_square_loses_what_falls_on_the_padding(tmp_path: Path) -> None:
    body = 'type: "Convolution" convolution_param { num_output: 1 kernel_h: 1 kernel_w: 3 pad_w: 1 pad_h: 0 }'
    case = Case("", body, (1, 1, 2), geometry=Geometry((1, 3), pad=(0, 1)))
    layer = case.build(tmp_path, [np.array([[[[1, 2, 3]]]], np.float32), np.zeros(1, np.float32)])
    found = apply(WSquare(), layer, np.zeros((1, 1, 1, 2), np.float32), np.array([[[[14, 28]]]], np.float32))
    assert found.reshape(-1).tolist() == pytest.approx([4 + 2, 9 + 8])


@pytest.mark.parametrize("rule", [Backprojection(), Gradient()], ids=["Wᵀ R", "gradient"])
@by_case
def test_backprojection_is_the_adjoint(case: Case, rule: AnyRule, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    relevance = relevance_for(case, weights)
    found = apply(rule, case.build(tmp_path, weights), case.x(), relevance)
    assert_close(found, oracle.adjoint(relevance, weights[0], case.edges(weights)), 1e-5)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.title)
@by_case
def test_a_batch_equals_its_items_one_by_one(case: Case, rule: AnyRule, tmp_path: Path) -> None:
    layer, x = case.build(tmp_path), random_blob((3, *case.shape), 1)
    x[0] = np.maximum(x[0], 0)
    relevance = random_blob((3, *layer.output_shapes[0]), 2)
    together = apply(rule, layer, x, relevance)
    alone = [apply(rule, layer, x[i : i + 1], relevance[i : i + 1]) for i in range(3)]
    assert_close(together, np.concatenate(alone), 1e-5)


@pytest.mark.parametrize("rule", [*RULES, boxed(CONVOLUTION)], ids=lambda rule: rule.title)
def test_rules_leave_their_arguments_unchanged(rule: AnyRule, tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    x, relevance = CONVOLUTION.x(), random_blob((2, *layer.output_shapes[0]), 2)
    blobs = [x, relevance, *layer.weights]
    before = [blob.copy() for blob in blobs]
    apply(rule, layer, x, relevance)
    assert [blob.tolist() for blob in blobs] == [blob.tolist() for blob in before]


# --- Quirks, by name --------------------------------------------------------------------------------------


def dead_output(folder: Path) -> tuple[Layer, Blob, Blob]:
    """An inner product whose second pre-activation is 0, with inputs that are not."""
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 2 bias_term: false }', (2,))
    layer = case.build(folder, [np.array([[1, 1], [3, -3]], np.float32)])
    return layer, np.array([[2, 2]], np.float32), np.array([[0, 5]], np.float32)


@pytest.mark.parametrize("epsilon", [0.0, 0.25])
def test_q4_epsilon_leaves_relevance_undivided_where_z_is_zero(epsilon: float, tmp_path: Path) -> None:
    found = apply(Epsilon(epsilon, True), *dead_output(tmp_path))
    assert found.tolist() == [[2 * 3 * 5, 2 * -3 * 5]]


def test_q4_corrected_takes_the_sign_of_zero_as_positive(tmp_path: Path) -> None:
    found = apply(Epsilon(0.25, False), *dead_output(tmp_path))
    assert found.tolist() == [[2 * 3 * 5 / 0.25, 2 * -3 * 5 / 0.25]]


def test_q4_corrected_gives_zero_for_zero_over_zero(tmp_path: Path) -> None:
    layer, x, relevance = dead_output(tmp_path)
    relevance[0, 1] = 0
    assert apply(Epsilon(0.0, False), layer, x, relevance).tolist() == [[0, 0]]


def two_groups(folder: Path) -> tuple[Layer, Blob, Blob]:
    """Two groups of two outputs; every weight and input is 1, the biases are 1, 3, 7 and 15."""
    body = 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 1 group: 2 }'
    case = Case("", body, (2, 1, 1), 2, Geometry((1, 1)))
    layer = case.build(folder, [np.ones((4, 1, 1, 1), np.float32), np.array([1, 3, 7, 15], np.float32)])
    relevance = np.array([8, 16, 32, 64], np.float32).reshape(1, 4, 1, 1)
    return layer, np.ones((1, 2, 1, 1), np.float32), relevance


def test_q5_every_group_uses_the_biases_of_group_0(tmp_path: Path) -> None:
    found = apply(AlphaBeta(0.0, True), *two_groups(tmp_path))
    assert found.reshape(-1).tolist() == [8 / 2 + 16 / 4, 32 / 2 + 64 / 4]


def test_q5_corrected_every_group_uses_its_own_biases(tmp_path: Path) -> None:
    found = apply(AlphaBeta(0.0, False), *two_groups(tmp_path))
    assert found.reshape(-1).tolist() == [8 / 2 + 16 / 4, 32 / 8 + 64 / 16]


def test_q5_does_not_concern_the_forward_pass(tmp_path: Path) -> None:
    layer, x, _ = two_groups(tmp_path)
    assert layer.forward([x], WORKSPACE)[0].reshape(-1).tolist() == [2, 4, 8, 16]


def test_q6_flat_divides_by_the_kernel_area_only(tmp_path: Path) -> None:
    relevance = random_blob((2, 6, 8, 6), 2)
    found = apply(Flat(True), GROUPS.build(tmp_path), GROUPS.x(), relevance)
    # Group 0 sees outputs 0 and 1; the pixel (3, 2) lies in rows 3..4 and columns 2..4 of the output.
    expected = relevance[1, :2, 3:5, 2:5].astype(np.float64).sum() / 6
    assert found[1, :3, 3, 2].tolist() == pytest.approx([expected] * 3, rel=1e-5)


def test_q6_corrected_flat_divides_by_the_channels_of_a_group_too(tmp_path: Path) -> None:
    relevance = random_blob((2, 6, 8, 6), 2)
    found = apply(Flat(False), GROUPS.build(tmp_path), GROUPS.x(), relevance)
    expected = relevance[1, :2, 3:5, 2:5].astype(np.float64).sum() / (6 * 3)
    assert found[1, :3, 3, 2].tolist() == pytest.approx([expected] * 3, rel=1e-5)


@by_quirk
def test_q6_does_not_concern_inner_products(quirk: bool, tmp_path: Path) -> None:
    case = Case("", 'type: "InnerProduct" inner_product_param { num_output: 3 }', (2, 1, 2))
    found = apply(Flat(quirk), case.build(tmp_path), case.x(), np.array([[1, 3, 8], [0, -8, 4]], np.float32))
    assert found.reshape(2, 4).tolist() == [[3] * 4, [-1] * 4]


AVERAGE = (
    'type: "Pooling" pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 '
    "pad_h: 1 pad_w: 0 }"
)
AVERAGE_GEOMETRY = Geometry((2, 3), (2, 1), (1, 0))


def average_layer(folder: Path, body: str, shape: Shape) -> Layer:
    return build(folder, layer_net(body, shape)).layers[0]


@by_quirk
def test_average_pooling_equals_loops(quirk: bool, tmp_path: Path) -> None:
    layer = average_layer(tmp_path, AVERAGE, (3, 7, 6))
    x = np.maximum(random_blob((2, 3, 7, 6), 1), 0)
    x[:, 1, 2:5] = 0
    relevance = random_blob((2, 3, 4, 4), 2)
    found = apply(Proportional(quirk), layer, x, relevance)
    assert_close(found, oracle.average_pool_relevance(x, relevance, AVERAGE_GEOMETRY, quirk), 1e-5)


PAIRS = 'type: "Pooling" pooling_param { pool: AVE kernel_h: 1 kernel_w: 2 stride_h: 1 stride_w: 2 }'
CANCELLING = np.array([[[[3, -3, 1, 3]]]], np.float32)
RECEIVED = np.array([[[[10, 20]]]], np.float32)


def test_q7_windows_that_sum_to_zero_get_their_activations(tmp_path: Path) -> None:
    found = apply(Proportional(True), average_layer(tmp_path, PAIRS, (1, 1, 4)), CANCELLING, RECEIVED)
    assert found.reshape(-1).tolist() == [3, -3, 5, 15]


def test_q7_corrected_windows_that_sum_to_zero_share_equally(tmp_path: Path) -> None:
    found = apply(Proportional(False), average_layer(tmp_path, PAIRS, (1, 1, 4)), CANCELLING, RECEIVED)
    assert found.reshape(-1).tolist() == [5, 5, 5, 15]


@pytest.mark.parametrize("lrn", [Lrn(3, 0.5, 0.75, 2.0), Lrn(5, 0.8, 1.25, 1.0)], ids=["three", "five"])
def test_q8_normalization_uses_the_taylor_rule(lrn: Lrn, tmp_path: Path) -> None:
    body = (
        f'type: "LRN" lrn_param {{ local_size: {lrn.size} alpha: {lrn.alpha} beta: {lrn.beta} k: {lrn.k} }}'
    )
    layer = average_layer(tmp_path, body, (7, 4, 3))
    x, relevance = 2 * random_blob((2, 7, 4, 3), 1), random_blob((2, 7, 4, 3), 2)
    assert_close(
        apply(TaylorNormalization(), layer, x, relevance), oracle.lrn_taylor(x, relevance, lrn), 1e-5
    )


def test_q8_taylor_rule_does_not_conserve(tmp_path: Path) -> None:
    layer = average_layer(tmp_path, 'type: "LRN" lrn_param { local_size: 3 k: 2 }', (7, 4, 3))
    x, relevance = random_blob((2, 7, 4, 3), 1), np.ones((2, 7, 4, 3), np.float32)
    total = float(apply(TaylorNormalization(), layer, x, relevance).sum())
    assert abs(total - relevance.size) > 0.1 * relevance.size


def test_q9_softmax_overwrites_relevance_with_its_output(tmp_path: Path) -> None:
    layer = average_layer(tmp_path, 'type: "Softmax"', (5,))
    x = random_blob((2, 5), 1)
    found = apply(Overwrite(), layer, x, random_blob((2, 5), 2))
    assert_close(found, oracle.softmax(x), 1e-6)


# --- Neurons and routers ------------------------------------------------------------------------------------


def test_pass_hands_relevance_on_unchanged(tmp_path: Path) -> None:
    layer = average_layer(tmp_path, 'type: "ReLU" relu_param { negative_slope: 0.1 }', (4, 3, 5))
    relevance = random_blob((2, 4, 3, 5), 2)
    assert apply(Pass(), layer, random_blob((2, 4, 3, 5), 1), relevance).tolist() == relevance.tolist()


def test_deconvolution_passes_positive_relevance_only(tmp_path: Path) -> None:
    layer = average_layer(tmp_path, 'type: "ReLU"', (4, 3, 5))
    x, relevance = random_blob((2, 4, 3, 5), 1), random_blob((2, 4, 3, 5), 2)
    assert apply(PassPositive(), layer, x, relevance).tolist() == oracle.positive(relevance).tolist()


def test_guided_backpropagation_passes_positive_relevance_of_positive_inputs(tmp_path: Path) -> None:
    layer = average_layer(tmp_path, 'type: "ReLU"', (4, 3, 5))
    x, relevance = random_blob((2, 4, 3, 5), 1), random_blob((2, 4, 3, 5), 2)
    assert apply(PassGuided(), layer, x, relevance).tolist() == oracle.guided(x, relevance).tolist()


def test_gradient_of_a_leaky_relu_keeps_its_slope(tmp_path: Path) -> None:
    layer = average_layer(tmp_path, 'type: "ReLU" relu_param { negative_slope: 0.25 }', (2,))
    x = np.array([[-3, 3]], np.float32)
    assert apply(Gradient(), layer, x, np.array([[8, 8]], np.float32)).tolist() == [[2, 8]]


def test_max_pooling_routes_to_the_first_maximum(tmp_path: Path) -> None:
    body = 'type: "Pooling" pooling_param { pool: MAX kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 }'
    layer = average_layer(tmp_path, body, (3, 5, 8))
    x = np.round(random_blob((2, 3, 5, 8), 1))
    relevance = random_blob((2, 3, 4, 4), 2)
    expected = oracle.max_pool_route(x, relevance, Geometry((2, 3), (1, 2)))
    assert_close(apply(Route(), layer, x, relevance), expected, 1e-6)


def test_a_rule_is_prepared_from_the_weights_alone(tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    assert isinstance(layer, Linear)
    rule = AlphaBeta(1.0, True)
    prepared = rule.prepare(layer, conditions())
    relevance = random_blob((2, *layer.output_shapes[0]), 2)
    for seed in (5, 6):
        x = random_blob((2, *CONVOLUTION.shape), seed)
        seen = see(rule, layer, prepared, x, WORKSPACE)
        (again,) = rule.propagate(layer, prepared, seen, [relevance], WORKSPACE)
        assert again.tolist() == apply(rule, layer, x, relevance).tolist()
