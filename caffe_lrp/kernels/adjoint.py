"""Adjoints of convolutions by direct summation: every output is added to the pixels of its window.

An output pixel times all weights gives its shares for all taps of the window; they are added to the
pixels in the window. Unlike a convolution of the outputs, this multiplies by no zeros if there is a stride,
and leaves no lanes of vectors empty if there are few input channels. Every pixel, wherever it is, sums its
shares in the order of the outputs that they come from. Blobs are (N, H, W, C).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._kernel import helper, kernel
from ._rows import clear, copy, multiply_by
from ._scatter import add_channels, add_runs
from ._simd import LANES
from ._tiles import PANEL, TILE_ROWS
from .blobs import Blob, Blob1
from .convolution import ConvolutionShape, padded_lanes, padded_outputs, tile_row
from .mirrored import join_halves, take_sums_and_differences
from .passes import SIGNS, TIMES, Sink, Source, choose_parts, fill_rows

#: Numbers of outputs and shares at a time: few enough for the cache, but enough pixels, if there are enough,
#: that weights are not read too often.
_NUMBERS_AT_ONCE = 96 * 1024
_LEAST_PIXELS = 64

Integers = NDArray[np.int64]


class Buffers(NamedTuple):
    """Memory for some rows of outputs and their shares.

    Attributes
    ----------
    x
        (rows, W, channels): the outputs, and padding that tiles read.
    products
        (rows, W, groups·padded columns): their shares; empty for a depthwise convolution.
    mask
        1 for the numbers of a run of shares, and 0 for the padding of its last vector.
    ring
        (rows, ·): row y of the padded image is in row ``y % rows``, with space for a vector at its end. The
        channels of all groups are contiguous; mirrored parts are separate, a row of the first part followed
        by a row of the second.
    starts, targets
        For every run, its offset in the shares or weights, in bytes, and the address where it is added for
        the first pixel of a row of outputs.
    """

    x: Blob
    products: Blob
    mask: Blob
    ring: Blob
    starts: Integers
    targets: Integers


@helper
def _run_size(shape: ConvolutionShape) -> int:
    """How many contiguous shares of a pixel are added to contiguous numbers."""
    if shape.apart:
        return shape.apart
    is_joined = _groups_in_pixel(shape) == 1 and shape.dilation_w == 1
    return shape.outputs * shape.kernel_w if is_joined else shape.outputs


@helper
def _groups_in_pixel(shape: ConvolutionShape) -> int:
    """Groups with contiguous channels."""
    return 1 if shape.mirrored else shape.groups


@helper
def _part_step(shape: ConvolutionShape, ring: Blob) -> int:
    """Distance between the mirrored parts of a row, in numbers."""
    return (ring.shape[1] - LANES) // 2 if shape.mirrored else 0


@helper
def _columns(shape: ConvolutionShape) -> int:
    """Shares per pixel and group, padded to whole panels."""
    return 0 if shape.apart else padded_outputs(shape.kernel_h * shape.kernel_w * shape.outputs)


@helper
def _rows_at_once(shape: ConvolutionShape) -> int:
    """How many rows of outputs are multiplied by the weights at a time."""
    fitting = _NUMBERS_AT_ONCE // (shape.out_w * shape.groups * (shape.inputs + _columns(shape)))
    return min(shape.out_h, max(fitting, (_LEAST_PIXELS + shape.out_w - 1) // shape.out_w))


@helper
def _buffers(shape: ConvolutionShape, rows: int, width: int) -> Buffers:
    """Memory for ``rows`` rows of outputs at a time, and an image of ``width`` pixels."""
    taps, reach_w = shape.kernel_h * shape.kernel_w, (shape.kernel_w - 1) * shape.dilation_w + 1
    size = _run_size(shape)
    mask = np.zeros(padded_lanes(size), np.float32)
    mask[:size] = 1
    open_rows = (rows - 1) * shape.stride_h + (shape.kernel_h - 1) * shape.dilation_h + 1
    line = max((shape.out_w - 1) * shape.stride_w + reach_w, width - shape.left)
    runs = taps * (shape.outputs // shape.apart if shape.apart else shape.groups)
    return Buffers(
        np.empty((rows * shape.out_w + TILE_ROWS) * shape.groups * shape.inputs + LANES, np.float32),
        np.empty(rows * shape.out_w * shape.groups * _columns(shape) + LANES, np.float32),
        mask,
        np.empty((open_rows, line * shape.groups * shape.outputs + LANES), np.float32),
        np.empty(runs, np.int64),
        np.empty(runs, np.int64),
    )


@helper
def _place_runs(row: int, lowest: int, shape: ConvolutionShape, buffers: Buffers) -> int:
    """Find the shares of a row of outputs, and where they are added in the window of its first pixel.

    Parameters
    ----------
    row
        Row of the outputs.
    lowest
        The first row of the padded image that is not finished.
    shape
        Geometry.
    buffers
        ``starts`` and ``targets`` are overwritten.

    Returns
    -------
    int
        The number of runs.
    """
    taps, size = shape.kernel_h * shape.kernel_w, _run_size(shape)
    if shape.apart:
        groups, tap_step = shape.outputs // shape.apart, padded_lanes(shape.apart)
        group_step = taps * tap_step
    else:
        groups, tap_step = shape.groups, shape.outputs
        group_step = _columns(shape)
    columns = 1 if size > tap_step else shape.kernel_w
    side_by_side, part_step = 1 if shape.mirrored else groups, _part_step(shape, buffers.ring)
    runs = 0
    for tap_y in range(shape.kernel_h):
        y = row * shape.stride_h + tap_y * shape.dilation_h
        if y < lowest:
            continue
        line = buffers.ring[y % len(buffers.ring)].ctypes.data
        for group in range(groups):
            for tap_x in range(columns):
                buffers.starts[runs] = 4 * (group * group_step + (tap_y * shape.kernel_w + tap_x) * tap_step)
                place = size * (tap_x * shape.dilation_w * side_by_side + group % side_by_side)
                buffers.targets[runs] = line + 4 * (place + group * part_step)
                runs += 1
    return runs


@helper
def _multiply(pixels: int, shape: ConvolutionShape, panels: Blob, buffers: Buffers) -> None:
    """Compute the shares of the first ``pixels`` pixels of ``buffers.x``."""
    padded = _columns(shape)
    for group in range(shape.groups):
        for column in range(0, padded, PANEL):
            width, place = min(PANEL, padded - column), group * padded + column
            tile_row(
                buffers.x.ctypes.data + 4 * group * shape.inputs, 4 * shape.groups * shape.inputs, 1, 0, 1, 0,
                shape.inputs, panels.ctypes.data + 4 * shape.inputs * place, width < PANEL,
                buffers.products.ctypes.data + 4 * place, 4 * shape.groups * padded, pixels, width, 0,
            )  # fmt: skip


@helper
def _add_row(line: int, runs: int, shape: ConvolutionShape, panels: Blob, buffers: Buffers) -> None:
    """Add the shares of row ``line`` in ``buffers`` to the targets of its runs."""
    mask, starts, targets = buffers.mask, buffers.starts.ctypes.data, buffers.targets.ctypes.data
    vectors, step = mask.size // LANES, 4 * shape.stride_w * _groups_in_pixel(shape) * shape.outputs
    if not shape.apart:
        pixel = 4 * shape.groups * _columns(shape)
        products = buffers.products.ctypes.data + line * shape.out_w * pixel
        add_runs(shape.out_w, products, pixel, step, runs, starts, targets, vectors, mask.ctypes.data)
        return
    parts = shape.inputs // shape.apart
    for part in range(parts):
        x = buffers.x.ctypes.data + 4 * (line * shape.out_w * shape.inputs + part * shape.apart)
        weights = panels.ctypes.data + 4 * part * (panels.size // parts)
        add_channels(
            shape.out_w, x, 4 * shape.inputs, step, runs, starts, targets, vectors, mask.ctypes.data, weights
        )  # fmt: skip


@helper
def _add_rows(
    item: int, row: int, rows: int, lowest: int, source: Source, shape: ConvolutionShape, panels: Blob,
    buffers: Buffers,
) -> None:  # fmt: skip
    """Add the shares of rows of outputs, from ``row`` on, to rows of the padded image, from ``lowest`` on."""
    channels = shape.groups * shape.inputs
    pixels = rows * shape.out_w
    lines = buffers.x[: pixels * channels].reshape((rows, shape.out_w, channels))
    fill_rows(source, item, row, 0, lines)
    if shape.mirrored:
        take_sums_and_differences(lines)
    if not shape.apart:
        _multiply(pixels, shape, panels, buffers)
    for line in range(rows):
        runs = _place_runs(row + line, lowest, shape, buffers)
        _add_row(line, runs, shape, panels, buffers)


@helper
def _finish_row(sums: Blob, sink: Sink, groups: int, item: int, y: int) -> None:
    """Write a row of the image to the sink; ``sums`` (1, W, ·)."""
    out = sink.out[item, y : y + 1]
    factor = sink.factor[item, y : y + 1] if sink.factor.size else out[:0]
    if sink.mode == SIGNS:
        choose_parts(sums, factor, groups, out)
        return
    copy(sums.ctypes.data, out.ctypes.data, out.size)
    if sink.mode == TIMES:
        multiply_by(factor.ctypes.data, out.ctypes.data, out.size)


@helper
def _join_row(line: Blob, part_step: int, sink: Sink, item: int, y: int) -> None:
    """Write a row of the image to the sink; its mirrored parts are ``part_step`` numbers apart."""
    out = sink.out[item, y].reshape(-1)
    factor = sink.factor[item, y].reshape(-1) if sink.factor.size else out[:0]
    join_halves(line[: out.size], line[part_step : part_step + out.size], factor, out)


@kernel
def hand_back(
    first: int, last: int, rows_per_block: int, source: Source, shape: ConvolutionShape, panels: Blob1,
    sink: Sink,
) -> None:  # fmt: skip
    """Compute blocks ``first`` to ``last`` of an adjoint, counted over the items and their blocks of rows.

    Parameters
    ----------
    first, last
        Range of blocks; each has ``rows_per_block`` rows of the result, the last of an item perhaps fewer.
    source
        The layer's outputs: (N, out_h, out_w, groups·inputs).
    shape
        Geometry of the layer with inputs and outputs swapped.
    panels
        Weights, see `packing.pack_shares`.
    sink
        The result, (N, H, W, groups·outputs) or half as many channels with `SIGNS`, and how it is written.
    """
    height, width = sink.out.shape[1], sink.out.shape[2]
    blocks = (height + rows_per_block - 1) // rows_per_block
    channels = _groups_in_pixel(shape) * shape.outputs
    at_once = _rows_at_once(shape)
    buffers = _buffers(shape, at_once, width)
    begin, end = -shape.left * channels, (width - shape.left) * channels
    reach = (shape.kernel_h - 1) * shape.dilation_h + 1
    for block in range(first, last):
        item, top = block // blocks, block % blocks * rows_per_block
        bottom = min(height, top + rows_per_block)
        clear(buffers.ring.ctypes.data, buffers.ring.size)
        # The first row of outputs that reaches the block, and the one after the last.
        row = max(0, (top - shape.top - reach + shape.stride_h) // shape.stride_h)
        last_row = min(shape.out_h, (bottom - 1 - shape.top) // shape.stride_h + 1)
        for y in range(top, bottom):
            place = y - shape.top
            while row < last_row and row * shape.stride_h <= place:
                rows = min(at_once, last_row - row)
                _add_rows(item, row, rows, place, source, shape, panels, buffers)
                row += rows
            line = buffers.ring[place % len(buffers.ring)]
            if shape.mirrored:
                _join_row(line[begin:], _part_step(shape, buffers.ring), sink, item, y)
            else:
                sums = line[begin:end].reshape((1, width, channels))
                _finish_row(sums, sink, shape.groups * shape.merged, item, y)
            clear(line.ctypes.data, line.size)
