"""Borders around blobs: constants, edges, reflections; and where relevance of constants ends."""

from pathlib import Path

import numpy as np
import pytest
from builders import (
    ENGINE,
    WORKSPACE,
    assert_close,
    build,
    from_scores,
    lone_layer,
    parse,
    random_blob,
    random_weights,
)
from oracle import Array, Real, Shape

from caffe_lrp.errors import ModelError
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.conservation import Ledger
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.accounts import Constants
from caffe_lrp.relevance.rules.base import RuleParameters

IMAGE = (3, 4, 5)
Widths = tuple[tuple[int, int], ...]

BODIES = {
    "constant": 'type: "Pad" pad_param { begin: 1 begin: 2 end: 0 end: 3 value: -0.5 }',
    "edge": 'type: "Pad" pad_param { begin: 2 begin: 7 end: 3 end: 0 mode: EDGE }',
    "reflect": 'type: "Pad" pad_param { begin: 3 begin: 1 end: 0 end: 4 mode: REFLECT }',
    "of channels": 'type: "Pad" pad_param { axis: 1 begin: 1 end: 2 mode: REFLECT }',
    "nothing": 'type: "Pad"',
}
WIDTHS: dict[str, Widths] = {
    "constant": ((0, 0), (1, 0), (2, 3)),
    "edge": ((0, 0), (2, 3), (7, 0)),
    "reflect": ((0, 0), (3, 0), (1, 4)),
    "of channels": ((1, 2), (1, 2), (1, 2)),
    "nothing": ((0, 0), (0, 0), (0, 0)),
}
by_name = pytest.mark.parametrize("name", BODIES)


def source(place: int, size: int, name: str) -> int | None:
    """The place in an axis that an output comes from, counted step by step; None for a constant."""
    if name == "constant" and not 0 <= place < size:
        return None
    step = 1
    found = 0
    for _ in range(abs(place)):
        if name == "edge":
            found = min(found + 1, size - 1) if place > 0 else 0
            continue
        step = -1 if found == size - 1 and step == 1 else step
        found += step
    return found


def bordered(x: Real, name: str) -> Array:
    widths = WIDTHS[name]
    out = np.full((len(x), *(size + sum(pair) for size, pair in zip(x.shape[1:], widths, strict=True))), -0.5)
    for at in np.ndindex(*out.shape[1:]):
        places = zip(at, x.shape[1:], widths, strict=True)
        sources = [source(place - begin, size, name) for place, size, (begin, _) in places]
        if None not in sources:
            out[(slice(None), *at)] = x[(slice(None), *sources)]
    return out


@by_name
def test_forward_equals_loops(name: str, tmp_path: Path) -> None:
    layer, x = lone_layer(tmp_path, BODIES[name], IMAGE), random_blob((2, *IMAGE), 1)
    (out,) = layer.forward([x], WORKSPACE)
    assert_close(out, bordered(x, name), 0)
    assert layer.output_shapes == (out.shape[1:],)


@by_name
def test_the_gradient_is_the_adjoint(name: str, tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, BODIES[name], IMAGE)
    gradient = random_blob((2, *layer.output_shapes[0]), 2)
    (found,) = layer.gradient([], [], [gradient], WORKSPACE)
    expected = np.zeros((2, *IMAGE))
    for at in np.ndindex(*IMAGE):
        unit = np.zeros((1, *IMAGE))
        unit[(0, *at)] = 1
        reached = bordered(unit, name) - bordered(np.zeros((1, *IMAGE)), name)
        expected[(slice(None), *at)] = (gradient * reached).sum(axis=(1, 2, 3))
    assert_close(found, expected, 1e-6, 3.0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('type: "Pad" pad_param { begin: 1 value: 0.5 }', (False, True)),
        ('type: "Pad" pad_param { begin: 1 value: -0.5 }', (False, False)),
        ('type: "Pad" pad_param { begin: 1 mode: EDGE value: -0.5 }', (False, True)),
    ],
)
def test_negative_constants_make_outputs_negative(
    body: str, expected: tuple[bool, bool], tmp_path: Path
) -> None:
    layer = lone_layer(tmp_path, body, IMAGE)
    assert (layer.is_nonnegative([False]), layer.is_nonnegative([True])) == expected


NET = """
input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 5 }
layer { name: "pad" type: "Pad" bottom: "data" top: "pad" pad_param { begin: 1 end: 2 VALUE } }
layer { name: "conv" type: "Convolution" bottom: "pad" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 5 bias_term: false } }
"""


@pytest.mark.parametrize("formula", [0, 60])
@pytest.mark.parametrize("border", ["value: 0.75", "value: 0", "mode: REFLECT"])
def test_relevance_of_constants_is_lost_to_padding(border: str, formula: int | str, tmp_path: Path) -> None:
    text = NET.replace("VALUE", border)
    net = build(tmp_path, text, random_weights(parse(tmp_path, text), 3))
    parameters = RuleParameters(epsilon=0.01, beta=0.0, switch_layer=1, quirks=CORRECTED)
    plan = resolve_plan(net, formula, parameters, "fc", 0)
    ledger = Ledger(plan, Constants())
    x = random_blob((2, 3, 6, 5), 1)
    relevance = from_scores(plan, ENGINE.forward(net, [plan], x), [[1], [3]], ledger)
    report = ledger.report(0)
    account = report.layers[-1]
    assert account.name == "pad"
    assert abs(account.lost.get("rest", 0)) <= 1e-5 * account.absolute
    is_lost = border == "value: 0.75" or (border == "value: 0" and formula != 0)
    assert (abs(account.lost.get("padding", 0)) > 1e-3 * account.absolute) == is_lost
    assert report.arrives == pytest.approx(float(relevance[0].sum()), abs=1e-4)


BAD: dict[str, tuple[str, Shape, str]] = {
    "three widths": ('type: "Pad" pad_param { begin: 1 begin: 2 begin: 3 }', IMAGE, "3 begin for 2 axes"),
    "a wide reflection": (
        'type: "Pad" pad_param { end: 4 mode: REFLECT }',
        IMAGE,
        "must be smaller than its axis",
    ),
    "an infinite border": (
        'type: "Pad" pad_param { end: 1 value: -inf }',
        IMAGE,
        "value must be a number, not -inf; for a maximum, pad in pooling_param",
    ),
    "absurd widths": ('type: "Pad" pad_param { end: 4000000000 }', IMAGE, "end must be at most 65536"),
    "vectors": ('type: "Pad" pad_param { end: 1 }', (7,), "axis 2 is not supported"),
}


@pytest.mark.parametrize(("body", "shape", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_are_errors_that_name_the_layer(
    body: str, shape: Shape, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        lone_layer(tmp_path, body, shape)
    assert "layer 0 'layer'" in str(caught.value)
