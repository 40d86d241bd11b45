"""Local response normalization: forward, gradient, and the reference's Taylor rule.

Blobs are lines (P, C), one per pixel.
"""

import numpy as np

from ._kernel import helper, kernel
from ._neighbours import power_of_three_quarters, scale_of_line, sums_of_others
from .blobs import Blob, Blob2


@helper
def negative_power(base: Blob, exponent: float, out: Blob) -> None:
    """``base^(−exponent)``, element by element; (C,). AlexNet's exponent 3/4 is fast."""
    if exponent == 0.75:
        power_of_three_quarters(base.ctypes.data, out.ctypes.data, base.size)
    else:
        power = np.float32(-exponent)
        for i in range(base.size):
            out[i] = base[i] ** power


@helper
def _scale_line(x: Blob, line: int, reach: int, coefficients: Blob, padded: Blob, out: Blob) -> None:
    """``s_i = k + α/n Σ x_j²`` of one line of ``x`` (P, C).

    Parameters
    ----------
    x, line
        Activations, and the index of the line.
    reach
        How many channels a sum spans before and after its own.
    coefficients
        α/n and k.
    padded
        (C + 2·reach,), with zeros at both ends; overwritten in between.
    out
        (C,), overwritten.
    """
    scale_of_line(
        x.ctypes.data + line * x.strides[0], reach, coefficients.ctypes.data, padded.ctypes.data,
        out.ctypes.data, out.size,
    )  # fmt: skip


@kernel
def lrn_apply(x: Blob2, scale: Blob2, beta: float, out: Blob2) -> None:
    """Normalized activations ``x · s^(−β)``; all blobs (P, C)."""
    for line in range(x.shape[0]):
        source, target = x[line], out[line]
        negative_power(scale[line], beta, target)
        for i in range(source.size):
            target[i] *= source[i]


@kernel
def lrn_forward(x: Blob2, local_size: int, alpha: float, beta: float, k: float, out: Blob2) -> None:
    """Normalization across channels, ``x_i (k + α/n Σ x_j²)^(−β)``.

    Parameters
    ----------
    x
        (P, C).
    local_size
        n, odd: number of neighbouring channels a sum spans.
    alpha, beta, k
        Coefficients of the layer.
    out
        (P, C), overwritten.
    """
    channels, reach = x.shape[1], local_size // 2
    coefficients = np.array((np.float32(alpha / local_size), np.float32(k)))
    padded = np.zeros(channels + local_size - 1, np.float32)
    scale = np.empty(channels, np.float32)
    for line in range(x.shape[0]):
        _scale_line(x, line, reach, coefficients, padded, scale)
        negative_power(scale, beta, scale)
        for i in range(channels):
            out[line, i] = scale[i] * x[line, i]


@helper
def _pull_line(x: Blob, received: Blob, line: int, scale: Blob, power: Blob, out: Blob) -> None:
    """Write ``s_j^(−β−1) x_j R_j`` of one line of ``x`` and ``received`` (P, C) to ``out`` (C,)."""
    for i in range(out.size):
        out[i] = power[i] / scale[i] * x[line, i] * received[line, i]


@kernel
def lrn_gradient(
    x: Blob2, gradient: Blob2, local_size: int, alpha: float, beta: float, k: float, out: Blob2
) -> None:
    """Gradient of the normalization across channels; all blobs (P, C).

    ``g_i s_i^(−β) − (2αβ/n) x_i Σ_j g_j x_j s_j^(−β−1)`` over the channels j that see i.
    """
    factor = np.float32(2 * alpha * beta / local_size)
    channels, reach = x.shape[1], local_size // 2
    coefficients = np.array((np.float32(alpha / local_size), np.float32(k)))
    padded = np.zeros(channels + local_size - 1, np.float32)
    pull = padded[reach : reach + channels]
    scale, power = np.empty(channels, np.float32), np.empty(channels, np.float32)
    total = np.empty(channels, np.float32)
    for line in range(x.shape[0]):
        _scale_line(x, line, reach, coefficients, padded, scale)
        negative_power(scale, beta, power)
        _pull_line(x, gradient, line, scale, power, pull)
        sums_of_others(padded.ctypes.data, reach, total.ctypes.data, channels)
        for i in range(channels):
            out[line, i] = gradient[line, i] * power[i] - factor * x[line, i] * (total[i] + pull[i])


@kernel
def lrn_taylor(
    x: Blob2, relevance: Blob2, local_size: int, alpha: float, beta: float, k: float, out: Blob2
) -> None:
    """First-order Taylor rule of the reference (Q8); it does not conserve. All blobs (P, C).

    ``r_i = x_i (k + α/n x_i²)^(−β) R_i − (2αβ/n) x_i² Σ_{j≠i} s_j^(−β−1) x_j R_j`` (manual: toolbox, "LRN").
    """
    factor = np.float32(2 * alpha * beta / local_size)
    channels, reach = x.shape[1], local_size // 2
    coefficients = np.array((np.float32(alpha / local_size), np.float32(k)))
    padded = np.zeros(channels + local_size - 1, np.float32)
    pull = padded[reach : reach + channels]
    scale, power = np.empty(channels, np.float32), np.empty(channels, np.float32)
    total = np.empty(channels, np.float32)
    for line in range(x.shape[0]):
        _scale_line(x, line, reach, coefficients, padded, scale)
        negative_power(scale, beta, power)
        _pull_line(x, relevance, line, scale, power, pull)
        sums_of_others(padded.ctypes.data, reach, total.ctypes.data, channels)
        for i in range(channels):
            scale[i] = coefficients[1] + coefficients[0] * (x[line, i] * x[line, i])
        negative_power(scale, beta, power)
        for i in range(channels):
            square = x[line, i] * x[line, i]
            out[line, i] = x[line, i] * power[i] * relevance[line, i] - factor * square * total[i]
