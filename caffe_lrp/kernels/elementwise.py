"""Element-wise kernels of neuron layers and of the relevance rules.

All blobs of a call have the same shape; for (P,), callers pass flattened views.
"""

import math

import numpy as np

from ._kernel import kernel
from .blobs import Blob1, Blob3

#: If a sum is smaller than this, its terms have no meaningful shares.
ZERO_SUM = 1e-6

_ROOT_OF_HALF = math.sqrt(0.5)
#: The density of the standard normal distribution at 0; beyond `_FAR` it is 0 in double precision.
_PEAK = 1 / math.sqrt(2 * math.pi)
_FAR = 40.0


@kernel
def leaky_relu(x: Blob1, slope: float, out: Blob1) -> None:
    """``max(x, 0) + slope·min(x, 0)``; (P,)."""
    for i in range(x.size):
        value = x[i]
        out[i] = value if value > 0 else np.float32(slope) * value


@kernel
def leaky_relu_gradient(x: Blob1, gradient: Blob1, slope: float, out: Blob1) -> None:
    """Gradient where ``x > 0``, ``slope`` times it elsewhere; (P,)."""
    for i in range(x.size):
        out[i] = gradient[i] if x[i] > 0 else np.float32(slope) * gradient[i]


@kernel
def positive_part(x: Blob1, out: Blob1) -> None:
    """``max(x, 0)``; (P,)."""
    for i in range(x.size):
        out[i] = max(x[i], np.float32(0))


@kernel
def positive_part_where_positive(x: Blob1, relevance: Blob1, out: Blob1) -> None:
    """Positive relevance where ``x > 0``, else 0; (P,)."""
    for i in range(x.size):
        out[i] = max(relevance[i], np.float32(0)) if x[i] > 0 else np.float32(0)


@kernel
def softplus_gradient(x: Blob1, gradient: Blob1, sharpness: float, out: Blob1) -> None:
    """Gradient of ``log(1 + e^βx) / β``, whose slope is the logistic function of βx; (P,)."""
    half = np.float32(0.5)
    for i in range(x.size):
        slope = half * np.tanh(half * np.float32(sharpness) * x[i]) + half
        out[i] = gradient[i] * slope


@kernel
def sigmoid(x: Blob1, out: Blob1) -> None:
    """Logistic function ``1 / (1 + e^−x)``; (P,)."""
    for i in range(x.size):
        out[i] = np.float32(0.5) * np.tanh(np.float32(0.5) * x[i]) + np.float32(0.5)


@kernel
def sigmoid_gradient(y: Blob1, gradient: Blob1, out: Blob1) -> None:
    """Gradient from the output ``y`` of the logistic function; (P,)."""
    for i in range(y.size):
        out[i] = gradient[i] * y[i] * (np.float32(1) - y[i])


@kernel
def tanh(x: Blob1, out: Blob1) -> None:
    """Hyperbolic tangent; (P,)."""
    for i in range(x.size):
        out[i] = np.tanh(x[i])


@kernel
def tanh_gradient(y: Blob1, gradient: Blob1, out: Blob1) -> None:
    """Gradient from the output ``y`` of the hyperbolic tangent; (P,)."""
    for i in range(y.size):
        out[i] = gradient[i] * (np.float32(1) - y[i] * y[i])


@kernel
def gelu(x: Blob1, coefficient: float, out: Blob1) -> None:
    """``c·x·Φ(x)``, where Φ is the distribution function of the standard normal distribution; (P,)."""
    for i in range(x.size):
        value = np.float64(x[i])
        share = 0.5 * math.erfc(-_ROOT_OF_HALF * value)
        out[i] = np.float32(coefficient * value * share) if share != 0 else np.float32(0)


@kernel
def gelu_gradient(x: Blob1, gradient: Blob1, coefficient: float, out: Blob1) -> None:
    """Gradient of `gelu`: times ``c·(Φ(x) + x·φ(x))``; (P,)."""
    for i in range(x.size):
        value = np.float64(x[i])
        slope = 0.5 * math.erfc(-_ROOT_OF_HALF * value)
        if abs(value) < _FAR:
            slope += value * _PEAK * math.exp(-0.5 * value * value)
        out[i] = gradient[i] * np.float32(coefficient * slope)


@kernel
def absolute(x: Blob1, out: Blob1) -> None:
    """``|x|``; (P,)."""
    for i in range(x.size):
        out[i] = abs(x[i])


@kernel
def absolute_gradient(x: Blob1, gradient: Blob1, out: Blob1) -> None:
    """Gradient times the sign of ``x``, 0 at 0; (P,)."""
    for i in range(x.size):
        out[i] = gradient[i] * np.sign(x[i])


@kernel
def softmax(x: Blob3, out: Blob3) -> None:
    """Softmax over the middle axis; (A, C, B)."""
    for outer in range(x.shape[0]):
        for inner in range(x.shape[2]):
            largest = np.float32(-np.inf)
            for channel in range(x.shape[1]):
                largest = max(largest, x[outer, channel, inner])
            total = np.float32(0)
            for channel in range(x.shape[1]):
                value = np.exp(x[outer, channel, inner] - largest)
                out[outer, channel, inner] = value
                total += value
            for channel in range(x.shape[1]):
                out[outer, channel, inner] /= total


@kernel
def softmax_gradient(y: Blob3, gradient: Blob3, out: Blob3) -> None:
    """Gradient from the output ``y`` of the softmax over the middle axis; (A, C, B)."""
    for outer in range(y.shape[0]):
        for inner in range(y.shape[2]):
            total = np.float32(0)
            for channel in range(y.shape[1]):
                total += gradient[outer, channel, inner] * y[outer, channel, inner]
            for channel in range(y.shape[1]):
                out[outer, channel, inner] = y[outer, channel, inner] * (
                    gradient[outer, channel, inner] - total
                )


@kernel
def share_of_contribution(
    contribution: Blob1, total: Blob1, relevance: Blob1, count: int, out: Blob1
) -> None:
    """``R c / z``, the relevance of a contribution ``c`` to ``z``; R / count where z is nearly 0; (P,)."""
    for i in range(total.size):
        is_zero = abs(total[i]) < np.float32(ZERO_SUM)
        share = contribution[i] / (np.float32(1) if is_zero else total[i])
        out[i] = relevance[i] * (np.float32(1) / np.float32(count) if is_zero else share)


@kernel
def channel_norm(gradient: Blob3, out: Blob3) -> None:
    """L2 norm over channels, written to every channel; both (N, C, P)."""
    for item in range(gradient.shape[0]):
        for position in range(gradient.shape[2]):
            total = np.float32(0)
            for channel in range(gradient.shape[1]):
                total += gradient[item, channel, position] ** 2
            norm = np.sqrt(total)
            for channel in range(gradient.shape[1]):
                out[item, channel, position] = norm
