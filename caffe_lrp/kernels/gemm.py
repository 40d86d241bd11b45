"""Products with a whole matrix of weights, which is used as it is stored: (outputs, inputs), row by row.

Such a matrix is often larger than all caches, so it is read only once for a whole batch. Sums do not
depend on the other items of the batch.
"""

import numpy as np

from ._kernel import helper, kernel
from ._rows import copy
from ._simd import LANES, VECTOR_BYTES
from ._tiles import (
    DOT_ITEMS,
    DOT_ROWS,
    WHOLE_SHARE,
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
from .blobs import Blob, Blob1, Blob2

#: Rows of weights that are multiplied with all items before the next ones are read.
_ROWS_AT_ONCE = 36

#: Columns of weights at a time; more for few items. The numbers of all items stay in the cache, and long
#: stretches of weights are read faster.
_COLUMNS_AT_ONCE = 1024
_NUMBERS_AT_ONCE = 16 * 1024


@helper
def _columns(items: int) -> int:
    """Columns of weights that are multiplied at a time: whole vectors, so that sums keep their order."""
    return max(_COLUMNS_AT_ONCE, _NUMBERS_AT_ONCE // max(1, items) // LANES * LANES)


@helper
def _aligned(rows: int, columns: int) -> Blob:
    """Uninitialized memory (rows, ≥ columns) with rows aligned to vectors.

    A vector that crosses a cache line costs twice as much. Rows are a little longer than requested, because
    rows that are a power of 2 apart would compete for the same cache sets.
    """
    pitch = (columns + LANES - 1) // LANES * LANES + LANES
    memory = np.empty((rows + 1) * pitch, np.float32)
    skipped = (LANES - memory.ctypes.data // 4 % LANES) % LANES
    return memory[skipped : skipped + rows * pitch].reshape((rows, pitch))


@helper
def _share(items: int) -> int:
    """The share of the next weights that each of the calls for ``items`` prefetches.

    This keeps the memory busy; if the first call prefetched everything, it would be idle during the others.
    """
    return WHOLE_SHARE // (items // DOT_ITEMS + items % DOT_ITEMS)


@helper
def _dots_of_rows(weights: Blob, first: int, x: Blob, begin: int, end: int, sums: Blob) -> None:
    """Add to ``sums`` (rows, N, LANES) the products of rows from ``first`` on, columns begin to end.

    Rows of ``x`` may be longer than those of weights.
    """
    rows, items = sums.shape[0], x.shape[0]
    weights_step, x_step = 4 * weights.shape[1], 4 * x.shape[1]
    sums_step = VECTOR_BYTES * items
    share = _share(items)
    row = 0
    while row < rows:
        here = weights[first + row, begin:].ctypes.data
        many = row + DOT_ROWS <= rows
        done = row + (DOT_ROWS if many else 1)
        ahead = weights[first + done, begin:].ctypes.data if done < rows else weights[first, end:].ctypes.data
        item = 0
        while item < items:
            there, home = x[item, begin:].ctypes.data, sums[row, item].ctypes.data
            several = item + DOT_ITEMS <= items
            if many and several:
                dots(here, weights_step, there, x_step, end - begin, home, sums_step, ahead, share)
            elif many:
                dots_of_item(here, weights_step, there, x_step, end - begin, home, sums_step, ahead, share)
            elif several:
                dots_of_row(here, weights_step, there, x_step, end - begin, home, sums_step, ahead, share)
            else:
                dot(here, weights_step, there, x_step, end - begin, home, sums_step, ahead, share)
            item += DOT_ITEMS if several else 1
            ahead += 4 * (end - begin) * share // WHOLE_SHARE
        row = done


@kernel
def multiply(first: int, last: int, x: Blob2, weights: Blob2, bias: Blob1, out: Blob2) -> None:
    """Compute ``x·Wᵀ + b`` for outputs ``first`` to ``last``.

    Parameters
    ----------
    first, last
        Range of outputs, that is of rows of ``weights``.
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
    numbers = _aligned(items, length)
    for item in range(items):
        copy(x[item].ctypes.data, numbers[item].ctypes.data, length)
    columns = _columns(items)
    memory = _aligned(1, _ROWS_AT_ONCE * items * LANES).reshape(-1)
    for top in range(first, last, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, last - top)
        sums = memory[: rows * items * LANES].reshape((rows, items, LANES))
        sums[:] = 0
        for begin in range(0, length, columns):
            _dots_of_rows(weights, top, numbers, begin, min(length, begin + columns), sums)
        for row in range(rows):
            shift = bias[top + row] if bias.size else np.float32(0)
            for item in range(items):
                out[item, top + row] = lane_total(sums[row, item].ctypes.data) + shift


@helper
def _add_rows(x: Blob, first: int, rows: int, weights: Blob, begin: int, end: int, sums: Blob) -> None:
    """Add to ``sums`` (N, ·) the products of ``rows`` ≤ DOT_ROWS rows of weights, columns begin to end."""
    weights_step, x_step, sums_step = 4 * weights.shape[1], 4 * x.shape[1], 4 * sums.shape[1]
    here = weights[first, begin:].ctypes.data
    many = rows == DOT_ROWS
    ahead, share = here + rows * weights_step, _share(x.shape[0])
    item = 0
    while item < x.shape[0]:
        factors, target = x[item, first:].ctypes.data, sums[item].ctypes.data
        several = item + DOT_ITEMS <= x.shape[0]
        if many and several:
            combine(here, weights_step, factors, x_step, end - begin, target, sums_step, ahead, share)
        elif many:
            combine_for_item(
                here, weights_step, factors, x_step, end - begin, target, sums_step, ahead, share
            )
        elif several:
            combine_row(here, weights_step, factors, x_step, end - begin, target, sums_step, ahead, share)
        else:
            combine_row_for_item(
                here, weights_step, factors, x_step, end - begin, target, sums_step, ahead, share
            )
        item += DOT_ITEMS if several else 1
        ahead += 4 * (end - begin) * share // WHOLE_SHARE


@kernel
def multiply_adjoint(first: int, last: int, x: Blob2, weights: Blob2, out: Blob2) -> None:
    """Compute ``x·W`` for inputs ``first`` to ``last``.

    Parameters
    ----------
    first, last
        Range of columns of ``weights``.
    x
        (N, M).
    weights
        (M, K).
    out
        (N, K), its columns ``first`` to ``last`` overwritten.
    """
    rows = weights.shape[0]
    columns = _columns(x.shape[0])
    sums = _aligned(x.shape[0], min(columns, last - first))
    for begin in range(first, last, columns):
        end = min(last, begin + columns)
        sums[:] = 0
        whole = rows - rows % DOT_ROWS
        for row in range(0, whole, DOT_ROWS):
            _add_rows(x, row, DOT_ROWS, weights, begin, end, sums)
        for row in range(whole, rows):
            _add_rows(x, row, 1, weights, begin, end, sums)
        for item in range(x.shape[0]):
            copy(sums[item].ctypes.data, out[item, begin:].ctypes.data, end - begin)
