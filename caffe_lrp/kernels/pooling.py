"""Max and average pooling with Caffe's geometry: forward, gradient, and relevance.

Windows start at ``row·stride − pad`` and are clipped to the image; each contains at least one pixel of it.
Averages are divided by given areas (manual: toolbox, "Pooling"). Blobs are (N, H, W, C), so that loops run
over the channels of a pixel.
"""

import numpy as np

from ._kernel import helper, kernel
from ._windows import fetch_ahead, hand_back_to_first, largest_of_window
from .blobs import Blob, Blob2, Blob4
from .elementwise import ZERO_SUM
from .window import Window


@helper
def span(position: int, kernel_size: int, stride: int, pad: int, size: int) -> tuple[int, int]:
    """The range of a window along one axis of the image: first pixel, and one past the last."""
    first = position * stride - pad
    return max(first, 0), min(first + kernel_size, size)


@helper
def _fetch_below(
    image: int, height: int, width: int, pixel_step: int, window: Window, row: int, column: int, size: int
) -> None:
    """Prefetch the first pixels of the window below the one at ``row``, ``column``.

    The CPU does not do so on its own: the window below comes too much later and has few pixels in a row.

    Parameters
    ----------
    image
        Address of an image (H, W, C).
    height, width, pixel_step
        H, W, and the distance between two pixels in bytes.
    window
        Window geometry.
    row, column
        Position of the window.
    size
        How many bytes of every pixel are needed.
    """
    top = row * window.stride_h - window.pad_h + window.kernel_h
    right = column * window.stride_w - window.pad_w + window.kernel_w
    for y in range(max(top, 0), min(top + window.stride_h, height)):
        for i in range(max(right - window.stride_w, 0), min(right, width)):
            fetch_ahead(image + (y * width + i) * pixel_step, size)


@kernel
def max_pool(first: int, last: int, x: Blob4, window: Window, out: Blob4) -> None:
    """Largest element of every window.

    Parameters
    ----------
    first, last
        Range of rows of the output, counted over all items.
    x
        (N, H, W, C).
    window
        Window geometry.
    out
        (N, H_out, W_out, C), those rows overwritten.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    pixel_step = 4 * channels
    for line in range(first, last):
        item, row = line // out.shape[1], line % out.shape[1]
        image, target = x[item].ctypes.data, out[item, row].ctypes.data
        for column in range(out.shape[2]):
            _fetch_below(image, height, width, pixel_step, window, row, column, pixel_step)
            largest_of_window(
                image, row * window.stride_h - window.pad_h, column * window.stride_w - window.pad_w,
                window.kernel_h, window.kernel_w, height, width, pixel_step, target + column * pixel_step,
                channels,
            )  # fmt: skip


@helper
def _clear(first: int, last: int, rows: Blob) -> None:
    """Set channels ``first`` to ``last`` of ``rows`` (H, W, C) to zero."""
    for y in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            rows[y, column, first:last] = 0


@kernel
def max_pool_route(first: int, last: int, x: Blob4, relevance: Blob4, window: Window, out: Blob4) -> None:
    """Give all the relevance of a window to its first maximum in scan order.

    Replicated edges and flat image regions cause exact ties everywhere, so the activations of equal patches
    must be bitwise equal (see `convolution`).

    Parameters
    ----------
    first, last
        Range of channels.
    x
        (N, H, W, C), the input of the forward pass.
    relevance
        (N, H_out, W_out, C), relevance or gradient at the outputs.
    window
        Window geometry.
    out
        (N, H, W, C), those channels overwritten.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    rows, columns = relevance.shape[1], relevance.shape[2]
    pixel_step, size = 4 * channels, 4 * (last - first)
    for item in range(relevance.shape[0]):
        image, target = x[item].ctypes.data + 4 * first, out[item].ctypes.data + 4 * first
        received = relevance[item].ctypes.data + 4 * first
        cleared = 0
        for row in range(rows):
            top = row * window.stride_h - window.pad_h
            # Row by row, so that zeros are still in the cache when numbers are added to them.
            bottom = min(top + window.kernel_h, height)
            _clear(first, last, out[item, cleared:bottom])
            cleared = max(cleared, bottom)
            for column in range(columns):
                _fetch_below(image, height, width, pixel_step, window, row, column, size)
                _fetch_below(target, height, width, pixel_step, window, row, column, size)
                if row + 1 < rows:
                    fetch_ahead(received + ((row + 1) * columns + column) * pixel_step, size)
                hand_back_to_first(
                    image, target, top, column * window.stride_w - window.pad_w, window.kernel_h,
                    window.kernel_w, height, width, pixel_step,
                    received + (row * columns + column) * pixel_step, last - first,
                )  # fmt: skip
        _clear(first, last, out[item, cleared:])


