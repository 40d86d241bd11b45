"""Local response normalisation: forward, gradient, and the reference's Taylor rule."""

import numpy as np

from ._jit import kernel
from .gemm import Blob


@kernel
def lrn_scale(x: Blob, local_size: int, alpha: float, k: float, out: Blob) -> None:
    """Sums of squares over neighbouring channels, ``s_i = k + α/n Σ x_j²``.

    Parameters
    ----------
    x
        (N, C, P).
    local_size
        n, odd: number of channels a sum spans.
    alpha, k
        Coefficients of the layer.
    out
        (N, C, P), overwritten.
    """
    reach = (local_size - 1) // 2
    factor = np.float32(alpha / local_size)
    channels = x.shape[1]
    for item in range(x.shape[0]):
        for channel in range(channels):
            target = out[item, channel]
            target[:] = 0
            for other in range(max(0, channel - reach), min(channels, channel + reach + 1)):
                for position in range(x.shape[2]):
                    value = x[item, other, position]
                    target[position] += value * value
            for position in range(x.shape[2]):
                target[position] = np.float32(k) + factor * target[position]


@kernel
def lrn_apply(x: Blob, scale: Blob, beta: float, out: Blob) -> None:
    """Normalised activations ``x · s^(−β)``; all blobs (N, C, P)."""
    exponent = np.float32(-beta)
    for item in range(x.shape[0]):
        for channel in range(x.shape[1]):
            for position in range(x.shape[2]):
                out[item, channel, position] = (
                    x[item, channel, position] * scale[item, channel, position] ** exponent
                )


@kernel
def lrn_gradient(
    x: Blob, scale: Blob, gradient: Blob, local_size: int, alpha: float, beta: float, out: Blob
) -> None:
    """Gradient of the normalisation across channels; all blobs (N, C, P).

    ``g_i s_i^(−β) − (2αβ/n) x_i Σ_j g_j x_j s_j^(−β−1)`` over the channels j that see i.
    """
    reach = (local_size - 1) // 2
    exponent = np.float32(-beta)
    factor = np.float32(2 * alpha * beta / local_size)
    channels = x.shape[1]
    for item in range(x.shape[0]):
        for channel in range(channels):
            for position in range(x.shape[2]):
                total = np.float32(0)
                for other in range(max(0, channel - reach), min(channels, channel + reach + 1)):
                    total += (
                        gradient[item, other, position]
                        * x[item, other, position]
                        * scale[item, other, position] ** (exponent - np.float32(1))
                    )
                out[item, channel, position] = (
                    gradient[item, channel, position] * scale[item, channel, position] ** exponent
                    - factor * x[item, channel, position] * total
                )


@kernel
def lrn_taylor(
    x: Blob, scale: Blob, relevance: Blob, local_size: int, alpha: float, beta: float, k: float, out: Blob
) -> None:
    """First-order Taylor rule of the reference (Q8); it does not conserve. All blobs (N, C, P).

    ``r_i = x_i (k + α/n x_i²)^(−β) R_i − (2αβ/n) x_i² Σ_{j≠i} s_j^(−β−1) x_j R_j`` (spec/reference.md §6).
    """
    reach = (local_size - 1) // 2
    exponent = np.float32(-beta)
    share = np.float32(alpha / local_size)
    factor = np.float32(2 * alpha * beta / local_size)
    channels, positions = x.shape[1], x.shape[2]
    pull = np.empty((channels, positions), np.float32)
    for item in range(x.shape[0]):
        for channel in range(channels):
            for position in range(positions):
                pull[channel, position] = (
                    scale[item, channel, position] ** (exponent - np.float32(1))
                    * x[item, channel, position]
                    * relevance[item, channel, position]
                )
        for channel in range(channels):
            for position in range(positions):
                total = np.float32(0)
                for other in range(max(0, channel - reach), min(channels, channel + reach + 1)):
                    if other != channel:
                        total += pull[other, position]
                value = x[item, channel, position]
                square = value * value
                out[item, channel, position] = (
                    value * (np.float32(k) + share * square) ** exponent * relevance[item, channel, position]
                    - factor * square * total
                )
