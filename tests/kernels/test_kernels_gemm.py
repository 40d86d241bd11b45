"""Products with matrices against float64, for counts around what the kernels take at once."""

import numpy as np
import pytest
from builders import assert_close, blank, random_blob
from oracle import Array, Real

from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import DOT_ITEMS, DOT_ROWS
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.gemm import (
    _COLUMNS_AT_ONCE,
    _NUMBERS_AT_ONCE,
    _ROWS_AT_ONCE,
    multiply,
    multiply_adjoint,
)

ITEMS = sorted({*range(1, 10), DOT_ITEMS - 1, DOT_ITEMS, DOT_ITEMS + 1, 2 * DOT_ITEMS + 1})

#: Inputs K and outputs M of a layer, never equal.
SIZES = [
    (1, 2), (2, 1), (LANES - 1, DOT_ROWS - 1), (LANES, DOT_ROWS), (LANES + 1, DOT_ROWS + 1),
    (2 * LANES, _ROWS_AT_ONCE - 1), (3 * LANES + 5, _ROWS_AT_ONCE), (5, _ROWS_AT_ONCE + 1),
    (LANES + 3, 2 * _ROWS_AT_ONCE + DOT_ROWS - 1), (_COLUMNS_AT_ONCE - 1, DOT_ROWS + 2),
    (_COLUMNS_AT_ONCE, DOT_ROWS + 1), (_COLUMNS_AT_ONCE + 1, DOT_ROWS), (2 * _COLUMNS_AT_ONCE + LANES + 1, 3),
]  # fmt: skip
by_size = pytest.mark.parametrize(("inputs", "outputs"), SIZES)
by_items = pytest.mark.parametrize("items", ITEMS)


def by_loops(left: Real, right: Real) -> Array:
    """``left (N, K) · right (M, K)``, one row at a time."""
    out = np.zeros((len(left), len(right)))
    for item, row in np.ndindex(*out.shape):
        out[item, row] = (left[item].astype(np.float64) * right[row].astype(np.float64)).sum()
    return out


def product(x: Blob, weights: Blob, bias: Blob | None = None, step: int | None = None) -> Blob:
    """All outputs, ``step`` at a time."""
    out = blank((len(x), len(weights)))
    step = step or len(weights)
    shift = np.zeros(0, np.float32) if bias is None else bias
    for first in range(0, len(weights), step):
        multiply(first, min(first + step, len(weights)), x, weights, shift, out)
    return out


def adjoint(relevance: Blob, weights: Blob, step: int | None = None) -> Blob:
    """All inputs, ``step`` at a time."""
    inputs = weights.shape[1]
    out = blank((len(relevance), inputs))
    step = step or inputs
    for first in range(0, inputs, step):
        multiply_adjoint(first, min(first + step, inputs), relevance, weights, out)
    return out


@pytest.mark.slow
@by_items
@by_size
def test_products_equal_loops(inputs: int, outputs: int, items: int) -> None:
    x, weights, bias = (
        random_blob((items, inputs), 1),
        random_blob((outputs, inputs), 2),
        random_blob((outputs,), 3),
    )
    expected = by_loops(x, weights)
    assert_close(product(x, weights), expected, 2e-6)
    assert_close(product(x, weights, bias), expected + bias, 2e-6)


@pytest.mark.slow
@by_items
@by_size
def test_adjoint_products_equal_loops(inputs: int, outputs: int, items: int) -> None:
    relevance, weights = random_blob((items, outputs), 1), random_blob((outputs, inputs), 2)
    assert_close(adjoint(relevance, weights), by_loops(relevance, weights.T), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 3, DOT_ROWS, _ROWS_AT_ONCE + 2])
@by_size
def test_ranges_make_up_the_whole_bit_by_bit(inputs: int, outputs: int, step: int) -> None:
    x, relevance, weights = (
        random_blob(shape, seed) for seed, shape in enumerate([(5, inputs), (5, outputs), (outputs, inputs)])
    )
    assert product(x, weights, step=step).tolist() == product(x, weights).tolist()
    step = max(step, inputs // 7)
    assert adjoint(relevance, weights, step).tolist() == adjoint(relevance, weights).tolist()


@by_size
def test_items_do_not_depend_on_the_batch(inputs: int, outputs: int) -> None:
    x, relevance, weights = (
        random_blob(shape, seed) for seed, shape in enumerate([(9, inputs), (9, outputs), (outputs, inputs)])
    )
    forward, back = product(x, weights), adjoint(relevance, weights)
    for first in range(9):
        for last in range(first + 1, 10):
            assert product(x[first:last], weights).tolist() == forward[first:last].tolist()
            assert adjoint(relevance[first:last], weights).tolist() == back[first:last].tolist()


@pytest.mark.slow
def test_long_rows_give_the_same_bits_in_every_batch() -> None:
    """The fewer items there are, the more columns are multiplied at a time."""
    inputs = _NUMBERS_AT_ONCE + LANES + 5
    x, weights = random_blob((20, inputs), 1), random_blob((3, inputs), 2)
    together = product(x, weights)
    for count in (1, 2, 7):
        assert product(x[:count], weights).tolist() == together[:count].tolist()
    assert_close(together, by_loops(x, weights), 1e-5)
    relevance = random_blob((20, 3), 3)
    back = adjoint(relevance, weights)
    for count in (1, 2, 7):
        assert adjoint(relevance[:count], weights).tolist() == back[:count].tolist()
    assert_close(back, by_loops(relevance, weights.T), 1e-5)


def test_outputs_outside_the_range_are_left_alone() -> None:
    x, weights = random_blob((6, LANES + 3), 1), random_blob((2 * _ROWS_AT_ONCE, LANES + 3), 2)
    out = blank((6, len(weights)))
    multiply(5, 40, x, weights, np.zeros(0, np.float32), out)
    assert not np.isnan(out[:, 5:40]).any()
    assert np.isnan(out[:, :5]).all()
    assert np.isnan(out[:, 40:]).all()
    back = blank((6, LANES + 3))
    multiply_adjoint(2, LANES, random_blob((6, len(weights)), 3), weights, back)
    assert not np.isnan(back[:, 2:LANES]).any()
    assert np.isnan(back[:, :2]).all()
    assert np.isnan(back[:, LANES:]).all()
