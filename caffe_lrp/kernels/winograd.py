"""Convolution by Winograd's F(4×4, 3×3): windows of 3×3, stride 1, no dilation.

A fourth of the products of direct summation. Its rounding errors, up to about 2e-6 of the largest
activations, depend on where in its tile an output lies: equal windows give nearly, but not bitwise,
equal outputs. Blobs are (N, H, W, C).
"""

import numpy as np

from ._jit import kernel
from ._simd import LANES
from ._tiles import PANEL, TILE_ROWS
from ._winograd import (
    FREQUENCIES,
    TILE_IN,
    TILE_OUT,
    transform_input,
    transform_output,
    transform_output_times,
    transform_sums,
)
from .convolution import Shape, padded_outputs, tile_row
from .gemm import Blob
from .passes import SUMS, TIMES, Sink, Source, fill_rows

#: A sum of products of one sign is taken for 0 if it is smaller than this share of the largest number of
#: its tile of products. Rounding errors of 0 grow with the root of the number of channels, the second number;
#: this is above all that were seen with 16 to 1024 channels.
NOISE, NOISE_GROWTH = 2e-6, 4e-7

#: Frequencies lie this many numbers further apart than their size, so that they do not share cache sets.
_APART = 16


@kernel
def _tiles_of(shape: Shape) -> tuple[int, int]:
    """Tiles that cover the output, down and across."""
    return (shape.out_h + TILE_OUT - 1) // TILE_OUT, (shape.out_w + TILE_OUT - 1) // TILE_OUT


@kernel
def _transform_rows(
    first: int, last: int, source: Source, shape: Shape, group: int, lines: Blob, transformed: int,
    frequency_step: int,
) -> None:  # fmt: skip
    """Transform the input of rows of tiles; ``lines`` (6, columns, channels) is for their pixels."""
    tiles_h, tiles_w = _tiles_of(shape)
    channels = lines.shape[2]
    vectors = (shape.inputs + LANES - 1) // LANES
    overlap = TILE_IN - TILE_OUT
    out = transformed
    for row in range(first, last):
        item, top = row // tiles_h, row % tiles_h * TILE_OUT + shape.top
        if row > first and row % tiles_h:
            lines[:overlap] = lines[TILE_OUT:]
            fill_rows(source, item, top + overlap, shape.left, lines[overlap:])
        else:
            fill_rows(source, item, top, shape.left, lines)
        x = lines.ctypes.data + 4 * group * shape.inputs
        for _ in range(tiles_w):
            transform_input(x, 4 * lines.shape[1] * channels, 4 * channels, out, frequency_step, vectors)
            x += 4 * TILE_OUT * channels
            out += 4 * vectors * LANES


@kernel
def _finish_tile(
    products: int, frequency_step: int, part_step: int, shape: Shape, sink: Sink, item: int, top: int,
    left: int, group: int, column: int, channels: int, bias: int, noise: int,
) -> None:  # fmt: skip
    """Transform the products of one tile, and put them where the sink says."""
    rows, columns = min(TILE_OUT, shape.out_h - top), min(TILE_OUT, shape.out_w - left)
    pixel = sink.out.shape[3]
    place = ((item * shape.out_h + top) * shape.out_w + left) * pixel
    out = sink.out.ctypes.data + 4 * (place + group * shape.parts * shape.outputs + column)
    if sink.mode == SUMS:
        total = pixel // 2
        home = ((item * shape.out_h + top) * shape.out_w + left) * total + group * shape.outputs + column
        transform_sums(
            products, products + part_step, frequency_step, out, 4 * shape.outputs,
            4 * shape.out_w * pixel, 4 * pixel, sink.total.ctypes.data + 4 * home,
            4 * shape.out_w * total, 4 * total, rows, columns, channels, bias, noise,
        )  # fmt: skip
    elif sink.mode == TIMES:
        factor = sink.factor.ctypes.data + 4 * (place + group * shape.outputs + column)
        transform_output_times(
            products, frequency_step, out, 4 * shape.out_w * pixel, 4 * pixel, rows, columns, channels, factor
        )
    else:
        transform_output(
            products, frequency_step, out, 4 * shape.out_w * pixel, 4 * pixel, rows, columns, channels, bias
        )


