"""Layers with several inputs or outputs: Eltwise, Axpy, Slice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import oracle_routers as oracle
import pytest
from builders import (
    ENGINE,
    WORKSPACE,
    Weights,
    assert_close,
    build,
    channels_last,
    conditions,
    from_scores,
    lone_layer,
    messages,
    parse,
    random_blob,
    random_weights,
)
from oracle import Array, Real, Shape
from oracle_routers import RouterWalker, gradients
from oracle_walker import Options

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Combination, Layer, Winner
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters, Seen
from caffe_lrp.relevance.rules.sharing import Contribution

IMAGE = (4, 3, 5)
SUM = 'type: "Eltwise"'
WEIGHTED = 'type: "Eltwise" eltwise_param { operation: SUM coeff: 0.5 coeff: -2 coeff: 3 }'
PRODUCT = 'type: "Eltwise" eltwise_param { operation: PROD }'
ADD = 'type: "Add"'
MINIMUM = 'type: "Eltwise" eltwise_param { operation: MIN }'
MAXIMUM = 'type: "Eltwise" eltwise_param { operation: MAX }'


@dataclass(frozen=True)
class Case:
    """A layer that puts several inputs together."""

    name: str
    body: str
    shapes: tuple[Shape, ...]
    slow: Callable[..., Array]
    output_shape: Shape = IMAGE

    def __str__(self) -> str:
        return self.name

    def build(self, folder: Path) -> Layer:
        return lone_layer(folder, self.body, *self.shapes)

    @property
    def inputs(self) -> list[Blob]:
        return [random_blob((2, *shape), seed) for seed, shape in enumerate(self.shapes)]

    @property
    def gradient(self) -> Blob:
        return random_blob((2, *self.output_shape), 9)


def broadcast_sum(*xs: Real) -> Array:
    """A sum of blobs that are repeated along axes of size 1."""
    return oracle.eltwise_sum([1] * len(xs))(*repeated(*xs))


def repeated(*xs: Real) -> list[Array]:
    """All in the same shape."""
    shape = tuple(max(sizes) for sizes in zip(*(x.shape for x in xs), strict=True))
    found = [np.zeros(shape) for _ in xs]
    for out, x in zip(found, xs, strict=True):
        for at in np.ndindex(*shape):
            out[at] = x[tuple(min(place, size - 1) for place, size in zip(at, x.shape, strict=True))]
    return found


def gathered(share: Real, shape: Shape) -> Array:
    """Summed to ``shape``, along axes where it has size 1."""
    out = np.zeros(shape)
    for at in np.ndindex(*share.shape):
        out[tuple(min(place, size - 1) for place, size in zip(at, shape, strict=True))] += share[at]
    return out


CASES = [
    Case("sum", SUM, (IMAGE,) * 2, oracle.eltwise_sum((1, 1))),
    Case("sum of vectors", SUM, ((7,),) * 2, oracle.eltwise_sum((1, 1)), (7,)),
    Case("sum of three", SUM, (IMAGE,) * 3, oracle.eltwise_sum((1, 1, 1))),
    Case("weighted sum", WEIGHTED, (IMAGE,) * 3, oracle.eltwise_sum((0.5, -2, 3))),
    Case("product", PRODUCT, (IMAGE,) * 2, oracle.eltwise_product),
    Case("product of three", PRODUCT, ((6, 5),) * 3, oracle.eltwise_product, (6, 5)),
    Case("maximum", MAXIMUM, (IMAGE,) * 2, oracle.eltwise_maximum),
    Case("maximum of four", MAXIMUM, (IMAGE,) * 4, oracle.eltwise_maximum),
    Case("minimum of three", MINIMUM, (IMAGE,) * 3, lambda *xs: -oracle.eltwise_maximum(*(-x for x in xs))),
    Case("added", ADD, (IMAGE,) * 2, oracle.eltwise_sum((1, 1))),
    Case("added and repeated", ADD, ((4, 1, 1), IMAGE, (1, 3, 1)), broadcast_sum),
    Case("added to a whole", ADD, ((1, 1, 5), (4, 3, 1)), broadcast_sum),
    Case("axpy", 'type: "Axpy"', ((4, 1, 1), IMAGE, IMAGE), oracle.axpy),
    Case("axpy by a vector", 'type: "Axpy"', ((4,), IMAGE, IMAGE), oracle.axpy),
    Case("axpy of vectors", 'type: "Axpy"', ((7,), (7,), (7,)), oracle.axpy, (7,)),
]
by_case = pytest.mark.parametrize("case", CASES, ids=str)


def laid_out(blob: Blob) -> Blob:
    return channels_last(blob).transpose(0, 3, 1, 2) if blob.ndim == 4 else blob.copy()


@by_case
def test_forward_equals_loops(case: Case, tmp_path: Path) -> None:
    layer, inputs = case.build(tmp_path), case.inputs
    before = [x.copy() for x in inputs]
    (out,) = layer.forward(inputs, WORKSPACE)
    assert layer.output_shapes == (case.output_shape,)
    assert_close(out, case.slow(*case.inputs), 1e-6)
    for x, unchanged in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, unchanged)


@pytest.mark.slow
@by_case
def test_gradient_equals_central_differences(case: Case, tmp_path: Path) -> None:
    layer, inputs = case.build(tmp_path), case.inputs
    handed = layer.gradient(inputs if layer.gradient_uses_inputs else [], [], [case.gradient], WORKSPACE)
    expected = gradients(case.slow, inputs, case.gradient)
    assert len(handed) == len(inputs)
    for found, wanted in zip(handed, expected, strict=True):
        assert_close(found, wanted, 1e-5)


@by_case
def test_the_order_of_blobs_in_memory_does_not_matter(case: Case, tmp_path: Path) -> None:
    layer, results = case.build(tmp_path), []
    for order in (np.ascontiguousarray, laid_out):
        inputs, gradient = [order(x) for x in case.inputs], order(case.gradient)
        found = [*layer.forward(inputs, WORKSPACE), *layer.gradient(inputs, [], [gradient], WORKSPACE)]
        results.append([blob.tolist() for blob in found])
    assert results[0] == results[1]


def test_the_layout_of_inputs_may_differ(tmp_path: Path) -> None:
    for case in CASES:
        layer, inputs = case.build(tmp_path), case.inputs
        mixed = [laid_out(x) if number % 2 else x for number, x in enumerate(inputs)]
        (out,) = layer.forward(mixed, WORKSPACE)
        np.testing.assert_array_equal(out, layer.forward(inputs, WORKSPACE)[0])
        handed = layer.gradient(mixed, [], [laid_out(case.gradient)], WORKSPACE)
        for one, other in zip(handed, layer.gradient(inputs, [], [case.gradient], WORKSPACE), strict=True):
            np.testing.assert_array_equal(one, other)


# --- Maximum --------------------------------------------------------------------------------------


def test_a_maximum_goes_to_the_first_of_equal_inputs(tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, MAXIMUM, (4,), (4,), (4,))
    inputs = [np.array([row], np.float32) for row in ([1, 2, 3, 0], [1, 5, 3, 7], [1, 5, 2, 7])]
    assert isinstance(layer, Winner)
    assert layer.forward(inputs, WORKSPACE)[0].tolist() == [[1, 5, 3, 7]]
    handed = layer.gradient(inputs, [], [np.array([[10, 20, 30, 40]], np.float32)], WORKSPACE)
    assert [blob.tolist() for blob in handed] == [[[10, 0, 30, 0]], [[0, 20, 0, 40]], [[0, 0, 0, 0]]]


def test_a_minimum_goes_to_the_first_of_equal_inputs(tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, MINIMUM, (3,), (3,))
    inputs = [np.array([row], np.float32) for row in ([1, 2, -3], [1, -5, 3])]
    assert layer.forward(inputs, WORKSPACE)[0].tolist() == [[1, -5, -3]]
    handed = layer.gradient(inputs, [], [np.array([[10, 20, 30]], np.float32)], WORKSPACE)
    assert [blob.tolist() for blob in handed] == [[[10, 0, 30]], [[0, 20, 0]]]


# --- Contributions --------------------------------------------------------------------------------


def contribute(
    layer: Layer, inputs: Sequence[Blob], relevance: Blob, gates: Sequence[bool] | None = None
) -> tuple[Blob, ...]:
    assert isinstance(layer, Combination)
    rule, outputs = Contribution(), layer.forward(inputs, WORKSPACE)
    assert rule.uses_inputs(layer)
    assert rule.uses_outputs(layer)
    prepared = rule.prepare(layer, conditions(gates=gates or [False] * len(inputs)))
    return rule.propagate(layer, prepared, Seen(inputs, outputs), [relevance], WORKSPACE)


COMBINATIONS = [case for case in CASES if not case.name.startswith(("maximum", "minimum"))]
CONTRIBUTED: dict[str, Callable[..., list[Real | None]]] = {
    "sum": lambda *xs: list(xs),
    "added": lambda *xs: list(repeated(*xs)),
    "weighted sum": lambda x, y, z: [0.5 * x, -2 * y, 3 * z],
    "product": lambda *xs: [oracle.eltwise_product(*xs) / len(xs)] * len(xs),
    "axpy": lambda scale, x, y: [None, oracle.axpy(scale, x, np.zeros_like(y)), y],
}


def contributed(case: Case) -> list[Real | None]:
    """What the inputs of ``case`` contribute, by its name."""
    names = [name for name in CONTRIBUTED if case.name.startswith(name)]
    return CONTRIBUTED[names[0]](*(x.astype(np.float64) for x in case.inputs))


@pytest.mark.parametrize("case", COMBINATIONS, ids=str)
def test_relevance_is_shared_by_contribution(case: Case, tmp_path: Path) -> None:
    layer, relevance = case.build(tmp_path), case.gradient
    handed = contribute(layer, case.inputs, relevance)
    expected = oracle.shares(contributed(case), case.slow(*case.inputs), relevance)
    for found, wanted, x in zip(handed, expected, case.inputs, strict=True):
        assert_close(found, np.zeros(x.shape) if wanted is None else gathered(wanted, x.shape), 1e-4)


@pytest.mark.parametrize("case", COMBINATIONS, ids=str)
def test_contributions_sum_to_the_output(case: Case, tmp_path: Path) -> None:
    layer, inputs = case.build(tmp_path), case.inputs
    assert isinstance(layer, Combination)
    outputs = layer.forward(inputs, WORKSPACE)
    contributions = layer.contributions(inputs, outputs, [False] * len(inputs))
    parts = [part for part in contributions if part is not None]
    assert all(part.shape == outputs[0].shape for part in parts)
    assert_close(outputs[0], np.sum(parts, axis=0, dtype=np.float64), 1e-6)


@pytest.mark.parametrize("case", COMBINATIONS, ids=str)
def test_sharing_by_contribution_conserves(case: Case, tmp_path: Path) -> None:
    handed = contribute(case.build(tmp_path), case.inputs, case.gradient)
    total = sum(blob.sum(dtype=np.float64) for blob in handed)
    assert total == pytest.approx(case.gradient.sum(dtype=np.float64), abs=1e-3)


def test_a_sum_of_zero_is_shared_alike(tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, SUM, (4,), (4,))
    inputs = [np.array([[3, 0, 3e-7, 3]], np.float32), np.array([[-3, 0, 0, -2]], np.float32)]
    handed = contribute(layer, inputs, np.array([[10, 20, 30, 40]], np.float32))
    assert [blob.tolist() for blob in handed] == [[[5, 10, 15, 120]], [[5, 10, 15, -80]]]


def test_an_axpy_of_zero_is_shared_by_both_but_the_scale(tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, 'type: "Axpy"', (2, 1, 1), (2, 1, 1), (2, 1, 1))
    inputs = [np.array(row, np.float32).reshape(1, 2, 1, 1) for row in ([2, 3], [4, 1], [-8, 7])]
    handed = contribute(layer, inputs, np.array([10, 20], np.float32).reshape(1, 2, 1, 1))
    assert [blob.reshape(-1).tolist() for blob in handed] == [[0, 0], [5, 6], [5, 14]]


@pytest.mark.parametrize(
    ("gates", "shared"),
    [
        ((False, False, False), (4, 4, 4)),
        ((True, True, True), (4, 4, 4)),
        ((True, False, False), (0, 6, 6)),
        ((False, True, True), (12, 0, 0)),
    ],
)
def test_gates_of_a_product_get_nothing_unless_there_is_nothing_else(
    gates: Sequence[bool], shared: Sequence[float], tmp_path: Path
) -> None:
    layer = lone_layer(tmp_path, PRODUCT, (2,), (2,), (2,))
    inputs = [np.array([row], np.float32) for row in ([2, 0], [3, 5], [-4, 7])]
    handed = contribute(layer, inputs, np.array([[12, 12]], np.float32), gates)
    # The second product is 0, and shared alike.
    assert [blob.tolist() for blob in handed] == [[[value, value]] for value in shared]


# --- Signs and gates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "signs", "expected"),
    [
        (SUM, (True, True, True), True),
        (SUM, (True, False, True), False),
        (WEIGHTED, (True, True, True), False),
        ('type: "Eltwise" eltwise_param { coeff: 1 coeff: 0 coeff: 2 }', (True, True, True), True),
        (PRODUCT, (True, True, True), True),
        (PRODUCT, (True, True, False), False),
        (MAXIMUM, (False, True, False), True),
        (MAXIMUM, (False, False, False), False),
        (MINIMUM, (True, False, True), False),
        (MINIMUM, (True, True, True), True),
        (ADD, (True, True, True), True),
        (ADD, (True, False, True), False),
    ],
)
def test_signs_of_eltwise(body: str, signs: Sequence[bool], expected: bool, tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, body, IMAGE, IMAGE, IMAGE)
    assert layer.is_nonnegative(signs) == expected
    inputs = [random_blob((9, *IMAGE), seed) for seed in range(3)]
    limited = [np.abs(x) if positive else x for x, positive in zip(inputs, signs, strict=True)]
    assert bool((layer.forward(limited, WORKSPACE)[0] >= 0).all()) == expected


@pytest.mark.parametrize(("signs", "expected"), [((True,) * 3, True), ((False, True, True), False)])
def test_signs_of_axpy(signs: Sequence[bool], expected: bool, tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, 'type: "Axpy"', (4,), IMAGE, IMAGE)
    assert layer.is_nonnegative(signs) == expected
    assert not layer.is_gate((True, True, True))


def test_a_product_is_a_gate_if_all_are_and_a_sum_never(tmp_path: Path) -> None:
    for body, of_gates in ((PRODUCT, True), (SUM, False), (MAXIMUM, False)):
        layer = lone_layer(tmp_path, body, IMAGE, IMAGE)
        assert layer.is_gate((True, True)) == of_gates
        assert not layer.is_gate((True, False))


# --- Slice ----------------------------------------------------------------------------------------

SLICES = {
    "equal pieces": ('type: "Slice"', (6, 3, 5), 0, (2, 2, 2)),
    "pieces at points": (
        'type: "Slice" slice_param { slice_point: 1 slice_point: 4 }', (6, 3, 5), 0, (1, 3, 2),
    ),
    "another axis": (
        'type: "Slice" slice_param { axis: -2 slice_point: 2 slice_point: 3 }', (4, 7, 5), 1, (2, 1, 4),
    ),
    "the old field": (
        'type: "Slice" slice_param { slice_dim: 3 slice_point: 1 slice_point: 3 }', (4, 7, 5), 2, (1, 2, 2),
    ),
    "vectors": ('type: "Slice" slice_param { slice_point: 2 slice_point: 5 }', (9,), 0, (2, 3, 4)),
}  # fmt: skip
by_slice = pytest.mark.parametrize(("body", "shape", "axis", "sizes"), SLICES.values(), ids=SLICES.keys())


@by_slice
def test_slice_cuts_and_joins(body: str, shape: Shape, axis: int, sizes: Shape, tmp_path: Path) -> None:
    layer, x = lone_layer(tmp_path, body, shape, tops=3), random_blob((2, *shape), 1)
    outputs, first = layer.forward([x], WORKSPACE), 0
    assert layer.output_shapes == tuple(out.shape[1:] for out in outputs)
    expected = np.zeros(x.shape)
    handed = [random_blob(out.shape, seed) for seed, out in enumerate(outputs)]
    for out, size, gradient in zip(outputs, sizes, handed, strict=True):
        slow = oracle.piece(axis, first, first + size)
        assert_close(out, slow(x), 0)
        expected += gradients(slow, [x], gradient)[0]
        first += size
    (found,) = layer.gradient([], [], handed, WORKSPACE)
    assert_close(found, expected, 1e-6)


@by_slice
def test_slices_do_not_depend_on_the_order_in_memory(
    body: str, shape: Shape, axis: int, sizes: Shape, tmp_path: Path
) -> None:
    del axis, sizes
    layer, x = lone_layer(tmp_path, body, shape, tops=3), random_blob((2, *shape), 1)
    results = []
    for order in (np.ascontiguousarray, laid_out):
        outputs = layer.forward([order(x)], WORKSPACE)
        handed = layer.gradient([], [], [order(out) for out in outputs], WORKSPACE)
        results.append([blob.tolist() for blob in (*outputs, *handed)])
    assert results[0] == results[1]
    assert results[0][-1] == x.tolist()


def test_a_slice_into_one_piece_is_a_copy(tmp_path: Path) -> None:
    layer, x = lone_layer(tmp_path, 'type: "Slice"', IMAGE), random_blob((2, *IMAGE), 1)
    assert layer.forward([x], WORKSPACE)[0].tolist() == x.tolist()


# --- In nets --------------------------------------------------------------------------------------

RESIDUAL = """
name: "residual" input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 5 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "branch" type: "Convolution" bottom: "conv" top: "branch"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "branch" top: "sum"
  eltwise_param { coeff: 1 coeff: 0.5 } }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "mask" type: "Convolution" bottom: "sum" top: "mask"
  convolution_param { num_output: 4 kernel_size: 1 bias_term: false } }
