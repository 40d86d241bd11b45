"""Convolution and its adjoint as matrix products over unfolded patches.

The unfolded patches of a large layer take more memory than the whole net, so both directions work
on blocks of output rows that stay in the cache.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .gemm import Blob, product
from .window import Window

#: Unfolded patches held at once, in elements (8 MiB of float32).
BLOCK_ELEMENTS = 2 * 1024 * 1024

Precision = type[np.float32] | type[np.float64]


@kernel
def columns_inside(offset: int, stride: int, width: int, out_width: int) -> tuple[int, int]:
    """First and last-plus-one output column x for which ``x·stride + offset`` lies in the image."""
    start = min(max(0, (-offset + stride - 1) // stride), out_width)
    stop = min(out_width, (width - 1 - offset) // stride + 1)
    return start, max(start, stop)


@kernel
def im2col(image: Blob, window: Window, first_row: int, columns: NDArray[Any]) -> None:
    """Unfold patches of ``image``: one column per output pixel, rows ordered (channel, kernel y, kernel x).

    Parameters
    ----------
    image
        (C, H, W).
    window
        Window geometry; positions in the padding give 0.
    first_row
        First output row of the block.
    columns
        (C·k_h·k_w, rows, W_out), float32 or float64, overwritten.
    """
    channels, height, width = image.shape
    rows, out_width = columns.shape[1], columns.shape[2]
    for channel in range(channels):
        for tap_y in range(window.kernel_h):
            for tap_x in range(window.kernel_w):
                target = columns[(channel * window.kernel_h + tap_y) * window.kernel_w + tap_x]
                offset = tap_x * window.dilation_w - window.pad_w
                start, stop = columns_inside(offset, window.stride_w, width, out_width)
                for row in range(rows):
                    y = (first_row + row) * window.stride_h - window.pad_h + tap_y * window.dilation_h
                    if y < 0 or y >= height:
                        target[row, :] = 0
                        continue
                    target[row, :start] = 0
                    target[row, stop:] = 0
                    if window.stride_w == 1:
                        for x in range(start, stop):
                            target[row, x] = image[channel, y, x + offset]
                    else:
                        for x in range(start, stop):
                            target[row, x] = image[channel, y, x * window.stride_w + offset]


@kernel
def col2im(columns: Blob, window: Window, first_row: int, image: Blob) -> None:
    """Add unfolded patches back onto the pixels they came from: the adjoint of `im2col`.

    Parameters
    ----------
    columns
        (C·k_h·k_w, rows, W_out).
    window
        Window geometry; what falls on the padding is dropped.
    first_row
        First output row of the block.
    image
        (C, H, W), added to.
    """
    channels, height, width = image.shape
    rows, out_width = columns.shape[1], columns.shape[2]
    for channel in range(channels):
        for tap_y in range(window.kernel_h):
            for tap_x in range(window.kernel_w):
                source = columns[(channel * window.kernel_h + tap_y) * window.kernel_w + tap_x]
                offset = tap_x * window.dilation_w - window.pad_w
                start, stop = columns_inside(offset, window.stride_w, width, out_width)
                for row in range(rows):
                    y = (first_row + row) * window.stride_h - window.pad_h + tap_y * window.dilation_h
                    if y < 0 or y >= height:
                        continue
                    if window.stride_w == 1:
                        for x in range(start, stop):
                            image[channel, y, x + offset] += source[row, x]
                    else:
                        for x in range(start, stop):
                            image[channel, y, x * window.stride_w + offset] += source[row, x]


def _row_blocks(patch_size: int, out_shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """First and last-plus-one output row of every block, so that a block stays under the limit."""
    out_height, out_width = out_shape
    rows = max(1, BLOCK_ELEMENTS // max(1, patch_size * out_width))
    for first in range(0, out_height, rows):
        yield first, min(first + rows, out_height)


def convolve(image: Blob, weight: Blob, groups: int, window: Window, precision: Precision, out: Blob) -> None:
    """Convolution without bias, every group on its own channels.

    BLAS rounds the same dot product differently in different columns, by up to 5e-7 of the largest
    output in float32. That breaks ties between equal patches, and max pooling then hands relevance
    to another pixel than the reference does. Sums in float64, rounded to float32 at the end, are
    equal bit for bit but for one case in 10⁸: the forward pass uses them.

    Parameters
    ----------
    image
        (N, C, H, W).
    weight
        (M, C/groups, k_h, k_w); M may be any multiple of ``groups``, ordered group by group.
    groups
        Number of groups.
    window
        Window geometry.
    precision
        Type in which products are formed and summed.
    out
        (N, M, H_out, W_out), overwritten.
    """
    items, channels = image.shape[:2]
    out_height, out_width = out.shape[2:]
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1).astype(precision, copy=False)
    targets = out.reshape(items, groups, matrix.shape[1], -1)
    if window.is_pointwise:
        for item in range(items):
            columns = image[item].astype(precision, copy=False).reshape(groups, channels // groups, -1)
            targets[item] = product(matrix, columns)
        return
    for first, last in _row_blocks(channels * window.taps, (out_height, out_width)):
        columns = np.empty((channels * window.taps, last - first, out_width), precision)
        for item in range(items):
            im2col(image[item], window, first, columns)
            block = targets[item, ..., first * out_width : last * out_width]
            block[...] = product(matrix, columns.reshape(groups, matrix.shape[2], -1))


def convolve_adjoint(relevance: Blob, weight: Blob, groups: int, window: Window, out: Blob) -> None:
    """Adjoint of `convolve`: what every input position gets when outputs hand back along the weights.

    Parameters
    ----------
    relevance
        (N, M, H_out, W_out).
    weight
        (M, C/groups, k_h, k_w), ordered group by group.
    groups
        Number of groups.
    window
        Window geometry.
    out
        (N, C, H, W), overwritten.
    """
    items = relevance.shape[0]
    out_height, out_width = relevance.shape[2:]
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
    transposed = matrix.transpose(0, 2, 1)
    per_group = relevance.reshape(items, groups, matrix.shape[1], -1)
    if window.is_pointwise:
        out.reshape(items, groups, matrix.shape[2], -1)[...] = product(transposed, per_group)
        return
    out.fill(0)
    patch = groups * matrix.shape[2]
    for first, last in _row_blocks(patch, (out_height, out_width)):
        block = slice(first * out_width, last * out_width)
        for item in range(items):
            columns = product(transposed, per_group[item, ..., block])
            col2im(columns.reshape(patch, last - first, out_width), window, first, out[item])
