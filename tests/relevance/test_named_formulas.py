"""Formulas with names: what they give whole nets, which layers are the lowest, and how names travel."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batch_builders import opened
from builders import (
    ENGINE,
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    EagerEngine,
    assert_close,
    build,
    from_scores,
    parse,
    random_blob,
    random_weights,
)
from command_line import CONFIG, DATA, config, files_below, listing, run
from oracle_walker import NAMED, Options
from twins import CLASSES, FC2, WINOGRAD, WINOGRAD_INDICES, Twins

from caffe_lrp.config import KEYS, read_config
from caffe_lrp.errors import ConfigError, PlanError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE
from caffe_lrp.relevance.formulas import FORMULAS, composite_for, find_formula, needs_switch_layer
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta, ZPlus
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.rules.epsilon import Epsilon
from caffe_lrp.relevance.rules.flat import Flat
from caffe_lrp.relevance.rules.gamma import Gamma
from caffe_lrp.relevance.rules.z_box import ZBox

#: Wider than the inputs, which are normally distributed, and different for every channel.
LOWEST, HIGHEST = (-6.0, -5.0, -5.5), (5.0, 7.0, 6.5)
OPTIONS = Options(epsilon=0.1, beta=0.5, switch=8, gamma=0.4, lowest=LOWEST, highest=HIGHEST)

by_name = pytest.mark.parametrize("name", NAMED)
by_mode = pytest.mark.parametrize("corrected", [False, True], ids=["reference", "corrected"])


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    return Twins(tmp_path, INCEPTION, INCEPTION_INDICES, INCEPTION_SHAPE)


# --- Whole nets ---------------------------------------------------------------------------------------------


def test_the_table_has_exactly_the_names_tested_here() -> None:
    assert [code for code in FORMULAS if isinstance(code, str)] == list(NAMED), (
        "oracle_walker.NAMED has what a formula means, in the order of the table"
    )


@by_mode
@by_name
def test_whole_net_equals_the_walker(name: str, corrected: bool, twins: Twins) -> None:
    options = replace(OPTIONS, corrected=corrected)
    expected = twins.walker.relevance(name, options, "fc2", CLASSES, first="conv1")
    assert np.abs(expected).max() > 0
    assert_close(twins.explain(name, options, FC2), expected, 1e-4)


@by_name
@pytest.mark.parametrize(("method", "threads"), [("direct", 3), ("winograd", 1), ("winograd", 3)])
def test_whole_net_equals_the_walker_by_every_method_and_in_threads(
    name: str, method: str, threads: int, tmp_path: Path
) -> None:
    with EagerEngine(threads, method) as engine:
        twins = Twins(tmp_path, WINOGRAD, WINOGRAD_INDICES, INCEPTION_SHAPE, engine)
        expected = twins.walker.relevance(name, OPTIONS, "fc", CLASSES, first="conv1")
        found = twins.explain(name, OPTIONS, WINOGRAD_INDICES["fc"])
    assert_close(found, expected, 1e-4)


def test_plans_share_a_forward_pass_with_those_of_numbers(twins: Twins) -> None:
    codes: list[int | str] = [*NAMED, 0, 2, 104]
    plans = [twins.plan(code, OPTIONS, FC2) for code in codes]
    forward = ENGINE.forward(twins.net, plans, twins.batch)
    for code, plan in zip(codes, plans, strict=True):
        expected = twins.walker.relevance(code, OPTIONS, "fc2", CLASSES, first="conv1")
        assert_close(from_scores(plan, forward, CLASSES), expected, 1e-4)


@by_mode
@pytest.mark.parametrize(("name", "beta"), [("epsilon-plus", 0.0), ("epsilon-alpha2-beta1", 1.0)])
def test_names_that_say_what_beta_is_are_formula_100_with_that_beta(
    name: str, beta: float, corrected: bool, twins: Twins
) -> None:
    options = replace(OPTIONS, beta=0.5, corrected=corrected)
    expected = twins.explain(100, replace(options, beta=beta), FC2)
    assert twins.explain(name, options, FC2).tolist() == expected.tolist()


@pytest.mark.parametrize("gamma", [0.1, 2.0])
@pytest.mark.parametrize("name", ["gamma-all", "epsilon-gamma-box"])
def test_gamma_reaches_the_rule(name: str, gamma: float, twins: Twins) -> None:
    options = replace(OPTIONS, gamma=gamma)
    expected = twins.walker.relevance(name, options, "fc2", CLASSES, first="conv1")
    assert_close(twins.explain(name, options, FC2), expected, 1e-4)


def test_names_do_not_depend_on_the_switch_layer(twins: Twins) -> None:
    for name in NAMED:
        assert not needs_switch_layer(composite_for(name))
        low, high = (twins.explain(name, replace(OPTIONS, switch=switch), FC2) for switch in (-1, 20))
        assert low.tolist() == high.tolist()


def test_deep_taylor_of_one_class_has_the_sign_of_its_score(twins: Twins) -> None:
    options = replace(OPTIONS, corrected=True)
    found = twins.explain("deep-taylor", options, FC2, classes=[[3], [0]])
    for item, chosen in ((0, 3), (1, 0)):
        signed = found[item] * np.sign(twins.walker.values[-2][item, chosen])
        assert signed.min() >= 0
        assert signed.max() > 0


# --- Rules of layers ----------------------------------------------------------------------------------------

PARAMETERS = RuleParameters(0.1, 0.5, -1, CORRECTED, 0.4, LOWEST, HIGHEST)

#: Two convolutions read the image, one of them through a Dropout, and a third what they give.
FORKED = """
input: "data" input_shape { dim: 2 dim: 3 dim: 8 dim: 6 }
layer { name: "left" type: "Convolution" bottom: "data" top: "left"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }
layer { name: "right" type: "Convolution" bottom: "drop" top: "right"
  convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: "both" type: "Concat" bottom: "left" bottom: "right" top: "both" }
