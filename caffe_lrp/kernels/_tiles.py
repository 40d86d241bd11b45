"""Tiles of matrix products that stay in the registers of the CPU.

The order in which a result is summed does not depend on its position in the tile. So equal inputs give
bitwise equal results, whatever else is in the tile.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from ._simd import FEATURES, LANES, VECTOR_BYTES, Code, Load, Store, each_vector, expanded, number

#: Rows of a tile. With two vectors per row they fill the registers: 32 with AVX-512 and NEON, otherwise 16.
TILE_ROWS = 14 if FEATURES & {"avx512f", "neon"} else 6
HALF_ROWS = TILE_ROWS // 2

#: Columns of weights in a panel: the full width, and half of it if that is enough for the last panel.
PANEL, NARROW_PANEL = 2 * LANES, LANES

#: Rows of weights, and items, that one call of `dots` or `combine` multiplies: as many as fit into registers.
DOT_ROWS = 6 if TILE_ROWS > 8 else 3
DOT_ITEMS = 4

#: The value of 1 in the shares of `dots` and `combine`, which are integers.
WHOLE_SHARE = 1 << 16


def _tile(rows: int, vectors: int, in_parts: bool = False) -> Any:
    """A tile of products: ``rows`` dot products with each of ``vectors``·LANES columns of weights.

    With ``in_parts`` the products of every a are summed separately: many short sums have a smaller rounding
    error than one long sum.

    Arguments of the result: ``x, x_step, outer, outer_step, middle, middle_step, run, weights,
    weights_step, out, out_step, valid_rows, valid_columns, start``.

    Row i multiplies the numbers at ``x + i·x_step + a·outer_step + b·middle_step + 4c`` for a < outer,
    b < middle, c < run, in this order, with consecutive rows of weights, ``weights_step`` apart. Sums
    start from the vectors at ``start`` (from zero if that is 0). The first ``valid_rows`` rows and
    ``valid_columns`` columns are stored at ``out + i·out_step``; rows of ``x`` beyond them are read too.
    """

    def emit(
        code: Code, x: Any, x_step: Any, outer: Any, outer_step: Any, middle: Any, middle_step: Any,
        run: Any, weights: Any, weights_step: Any, out: Any, out_step: Any, valid_rows: Any,
        valid_columns: Any, start: Any,
    ) -> None:  # fmt: skip
        builder = code.builder
        totals = [code.variable() for _ in range(rows * vectors)]
        sums = [code.variable() for _ in totals] if in_parts else totals
        _begin(code, totals, vectors, start)
        position = code.counter(weights)
        with code.loop(outer) as a:
            if in_parts:
                _begin(code, sums, vectors, number(0))
            with code.loop(middle) as b:
                base = code.at(x, builder.mul(a, outer_step), builder.mul(b, middle_step))
                bases = [code.at(base, code.scaled(x_step, row)) for row in range(rows)]
                with code.loop(run) as c:
                    here = builder.load(position)
                    columns = [code.load(code.at(here, VECTOR_BYTES * vector)) for vector in range(vectors)]
                    builder.store(code.at(here, weights_step), position)
                    for row in range(rows):
                        value = code.broadcast(code.at(bases[row], code.scaled(c, 4)))
                        for vector in range(vectors):
                            place = sums[row * vectors + vector]
                            builder.store(code.fma(value, columns[vector], builder.load(place)), place)
            if in_parts:
                for total, place in zip(totals, sums, strict=True):
                    builder.store(code.plus(builder.load(total), builder.load(place)), total)
        _finish(code, totals, vectors, out, out_step, valid_rows, valid_columns)

    return expanded(14, emit)


def integer(code: Code, array: ir.Value, index: ir.Value) -> ir.Value:
    """Number ``index`` of the integers at the address ``array``."""
    place = code.at(array, code.scaled(index, 8))
    return code.builder.load(code.builder.inttoptr(place, ir.IntType(64).as_pointer()))


def _begin(code: Code, sums: Sequence[ir.Value], vectors: int, start: ir.Value) -> None:
    """Set sums to the vectors at ``start``, or to zero if that is 0."""
    builder = code.builder
    with builder.if_else(builder.icmp_signed("==", start, number(0))) as (zero, given):
        with zero:
            for place in sums:
                builder.store(code.splat(0), place)
        with given:
            firsts = [code.load(code.at(start, VECTOR_BYTES * vector)) for vector in range(vectors)]
            for position, place in enumerate(sums):
                builder.store(firsts[position % vectors], place)


def _finish(
    code: Code,
    sums: Sequence[ir.Value],
    vectors: int,
    out: ir.Value,
    out_step: ir.Value,
    valid_rows: ir.Value,
    valid_columns: ir.Value,
) -> None:
    """Store the valid part of a tile."""
    builder = code.builder
    whole = builder.icmp_signed(">=", valid_columns, number(vectors * LANES))
    for row in range(len(sums) // vectors):
        with code.where(row, valid_rows):
            line = code.at(out, code.scaled(out_step, row))
            found = [builder.load(place) for place in sums[row * vectors : (row + 1) * vectors]]
            with builder.if_else(whole) as (all_columns, some_columns):
                with all_columns:
                    for vector in range(vectors):
                        code.store(found[vector], code.at(line, VECTOR_BYTES * vector))
                with some_columns:
                    for vector in range(vectors):
                        left = builder.sub(valid_columns, number(vector * LANES))
                        code.store_part(found[vector], code.at(line, VECTOR_BYTES * vector), left)


tile = _tile(TILE_ROWS, 2)
half_tile = _tile(HALF_ROWS, 2)
narrow_tile = _tile(TILE_ROWS, 1)
narrow_half_tile = _tile(HALF_ROWS, 1)

tile_in_parts = _tile(TILE_ROWS, 2, in_parts=True)
half_tile_in_parts = _tile(HALF_ROWS, 2, in_parts=True)
narrow_tile_in_parts = _tile(TILE_ROWS, 1, in_parts=True)
narrow_half_tile_in_parts = _tile(HALF_ROWS, 1, in_parts=True)


def _channel_tile(rows: int) -> Any:
    """A tile of depthwise products: sums over taps for a vector of channels and ``rows`` pixels.

    Arguments of the result: ``x, x_step, taps, offsets, weights, out, out_step, valid_rows,
    valid_columns, start``.

    The channels of pixel i are at ``x + i·x_step + offset`` for each of ``taps`` taps; ``offsets`` is an
    array of integers. The weights of the taps are consecutive vectors. The rest is as in `_tile`.
    """

    def emit(
        code: Code, x: Any, x_step: Any, taps: Any, offsets: Any, weights: Any, out: Any, out_step: Any,
        valid_rows: Any, valid_columns: Any, start: Any,
    ) -> None:  # fmt: skip
        builder = code.builder
        sums = [code.variable() for _ in range(rows)]
        _begin(code, sums, 1, start)
        pixels = [code.at(x, code.scaled(x_step, row)) for row in range(rows)]
        with code.loop(taps) as tap:
            offset = integer(code, offsets, tap)
            weight = code.load(code.at(weights, code.scaled(tap, VECTOR_BYTES)))
            for place, pixel in zip(sums, pixels, strict=True):
                total = code.fma(code.load(code.at(pixel, offset)), weight, builder.load(place))
                builder.store(total, place)
        _finish(code, sums, 1, out, out_step, valid_rows, valid_columns)

    return expanded(10, emit)


channel_tile = _channel_tile(TILE_ROWS)
half_channel_tile = _channel_tile(HALF_ROWS)


def _fetch_next(
    code: Code, ahead: ir.Value, step: ir.Value, rows: int, share: ir.Value, offset: ir.Value
) -> None:
    """Prefetch ``share`` of the ``rows`` lines from ``ahead`` on, up to what corresponds to ``offset``."""
    near = code.at(ahead, code.builder.udiv(code.builder.mul(offset, share), number(WHOLE_SHARE)))
    for row in range(rows):
        code.fetch(code.at(near, code.scaled(step, row)))


def _dots(rows: int, items: int) -> Any:
    """Dot products along memory: adds to ``rows``·``items`` vectors of partial sums.

    Arguments of the result: ``weights, weights_step, x, x_step, count, sums, sums_step, ahead, share``: rows
    of weights and items of ``count`` numbers, and the address of the partial sums, rows ``sums_step`` apart.
    Meanwhile a ``share`` of the numbers in as many rows of weights from ``ahead`` on is prefetched.
    """

    def emit(
        code: Code, weights: Any, weights_step: Any, x: Any, x_step: Any, count: Any, sums: Any,
        sums_step: Any, ahead: Any, share: Any,
    ) -> None:  # fmt: skip
        builder = code.builder
        row_starts = [code.at(weights, code.scaled(weights_step, row)) for row in range(rows)]
        item_starts = [code.at(x, code.scaled(x_step, item)) for item in range(items)]
        homes = [
            code.at(sums, code.scaled(sums_step, row), VECTOR_BYTES * item)
            for row in range(rows)
            for item in range(items)
        ]
        places = [code.variable(code.load(home)) for home in homes]

        def add(offset: ir.Value, load: Load, _: Store) -> None:
            _fetch_next(code, ahead, weights_step, rows, share, offset)
            lines = [load(code.at(start, offset)) for start in row_starts]
            for item, start in enumerate(item_starts):
                value = load(code.at(start, offset))
                for line, place in zip(lines, places[item::items], strict=True):
                    builder.store(code.fma(line, value, builder.load(place)), place)

        each_vector(code, count, add)
        for place, home in zip(places, homes, strict=True):
            code.store(builder.load(place), home)

    return expanded(9, emit)


dots = _dots(DOT_ROWS, DOT_ITEMS)
dots_of_row = _dots(1, DOT_ITEMS)
dots_of_item = _dots(DOT_ROWS, 1)
dot = _dots(1, 1)


def _emit_total(code: Code, address: Any) -> ir.Value:
    return code.total(code.load(address))


#: Sum of the vector of partial sums at an address.
lane_total = expanded(1, _emit_total)


def _combine(rows: int, items: int) -> Any:
    """Weighted sums of rows of weights, added to every item.

    Arguments of the result: ``weights, weights_step, factors, factors_step, count, out, out_step, ahead,
    share``: rows of ``count`` weights; an item's factors are contiguous, its ``count`` results at ``out``.
    The last two are as in `_dots`.
    """

    def emit(
        code: Code, weights: Any, weights_step: Any, factors: Any, factors_step: Any, count: Any, out: Any,
        out_step: Any, ahead: Any, share: Any,
    ) -> None:  # fmt: skip
        row_starts = [code.at(weights, code.scaled(weights_step, row)) for row in range(rows)]
        targets = [code.at(out, code.scaled(out_step, item)) for item in range(items)]
        lines = [code.at(factors, code.scaled(factors_step, item)) for item in range(items)]
        values = [[code.broadcast(code.at(line, 4 * row)) for row in range(rows)] for line in lines]

        def add(offset: ir.Value, load: Load, store: Store) -> None:
            _fetch_next(code, ahead, weights_step, rows, share, offset)
            found = [load(code.at(start, offset)) for start in row_starts]
            for item in range(items):
                home = code.at(targets[item], offset)
                total = load(home)
                for row in range(rows):
                    total = code.fma(values[item][row], found[row], total)
                store(total, home)

        each_vector(code, count, add)

    return expanded(9, emit)


combine = _combine(DOT_ROWS, DOT_ITEMS)
combine_row = _combine(1, DOT_ITEMS)
combine_for_item = _combine(DOT_ROWS, 1)
combine_row_for_item = _combine(1, 1)
