"""What holds for all rules: their accounts, their memory, and what new ones inherit from the plain recipe."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from builders import (
    ENGINE,
    WORKSPACE,
    assert_close,
    build,
    conditions,
    from_scores,
    random_blob,
)
from test_rules import CONVOLUTION, GROUPS, Case, apply, bias_of, passage_of, relevance_for

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.linear import Linear
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks
from caffe_lrp.relevance import rules
from caffe_lrp.relevance.conservation import Ledger, losses_of
from caffe_lrp.relevance.formulas import FORMULAS
from caffe_lrp.relevance.plan import Plan, Step, resolve_plan
from caffe_lrp.relevance.rules.accounts import Constants
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta, ZPlus
from caffe_lrp.relevance.rules.base import AnyRule, Rule, RuleParameters
from caffe_lrp.relevance.rules.epsilon import Epsilon, EpsilonWithSharedBias, StabilisedEpsilon
from caffe_lrp.relevance.rules.flat import Flat
from caffe_lrp.relevance.rules.gamma import Gamma, Gamma2019
from caffe_lrp.relevance.rules.gradients import Gradient, NotConserving, PassSmoothly
from caffe_lrp.relevance.rules.normalization import TaylorNormalization
from caffe_lrp.relevance.rules.recipe import LinearRule, Modifier, Part, PlainRule
from caffe_lrp.relevance.rules.routing import Pass, Route
from caffe_lrp.relevance.rules.shared_bias import AlphaBetaWithSharedBias
from caffe_lrp.relevance.rules.sharing import Proportional
from caffe_lrp.relevance.rules.signed import SignedRule
from caffe_lrp.relevance.rules.softmax import Overwrite
from caffe_lrp.relevance.rules.stabiliser import Stabiliser
from caffe_lrp.relevance.rules.w_square import WSquare
from caffe_lrp.relevance.rules.z_box import ZBox, ZBoxOfNumbers

INNER_PRODUCT = Case("inner product", 'type: "InnerProduct" inner_product_param { num_output: 5 }', (4, 3, 6))
by_case = pytest.mark.parametrize("case", [CONVOLUTION, GROUPS, INNER_PRODUCT], ids=lambda case: case.name)


# --- A new rule -------------------------------------------------------------------------------------------


class Absolute(PlainRule):
    """``r = |x| · |w| R / Σ (|x| |w| + |b|)``: a rule as somebody would add it."""

    title = "|z|"

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        return (Part(np.abs, np.abs, None if layer.bias is None else np.abs(layer.bias)),)


@by_case
def test_a_new_rule_says_its_parts_and_propagates(case: Case, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    relevance, edges = relevance_for(case, weights), case.edges(weights)
    bias = bias_of(weights)
    expected = oracle.epsilon(
        np.abs(x), np.abs(weights[0]), None if bias is None else np.abs(bias), relevance, edges, 0.0, False
    )
    assert_close(apply(Absolute(), case.build(tmp_path, weights), x, relevance), expected, 1e-5)


@by_case
def test_a_new_rule_inherits_its_account(case: Case, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    weights[0][2] = 0
    weights[1][2] = 0  # nothing to share relevance among
    passage = passage_of(Absolute(), case.build(tmp_path, weights), x, relevance_for(case, weights))
    for item in range(len(x)):
        enters, leaves = (float(blob[item].sum(dtype=np.float64)) for blob in
                          (passage.received[0], passage.propagated[0]))  # fmt: skip
        found = losses_of(passage, item, Constants())
        assert found is not None
        assert found["bias"] != 0
        assert found["zero_sum"] == pytest.approx(passage.received[0][item, 2].sum(), rel=1e-5)
        assert enters - leaves == pytest.approx(sum(found.values()), abs=1e-4)


class Halved(Absolute):
    """A rule that gives half of its first part's relevance to nobody, and does not account for it."""

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        return (*super().parts(layer), *super().parts(layer))

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        first, second = super().quotients(relevance, sums)
        return [first, 0 * second]


def test_relevance_that_a_new_rule_loses_otherwise_stays_unexplained(tmp_path: Path) -> None:
    weights = CONVOLUTION.weights(tmp_path)
    relevance = relevance_for(CONVOLUTION, weights)
    layer = CONVOLUTION.build(tmp_path, weights)
    passage = passage_of(Halved(), layer, CONVOLUTION.x(), np.abs(relevance))
    found = losses_of(passage, 0, Constants())
    assert found is not None
    lost = float(passage.received[0][0].sum() - passage.propagated[0][0].sum())
    assert found["zero_sum"] == 0
    assert lost - sum(found.values()) == pytest.approx(0.5 * float(np.abs(relevance[0]).sum()), rel=1e-4)


@dataclass(frozen=True, eq=False)
class OfPart(PlainRule):
    """A rule of one given part."""

    title = "one part"
    part: Part

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        return (self.part,)