@kernel
def _multiply(
    transformed: int, frequency_step: int, tiles: int, panels: Blob, shape: Shape, group: int, begin: int,
    end: int, products: int, product_step: int, part_step: int, tile_step: int,
) -> None:  # fmt: skip
    """Products of all frequencies with columns ``begin`` to ``end`` of one group, all its parts."""
    padded = padded_outputs(shape.outputs)
    pitch = 4 * ((shape.inputs + LANES - 1) // LANES) * LANES
    parts = shape.groups * shape.parts
    for frequency in range(FREQUENCIES):
        for part in range(shape.parts):
            here = (frequency * parts + group * shape.parts + part) * shape.inputs * padded
            for column in range(begin, end, PANEL):
                width = min(PANEL, padded - column)
                tile_row(
                    transformed + frequency * frequency_step, pitch, 1, 0, 1, 0, shape.inputs,
                    panels.ctypes.data + 4 * (here + column * shape.inputs), width < PANEL,
                    products + frequency * product_step + part * part_step + 4 * (column - begin), tile_step,
                    tiles, width, 0,
                )  # fmt: skip


@kernel
def _finish_columns(
    products: int, product_step: int, width: int, shape: Shape, sink: Sink, group: int, begin: int,
    channels: int, top_row: int, tiles: int, zeros: Blob,
) -> None:  # fmt: skip
    """Transform the products of ``tiles`` tiles, channels of one group from ``begin`` on, into the sink."""
    tiles_h, tiles_w = _tiles_of(shape)
    bias = zeros.ctypes.data
    if sink.bias.size:
        # The bias of sums has no padding, that of plain products has.
        stored = shape.outputs if sink.mode == SUMS else padded_outputs(shape.outputs)
        bias = sink.bias.ctypes.data + 4 * (group * stored + begin)
    noise = np.full(1, NOISE + NOISE_GROWTH * np.sqrt(shape.inputs), np.float32)
    for number in range(tiles):
        row = top_row + number // tiles_w
        _finish_tile(
            products + 4 * number * width * shape.parts, product_step, 4 * width, shape, sink, row // tiles_h,
            row % tiles_h * TILE_OUT, number % tiles_w * TILE_OUT, group, begin, channels, bias,
            noise.ctypes.data,
        )  # fmt: skip


@kernel
def convolve_tiles(
    first: int, last: int, rows_per_block: int, columns_per_block: int, source: Source, shape: Shape,
    panels: Blob, sink: Sink,
) -> None:  # fmt: skip
    """Blocks ``first`` to ``last`` of a convolution, counted over the rows of tiles of all items.

    Parameters
    ----------
    first, last
        Which blocks; each has ``rows_per_block`` rows of tiles, the last one maybe fewer.
    columns_per_block
        Output channels whose products are held at once, a multiple of `PANEL`.
    source
        The input: (N, H, W, groups·inputs).
    shape
        Geometry; a 3×3 window of stride 1 without dilation; one part unless the sink takes `SUMS`.
    panels
        Transformed weights, see `packing.pack_frequencies`.
    sink
        The output: (N, out_h, out_w, groups·parts·outputs), and what is done to it; not `SPREAD`.
    """
    tiles_h, tiles_w = _tiles_of(shape)
    pitch = (shape.inputs + LANES - 1) // LANES * LANES
    padded = padded_outputs(shape.outputs)
    width = min(columns_per_block, padded)
    line = (tiles_w * TILE_OUT + TILE_IN - TILE_OUT) * shape.groups * shape.inputs
    # Vectors read beyond the last channel, tiles of products beyond the last tile of pixels.
    pixels = np.empty(TILE_IN * line + LANES, np.float32)
    lines = pixels[: TILE_IN * line].reshape((TILE_IN, -1, shape.groups * shape.inputs))
    size = rows_per_block * tiles_w * pitch + _APART
    transformed = np.empty(FREQUENCIES * size + TILE_ROWS * pitch, np.float32)
    product_size = rows_per_block * tiles_w * shape.parts * width + _APART
    products = np.empty(FREQUENCIES * product_size, np.float32)
    zeros = np.zeros(padded, np.float32)
    for block in range(first, last):
        top = block * rows_per_block
        bottom = min(sink.out.shape[0] * tiles_h, top + rows_per_block)
        tiles = (bottom - top) * tiles_w
        for group in range(shape.groups):
            _transform_rows(top, bottom, source, shape, group, lines, transformed.ctypes.data, 4 * size)
            for begin in range(0, padded, width):
                _multiply(
                    transformed.ctypes.data, 4 * size, tiles, panels, shape, group, begin,
                    min(padded, begin + width), products.ctypes.data, 4 * product_size, 4 * width,
                    4 * width * shape.parts,
                )  # fmt: skip
                _finish_columns(
                    products.ctypes.data, 4 * product_size, width, shape, sink, group, begin,
                    min(width, shape.outputs - begin), top, tiles, zeros,
                )  # fmt: skip
