"""Convolution by Winograd's algorithm: windows of 3×3 and 5×5, stride 1, no dilation.

It takes a quarter of the products of direct summation for windows of 3×3, and just over a third for 5×5.
Rounding errors, up to about 2e-6 of the largest activations, depend on the position of an output in its
tile, so equal windows give nearly, but not bitwise, equal outputs. Blobs are (N, H, W, C).
"""

from typing import NamedTuple

import numpy as np

from ._kernel import helper, kernel
from ._rows import copy
from ._simd import LANES
from ._tiles import PANEL, TILE_ROWS
from ._winograd import (
    FREQUENCIES,
    TILE_IN,
    transform_input,
    transform_output,
    transform_output_times,
    transform_sums,
)
from .blobs import Blob, Blob1
from .convolution import ConvolutionShape, padded_lanes, padded_outputs, tile_row
from .passes import SIGNS, SUMS, TIMES, Sink, Source, choose_parts, fill_rows

#: A sum of products of one sign is set to 0 if it is smaller than this share of the largest number in
#: its tile of products. Rounding errors of 0 grow with the square root of the number of channels, times the
#: second number; this is above all errors seen with 16 to 1024 channels.
NOISE, NOISE_GROWTH = 2e-6, 4e-7

#: Frequencies are this many numbers further apart than their size, so that they do not share cache sets. So
#: are tiles of pixels if their size is a multiple of half a page: the L1 cache would not hold 14 of them.
_APART, _HALF_PAGE = 16, 512


@helper
def _tiles_of(shape: ConvolutionShape) -> tuple[int, int, int]:
    """Outputs along one side of a tile, and the tiles that cover the output, down and across."""
    side = TILE_IN + 1 - shape.kernel_h
    return side, (shape.out_h + side - 1) // side, (shape.out_w + side - 1) // side


@helper
def _pitch(inputs: int) -> int:
    """Distance from one transformed tile to the next, in numbers."""
    whole = padded_lanes(inputs)
    return whole if whole % _HALF_PAGE else whole + _APART


class _Memory(NamedTuple):
    """The buffers of one block.

    Attributes
    ----------
    pixels
        (6, columns, channels): the input of a row of tiles.
    transformed, frequency_step
        The transformed input of all tiles, group by group; frequencies are ``frequency_step`` bytes apart.
    products, product_step, width
        Products of ``width`` columns of weights; frequencies are ``product_step`` bytes apart.
    kept
        (rows, out_w, channels): outputs of two parts, for `choose_parts`.
    zeros
        The bias of products without one.
    """

    pixels: Blob
    transformed: Blob
    frequency_step: int
    products: Blob
    product_step: int
    width: int
    kept: Blob
    zeros: Blob


@helper
def _memory(rows_per_block: int, columns_per_block: int, shape: ConvolutionShape, sink: Sink) -> _Memory:
    side, _, tiles_w = _tiles_of(shape)
    channels = shape.groups * shape.inputs
    pitch = _pitch(shape.inputs)
    padded = padded_outputs(shape.outputs)
    width = min(columns_per_block, padded)
    columns = tiles_w * side + TILE_IN - side
    # Vectors read beyond the last channel, tiles of products beyond the last tile of pixels.
    pixels = np.empty(TILE_IN * columns * channels + LANES, np.float32)
    step = rows_per_block * tiles_w * pitch + _APART
    product_step = rows_per_block * tiles_w * shape.parts * width + _APART
    kept = rows_per_block * side if sink.mode == SIGNS else 0
    return _Memory(
        pixels[: TILE_IN * columns * channels].reshape((TILE_IN, columns, channels)),
        np.empty(FREQUENCIES * step + TILE_ROWS * pitch, np.float32),
        4 * step,
        np.empty(FREQUENCIES * product_step, np.float32),
        4 * product_step,
        width,
        np.empty((kept, shape.out_w, shape.groups * shape.parts * shape.outputs), np.float32),
        np.zeros(padded, np.float32),
    )


@helper
def _transform_rows(
    first: int, last: int, source: Source, shape: ConvolutionShape, group: int, memory: _Memory
) -> None:
    """Transform the input of rows of tiles."""
    lines = memory.pixels
    side, tiles_h, tiles_w = _tiles_of(shape)
    channels = lines.shape[2]
    vectors = (shape.inputs + LANES - 1) // LANES
    overlap = TILE_IN - side
    line_step = 4 * lines.shape[1] * channels
    out = memory.transformed.ctypes.data
    for row in range(first, last):
        item, top = row // tiles_h, row % tiles_h * side + shape.top
        if row > first and row % tiles_h:
            for line in range(overlap):
                copy(lines[side + line].ctypes.data, lines[line].ctypes.data, lines[line].size)
            fill_rows(source, item, top + overlap, shape.left, lines[overlap:])
        else:
            fill_rows(source, item, top, shape.left, lines)
        x = lines.ctypes.data + 4 * group * shape.inputs
        for _ in range(tiles_w):
            transform_input(x, line_step, 4 * channels, out, memory.frequency_step, vectors)
            x += 4 * side * channels
            out += 4 * _pitch(shape.inputs)


