"""Max and average pooling with Caffe's geometry: forward, gradient, and relevance.

Windows start at ``row·stride − pad`` and are clipped to the image; averages divide by the window
clipped to the *padded* image (spec/reference.md §6).
"""

import numpy as np

from ._jit import kernel
from .gemm import Blob
from .window import Window

#: A window whose activations sum to less than this has no shares to speak of (Q7).
ZERO_SUM = 1e-6


@kernel
def span(position: int, kernel_size: int, stride: int, pad: int, size: int) -> tuple[int, int, int]:
    """Where one axis of a window lies: first and last-plus-one pixel, and its length in the padded image."""
    first = position * stride - pad
    last = min(first + kernel_size, size + pad)
    return max(first, 0), min(last, size), last - first


@kernel
def max_pool(x: Blob, window: Window, out: Blob) -> None:
    """Largest element of every window: ``x`` (N, C, H, W), ``out`` (N, C, H_out, W_out)."""
    height, width = x.shape[2], x.shape[3]
    for item in range(out.shape[0]):
        for channel in range(out.shape[1]):
            for row in range(out.shape[2]):
                top, bottom, _ = span(row, window.kernel_h, window.stride_h, window.pad_h, height)
                for column in range(out.shape[3]):
                    left, right, _ = span(column, window.kernel_w, window.stride_w, window.pad_w, width)
                    largest = np.float32(-np.inf)
                    for y in range(top, bottom):
                        for i in range(left, right):
                            largest = max(largest, x[item, channel, y, i])
                    out[item, channel, row, column] = largest


@kernel
def max_pool_route(x: Blob, relevance: Blob, window: Window, out: Blob) -> None:
    """Hand everything a window got to its first maximum in scan order.

    Replicated edges and flat image regions make exact ties everywhere: the activations of equal
    patches must be equal bit for bit (see `convolution.convolve`).

    Parameters
    ----------
    x
        (N, C, H, W), the input of the forward pass.
    relevance
        (N, C, H_out, W_out), relevance or gradient at the outputs.
    window
        Window geometry.
    out
        (N, C, H, W), overwritten.
    """
    height, width = x.shape[2], x.shape[3]
    out[:] = 0
    for item in range(relevance.shape[0]):
        for channel in range(relevance.shape[1]):
            plane = x[item, channel]
            target = out[item, channel]
            for row in range(relevance.shape[2]):
                top, bottom, _ = span(row, window.kernel_h, window.stride_h, window.pad_h, height)
                for column in range(relevance.shape[3]):
                    left, right, _ = span(column, window.kernel_w, window.stride_w, window.pad_w, width)
                    best_y, best_i = top, left
                    for y in range(top, bottom):
                        for i in range(left, right):
                            if plane[y, i] > plane[best_y, best_i]:
                                best_y, best_i = y, i
                    target[best_y, best_i] += relevance[item, channel, row, column]


@kernel
def average_pool(x: Blob, window: Window, out: Blob) -> None:
    """Mean of every window: ``x`` (N, C, H, W), ``out`` (N, C, H_out, W_out)."""
    height, width = x.shape[2], x.shape[3]
    for item in range(out.shape[0]):
        for channel in range(out.shape[1]):
            for row in range(out.shape[2]):
                top, bottom, rows = span(row, window.kernel_h, window.stride_h, window.pad_h, height)
                for column in range(out.shape[3]):
                    left, right, columns = span(column, window.kernel_w, window.stride_w, window.pad_w, width)
                    total = np.float32(0)
                    for y in range(top, bottom):
                        for i in range(left, right):
                            total += x[item, channel, y, i]
                    out[item, channel, row, column] = total / (rows * columns)


@kernel
def average_pool_gradient(gradient: Blob, window: Window, out: Blob) -> None:
    """Gradient of `average_pool`: ``gradient`` (N, C, H_out, W_out), ``out`` (N, C, H, W) overwritten."""
    height, width = out.shape[2], out.shape[3]
    out[:] = 0
    for item in range(gradient.shape[0]):
        for channel in range(gradient.shape[1]):
            for row in range(gradient.shape[2]):
                top, bottom, rows = span(row, window.kernel_h, window.stride_h, window.pad_h, height)
                for column in range(gradient.shape[3]):
                    left, right, columns = span(column, window.kernel_w, window.stride_w, window.pad_w, width)
                    share = gradient[item, channel, row, column] / (rows * columns)
                    for y in range(top, bottom):
                        for i in range(left, right):
                            out[item, channel, y, i] += share


@kernel
def average_pool_redistribute(
    x: Blob, relevance: Blob, window: Window, add_activations: bool, out: Blob
) -> None:
    """Share relevance within every window in proportion to the activations.

    Parameters
    ----------
    x
        (N, C, H, W), the input of the forward pass.
    relevance
        (N, C, H_out, W_out).
    window
        Window geometry.
    add_activations
        What happens where ``|Σx| < 1e-6``: True adds the activations themselves to the result (Q7),
        False shares the relevance equally.
    out
        (N, C, H, W), overwritten.
    """
    height, width = x.shape[2], x.shape[3]
    out[:] = 0
    for item in range(relevance.shape[0]):
        for channel in range(relevance.shape[1]):
            plane = x[item, channel]
            target = out[item, channel]
            for row in range(relevance.shape[2]):
                top, bottom, _ = span(row, window.kernel_h, window.stride_h, window.pad_h, height)
                for column in range(relevance.shape[3]):
                    left, right, _ = span(column, window.kernel_w, window.stride_w, window.pad_w, width)
                    total = np.float32(0)
                    for y in range(top, bottom):
                        for i in range(left, right):
                            total += plane[y, i]
                    received = relevance[item, channel, row, column]
                    if abs(total) >= ZERO_SUM:
                        scale, shift = received / total, np.float32(0)
                    elif add_activations:
                        scale, shift = np.float32(1), np.float32(0)
                    else:
                        scale = np.float32(0)
                        shift = received / np.float32((bottom - top) * (right - left))
                    for y in range(top, bottom):
                        for i in range(left, right):
                            target[y, i] += plane[y, i] * scale + shift