@pytest.mark.parametrize(
    "modifier",
    [
        lambda numbers: numbers[:, ::-1],
        lambda numbers: np.broadcast_to(np.float32(2), numbers.shape),
        np.asfortranarray,
        lambda numbers: np.sqrt(2.0) * numbers,
    ],
    ids=["flipped", "repeated", "in another order", "in double precision"],
)
@by_case
def test_a_modifier_gives_numbers_as_it_likes(case: Case, modifier: Modifier, tmp_path: Path) -> None:
    layer, x = case.build(tmp_path), case.x()
    relevance = random_blob((2, *layer.output_shapes[0]), 2)

    def tidied(numbers: Blob) -> Blob:
        return modifier(numbers).astype(np.float32, order="C")

    expected = apply(OfPart(Part(tidied, tidied)), layer, x, relevance).astype(np.float64)
    assert_close(apply(OfPart(Part(modifier, modifier)), layer, x, relevance), expected, 1e-5)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(lambda w: w[:, :1]), r"returns the shape \(\d+, 1\S* .*for"),
        (Part(input=lambda x: x[:, :1]), "returns the shape"),
        (Part(lambda w: np.abs(w, out=w)), "read-only"),
        (Part(input=lambda x: np.abs(x, out=x)), "read-only"),
        (Part(bias=np.ones(1, np.float32)), r"the bias of a part has the shape \(1,\), not"),
    ],
    ids=["weights", "inputs", "weights in place", "inputs in place", "bias"],
)
@by_case
def test_a_part_that_does_not_fit_is_refused(case: Case, part: Part, message: str, tmp_path: Path) -> None:
    layer, x = case.build(tmp_path), case.x()
    with pytest.raises(ValueError, match=message):
        apply(OfPart(part), layer, x, random_blob((2, *layer.output_shapes[0]), 2))


def test_a_rule_without_parts_is_refused(tmp_path: Path) -> None:
    class Nothing(PlainRule):
        title = "nothing"

        def parts(self, layer: Linear) -> tuple[Part, ...]:
            return ()

    with pytest.raises(ValueError, match="nothing has no parts for layer 0"):
        apply(Nothing(), CONVOLUTION.build(tmp_path), CONVOLUTION.x(), random_blob((2, 5, 4, 5), 2))


# --- Rules with kernels of their own ----------------------------------------------------------------------


class Plainly(PlainRule):
    """Another rule, computed by the plain recipe from its parts."""

    def __init__(self, rule: LinearRule[Any]) -> None:
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "title", rule.title)

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        found: tuple[Part, ...] = self.rule.parts(layer)  # type: ignore[attr-defined]
        return found

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        found: Sequence[Blob] = self.rule.quotients(relevance, sums)  # type: ignore[attr-defined]
        return found


FUSED: list[LinearRule[Any]] = [
    Epsilon(0.5, True),
    Epsilon(0.5, False),
    Epsilon(0.0, False),
    AlphaBeta(1.0, True),
    AlphaBeta(0.75, False),
    AlphaBeta(-0.25, False),
    ZPlus(0.0, True),
    ZPlus(0.0, True, bias="ignore"),
    Gamma(0.25),
    StabilisedEpsilon(Stabiliser(0.25, is_relative=True)),
    StabilisedEpsilon(Stabiliser(0.5, is_clipped=True), "ignore"),
]


@pytest.mark.parametrize("rule", FUSED, ids=repr)
@by_case
def test_kernels_of_a_rule_give_what_its_parts_give(
    case: Case, rule: LinearRule[Any], tmp_path: Path
) -> None:
    weights = case.weights(tmp_path)
    weights[0][1] = np.abs(weights[0][1])  # so that some outputs lack products of one sign
    weights[0][2] = weights[1][2] = 0
    layer = case.build(tmp_path, weights)
    x, relevance = case.x(), relevance_for(case, weights)
    x[1] = np.abs(x[1])
    expected = apply(Plainly(rule), layer, x, relevance)
    assert_close(apply(rule, layer, x, relevance), expected.astype(np.float64), 2e-5)
    only_positive = np.abs(x)
    expected = apply(Plainly(rule), layer, only_positive, relevance)
    found = apply(rule, layer, only_positive, relevance, nonnegative=True)
    assert_close(found, expected.astype(np.float64), 2e-5)


def test_all_rules_with_kernels_of_their_own_are_tried() -> None:
    of_parts = {kind for kind in concrete_rules() if issubclass(kind, LinearRule)}
    fused = {kind for kind in of_parts if kind.propagate is not PlainRule.propagate}
    assert {type(each) for each in FUSED} == fused, "add rules with kernels of their own to FUSED"


# --- Accounts ---------------------------------------------------------------------------------------------


