"""The transforms of Winograd's convolution F(4×4, 3×3), on vectors of channels.

A tile of 4×4 outputs is formed from 6×6 inputs by 36 products per channel instead of 144. Points of
interpolation: 0, ±1, ±2, ∞. Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", section 4.3.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from ._simd import VECTOR_BYTES, Code, Load, Store, each_vector, expanded

#: Outputs and inputs along one side of a tile, and numbers in a transformed tile.
TILE_OUT, TILE_IN = 4, 6
FREQUENCIES = TILE_IN * TILE_IN

#: Transform of the weights, G in the paper.
WEIGHT_TRANSFORM = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)

Vectors = Sequence[ir.Value]


def _transform_input(code: Code, line: Vectors) -> Vectors:
    """Bᵀ of the paper, applied to six vectors."""
    d0, d1, d2, d3, d4, d5 = line
    even, odd = code.fma(d2, code.splat(-4), d4), code.fma(d1, code.splat(-4), d3)
    even_two, odd_two = code.minus(d4, d2), code.times(code.minus(d3, d1), code.splat(2))
    return (
        code.fma(d0, code.splat(4), code.fma(d2, code.splat(-5), d4)),
        code.plus(even, odd),
        code.minus(even, odd),
        code.plus(even_two, odd_two),
        code.minus(even_two, odd_two),
        code.fma(d1, code.splat(4), code.fma(d3, code.splat(-5), d5)),
    )


def _transform_output(code: Code, line: Vectors) -> Vectors:
    """Aᵀ of the paper, applied to six vectors."""
    m0, m1, m2, m3, m4, m5 = line
    even, odd = code.plus(m1, m2), code.minus(m1, m2)
    even_two, odd_two = code.plus(m3, m4), code.minus(m3, m4)
    return (
        code.plus(m0, code.plus(even, even_two)),
        code.fma(odd_two, code.splat(2), odd),
        code.fma(even_two, code.splat(4), even),
        code.plus(code.fma(odd_two, code.splat(8), odd), m5),
    )


def _both_ways(
    code: Code, transform: Callable[[Code, Vectors], Vectors], rows: Sequence[Vectors]
) -> list[Vectors]:
    """A transform applied to every column, then to every row: the rows of the result."""
    columns = [transform(code, column) for column in zip(*rows, strict=True)]
    return [transform(code, row) for row in zip(*columns, strict=True)]


def _emit_input(
    code: Code, x: Any, row_step: Any, pixel_step: Any, out: Any, frequency_step: Any, vectors: Any
) -> None:
    with code.loop(vectors) as index:
        offset = code.scaled(index, VECTOR_BYTES)
        source, target = code.at(x, offset), code.at(out, offset)
        rows = [
            [
                code.load(code.at(source, code.scaled(row_step, row), code.scaled(pixel_step, column)))
                for column in range(TILE_IN)
            ]
            for row in range(TILE_IN)
        ]
        found = [vector for row in _both_ways(code, _transform_input, rows) for vector in row]
        for frequency, vector in enumerate(found):
            code.store(vector, code.at(target, code.scaled(frequency_step, frequency)))


def _products(code: Code, address: ir.Value, frequency_step: ir.Value) -> list[Vectors]:
    """The rows of one tile of products."""
    return [
        [
            code.load(code.at(address, code.scaled(frequency_step, row * TILE_IN + column)))
            for column in range(TILE_IN)
        ]
        for row in range(TILE_IN)
    ]


def _each_output(
    code: Code, outputs: Sequence[Vectors], rows: Any, columns: Any, use: Callable[[int, int], None]
) -> None:
    """``use(row, column)`` for the outputs of a tile that lie in the image."""
    for row in range(len(outputs)):
        with code.where(row, rows):
            for column in range(len(outputs[row])):
                with code.where(column, columns):
                    use(row, column)


def _place(code: Code, row: int, row_step: ir.Value, column: int, pixel_step: ir.Value) -> ir.Value:
    return code.at(code.scaled(row_step, row), code.scaled(pixel_step, column))


def _emit_output(
    code: Code, products: Any, frequency_step: Any, out: Any, row_step: Any, pixel_step: Any,
    rows: Any, columns: Any, channels: Any, start: Any,
) -> None:  # fmt: skip
    def use_vector(offset: ir.Value, load: Load, store: Store) -> None:
        tile = _products(code, code.at(products, offset), frequency_step)
        outputs = _both_ways(code, _transform_output, tile)
        first = load(code.at(start, offset))

        def use(row: int, column: int) -> None:
            target = code.at(out, offset, _place(code, row, row_step, column, pixel_step))
            store(code.plus(outputs[row][column], first), target)

        _each_output(code, outputs, rows, columns, use)

    each_vector(code, channels, use_vector)


def _emit_times(
    code: Code, products: Any, frequency_step: Any, out: Any, row_step: Any, pixel_step: Any,
    rows: Any, columns: Any, channels: Any, factor: Any,
) -> None:  # fmt: skip
    def use_vector(offset: ir.Value, load: Load, store: Store) -> None:
        tile = _products(code, code.at(products, offset), frequency_step)
        outputs = _both_ways(code, _transform_output, tile)

        def use(row: int, column: int) -> None:
            place = code.at(offset, _place(code, row, row_step, column, pixel_step))
            store(code.times(outputs[row][column], load(code.at(factor, place))), code.at(out, place))

        _each_output(code, outputs, rows, columns, use)

    each_vector(code, channels, use_vector)


def _noise_limit(code: Code, tile: Sequence[Vectors], noise: ir.Value) -> ir.Value:
    """What a sum in this tile must exceed to be more than the rounding error of 0."""
    limit = code.splat(0)
    for row in tile:
        for vector in row:
            limit = code.largest(code.magnitude(vector), limit)
    return code.times(limit, noise)


def _emit_sums(
    code: Code, positive: Any, negative: Any, frequency_step: Any, sums: Any, negative_offset: Any,
    row_step: Any, pixel_step: Any, out: Any, out_row_step: Any, out_pixel_step: Any,
    rows: Any, columns: Any, channels: Any, start: Any, noise: Any,
) -> None:  # fmt: skip
    def use_vector(offset: ir.Value, load: Load, store: Store) -> None:
        found = []
        for products, sign in ((positive, 1), (negative, -1)):
            tile = _products(code, code.at(products, offset), frequency_step)
            limit = _noise_limit(code, tile, code.broadcast(noise))
            outputs = _both_ways(code, _transform_output, tile)
            found.append([[code.of_sign(sign, vector, limit) for vector in row] for row in outputs])
        first = load(code.at(start, offset))

        def use(row: int, column: int) -> None:
            p, n = found[0][row][column], found[1][row][column]
            home = code.at(sums, offset, _place(code, row, row_step, column, pixel_step))
            store(p, home)
            store(n, code.at(home, negative_offset))
            target = code.at(out, offset, _place(code, row, out_row_step, column, out_pixel_step))
            store(code.plus(code.plus(p, n), first), target)

        _each_output(code, found[0], rows, columns, use)

    each_vector(code, channels, use_vector)


#: ``x, row_step, pixel_step, out, frequency_step, vectors``: transforms 6×6 pixels of so many vectors.
transform_input = expanded(6, _emit_input)

#: ``products, frequency_step, out, row_step, pixel_step, rows, columns, channels, start``: the outputs of
#: one tile, so many rows and columns of it, plus the bias at ``start``.
transform_output = expanded(9, _emit_output)

#: As `transform_output`, but the outputs are multiplied by the numbers at ``factor`` in their place.
transform_output_times = expanded(9, _emit_times)

#: ``positive, negative, frequency_step, sums, negative_offset, row_step, pixel_step, out, out_row_step,
#: out_pixel_step, rows, columns, channels, start, noise``: the sums of products of one tile of either sign,
#: the negative ones ``negative_offset`` bytes behind the positive ones, and their total plus the bias. Sums
#: that are smaller than the number at ``noise`` times the largest number of their tile of products are 0.
transform_sums = expanded(15, _emit_sums)
