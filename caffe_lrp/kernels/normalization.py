"""Local response normalisation: forward, gradient, and the reference's Taylor rule.

Blobs are lines (P, C), the channels of a pixel each.
"""

import numpy as np

from ._jit import kernel
from .gemm import Blob


@kernel
def negative_power(base: Blob, exponent: float, out: Blob) -> None:
    """``base^(−exponent)``, element by element; (C,). AlexNet's exponent 3/4 is two roots, and fast."""
    if exponent == 0.75:
        for i in range(base.size):
            root = np.sqrt(base[i])
            out[i] = np.float32(1) / (root * np.sqrt(root))
    else:
        power = np.float32(-exponent)
        for i in range(base.size):
            out[i] = base[i] ** power


@kernel
def _window_sums(padded: Blob, local_size: int, out: Blob) -> None:
    """Sums over windows of ``local_size``; ``padded`` (C + local_size − 1,), ``out`` (C,)."""
    out[:] = 0
    for shift in range(local_size):
        part = padded[shift : shift + out.size]
        for i in range(out.size):
            out[i] += part[i]


@kernel
def _scale_line(x: Blob, local_size: int, alpha: float, k: float, padded: Blob, out: Blob) -> None:
    """``s_i = k + α/n Σ x_j²`` of one line; ``padded`` has zeros at both ends."""
    reach = (local_size - 1) // 2
    factor, constant = np.float32(alpha / local_size), np.float32(k)
    squares = padded[reach : reach + x.size]
    for i in range(x.size):
        squares[i] = x[i] * x[i]
    _window_sums(padded, local_size, out)
    for i in range(x.size):
        out[i] = constant + factor * out[i]


@kernel
def lrn_apply(x: Blob, scale: Blob, beta: float, out: Blob) -> None:
    """Normalised activations ``x · s^(−β)``; all blobs (P, C)."""
    for line in range(x.shape[0]):
        source, target = x[line], out[line]
        negative_power(scale[line], beta, target)
        for i in range(source.size):
            target[i] *= source[i]


@kernel
def lrn_forward(x: Blob, local_size: int, alpha: float, beta: float, k: float, out: Blob) -> None:
    """Normalisation across channels, ``x_i (k + α/n Σ x_j²)^(−β)``.

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
    padded = np.zeros(x.shape[1] + local_size - 1, np.float32)
    scale = np.empty(x.shape[1], np.float32)
    for line in range(x.shape[0]):
        source, target = x[line], out[line]
        _scale_line(source, local_size, alpha, k, padded, scale)
        negative_power(scale, beta, target)
        for i in range(source.size):
            target[i] *= source[i]


@kernel
def lrn_gradient(
    x: Blob, gradient: Blob, local_size: int, alpha: float, beta: float, k: float, out: Blob
) -> None:
    """Gradient of the normalisation across channels; all blobs (P, C).

    ``g_i s_i^(−β) − (2αβ/n) x_i Σ_j g_j x_j s_j^(−β−1)`` over the channels j that see i.
    """
    reach = (local_size - 1) // 2
    factor = np.float32(2 * alpha * beta / local_size)
    channels = x.shape[1]
    padded = np.zeros(channels + local_size - 1, np.float32)
    scale, power = np.empty(channels, np.float32), np.empty(channels, np.float32)
    total = np.empty(channels, np.float32)
    for line in range(x.shape[0]):
        source, received, target = x[line], gradient[line], out[line]
        _scale_line(source, local_size, alpha, k, padded, scale)
        negative_power(scale, beta, power)
        pull = padded[reach : reach + channels]
        for i in range(channels):
            pull[i] = power[i] / scale[i] * source[i] * received[i]
        _window_sums(padded, local_size, total)
        for i in range(channels):
            target[i] = received[i] * power[i] - factor * source[i] * total[i]


@kernel
def lrn_taylor(
    x: Blob, relevance: Blob, local_size: int, alpha: float, beta: float, k: float, out: Blob
) -> None:
    """First-order Taylor rule of the reference (Q8); it does not conserve. All blobs (P, C).

    ``r_i = x_i (k + α/n x_i²)^(−β) R_i − (2αβ/n) x_i² Σ_{j≠i} s_j^(−β−1) x_j R_j`` (spec/reference.md §6).
    """
    reach = (local_size - 1) // 2
    share, constant = np.float32(alpha / local_size), np.float32(k)
    factor = np.float32(2 * alpha * beta / local_size)
    channels = x.shape[1]
    padded = np.zeros(channels + local_size - 1, np.float32)
    scale, power = np.empty(channels, np.float32), np.empty(channels, np.float32)
    total = np.empty(channels, np.float32)
    for line in range(x.shape[0]):
        source, received, target = x[line], relevance[line], out[line]
        _scale_line(source, local_size, alpha, k, padded, scale)
        negative_power(scale, beta, power)
        pull = padded[reach : reach + channels]
        for i in range(channels):
            pull[i] = power[i] / scale[i] * source[i] * received[i]
        total[:] = 0
        for shift in range(local_size):
            if shift != reach:
                part = padded[shift : shift + channels]
                for i in range(channels):
                    total[i] += part[i]
        for i in range(channels):
            scale[i] = constant + share * (source[i] * source[i])
        negative_power(scale, beta, power)
        for i in range(channels):
            target[i] = source[i] * power[i] * received[i] - factor * (source[i] * source[i]) * total[i]
