"""Whole nets under every formula, against the walker of the oracle; plans and what they refuse."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import oracle
import pytest
from builders import (
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    EagerEngine,
    assert_close,
    build,
)
from oracle import Array
from oracle_walker import Options
from twins import CLASSES, CODES, FC2, WINOGRAD, WINOGRAD_INDICES, Twins

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ConfigError, PlanError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Layer
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.formulas import FORMULAS, composite_for, find_formula, needs_switch_layer
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

SWITCHED = (54, 56, 58, 60, 102, 104, 114)
PROB = INCEPTION_INDICES["prob"]

by_mode = pytest.mark.parametrize("corrected", [False, True], ids=["reference", "corrected"])


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    return Twins(tmp_path, INCEPTION, INCEPTION_INDICES, INCEPTION_SHAPE)


# --- Every formula ------------------------------------------------------------------------------------------


def test_the_table_has_exactly_the_numbers_tested_here() -> None:
    assert tuple(code for code in FORMULAS if isinstance(code, int)) == CODES


@by_mode
@pytest.mark.parametrize("code", CODES)
def test_whole_net_equals_the_walker(code: int, corrected: bool, twins: Twins) -> None:
    options = Options(epsilon=0.1, beta=1.0, switch=8, corrected=corrected)
    expected = twins.walker.relevance(code, options, "fc2", CLASSES, first="conv1")
    assert np.abs(expected).max() > 0
    assert_close(twins.explain(code, options, FC2), expected, 1e-4)


@pytest.mark.slow
@by_mode
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("method", "threads"), [("direct", 3), ("winograd", 1), ("winograd", 3)])
def test_whole_nets_equal_the_walker_by_every_method_and_in_threads(
    code: int, corrected: bool, method: str, threads: int, tmp_path: Path
) -> None:
    nets = [
        (INCEPTION, INCEPTION_INDICES, "fc2", 8),
        (WINOGRAD, WINOGRAD_INDICES, "fc", WINOGRAD_INDICES["conv2"]),
    ]
    for text, indices, start, switch in nets:
        with EagerEngine(threads, method) as engine:
            twins = Twins(tmp_path, text, indices, INCEPTION_SHAPE, engine)
            options = Options(epsilon=0.1, beta=1.0, switch=switch, corrected=corrected)
            expected = twins.walker.relevance(code, options, start, CLASSES, first="conv1")
            found = twins.explain(code, options, indices[start])
        assert_close(found, expected, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("switch", [-1, 4, 5, 8, 9, 16, 17, 18, 19, 20])
@pytest.mark.parametrize("code", SWITCHED)
def test_layers_up_to_the_switch_get_the_lower_rule(code: int, switch: int, twins: Twins) -> None:
    options = Options(epsilon=0.1, beta=0.5, switch=switch)
    expected = twins.walker.relevance(code, options, "fc2", CLASSES, first="conv1")
    assert_close(twins.explain(code, options, FC2), expected, 1e-4)


@pytest.mark.parametrize("code", SWITCHED)
def test_the_switch_layer_itself_counts_as_below(code: int, twins: Twins) -> None:
    fc1 = twins.net.layers[INCEPTION_INDICES["fc1"]]
    lower = {54: "flat", 56: "w²", 58: "flat", 60: "w²", 102: "flat", 104: "w²", 114: "αβ"}[code]
    upper = {54: "ε", 56: "ε", 58: "αβ", 60: "αβ", 102: "ε", 104: "ε", 114: "ε"}[code]
    titles = []
    for switch in (17, 16):
        rule = twins.plan(code, Options(switch=switch), FC2).rule_of(fc1)
        assert rule is not None
        titles.append(rule.title)
    assert titles == [lower, upper]


def test_only_formulas_with_a_switch_say_that_they_need_it() -> None:
    assert tuple(code for code in CODES if needs_switch_layer(composite_for(code))) == SWITCHED


@pytest.mark.parametrize("beta", [0.0, 2.0])
@pytest.mark.parametrize("code", [2, 100])
def test_beta_of_the_formula_reaches_the_rule(code: int, beta: float, twins: Twins) -> None:
    options = Options(epsilon=0.1, beta=beta)
    expected = twins.walker.relevance(code, options, "fc2", CLASSES, first="conv1")
    assert_close(twins.explain(code, options, FC2), expected, 1e-4)


@pytest.mark.parametrize("epsilon", [0.01, 10.0])
def test_epsilon_of_the_formula_reaches_the_rule(epsilon: float, twins: Twins) -> None:
    options = Options(epsilon=epsilon)
    expected = twins.walker.relevance(0, options, "fc2", CLASSES, first="conv1")
    assert_close(twins.explain(0, options, FC2), expected, 1e-4)


@pytest.mark.parametrize("code", [6, 8, 18, 22, 1, -1])
def test_other_formulas_are_errors_that_name_the_supported_ones(code: int) -> None:
    supported = "0, 2, 11, 26, 54, 56, 58, 60, 99, 100, 102, 104, 114, 166"
    with pytest.raises(ConfigError, match=f"formula {code} is not supported; .* one of {supported}"):
        find_formula(code)


# --- Where relevance starts and ends ------------------------------------------------------------------------


@pytest.mark.slow
@by_mode
@pytest.mark.parametrize("code", [0, 2, 11, 26, 100])
@pytest.mark.parametrize(
    ("start", "classes"),
    [
        ("relu_fc1", [[7], [0, 2]]),
        ("fc1", [[7], [0, 2]]),
        ("pool2", [[3], [51, 7]]),
        ("b", [[100, 3], [17]]),
        ("norm1", [[11], [179, 42]]),
    ],
)
def test_relevance_may_start_at_any_layer(
    code: int, corrected: bool, start: str, classes: Sequence[Sequence[int]], twins: Twins
) -> None:
    options = Options(epsilon=0.1, beta=1.0, corrected=corrected)
    expected = twins.walker.relevance(code, options, start, classes, first="conv1")
    assert_close(twins.explain(code, options, INCEPTION_INDICES[start], classes=classes), expected, 1e-4)


def test_score_of_a_start_layer_is_the_one_after_layers_in_place(twins: Twins) -> None:
    index = INCEPTION_INDICES["fc1"]
    plan = twins.plan(0, Options(epsilon=0.1), index, index - 1)
    before, after = twins.net.layers[index].outputs[0], twins.net.layers[index + 1].outputs[0]
    assert plan.seeds == {before: after}
    assert after in plan.kept_values


@by_mode
@pytest.mark.parametrize("code", [0, 26, 100])
def test_q9_a_start_at_the_softmax(code: int, corrected: bool, twins: Twins) -> None:
    options = Options(epsilon=0.1, beta=1.0, corrected=corrected)
    expected = twins.walker.relevance(code, options, "prob", CLASSES, first="conv1")
    assert_close(twins.explain(code, options, PROB), expected, 1e-4)


def test_q9_the_softmax_replaces_the_chosen_classes_by_all(twins: Twins) -> None:
    found = twins.explain(0, Options(epsilon=0.1), PROB, PROB - 1)
    other = twins.explain(0, Options(epsilon=0.1), PROB, PROB - 1, classes=[[1], [2]])
    assert found.tolist() == other.tolist()


def test_q9_corrected_the_softmax_passes_the_probability_of_the_class_on(twins: Twins) -> None:
    found = twins.explain(0, Options(epsilon=1e-7, corrected=True), PROB, FC2, classes=[[3], [0]])
    probabilities = twins.walker.values[-1]
    biases = twins.weights["fc2"][1]
    logits = twins.walker.values[-2]
    for item, chosen in ((0, 3), (1, 0)):
        share = probabilities[item, chosen] * (1 - biases[chosen] / logits[item, chosen])
        assert float(found[item].sum()) == pytest.approx(share, rel=1e-4)


def test_gradient_of_a_start_at_the_softmax_passes_its_jacobian(twins: Twins) -> None:
    expected = twins.walker.relevance(11, Options(), "prob", CLASSES, first="fc1")
    assert_close(twins.explain(11, Options(), PROB, INCEPTION_INDICES["fc1"]), expected, 1e-4)


@by_mode
@pytest.mark.parametrize("code", [0, 11])
def test_a_start_layer_with_several_tops_is_seeded_at_each(code: int, corrected: bool, twins: Twins) -> None:
    options, classes = Options(epsilon=0.1, corrected=corrected), [[11], [179, 42]]
    expected = twins.walker.relevance(code, options, "norm1", classes, first="conv1", copies=3)
    found = twins.explain(code, options, INCEPTION_INDICES["norm1_norm1_0_split"], classes=classes)
    assert_close(found, expected, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 2, 11, 99])
@pytest.mark.parametrize(
    "first", ["relu1", "pool1", "norm1", "a", "b_reduce", "relu_b", "c", "joined", "fc1"]
)
def test_relevance_of_the_first_bottom_of_an_upper_layer(code: int, first: str, twins: Twins) -> None:
    options = Options(epsilon=0.1, beta=1.0)
    expected = twins.walker.relevance(code, options, "fc2", CLASSES, first=first)
    assert_close(twins.explain(code, options, FC2, INCEPTION_INDICES[first]), expected, 1e-4)


@pytest.mark.parametrize("code", [0, 11])
def test_relevance_below_a_split_is_the_sum_of_its_branches(code: int, twins: Twins) -> None:
    options = Options(epsilon=0.1)
    expected = twins.walker.relevance(code, options, "fc2", CLASSES, stop_above="norm1")
    found = twins.explain(code, options, FC2, INCEPTION_INDICES["norm1_norm1_0_split"])
    assert_close(found, expected, 1e-4)


def test_only_relevance_of_the_input_blob_is_an_image(twins: Twins) -> None:
    assert twins.plan(0, Options(), FC2, 0).is_image
    assert not twins.plan(0, Options(), FC2, 1).is_image


def test_classes_must_be_below_the_size_of_the_start_layer(twins: Twins) -> None:
    assert twins.plan(0, Options(), FC2).start_size == 5
    assert twins.plan(0, Options(), INCEPTION_INDICES["norm1_norm1_0_split"]).start_size == 6 * 6 * 5


PARAMETERS = RuleParameters(epsilon=0.1, beta=1.0, switch_layer=2, quirks=REFERENCE)

TAIL = """
input: "data" input_shape { dim: 2 dim: 4 dim: 3 dim: 5 }
layer { name: "low" type: "InnerProduct" bottom: "data" top: "low" inner_product_param { num_output: 6 } }
layer { name: "high" type: "InnerProduct" bottom: "low" top: "high" inner_product_param { num_output: 7 } }
layer { name: "leaky" type: "ReLU" bottom: "high" top: "high" relu_param { negative_slope: 0.5 } }
layer { name: "prob" type: "Softmax" bottom: "high" top: "prob" }
layer { name: "second" type: "Softmax" bottom: "prob" top: "second" }
"""


@pytest.mark.parametrize(
    ("start", "index"), [(-1, 2), (-2, 1), (1, 1), (3, 3)], ids=["softmax", "inner product", "1", "3"]
)
def test_start_layers_by_code_and_by_index(start: int, index: int, tmp_path: Path) -> None:
    plan = resolve_plan(build(tmp_path, TAIL), 11, PARAMETERS, start, 0)
    assert plan.start.index == index
    assert [step.layer.index for step in plan.steps] == list(range(index, -1, -1))


@pytest.mark.parametrize("start", [-1, -2])
def test_relevance_starts_at_layers_given_by_code(start: int, twins: Twins) -> None:
    options = Options(epsilon=0.1)
    expected = twins.walker.relevance(0, options, "fc2", CLASSES, first="conv1")
    assert_close(twins.explain(0, options, start), expected, 1e-4)


# --- Gradients --------------------------------------------------------------------------------------------


def test_q3_gradients_are_seeded_with_the_score(twins: Twins) -> None:
    classes = [[3], [0]]
    with_score = twins.explain(11, Options(), FC2, classes=classes)
    with_one = twins.explain(11, Options(corrected=True), FC2, classes=classes)
    scores = twins.walker.values[-2]
    for item, chosen in ((0, 3), (1, 0)):
        assert_close(with_score[item], with_one[item] * scores[item, chosen], 1e-5)


def test_q3_corrected_gradient_is_that_of_the_score(tmp_path: Path) -> None:
    twins = Twins(tmp_path, TAIL, {}, (4, 3, 5))

    def scores(x: Array) -> Array:
        twins.walker.forward(x)
        return twins.walker.values[2]

    expected = oracle.central_difference(scores, twins.batch[1:], np.eye(7)[[2]])
    found = twins.explain(11, Options(corrected=True), 1, classes=[[0], [2]])
    assert_close(found[1:], expected, 1e-5)


@by_mode
def test_99_is_the_norm_over_channels_of_11(corrected: bool, twins: Twins) -> None:
    options = Options(corrected=corrected)
    gradient = twins.explain(11, options, FC2)
    found = twins.explain(99, options, FC2)
    assert found.shape == (2, *INCEPTION_SHAPE)
    assert_close(found, oracle.channel_l2(gradient), 1e-6)


# --- Layers without a rule ----------------------------------------------------------------------------------


def neuron_net(kind: str) -> str:
    return f"""
    input: "data" input_shape {{ dim: 2 dim: 3 dim: 6 dim: 5 }}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
      convolution_param {{ num_output: 4 kernel_h: 3 kernel_w: 2 }} }}
    layer {{ name: "neuron" type: "{kind}" bottom: "conv" top: "conv" }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
      inner_product_param {{ num_output: 7 }} }}
    layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
    """


NEURON_INDICES = {"conv": 0, "neuron": 1, "fc": 2, "prob": 3}


@by_mode
@pytest.mark.parametrize("code", [0, 2, 11, 99])
def test_relevance_passes_tanh(code: int, corrected: bool, tmp_path: Path) -> None:
    twins = Twins(tmp_path, neuron_net("TanH"), NEURON_INDICES, (3, 6, 5))
    options = Options(epsilon=0.1, beta=1.0, corrected=corrected)
    expected = twins.walker.relevance(code, options, "fc", CLASSES, first="conv")
    assert_close(twins.explain(code, options, 2), expected, 1e-4)


@pytest.mark.parametrize("kind", ["TanH", "Sigmoid", "AbsVal"])
@pytest.mark.parametrize("code", [0, 2, 54, 56, 58, 60, 100, 102, 104, 114])
def test_relevance_passes_other_neurons_unchanged(code: int, kind: str, tmp_path: Path) -> None:
    plan = resolve_plan(build(tmp_path, neuron_net(kind)), code, PARAMETERS, 2, 0)
    assert [step.rule.title for step in plan.steps][1] == "pass"


@pytest.mark.parametrize("code", [26, 166])
def test_gradients_with_another_relu_take_the_gradient_of_other_neurons(code: int, tmp_path: Path) -> None:
    plan = resolve_plan(build(tmp_path, neuron_net("TanH")), code, PARAMETERS, 2, 0)
    assert [step.rule.title for step in plan.steps][1] == "gradient"


def within_net() -> str:
    return """
    input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 5 }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
      convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "norm" type: "LRN" bottom: "conv" top: "norm"
      lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL } }
    layer { name: "flat" type: "Flatten" bottom: "norm" top: "flat" }
    layer { name: "drop" type: "Dropout" bottom: "flat" top: "drop" }
    layer { name: "fc" type: "InnerProduct" bottom: "drop" top: "fc"
      inner_product_param { num_output: 7 } }
    """


WITHIN_INDICES = {"conv": 0, "relu": 1, "norm": 2, "flat": 3, "drop": 4, "fc": 5}


@pytest.mark.slow
@by_mode
@pytest.mark.parametrize("code", CODES)
def test_normalisation_within_channels_passes_relevance_that_the_reference_refuses(
    code: int, corrected: bool, tmp_path: Path
) -> None:
    twins = Twins(tmp_path, within_net(), WITHIN_INDICES, (3, 6, 5))
    options = Options(epsilon=0.1, beta=1.0, switch=3, corrected=corrected)
    expected = twins.walker.relevance(code, options, "fc", CLASSES, first="conv")
    assert np.abs(expected).max() > 0
    assert_close(twins.explain(code, options, 5), expected, 1e-4)


class Ruleless(Layer):
    """A layer without any capability; no type that is registered is like it."""

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return tuple(inputs)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return tuple(gradients)


def net_without_a_rule(folder: Path) -> Net:
    """`within_net` with another layer in the place of its LRN."""
    net = build(folder, within_net())
    before, norm, after = net.layers[:2], net.layers[2], net.layers[3:]
    names = ("index", "name", "type", "inputs", "outputs", "input_shapes")
    ruleless = Ruleless(**{name: getattr(norm, name) for name in names})
    return replace(net, layers=(*before, ruleless, *after))


@pytest.mark.parametrize("code", [0, 2, 26, 54, 56, 58, 60, 100, 102, 104, 114, 166])
def test_a_layer_without_a_rule_is_refused_by_name(code: int, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"layer 2 'norm' \(LRN\) has no rule"):
        resolve_plan(net_without_a_rule(tmp_path), code, PARAMETERS, 5, 0)


def test_a_layer_without_a_rule_does_not_matter_above_the_start(tmp_path: Path) -> None:
    plan = resolve_plan(net_without_a_rule(tmp_path), 0, PARAMETERS, 1, 0)
    assert [step.layer.name for step in plan.steps] == ["relu", "conv"]


def test_a_layer_without_a_rule_does_not_matter_below_the_first_layer(tmp_path: Path) -> None:
    plan = resolve_plan(net_without_a_rule(tmp_path), 0, PARAMETERS, 5, 3)
    assert [step.layer.name for step in plan.steps] == ["fc", "drop", "flat"]


def test_relevance_passes_a_dropout_that_is_not_in_place(tmp_path: Path) -> None:
    twins = Twins(tmp_path, within_net(), WITHIN_INDICES, (3, 6, 5))
    options = Options(epsilon=0.1)
    expected = twins.walker.relevance(0, options, "fc", CLASSES, first="flat")
    assert np.abs(expected).max() > 0
    assert_close(twins.explain(0, options, 5, 3), expected, 1e-5)


# --- Plans that are refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [21, 100, -3])
def test_a_start_layer_the_net_does_not_have_is_an_error(start: int, twins: Twins) -> None:
    with pytest.raises(ConfigError, match=rf"lastlayerindex {start} .* has layers 0 to 20"):
        twins.plan(0, Options(), start)


@pytest.mark.parametrize(("start", "first"), [(5, 5), (5, 6), (19, 30), (19, -1), (0, 1), (-1, 19)])
def test_a_first_layer_at_or_above_the_start_is_an_error(start: int, first: int, twins: Twins) -> None:
    with pytest.raises(ConfigError, match=rf"firstlayerindex {first} .*at least 0 and below the start"):
        twins.plan(0, Options(), start, first)


def test_scores_may_be_those_of_the_first_layer(tmp_path: Path) -> None:
    text = """input: "data" input_shape { dim: 2 dim: 5 }
    layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 3 } }
    layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }"""
    twins = Twins(tmp_path, text, {"fc": 0, "prob": 1}, (5,))
    assert [step.layer.name for step in twins.plan(0, Options(), -1).steps] == ["fc"]


def test_a_first_layer_that_does_not_lead_to_the_start_is_an_error(twins: Twins) -> None:
    with pytest.raises(ConfigError, match=r"5 \('a'\) does not lead to the start layer 9 \('b'\)"):
        twins.plan(0, Options(), INCEPTION_INDICES["b"], INCEPTION_INDICES["a"])


def test_minus_one_without_a_softmax_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lastlayerindex -1: .* has no Softmax"):
        resolve_plan(build(tmp_path, within_net()), 0, PARAMETERS, -1, 0)


def test_minus_one_with_a_softmax_as_the_lowest_layer_is_an_error(tmp_path: Path) -> None:
    text = 'input: "data" input_shape { dim: 2 dim: 3 } '
    text += 'layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }'
    with pytest.raises(ConfigError, match=r"lastlayerindex -1: .* has no Softmax with a layer before it"):
        resolve_plan(build(tmp_path, text), 0, PARAMETERS, -1, 0)


def test_minus_two_without_an_inner_product_is_an_error(tmp_path: Path) -> None:
    text = 'input: "data" input_shape { dim: 2 dim: 3 } '
    text += 'layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }'
    with pytest.raises(ConfigError, match=r"lastlayerindex -2: .* has no InnerProduct"):
        resolve_plan(build(tmp_path, text), 0, PARAMETERS, -2, 0)
