"""Convolution by direct summation, a register tile of pixels and channels at a time.

Blobs are (N, H, W, C): the channels of a pixel are contiguous, so that windows need no unfolding.
Every output sums its products in the same order, whatever its position. So equal windows give bitwise equal
outputs, and ties in max pooling remain ties.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._kernel import helper, kernel
from ._simd import LANES, VECTOR_BYTES
from ._tiles import (
    HALF_ROWS,
    NARROW_PANEL,
    PANEL,
    TILE_ROWS,
    channel_tile,
    half_channel_tile,
    half_tile,
    half_tile_in_parts,
    narrow_half_tile,
    narrow_half_tile_in_parts,
    narrow_tile,
    narrow_tile_in_parts,
    tile,
    tile_in_parts,
)
from .blobs import Blob, Blob1
from .mirrored import split_sums, take_magnitudes
from .passes import (
    COPY,
    PLAIN,
    SIGNS,
    SUMS,
    TIMES,
    Sink,
    Source,
    add_sums,
    choose_parts,
    fill_rows,
    multiply_rows,
)

#: A row of the kernel with at least this many products is summed separately; fewer are not worth it.
_LEAST_PART = 16


class ConvolutionShape(NamedTuple):
    """Channels, window and output of one convolution.

    Attributes
    ----------
    groups, parts
        Groups of channels; every group produces ``parts`` times ``outputs`` channels.
    inputs, outputs
        Channels of one group, and outputs of one part of it.
    kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w
        Size, stride and dilation of the window.
    top, left
        Position of the first window in the image; negative in the padding.
    out_h, out_w
        Pixels of the output.
    merged
        How many groups of the layer are merged into one group here, see `packing.merge_groups`.
    apart
        The number of channels of a depthwise convolution. They count as one group with this many inputs or
        outputs per part. 0 if the outputs of a group depend on all its inputs.
    mirrored
        1 if input and output have two parts that may swap places, and panels are for their sum and
        difference, see `mirrored`; ``inputs`` are then those of one part. Otherwise 0.
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
    apart: int = 0
    mirrored: int = 0


def _row_of(whole: Any, half: Any, narrow: Any, narrow_half: Any) -> Any:
    """Products of a row of pixels, with tiles of four sizes."""

    @helper
    def multiply_row(
        x: int, x_step: int, outer: int, outer_step: int, middle: int, middle_step: int, run: int,
        weights: int, is_narrow: bool, out: int, out_step: int, count: int, columns: int, start: int,
    ) -> None:  # fmt: skip
        weights_step = 4 * (NARROW_PANEL if is_narrow else PANEL)
        done = 0
        while done < count:
            is_half = count - done <= HALF_ROWS
            rows = HALF_ROWS if is_half else TILE_ROWS
            first = max(0, min(done, count - rows))
            left = count - first
            here, there = x + first * x_step, out + first * out_step
            if is_narrow and is_half:
                narrow_half(
                    here, x_step, outer, outer_step, middle, middle_step, run, weights, weights_step, there,
                    out_step, left, columns, start,
                )  # fmt: skip
            elif is_narrow:
                narrow(
                    here, x_step, outer, outer_step, middle, middle_step, run, weights, weights_step, there,
                    out_step, left, columns, start,
                )  # fmt: skip
            elif is_half:
                half(
                    here, x_step, outer, outer_step, middle, middle_step, run, weights, weights_step, there,
                    out_step, left, columns, start,
                )  # fmt: skip
            else:
                whole(
                    here, x_step, outer, outer_step, middle, middle_step, run, weights, weights_step, there,
                    out_step, left, columns, start,
                )  # fmt: skip
            done = first + rows

    return multiply_row


#: ``x, x_step, outer, outer_step, middle, middle_step, run, weights, is_narrow, out, out_step, count,
#: columns, start``: products of ``count`` pixels in a row with one panel of weights; see `_tiles`. If the
#: last tile is not full it starts earlier, and computes some pixels again, with the same result. If there are
#: fewer pixels than a tile has, it reads beyond their end.
tile_row = _row_of(tile, half_tile, narrow_tile, narrow_half_tile)

#: The same, but every row of the kernel is summed separately.
_tile_row_in_parts = _row_of(
    tile_in_parts, half_tile_in_parts, narrow_tile_in_parts, narrow_half_tile_in_parts
)


@helper
def padded_outputs(outputs: int) -> int:
    """``outputs`` columns rounded up to whole panels."""
    rest = outputs % PANEL
    whole = outputs - rest
    if rest == 0:
        return whole
    return whole + (NARROW_PANEL if rest <= NARROW_PANEL else PANEL)


@helper
def padded_lanes(count: int) -> int:
    """``count`` numbers rounded up to whole vectors."""
    return (count + LANES - 1) // LANES * LANES


