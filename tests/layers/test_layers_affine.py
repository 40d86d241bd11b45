"""Layers that normalize, scale and shift: shapes, forward pass, gradient and relevance against loops."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import oracle
import pytest
from builders import (
    WORKSPACE,
    EagerWorkspace,
    Weights,
    assert_close,
    build,
    channels_last,
    deployed,
    layer_net,
    parse,
    random_blob,
    random_weights,
    weight_roles,
)
from oracle import Array, Real, Shape

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Combination, Layer, Normalization
from caffe_lrp.net.build import build_graph, build_net, weight_shapes
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.relevance.rules.base import Seen
from caffe_lrp.relevance.rules.sharing import Contribution

IMAGE = (4, 7, 6)
CHANNELS = IMAGE[0]

# --- Slow versions ------------------------------------------------------------------------------------------


def affine(x: Real, factor: Real, shift: Real, axis: int = 1) -> Array:
    """``factor·x + shift`` with numbers for the axes from ``axis`` of the full blob on."""
    out = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        place = at[axis : axis + factor.ndim]
        out[at] = float(factor[place]) * float(x[at]) + float(shift[place])
    return out


def standardized(
    x: Real, mean: Real, variance: Real, epsilon: float, scale: Real | None = None, bias: Real | None = None
) -> Array:
    out = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        channel = at[1]
        deviation = np.sqrt(float(variance[channel]) + epsilon)
        out[at] = (float(x[at]) - float(mean[channel])) / deviation
        if scale is not None and bias is not None:
            out[at] = out[at] * float(scale[channel]) + float(bias[channel])
    return out


def mean_variance_normalized(x: Real, across_channels: bool, divides: bool, epsilon: float) -> Array:
    out = np.zeros(x.shape)
    for n in range(len(x)):
        parts = [x[n]] if across_channels else list(x[n])
        targets = [out[n]] if across_channels else list(out[n])
        for part, target in zip(parts, targets, strict=True):
            numbers = [float(number) for number in part.reshape(-1)]
            mean = sum(numbers) / len(numbers)
            variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
            target[...] = (part.astype(np.float64) - mean) / (np.sqrt(variance) + epsilon if divides else 1)
    return out


def l2_normalized(x: Real, scale: Real, across_spatial: bool, epsilon: float) -> Array:
    out = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        together = x[at[0]] if across_spatial else x[(at[0], slice(None), *at[2:])]
        norm = np.sqrt(sum(float(number) ** 2 for number in together.reshape(-1)) + epsilon)
        out[at] = float(x[at]) / norm * float(scale[at[1] if len(scale) > 1 else 0])
    return out


# --- One bottom ---------------------------------------------------------------------------------------------

EPSILON = 0.125


@dataclass(frozen=True)
class Case:
    """A layer over one input, and its slow version; ``roles`` are those of another layout of its blobs."""

    name: str
    body: str
    slow: Callable[[Real, list[Blob]], Array]
    shape: Shape = IMAGE
    roles: tuple[str, ...] = ()

    def weights(self, folder: Path) -> Weights:
        if not self.roles:
            return random_weights(parse(folder, layer_net(self.body, self.shape)), 3)
        shapes = [(1,) if role in ("factor", "unused") else self.shape[:1] for role in self.roles]
        blobs = [random_blob(shape, 20 + number) for number, shape in enumerate(shapes)]
        return {
            "layer": [
                np.abs(blob) + np.float32(0.5) if role in ("variance", "factor") else blob
                for role, blob in zip(self.roles, blobs, strict=True)
            ]
        }

    def build(self, folder: Path) -> tuple[Layer, list[Blob]]:
        weights = self.weights(folder)
        layer = build(folder, layer_net(self.body, self.shape), weights).layers[0]
        return layer, weights.get("layer", [])

    @property
    def x(self) -> Blob:
        return random_blob((2, *self.shape), 1)

    @property
    def gradient(self) -> Blob:
        return random_blob((2, *self.shape), 2)


BATCH_NORM = 'type: "BatchNorm" batch_norm_param { eps: 0.125 }'
CASES = [
    Case(
        "batch normalization",
        BATCH_NORM,
        lambda x, w: standardized(x, w[0], w[1], EPSILON),
    ),
    Case(
        "batch normalization with sums of many batches",
        BATCH_NORM,
        lambda x, w: standardized(x, w[0] / w[2], w[1] / w[2], EPSILON),
        roles=("mean", "variance", "factor"),
    ),
    Case(
        "batch normalization of a vector",
        BATCH_NORM,
        lambda x, w: standardized(x, w[0], w[1], EPSILON),
        (9,),
    ),
    Case(
        "batch normalization of three axes",
        BATCH_NORM,
        lambda x, w: standardized(x, w[0], w[1], EPSILON),
        (5, 8),
    ),
    Case(
        "batch normalization without a factor",
        BATCH_NORM,
        lambda x, w: standardized(x, w[0], w[1], EPSILON),
        roles=("mean", "variance"),
    ),
    Case(
        "batch normalization with scale and bias",
        BATCH_NORM,
        lambda x, w: standardized(x, w[0], w[1], EPSILON, w[2], w[3]),
        roles=("mean", "variance", "scale", "bias"),
    ),
    Case(
        "NVIDIA's batch normalization",
        'type: "BatchNorm" batch_norm_param { eps: 0.125 scale_bias: true }',
        lambda x, w: standardized(x, w[0], w[1], EPSILON, w[3], w[4]),
        roles=("mean", "variance", "unused", "scale", "bias"),
    ),
    Case(
        "NVIDIA's batch normalization with blobs made up for it",
        'type: "BatchNorm" batch_norm_param { eps: 0.125 scale_bias: true }',
        lambda x, w: standardized(x, w[0], w[1], EPSILON, w[3], w[4]),
    ),
    Case(
        "NVIDIA's batch normalization of 2016",
        BATCH_NORM,
        lambda x, w: standardized(x, w[2], w[3], EPSILON, w[0], w[1]),
        roles=("scale", "bias", "mean", "variance", "unused"),
    ),
    Case(
        "batch normalization of PSPNet",
        'type: "BN" bn_param { eps: 0.125 frozen: true }',
        lambda x, w: standardized(x, w[2], w[3], EPSILON, w[0], w[1]),
    ),
    Case(
        "batch normalization of SegNet",
        'type: "BN" bn_param { bn_mode: INFERENCE }',
        lambda x, w: affine(x, w[0], w[1]),
    ),
    Case("scale", 'type: "Scale"', lambda x, w: affine(x, w[0], np.zeros(CHANNELS))),
    Case(
        "scale and bias",
        'type: "Scale" scale_param { bias_term: true }',
        lambda x, w: affine(x, w[0], w[1]),
    ),
    Case(
        "scale of a vector",
        'type: "Scale" scale_param { axis: -1 bias_term: true }',
        lambda x, w: affine(x, w[0], w[1]),
        (9,),
    ),
    Case(
        "scale of all axes",
        'type: "Scale" scale_param { num_axes: -1 bias_term: true }',
        lambda x, w: affine(x, w[0], w[1]),
    ),
    Case(
        "scale of channels and rows",
        'type: "Scale" scale_param { num_axes: 2 bias_term: true }',
        lambda x, w: affine(x, w[0], w[1]),
    ),
    Case(
        "scale of columns",
        'type: "Scale" scale_param { axis: -1 }',
        lambda x, w: affine(x, w[0], np.zeros(6), 3),
    ),
    Case(
        "scale of rows of three axes",
        'type: "Scale" scale_param { axis: 2 bias_term: true }',
        lambda x, w: affine(x, w[0], w[1], 2),
        (5, 8),
    ),
    Case(
        "scale by one number",
        'type: "Scale" scale_param { num_axes: 0 bias_term: true }',
        lambda x, w: affine(x, w[0].reshape(()), w[1].reshape(())),
    ),
    Case("bias", 'type: "Bias"', lambda x, w: affine(x, np.ones(CHANNELS), w[0])),
    Case(
        "bias of rows and columns",
        'type: "Bias" bias_param { axis: 2 num_axes: -1 }',
        lambda x, w: affine(x, np.ones((7, 6)), w[0], 2),
    ),
    Case(
        "one bias",
        'type: "Bias" bias_param { num_axes: 0 }',
        lambda x, w: affine(x, np.ones(()), w[0].reshape(())),
    ),
    Case(
        "mean and variance of channels",
        'type: "MVN" mvn_param { eps: 0.125 }',
        lambda x, _: mean_variance_normalized(x, False, True, EPSILON),
    ),
    Case(
        "mean and variance across channels",
        'type: "MVN" mvn_param { across_channels: true }',
        lambda x, _: mean_variance_normalized(x, True, True, 1e-9),
    ),
    Case(
        "mean of channels",
        'type: "MVN" mvn_param { normalize_variance: false }',
        lambda x, _: mean_variance_normalized(x, False, False, 0),
    ),
    Case(
        "mean and variance of a vector",
        'type: "MVN" mvn_param { across_channels: true eps: 0.125 }',
        lambda x, _: mean_variance_normalized(x, True, True, EPSILON),
        (9,),
    ),
    Case(
        "mean and variance of rows",
        'type: "MVN"',
        lambda x, _: mean_variance_normalized(x, False, True, 1e-9),
        (5, 8),
    ),
    Case(
        "norm of the image",
        'type: "Normalize" norm_param { eps: 0.125 }',
        lambda x, w: l2_normalized(x, w[0], True, EPSILON),
    ),
    Case(
        "norm of pixels with a scale for every channel",
        'type: "Normalize" norm_param { across_spatial: false channel_shared: false eps: 0.125 }',
        lambda x, w: l2_normalized(x, w[0], False, EPSILON),
    ),
    Case(
        "norm of pixels with one scale",
        'type: "Normalize" norm_param { across_spatial: false }',
        lambda x, w: l2_normalized(x, w[0], False, 1e-10),
    ),
    Case(
        "norm of a vector",
        'type: "Normalize" norm_param { across_spatial: false channel_shared: false }',
        lambda x, w: l2_normalized(x, w[0], False, 1e-10),
        (9,),
    ),
]

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@by_name
def test_the_output_has_the_shape_of_the_input(case: Case, tmp_path: Path) -> None:
    assert case.build(tmp_path)[0].output_shapes == (case.shape,)


@by_name
def test_forward_equals_loops(case: Case, tmp_path: Path) -> None:
    layer, weights = case.build(tmp_path)
    x = case.x
    before = x.copy()
    (out,) = layer.forward([x], WORKSPACE)
    assert_close(out, case.slow(x, weights), 2e-6)
    np.testing.assert_array_equal(x, before)


@pytest.mark.slow
@by_name
def test_gradient_equals_central_differences(case: Case, tmp_path: Path) -> None:
    layer, weights = case.build(tmp_path)
    inputs = [case.x] if layer.gradient_uses_inputs else []
    (found,) = layer.gradient(inputs, [], [case.gradient], WORKSPACE)
    expected = oracle.central_difference(lambda varied: case.slow(varied, weights), case.x, case.gradient)
    assert_close(found, expected, 5e-6)


@by_name
def test_neither_the_order_in_memory_nor_threads_change_a_bit(case: Case, tmp_path: Path) -> None:
    layer, _ = case.build(tmp_path)
    results = []
    for order in (np.ascontiguousarray, laid_out):
        for threads in (1, 3):
            with EagerWorkspace(threads) as workspace:
                outputs = layer.forward([order(case.x)], workspace)
                handed = layer.gradient([order(case.x)], [], [order(case.gradient)], workspace)
                results.append([blob.tolist() for blob in (*outputs, *handed)])
    assert all(result == results[0] for result in results)


def laid_out(blob: Blob) -> Blob:
    """``blob`` with its channels last in memory, if it is an image; otherwise a copy."""
    return channels_last(blob).transpose(0, 3, 1, 2) if blob.ndim == 4 else blob.copy()


@by_name
def test_a_batch_equals_its_items_one_by_one(case: Case, tmp_path: Path) -> None:
    layer, _ = case.build(tmp_path)
    x = random_blob((5, *case.shape), 4)
    (together,) = layer.forward([x], WORKSPACE)
    for item in range(5):
        (alone,) = layer.forward([x[item : item + 1]], WORKSPACE)
        assert_close(together[item : item + 1], alone, 1e-6)


@by_name
def test_relevance_passes(case: Case, tmp_path: Path) -> None:
    assert isinstance(case.build(tmp_path)[0], Normalization)


def test_a_factor_of_0_makes_statistics_0(tmp_path: Path) -> None:
    """As in Caffe: nothing has been summed up yet."""
    case = CASES[0]
    weights = {"layer": [random_blob((4,), 1), np.abs(random_blob((4,), 2)), np.zeros(1, np.float32)]}
    net = build(tmp_path, layer_net(case.body, IMAGE), weights)
    (out,) = net.layers[0].forward([case.x], WORKSPACE)
    assert_close(out, case.x.astype(np.float64) / np.sqrt(EPSILON), 1e-6)


@pytest.mark.parametrize(("mean", "factor", "is_odd"), [(1, 0, True), (0, 0, False), (1, 2, False)])
def test_statistics_that_count_as_0_are_remarked_on_once(
    mean: float, factor: float, is_odd: bool, tmp_path: Path
) -> None:
    names, text = ("a", "b", "c"), layer_net('type: "ReLU"', IMAGE)
    for name in names:
        text += f'layer {{ name: "{name}" bottom: "top0" top: "top0" {BATCH_NORM} }}\n'
    blobs = [np.full(4, mean, np.float32), np.zeros(4, np.float32), np.full(1, factor, np.float32)]
    net = build(tmp_path, text, dict.fromkeys(names, blobs))
    start = f"{net.source}: layer 1 'a' (BatchNorm) and 2 more: mean and variance are taken as 0, as in Caffe"
    assert [remark.startswith(start) for remark in net.notices] == [True] * is_odd


@pytest.mark.parametrize(("number", "is_odd"), [(0, False), (1, False), (999.5, True)])
def test_a_number_that_one_fork_divides_by_and_another_does_not_is_remarked_on(
    number: float, is_odd: bool, tmp_path: Path
) -> None:
    ones = np.ones(4, np.float32)
    weights = {"layer": [ones, ones, np.full(1, number, np.float32), ones, ones]}
    net = build(tmp_path, layer_net(BATCH_NORM, IMAGE), weights)
    start = (
        f"{net.source}: layer 0 'layer' (BatchNorm): the last number of its statistics is 999.5: the others"
    )
    assert [remark.startswith(start) for remark in net.notices] == [True] * is_odd


def test_an_image_without_contrast_has_a_gradient(tmp_path: Path) -> None:
    layer, _ = next(case for case in CASES if case.name == "mean and variance of channels").build(tmp_path)
    gradient = random_blob((1, *IMAGE), 2)
    (found,) = layer.gradient([np.full((1, *IMAGE), 3, np.float32)], [], [gradient], WORKSPACE)
    expected = (gradient - gradient.mean(axis=(2, 3), keepdims=True, dtype=np.float64)) / EPSILON
    assert_close(found, expected, 1e-5)


# --- Signs --------------------------------------------------------------------------------------------------


def over_signs(body: str) -> str:
    """The layer over the image, and over a ReLU; its outputs are ``any`` and ``sure``."""
    text = layer_net('type: "ReLU"', IMAGE).replace('name: "layer"', 'name: "relu"')
    for top, bottom in (("any", "data"), ("sure", "top0")):
        text += f'layer {{ name: "{top}" bottom: "{bottom}" top: "{top}" {body} }}\n'
    return text


def names_of_nonnegative(folder: Path, body: str, weights: Weights, canonize: str) -> set[str]:
    """Names of the values that are called nonnegative, once they were seen to be."""
    net = build(folder, over_signs(body), weights, canonize=canonize)
    every = set(range(len(net.value_names)))
    values = net.forward(random_blob((3, *IMAGE), 1), every, WORKSPACE)
    for value in net.nonnegative_values:
        assert values[value].min() >= 0
    return {net.value_names[value] for value in net.nonnegative_values}


BODIES = sorted({case.body for case in CASES if case.shape == IMAGE})


@pytest.mark.slow
@pytest.mark.parametrize("canonize", ["auto", "off"])
@pytest.mark.parametrize("body", BODIES)
def test_values_called_nonnegative_are(body: str, canonize: str, tmp_path: Path) -> None:
    spec = parse(tmp_path, over_signs(body))
    weights = random_weights(spec, 3)
    assert "any" not in names_of_nonnegative(tmp_path, body, weights, canonize)
    for name, blobs in weights.items():
        for role, blob in zip(weight_roles(spec)[name], blobs, strict=True):
            if role in ("scale", "bias"):
                blob[-1:] *= -1
    names_of_nonnegative(tmp_path, body, weights, canonize)


@pytest.mark.parametrize("body", BODIES)
def test_values_are_called_nonnegative_where_no_number_makes_them_negative(body: str, tmp_path: Path) -> None:
    spec = parse(tmp_path, over_signs(body))
    weights = {
        name: [
            -np.abs(blob) if role == "mean" else np.abs(blob)
            for role, blob in zip(weight_roles(spec)[name], blobs, strict=True)
        ]
        for name, blobs in random_weights(spec, 3).items()
    }
    names = names_of_nonnegative(tmp_path, body, weights, "auto")
    assert "any" not in names
    assert ("sure" in names) == ("MVN" not in body)


# --- Two bottoms --------------------------------------------------------------------------------------------

#: Item shapes of the second bottom -> how it is made from the first, of shape `IMAGE`.
PARTS = {
    (4,): 'type: "InnerProduct" inner_product_param { num_output: 4 }',
    (4, 7): 'type: "Pooling" pooling_param { pool: AVE kernel_h: 1 kernel_w: 6 } top: "thin" } '
    'layer { name: "flat" type: "Flatten" bottom: "thin" flatten_param { axis: 2 }',
    (4, 7, 6): 'type: "TanH"',
}
#: Type of the layer -> its parameters, and what it does to two numbers.
KINDS: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "Scale": ("scale_param { axis: 0 }", lambda x, part: x * part),
    "Bias": ("bias_param { axis: 0 }", lambda x, part: x + part),
}


def pair_net(kind: str, part: Shape) -> str:
    """The layer over an image and another blob."""
    text = 'input: "data" input_shape { dim: 2 dim: 4 dim: 7 dim: 6 }\n'
    text += f'layer {{ name: "made" bottom: "data" {PARTS[part]} top: "made" }}\n'
    reads = 'bottom: "data" bottom: "made"'
    return text + f'layer {{ name: "layer" type: "{kind}" {reads} top: "out" {KINDS[kind][0]} }}\n'


def pair(folder: Path, kind: str, part: Shape) -> Combination:
    layer = build_graph(deployed(folder, pair_net(kind, part))).layers[-1]
    assert isinstance(layer, Combination)
    return layer


def blobs_of(part: Shape) -> tuple[Blob, Blob, Blob]:
    """Both inputs, and what comes back."""
    return random_blob((2, *IMAGE), 1), random_blob((2, *part), 2), random_blob((2, *IMAGE), 3)


def combined(kind: str, x: Real, part: Real) -> Array:
    """What the layer gives, element by element."""
    out = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        out[at] = KINDS[kind][1](float(x[at]), float(part[at[: part.ndim]]))
    return out


def collected(blob: Real, part: Real) -> Array:
    """Sums over what a number of the second bottom is for."""
    out = np.zeros(part.shape)
    for at in np.ndindex(*blob.shape):
        out[at[: part.ndim]] += float(blob[at])
    return out


by_part = pytest.mark.parametrize("part", PARTS, ids=str)
by_kind = pytest.mark.parametrize("kind", KINDS)


@by_part
@by_kind
def test_pairs_equal_loops(kind: str, part: Shape, tmp_path: Path) -> None:
    layer = pair(tmp_path, kind, part)
    x, other, _ = blobs_of(part)
    (out,) = layer.forward([x, other], WORKSPACE)
    assert layer.output_shapes == (IMAGE,)
    assert_close(out, combined(kind, x, other), 1e-6)
    (laid,) = layer.forward([laid_out(x), laid_out(other)], WORKSPACE)
    assert laid.tolist() == out.tolist()


@by_part
@by_kind
def test_pairs_have_two_gradients(kind: str, part: Shape, tmp_path: Path) -> None:
    layer = pair(tmp_path, kind, part)
    x, other, gradient = blobs_of(part)
    inputs = [x, other] if layer.gradient_uses_inputs else []
    of_x, of_other = layer.gradient(inputs, [], [gradient], WORKSPACE)
    slope = combined(kind, np.ones_like(x), other) if kind == "Scale" else np.ones(x.shape)
    assert_close(of_x, slope * gradient, 1e-6)
    expected = collected(gradient * x.astype(np.float64) if kind == "Scale" else gradient, other)
    assert_close(of_other, expected, 1e-6)


@pytest.mark.parametrize(
    ("gates", "signal"),
    [((False, False), 0), ((False, True), 0), ((True, False), 1), ((True, True), 0)],
)
@by_part
def test_the_signal_of_a_scaled_pair_gets_all_relevance(
    part: Shape, gates: tuple[bool, bool], signal: int, tmp_path: Path
) -> None:
    layer = pair(tmp_path, "Scale", part)
    x, other, relevance = blobs_of(part)
    outputs = layer.forward([x, other], WORKSPACE)
    handed = Contribution().propagate(layer, gates, Seen([x, other], outputs), [relevance], WORKSPACE)
    expected = [np.zeros(blob.shape) for blob in (x, other)]
    expected[signal] = relevance.astype(np.float64) if signal == 0 else collected(relevance, other)
    for blob, wanted in zip(handed, expected, strict=True):
        assert_close(blob, wanted, 1e-6, scale=1)


@by_part
def test_a_shifted_pair_shares_relevance_by_contribution(part: Shape, tmp_path: Path) -> None:
    layer = pair(tmp_path, "Bias", part)
    x, other, relevance = blobs_of(part)
    x, other = np.abs(x), np.abs(other)
    outputs = layer.forward([x, other], WORKSPACE)
    seen = Seen([x, other], outputs)
    of_x, of_other = Contribution().propagate(layer, (False, False), seen, [relevance], WORKSPACE)
    share = relevance / combined("Bias", x, other)
    assert_close(of_x, x * share, 1e-6)
    assert_close(of_other, collected(share, other) * other, 1e-6)


@by_part
@by_kind
def test_only_a_pair_without_negative_numbers_has_none(kind: str, part: Shape, tmp_path: Path) -> None:
    layer = pair(tmp_path, kind, part)
    assert [layer.is_nonnegative(signs) for signs in ((True, True), (True, False), (False, True))] == [
        True,
        False,
        False,
    ]


def test_only_a_product_of_gates_is_a_gate(tmp_path: Path) -> None:
    scale, bias = (pair(tmp_path, kind, (4,)) for kind in KINDS)
    assert [scale.is_gate(gates) for gates in ((True, True), (True, False))] == [True, False]
    assert not bias.is_gate((True, True))


# --- Bad parameters -----------------------------------------------------------------------------------------

BAD = {
    "a scale over the batch": ('type: "Scale" scale_param { axis: 0 }', "axis 0 is not supported"),
    "a bias over the batch": ('type: "Bias" bias_param { axis: -4 }', "axis -4 is not supported"),
    "a scale of an axis too high": ('type: "Scale" scale_param { axis: 4 }', "axis 4 is not supported"),
    "a scale of too many axes": (
        'type: "Scale" scale_param { axis: 2 num_axes: 3 }',
        "num_axes 3 from axis 2 on does not fit a blob of 4 axes; write -1",
    ),
    "a scale of a negative number of axes": ('type: "Scale" scale_param { num_axes: -2 }', "num_axes -2"),
}
BAD_PAIRS = {
    "numbers of one image for all": (
        "scale_param { }",
        "(4,)",
        r"axis 1 with two bottoms .*; write scale_param { axis: 0 }",
    ),
    "a learned bias": ("scale_param { axis: 0 bias_term: true }", "(4,)", "put a Bias layer after it"),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD)
def test_bad_parameters_are_errors_that_name_the_layer(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"layer 0 'layer' .*{message}"):
        build_net(deployed(tmp_path, layer_net(body, IMAGE)), {})


@pytest.mark.parametrize(("body", "part", "message"), BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_bad_parameters_of_pairs_are_errors(body: str, part: str, message: str, tmp_path: Path) -> None:
    text = pair_net("Scale", (4,)).replace(KINDS["Scale"][0], body)
    with pytest.raises(ModelError, match=rf"'layer' \(Scale\).*{message}"):
        build_graph(deployed(tmp_path, text))


@pytest.mark.parametrize(
    "body", ['type: "Scale" scale_param { axis: 0 }', 'type: "Bias" bias_param { axis: 0 }']
)
def test_pairs_that_do_not_go_together_are_errors(body: str, tmp_path: Path) -> None:
    message = "do not match: the first must begin with the shape of the second; put a Flatten or Reshape"
    with pytest.raises(ModelError, match=message):
        build_graph(deployed(tmp_path, layer_net(body, IMAGE, (5, 7, 6))))


# --- Blobs of caffemodels -----------------------------------------------------------------------------------


def test_made_up_blobs_can_be_used(tmp_path: Path) -> None:
    for case in CASES:
        spec = parse(tmp_path, layer_net(case.body, case.shape))
        for name, blobs in random_weights(spec, 3, bias_scale=0).items():
            for role, shape, blob in zip(
                weight_roles(spec)[name], weight_shapes(deploy(spec))[name], blobs, strict=True
            ):
                assert blob.shape == shape
                assert role not in ("variance", "scale", "factor") or blob.min() > 0
                assert role not in ("mean", "bias") or not blob.any()


def test_the_first_layout_is_caffes_own(tmp_path: Path) -> None:
    spec = parse(tmp_path, layer_net(BATCH_NORM, IMAGE))
    assert weight_shapes(deploy(spec)) == {"layer": ((4,), (4,), (1,))}
    assert weight_roles(spec) == {"layer": ("mean", "variance", "factor")}


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1), (1, 4), (1, 1, 1, 4)], ids=str)
def test_channels_may_be_stored_with_other_axes_of_one(shape: Shape, tmp_path: Path) -> None:
    """PSPNet's blobs are 1×C×1×1, those of old files 1×1×1×C."""
    case = next(case for case in CASES if "PSPNet" in case.name)
    layer, weights = case.build(tmp_path)
    stored = {"layer": [blob.reshape(shape) for blob in weights]}
    other = build(tmp_path, layer_net(case.body, IMAGE), stored).layers[0]
    assert [blob.shape for blob in other.weights] == [(4,)] * 4
    assert other.forward([case.x], WORKSPACE)[0].tolist() == layer.forward([case.x], WORKSPACE)[0].tolist()


