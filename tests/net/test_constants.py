"""Blobs beside the image: only their shape matters, or they are constants that take shares as biases do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import (
    ENGINE,
    assert_close,
    build,
    deployed,
    from_scores,
    parse,
    random_blob,
    random_weights,
)
from numpy.typing import NDArray

from caffe_lrp.errors import ModelError
from caffe_lrp.inspection.dot import dot_text
from caffe_lrp.inspection.facts import facts_of
from caffe_lrp.inspection.svg import svg_text
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.build import build_graph
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.conservation import Conservation, Ledger
from caffe_lrp.relevance.passage import Passage
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.accounts import Constants
from caffe_lrp.relevance.rules.base import RuleParameters

INPUT = 'input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }\n'
SCORES = """
layer { name: "fc" type: "InnerProduct" bottom: "mix" top: "fc" inner_product_param { num_output: 6 } }
"""
BATCH = random_blob((2, 3, 4, 5), 1)

Doubles = NDArray[np.float64]


def dummy(name: str, more: str) -> str:
    return f'layer {{ name: "{name}" type: "DummyData" top: "{name}" dummy_data_param {{ {more} }} }}\n'


def constant(value: float, *sizes: int) -> str:
    shape = " ".join(f"dim: {size}" for size in sizes)
    return dummy("fixed", f'data_filler {{ type: "constant" value: {value} }} shape {{ {shape} }}')


def mix(body: str, bottoms: str = "data fixed") -> str:
    reads = " ".join(f'bottom: "{blob}"' for blob in bottoms.split())
    return f'layer {{ name: "mix" {reads} top: "mix" {body} }}\n' + SCORES


def relevance_of(net: Net, formula: int = 0) -> tuple[Blob, dict[str, Passage], Conservation]:
    """The map of two images, what passed every layer, and the account of the first image."""
    parameters = RuleParameters(0.01, 0.0, -1, CORRECTED)
    plan = resolve_plan(net, formula, parameters, "auto", 0)
    passages: dict[str, Passage] = {}
    ledger = Ledger(plan, Constants())

    def observe(passage: Passage) -> None:
        passages[passage.step.layer.name] = passage
        ledger(passage)

    forward = ENGINE.forward(net, [plan], BATCH)
    return from_scores(plan, forward, [[0], [4]], observe), passages, ledger.report(0)


# --- Only the shape -----------------------------------------------------------------------------------------

CROPPED = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 1 pad: 1 } }
REFERENCE
layer { name: "crop" type: "Crop" bottom: "conv" bottom: "shape" top: "mix" crop_param { axis: 2 offset: 1 } }
"""
BY_CONVOLUTION = """
layer { name: "shape" type: "Convolution" bottom: "data" top: "shape"
  convolution_param { num_output: 2 kernel_size: 2 } }
"""


@pytest.mark.parametrize(
    "reference",
    [
        dummy("shape", "shape { dim: 1 dim: 2 dim: 3 dim: 4 }"),
        dummy("shape", 'shape { dim: [7, 2, 3, 4] } data_filler { type: "gaussian" std: 0.1 }'),
        dummy("shape", "num: 1 channels: 2 height: 3 width: 4"),
        'layer { name: "d" type: "DummyData" top: "unread" top: "shape" dummy_data_param {'
        " num: 1 channels: 2 height: [9, 3] width: [9, 4] } }",
        'layer { name: "in" type: "Input" top: "shape" input_param { shape { dim: [1, 2, 3, 4] } } }',
        dummy("large", "shape { dim: 1 dim: 2 dim: 6 dim: 8 }")
        + 'layer { name: "pool" type: "Pooling" bottom: "large" top: "shape"'
        " pooling_param { pool: MAX kernel_size: 2 stride: 2 } }",
    ],
    ids=["DummyData", "random", "old style", "several tops", "Input", "through a layer"],
)
def test_a_blob_beside_the_image_may_give_a_shape(reference: str, tmp_path: Path) -> None:
    twin = INPUT + CROPPED.replace("REFERENCE", BY_CONVOLUTION) + SCORES
    weights = random_weights(parse(tmp_path, twin), 3)
    expected, *_ = relevance_of(build(tmp_path, twin, weights))
    del weights["shape"]
    net = build(tmp_path, INPUT + CROPPED.replace("REFERENCE", reference) + SCORES, weights)
    assert [layer.name for layer in net.layers if layer.name != "pool"] == ["conv", "crop", "fc"]
    assert any("provides only its shape" in notice for notice in net.notices)
    found, _, account = relevance_of(net)
    np.testing.assert_array_equal(found, expected)
    assert "constant" not in account.lost