@helper
def _channel_row(
    x: int, x_step: int, taps: int, offsets: int, weights: int, out: int, out_step: int, count: int,
    columns: int, start: int,
) -> None:  # fmt: skip
    """As `tile_row`, for a vector of channels of a depthwise convolution."""
    done = 0
    while done < count:
        half = count - done <= HALF_ROWS
        rows = HALF_ROWS if half else TILE_ROWS
        first = max(0, min(done, count - rows))
        here, there = x + first * x_step, out + first * out_step
        if half:
            half_channel_tile(
                here, x_step, taps, offsets, weights, there, out_step, count - first, columns, start
            )  # fmt: skip
        else:
            channel_tile(
                here, x_step, taps, offsets, weights, there, out_step, count - first, columns, start
            )  # fmt: skip
        done = first + rows


@helper
def _tap_offsets(shape: ConvolutionShape, row_step: int, pixel_step: int) -> NDArray[np.int64]:
    """Offsets in bytes of a channel's inputs from the first one: (parts·k_h·k_w,)."""
    parts = shape.inputs // max(1, shape.apart)
    offsets = np.empty((parts, shape.kernel_h, shape.kernel_w), np.int64)
    for part in range(parts):
        for row in range(shape.kernel_h):
            for column in range(shape.kernel_w):
                pixel = row * shape.dilation_h * row_step + column * shape.dilation_w * pixel_step
                offsets[part, row, column] = pixel + 4 * part * shape.apart
    return offsets.reshape(-1)


@helper
def _channel_block(
    x: int, row_step: int, pixel_step: int, panels: Blob, bias: Blob, shape: ConvolutionShape, out: int,
    rows: int, row_pixels: int,
) -> None:  # fmt: skip
    """As `_block`, for a depthwise convolution."""
    offsets = _tap_offsets(shape, row_step, pixel_step)
    channels, vectors = shape.parts * shape.outputs, padded_lanes(shape.outputs) // LANES
    for row in range(rows):
        for part in range(shape.parts):
            for vector in range(vectors):
                column = vector * LANES
                _channel_row(
                    x + row * shape.stride_h * row_step + 4 * column, shape.stride_w * pixel_step,
                    offsets.size, offsets.ctypes.data,
                    panels.ctypes.data + VECTOR_BYTES * (part * vectors + vector) * offsets.size,
                    out + 4 * ((row * row_pixels * shape.parts + part) * shape.outputs + column),
                    4 * channels, row_pixels, min(LANES, shape.outputs - column),
                    bias.ctypes.data + 4 * column if bias.size else 0,
                )  # fmt: skip


@helper
def _block(
    x: int, row_step: int, pixel_step: int, part_step: int, panels: Blob, bias: Blob, shape: ConvolutionShape,
    out: int, rows: int, row_pixels: int,
) -> None:  # fmt: skip
    """Products of some rows: ``x`` is the address of their input, ``out`` of the result (rows, W, channels).

    Every mirrored part of the output has its own input; the second is ``part_step`` bytes after the first.
    """
    padded = padded_outputs(shape.outputs)
    length = shape.kernel_h * shape.kernel_w * shape.inputs
    channels = shape.groups * shape.parts * shape.outputs
    merged = shape.groups == 1 and shape.dilation_w == 1
    middle = 1 if merged else shape.kernel_w
    run = shape.inputs * shape.kernel_w if merged else shape.inputs
    in_parts = shape.kernel_h > 1 and shape.inputs * shape.kernel_w >= _LEAST_PART
    for part in range(shape.groups * shape.parts):
        group = part // shape.parts
        here = x + part % shape.parts * part_step * shape.mirrored + 4 * group * shape.inputs
        for column in range(0, shape.outputs, PANEL):
            weights = panels.ctypes.data + 4 * (part * length * padded + column * length)
            start = 0
            if bias.size:
                start = bias.ctypes.data + 4 * (part * padded + column)
            for row in range(rows):
                pixels = here + row * shape.stride_h * row_step
                there = out + 4 * (row * row_pixels * channels + part * shape.outputs + column)
                if in_parts:
                    _tile_row_in_parts(
                        pixels, shape.stride_w * pixel_step, shape.kernel_h, shape.dilation_h * row_step,
                        middle, shape.dilation_w * pixel_step, run, weights, padded - column < PANEL, there,
                        4 * channels, row_pixels, min(PANEL, shape.outputs - column), start,
                    )  # fmt: skip
                else:
                    tile_row(
                        pixels, shape.stride_w * pixel_step, shape.kernel_h, shape.dilation_h * row_step,
                        middle, shape.dilation_w * pixel_step, run, weights, padded - column < PANEL, there,
                        4 * channels, row_pixels, min(PANEL, shape.outputs - column), start,
                    )  # fmt: skip


