"""Memory foretold from shapes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from builders import build

from caffe_lrp.engines import footprint
from caffe_lrp.engines.base import Footprint
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.engines.footprint import footprint_of
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

#: Values of one image: data 75 = 3·5·5, conv 18 = 2·3·3, relu 18, fc 4, prob 4.
CHAIN = """
input: "data" input_shape { dim: 1 dim: 3 dim: 5 dim: 5 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 4 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
#: 54 + 2 weights of the convolution, 72 + 4 of the inner product.
CHAIN_WEIGHTS = 4 * (54 + 2 + 72 + 4)

#: data 12 = 3·2·2, whose Split takes nothing, a 8, b 8, joined 16.
FORK = """
input: "data" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }
layer { name: "b" type: "Convolution" bottom: "data" top: "b"
  convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }
layer { name: "join" type: "Concat" bottom: "a" bottom: "b" top: "join" }
layer { name: "drop" type: "Dropout" bottom: "join" top: "drop" }
"""


DERIVED, KEPT, PACKED = footprint.derived_floats, footprint.kept_floats, footprint.packed_floats


@pytest.fixture(autouse=True)
def _values_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What layers and rules take besides is tested with them."""
    monkeypatch.setattr(footprint, "packed_floats", lambda *_: 0)
    monkeypatch.setattr(footprint, "kept_floats", lambda _: 0)
    monkeypatch.setattr(footprint, "derived_floats", lambda *_: {})


def plan(net: Net, code: int | str, start: int) -> Plan:
    return resolve_plan(
        net,
        code,
        RuleParameters(0.01, 1, 0, REFERENCE, lowest=(-1.0,), highest=(1.0,)),
        start,
        0,
    )


def test_values_that_no_plan_looks_at_are_freed_on_the_way(tmp_path: Path) -> None:
    # Deconvolution keeps the scores alone: most is in memory while the convolution runs (75 + 18), or
    # with scores (4), output (4) and relevance of its output and input (18 + 75).
    net = build(tmp_path, CHAIN)
    assert footprint_of(net, [plan(net, 26, 2)]) == Footprint(CHAIN_WEIGHTS, 4 * (4 + 4 + 18 + 75))


def test_the_engine_adds_what_is_lost_where_memory_is_used_again(tmp_path: Path) -> None:
    net = build(tmp_path, CHAIN)
    assert CpuEngine.footprint(net, [plan(net, 26, 2)]) == Footprint(CHAIN_WEIGHTS, 464)  # 404 · 1.15


def test_values_that_a_plan_looks_at_stay(tmp_path: Path) -> None:
    # ε keeps all values (75 + 18 + 18 + 4 + 4).
    net = build(tmp_path, CHAIN)
    assert footprint_of(net, [plan(net, 0, 2)]) == Footprint(CHAIN_WEIGHTS, 4 * (119 + 18 + 75))


def test_plans_share_what_they_keep(tmp_path: Path) -> None:
    net = build(tmp_path, CHAIN)
    alone, together = (
        footprint_of(net, [plan(net, 0, 2)]),
        footprint_of(net, [plan(net, c, 2) for c in (26, 0)]),
    )
    assert alone == together


def test_layers_that_only_rename_take_nothing_forward(tmp_path: Path) -> None:
    # Start above the Split is the Concat: ε keeps data (12), a, b (8 each) and the joined blob (16). On the
    # way down there are joined 16 + a 8 + b 8, then the Split's outputs (12 each) and a's output, then
    # the Split's outputs and the data.
    net = build(tmp_path, FORK)
    assert footprint_of(net, [plan(net, 0, 3)]).per_image == 4 * (12 + 8 + 8 + 16 + 3 * 12)


def test_what_layers_and_rules_take_besides_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(tmp_path, CHAIN)
    plans = [plan(net, 0, 2)]
    before = footprint_of(net, plans)
    monkeypatch.setattr(footprint, "kept_floats", lambda step: step.layer.index == 0)
    monkeypatch.setattr(footprint, "derived_floats", lambda step, _: {"a": 100 * (step.layer.index == 0)})
    monkeypatch.setattr(footprint, "packed_floats", lambda layer, _: 1000 * (layer.index == 0))
    assert footprint_of(net, plans) == Footprint(before.fixed + 4400, before.per_image + 4)
    # Two plans with the same rule derive and keep the same things once.
    assert footprint_of(net, plans * 2) == footprint_of(net, plans)


#: One convolution that Winograd's algorithm takes, 16 channels to 18; another first layer, signed inputs.
WIDE = """
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "first" type: "Convolution" bottom: "data" top: "first"
  convolution_param { num_output: 16 kernel_size: 5 stride: 2 pad: 2 } }