def test_a_second_input_may_give_a_shape(tmp_path: Path) -> None:
    text = 'input: "shape" input_shape { dim: 1 dim: 2 dim: 3 dim: 4 }\n' + INPUT
    net = deployed(tmp_path, text + CROPPED.replace("REFERENCE", "") + SCORES)
    assert [declared.name for declared in net.inputs] == ["data"]


# --- Constants ----------------------------------------------------------------------------------------------


def shared(x: Doubles, other: float, relevance: Doubles) -> Doubles:
    """What x gets of the relevance of x + other."""
    return relevance * x / (x + other)


#: Title -> constant, the layer that reads it, its output, and what of relevance goes on to the image.
MIXES: dict[str, tuple[str, str, Callable[[Doubles], Doubles], Callable[[Doubles, Doubles], Doubles]]] = {
    "product": (
        constant(0.5, 2, 3, 4, 5),
        mix('type: "Eltwise" eltwise_param { operation: PROD }'),
        lambda x: 0.5 * x,
        lambda x, r: r,
    ),
    "constant first": (
        constant(0.5, 1, 3, 4, 5),
        mix('type: "Eltwise" eltwise_param { operation: PROD }', "fixed data"),
        lambda x: 0.5 * x,
        lambda x, r: r,
    ),
    "constant of constants": (
        constant(0.5, 1, 3, 4, 5)
        + 'layer { name: "minus" type: "Power" bottom: "fixed" top: "minus" power_param { scale: -3 } }',
        mix('type: "Eltwise" eltwise_param { operation: PROD }', "data minus"),
        lambda x: -1.5 * x,
        lambda x, r: r,
    ),
    "product with a gate": (
        constant(0.5, 1, 3, 4, 5) + 'layer { name: "gate" type: "Sigmoid" bottom: "data" top: "gate" }\n',
        mix('type: "Eltwise" eltwise_param { operation: PROD }', "gate fixed"),
        lambda x: 0.5 / (1 + np.exp(-x)),
        lambda x, r: r,
    ),
    "sum": (
        constant(0.25, 1, 3, 4, 5),
        mix('type: "Eltwise" eltwise_param { coeff: 2 coeff: -3 }'),
        lambda x: 2 * x - 0.75,
        lambda x, r: shared(2 * x, -0.75, r),
    ),
    "constant twice": (
        constant(0.25, 1, 3, 4, 5),
        mix('type: "Eltwise"', "fixed data fixed"),
        lambda x: x + 0.5,
        lambda x, r: shared(x, 0.5, r),
    ),
    "maximum": (
        constant(0.25, 1, 3, 4, 5),
        mix('type: "Eltwise" eltwise_param { operation: MAX }'),
        lambda x: np.maximum(x, 0.25),
        lambda x, r: np.where(x > 0.25, r, 0),
    ),
    "scale of all": (
        constant(3, 2, 3),
        mix('type: "Scale" scale_param { axis: 0 }'),
        lambda x: 3 * x,
        lambda x, r: r,
    ),
    "scaled constant": (
        constant(3, 2, 3, 4, 5),
        mix('type: "Scale" scale_param { axis: 0 }', "fixed data"),
        lambda x: 3 * x,
        lambda x, r: r,
    ),
    "scale of channels": (constant(3, 3), mix('type: "Scale"'), lambda x: 3 * x, lambda x, r: r),
    "bias of channels": (
        constant(0.75, 3),
        mix('type: "Bias"'),
        lambda x: x + 0.75,
        lambda x, r: shared(x, 0.75, r),
    ),
    "concatenation": (
        constant(0.75, 1, 1, 4, 5),
        mix('type: "Concat"'),
        lambda x: np.concatenate([x, np.full((2, 1, 4, 5), 0.75)], axis=1),
        lambda x, r: r[:, :3],
    ),
}


