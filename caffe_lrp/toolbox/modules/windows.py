"""Windows of maps (N, H, W, D), and sums of windows at each position of a map."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from caffe_lrp.errors import UsageError

from .module import Array

Pair = tuple[int, int]


def windows_of(maps: Array, size: Pair, stride: Pair) -> Array:
    """A view (N, H', W', h, w, D) of all windows that lie in maps (N, H, W, D).

    Raises
    ------
    UsageError
        It is not a batch of maps, or they are smaller than a window.
    """
    if maps.ndim != 4:
        raise UsageError(f"an input of shape {maps.shape} is not a batch of maps (N, H, W, D); reshape it")
    if maps.shape[1] < size[0] or maps.shape[2] < size[1]:
        raise UsageError(f"maps of {maps.shape[1]}×{maps.shape[2]} are smaller than a window of {size}")
    found = sliding_window_view(maps, size, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return found.transpose(0, 1, 2, 4, 5, 3)


def sums_of_windows(windows: Array, shape: tuple[int, ...], stride: Pair) -> Array:
    """Maps of ``shape`` (N, H, W, D): at each position the sum of the windows (N, H', W', h, w, D) there."""
    _, rows, columns, height, width, _ = windows.shape
    total = np.zeros(shape, windows.dtype)
    for row in range(height):
        down = slice(row, row + stride[0] * (rows - 1) + 1, stride[0])
        for column in range(width):
            across = slice(column, column + stride[1] * (columns - 1) + 1, stride[1])
            total[:, down, across] += windows[:, :, :, row, column]
    return total