@helper
def _finish_tile(
    products: int, frequency_step: int, part_step: int, shape: ConvolutionShape, sink: Sink, out: int,
    line: int, rows: int, left: int, group: int, column: int, channels: int, bias: int, noise: int,
) -> None:  # fmt: skip
    """Transform the products of one tile, and write them as the sink says.

    ``out`` is the address of lines of pixels, and ``line`` the index of the first one.
    """
    side = TILE_IN + 1 - shape.kernel_h
    columns = min(side, shape.out_w - left)
    pixel = shape.groups * shape.parts * shape.outputs
    place = (line * shape.out_w + left) * pixel
    out += 4 * (place + group * shape.parts * shape.outputs + column)
    if sink.mode == SUMS:
        total = pixel // 2
        home = (line * shape.out_w + left) * total + group * shape.outputs + column
        transform_sums(
            side, products, products + part_step, frequency_step, out, 4 * shape.outputs,
            4 * shape.out_w * pixel, 4 * pixel, sink.total.ctypes.data + 4 * home,
            4 * shape.out_w * total, 4 * total, rows, columns, channels, bias, noise,
        )  # fmt: skip
    elif sink.mode == TIMES:
        factor = sink.factor.ctypes.data + 4 * (place + group * shape.outputs + column)
        transform_output_times(
            side, products, frequency_step, out, 4 * shape.out_w * pixel, 4 * pixel, rows, columns, channels,
            factor,
        )  # fmt: skip
    else:
        transform_output(
            side, products, frequency_step, out, 4 * shape.out_w * pixel, 4 * pixel, rows, columns, channels,
            bias,
        )  # fmt: skip


@helper
def _multiply(
    tiles: int, panels: Blob, shape: ConvolutionShape, group: int, begin: int, memory: _Memory
) -> None:
    """Multiply all frequencies by the columns of one group, with all parts, from ``begin`` on."""
    padded = padded_outputs(shape.outputs)
    pitch = 4 * _pitch(shape.inputs)
    parts = shape.groups * shape.parts
    for frequency in range(FREQUENCIES):
        for part in range(shape.parts):
            here = (frequency * parts + group * shape.parts + part) * shape.inputs * padded
            products = memory.products.ctypes.data + frequency * memory.product_step + 4 * part * memory.width
            for column in range(begin, min(padded, begin + memory.width), PANEL):
                width = min(PANEL, padded - column)
                tile_row(
                    memory.transformed.ctypes.data + frequency * memory.frequency_step, pitch, 1, 0, 1, 0,
                    shape.inputs, panels.ctypes.data + 4 * (here + column * shape.inputs), width < PANEL,
                    products + 4 * (column - begin), 4 * memory.width * shape.parts, tiles, width, 0,
                )  # fmt: skip


@helper
def _finish_columns(
    first: int, last: int, shape: ConvolutionShape, sink: Sink, group: int, begin: int, memory: _Memory
) -> None:
    """Transform the products of some rows of tiles, channels of one group from ``begin`` on."""
    side, tiles_h, tiles_w = _tiles_of(shape)
    channels = min(memory.width, shape.outputs - begin)
    bias = memory.zeros.ctypes.data
    if sink.bias.size:
        # For plain products the bias is padded, for sums it is not.
        stored = shape.outputs if sink.mode == SUMS else padded_outputs(shape.outputs)
        bias = sink.bias.ctypes.data + 4 * (group * stored + begin)
    noise = np.full(1, NOISE + NOISE_GROWTH * np.sqrt(shape.inputs), np.float32)
    out = memory.kept.ctypes.data if sink.mode == SIGNS else sink.out.ctypes.data
    products = memory.products.ctypes.data
    for row in range(first, last):
        top = row % tiles_h * side
        line = (row - first) * side if sink.mode == SIGNS else row // tiles_h * shape.out_h + top
        for column in range(tiles_w):
            _finish_tile(
                products, memory.product_step, 4 * memory.width, shape, sink, out, line,
                min(side, shape.out_h - top), column * side, group, begin, channels, bias, noise.ctypes.data,
            )  # fmt: skip
            products += 4 * memory.width * shape.parts


@helper
def _choose_parts(first: int, last: int, shape: ConvolutionShape, sink: Sink, kept: Blob) -> None:
    """Write some rows of tiles of two parts, kept for `SIGNS`, to the sink."""
    side, tiles_h, _ = _tiles_of(shape)
    for row in range(first, last):
        item, top, line = row // tiles_h, row % tiles_h * side, (row - first) * side
        rows = min(side, shape.out_h - top)
        out = sink.out[item, top : top + rows]
        factor = sink.factor[item, top : top + rows] if sink.factor.size else out[:0]
        choose_parts(kept[line : line + rows], factor, shape.groups, out)


@kernel
def convolve_tiles(
    first: int, last: int, rows_per_block: int, columns_per_block: int, source: Source,
    shape: ConvolutionShape, panels: Blob1, sink: Sink,
) -> None:  # fmt: skip
    """Compute blocks ``first`` to ``last`` of a convolution, counted over the rows of tiles of all items.

    Parameters
    ----------
    first, last
        Range of blocks; each has ``rows_per_block`` rows of tiles, the last one perhaps fewer.
    columns_per_block
        Output channels processed at a time, a multiple of `PANEL`.
    source
        The input: (N, H, W, groups·inputs).
    shape
        Geometry: a square window of stride 1 without dilation; one part unless the sink's mode is `SUMS`.
    panels
        Transformed weights, see `packing.pack_frequencies`.
    sink
        The output, (N, out_h, out_w, groups·parts·outputs), and how it is written.
    """
    _, tiles_h, tiles_w = _tiles_of(shape)
    memory = _memory(rows_per_block, columns_per_block, shape, sink)
    for block in range(first, last):
        top = block * rows_per_block
        bottom = min(sink.out.shape[0] * tiles_h, top + rows_per_block)
        for group in range(shape.groups):
            _transform_rows(top, bottom, source, shape, group, memory)
            for begin in range(0, shape.outputs, memory.width):
                _multiply((bottom - top) * tiles_w, panels, shape, group, begin, memory)
                _finish_columns(top, bottom, shape, sink, group, begin, memory)
        if sink.mode == SIGNS:
            _choose_parts(top, bottom, shape, sink, memory.kept)
