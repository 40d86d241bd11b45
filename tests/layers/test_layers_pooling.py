"""Pooling beyond the reference: masks, stochastic pooling, forks' rounding, spatial pyramids."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import test_layers
from builders import (
    ENGINE,
    WORKSPACE,
    Weights,
    assert_close,
    build,
    conditions,
    deployed,
    from_scores,
    layer_net,
    lone_layer,
    random_blob,
    single_layer,
    without_biases,
)
from extended_walker import ExtendedWalker, Pair, Slow
from oracle import Array, Geometry, Real, Shape
from oracle import Pair as Pixels
from oracle_walker import Options, Walker
from test_layers import IMAGE, Case

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer, Winner
from caffe_lrp.layers.pooling import MaxPooling, StochasticPooling
from caffe_lrp.net.build import build_net, build_outline
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.conservation import losses_of
from caffe_lrp.relevance.passage import Passage
from caffe_lrp.relevance.plan import Step, resolve_plan
from caffe_lrp.relevance.rules.accounts import Constants
from caffe_lrp.relevance.rules.base import RuleParameters, Seen
from caffe_lrp.relevance.rules.routing import Route
from caffe_lrp.relevance.rules.sharing import Share


def stochastic_pool(x: Real, geometry: Geometry, round_up: bool = True) -> Array:
    """``Σx²/Σx`` of every window, 0 where the sum is 0."""
    size = oracle.image_size(x)
    out = np.zeros((*x.shape[:2], *oracle.pooled_size(size, geometry, round_up)))
    for n, c in np.ndindex(*x.shape[:2]):
        for window in oracle.pool_windows(size, geometry, round_up):
            numbers = [float(x[n, c][pixel]) for pixel in window.pixels]
            if sum(numbers) != 0:
                out[n, c, window.row, window.column] = sum(v * v for v in numbers) / sum(numbers)
    return out


def stochastic_relevance(x: Real, relevance: Real, geometry: Geometry) -> Array:
    """Shares in proportion to ``x²``, alike where all is 0."""
    out = np.zeros(x.shape)
    for n, c in np.ndindex(*x.shape[:2]):
        for window in oracle.pool_windows(oracle.image_size(x), geometry):
            received = float(relevance[n, c, window.row, window.column])
            total = sum(float(x[n, c][pixel]) ** 2 for pixel in window.pixels)
            for pixel in window.pixels:
                share = float(x[n, c][pixel]) ** 2 / total if total else 1 / len(window.pixels)
                out[n, c][pixel] += received * share
    return out


def stochastic_gradient(x: Real, gradient: Real, geometry: Geometry) -> Array:
    """``(2x − y)/Σx``, nothing where the sum is 0."""
    out, means = np.zeros(x.shape), stochastic_pool(x, geometry)
    for n, c in np.ndindex(*x.shape[:2]):
        for window in oracle.pool_windows(oracle.image_size(x), geometry):
            at = (n, c, window.row, window.column)
            total = sum(float(x[n, c][pixel]) for pixel in window.pixels)
            for pixel in window.pixels:
                slope = (2 * float(x[n, c][pixel]) - means[at]) / total if total else 0
                out[n, c][pixel] += gradient[at] * slope
    return out


def dilated_max_pool(x: Real, geometry: Geometry, size: Pixels) -> Array:
    """The largest number of every window, whose pixels lie ``geometry.dilation`` apart."""
    kernel, stride, pad, dilation = geometry[:4]
    out = np.full((*x.shape[:2], *size), -np.inf)
    for n, c, row, column, i, j in np.ndindex(*out.shape, *kernel):
        y = row * stride[0] - pad[0] + i * dilation[0]
        at = column * stride[1] - pad[1] + j * dilation[1]
        if 0 <= y < x.shape[2] and 0 <= at < x.shape[3]:
            out[n, c, row, column] = max(out[n, c, row, column], float(x[n, c, y, at]))
    return out


def pyramid(
    pool: Callable[[Real, Geometry], Array], *levels: Geometry
) -> Callable[[Real, list[Blob]], Array]:
    """The slow version of spatial pyramid pooling: all levels, one after the other."""

    def slow(x: Real, weights: list[Blob]) -> Array:
        del weights
        return np.concatenate([pool(x, level).reshape(len(x), -1) for level in levels], axis=1)

    return slow


#: The levels over `IMAGE`, 7×6, and over 8×4, worked out by hand from Caffe's formulas.
OVER_IMAGE = (
    Geometry((7, 6), (7, 6)),
    Geometry((4, 3), (4, 3), (1, 0)),
    Geometry((2, 2), (2, 2), (1, 1)),
)
OVER_EVEN = (Geometry((8, 4), (8, 4)), Geometry((4, 2), (4, 2)), Geometry((2, 1), (2, 1)))


@dataclass(frozen=True)
class PositiveCase(Case):
    """A case whose input is positive, as that of stochastic pooling should be."""

    @property
    def x(self) -> Blob:
        return np.abs(random_blob((2, *self.shape), 1))


CASES = [
    PositiveCase(
        "stochastic pooling",
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 }',
        (3, 8, 6),
        (3, 4, 2),
        lambda x, _: stochastic_pool(x, Geometry((3, 4), (2, 3))),
    ),
    PositiveCase(
        "overlapping stochastic pooling that rounds down",
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 3 stride_h: 1 stride_w: 2 '
        "ceil_mode: false }",
        (2, 5, 8),
        (2, 3, 3),
        lambda x, _: stochastic_pool(x, Geometry((3, 3), (1, 2)), round_up=False),
    ),
    PositiveCase(
        "global stochastic pooling",
        'type: "Pooling" pooling_param { pool: STOCHASTIC global_pooling: true }',
        IMAGE,
        (4, 1, 1),
        lambda x, _: stochastic_pool(x, Geometry((7, 6))),
    ),
    Case(
        "max pooling that rounds down in a fork",
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride_h: 3 stride_w: 4 ceil_mode: false }',
        (3, 7, 8),
        (3, 2, 2),
        lambda x, _: oracle.max_pool(x, Geometry((2, 2), (3, 4)), round_up=False),
    ),
    Case(
        "average pooling that rounds down twice said",
        'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride_h: 3 stride_w: 4 ceil_mode: false '
        "round_mode: FLOOR }",
        (3, 7, 8),
        (3, 2, 2),
        lambda x, _: oracle.average_pool(x, Geometry((2, 2), (3, 4)), round_up=False),
    ),
    Case(
        "max pooling that rounds up in a fork",
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride_h: 3 stride_w: 4 ceil_mode: true }',
        (3, 7, 9),
        (3, 3, 3),
        lambda x, _: oracle.max_pool(x, Geometry((2, 2), (3, 4))),
    ),
    Case(
        "max pooling at a distance",
        'type: "Pooling" pooling_param { kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2 '
        "dilation: 2 dilation: 3 }",
        (3, 8, 5),
        (3, 4, 6),
        lambda x, _: dilated_max_pool(x, Geometry((3, 2), (2, 1), (1, 2), (2, 3)), (4, 6)),
    ),
    Case(
        "average pooling that rounds up but stays inside",
        'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride_h: 3 stride_w: 4 '
        "round_mode: CEIL_INSIDE }",
        (3, 9, 7),
        (3, 3, 2),
        lambda x, _: oracle.average_pool(x[..., :7], Geometry((2, 2), (3, 4), ends=(1, 0))),
    ),
    PositiveCase(
        "stochastic pooling with empty windows below",
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_h: 1 kernel_w: 3 stride_h: 4 stride_w: 2 }',
        (2, 7, 5),
        (2, 3, 2),
        lambda x, _: stochastic_pool(x, Geometry((1, 3), (4, 2))),
    ),
    Case(
        "max pooling padded on every side",
        'type: "Pooling" pooling_param { pool: MAX kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 '
        "pad_t: 2 pad_b: 1 pad_l: 0 pad_r: 3 }",
        (3, 6, 5),
        (3, 4, 2),
        lambda x, _: oracle.max_pool(x, Geometry((3, 4), (2, 3), (2, 0), ends=(1, 3))),
    ),
    Case(
        "average pooling padded on every side",
        'type: "Pooling" pooling_param { pool: AVE kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 '
        "pad_t: 2 pad_b: 1 pad_l: 0 pad_r: 3 }",
        (3, 6, 5),
        (3, 4, 2),
        lambda x, _: oracle.average_pool(x, Geometry((3, 4), (2, 3), (2, 0), ends=(1, 3))),
    ),
    Case(
        "average pooling over real pixels",
        'type: "Pooling" pooling_param { pool: AVE_EXC_PAD kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 '
        "pad_h: 1 pad_w: 2 }",
        (3, 8, 6),
        (3, 5, 3),
        lambda x, _: oracle.average_pool(x, Geometry((3, 4), (2, 3), (1, 2)), pixels_only=True),
    ),
    Case(
        "average pooling over real pixels under its old name, padded at the end",
        'type: "Pooling" pooling_param { pool: AVE_TF kernel_size: 3 stride_h: 1 stride_w: 2 pad_b: 2 '
        "pad_r: 1 ceil_mode: false }",
        (2, 4, 6),
        (2, 4, 3),
        lambda x, _: oracle.average_pool(
            x, Geometry((3, 3), (1, 2), ends=(2, 1)), round_up=False, pixels_only=True
        ),
    ),
    Case(
        "global pooling with all that Caffe allows",
        'type: "Pooling" pooling_param { pool: AVE global_pooling: true pad: 0 stride_h: 1 stride_w: 1 '
        "round_mode: FLOOR }",
        IMAGE,
        (4, 1, 1),
        lambda x, _: oracle.average_pool(x, Geometry((7, 6))),
    ),
    Case(
        "max pyramid",
        'type: "SPP" spp_param { pool: MAX pyramid_height: 3 }',
        IMAGE,
        (84,),
        pyramid(oracle.max_pool, *OVER_IMAGE),
    ),
    Case(
        "average pyramid",
        'type: "SPP" spp_param { pool: AVE pyramid_height: 2 }',
        IMAGE,
        (20,),
        pyramid(oracle.average_pool, *OVER_IMAGE[:2]),
    ),
    PositiveCase(
        "stochastic pyramid",
        'type: "SPP" spp_param { pool: STOCHASTIC pyramid_height: 3 }',
        (3, 8, 4),
        (63,),
        pyramid(stochastic_pool, *OVER_EVEN),
    ),
    Case(
        "pyramid of one level",
        'type: "SPP" spp_param { pyramid_height: 1 }',
        IMAGE,
        (4, 1, 1),
        lambda x, _: oracle.max_pool(x, Geometry((7, 6))),
    ),
]

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.slow
@by_name
@test_layers.by_check
def test_as_every_layer(check: Callable[[Case, Path], None], case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@by_name
def test_signs_of_outputs_are_known(case: Case, tmp_path: Path) -> None:
    layer, _ = case.build(tmp_path)
    assert (layer.is_nonnegative([False]), layer.is_nonnegative([True])) == (False, True)
    x = np.abs(random_blob((5, *case.shape), 1))
    assert layer.forward([-x], WORKSPACE)[0].min() < 0
    assert layer.forward([x], WORKSPACE)[0].min() >= 0


def test_stochastic_pooling_of_nothing_is_nothing(tmp_path: Path) -> None:
    layer, _ = CASES[0].build(tmp_path)
    assert isinstance(layer, StochasticPooling)
    x, relevance = np.zeros((2, 3, 8, 6), np.float32), random_blob((2, 3, 4, 2), 1)
    assert not layer.forward([x], WORKSPACE)[0].any()
    assert not layer.gradient([x], [], [relevance], WORKSPACE)[0].any()
    expected = stochastic_relevance(x, relevance, Geometry((3, 4), (2, 3)))
    assert_close(layer.shared([x], relevance, WORKSPACE), expected, 1e-6)


def test_overflow_is_silent(tmp_path: Path) -> None:
    layer, _ = CASES[0].build(tmp_path)
    assert isinstance(layer, StochasticPooling)
    x = np.full((1, 3, 8, 6), 3e38, np.float32)
    x[0, 0], x[0, 1, 0] = np.inf, 1e-38
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        (out,) = layer.forward([x], WORKSPACE)
        layer.gradient([x], [], [out], WORKSPACE)
        layer.shared([x], out, WORKSPACE)


def test_numbers_too_small_to_be_squared_share_alike(tmp_path: Path) -> None:
    layer = build(tmp_path, layer_net(CASES[2].body, (1, 2, 3))).layers[0]
    assert isinstance(layer, StochasticPooling)
    x = np.full((1, 1, 2, 3), 1e-30, np.float32)
    shared = layer.shared([x], np.full((1, 1, 1, 1), 6, np.float32), WORKSPACE)
    assert_close(shared, np.ones((1, 1, 2, 3)), 1e-6)


# --- Masks --------------------------------------------------------------------------------------------------


def slow_mask(x: Real, geometry: Geometry, round_up: bool = True) -> Array:
    """Position of the first maximum of every window in its plane."""
    height, width = oracle.image_size(x)
    out = np.zeros((*x.shape[:2], *oracle.pooled_size((height, width), geometry, round_up)))
    for n, c in np.ndindex(*x.shape[:2]):
        for window in oracle.pool_windows((height, width), geometry, round_up):
            largest = max(float(x[n, c][pixel]) for pixel in window.pixels)
            y, i = next(pixel for pixel in window.pixels if float(x[n, c][pixel]) == largest)
            out[n, c, window.row, window.column] = y * width + i
    return out


MASKED = [
    ("kernel_size: 2 stride: 2", Geometry((2, 2), (2, 2)), (3, 8, 6), True),
    ("kernel_size: 2 stride: 2", Geometry((2, 2), (2, 2)), (3, 7, 5), True),
    ("kernel_size: 2 stride: 2 round_mode: FLOOR", Geometry((2, 2), (2, 2)), (3, 7, 5), False),
    (
        "kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2",
        Geometry((3, 4), (2, 1), (1, 2)),
        (3, 8, 6),
        True,
    ),
    ("kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 4", Geometry((2, 3), (3, 4)), (3, 8, 7), True),
    ("kernel_size: 5 stride: 3 pad: 4", Geometry((5, 5), (3, 3), (4, 4)), (2, 3, 4), True),
    ("global_pooling: true", Geometry((8, 6)), (3, 8, 6), True),
]
by_mask = pytest.mark.parametrize(("parameters", "geometry", "shape", "round_up"), MASKED)


def masked(folder: Path, parameters: str, shape: tuple[int, ...]) -> Layer:
    body = f'type: "Pooling" pooling_param {{ pool: MAX {parameters} }}'
    return build(folder, layer_net(body, shape, tops=2)).layers[0]


@by_mask
@pytest.mark.parametrize("levels", [0, 3], ids=["apart", "ties"])
def test_the_mask_says_where_the_first_maximum_is(
    parameters: str, geometry: Geometry, shape: tuple[int, ...], round_up: bool, levels: int, tmp_path: Path
) -> None:
    x = random_blob((2, *shape), 1)
    if levels:
        x = np.round(x * levels) / np.float32(levels)
    layer = masked(tmp_path, parameters, shape)
    out, mask = layer.forward([x], WORKSPACE)
    assert layer.output_shapes == (out.shape[1:], mask.shape[1:])
    assert_close(out, oracle.max_pool(x, geometry, round_up), 0)
    assert_close(mask, slow_mask(x, geometry, round_up), 0)
    assert mask.transpose(0, 2, 3, 1).flags.c_contiguous


@by_mask
def test_nothing_is_handed_back_through_the_mask(
    parameters: str, geometry: Geometry, shape: tuple[int, ...], round_up: bool, tmp_path: Path
) -> None:
    layer = masked(tmp_path, parameters, shape)
    x = random_blob((2, *shape), 1)
    outputs = layer.forward([x], WORKSPACE)
    gradient, other = random_blob(outputs[0].shape, 2), random_blob(outputs[1].shape, 3)
    (found,) = layer.gradient([x], [], [gradient, other], WORKSPACE)
    assert_close(found, oracle.max_pool_route(x, gradient, geometry, round_up), 1e-6)


def test_the_first_of_equal_elements_at_a_distance_gets_everything(tmp_path: Path) -> None:
    body = pooling("pool: MAX kernel_size: 2 dilation: 2 stride: 1")
    layer = single_layer(tmp_path, body, (3, 4, 5))
    x, gradient = np.ones((2, 3, 4, 5), np.float32), random_blob((2, 3, 2, 3), 2)
    (handed,) = layer.gradient([x], layer.forward([x], WORKSPACE), [gradient], WORKSPACE)
    np.testing.assert_array_equal(handed[:, :, :2, :3], gradient)
    assert not handed[:, :, 2:].any()


def test_windows_without_numbers_have_no_maximum(tmp_path: Path) -> None:
    layer = masked(tmp_path, "kernel_size: 2 stride: 2", (1, 2, 4))
    x = np.array([[[[np.nan, np.nan, 1, 2], [np.nan, np.nan, 3, 0]]]], np.float32)
    _, mask = layer.forward([x], WORKSPACE)
    assert mask.tolist() == [[[[-1, 6]]]]


def test_a_mask_that_nobody_reads_makes_no_difference(tmp_path: Path) -> None:
    text = pooled_net('type: "Pooling" top: "mask" pooling_param { pool: MAX kernel_size: 3 stride: 2 }')
    (tmp_path / "without").mkdir()
    for code in (0, 2, 11, 100):
        options = Options(epsilon=0.1, beta=1.0)
        maps = []
        for folder, version in ((tmp_path, text), (tmp_path / "without", text.replace('top: "mask" ', ""))):
            net = build(folder, version)
            assert len(net.layers[2].outputs) == (2 if folder == tmp_path else 1)
            pair = Pair(folder, version, Walker)
            maps.append(pair.explain(code, options, "fc", CLASSES))
        assert maps[0].tolist() == maps[1].tolist()


# --- Windows without a pixel --------------------------------------------------------------------------------

LOWEST = np.float32(-3.4028235e38)

#: Parameters, geometry, shape of the input, size of the output, and how much of that sees pixels.
EMPTY = {
    "below and right": ("kernel_size: 1 stride: 2", Geometry((1, 1), (2, 2)), (3, 4, 6), (3, 4), (2, 3)),
    "below": (
        "kernel_h: 2 kernel_w: 3 stride_h: 5 stride_w: 2",
        Geometry((2, 3), (5, 2)),
        (2, 5, 7),
        (2, 3),
        (1, 3),
    ),
    "right": (
        "kernel_h: 4 kernel_w: 1 stride_h: 1 stride_w: 3",
        Geometry((4, 1), (1, 3)),
        (2, 5, 9),
        (2, 4),
        (2, 3),
    ),
}
by_empty = pytest.mark.parametrize(
    ("parameters", "geometry", "shape", "size", "filled"), EMPTY.values(), ids=EMPTY.keys()
)


@by_empty
def test_the_maximum_of_nothing_is_the_lowest_number(
    parameters: str, geometry: Geometry, shape: Shape, size: Pixels, filled: Pixels, tmp_path: Path
) -> None:
    layer, x = masked(tmp_path, parameters, shape), random_blob((2, *shape), 1)
    out, mask = layer.forward([x], WORKSPACE)
    assert layer.output_shapes == ((shape[0], *size),) * 2
    assert_close(out, oracle.max_pool(x, geometry), 0)
    is_empty = np.ones(out.shape, bool)
    is_empty[:, :, : filled[0], : filled[1]] = False
    assert (out[is_empty] == LOWEST).all()
    assert (mask[is_empty] == -1).all()
    assert mask[~is_empty].min() >= 0
    # However positive the input is.
    assert (layer.is_nonnegative([True]), layer.is_nonnegative([False])) == (False, False)


@by_empty
def test_what_windows_without_pixels_get_is_lost_to_padding(
    parameters: str, geometry: Geometry, shape: Shape, size: Pixels, filled: Pixels, tmp_path: Path
) -> None:
    layer, x = masked(tmp_path, parameters, shape), random_blob((2, *shape), 1)
    relevance = random_blob((2, shape[0], *size), 2)
    (handed,) = layer.gradient([x], [], [relevance, relevance], WORKSPACE)
    assert_close(handed, oracle.max_pool_route(x, relevance, geometry), 1e-6)
    lost = relevance.astype(np.float64)
    lost[:, :, : filled[0], : filled[1]] = 0
    body = f'type: "Pooling" pooling_param {{ POOL {parameters} }}'
    for method, rule in (("MAX", Route()), ("STOCHASTIC", Share())):
        pooled: Any = single_layer(tmp_path, body.replace("POOL", f"pool: {method}"), shape)
        positive = np.abs(x)
        handed = rule.propagate(pooled, None, Seen((positive,), ()), [relevance], WORKSPACE)[0]
        passage = Passage(
            Step(pooled, rule, conditions()), Seen((positive,), ()), [relevance], [handed], WORKSPACE
        )
        for item in range(2):
            found = losses_of(passage, item, Constants())
            assert found is not None
            assert found.keys() == {"padding"}
            assert found["padding"] == pytest.approx(lost[item].sum(), abs=1e-5)
            kept = relevance[item].sum(dtype=np.float64) - handed[item].sum(dtype=np.float64)
            assert kept == pytest.approx(lost[item].sum(), abs=1e-5)


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ("kernel_size: 1 stride: 2 round_mode: FLOOR", (2, 3)),
        # Padding on one axis drops windows of both.
        ("kernel_h: 1 kernel_w: 2 stride_h: 2 stride_w: 2 pad_w: 1", (2, 4)),
        ("kernel_h: 1 kernel_w: 2 stride_h: 2 stride_w: 2 pad_r: 1", (2, 3)),
    ],
)
def test_rounding_down_and_padding_leave_no_window_without_pixels(
    parameters: str, size: Pixels, tmp_path: Path
) -> None:
    layer = masked(tmp_path, parameters, (3, 4, 6))
    assert isinstance(layer, MaxPooling)
    assert not layer.has_empty_windows
    assert layer.output_shapes[0] == (3, *size)
    assert layer.is_nonnegative([True])


def test_empty_windows_count_as_in_caffe_in_a_whole_net(tmp_path: Path) -> None:
    """Of 3×3 windows over 4×4 ones the last row and column are empty: the mean after ReLU is 4/9."""
    text = """
    input: "data" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
      convolution_param { num_output: 1 kernel_size: 1 bias_term: false } }
    layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
      pooling_param { kernel_size: 1 stride: 2 } }
    layer { name: "relu" type: "ReLU" bottom: "pool" top: "pool" }
    layer { name: "ave" type: "Pooling" bottom: "pool" top: "ave"
      pooling_param { pool: AVE global_pooling: true } }
    layer { name: "fc" type: "InnerProduct" bottom: "ave" top: "fc"
      inner_product_param { num_output: 1 bias_term: false } }
    """
    one = np.ones((1, 1, 1, 1), np.float32)
    net = build(tmp_path, text, {"conv": [one], "fc": [one.reshape(1, 1)]})
    x = np.ones((1, 1, 4, 4), np.float32)
    for code in (0, 2, 11, 100):
        plan = resolve_plan(net, code, RuleParameters(0.0, 0.0, -1, CORRECTED), 4, 0)
        forward = ENGINE.forward(net, [plan], x)
        assert forward.activations[net.output_value].item() == np.float32(4 / 9)
        found = from_scores(plan, forward, [[0]])[0, 0]
        expected = np.zeros((4, 4))
        expected[::2, ::2] = 1 / 9
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert net.notices == ()


def test_an_unpooling_by_the_mask_of_an_empty_window_is_an_error(tmp_path: Path) -> None:
    layer = masked(tmp_path, "kernel_size: 1 stride: 2", (2, 4, 6))
    pooled, mask = layer.forward([random_blob((1, 2, 4, 6), 1)], WORKSPACE)
    body = 'type: "Upsample" upsample_param { upsample_h: 4 upsample_w: 6 }'
    unpooling = lone_layer(tmp_path, body, (2, 3, 4), (2, 3, 4))
    with pytest.raises(ModelError, match="mask has no position for a pooling window that is all NaN or out"):
        unpooling.forward([pooled, mask], WORKSPACE)


EMPTY_POOL = 'type: "Pooling" pooling_param { kernel_size: 1 stride: 2 }'
RELU, CONVOLUTION = 'type: "ReLU"', 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }'
SUM, NORMALIZED = 'type: "InnerProduct" inner_product_param { num_output: 3 }', 'type: "LRN"'
WARNED = {
    "a convolution": ([CONVOLUTION], "layer1"),
    "a convolution by way of others": (
        ['type: "Dropout"', 'type: "Flip"', 'type: "ReLU" relu_param { negative_slope: 0.1 }', SUM],
        "layer4",
    ),
    "slopes that are learned": (['type: "PReLU"', CONVOLUTION], "layer2"),
    "a further maximum": (
        ['type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', NORMALIZED],
        "layer2",
    ),
    "rectified first": ([RELU, CONVOLUTION], None),
    "squashed first": (['type: "Flatten"', 'type: "TanH"', SUM], None),
    "cut off first": (
        ['type: "RReLU" rrelu_param { negative_slope_lower: 3 negative_slope_upper: 8 }'],
        None,
    ),
    "probabilities": (['type: "Softmax"'], None),
}


@pytest.mark.parametrize(("bodies", "reader"), WARNED.values(), ids=WARNED.keys())
def test_a_notice_says_where_the_lowest_number_is_computed_with(
    bodies: list[str], reader: str | None, tmp_path: Path
) -> None:
    text = 'input: "data" input_shape { dim: 1 dim: 2 dim: 4 dim: 6 }\n'
    for number, body in enumerate([EMPTY_POOL, *bodies]):
        below = f"layer{number - 1}" if number else "data"
        text += f'layer {{ name: "layer{number}" bottom: "{below}" top: "layer{number}" {body} }}\n'
    for net in (build(tmp_path, text), build_outline(deployed(tmp_path, text))):
        if reader is None:
            assert net.notices == ()
            continue
        (notice,) = net.notices
        assert "layer 0 'layer0' (Pooling): some windows lie outside the image and give -3.4e+38" in notice
        assert f"'{reader}'" in notice


def test_what_reaches_sums_is_found_without_a_blob_of_that_size(tmp_path: Path) -> None:
    """Which would have 6 GB."""
    text = 'input: "data" input_shape { dim: 1 dim: 2 dim: 28000 dim: 28000 }\n'
    text += f'layer {{ name: "pool" bottom: "data" top: "pool" {EMPTY_POOL} }}\n'
    text += f'layer {{ name: "relu" bottom: "pool" top: "relu" {RELU} }}\n'
    assert build_outline(deployed(tmp_path, text.replace("stride: 2", "stride: 31"))).notices == ()


def test_a_mask_that_has_no_place_for_a_window_is_refused_where_it_is_read(tmp_path: Path) -> None:
    text = 'input: "data" input_shape { dim: 1 dim: 2 dim: 4 dim: 6 }\n'
    text += f'layer {{ name: "pool" bottom: "data" top: "pool" top: "mask" {EMPTY_POOL} }}\n'
    text += 'layer { name: "up" bottom: "pool" bottom: "mask" top: "up" type: "Upsample" '
    text += "upsample_param { upsample_h: 4 upsample_w: 6 } }\n"
    with pytest.raises(ModelError, match=r"layer 1 'up' \(Upsample\) reads the mask of layer 0 'pool'"):
        build_outline(deployed(tmp_path, text))
    assert build_outline(deployed(tmp_path, text.replace("stride: 2", "stride: 2 round_mode: FLOOR"))).layers


# --- Padding and means --------------------------------------------------------------------------------------


def test_means_divide_by_windows_clipped_to_the_padded_image_or_to_the_image(tmp_path: Path) -> None:
    x = np.full((1, 1, 2, 3), 12, np.float32)
    parameters = "kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 pad: 1"
    # Rows −1..1 and 1..2 of the padded −1..2; columns −1..2 and 2..3 of the padded −1..3.
    padded = [[12 * 2 * 3 / 12, 12 * 2 * 1 / 6], [12 * 1 * 3 / 8, 12 * 1 * 1 / 4]]
    for method, expected in (("AVE", padded), ("AVE_EXC_PAD", [[12, 12], [12, 12]])):
        layer = single_layer(tmp_path, pooling(f"pool: {method} {parameters}"), (1, 2, 3))
        assert layer.forward([x], WORKSPACE)[0].tolist() == [[expected]]


@pytest.mark.parametrize("parameters", ["kernel_size: 3 stride: 2", "global_pooling: true"])
def test_without_padding_the_two_kinds_of_mean_are_one(parameters: str, tmp_path: Path) -> None:
    x = random_blob((2, 3, 8, 6), 1)
    found = [
        single_layer(tmp_path, pooling(f"pool: {method} {parameters}"), (3, 8, 6)).forward([x], WORKSPACE)[0]
        for method in ("AVE", "AVE_EXC_PAD")
    ]
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("pool", ["MAX", "AVE", "AVE_EXC_PAD"])
def test_pads_of_sides_that_are_equal_are_those_of_axes(pool: str, tmp_path: Path) -> None:
    sides, axes = "pad_l: 2 pad_r: 2 pad_t: 1 pad_b: 1", "pad_h: 1 pad_w: 2"
    window = f"pool: {pool} kernel_size: 3 stride: 2"
    layers = [single_layer(tmp_path, pooling(f"{window} {pads}"), (3, 8, 6)) for pads in (sides, axes)]
    x = random_blob((2, 3, 8, 6), 1)
    assert len({layer.forward([x], WORKSPACE)[0].tobytes() for layer in layers}) == 1
    gradient = random_blob((2, *layers[0].output_shapes[0]), 2)
    assert len({layer.gradient([x], [], [gradient], WORKSPACE)[0].tobytes() for layer in layers}) == 1


# --- Bad parameters -----------------------------------------------------------------------------------------


def pooling(parameters: str, more: str = "") -> str:
    return f'type: "Pooling" {more} pooling_param {{ {parameters} }}'


BAD = {
    "a mask of averages": (
        pooling("pool: AVE kernel_size: 2", 'top: "mask"'),
        "has 2 tops, but only MAX pooling has a mask to write; remove the second",
    ),
    "a mask of chances": (
        pooling("pool: STOCHASTIC kernel_size: 2", 'top: "mask"'),
        "only MAX pooling has a mask",
    ),
    "three tops": (
        pooling("pool: MAX kernel_size: 2", 'top: "mask" top: "more"'),
        r"has 3 top\(s\), needs 1 or 2; check its top lines",
    ),
    "rounding up and down": (
        pooling("kernel_size: 2 round_mode: CEIL ceil_mode: false"),
        "round_mode and ceil_mode contradict each other; keep one",
    ),
    "rounding down and up": (
        pooling("kernel_size: 2 round_mode: FLOOR ceil_mode: true"),
        "round_mode and ceil_mode contradict each other; keep one",
    ),
    "padded chances": (
        pooling("pool: STOCHASTIC kernel_size: 3 pad_h: 0 pad_w: 1"),
        "STOCHASTIC pooling takes no padding; use MAX or AVE",
    ),
    "means over nothing": (
        pooling("pool: AVE kernel_size: 1 stride: 5"),
        r"only 2×2 of its 3×2 windows hold pixels; the others are outside the image, and a mean over nothing "
        r"is NaN, as in Caffe; make the stride at most the kernel size, round sizes down \(round_mode: FLOOR",
    ),
    "means over nothing but real pixels": (
        pooling("pool: AVE_EXC_PAD kernel_h: 7 kernel_w: 1 stride_h: 1 stride_w: 4"),
        "only 1×2 of its 1×3 windows hold pixels",
    ),
    "chances padded at one side": (
        pooling("pool: STOCHASTIC kernel_size: 3 pad_r: 1"),
        "STOCHASTIC pooling takes no padding; use MAX or AVE",
    ),
    "means at a distance": (
        pooling("pool: AVE kernel_size: 2 dilation: 2"),
        "only MAX pooling takes dilation; pool by MAX, or without dilation",
    ),
    "a maximum of nothing at a distance": (
        pooling("kernel_h: 2 kernel_w: 1 pad_h: 8 dilation: 9 dilation: 1"),
        "some windows lie outside the image and have no maximum; make padding, dilation or stride",
    ),
    "global pooling at a distance": (
        pooling("global_pooling: true dilation: 2"),
        "global_pooling takes the whole image; remove stride, pad and dilation",
    ),
    "global pooling padded at one side": (
        pooling("global_pooling: true pad_t: 1"),
        "global_pooling takes the whole image; remove stride, pad and dilation",
    ),
    "padded global pooling": (
        pooling("global_pooling: true pad: 1"),
        "global_pooling takes the whole image; remove stride, pad and dilation",
    ),
    "global pooling in steps": (
        pooling("global_pooling: true stride_h: 1 stride_w: 2"),
        "global_pooling takes the whole image; remove stride, pad and dilation",
    ),
    "global pooling with a kernel": (
        pooling("global_pooling: true kernel_size: 7"),
        "gives a kernel size, but global_pooling takes the whole image; keep one",
    ),
    "global pooling with half a kernel": (pooling("global_pooling: true kernel_h: 7"), "gives a kernel size"),
    "a pyramid without height": ('type: "SPP"', "pyramid_height must be at least 1; set it in spp_param"),
    "a pyramid too high": (
        'type: "SPP" spp_param { pyramid_height: 4 }',
        "an input of 7×6 is too small for 8×8 bins; set pyramid_height in spp_param to at most 3",
    ),
    "a pyramid far too high": (
        'type: "SPP" spp_param { pyramid_height: 4000000000 }',
        "too small for 8×8 bins",
    ),
    "padded chances in a pyramid": (
        'type: "SPP" spp_param { pool: STOCHASTIC pyramid_height: 2 }',
        "STOCHASTIC pooling takes no padding",
    ),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_are_errors_that_name_the_layer(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        build_net(deployed(tmp_path, layer_net(body, IMAGE)), {})
    assert "'layer'" in str(caught.value)


def test_pyramids_over_vectors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs an input with 4 axes"):
        build_net(deployed(tmp_path, layer_net('type: "SPP" spp_param { pyramid_height: 2 }', (9,))), {})


def test_convolutions_see_that_a_pyramid_compares(tmp_path: Path) -> None:
    """Winograd's method must not break ties at which max pooling chooses."""
    text = pooled_net('type: "SPP" spp_param { pyramid_height: 2 }')
    net = build(tmp_path, text)
    assert isinstance(net.layers[2], Winner)
    assert net.is_compared(net.layers[0])
    net = build(tmp_path, text.replace("pyramid_height: 2", "pyramid_height: 2 pool: AVE"))
    assert not net.is_compared(net.layers[0])