def concrete_rules() -> set[type[AnyRule]]:
    """All rules of the package that layers can have."""
    for module in pkgutil.iter_modules(rules.__path__, f"{rules.__name__}."):
        importlib.import_module(module.name)

    def below(kind: type[AnyRule]) -> Iterator[type[AnyRule]]:
        for other in kind.__subclasses__():
            if other.__module__.startswith("caffe_lrp."):
                yield other
                yield from below(other)

    return {kind for kind in below(Rule) if not inspect.isabstract(kind) and hasattr(kind, "title")}


#: Layers of all capabilities, some merged into others, on the way of relevance from the top.
EVERYTHING = """
input: "data" input_shape { dim: 2 dim: 3 dim: 13 dim: 11 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 pad_h: 1 pad_w: 0 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1"
  lrn_param { local_size: 5 alpha: 0.3 beta: 0.75 k: 1.5 } }
layer { name: "a" type: "Convolution" bottom: "norm1" top: "a"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "b" type: "Convolution" bottom: "norm1" top: "b"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "pool2" type: "Pooling" bottom: "sum" top: "pool2"
  pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool2" top: "pool2" }
layer { name: "pool3" type: "Pooling" bottom: "pool2" top: "pool3"
  pooling_param { pool: STOCHASTIC kernel_size: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool3" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def plan_of(folder: Path, code: int | str, quirks: Quirks) -> Plan:
    net = build(folder, EVERYTHING)
    parameters = RuleParameters(0.01, 1.0, 0, quirks, lowest=(-9.0,) * 3, highest=(9.0,) * 3)
    return resolve_plan(net, code, parameters, len(net.layers) - 1, 0)


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize("code", FORMULAS)
def test_every_rule_says_where_its_losses_come_from(code: int | str, quirks: Quirks, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, code, quirks)
    forward = ENGINE.forward(plan.net, [plan], random_blob((2, 3, 13, 11), 1))
    ledger = Ledger(plan, Constants())
    from_scores(plan, forward, [[3], [0]], ledger)
    for step, account in zip(plan.steps, ledger.report(1).layers, strict=True):
        if isinstance(step.rule, NotConserving) and not isinstance(step.rule, Route):
            assert account.lost.keys() <= {"rule", "rest"}
        else:
            unexplained = account.lost.get("rule", 0.0) + account.lost.get("rest", 0.0)
            assert abs(unexplained) <= 1e-4 * account.absolute, account


#: Rules that no formula has: layers are given them one by one.
CHOSEN_LINEAR: list[AnyRule] = [
    StabilisedEpsilon(Stabiliser(0.25, is_relative=True)),
    StabilisedEpsilon(Stabiliser(0.5, is_clipped=True), "ignore"),
    EpsilonWithSharedBias(Stabiliser(0.5)),
    AlphaBeta(-0.5, True, bias="ignore"),
    AlphaBeta(-1.0, True),
    ZPlus(0.0, True, bias="ignore"),
    AlphaBetaWithSharedBias(1.0),
    Gamma(0.25, bias="ignore"),
    Gamma2019(0.25, Stabiliser(0.1)),
    ZBoxOfNumbers((-9.0,), (9.0,)),
]
CHOSEN_OTHERS: list[tuple[str, AnyRule]] = [
    ("pool1", Proportional(True)),
    ("pool1", Proportional(False)),
    ("relu1", PassSmoothly()),
    ("norm1", Pass()),
    ("norm1", TaylorNormalization()),
    ("prob", Pass()),
    ("prob", Overwrite()),
]


@pytest.mark.parametrize(
    ("name", "rule"),
    [*((name, rule) for rule in CHOSEN_LINEAR for name in ("conv1", "a", "fc")), *CHOSEN_OTHERS],
    ids=repr,
)
def test_every_rule_of_a_single_layer_says_where_its_losses_come_from(
    name: str, rule: AnyRule, tmp_path: Path
) -> None:
    plan = plan_of(tmp_path, 100, CORRECTED)
    steps = tuple(replace(step, rule=rule) if step.layer.name == name else step for step in plan.steps)
    plan = replace(plan, steps=steps)
    forward = ENGINE.forward(plan.net, [plan], random_blob((2, 3, 13, 11), 1))
    ledger = Ledger(plan, Constants())
    from_scores(plan, forward, [[3], [0]], ledger)
    (account,) = (layer for layer in ledger.report(1).layers if layer.name == name)
    if isinstance(rule, NotConserving):
        assert account.lost.keys() <= {"rule", "rest"}
    else:
        assert abs(account.lost.get("rest", 0.0)) <= 1e-4 * account.absolute, account
    assert account.rule == rule.title


def test_the_net_with_everything_has_every_rule(tmp_path: Path) -> None:
    given = {
        type(step.rule)
        for code in FORMULAS
        for quirks in (REFERENCE, CORRECTED)
        for step in plan_of(tmp_path, code, quirks).steps
    }
    given |= {type(rule) for rule in CHOSEN_LINEAR} | {type(rule) for _, rule in CHOSEN_OTHERS}
    assert given == concrete_rules(), "no layer of EVERYTHING gets them by any formula, or they lack a title"


# --- Memory -----------------------------------------------------------------------------------------------


def floats_below(thing: object, seen: dict[int, int]) -> None:
    """Collect the arrays that something derived holds: address -> numbers."""
    if isinstance(thing, np.ndarray):
        base = thing if thing.base is None else thing.base
        if isinstance(base, np.ndarray) and base.dtype == np.float32:
            seen[id(base)] = base.size
    elif isinstance(thing, dict):
        floats_below(list(thing.values()), seen)
    elif isinstance(thing, (tuple, list)):
        for each in thing:
            floats_below(each, seen)
    elif is_dataclass(thing) and not isinstance(thing, type) and not isinstance(thing, Layer):
        for each in (*(getattr(thing, field.name) for field in fields(thing)), *vars_of(thing)):
            floats_below(each, seen)


def vars_of(thing: object) -> list[object]:
    return list(getattr(thing, "__dict__", {}).values())


@pytest.mark.parametrize("rule", [AlphaBeta(1.0, True), ZPlus(0.0, True), Gamma(0.25)], ids=repr)
def test_plans_share_maps_of_signed_weights(rule: AnyRule, tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    first, second = (Step(layer, rule, conditions()).prepared for _ in range(2))
    assert first.map is second.map
    assert first.backward_map is second.backward_map


def test_plans_share_the_map_of_squared_weights(tmp_path: Path) -> None:
    layer = CONVOLUTION.build(tmp_path)
    first, second = (Step(layer, WSquare(), conditions()).prepared for _ in range(2))
    assert first is second


def test_the_plain_recipe_divides_in_the_memory_of_the_sums() -> None:
    relevance = np.array([[3, 4, 5]], np.float32)
    sums = [np.array(numbers, np.float32) for numbers in ([[2, 1, 0]], [[4, 1, 0]])]
    first, second = Absolute().quotients(relevance, iter(sums))
    assert first is second is sums[0]
    assert first.tolist() == [[0.5, 2, 0]]


def test_inputs_less_their_bounds_lie_in_memory_as_inputs_do(tmp_path: Path) -> None:
    layer, x = CONVOLUTION.build(tmp_path), WORKSPACE.copy(CONVOLUTION.x())
    assert isinstance(layer, Linear)
    for part in ZBox((-9.0,), (9.0,)).parts(layer):
        assert part.input(x).strides == x.strides


LINEAR: list[AnyRule] = [
    *FUSED,
    *CHOSEN_LINEAR,
    Flat(True),
    WSquare(),
    ZBox((-9.0,), (9.0,)),
    Gradient(),
    Absolute(),
]


def test_the_memory_of_all_rules_of_linear_layers_is_tried(tmp_path: Path) -> None:
    given = {
        type(step.rule)
        for code in FORMULAS
        for step in plan_of(tmp_path, code, REFERENCE).steps
        if isinstance(step.layer, Linear)
    } | {type(rule) for rule in CHOSEN_LINEAR}
    assert {type(rule) for rule in LINEAR} - {Absolute} == given, "add rules of linear layers to LINEAR"


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("rule", LINEAR, ids=repr)
def test_what_a_rule_derives_from_weights_is_foretold(
    rule: AnyRule, nonnegative: bool, tmp_path: Path
) -> None:
    # 32 outputs fill whole panels: nothing is packed beside weights.
    body = 'type: "Convolution" convolution_param { num_output: 32 kernel_size: 5 stride: 2 }'
    layer = Case("", body, (16, 13, 11)).build(tmp_path)
    assert isinstance(layer, Linear)
    x = np.abs(random_blob((1, 16, 13, 11), 1))
    passage = passage_of(rule, layer, x, random_blob((1, *layer.output_shapes[0]), 2), nonnegative)
    held: dict[int, int] = {}
    floats_below(passage.step.prepared, held)
    floats_below(vars_of(layer), held)
    for blob in layer.weights:
        held.pop(id(blob if blob.base is None else blob.base), None)
    found = sum(size for size in held.values() if size > 1000)  # less are biases and coefficients
    growth = layer.own_map.packed_growth("auto")
    forward = layer.weight.size * growth  # what the forward pass derives, whatever the rule
    derived = rule.derived_floats(layer, conditions(nonnegative), growth)
    foretold = sum(
        size for what, size in derived.items() if not what.startswith("box")
    )  # which is no array of weights
    # Of products with both parts of an input half may do, see `kernels.mirrored`.
    is_halved = isinstance(rule, SignedRule) and not nonnegative
    assert foretold / (2 if is_halved else 1) <= found <= foretold + forward