@pytest.mark.parametrize("title", MIXES)
def test_constants_take_their_share_and_the_image_the_rest(title: str, tmp_path: Path) -> None:
    fixed, reader, output, handed = MIXES[title]
    net = build(tmp_path, INPUT + fixed + reader, seed=4)
    assert net.layers[-1].index == len(net.layers) - 1 == 1 + fixed.count("bottom:")
    found, passages, account = relevance_of(net)
    x, mixed = BATCH.astype(np.float64), passages["mix"]
    assert_close(passages["fc"].seen.inputs[0], output(x))
    received = mixed.received[0].astype(np.float64)
    assert_close(found, handed(x, received), 1e-4)
    (lost,) = (layer.lost for layer in account.layers if layer.name == "mix")
    taken = received[0].sum() - handed(x, received)[0].sum()
    assert lost.get("constant", 0.0) == pytest.approx(taken, rel=1e-4, abs=1e-5)
    assert abs(lost.get("rest", 0.0)) < 1e-4
    assert account.aside == 0
    assert account.arrives == pytest.approx(float(found[0].sum(dtype=np.float64)), rel=1e-5)


@pytest.mark.parametrize("formula", [11, 26])
def test_gradients_pass_constants_by(formula: int, tmp_path: Path) -> None:
    fixed, reader, *_ = MIXES["product"]
    found, passages, _ = relevance_of(build(tmp_path, INPUT + fixed + reader, seed=4), formula)
    assert_close(found, 0.5 * passages["mix"].received[0].astype(np.float64))


def test_values_that_follow_from_constants_alone_are_no_outputs(tmp_path: Path) -> None:
    aside = 'layer { name: "aside" type: "Softmax" bottom: "fixed" top: "aside" }\n'
    net = build(tmp_path, INPUT + constant(1, 1, 3, 4, 5) + aside + mix('type: "Eltwise"'), seed=4)
    assert net.value_names[net.output_value] == "fc"


@pytest.mark.parametrize(
    ("filler", "reason"),
    [
        (
            'data_filler { type: "gaussian" std: 0.1 }',
            "random numbers, on which the scores depend; make it a constant",
        ),
        ('data_filler { type: "uniform" }', "fills 'fixed' with random numbers"),
        ('data_filler { type: "constant" value: 1e39 }', "fills 'fixed' with inf; give a finite number"),
        ('data_filler { } data_filler { type: "xavier" }', "fills 'fixed' with random numbers"),
    ],
)
def test_other_numbers_beside_the_image_are_refused(filler: str, reason: str, tmp_path: Path) -> None:
    layer = 'layer { name: "noise" type: "DummyData" top: "other" top: "fixed" dummy_data_param {'
    text = f"{layer} shape {{ dim: [1, 3, 4, 5] }} {filler} }} }}\n" + mix('type: "Eltwise"')
    message = rf"data layer 'noise' \(DummyData\): .*{reason}"
    if "} data_filler" in filler:
        text = text.replace("data_filler { }", 'data_filler { type: "constant" }')
    with pytest.raises(ModelError, match=message):
        build_graph(deployed(tmp_path, INPUT + text))


def test_a_constant_without_a_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not give the size of 'fixed'; add dummy_data_param"):
        build_graph(deployed(tmp_path, INPUT + dummy("fixed", "") + mix('type: "Eltwise"')))


def test_a_filler_that_says_nothing_is_the_constant_0(tmp_path: Path) -> None:
    text = INPUT + dummy("fixed", "shape { dim: [1, 3, 4, 5] }") + mix('type: "Eltwise"')
    _, passages, _ = relevance_of(build(tmp_path, text, seed=4))
    np.testing.assert_array_equal(passages["fc"].seen.inputs[0], BATCH)


def test_pictures_of_the_net_show_constants(tmp_path: Path) -> None:
    fixed, reader, *_ = MIXES["constant twice"]
    facts = facts_of(build(tmp_path, INPUT + fixed + reader), (0,), RuleParameters(0.01, 0.0, -1, CORRECTED))
    assert dot_text(facts).count('label="fixed\\n1×3×4×5"') == 2
    assert svg_text(facts).count(">constant<") == 2