# --- Relevance ----------------------------------------------------------------------------------------------

CLASSES = [[3], [0, 4]]


def pooled_net(body: str) -> str:
    """A net whose layer ``pooled`` sees 8×4 pixels of 3 channels."""
    return f"""
    input: "data" input_shape {{ dim: 2 dim: 2 dim: 10 dim: 5 }}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
      convolution_param {{ num_output: 3 kernel_h: 3 kernel_w: 2 }} }}
    layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
    layer {{ name: "pooled" bottom: "conv" top: "pooled" {body} }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "pooled" top: "fc"
      inner_product_param {{ num_output: 7 }} }}
    layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
    """


Routed = Callable[[Real, Real, Geometry], Array]


def levels_apart(x: Array, received: Array, levels: tuple[Geometry, ...], share: Routed) -> Array:
    """What all levels of a pyramid hand back."""
    out, begin = np.zeros(x.shape), 0
    for level in levels:
        shape = (len(x), x.shape[1], *oracle.pooled_size(oracle.image_size(x), level))
        end = begin + int(np.prod(shape[1:]))
        out += share(x, received[:, begin:end].reshape(shape), level)
        begin = end
    assert begin == received.shape[1]
    return out


def average_relevance(x: Real, relevance: Real, geometry: Geometry) -> Array:
    return oracle.average_pool_relevance(x, relevance, geometry, add_activations=False)


