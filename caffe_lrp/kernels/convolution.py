"""Convolution by direct summation, a register tile of pixels and channels at a time.

Blobs are (N, H, W, C): the channels of a pixel lie side by side, so that windows need no unfolding.
Every output sums its products in the same order, wherever it lies: equal windows give bitwise equal
outputs, and ties in max pooling stay ties.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from ._tiles import (
    HALF_ROWS,
    NARROW_PANEL,
    PANEL,
    TILE_ROWS,
    half_tile,
    narrow_half_tile,
    narrow_tile,
    tile,
)
from .gemm import Blob
from .passes import (
    COPY,
    PLAIN,
    SPREAD,
    SUMS,
    TIMES,
    Sink,
    Source,
    add_sums,
    fill_rows,
    multiply_rows,
    spread_rows,
)


class Shape(NamedTuple):
    """The geometry of one convolution.

    Attributes
    ----------
    groups, parts
        Groups of channels; every group gives ``parts`` times ``outputs`` channels.
    inputs, outputs
        Channels of one group, and outputs of one part of it.
    kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w
        Of the window.
    top, left
        Where the first window lies in the image; negative in the padding.
    out_h, out_w
        Pixels of the output.
    merged
        How many groups of the layer make one group here, see `packing.merge_groups`.
    """

    groups: int
    parts: int
    inputs: int
    outputs: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    top: int
    left: int
    out_h: int
    out_w: int
    merged: int = 1


@kernel
def tile_row(
    x: int, x_step: int, outer: int, outer_step: int, middle: int, middle_step: int, run: int,
    weights: int, is_narrow: bool, out: int, out_step: int, count: int, columns: int, start: int,
) -> None:  # fmt: skip
    """Products of ``count`` pixels in a row with one panel of weights; see `_tiles`.

    Where the last tile is not full it starts earlier, and computes some pixels again, with the same
    result. Fewer pixels than a tile has are read beyond their end.
    """
    weights_step = 4 * (NARROW_PANEL if is_narrow else PANEL)
    done = 0
    while done < count:
        half = count - done <= HALF_ROWS
        rows = HALF_ROWS if half else TILE_ROWS
        first = max(0, min(done, count - rows))
        left = count - first
        here, there = x + first * x_step, out + first * out_step
        if is_narrow and half:
            narrow_half_tile(
                here, x_step, outer, outer_step, middle, middle_step, run, weights, weights_step, there,
                out_step, left, columns, start,
            )  # fmt: skip
        elif is_narrow:
            narrow_tile(
                here, x_step, outer, outer_step, middle, middle_step, run, weights, weights_step, there,
                out_step, left, columns, start,
            )  # fmt: skip
        elif half:
            half_tile(
                here, x_step, outer, outer_step, middle, middle_step, run, weights, weights_step, there,
                out_step, left, columns, start,
            )  # fmt: skip
        else:
            tile(
                here, x_step, outer, outer_step, middle, middle_step, run, weights, weights_step, there,
                out_step, left, columns, start,
            )  # fmt: skip
        done = first + rows


@kernel
def padded_outputs(outputs: int) -> int:
    """Columns in the panels that hold ``outputs`` columns."""
    rest = outputs % PANEL
    whole = outputs - rest
    if rest == 0:
        return whole
    return whole + (NARROW_PANEL if rest <= NARROW_PANEL else PANEL)


@kernel
def _block(
    x: int, row_step: int, pixel_step: int, panels: Blob, bias: Blob, shape: Shape, out: int, rows: int,
    row_pixels: int,
) -> None:  # fmt: skip
    """Products of some rows: ``x`` is the address of their input, ``out`` that of (rows, W, channels)."""
    padded = padded_outputs(shape.outputs)
    length = shape.kernel_h * shape.kernel_w * shape.inputs
    channels = shape.groups * shape.parts * shape.outputs
    merged = shape.groups == 1 and shape.dilation_w == 1
    middle = 1 if merged else shape.kernel_w
    run = shape.inputs * shape.kernel_w if merged else shape.inputs
    for part in range(shape.groups * shape.parts):
        group = part // shape.parts
        for column in range(0, shape.outputs, PANEL):
            weights = panels.ctypes.data + 4 * (part * length * padded + column * length)
            start = 0
            if bias.size:
                start = bias.ctypes.data + 4 * (part * padded + column)
            for row in range(rows):
                tile_row(
                    x + row * shape.stride_h * row_step + 4 * group * shape.inputs,
                    shape.stride_w * pixel_step, shape.kernel_h, shape.dilation_h * row_step, middle,
                    shape.dilation_w * pixel_step, run, weights, padded - column < PANEL,
                    out + 4 * (row * row_pixels * channels + part * shape.outputs + column), 4 * channels,
                    row_pixels, min(PANEL, shape.outputs - column), start,
                )  # fmt: skip


@kernel
def _finish_rows(sink: Sink, shape: Shape, products: Blob, item: int, top: int, rows: int) -> None:
    """Do to some rows of products what the sink says; ``products`` holds them for `SPREAD`."""
    groups = shape.groups * shape.merged
    if sink.mode == SUMS:
        mine, total = sink.out[item, top : top + rows], sink.total[item, top : top + rows]
        add_sums(mine, sink.bias, groups, total)
    elif sink.mode == TIMES:
        multiply_rows(sink.factor[item, top : top + rows], sink.out[item, top : top + rows])
    elif sink.mode == SPREAD:
        spread_rows(products[:rows], sink, groups, item, top)


@kernel
def _is_pointwise(shape: Shape) -> bool:
    """Whether the window is one pixel that visits every pixel once."""
    is_pixel = shape.kernel_h == 1 and shape.kernel_w == 1
    return is_pixel and shape.stride_h == 1 and shape.stride_w == 1 and shape.top == 0 and shape.left == 0


@kernel
def convolve(
    first: int, last: int, rows_per_block: int, source: Source, shape: Shape, panels: Blob, sink: Sink
) -> None:
    """Blocks ``first`` to ``last`` of a convolution, counted over the items and their blocks of rows.

    Parameters
    ----------
    first, last
        Which blocks; each has ``rows_per_block`` rows of the output, the last of an item maybe fewer.
    source
        The input: (N, H, W, groups·inputs).
    shape
        Geometry; `Shape`.
    panels
        Weights, see `packing.pack_panels`.
    sink
        The output: (N, out_h, out_w, groups·parts·outputs), and what is done to it.
    """
    blocks = (shape.out_h + rows_per_block - 1) // rows_per_block
    channels = shape.groups * shape.inputs
    reach = (shape.kernel_h - 1) * shape.dilation_h + 1
    columns = (shape.out_w - 1) * shape.stride_w + (shape.kernel_w - 1) * shape.dilation_w + 1
    most_rows = (rows_per_block - 1) * shape.stride_h + reach
    # Tiles read beyond the last pixel.
    memory = np.empty((most_rows * columns + TILE_ROWS * shape.stride_w) * channels, np.float32)
    kept_rows = rows_per_block if sink.mode == SPREAD else 0
    products = np.empty((kept_rows, shape.out_w, shape.groups * shape.parts * shape.outputs), np.float32)
    bias = sink.bias if sink.mode == PLAIN else memory[:0]
    pointwise = _is_pointwise(shape)
    for block in range(first, last):
        item, top = block // blocks, block % blocks * rows_per_block
        rows = min(rows_per_block, shape.out_h - top)
        x = memory.ctypes.data
        if pointwise and source.mode == COPY and rows * shape.out_w >= TILE_ROWS:
            x = source.blob[item, top:].ctypes.data
        else:
            in_rows = (rows - 1) * shape.stride_h + reach
            lines = memory[: in_rows * columns * channels].reshape((in_rows, columns, channels))
            fill_rows(source, item, top * shape.stride_h + shape.top, shape.left, lines)
        out = products.ctypes.data if sink.mode == SPREAD else sink.out[item, top:].ctypes.data
        # Rows of pixels without padding between them are one long row.
        long_rows, width = (1, rows * shape.out_w) if pointwise else (rows, shape.out_w)
        _block(x, 4 * columns * channels, 4 * channels, panels, bias, shape, out, long_rows, width)
        _finish_rows(sink, shape, products, item, top, rows)