layer { name: "relu" type: "ReLU" bottom: "first" top: "first" }
layer { name: "second" type: "Convolution" bottom: "first" top: "second"
  convolution_param { num_output: 18 kernel_size: 3 pad: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "second" top: "fc" inner_product_param { num_output: 4 } }
"""
FIRST, SECOND, FC = 16 * 3 * 25, 18 * 16 * 9, 4 * 18 * 16


@pytest.mark.parametrize(
    ("code", "derived", "kept"),
    [
        # ε: the adjoint of the layer's own weights; of an inner product they are used as they are.
        (0, [FIRST, 4 * SECOND, 0], [0, 0, 0]),
        # αβ: the weights by sign, four of them for signed inputs, forwards and backwards.
        (2, [4 * FIRST * 3, 2 * SECOND * 9, 4 * FC], [2 * 16 * 16, 2 * 18 * 16, 2 * 4]),
        # The switch layer is 0: w² and its adjoint there; flat needs no weights.
        (104, [2 * FIRST, 2 * SECOND * 9, 0], [0, 2 * 18 * 16, 0]),
        (102, [0, 2 * SECOND * 9, 0], [0, 2 * 18 * 16, 0]),
        # z⁺ hands back along half of the weights.
        ("epsilon-plus", [4 * FIRST * 5 // 2, 2 * SECOND * 7, 0], [2 * 16 * 16, 2 * 18 * 16, 0]),
        # z^B: both parts of the weights, forwards and backwards, and the bounds; γ as αβ.
        ("epsilon-gamma-box", [2 * FIRST * 3 + 2 * 3 * 64, 2 * SECOND * 9, 0], [0, 2 * 18 * 16, 0]),
    ],
)
def test_what_rules_derive_and_keep(
    code: int | str, derived: list[int], kept: list[int], tmp_path: Path
) -> None:
    net = build(tmp_path, WIDE)
    steps = [step for step in reversed(plan(net, code, 3).steps) if step.layer.weights]
    assert [sum(DERIVED(step, "auto").values()) for step in steps] == derived
    assert [KEPT(step) for step in steps] == kept
    assert [PACKED(step.layer, "auto") for step in steps] == [FIRST, 4 * SECOND, 0]


def test_what_convolutions_take_depends_on_how_they_are_computed(tmp_path: Path) -> None:
    net = build(tmp_path, WIDE)
    taken = {
        method: [
            sum(DERIVED(step, method).values()) + PACKED(step.layer, method) for step in plan(net, 0, 3).steps
        ]
        for method in ("auto", "direct", "winograd")
    }
    assert taken["direct"] == [0, 2 * SECOND, 0, 2 * FIRST]
    assert taken["auto"] == taken["winograd"] == [0, 8 * SECOND, 0, 2 * FIRST]


@pytest.mark.parametrize("codes", [(2, 0), (0, 2), (2,)])
def test_what_is_kept_for_one_plan_is_counted_whatever_others_need(
    codes: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = build(tmp_path, WIDE)
    plans = [plan(net, code, 3) for code in codes]
    before = footprint_of(net, plans).per_image
    monkeypatch.setattr(footprint, "kept_floats", KEPT)
    assert footprint_of(net, plans).per_image == before + 4 * (2 * 16 * 16 + 2 * 18 * 16 + 2 * 4)


def derived_together(net: Net, plans: Sequence[Plan], monkeypatch: pytest.MonkeyPatch) -> int:
    """Numbers that plans derive, besides the net's own weights."""
    monkeypatch.setattr(footprint, "derived_floats", DERIVED)
    weights = 4 * sum(blob.size for layer in net.layers for blob in layer.weights)
    fixed = [footprint_of(net, [one]).fixed - weights for one in plans]
    together = footprint_of(net, plans).fixed - weights
    assert max(fixed) <= together <= sum(fixed)
    return together // 4


def test_rules_share_what_they_derive_from_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(tmp_path, WIDE)
    codes = (2, "gamma-all", "epsilon-plus", 0, 11)
    # Weights by sign forwards and backwards, and backwards their first half; own weights backwards.
    by_sign = 4 * FIRST * 3 + 2 * SECOND * 9 + 4 * FC
    expected = by_sign + 2 * FIRST + SECOND * 4 + FIRST + 4 * SECOND
    assert derived_together(net, [plan(net, code, 3) for code in codes], monkeypatch) == expected


def test_plans_with_the_same_rule_share_squares_but_no_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = build(tmp_path, WIDE)
    plans = [plan(net, code, 3) for code in (104, 104, "deep-taylor", "epsilon-gamma-box")]
    steps = [next(step for step in each.steps if step.layer.name == "first") for each in plans]
    assert steps[0].prepared is steps[1].prepared
    assert steps[2].prepared[0].map is not steps[3].prepared[0].map
    ours, theirs = (DERIVED(step, "auto") for step in steps[2:])
    assert ours and ours.keys().isdisjoint(theirs)
    assert DERIVED(steps[0], "auto").keys() == DERIVED(steps[1], "auto").keys()


def test_z_box_has_inputs_and_outputs_of_its_own_on_the_way(tmp_path: Path) -> None:
    net = build(tmp_path, CHAIN)
    # All values of ε are kept; at the convolution there are 18 + 75 of relevance, twice its inputs less a
    # bound, its sum, and the inputs of one part.
    held, passing = 75 + 18 + 4 + 4, 18 + 75 + 2 * 75 + 18 + 75
    found = footprint_of(net, [plan(net, "deep-taylor", 2)]).per_image
    assert found == 4 * (held + passing)