def average_gradient(x: Real, gradient: Real, geometry: Geometry) -> Array:
    return oracle.average_pool_gradient(gradient, oracle.image_size(x), geometry)


def slow_pyramid(pool: Callable[[Real, Geometry], Array], share: Routed, gradient: Routed) -> Slow:
    return Slow(
        lambda x: pyramid(pool, *OVER_EVEN)(x, []),
        lambda x, received: levels_apart(x, received, OVER_EVEN, share),
        lambda x, received: levels_apart(x, received, OVER_EVEN, gradient),
    )


UNEQUAL = Geometry((3, 2), (2, 1), (1, 0), ends=(2, 1))
SIDES = "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_t: 1 pad_b: 2 pad_r: 1"


def pixel_mean_gradient(x: Real, gradient: Real) -> Array:
    out = np.zeros(x.shape)
    for n, c in np.ndindex(*x.shape[:2]):
        for window in oracle.pool_windows(oracle.image_size(x), UNEQUAL):
            for pixel in window.pixels:
                out[n, c][pixel] += gradient[n, c, window.row, window.column] / len(window.pixels)
    return out


STEPS = Geometry((3, 2), (2, 1))
STOCHASTIC = (
    'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 }'
)
POOLED = {
    STOCHASTIC: Slow(
        lambda x: stochastic_pool(x, STEPS),
        lambda x, received: stochastic_relevance(x, received, STEPS),
        lambda x, received: stochastic_gradient(x, received, STEPS),
    ),
    f'type: "Pooling" pooling_param {{ pool: MAX {SIDES} }}': Slow(
        lambda x: oracle.max_pool(x, UNEQUAL),
        lambda x, received: oracle.max_pool_route(x, received, UNEQUAL),
        lambda x, received: oracle.max_pool_route(x, received, UNEQUAL),
    ),
    f'type: "Pooling" pooling_param {{ pool: AVE_EXC_PAD {SIDES} }}': Slow(
        lambda x: oracle.average_pool(x, UNEQUAL, pixels_only=True),
        lambda x, received: average_relevance(x, received, UNEQUAL),
        pixel_mean_gradient,
    ),
    'type: "SPP" spp_param { pyramid_height: 3 pool: MAX }': slow_pyramid(
        oracle.max_pool, oracle.max_pool_route, oracle.max_pool_route
    ),
    'type: "SPP" spp_param { pyramid_height: 3 pool: AVE }': slow_pyramid(
        oracle.average_pool, average_relevance, average_gradient
    ),
    'type: "SPP" spp_param { pyramid_height: 3 pool: STOCHASTIC }': slow_pyramid(
        stochastic_pool, stochastic_relevance, stochastic_gradient
    ),
}
by_pooling = pytest.mark.parametrize(
    ("body", "slow"), POOLED.items(), ids=["stochastic", "max of sides", "pixels", "max", "ave", "sto"]
)


