"""Neuron layers written with NumPy: values and slopes, signs, and relevance that passes them."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_layers
from builders import (
    WORKSPACE,
    EagerWorkspace,
    Weights,
    assert_close,
    build,
    deployed,
    layer_net,
    random_blob,
    single_layer,
)
from extended_walker import ExtendedWalker, Pair, Slow, passed
from oracle import Array, Real
from oracle_walker import Options
from test_layers import IMAGE, Case

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.neurons import NumpyNeuron
from caffe_lrp.net.build import build_net


def each(function: Callable[[float], float]) -> Callable[[Real, list[Blob]], Array]:
    """The slow version of a neuron: ``function`` of one number after the other."""

    def slow(x: Real, weights: list[Blob]) -> Array:
        del weights
        return np.array([function(float(number)) for number in x.reshape(-1)]).reshape(x.shape)

    return slow


def slow_prelu(x: Real, weights: list[Blob]) -> Array:
    out = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        slope = weights[0][at[1] if len(weights[0]) > 1 else 0]
        out[at] = x[at] if x[at] > 0 else float(slope) * float(x[at])
    return out


def gelu(x: float) -> float:
    return x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def selu(factor: float, alpha: float) -> Callable[[float], float]:
    return lambda x: factor * (x if x > 0 else alpha * (math.exp(x) - 1))


def neuron(name: str, body: str, function: Callable[[float], float], shape: tuple[int, ...] = IMAGE) -> Case:
    return Case(name, body, shape, shape, each(function))


CASES = [
    Case("prelu", 'type: "PReLU"', IMAGE, IMAGE, slow_prelu),
    Case("prelu of scores", 'type: "PReLU"', (9,), (9,), slow_prelu),
    Case("prelu of three axes", 'type: "PReLU"', (4, 5), (4, 5), slow_prelu),
    Case("shared prelu", 'type: "PReLU" prelu_param { channel_shared: true }', IMAGE, IMAGE, slow_prelu),
    Case(
        "shared prelu of scores", 'type: "PReLU" prelu_param { channel_shared: true }', (9,), (9,), slow_prelu
    ),
    neuron("elu", 'type: "ELU"', lambda x: x if x > 0 else math.exp(x) - 1),
    neuron(
        "elu with alpha",
        'type: "ELU" elu_param { alpha: 0.3 }',
        lambda x: x if x > 0 else 0.3 * (math.exp(x) - 1),
        (9,),
    ),
    neuron("relu6", 'type: "ReLU6"', lambda x: min(max(x, 0), 6)),
    neuron(
        "relu6 with a threshold",
        'type: "ReLU6" relu6_param { threshold: 0.75 }',
        lambda x: min(max(x, 0), 0.75),
        (4, 5),
    ),
    neuron(
        "leaky relu6",
        'type: "ReLU6" relu6_param { threshold: 0.75 negative_slope: 0.3 }',
        lambda x: min(x if x > 0 else 0.3 * x, 0.75),
        (4, 5),
    ),
    neuron(
        "clip", 'type: "Clip" clip_param { min: -0.5 max: 0.25 }', lambda x: max(-0.5, min(x, 0.25)), (4, 5)
    ),
    neuron("swish", 'type: "Swish"', lambda x: x / (1 + math.exp(-x))),
    neuron(
        "swish with beta",
        'type: "Swish" swish_param { beta: -1.5 }',
        lambda x: x / (1 + math.exp(1.5 * x)),
        (9,),
    ),
    neuron("gelu", 'type: "GELU"', gelu),
    neuron("gelu with a factor", 'type: "GELU" gelu_param { coeff: 1.5 }', lambda x: 1.5 * gelu(x), (9,)),
    neuron(
        "exact gelu",
        'type: "GELU" gelu_param { approximate: NONE coeff: 1.5 }',
        lambda x: 1.5 * x * math.erfc(-x / math.sqrt(2)) / 2,
    ),
    neuron("hard sigmoid", 'type: "HardSigmoid"', lambda x: min(max(0.2 * x + 0.5, 0), 1)),
    neuron(
        "hard sigmoid of a mobile net",
        'type: "HardSigmoid" hard_sigmoid_param { alpha: 0.75 beta: 0.25 }',
        lambda x: min(max(0.75 * x + 0.25, 0), 1),
        (9,),
    ),
    neuron("hard swish", 'type: "HardSwish"', lambda x: x * min(max(x / 6 + 0.5, 0), 1)),
    neuron("selu", 'type: "SeLU"', selu(1.050700987, 1.67326324)),
    neuron("selu of one fork", 'type: "SeLu"', selu(1.050700987, 1.67326324), (4, 5)),
    neuron(
        "selu with numbers of its own",
        'type: "SELU" selu_param { lambda: 0.75 alpha: 2.5 }',
        selu(0.75, 2.5),
        (9,),
    ),
    neuron("power that does nothing", 'type: "Power"', lambda x: x),
    neuron("linear power", 'type: "Power" power_param { scale: 0.5 shift: -2 }', lambda x: 0.5 * x - 2),
    neuron(
        "cube", 'type: "Power" power_param { power: 3 scale: -0.5 shift: 1 }', lambda x: (1 - 0.5 * x) ** 3
    ),
    neuron(
        "root", 'type: "Power" power_param { power: 0.5 scale: 0.5 shift: 6 }', lambda x: (6 + 0.5 * x) ** 0.5
    ),
    neuron(
        "reciprocal square",
        'type: "Power" power_param { power: -2 shift: 6 }',
        lambda x: (6 + x) ** -2,
        (4, 5),
    ),
    neuron("power of 0", 'type: "Power" power_param { power: 0 shift: 2 }', lambda x: 1.0, (9,)),
    neuron("power of a constant", 'type: "Power" power_param { power: 2 scale: 0 shift: 3 }', lambda x: 9.0),
    neuron("exp", 'type: "Exp"', math.exp),
    neuron(
        "exp to another base",
        'type: "Exp" exp_param { base: 2 scale: -0.5 shift: 3 }',
        lambda x: 2 ** (3 - 0.5 * x),
        (9,),
    ),
    neuron(
        "exp to base e with a shift",
        'type: "Exp" exp_param { scale: 0.5 shift: 0.25 }',
        lambda x: math.exp(0.25 + 0.5 * x),
    ),
    neuron("log", 'type: "Log" log_param { shift: 6 }', lambda x: math.log(6 + x)),
    neuron(
        "log to another base",
        'type: "Log" log_param { base: 10 scale: -0.5 shift: 5 }',
        lambda x: math.log10(5 - 0.5 * x),
        (4, 5),
    ),
    neuron("bnll", 'type: "BNLL"', lambda x: math.log(1 + math.exp(x))),
    neuron("threshold", 'type: "Threshold"', lambda x: float(x > 0)),
    neuron(
        "threshold elsewhere",
        'type: "Threshold" threshold_param { threshold: -0.5 }',
        lambda x: float(x > -0.5),
        (9,),
    ),
]

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.slow
@by_name
@test_layers.by_check
def test_as_every_layer(check: Callable[[Case, Path], None], case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("body", ['type: "PReLU"', 'type: "Swish"'])
def test_long_blobs_are_computed_piece_by_piece(body: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.body == body)
    layer = single_layer(tmp_path, body, (7, 61, 97))
    x, gradient = random_blob((3, 7, 61, 97), 1), random_blob((3, 7, 61, 97), 2)
    with EagerWorkspace(3) as workspace:
        (out,) = layer.forward([x], workspace)
        (handed,) = layer.gradient([x], [out], [gradient], workspace)
    assert_close(out, case.slow(x, list(layer.weights)), 2e-6)
    assert isinstance(layer, NumpyNeuron)
    few = x[:, :, :2, :2]
    (expected,) = layer.gradient([few], [], [gradient[:, :, :2, :2]], WORKSPACE)
    np.testing.assert_array_equal(handed[:, :, :2, :2], expected)


# --- Far out ------------------------------------------------------------------------------------------------

EXTREMES = np.array([[-math.inf, -3e38, -1e4, -0.0, 0.0, 1e4, 3e38, math.inf, math.nan]], np.float32)


@by_name
def test_overflow_is_silent(case: Case, tmp_path: Path) -> None:
    layer = single_layer(tmp_path, case.body, (9,))
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="warn"):
        warnings.simplefilter("always")
        (out,) = layer.forward([EXTREMES], WORKSPACE)
        layer.gradient([EXTREMES], [out], [np.ones_like(EXTREMES)], WORKSPACE)
    assert caught == []


def test_overflow_is_silent_in_threads(tmp_path: Path) -> None:
    layer = single_layer(tmp_path, 'type: "Exp"', (4, 61, 67))
    x = np.full((3, 4, 61, 67), 1e4, np.float32)
    with warnings.catch_warnings(), Workspace(2) as workspace:
        warnings.simplefilter("error")
        (out,) = layer.forward([x], workspace)
    assert np.isinf(out).all()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('type: "BNLL"', [0, 0, math.log(2), math.log(2), 1e4, 3e38]),
        ('type: "Swish"', [0, 0, 0, 0, 1e4, 3e38]),
        ('type: "ELU" elu_param { alpha: 2 }', [-2, -2, 0, 0, 1e4, 3e38]),
        ('type: "ReLU6"', [0, 0, 0, 0, 6, 6]),
        ('type: "GELU"', [0, 0, 0, 0, 1e4, 3e38]),
        ('type: "GELU" gelu_param { approximate: NONE }', [0, 0, 0, 0, 1e4, 3e38]),
        ('type: "HardSigmoid"', [0, 0, 0.5, 0.5, 1, 1]),
        ('type: "HardSwish"', [0, 0, 0, 0, 1e4, 3e38]),
        ('type: "SELU" selu_param { lambda: 0.5 alpha: 2 }', [-1, -1, 0, 0, 5e3, 1.5e38]),
        ('type: "Exp"', [0, 0, 1, 1, math.inf, math.inf]),
        ('type: "Log"', [math.nan, math.nan, -math.inf, -math.inf, math.log(1e4), math.log(3e38)]),
        ('type: "Power" power_param { power: 2 }', [math.inf, 1e8, 0, 0, 1e8, math.inf]),
    ],
)
def test_far_out_values_are_those_of_the_limit(body: str, expected: list[float], tmp_path: Path) -> None:
    (out,) = single_layer(tmp_path, body, (9,)).forward([EXTREMES], WORKSPACE)
    np.testing.assert_allclose(out[0, 1:7], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('type: "BNLL"', [0, 0, 0.5, 0.5, 1, 1]),
        ('type: "Swish"', [0, 0, 0.5, 0.5, 1, 1]),
        ('type: "ELU" elu_param { alpha: 2 }', [0, 0, 2, 2, 1, 1]),
        ('type: "ReLU6"', [0, 0, 0, 0, 0, 0]),
        ('type: "GELU"', [0, 0, 0.5, 0.5, 1, 1]),
        ('type: "GELU" gelu_param { approximate: NONE }', [0, 0, 0.5, 0.5, 1, 1]),
        ('type: "HardSigmoid"', [0, 0, 0.2, 0.2, 0, 0]),
        ('type: "HardSwish"', [0, 0, 0.5, 0.5, 1, 1]),
        ('type: "SELU" selu_param { lambda: 0.5 alpha: 2 }', [0, 0, 1, 1, 0.5, 0.5]),
        ('type: "Clip" clip_param { min: 0 max: 10000 }', [0, 0, 1, 1, 1, 0]),
        ('type: "Power" power_param { power: 0 }', [0, 0, 0, 0, 0, 0]),
        ('type: "Power"', [1, 1, 1, 1, 1, 1]),
        ('type: "Power" power_param { power: 2 }', [-6e38, -2e4, 0, 0, 2e4, 6e38]),
        ('type: "Threshold"', [0, 0, 0, 0, 0, 0]),
    ],
)
def test_far_out_slopes_are_those_of_the_limit(body: str, expected: list[float], tmp_path: Path) -> None:
    layer = single_layer(tmp_path, body, (9,))
    (handed,) = layer.gradient([EXTREMES], [], [np.ones_like(EXTREMES)], WORKSPACE)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(handed[0, 1:7], np.array(expected, np.float32), rtol=1e-6)


# --- Signs and gates ----------------------------------------------------------------------------------------

ALWAYS, IF_INPUT_IS, NEVER = (True, True), (False, True), (False, False)

#: Whether outputs are never negative: for any input, and for one that is never negative.
SIGNS = {
    'type: "ELU"': IF_INPUT_IS,
    'type: "ELU" elu_param { alpha: -0.5 }': ALWAYS,
    'type: "ReLU6"': ALWAYS,
    'type: "ReLU6" relu6_param { negative_slope: 0.1 }': IF_INPUT_IS,
    'type: "Clip" clip_param { min: 0 max: 2 }': ALWAYS,
    'type: "Clip" clip_param { min: -1 max: 2 }': IF_INPUT_IS,
    'type: "Clip" clip_param { min: -1 max: -0.5 }': NEVER,
    'type: "Swish"': IF_INPUT_IS,
    'type: "Swish" swish_param { beta: -2 }': IF_INPUT_IS,
    'type: "GELU"': IF_INPUT_IS,
    'type: "GELU" gelu_param { coeff: -1 }': NEVER,
    'type: "GELU" gelu_param { approximate: NONE }': IF_INPUT_IS,
    'type: "GELU" gelu_param { approximate: NONE coeff: -1 }': NEVER,
    'type: "HardSigmoid" hard_sigmoid_param { alpha: -1 beta: -1 }': ALWAYS,
    'type: "HardSwish"': IF_INPUT_IS,
    'type: "SELU"': IF_INPUT_IS,
    'type: "SELU" selu_param { alpha: -2 }': ALWAYS,
    'type: "SELU" selu_param { lambda: -1 }': NEVER,
    'type: "Power"': IF_INPUT_IS,
    'type: "Power" power_param { power: 2 shift: -1 }': ALWAYS,
    'type: "Power" power_param { power: -2 scale: -1 }': ALWAYS,
    'type: "Power" power_param { power: 0 shift: -1 }': ALWAYS,
    'type: "Power" power_param { power: 0.5 }': ALWAYS,
    'type: "Power" power_param { power: 3 scale: 2 shift: 0.5 }': IF_INPUT_IS,
    'type: "Power" power_param { power: 3 shift: -0.5 }': NEVER,
    'type: "Power" power_param { power: 3 scale: -1 shift: 0.5 }': NEVER,
    'type: "Power" power_param { power: -1 }': IF_INPUT_IS,
    'type: "Power" power_param { scale: 0 shift: 2 }': ALWAYS,
    'type: "Power" power_param { scale: 0 shift: -2 }': NEVER,
    'type: "Exp"': ALWAYS,
    'type: "Exp" exp_param { base: 0.5 scale: -2 shift: -3 }': ALWAYS,
    'type: "Log"': NEVER,
    'type: "Log" log_param { shift: 0.5 }': NEVER,
    'type: "BNLL"': ALWAYS,
    'type: "Threshold"': ALWAYS,
    'type: "Threshold" threshold_param { threshold: -3 }': ALWAYS,
}


@pytest.mark.parametrize(("body", "expected"), SIGNS.items(), ids=SIGNS.keys())
def test_signs_of_outputs_are_known(body: str, expected: tuple[bool, bool], tmp_path: Path) -> None:
    layer = single_layer(tmp_path, body, (97,))
    x = 2 * random_blob((5, 97), 1)
    assert (layer.is_nonnegative([False]), layer.is_nonnegative([True])) == expected
    for claimed, numbers in zip(expected, (x, np.abs(x)), strict=True):
        (out,) = layer.forward([numbers], WORKSPACE)
        assert bool((out[np.isfinite(out)] >= 0).all()) == claimed


@pytest.mark.parametrize(
    ("slopes", "expected"),
    [([0.5, 0, 0.25], IF_INPUT_IS), ([-0.5, 0.25, -1], IF_INPUT_IS), ([-0.5, 0, -1], ALWAYS)],
)
def test_signs_of_a_prelu_depend_on_its_slopes(
    slopes: list[float], expected: tuple[bool, bool], tmp_path: Path
) -> None:
    weights: Weights = {"layer": [np.array(slopes, np.float32)]}
    layer = build(tmp_path, layer_net('type: "PReLU"', (3, 5, 4)), weights).layers[0]
    assert (layer.is_nonnegative([False]), layer.is_nonnegative([True])) == expected
    (out,) = layer.forward([random_blob((2, 3, 5, 4), 1)], WORKSPACE)
    assert bool((out >= 0).all()) == expected[0]


def test_signs_of_a_prelu_without_weights_are_not_known(tmp_path: Path) -> None:
    weights: Weights = {"layer": [np.array([-1, -1, -1], np.float32)]}
    layer = build(tmp_path, layer_net('type: "PReLU"', (3, 5, 4)), weights).layers[0]
    assert not layer.with_weights(()).is_nonnegative([False])


def test_neurons_make_gates_of_gates(tmp_path: Path) -> None:
    for case in CASES:
        layer = single_layer(tmp_path, case.body, (9,))
        assert layer.is_gate([True])
        assert layer.is_gate([False]) == (layer.type in {"Threshold", "HardSigmoid"})


@pytest.mark.parametrize(
    ("clipped", "scaled", "expected"),
    [
        ('type: "ReLU6"', "scale: 0.166666667", True),
        ('type: "Clip" clip_param { min: -3 max: 3 }', "scale: 0.166666667 shift: 0.5", True),
        ('type: "Clip" clip_param { min: 0 max: 1 }', "", True),
        ('type: "ReLU6"', "", False),
        ('type: "ReLU6"', "scale: 0.2", False),
        ('type: "ReLU6" relu6_param { negative_slope: 0.1 }', "scale: 0.166666667", False),
    ],
)
def test_what_is_clipped_to_the_range_of_a_gate_is_one(
    clipped: str, scaled: str, expected: bool, tmp_path: Path
) -> None:
    """A hard sigmoid as MobileNet v3 has it in Caffe: add 3, clip to 0 to 6, divide by 6."""
    net = build(
        tmp_path,
        f"""
        input: "data" input_shape {{ dim: 2 dim: 3 dim: 6 dim: 5 }}
        layer {{ name: "signal" type: "Convolution" bottom: "data" top: "signal"
          convolution_param {{ num_output: 4 kernel_size: 1 }} }}
        layer {{ name: "raised" type: "Power" bottom: "signal" top: "raised" power_param {{ shift: 3 }} }}
        layer {{ name: "clipped" {clipped} bottom: "raised" top: "clipped" }}
        layer {{ name: "gate" type: "Power" bottom: "clipped" top: "gate" power_param {{ {scaled} }} }}
        layer {{ name: "product" type: "Eltwise" bottom: "signal" bottom: "gate" top: "product"
          eltwise_param {{ operation: PROD }} }}
        """,
    )
    assert net.gates_of(net.layers[-1]) == (False, expected)


# --- Weights and parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "wanted"),
    [('type: "PReLU"', (4,)), ('type: "PReLU" prelu_param { channel_shared: true }', (1,))],
)
def test_slopes_of_a_prelu_are_learned(body: str, wanted: tuple[int, ...], tmp_path: Path) -> None:
    assert single_layer(tmp_path, body, IMAGE).weight_shapes == (wanted,)


BAD = {
    "relu6 that is nothing": (
        'type: "ReLU6" relu6_param { threshold: 0 }',
        "above 0, not 0; set it in relu6",
    ),
    "a clip without max": ('type: "Clip" clip_param { min: 0 }', "needs both min and max; set them in clip_"),
    "a clip without limits": ('type: "Clip"', "needs both min and max; set them in clip_param"),
    "a clip upside down": (
        'type: "Clip" clip_param { min: 3 max: 1.5 }',
        r"min 3 is above max 1\.5; correct",
    ),
    "exp to base 0": ('type: "Exp" exp_param { base: 0 }', "above 0, or -1 for e, not 0; correct it"),
    "exp to a negative base": ('type: "Exp" exp_param { base: -2 }', "above 0, or -1 for e, not -2"),
    "log to a negative base": ('type: "Log" log_param { base: -2 }', "above 0, or -1 for e, not -2"),
    "log to base infinity": ('type: "Log" log_param { base: inf }', "above 0, or -1 for e, not inf"),
    "log to base 1": ('type: "Log" log_param { base: 1 }', "to base 1; set another base in log_param"),
    "two bottoms": ('type: "Swish" bottom: "data"', r"has 2 bottom\(s\), needs 1"),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_are_errors_that_name_the_layer(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        build_net(deployed(tmp_path, layer_net(body, IMAGE)), {})
    assert "'layer'" in str(caught.value)


def test_slopes_for_other_channels_are_refused(tmp_path: Path) -> None:
    weights: Weights = {"layer": [np.ones(5, np.float32)]}
    with pytest.raises(ModelError, match="needs weights of shapes 4, but the caffemodel has 5"):
        build(tmp_path, layer_net('type: "PReLU"', IMAGE), weights)


# --- Relevance ----------------------------------------------------------------------------------------------


def neuron_net(body: str, bias: bool = True) -> str:
    more = "" if bias else "bias_term: false"
    return f"""
    input: "data" input_shape {{ dim: 2 dim: 3 dim: 6 dim: 5 }}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
      convolution_param {{ num_output: 4 kernel_h: 3 kernel_w: 2 {more} }} }}
    layer {{ name: "neuron" {body} bottom: "conv" top: "conv" }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
      inner_product_param {{ num_output: 7 {more} }} }}
    layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
    """


def pair_of(case: Case, folder: Path, bias: bool = True) -> Pair:
    def walker(layers: list[Any], weights: Weights, indices: dict[str, int]) -> ExtendedWalker:
        slopes = [blob.astype(np.float64) for blob in weights.get("neuron", [])]
        slow = Slow(lambda x: case.slow(x, slopes), passed)  # type: ignore[arg-type]
        return ExtendedWalker(layers, weights, indices, {"neuron": slow})

    return Pair(folder, neuron_net(case.body, bias), walker)


IMAGES = [case for case in CASES if case.shape == IMAGE]
CLASSES = [[3], [0, 4]]


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 2, 11, 26, 100, 166])
@pytest.mark.parametrize("case", IMAGES, ids=lambda case: case.name)
def test_relevance_passes_neurons(case: Case, code: int, tmp_path: Path) -> None:
    pair = pair_of(case, tmp_path)
    options = Options(epsilon=0.1, beta=1.0)
    assert_close(
        pair.explain(code, options, "fc", CLASSES), pair.expected(code, options, "fc", CLASSES), 1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 2, 100])
@pytest.mark.parametrize("case", IMAGES, ids=lambda case: case.name)
def test_relevance_is_conserved(case: Case, code: int, tmp_path: Path) -> None:
    pair = pair_of(case, tmp_path, bias=False)
    found = pair.explain(code, Options(epsilon=1e-9, corrected=True), "fc", CLASSES)
    scores = pair.walker.values[3]
    for item, chosen in enumerate(CLASSES):
        assert float(found[item].sum()) == pytest.approx(scores[item, chosen].sum(), rel=1e-3)
