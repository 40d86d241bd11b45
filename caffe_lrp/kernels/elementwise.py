"""Element-wise kernels of neuron layers and of the relevance rules.

Blobs of one call have one shape; where a kernel says (P,), callers pass flattened views.
"""

import numpy as np

from ._jit import kernel
from .gemm import Blob


@kernel
def add_bias(blob: Blob, bias: Blob) -> None:
    """Add one bias per channel in place: ``blob`` (N, C, P), ``bias`` (C,)."""
    for item in range(blob.shape[0]):
        for channel in range(blob.shape[1]):
            for position in range(blob.shape[2]):
                blob[item, channel, position] += bias[channel]


@kernel
def leaky_relu(x: Blob, slope: float, out: Blob) -> None:
    """``max(x, 0) + slope·min(x, 0)``; (P,)."""
    for i in range(x.size):
        value = x[i]
        out[i] = value if value > 0 else np.float32(slope) * value


@kernel
def leaky_relu_gradient(x: Blob, gradient: Blob, slope: float, out: Blob) -> None:
    """Gradient where ``x > 0``, ``slope`` times it elsewhere; (P,)."""
    for i in range(x.size):
        out[i] = gradient[i] if x[i] > 0 else np.float32(slope) * gradient[i]


@kernel
def positive_part(x: Blob, out: Blob) -> None:
    """``max(x, 0)``; (P,)."""
    for i in range(x.size):
        out[i] = max(x[i], np.float32(0))


@kernel
def negative_part(x: Blob, out: Blob) -> None:
    """``min(x, 0)``; (P,)."""
    for i in range(x.size):
        out[i] = min(x[i], np.float32(0))


@kernel
def has_negative(x: Blob) -> bool:
    """Whether any element is below 0; (P,)."""
    for i in range(x.size):  # noqa: SIM110 - Numba compiles loops, not generators
        if x[i] < 0:
            return True
    return False


@kernel
def guided(x: Blob, relevance: Blob, out: Blob) -> None:
    """Positive relevance where ``x > 0``, else 0 (guided backpropagation); (P,)."""
    for i in range(x.size):
        out[i] = max(relevance[i], np.float32(0)) if x[i] > 0 else np.float32(0)


@kernel
def multiply(x: Blob, y: Blob, out: Blob) -> None:
    """``x·y``; (P,)."""
    for i in range(x.size):
        out[i] = x[i] * y[i]


@kernel
def sigmoid(x: Blob, out: Blob) -> None:
    """Logistic function ``1 / (1 + e^−x)``; (P,)."""
    for i in range(x.size):
        out[i] = np.float32(0.5) * np.tanh(np.float32(0.5) * x[i]) + np.float32(0.5)


@kernel
def sigmoid_gradient(y: Blob, gradient: Blob, out: Blob) -> None:
    """Gradient from the output ``y`` of the logistic function; (P,)."""
    for i in range(y.size):
        out[i] = gradient[i] * y[i] * (np.float32(1) - y[i])


@kernel
def tanh(x: Blob, out: Blob) -> None:
    """Hyperbolic tangent; (P,)."""
    for i in range(x.size):
        out[i] = np.tanh(x[i])


@kernel
def tanh_gradient(y: Blob, gradient: Blob, out: Blob) -> None:
    """Gradient from the output ``y`` of the hyperbolic tangent; (P,)."""
    for i in range(y.size):
        out[i] = gradient[i] * (np.float32(1) - y[i] * y[i])


@kernel
def absolute(x: Blob, out: Blob) -> None:
    """``|x|``; (P,)."""
    for i in range(x.size):
        out[i] = abs(x[i])


@kernel
def absolute_gradient(x: Blob, gradient: Blob, out: Blob) -> None:
    """Gradient times the sign of ``x``, 0 at 0; (P,)."""
    for i in range(x.size):
        out[i] = gradient[i] * np.sign(x[i])


@kernel
def softmax(x: Blob, out: Blob) -> None:
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
def softmax_gradient(y: Blob, gradient: Blob, out: Blob) -> None:
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
def epsilon_quotient(
    relevance: Blob, pre_activation: Blob, epsilon: float, undivided_at_zero: bool, out: Blob
) -> None:
    """``R / (z + ε·sign(z))`` element by element; (P,).

    Where ``z`` is 0, ``undivided_at_zero`` (Q4) leaves R as it is; otherwise sign(0) is +1, and 0/0
    is 0. Source: Bach et al. 2015, eq. 58.
    """
    stabiliser = np.float32(epsilon)
    for i in range(relevance.size):
        z = pre_activation[i]
        if z == 0 and undivided_at_zero:
            out[i] = relevance[i]
            continue
        denominator = z + stabiliser if z >= 0 else z - stabiliser
        out[i] = relevance[i] / denominator if denominator != 0 else np.float32(0)


@kernel
def alpha_beta_quotients(
    relevance: Blob, bias_positive: Blob, bias_negative: Blob, beta: float, sums: Blob
) -> None:
    """Turn αβ sums into quotients in place; α = 1 + β. Source: Bach et al. 2015, eq. 60.

    Parameters
    ----------
    relevance
        (N, G, O, P): relevance at the outputs, O outputs in each of G groups, P positions.
    bias_positive, bias_negative
        (G, O): positive and negative part of the bias to add to the sums.
    beta
        β ≥ 0.
    sums
        (N, G, 2, O, P): Σ(xw)⁺ and Σ(xw)⁻ without bias; becomes ``α R/p`` and ``−β R/n``, 0 where
        the sum is 0.
    """
    alpha = np.float32(1 + beta)
    minus_beta = np.float32(-beta)
    for item in range(relevance.shape[0]):
        for group in range(relevance.shape[1]):
            for output in range(relevance.shape[2]):
                add_positive = bias_positive[group, output]
                add_negative = bias_negative[group, output]
                positive = sums[item, group, 0, output]
                negative = sums[item, group, 1, output]
                received = relevance[item, group, output]
                for position in range(received.size):
                    p = positive[position] + add_positive
                    n = negative[position] + add_negative
                    r = received[position]
                    positive[position] = alpha * r / p if p != 0 else np.float32(0)
                    negative[position] = minus_beta * r / n if n != 0 else np.float32(0)


@kernel
def by_sign(x: Blob, if_positive: Blob, if_negative: Blob, out: Blob) -> None:
    """``x`` times one of two factors, chosen by its sign; (P,)."""
    for i in range(x.size):
        out[i] = x[i] * (if_positive[i] if x[i] > 0 else if_negative[i])


@kernel
def channel_norm(gradient: Blob, out: Blob) -> None:
    """L2 norm over channels, written to every channel; both (N, C, P)."""
    for item in range(gradient.shape[0]):
        for position in range(gradient.shape[2]):
            total = np.float32(0)
            for channel in range(gradient.shape[1]):
                total += gradient[item, channel, position] ** 2
            norm = np.sqrt(total)
            for channel in range(gradient.shape[1]):
                out[item, channel, position] = norm