@kernel
def average_pool(first: int, last: int, x: Blob4, window: Window, areas: Blob2, out: Blob4) -> None:
    """Mean of every window; as `max_pool`. Sums are divided by ``areas`` (H_out, W_out)."""
    height, width = x.shape[1], x.shape[2]
    for number in range(first, last):
        item, row = number // out.shape[1], number % out.shape[1]
        top, bottom = span(row, window.kernel_h, window.stride_h, window.pad_h, height)
        for column in range(out.shape[2]):
            left, right = span(column, window.kernel_w, window.stride_w, window.pad_w, width)
            total = out[item, row, column]
            total[:] = 0
            for y in range(top, bottom):
                for i in range(left, right):
                    line = x[item, y, i]
                    for channel in range(total.size):
                        total[channel] += line[channel]
            area = areas[row, column]
            for channel in range(total.size):
                total[channel] /= area


@kernel
def average_pool_gradient(gradient: Blob4, window: Window, areas: Blob2, out: Blob4) -> None:
    """Gradient of `average_pool`: ``gradient`` (N, H_out, W_out, C), ``out`` (N, H, W, C) overwritten."""
    height, width = out.shape[1], out.shape[2]
    out[:] = 0
    for item in range(gradient.shape[0]):
        for row in range(gradient.shape[1]):
            top, bottom = span(row, window.kernel_h, window.stride_h, window.pad_h, height)
            for column in range(gradient.shape[2]):
                left, right = span(column, window.kernel_w, window.stride_w, window.pad_w, width)
                received = gradient[item, row, column]
                area = areas[row, column]
                for y in range(top, bottom):
                    for i in range(left, right):
                        line = out[item, y, i]
                        for channel in range(line.size):
                            line[channel] += received[channel] / area


@helper
def _shares(received: Blob, add_activations: bool, count: int, scales: Blob, shifts: Blob) -> None:
    """Turn the sums of a window, in ``scales``, into the shares ``x·scale + shift`` of its elements."""
    for channel in range(scales.size):
        total = scales[channel]
        zero = abs(total) < ZERO_SUM
        share = received[channel] / (np.float32(1) if zero else total)
        instead = np.float32(1) if add_activations else np.float32(0)
        scales[channel] = instead if zero else share
        equal = np.float32(0) if add_activations else received[channel] / np.float32(count)
        shifts[channel] = equal if zero else np.float32(0)


@kernel
def average_pool_redistribute(
    x: Blob4, relevance: Blob4, window: Window, add_activations: bool, out: Blob4
) -> None:
    """Share relevance within every window in proportion to the activations.

    Parameters
    ----------
    x
        (N, H, W, C), the input of the forward pass.
    relevance
        (N, H_out, W_out, C).
    window
        Window geometry.
    add_activations
        What happens where ``|Σx| < 1e-6``: True adds the activations themselves to the result (Q7),
        False shares the relevance equally.
    out
        (N, H, W, C), overwritten.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    scales, shifts = np.empty(channels, np.float32), np.empty(channels, np.float32)
    out[:] = 0
    for item in range(relevance.shape[0]):
        for row in range(relevance.shape[1]):
            top, bottom = span(row, window.kernel_h, window.stride_h, window.pad_h, height)
            for column in range(relevance.shape[2]):
                left, right = span(column, window.kernel_w, window.stride_w, window.pad_w, width)
                scales[:] = 0
                for y in range(top, bottom):
                    for i in range(left, right):
                        line = x[item, y, i]
                        for channel in range(channels):
                            scales[channel] += line[channel]
                count = (bottom - top) * (right - left)
                _shares(relevance[item, row, column], add_activations, count, scales, shifts)
                for y in range(top, bottom):
                    for i in range(left, right):
                        line, target = x[item, y, i], out[item, y, i]
                        for channel in range(channels):
                            target[channel] += line[channel] * scales[channel] + shifts[channel]