@helper
def _finish_rows(sink: Sink, shape: ConvolutionShape, products: Blob, item: int, top: int, rows: int) -> None:
    """Finish some rows of products as the sink says; for `SIGNS` they are in ``products``."""
    groups = shape.groups * shape.merged
    if sink.mode == SUMS:
        mine, total = sink.out[item, top : top + rows], sink.total[item, top : top + rows]
        if shape.mirrored:
            split_sums(mine, sink.bias, shape.kernel_h * shape.kernel_w * shape.inputs, total)
        else:
            add_sums(mine, sink.bias, groups, total)
    elif sink.mode == TIMES:
        multiply_rows(sink.factor[item, top : top + rows], sink.out[item, top : top + rows])
    elif sink.mode == SIGNS:
        out = sink.out[item, top : top + rows]
        factor = sink.factor[item, top : top + rows] if sink.factor.size else out[:0]
        choose_parts(products[:rows], factor, groups, out)


@helper
def _read_rows(
    source: Source, shape: ConvolutionShape, item: int, top: int, lines: Blob, magnitudes: int
) -> None:
    """Fill ``lines`` with the input of outputs from row ``top`` on, and with its magnitudes if `mirrored`."""
    fill_rows(source, item, top * shape.stride_h + shape.top, shape.left, lines)
    if shape.mirrored:
        take_magnitudes(lines, magnitudes)


@helper
def _is_pointwise(shape: ConvolutionShape) -> bool:
    """Whether the window is one pixel that visits every pixel once."""
    is_pixel = shape.kernel_h == 1 and shape.kernel_w == 1
    return is_pixel and shape.stride_h == 1 and shape.stride_w == 1 and shape.top == 0 and shape.left == 0


@kernel
def convolve(
    first: int, last: int, rows_per_block: int, source: Source, shape: ConvolutionShape, panels: Blob1,
    sink: Sink,
) -> None:  # fmt: skip
    """Compute blocks ``first`` to ``last`` of a convolution, counted over the items and their blocks of rows.

    Parameters
    ----------
    first, last
        Range of blocks; each has ``rows_per_block`` rows of the output, the last of an item perhaps fewer.
    source
        The input: (N, H, W, groups·inputs).
    shape
        Geometry.
    panels
        Weights, see `packing.pack_panels`; `packing.pack_channels` for a depthwise convolution.
    sink
        The output, (N, out_h, out_w, groups·parts·outputs), and how it is written.
    """
    blocks = (shape.out_h + rows_per_block - 1) // rows_per_block
    channels, reach = shape.groups * shape.inputs, (shape.kernel_h - 1) * shape.dilation_h + 1
    columns = (shape.out_w - 1) * shape.stride_w + (shape.kernel_w - 1) * shape.dilation_w + 1
    # Tiles and vectors read beyond the last pixel of the last row.
    room = (((rows_per_block - 1) * shape.stride_h + reach) * columns + TILE_ROWS * shape.stride_w) * channels
    room += LANES
    memory = np.empty((1 + shape.mirrored) * room, np.float32)
    kept_rows = rows_per_block if sink.mode == SIGNS else 0
    products = np.empty((kept_rows, shape.out_w, shape.groups * shape.parts * shape.outputs), np.float32)
    bias = sink.bias if sink.mode == PLAIN else memory[:0]
    pointwise = _is_pointwise(shape)
    reads_source = pointwise and not (shape.apart or shape.mirrored) and source.mode == COPY
    for block in range(first, last):
        item, top = block // blocks, block % blocks * rows_per_block
        rows = min(rows_per_block, shape.out_h - top)
        x = memory.ctypes.data
        if reads_source and rows * shape.out_w >= TILE_ROWS:
            x = source.blob[item, top:].ctypes.data
        else:
            in_rows = (rows - 1) * shape.stride_h + reach
            lines = memory[: in_rows * columns * channels].reshape((in_rows, columns, channels))
            _read_rows(source, shape, item, top, lines, x + 4 * room)
        out = products.ctypes.data if sink.mode == SIGNS else sink.out[item, top:].ctypes.data
        # Rows without padding between them can be treated as one long row.
        long_rows, width = (1, rows * shape.out_w) if pointwise else (rows, shape.out_w)
        row_step, pixel_step = 4 * columns * channels, 4 * channels
        if shape.apart:
            _channel_block(x, row_step, pixel_step, panels, bias, shape, out, long_rows, width)
        else:
            _block(x, row_step, pixel_step, 4 * room, panels, bias, shape, out, long_rows, width)
        _finish_rows(sink, shape, products, item, top, rows)