def test_unknown_layouts_are_errors_that_show_all_known_ones(tmp_path: Path) -> None:
    message = re.escape(
        "layer 0 'layer' (BatchNorm): needs weights of shapes 4 and 4 and 1, or 4 and 4, or 4 and 4 and 1 "
        "and 4 and 4, or 4 and 4 and 4 and 4 and 1, or 4 and 4 and 4 and 4, but the caffemodel has 4"
    )
    with pytest.raises(ModelError, match=message):
        build(tmp_path, layer_net(BATCH_NORM, IMAGE), {"layer": [random_blob((4,), 1)]})


def test_batch_normalization_that_asks_for_scale_and_bias_does_not_do_without(tmp_path: Path) -> None:
    text = layer_net('type: "BatchNorm" batch_norm_param { scale_bias: true }', IMAGE)
    blobs = [np.ones(4, np.float32), np.ones(4, np.float32), np.ones(1, np.float32)]
    with pytest.raises(ModelError, match="needs weights of shapes 4 and 4 and 1 and 4 and 4, or"):
        build(tmp_path, text, {"layer": blobs})


@pytest.mark.parametrize(
    ("body", "count", "order"),
    [
        (BATCH_NORM, 4, "mean, variance, scale, bias"),
        ('type: "BN"', 4, "scale, bias, mean, variance"),
        (BATCH_NORM, 2, "mean, variance"),
    ],
)
def test_negative_variances_are_errors_that_name_the_order(
    body: str, count: int, order: str, tmp_path: Path
) -> None:
    weights = {"layer": [np.full(4, -2, np.float32)] * count}
    with pytest.raises(ModelError, match=rf"layer 0 'layer' .*a variance plus eps is -.*read as {order}: "):
        build(tmp_path, layer_net(body, IMAGE), weights)


def test_blobs_of_segnets_training_are_errors_that_say_what_to_do(tmp_path: Path) -> None:
    weights = {"layer": [np.ones(4, np.float32)] * 2}
    with pytest.raises(ModelError, match=r"layer 0 'layer' \(BN\): .*bn_mode: INFERENCE"):
        build(tmp_path, layer_net('type: "BN" bn_param { bn_mode: LEARN }', IMAGE), weights)
