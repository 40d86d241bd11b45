"""Products with a whole matrix of weights, which stays as it is stored: (outputs, inputs), row by row.

Such a matrix is often larger than all caches, so that it is read once for a whole batch. Sums do not
depend on what else is in the batch.
"""

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from ._simd import LANES, VECTOR_BYTES
from ._tiles import (
    DOT_ITEMS,
    DOT_ROWS,
    combine,
    combine_for_item,
    combine_row,
    combine_row_for_item,
    dot,
    dots,
    dots_of_item,
    dots_of_row,
    lane_total,
)

Blob = NDArray[np.float32]

#: Rows and columns of weights that are multiplied with all items before the next ones are read.
_ROWS_AT_ONCE = 32
_COLUMNS_AT_ONCE = 2048


@kernel
def _dots_of_rows(weights: Blob, first: int, x: Blob, begin: int, end: int, sums: Blob) -> None:
    """Add to ``sums`` (rows, N, LANES) the products of rows from ``first`` on, columns begin to end."""
    rows, items = sums.shape[0], x.shape[0]
    weights_step, x_step = 4 * weights.shape[1], 4 * x.shape[1]
    sums_step = VECTOR_BYTES * items
    row = 0
    while row < rows:
        here = weights[first + row, begin:].ctypes.data
        many = row + DOT_ROWS <= rows
        item = 0
        while item < items:
            there, home = x[item, begin:].ctypes.data, sums[row, item].ctypes.data
            several = item + DOT_ITEMS <= items
            if many and several:
                dots(here, weights_step, there, x_step, end - begin, home, sums_step)
            elif many:
                dots_of_item(here, weights_step, there, x_step, end - begin, home, sums_step)
            elif several:
                dots_of_row(here, weights_step, there, x_step, end - begin, home, sums_step)
            else:
                dot(here, weights_step, there, x_step, end - begin, home, sums_step)
            item += DOT_ITEMS if several else 1
        row += DOT_ROWS if many else 1


@kernel
def multiply(first: int, last: int, x: Blob, weights: Blob, bias: Blob, out: Blob) -> None:
    """``x·Wᵀ + b`` for outputs ``first`` to ``last``.

    Parameters
    ----------
    first, last
        Which outputs, that is rows of ``weights``.
    x
        (N, K).
    weights
        (M, K).
    bias
        (M,), or empty.
    out
        (N, M), its columns ``first`` to ``last`` overwritten.
    """
    items, length = x.shape
    memory = np.empty(_ROWS_AT_ONCE * items * LANES, np.float32)
    for top in range(first, last, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, last - top)
        sums = memory[: rows * items * LANES].reshape((rows, items, LANES))
        sums[:] = 0
        for begin in range(0, length, _COLUMNS_AT_ONCE):
            _dots_of_rows(weights, top, x, begin, min(length, begin + _COLUMNS_AT_ONCE), sums)
        for row in range(rows):
            shift = bias[top + row] if bias.size else np.float32(0)
            for item in range(items):
                out[item, top + row] = lane_total(sums[row, item].ctypes.data) + shift


@kernel
def _add_rows(x: Blob, first: int, rows: int, weights: Blob, begin: int, end: int, out: Blob) -> None:
    """Add to columns begin to end of ``out`` what ``rows`` ≤ DOT_ROWS rows of weights give."""
    weights_step, x_step, out_step = 4 * weights.shape[1], 4 * x.shape[1], 4 * out.shape[1]
    here = weights[first, begin:].ctypes.data
    many = rows == DOT_ROWS
    item = 0
    while item < x.shape[0]:
        factors, target = x[item, first:].ctypes.data, out[item, begin:].ctypes.data
        several = item + DOT_ITEMS <= x.shape[0]
        if many and several:
            combine(here, weights_step, factors, x_step, end - begin, target, out_step)
        elif many:
            combine_for_item(here, weights_step, factors, x_step, end - begin, target, out_step)
        elif several:
            combine_row(here, weights_step, factors, x_step, end - begin, target, out_step)
        else:
            combine_row_for_item(here, weights_step, factors, x_step, end - begin, target, out_step)
        item += DOT_ITEMS if several else 1


@kernel
def multiply_adjoint(first: int, last: int, x: Blob, weights: Blob, out: Blob) -> None:
    """``x·W`` for inputs ``first`` to ``last``.

    Parameters
    ----------
    first, last
        Which columns of ``weights``.
    x
        (N, M).
    weights
        (M, K).
    out
        (N, K), its columns ``first`` to ``last`` overwritten.
    """
    rows = weights.shape[0]
    out[:, first:last] = 0
    for begin in range(first, last, _COLUMNS_AT_ONCE):
        end = min(last, begin + _COLUMNS_AT_ONCE)
        whole = rows - rows % DOT_ROWS
        for row in range(0, whole, DOT_ROWS):
            _add_rows(x, row, DOT_ROWS, weights, begin, end, out)
        for row in range(whole, rows):
            _add_rows(x, row, 1, weights, begin, end, out)