def walker_of(slow: Slow) -> Callable[[list[Any], Weights, dict[str, int]], ExtendedWalker]:
    return lambda layers, weights, indices: ExtendedWalker(layers, weights, indices, {"pooled": slow})


@pytest.mark.slow
@by_pooling
@pytest.mark.parametrize("corrected", [False, True], ids=["reference", "corrected"])
@pytest.mark.parametrize("code", [0, 2, 11, 26, 100, 166])
def test_relevance_equals_the_walker(
    body: str, slow: Slow, code: int, corrected: bool, tmp_path: Path
) -> None:
    if "AVE_EXC_PAD" in body:  # a mean, whose rule has a quirk, and is that of deconvolution too
        rule = partial(oracle.average_pool_relevance, geometry=UNEQUAL, add_activations=not corrected)
        slow = replace(slow, relevance=rule, gradient=rule if code in (26, 166) else slow.gradient)
    pair = Pair(tmp_path, pooled_net(body), walker_of(slow))
    options = Options(epsilon=0.1, beta=1.0, corrected=corrected)
    expected = pair.expected(code, options, "fc", CLASSES)
    assert np.abs(expected).max() > 0
    assert_close(pair.explain(code, options, "fc", CLASSES), expected, 1e-4)


@by_pooling
@pytest.mark.parametrize("code", [0, 2, 100])
def test_relevance_is_conserved(body: str, slow: Slow, code: int, tmp_path: Path) -> None:
    pair = Pair(tmp_path, without_biases(pooled_net(body)), walker_of(slow), is_positive=True)
    found = pair.explain(code, Options(epsilon=1e-9, corrected=True), "fc", CLASSES)
    scores = pair.walker.values[4]
    for item, chosen in enumerate(CLASSES):
        assert float(found[item].sum()) == pytest.approx(scores[item, chosen].sum(), rel=1e-3)