layer { name: "open" type: "Sigmoid" bottom: "mask" top: "mask" }
layer { name: "gated" type: "Eltwise" bottom: "mask" bottom: "sum" top: "gated"
  eltwise_param { operation: PROD } }
layer { name: "pool" type: "Pooling" bottom: "gated" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "squeezed" type: "Convolution" bottom: "pool" top: "squeezed"
  convolution_param { num_output: 4 kernel_size: 1 bias_term: false } }
layer { name: "open2" type: "Sigmoid" bottom: "squeezed" top: "squeezed" }
layer { name: "excited" type: "Axpy" bottom: "squeezed" bottom: "gated" bottom: "sum" top: "excited" }
layer { name: "other" type: "Convolution" bottom: "excited" top: "other"
  convolution_param { num_output: 4 kernel_size: 1 bias_term: false } }
layer { name: "winner" type: "Eltwise" bottom: "excited" bottom: "other" top: "winner"
  eltwise_param { operation: MAX } }
layer { name: "fc" type: "InnerProduct" bottom: "winner" top: "fc"
  inner_product_param { num_output: 5 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
CLASSES = [[2], [1]]


def explained(
    net: Net, formula: int | str, start: int, x: Blob, epsilon: float = 0.01, beta: float = 0.5
) -> Blob:
    plan = resolve_plan(net, formula, RuleParameters(epsilon, beta, -1, CORRECTED), start, 0)
    return from_scores(plan, ENGINE.forward(net, [plan], x), CLASSES)


def walk_residual(weights: Weights) -> RouterWalker:
    half = np.float64(0.5)
    combinations: dict[str, Any] = {
        "sum": (oracle.eltwise_sum((1, 0.5)), lambda x, y: [x, half * y]),
        "gated": (oracle.eltwise_product, lambda gate, x: [None, gate * x]),
        "excited": (oracle.axpy, lambda scale, x, y: [None, scale * x, y]),
    }
    return RouterWalker(messages(RESIDUAL), weights, {"winner": oracle.eltwise_maximum}, combinations)


@pytest.mark.parametrize("formula", [0, 2, 11, 100])
def test_relevance_passes_residual_and_gated_connections(formula: int | str, tmp_path: Path) -> None:
    weights = random_weights(parse(tmp_path, RESIDUAL), 1)
    net, x = build(tmp_path, RESIDUAL, weights), random_blob((2, 3, 6, 5), 2)
    walker = walk_residual(weights)
    walker.forward(x)
    expected = walker.relevance(
        formula, Options(epsilon=0.01, beta=0.5, corrected=True), "fc", CLASSES, first="conv"
    )
    start = next(layer.index for layer in net.layers if layer.name == "fc")
    assert_close(explained(net, formula, start, x), expected, 2e-4)


@pytest.mark.parametrize("formula", [0, 2, 100])
def test_residual_and_gated_connections_conserve(formula: int | str, tmp_path: Path) -> None:
    """Weights are positive, so that there always is a positive part for α = 1 to take."""
    weights = {
        name: [np.abs(blobs[0])] for name, blobs in random_weights(parse(tmp_path, RESIDUAL), 1).items()
    }
    net, x = build(tmp_path, RESIDUAL, weights), np.abs(random_blob((2, 3, 6, 5), 2))
    walker = walk_residual(weights)
    walker.forward(x)
    scores = walker.values[walker.writes["fc"][0]]
    start = next(layer.index for layer in net.layers if layer.name == "fc")
    found = explained(net, formula, start, x, 1e-6, 0.0).reshape(2, -1).sum(axis=1)
    wanted = [scores[item, chosen] for item, (chosen,) in enumerate(CLASSES)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-3)


# --- Bad parameters -------------------------------------------------------------------------------

BAD: dict[str, tuple[str, tuple[Shape, ...], int, str]] = {
    "one bottom": (SUM, (IMAGE,), 1, r"has 1 bottom\(s\), needs at least 2"),
    "shapes that differ": (SUM, (IMAGE, (4, 3, 1)), 1, "differ; check the layers.*Scale layer with axis: 0"),
    "shapes to broadcast": (PRODUCT, (IMAGE, (4, 1, 1)), 1, "differ; check the layers.*Scale layer"),
    "too few coefficients": (WEIGHTED, (IMAGE, IMAGE), 1, "2 bottoms but 3 coeff; give one for each"),
    "coefficients of a product": (
        'type: "Eltwise" eltwise_param { operation: PROD coeff: 1 coeff: 2 }', (IMAGE, IMAGE), 1,
        "coeff, which only SUM uses",
    ),
    "a quotient": (
        'type: "Eltwise" eltwise_param { operation: DIV }', (IMAGE, IMAGE), 1, "DIV.*no rule; cut the net",
    ),
    "sizes that do not fit": (ADD, (IMAGE, (4, 2, 5)), 1, "cannot be added: along every axis"),
    "axes that do not fit": (ADD, (IMAGE, (4,)), 1, "cannot be added: along every axis"),
    "two bottoms of an axpy": ('type: "Axpy"', ((4,), IMAGE), 1, r"has 2 bottom\(s\), needs 3"),
    "an axpy of unequal blobs": ('type: "Axpy"', ((4,), IMAGE, (4, 3, 6)), 1, "do not fit together.*first"),
    "a scale of other channels": ('type: "Axpy"', ((3,), IMAGE, IMAGE), 1, "do not fit together.*first"),
    "a scale of pixels": ('type: "Axpy"', ((4, 3, 1), IMAGE, IMAGE), 1, "one number for every channel"),
    "pieces that are not equal": ('type: "Slice"', (IMAGE,), 3, "cannot cut 4 into 3 equal pieces; add"),
    "too few slice points": ('type: "Slice" slice_param { slice_point: 1 }', (IMAGE,), 3, "one fewer than"),
    "slice points that do not ascend": (
        'type: "Slice" slice_param { slice_point: 3 slice_point: 1 }', (IMAGE,), 3, "must increase",
    ),
    "an empty piece": (
        'type: "Slice" slice_param { slice_point: 2 slice_point: 2 }', (IMAGE,), 3, "must increase",
    ),
    "a slice point at the end": ('type: "Slice" slice_param { slice_point: 4 }', (IMAGE,), 2, "0 and 4"),
    "a slice of the batch": ('type: "Slice" slice_param { axis: 0 }', (IMAGE,), 2, "axis 0 is not supported"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "shapes", "tops", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_are_errors_that_name_the_layer(
    body: str, shapes: tuple[Shape, ...], tops: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        lone_layer(tmp_path, body, *shapes, tops=tops)
    assert "layer 0 'layer'" in str(caught.value)