layer { name: "above" type: "Convolution" bottom: "both" top: "above"
  convolution_param { num_output: 2 kernel_size: 2 stride: 2 } }
"""
SCORES = """
layer { name: "fc" type: "InnerProduct" bottom: "above" top: "fc" inner_product_param { num_output: 5 } }
"""

#: Besides, a convolution reads the pooled image, and another one that and what comes from below.
POOLED = """
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "pooled" type: "Convolution" bottom: "pool" top: "pooled"
  convolution_param { num_output: 7 kernel_size: 1 } }
layer { name: "mixed" type: "Concat" bottom: "above" bottom: "pool" top: "mixed" }
layer { name: "late" type: "Convolution" bottom: "mixed" top: "late"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "end" type: "Concat" bottom: "late" bottom: "pooled" top: "end" }
"""


def rules_by_layer(plan: Plan) -> dict[str, str]:
    return {step.layer.name: step.rule.title for step in plan.steps if step.layer.weights}


def test_the_lowest_layers_are_those_that_the_image_reaches_through_no_other(tmp_path: Path) -> None:
    plan = resolve_plan(
        build(tmp_path, FORKED + POOLED + SCORES.replace('"above"', '"end"')),
        "epsilon-plus-flat",
        PARAMETERS,
        -2,
        0,
    )
    lowest = dict.fromkeys(["left", "right", "pooled", "late"], "flat")
    assert rules_by_layer(plan) == lowest | {"above": "z⁺", "fc": "ε"}


def test_an_inner_product_may_be_the_lowest_layer(tmp_path: Path) -> None:
    text = """
    input: "data" input_shape { dim: 2 dim: 3 dim: 5 dim: 4 }
    layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }
    layer { name: "low" type: "InnerProduct" bottom: "flat" top: "low" inner_product_param { num_output: 6 } }
    layer { name: "relu" type: "ReLU" bottom: "low" top: "low" }
    layer { name: "high" type: "InnerProduct" bottom: "low" top: "high"
      inner_product_param { num_output: 7 } }
    """
    indices = {"flat": 0, "low": 1, "relu": 2, "high": 3}
    twins = Twins(tmp_path, text, indices, (3, 5, 4))
    for name in ("epsilon-gamma-box", "epsilon-plus-flat", "deep-taylor"):
        expected = twins.walker.relevance(name, OPTIONS, "high", CLASSES, first="flat")
        assert_close(twins.explain(name, OPTIONS, 3), expected, 1e-5)


def test_z_box_is_for_layers_that_read_the_image_itself(tmp_path: Path) -> None:
    net = build(tmp_path, FORKED + SCORES)
    plan = resolve_plan(net, "epsilon-gamma-box", PARAMETERS, -2, 0)
    assert rules_by_layer(plan) == {"left": "zᴮ", "right": "zᴮ", "above": "γ", "fc": "ε"}


@pytest.mark.parametrize("name", ["epsilon-gamma-box", "deep-taylor"])
def test_z_box_of_anything_else_is_an_error_that_names_the_layer(name: str, tmp_path: Path) -> None:
    complaint = r"layer \d+ 'late' \(Convolution\) does not read the image.*epsilon-plus-flat"
    with pytest.raises(PlanError, match=complaint):
        resolve_plan(
            build(tmp_path, FORKED + POOLED + SCORES.replace('"above"', '"end"')),
            name,
            PARAMETERS,
            -2,
            0,
        )


def test_above_the_lowest_layers_no_box_is_needed(tmp_path: Path) -> None:
    parameters = RuleParameters(0.1, 0.5, -1, REFERENCE)
    net = build(tmp_path, FORKED + SCORES)
    above = next(layer.index for layer in net.layers if layer.name == "above")
    plan = resolve_plan(net, "epsilon-gamma-box", parameters, -2, above)
    assert rules_by_layer(plan) == {"above": "γ", "fc": "ε"}


@pytest.mark.parametrize(
    ("name", "lowest", "middle", "top"),
    [
        ("epsilon-plus", ZPlus(0.0, True), ZPlus(0.0, True), Epsilon(0.1, True)),
        ("epsilon-plus-flat", Flat(True), ZPlus(0.0, True), Epsilon(0.1, True)),
        ("epsilon-alpha2-beta1", AlphaBeta(1.0, True), AlphaBeta(1.0, True), Epsilon(0.1, True)),
        ("epsilon-alpha2-beta1-flat", Flat(True), AlphaBeta(1.0, True), Epsilon(0.1, True)),
        ("epsilon-gamma-box", ZBox(LOWEST, HIGHEST), Gamma(0.4), Epsilon(0.1, True)),
        ("gamma-all", Gamma(0.4), Gamma(0.4), Gamma(0.4)),
        ("deep-taylor", ZBox(LOWEST, HIGHEST), ZPlus(0.0, True), ZPlus(0.0, True)),
    ],
)
def test_quirks_of_a_rule_hold_under_names_too(
    name: str, lowest: object, middle: object, top: object, tmp_path: Path
) -> None:
    parameters = replace(PARAMETERS, quirks=REFERENCE)
    plan = resolve_plan(build(tmp_path, FORKED + SCORES), name, parameters, -2, 0)
    rules = {step.layer.name: step.rule for step in plan.steps}
    assert (rules["left"], rules["above"], rules["fc"]) == (lowest, middle, top)


# --- How names travel ---------------------------------------------------------------------------------------


@by_name
def test_names_fit_names_of_files_and_are_no_keys(name: str) -> None:
    assert re.fullmatch("[a-z0-9-]+", name)
    assert not any(key.name.startswith(name) or name.startswith(key.name) for key in KEYS if key.required)
    assert name not in {key.name for key in KEYS}


@pytest.mark.parametrize(
    ("code", "meant"),
    [("epsilon-plsu", "epsilon-plus"), ("Epsilon_Plus_Flat", "epsilon-plus-flat"), ("gamma", "gamma-all")],
)
def test_a_misspelt_name_is_an_error_that_suggests_the_right_one(code: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"formula {code} is not supported.*did you mean '{meant}'"):
        find_formula(code)


def test_an_error_lists_numbers_and_names() -> None:
    with pytest.raises(ConfigError, match=r"one of 0, 2, .* 166, epsilon-plus, .*, deep-taylor$"):
        find_formula("best")


def test_gamma_and_the_range_of_pixels_reach_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    settings = replace(read_config(CONFIG), gamma=0.75)
    explainer = opened(settings, "epsilon-gamma-box", 100)
    bounds = explainer.preprocessor.bounds
    assert all(low < 0 < high for low, high in zip(*bounds, strict=True))
    assert [len(numbers) for numbers in bounds] == [3, 3]
    rules = [step.rule for step in explainer.plan.steps if step.layer.weights]
    assert rules[-1] == ZBox(*bounds)
    assert Gamma(0.75) in rules


def test_runs_by_names_and_numbers(tmp_path: Path) -> None:
    """The files, their names, the journal, and what a later run finds of them."""
    path = listing(tmp_path, "images/set/square.jpg 3")
    settings = config(tmp_path, relpropformulatype="epsilon-plus")
    out, codes = tmp_path / "all", ("epsilon-gamma-box", 104, "gamma-all")
    common = ["-c", settings, "-f", path, "-b", "default_minimal"]
    several = [*common, "-p", out, "--formula", "epsilon-gamma-box,104,gamma-all", "--gamma", 0.5]
    result = run(*several)
    assert (result.returncode, result.stderr) == (0, "")
    stems = [f"out/images/set/square.jpg_f{code}_c3" for code in codes]
    assert {name.rsplit("_", 1)[0] for name in files_below(out)} == set(stems)
    records = [json.loads(line) for line in next(out.rglob("*.jsonl")).read_text().splitlines()]
    assert [record["formula"] for record in records if "formula" in record] == list(codes)
    assert run(*several).stdout.startswith("nothing left to do: 3 of 3 heatmaps are already in ")


def test_a_config_may_name_a_formula(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    settings = config(tmp_path, relpropformulatype="epsilon-plus")
    common = ["-c", settings, "-f", path, "-b", "default_minimal"]
    for out, options in (("named", ()), ("numbered", ("--formula", 100, "--beta", 0))):
        assert run(*common, "-p", tmp_path / out, *options).returncode == 0
    named, numbered = (
        (tmp_path / out / "out" / "images" / "set" / "square.jpg_rawhm.txt").read_text()
        for out in ("named", "numbered")
    )
    assert named == numbered


def test_a_dry_run_shows_the_rules_of_a_formula_with_a_name() -> None:
    result = run("-c", CONFIG, "--dry-run", "--formula", "epsilon-gamma-box,100")
    assert result.returncode == 0
    head, first = result.stdout.splitlines()[:2]
    assert head.endswith("rule of epsilon-gamma-box  rule of 100")
    assert first.split()[-2:] == ["zᴮ", "αβ"]


# --- The box behind layers that move, scale and shift -------------------------------------------------------

BOXED = 'input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 5 }\n'
READER = """
layer { name: "conv" type: "Convolution" bottom: "read" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
"""


def floats(*numbers: float) -> Blob:
    return np.array(numbers, np.float32)


#: Factors and shifts of the channels; the second is turned round.
FACTORS, SHIFTS = floats(0.0125, -0.5, 2), floats(3, -7, 0.5)


def learned(name: str, kind: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {more} }}\n'


ONE_SHIFT = "dummy_data_param { data_filler { value: 2.5 } shape { dim: [1, 3, 6, 5] } }"
#: Title -> layers between image and convolution, their weights, and the factors and shifts that they make.
BEHIND: dict[str, tuple[str, dict[str, list[Blob]], Blob | float, Blob | float]] = {
    "Power": (learned("p", "Power", "data", "read", "power_param { scale: -0.25 shift: 3 }"), {}, -0.25, 3.0),
    "Scale": (
        learned("s", "Scale", "data", "read", "scale_param { bias_term: true }"),
        {"s": [FACTORS, SHIFTS]},
        FACTORS,
        SHIFTS,
    ),
    "Bias": (learned("b", "Bias", "data", "read"), {"b": [SHIFTS]}, 1.0, SHIFTS),
    "BatchNorm and Scale": (
        learned("n", "BatchNorm", "data", "n", "batch_norm_param { eps: 0 }")
        + learned("s", "Scale", "n", "read", "scale_param { bias_term: true }"),
        {
            "n": [floats(1, 2, 3), floats(4, 4, 16), floats(1)],
            "s": [floats(2, -2, 4), SHIFTS],
        },
        floats(1, -1, 1),
        floats(2, -5, -2.5),
    ),
    "Dropout and Split": (
        learned("d", "Dropout", "data", "d")
        + learned("p", "Power", "d", "read", "power_param { scale: 0.5 }")
        + learned("aside", "Power", "d", "aside", "power_param { power: 2 }"),
        {},
        0.5,
        0.0,
    ),
    "a constant": (
        f'layer {{ name: "c" type: "DummyData" top: "c" {ONE_SHIFT} }}\n'
        'layer { name: "sum" type: "Eltwise" bottom: "c" bottom: "data" top: "read" '
        "eltwise_param { coeff: [1, -0.5] } }\n",
        {},
        -0.5,
        2.5,
    ),
    "Slice and Concat": (
        'layer { name: "cut" type: "Slice" bottom: "data" top: "a" top: "b" '
        "slice_param { slice_point: 1 } }\n"
        + learned("p", "Power", "a", "scaled", "power_param { scale: -4 }")
        + 'layer { name: "cat" type: "Concat" bottom: "scaled" bottom: "b" top: "read" }\n',
        {},
        floats(-4, 1, 1),
        0.0,
    ),
}  # fmt: skip


def box_maps(net: Net, batch: Blob, lowest: Blob, highest: Blob, start: str) -> list[Blob]:
    """Maps by both formulas with zᴮ, for l and h of every channel."""
    parameters = replace(PARAMETERS, lowest=tuple(lowest.tolist()), highest=tuple(highest.tolist()))
    found = []
    for name in ("epsilon-gamma-box", "deep-taylor"):
        plan = resolve_plan(net, name, parameters, start, 0)
        forward = ENGINE.forward(net, [plan], batch)
        found.append(from_scores(plan, forward, [[1], [3]]))
    return found


@pytest.mark.parametrize("canonize", ["auto", "off"])
@pytest.mark.parametrize("title", BEHIND)
def test_z_box_follows_what_is_scaled_and_shifted(title: str, canonize: str, tmp_path: Path) -> None:
    text, weights, factor, shift = BEHIND[title]
    twin_text = BOXED + READER.replace('"read"', '"data"')
    reading = random_weights(parse(tmp_path, twin_text), 8)
    low, high = floats(-104, -117, -30), floats(151, 138, 225)
    batch = np.random.default_rng(2).uniform(-30, 138, (2, 3, 6, 5)).astype(np.float32)
    net = build(tmp_path, BOXED + text + READER, {**weights, **reading}, canonize=canonize)
    found = box_maps(net, batch, low, high, "fc")

    factors, shifts = (np.broadcast_to(np.asarray(part, np.float32), 3) for part in (factor, shift))
    ends = np.sort([low * factors + shifts, high * factors + shifts], axis=0)
    moved = batch * factors.reshape(3, 1, 1) + shifts.reshape(3, 1, 1)
    twin = build(tmp_path, twin_text, reading)
    expected = box_maps(twin, moved, ends[0], ends[1], "fc")
    if title == "a constant":  # which takes its share as a bias does
        expected = [relevance * (-0.5 * batch) / moved for relevance in expected]
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, 1e-4)


def test_z_box_has_bounds_of_its_own_where_they_differ_within_a_channel(tmp_path: Path) -> None:
    text = BOXED + learned("s", "Scale", "data", "read", "scale_param { num_axes: -1 }") + READER
    factors = random_blob((3, 6, 5), 6)
    reading = random_weights(parse(tmp_path, BOXED + READER.replace('"read"', '"data"')), 8)
    net = build(tmp_path, text, {"s": [factors], **reading})
    parameters = replace(PARAMETERS, lowest=(-1.0, -2.0, -3.0), highest=(4.0, 5.0, 6.0))
    plan = resolve_plan(net, "deep-taylor", parameters, "fc", 0)
    (rule,) = (step.rule for step in plan.steps if step.layer.name == "conv")
    assert isinstance(rule, ZBox)
    low, high = floats(-1, -2, -3).reshape(3, 1, 1), floats(4, 5, 6).reshape(3, 1, 1)
    ends = np.sort([low * factors, high * factors], axis=0)
    np.testing.assert_array_equal(floats(*rule.lowest), ends[0].ravel())
    np.testing.assert_array_equal(floats(*rule.highest), ends[1].ravel())


@pytest.mark.parametrize(
    "between",
    [
        learned("p", "Power", "data", "read", "power_param { power: 2 }"),
        learned("a", "AbsVal", "data", "read"),
        'layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "data" top: "read" }',
    ],
)
def test_z_box_does_not_follow_what_else_is_made_of_the_image(between: str, tmp_path: Path) -> None:
    with pytest.raises(
        PlanError, match=r"'conv' \(Convolution\) does not read the image, nor a moved, scaled or"
    ):
        resolve_plan(build(tmp_path, BOXED + between + READER), "deep-taylor", PARAMETERS, "fc", 0)
