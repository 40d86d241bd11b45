"""The transforms of Winograd's convolution for tiles of 6×6 inputs, in vectors of channels.

With a window of k×k, a tile gives m×m outputs, m = 7 − k, from 36 products per channel instead of m²·k²:
F(4×4, 3×3) and F(2×2, 5×5). Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", sections 4.1 to 4.3. The interpolation points are the paper's, 0, ±1, ±2 and ∞, times 3/4. This
reduces rounding errors by a third or more, because the factors in the transforms are closer to 1.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from ._simd import VECTOR_BYTES, Code, Load, Store, each_vector, expanded, number

#: Inputs along one side of a tile, and numbers in a transformed tile.
TILE_IN = 6
FREQUENCIES = TILE_IN * TILE_IN

#: Sides of the windows for which there are transforms.
WINDOW_SIDES = (3, 5)

#: The factor of the paper's points. All of its powers that the transforms need are exact.
_UNIT = 0.75

#: The finite interpolation points, in the order of the transforms.
_POINTS = (0, _UNIT, -_UNIT, 2 * _UNIT, -2 * _UNIT)

Vectors = Sequence[ir.Value]
_Transform = Callable[[Code, Vectors], Vectors]


def tile_side(window_side: int) -> int:
    """Outputs along one side of a tile."""
    return TILE_IN + 1 - window_side


def weight_transform(window_side: int) -> NDArray[np.float64]:
    """Transform of the weights, G in the paper: (6, ``window_side``).

    The row of ∞ contains the power of the unit that `_transform_output` leaves out.
    """
    rows = [
        [point**power / math.prod(point - other for other in _POINTS if other != point)
         for power in range(window_side)]
        for point in _POINTS
    ]  # fmt: skip
    return np.array([*rows, [0] * (window_side - 1) + [_UNIT ** (1 - tile_side(window_side))]], np.float64)


def _transform_input(code: Code, line: Vectors) -> Vectors:
    """Bᵀ of the paper, applied to six vectors."""
    d0, d1, d2, d3, d4, d5 = line
    square = _UNIT**2
    once, four, five = code.splat(-square), code.splat(-4 * square), code.splat(-5 * square)
    whole = code.splat(4 * square**2)
    even, odd = code.fma(d2, four, d4), code.fma(d1, four, d3)
    even_two, odd_two = code.fma(d2, once, d4), code.fma(d1, once, d3)
    return (
        code.fma(d0, whole, code.fma(d2, five, d4)),
        code.fma(odd, code.splat(_UNIT), even),
        code.fma(odd, code.splat(-_UNIT), even),
        code.fma(odd_two, code.splat(2 * _UNIT), even_two),
        code.fma(odd_two, code.splat(-2 * _UNIT), even_two),
        code.fma(d1, whole, code.fma(d3, five, d5)),
    )


def _transform_output(code: Code, line: Vectors, side: int) -> Vectors:
    """Aᵀ of the paper, applied to six vectors; gives ``side`` vectors, divided by powers of `_UNIT`."""
    m0, m1, m2, m3, m4, m5 = line
    even, odd = code.plus(m1, m2), code.minus(m1, m2)
    even_two, odd_two = code.plus(m3, m4), code.minus(m3, m4)
    found = [code.plus(m0, code.plus(even, even_two))]
    for power in range(1, side):
        once, twice = (odd, odd_two) if power % 2 else (even, even_two)
        found.append(code.fma(twice, code.splat(2**power), once))
    found[-1] = code.plus(found[-1], m5)
    return found


def _both_ways(code: Code, transform: _Transform, rows: Sequence[Vectors]) -> list[Vectors]:
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


def _unit(code: Code, row: int, column: int) -> ir.Value:
    """The factor that an output still lacks after both transforms."""
    return code.splat(_UNIT ** (row + column))


def _products(code: Code, address: ir.Value, frequency_step: ir.Value) -> list[Vectors]:
    """The rows of one tile of products."""
    return [
        [
            code.load(code.at(address, code.scaled(frequency_step, row * TILE_IN + column)))
            for column in range(TILE_IN)
        ]
        for row in range(TILE_IN)
    ]


def _by_side(code: Code, side: ir.Value, emit: Callable[[_Transform], None]) -> None:
    """Code for every side that a tile of outputs may have; at run time ``side`` selects one."""
    for window_side in WINDOW_SIDES:
        known = tile_side(window_side)
        with code.builder.if_then(code.builder.icmp_signed("==", side, number(known))):
            emit(partial(_transform_output, side=known))


def _each_output(
    code: Code, outputs: Sequence[Vectors], rows: Any, columns: Any, use: Callable[[int, int], None]
) -> None:
    """Call ``use(row, column)`` for the outputs of a tile that are inside the image."""
    for row in range(len(outputs)):
        with code.where(row, rows):
            for column in range(len(outputs[row])):
                with code.where(column, columns):
                    use(row, column)


def _place(code: Code, row: int, row_step: ir.Value, column: int, pixel_step: ir.Value) -> ir.Value:
    return code.at(code.scaled(row_step, row), code.scaled(pixel_step, column))


def _emit_output(
    code: Code, side: Any, products: Any, frequency_step: Any, out: Any, row_step: Any, pixel_step: Any,
    rows: Any, columns: Any, channels: Any, start: Any,
) -> None:  # fmt: skip
    def emit(transform: _Transform) -> None:
        def use_vector(offset: ir.Value, load: Load, store: Store) -> None:
            tile = _products(code, code.at(products, offset), frequency_step)
            outputs = _both_ways(code, transform, tile)
            first = load(code.at(start, offset))

            def use(row: int, column: int) -> None:
                target = code.at(out, offset, _place(code, row, row_step, column, pixel_step))
                store(code.fma(outputs[row][column], _unit(code, row, column), first), target)

            _each_output(code, outputs, rows, columns, use)

        each_vector(code, channels, use_vector)

    _by_side(code, side, emit)


def _emit_times(
    code: Code, side: Any, products: Any, frequency_step: Any, out: Any, row_step: Any, pixel_step: Any,
    rows: Any, columns: Any, channels: Any, factor: Any,
) -> None:  # fmt: skip
    def emit(transform: _Transform) -> None:
        def use_vector(offset: ir.Value, load: Load, store: Store) -> None:
            tile = _products(code, code.at(products, offset), frequency_step)
            outputs = _both_ways(code, transform, tile)

            def use(row: int, column: int) -> None:
                place = code.at(offset, _place(code, row, row_step, column, pixel_step))
                output = code.times(outputs[row][column], _unit(code, row, column))
                store(code.times(output, load(code.at(factor, place))), code.at(out, place))

            _each_output(code, outputs, rows, columns, use)

        each_vector(code, channels, use_vector)

    _by_side(code, side, emit)


def _noise_limit(code: Code, tile: Sequence[Vectors], noise: ir.Value) -> ir.Value:
    """The threshold for sums in this tile: smaller ones may be rounding errors of 0."""
    limit = code.splat(0)
    for row in tile:
        for vector in row:
            limit = code.largest(code.magnitude(vector), limit)
    return code.times(limit, noise)


def _emit_sums(
    code: Code, side: Any, positive: Any, negative: Any, frequency_step: Any, sums: Any,
    negative_offset: Any, row_step: Any, pixel_step: Any, out: Any, out_row_step: Any, out_pixel_step: Any,
    rows: Any, columns: Any, channels: Any, start: Any, noise: Any,
) -> None:  # fmt: skip
    def emit(transform: _Transform) -> None:
        def sums_of(sign: int, products: ir.Value) -> list[Vectors]:
            tile = _products(code, products, frequency_step)
            limit = _noise_limit(code, tile, code.broadcast(noise))
            outputs = _both_ways(code, transform, tile)
            return [
                [
                    code.of_sign(sign, code.times(vector, _unit(code, row, column)), limit)
                    for column, vector in enumerate(line)
                ]
                for row, line in enumerate(outputs)
            ]

        def use_vector(offset: ir.Value, load: Load, store: Store) -> None:
            above, below = (
                sums_of(sign, code.at(products, offset)) for sign, products in ((1, positive), (-1, negative))
            )
            first = load(code.at(start, offset))

            def use(row: int, column: int) -> None:
                p, n = above[row][column], below[row][column]
                home = code.at(sums, offset, _place(code, row, row_step, column, pixel_step))
                store(p, home)
                store(n, code.at(home, negative_offset))
                target = code.at(out, offset, _place(code, row, out_row_step, column, out_pixel_step))
                store(code.plus(code.plus(p, n), first), target)

            _each_output(code, above, rows, columns, use)

        each_vector(code, channels, use_vector)

    _by_side(code, side, emit)


#: ``x, row_step, pixel_step, out, frequency_step, vectors``: transforms 6×6 pixels of ``vectors`` vectors.
transform_input = expanded(6, _emit_input)

#: ``side, products, frequency_step, out, row_step, pixel_step, rows, columns, channels, start``: the first
#: ``rows`` and ``columns`` of the outputs of one ``side``×``side`` tile, plus the bias at ``start``.
transform_output = expanded(10, _emit_output)

#: As `transform_output`, but every output is multiplied by the number at the same position of ``factor``.
transform_output_times = expanded(10, _emit_times)

#: ``side, positive, negative, frequency_step, sums, negative_offset, row_step, pixel_step, out, out_row_step,
#: out_pixel_step, rows, columns, channels, start, noise``: the sums of products of one tile by sign,
#: the negative ones ``negative_offset`` bytes after the positive ones, and their total plus the bias. Sums
#: smaller than the number at ``noise`` times the largest number of their tile of products are set to 0.
transform_sums = expanded(16, _emit_sums)
