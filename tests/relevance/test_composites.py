"""Composites on a net: which entry wins, which are refused, and formulas as composites."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    ENGINE,
    INCEPTION,
    INCEPTION_SHAPE,
    Weights,
    build,
    from_scores,
    layer_net,
    parse,
    random_blob,
    random_weights,
)

from caffe_lrp.cli.composite_texts import composite_text
from caffe_lrp.config import read_composite
from caffe_lrp.errors import ConfigError, PlanError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers import Layer
from caffe_lrp.layers.base import Neuron
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE
from caffe_lrp.relevance import assignment
from caffe_lrp.relevance.composite import KINDS, POSITIONS, Composite, FormulaCode
from caffe_lrp.relevance.formulas import FORMULAS, written_out
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rule_names import RULES
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.rules.epsilon import Epsilon
from caffe_lrp.relevance.rules.makers import MAKERS, maker_for

EPSILON = {"kind": "linear", "rule": "epsilon"}
PARAMETERS = RuleParameters(0.01, 1.0, 5, REFERENCE, 0.25, (-9.0,) * 3, (9.0,) * 3)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Net:
    folder = tmp_path_factory.mktemp("net")
    weights: Weights = random_weights(parse(folder, INCEPTION), 11)
    return build(folder, INCEPTION, weights)


def plan_of(net: Net, formula: FormulaCode, parameters: RuleParameters = PARAMETERS) -> Plan:
    return resolve_plan(net, formula, parameters, "fc2", 0)


def explained(net: Net, formula: FormulaCode, parameters: RuleParameters = PARAMETERS) -> Blob:
    plan = plan_of(net, formula, parameters)
    forward = ENGINE.forward(net, [plan], random_blob((2, *INCEPTION_SHAPE), 12))
    return from_scores(plan, forward, [[3], [0, 4]])


def won(net: Net, *rules: Mapping[str, Any], base: int | str | None = 0) -> dict[str, int]:
    """Layer -> number of the entry that gave it its rule, from 1."""
    steps = plan_of(net, Composite.of(rules, base=base)).steps
    return {
        step.layer.name: int(step.won.removeprefix("entry "))
        for step in steps
        if step.won.startswith("entry")
    }


def chosen(net: Net, **keys: Any) -> list[str]:
    """The layers that an entry chooses, in the order of execution."""
    return [*won(net, {"rule": "flat", **keys})][::-1]


# --- What an entry chooses ----------------------------------------------------------------------------------

LINEAR = ["conv1", "a", "b_reduce", "b", "c", "fc1", "fc2"]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({}, LINEAR),
        ({"type": "Convolution"}, LINEAR[:5]),
        ({"type": ["InnerProduct", "Convolution"]}, LINEAR),
        ({"kind": "fully-connected"}, LINEAR[5:]),
        ({"layers": "b"}, ["b"]),
        ({"layers": 9}, ["b"]),
        ({"layers": "b*"}, ["b_reduce", "b"]),
        ({"layers": "fc?"}, ["fc1", "fc2"]),
        ({"layers": ["c", "a"]}, ["a", "c"]),
        ({"layers": "a..c"}, ["a", "b_reduce", "b", "c"]),
        ({"layers": "0..relu_a"}, ["conv1", "a"]),
        ({"layers": "a..fc1", "type": "Convolution"}, ["a", "b_reduce", "b", "c"]),
        ({"position": "first"}, ["conv1"]),
        ({"position": "last"}, ["fc2"]),
        ({"position": "lowest"}, ["conv1"]),
        ({"position": "up-to-switch-layer"}, ["conv1", "a"]),
        ({"position": "last", "type": "Convolution"}, ["c"]),
        ({"first": 3}, ["conv1", "a", "b_reduce"]),
        ({"first": 1, "layers": "a..c"}, ["a"]),
    ],
    ids=str,
)
def test_keys_choose_layers(net: Net, keys: Mapping[str, Any], names: Sequence[str]) -> None:
    assert chosen(net, **keys) == names


def test_every_kind_and_position_chooses_something(net: Net) -> None:
    assert {*KINDS} == {*assignment._KINDS}
    for position in POSITIONS:
        assert chosen(net, position=position)


def test_the_last_entry_that_matches_wins(net: Net) -> None:
    rules = (EPSILON, {"type": "Convolution", "rule": "flat"}, {"layers": "b*", "rule": "w-square"}, EPSILON)
    assert won(net, *rules[:3]) == {
        "fc2": 1, "fc1": 1, "c": 2, "b": 3, "b_reduce": 3, "a": 2, "conv1": 2,
    }  # fmt: skip
    assert {*won(net, *rules).values()} == {4}


def test_what_no_entry_matches_is_as_in_the_base(net: Net) -> None:
    plan = plan_of(net, Composite.of([{"layers": "b", "rule": "flat"}], base=100))
    texts = {step.layer.name: plan.text_of(step.layer) for step in plan.steps}
    assert (texts["conv1"], texts["b"], texts["fc2"]) == ("αβ, base", "flat, entry 1", "ε, base")
    assert (texts["relu1"], texts["norm1"]) == ("pass", "Taylor")


def test_rules_of_other_layers_can_be_chosen_one_by_one(net: Net) -> None:
    rules: list[dict[str, Any]] = [
        {"type": "LRN", "rule": "pass"},
        {"kind": "max-pooling", "rule": "proportional"},
        {"layers": "relu1", "rule": "guided-backprop"},
        {"kind": "relu", "position": "last", "rule": "softplus", "sharpness": 3},
    ]
    texts = {step.layer.name: step.rule.title for step in plan_of(net, Composite.of(rules, base=0)).steps}
    assert [texts[name] for name in ("norm1", "pool1", "relu1", "relu_a", "relu_fc1")] == [
        "pass", "R·x/Σx", "pass R⁺·[x>0]", "pass", "softplus",
    ]  # fmt: skip


def test_entries_may_ask_for_nothing_where_they_say_so(net: Net) -> None:
    rules: list[dict[str, Any]] = [
        {"type": "Deconvolution", "rule": "flat", "optional": True},
        {"layers": "x*", "rule": "flat", "optional": "yes"},
    ]
    assert won(net, *rules) == {}


def test_settings_of_a_composite_replace_those_of_the_run(net: Net) -> None:
    values: dict[str, Any] = {"epsilon": 0.5, "beta": 0.0, "quirks": "corrected", "switch_layer": "b"}
    found = explained(net, Composite.of(base=102, **values))
    wanted = explained(net, 102, RuleParameters(0.5, 0.0, 9, CORRECTED))
    assert found.tobytes() == wanted.tobytes()


def test_parameters_of_an_entry_come_before_those_of_the_composite(net: Net) -> None:
    written: list[dict[str, Any]] = [{**EPSILON, "epsilon": 0.5}, {"layers": "fc2", "rule": "epsilon"}]
    steps = plan_of(net, Composite.of(written, epsilon=0.25)).steps
    rules_of_fc = [step.rule for step in steps if step.layer.name.startswith("fc")]
    assert rules_of_fc == [Epsilon(0.25, True), Epsilon(0.5, True)]


def test_alpha_and_beta_follow_from_each_other(net: Net) -> None:
    for given in ({"alpha": 2}, {"beta": 1}, {"alpha": 2, "beta": 1}, {"alpha": "2.0"}):
        (first, *_) = plan_of(net, Composite.of([{"kind": "linear", "rule": "alpha-beta", **given}])).steps
        assert first.rule == AlphaBeta(1.0, True)


# --- Formulas as composites ---------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize("code", FORMULAS)
def test_a_formula_and_the_file_of_it_give_the_same_bytes(
    code: int | str, quirks: Any, net: Net, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(composite_text(str(code)), encoding="utf-8")
    composite = read_composite(path)
    assert composite.entries == written_out(code).entries
    parameters = RuleParameters(0.01, 1.0, 5, quirks, 0.25, (-9.0,) * 3, (9.0,) * 3)
    found, wanted = (explained(net, formula, parameters) for formula in (composite, code))
    assert found.tobytes() == wanted.tobytes()


def test_formulas_need_no_layer_to_match_and_composites_do(tmp_path: Path) -> None:
    silent = build(tmp_path, layer_net('type: "Power"', (3, 5, 4)), {})
    assert len(resolve_plan(silent, 0, PARAMETERS, 0, 0).steps) == 1
    with pytest.raises(
        ConfigError, match=r"no layer matches \{kind: linear\}; remove the entry, or add optional"
    ):
        resolve_plan(silent, written_out(0), PARAMETERS, 0, 0)


def test_names_and_makers_of_rules_are_the_same() -> None:
    assert {*RULES} == {*MAKERS}
    for name, rule in RULES.items():
        classes = [layer for maker in MAKERS[name] for layer in maker.layers]
        assert not rule.layers or classes, name


def test_a_rule_is_for_the_kinds_of_layers_that_the_table_names(net: Net) -> None:
    """All others are refused, and layers of the kinds are not."""
    for name, rule in RULES.items():
        for layer in net.layers:
            is_of_kind = not rule.layers or any(assignment._KINDS[kind](layer) for kind in rule.layers)
            can_have = maker_for(name, layer) is not None
            assert can_have == is_of_kind or _is_idle(layer), (name, layer.label)


def _is_idle(layer: Layer) -> bool:
    return isinstance(layer, Neuron) and layer.is_alias


# --- What is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"layers": "conv2"}, "entry 2: no layer of the net is called 'conv2'; caffe-lrp inspect shows all"),
        ({"layers": "Conv1"}, "no layer of the net is called 'Conv1'; did you mean 'conv1'"),
        ({"layers": "zz*"}, "no layer of the net matches 'zz*'; caffe-lrp inspect shows all"),
        ({"layers": 99}, "there is no layer 99; the layers of the net are 0 to 20"),
        ({"layers": "conv1..cc"}, "no layer of the net is called 'cc'"),
        ({"layers": "conv1..99"}, "there is no layer 99; the layers of the net are 0 to "),
        ({"layers": "conv1.."}, "the range conv1.. needs two ends, names or indices of layers"),
        ({"layers": "c..a"}, "the range c..a ends before it begins"),
        ({"layers": "prob", "rule": "pass"}, "the backward pass does not reach layer 20 'prob' (Softmax)"),
        (
            {"type": "Convolutoin"},
            "no layer of the type 'Convolutoin'; did you mean 'Convolution'",
        ),
        ({"kind": "convolution", "layers": "fc1"}, "no layer matches {kind: convolution, layers: fc1}"),
        (
            {"type": "Pooling"},
            "'pool2' (Pooling) cannot have the rule 'flat', which is for layers of the kind linear",
        ),
        (
            {"layers": "relu1"},
            "can have: gradient, pass, deconvolution, guided-backprop, softplus",
        ),
        ({"layers": "relu*"}, "and 1 more cannot have the rule 'flat'"),
        ({"rule": "overwrite"}, "relevance passes no layer that can have the rule 'overwrite', which is for"),
        ({"type": "LRN", "rule": "overwrite"}, "layer 3 'norm1' (LRN) cannot have the rule 'overwrite'"),
        (
            {"layers": "conv1", "rule": "z-box", "low": [1, 2], "high": 3},
            "its input has 3 channels, but low has 2 numbers",
        ),
    ],
    ids=str,
)
def test_entries_that_do_not_fit_the_net_are_refused(
    net: Net, entry: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        won(net, EPSILON, {"rule": "flat", **entry})
    assert str(caught.value).startswith("composite 'composite': entry 2: ")
    assert message in str(caught.value)


def test_all_entries_that_do_not_fit_are_named_at_once(net: Net) -> None:
    with pytest.raises(ConfigError) as caught:
        won(net, *({"layers": f"x{number}", "rule": "flat"} for number in range(23)))
    lines = str(caught.value).split("\n")
    assert len(lines) == 21
    assert lines[1].startswith("composite 'composite': entry 2: no layer of the net")
    assert lines[-1] == "composite 'composite': … and 3 more"


def test_a_linear_layer_needs_a_rule(net: Net) -> None:
    with pytest.raises(PlanError, match=r"layer 19 'fc2' \(InnerProduct\) .* gets no rule; begin the rules"):
        won(net, {"type": "Convolution", "rule": "flat"}, base=None)


@pytest.mark.parametrize(
    ("base", "advice"),
    [
        ("epsilon-pluss", r"did you mean 'epsilon-plus'\?$"),
        ("other.yaml", "they are 0, 2, 11, .*, deep-taylor$"),
    ],
)
def test_a_base_must_be_a_formula(net: Net, base: str, advice: str) -> None:
    message = f"^composite 'composite': the base must be a formula, and '{base}' is none; {advice}"
    with pytest.raises(ConfigError, match=message):
        plan_of(net, Composite("composite", base=base))


def test_a_box_above_the_image_needs_its_bounds(net: Net) -> None:
    with pytest.raises(PlanError, match="give the layer the rule z-box with bounds 'low' and 'high'"):
        won(net, {"layers": "b", "rule": "z-box"})
    assert won(net, {"layers": "b", "rule": "z-box", "low": -3, "high": [3, 4, 3, 4]}) == {"b": 1}


ODD = """
input: "data" input_shape { dim: 1 dim: 7 }
layer { name: "2" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 6 } }
layer { name: "a..b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 } }
layer { name: "c[1]" type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 4 } }
layer { name: "c[1]/d" type: "InnerProduct" bottom: "c" top: "fc2" inner_product_param { num_output: 3 } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc2" top: "d" inner_product_param { num_output: 2 } }
"""


@pytest.mark.parametrize(
    ("layers", "indices"),
    [
        (2, [2]),
        ("2..3", [2, 3]),
        ("a..b", [1]),
        ("a..b..c[1]", [1, 2]),
        ("0..a..b", [0, 1]),
        ("c[1]*", [2, 3]),
    ],
    ids=str,
)
def test_odd_names_choose_what_they_say(layers: str | int, indices: Sequence[int], tmp_path: Path) -> None:
    """Whole numbers are indices, also in ranges; names may contain what ranges and patterns are made of."""
    odd = build(tmp_path, ODD, random_weights(parse(tmp_path, ODD), 3))
    steps = plan_of(odd, Composite.of([{"layers": layers, "rule": "flat"}], base=0)).steps
    assert [step.layer.index for step in steps if step.won == "entry 1"][::-1] == indices


MERGED = """
input: "data" input_shape { dim: 1 dim: 3 dim: 6 dim: 5 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 2 } }
"""


def test_names_of_merged_layers_are_accepted_and_said(tmp_path: Path) -> None:
    weights = {
        name: [np.abs(blob) for blob in blobs]
        for name, blobs in random_weights(parse(tmp_path, MERGED), 1).items()
    }
    plan = resolve_plan(
        build(tmp_path, MERGED, weights),
        Composite.of([EPSILON, {"layers": "bn", "rule": "gamma"}, {"layers": "bn..fc", "rule": "flat"}]),
        PARAMETERS, "fc", 0,
    )  # fmt: skip
    assert [step.rule.title for step in plan.steps] == ["flat", "merged", "ε"]
    assert plan.remarks == (
        "composite 'composite': entry 2: layer 1 'bn' (BatchNorm) was merged into a layer beside it, whose "
        "rule counts; --canonize off keeps them apart",
    )
