"""Slow float64 twins of the kernels, layers and rules.

Written from the formulas of the spec (sections 5, 6 and 9), never from the package: linear layers are
lists of connections, pooling layers lists of windows, gradients central differences.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Real = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]
Pair = tuple[int, int]
Shape = tuple[int, ...]


class Geometry(NamedTuple):
    """A sliding window; every pair is (vertical, horizontal).

    ``ends`` is the padding below and right, where that is not ``pad`` as above and left.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ends: Pair | None = None

    @property
    def pads(self) -> tuple[Pair, Pair]:
        """Padding of either axis: before the image and after it."""
        ends = self.pad if self.ends is None else self.ends
        return (self.pad[0], ends[0]), (self.pad[1], ends[1])


# --- Linear layers --------------------------------------------------------------------------------


class Edges(NamedTuple):
    """All connections of a linear layer for one item, as flat indices."""

    source: Indices
    target: Indices
    weight: Indices
    input_shape: Shape
    output_shape: Shape


def convolved_size(size: Pair, geometry: Geometry) -> Pair:
    """Output height and width of a convolution."""
    sizes = []
    for axis in (0, 1):
        extent = geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1
        sizes.append((size[axis] + sum(geometry.pads[axis]) - extent) // geometry.stride[axis] + 1)
    return sizes[0], sizes[1]


@cache
def convolution_edges(input_shape: Shape, weight_shape: Shape, geometry: Geometry, groups: int) -> Edges:
    """Connections of a convolution over (C, H, W) with weights (M, C/groups, k_h, k_w)."""
    _, height, width = input_shape
    outputs, group_inputs, kernel_h, kernel_w = weight_shape
    out_height, out_width = convolved_size((height, width), geometry)
    found = []
    for m in range(outputs):
        first_channel = m // (outputs // groups) * group_inputs
        for row in range(out_height):
            for column in range(out_width):
                target = (m * out_height + row) * out_width + column
                for c in range(group_inputs):
                    for ky in range(kernel_h):
                        y = row * geometry.stride[0] - geometry.pad[0] + ky * geometry.dilation[0]
                        if not 0 <= y < height:
                            continue
                        for kx in range(kernel_w):
                            x = column * geometry.stride[1] - geometry.pad[1] + kx * geometry.dilation[1]
                            if 0 <= x < width:
                                source = ((first_channel + c) * height + y) * width + x
                                tap = ((m * group_inputs + c) * kernel_h + ky) * kernel_w + kx
                                found.append((source, target, tap))
    return _edges(found, input_shape, (outputs, out_height, out_width))


@cache
def inner_product_edges(input_shape: Shape, outputs: int) -> Edges:
    """Connections of an inner product with weights (outputs, inputs)."""
    inputs = math.prod(input_shape)
    found = [(i, o, o * inputs + i) for o in range(outputs) for i in range(inputs)]
    return _edges(found, input_shape, (outputs,))


def _edges(found: list[tuple[int, int, int]], input_shape: Shape, output_shape: Shape) -> Edges:
    table = np.array(found, np.intp).reshape(-1, 3)
    return Edges(table[:, 0], table[:, 1], table[:, 2], input_shape, output_shape)


def _sums(edge_values: Array, at: Indices, shape: Shape) -> Array:
    """Sum of the values of all edges that meet at each element."""
    totals = np.bincount(at, weights=edge_values, minlength=math.prod(shape)).astype(np.float64)
    return totals.reshape(shape)


def _by_output(per_channel: Real, shape: Shape) -> Array:
    """One number per output channel, repeated to the shape of the output."""
    column = np.asarray(per_channel, np.float64).reshape(-1, *(1,) * (len(shape) - 1))
    return np.broadcast_to(column, shape).copy()


def linear(x: Real, weight: Real, bias: Real | None, edges: Edges) -> Array:
    """``Wx + b`` for a batch."""
    out = np.zeros((len(x), *edges.output_shape))
    for item in range(len(x)):
        products = x[item].reshape(-1)[edges.source] * weight.astype(np.float64).reshape(-1)[edges.weight]
        out[item] = _sums(products, edges.target, edges.output_shape)
        if bias is not None:
            out[item] += _by_output(bias, edges.output_shape)
    return out


def adjoint(relevance: Real, weight: Real, edges: Edges) -> Array:
    """``Wᵀ R`` for a batch."""
    out = np.zeros((len(relevance), *edges.input_shape))
    for item in range(len(relevance)):
        received = relevance[item].astype(np.float64).reshape(-1)[edges.target]
        products = received * weight.reshape(-1)[edges.weight]
        out[item] = _sums(products, edges.source, edges.input_shape)
    return out


def epsilon(
    x: Real, weight: Real, bias: Real | None, relevance: Real, edges: Edges, eps: float, undivided: bool
) -> Array:
    """ε rule; ``undivided`` is Q4, else sign(0) is +1 and 0/0 is 0."""
    z = linear(x, weight, bias, edges)
    quotient = np.zeros_like(z)
    for at in np.ndindex(*z.shape):
        if z[at] != 0:
            quotient[at] = relevance[at] / (z[at] + eps * np.sign(z[at]))
        elif undivided:
            quotient[at] = relevance[at]
        elif eps != 0:
            quotient[at] = relevance[at] / eps
    return x * adjoint(quotient, weight, edges)


def alpha_beta_sums(
    x: Real, weight: Real, bias: Real | None, edges: Edges, first_group_bias: bool, groups: int
) -> tuple[Array, Array]:
    """Sums p and n of every output of one item ``x``; ``first_group_bias`` is Q5."""
    products = x.reshape(-1)[edges.source] * weight.astype(np.float64).reshape(-1)[edges.weight]
    positive = _sums(np.maximum(products, 0), edges.target, edges.output_shape)
    negative = _sums(np.minimum(products, 0), edges.target, edges.output_shape)
    if bias is not None:
        used = np.array(bias, np.float64)
        if first_group_bias:
            group_size = len(bias) // groups
            used = np.array([float(bias[m % group_size]) for m in range(len(bias))])
        positive += _by_output(np.maximum(used, 0), edges.output_shape)
        negative += _by_output(np.minimum(used, 0), edges.output_shape)
    return positive, negative


def alpha_beta(
    x: Real,
    weight: Real,
    bias: Real | None,
    relevance: Real,
    edges: Edges,
    beta: float,
    first_group_bias: bool,
    groups: int = 1,
) -> Array:
    """αβ rule with α = 1 + β; a term whose sum is 0 is skipped."""
    out = np.zeros((len(x), *edges.input_shape))
    for item in range(len(x)):
        products = x[item].reshape(-1)[edges.source] * weight.astype(np.float64).reshape(-1)[edges.weight]
        p, n = alpha_beta_sums(x[item], weight, bias, edges, first_group_bias, groups)
        received = relevance[item].astype(np.float64)
        share_p = np.divide(received, p, out=np.zeros_like(p), where=p != 0).reshape(-1)[edges.target]
        share_n = np.divide(received, n, out=np.zeros_like(n), where=n != 0).reshape(-1)[edges.target]
        handed = (1 + beta) * np.maximum(products, 0) * share_p - beta * np.minimum(products, 0) * share_n
        out[item] = _sums(handed, edges.source, edges.input_shape)
    return out


def flat(relevance: Real, edges: Edges, divisor: int) -> Array:
    """Every connection hands back R over the divisor: kernel area (Q6) or number of inputs."""
    ones = np.ones(int(edges.weight.max()) + 1)
    return adjoint(relevance, ones, edges) / divisor


def w_square(relevance: Real, weight: Real, edges: Edges) -> Array:
    """w² rule; the denominator spans the whole kernel, also where it hangs over the border."""
    squares = np.zeros(weight.shape)
    for m in range(len(weight)):
        row = weight[m].astype(np.float64) ** 2
        if row.sum() != 0:
            squares[m] = row / row.sum()
    return adjoint(relevance, squares, edges)


# --- Pooling --------------------------------------------------------------------------------------


class PoolWindow(NamedTuple):
    """One window: where it writes, which pixels it sees in scan order, and Caffe's divisor."""

    row: int
    column: int
    pixels: tuple[Pair, ...]
    divisor: int


def pooled_size(size: Pair, geometry: Geometry, round_up: bool = True) -> Pair:
    """Output height and width: with padding on either axis, a last window that starts in it is dropped."""
    sizes = []
    for axis in (0, 1):
        span = size[axis] + sum(geometry.pads[axis]) - geometry.kernel[axis]
        steps = span / geometry.stride[axis]
        count = (math.ceil(steps) if round_up else math.floor(steps)) + 1
        is_outside = (count - 1) * geometry.stride[axis] >= size[axis] + geometry.pad[axis]
        if is_outside and max(map(max, geometry.pads)) > 0:
            count -= 1
        sizes.append(count)
    return sizes[0], sizes[1]


@cache
def pool_windows(size: Pair, geometry: Geometry, round_up: bool = True) -> tuple[PoolWindow, ...]:
    """All windows over an image of ``size``."""
    rows, columns = pooled_size(size, geometry, round_up)
    windows = []
    for row in range(rows):
        for column in range(columns):
            pixels, divisor = [], 0
            for ky in range(geometry.kernel[0]):
                for kx in range(geometry.kernel[1]):
                    y = row * geometry.stride[0] - geometry.pad[0] + ky
                    x = column * geometry.stride[1] - geometry.pad[1] + kx
                    if y < size[0] + geometry.pads[0][1] and x < size[1] + geometry.pads[1][1]:
                        divisor += 1
                        if 0 <= y < size[0] and 0 <= x < size[1]:
                            pixels.append((y, x))
            windows.append(PoolWindow(row, column, tuple(pixels), divisor))
    return tuple(windows)


def _planes(blob: Real) -> Iterator[Pair]:
    return iter([(n, c) for n in range(blob.shape[0]) for c in range(blob.shape[1])])


def image_size(x: Real) -> Pair:
    return x.shape[2], x.shape[3]


def max_pool(x: Real, geometry: Geometry, round_up: bool = True) -> Array:
    """Largest element of every window; the lowest number of all where it sees none."""
    lowest = -float(np.finfo(np.float32).max)
    out = np.zeros((*x.shape[:2], *pooled_size(image_size(x), geometry, round_up)))
    for n, c in _planes(x):
        for window in pool_windows(image_size(x), geometry, round_up):
            numbers = (float(x[n, c, y, i]) for y, i in window.pixels)
            out[n, c, window.row, window.column] = max(numbers, default=lowest)
    return out


def max_pool_route(x: Real, relevance: Real, geometry: Geometry, round_up: bool = True) -> Array:
    """Everything to the first maximum in scan order."""
    out = np.zeros(x.shape)
    for n, c in _planes(x):
        for window in pool_windows(image_size(x), geometry, round_up):
            if not window.pixels:
                continue
            winner = window.pixels[0]
            for pixel in window.pixels:
                if x[n, c][pixel] > x[n, c][winner]:
                    winner = pixel
            out[n, c][winner] += relevance[n, c, window.row, window.column]
    return out


def average_pool(x: Real, geometry: Geometry, round_up: bool = True, pixels_only: bool = False) -> Array:
    """Mean of every window over its part of the padded image, or over its pixels alone."""
    out = np.zeros((*x.shape[:2], *pooled_size(image_size(x), geometry, round_up)))
    for n, c in _planes(x):
        for window in pool_windows(image_size(x), geometry, round_up):
            total = sum(float(x[n, c, y, i]) for y, i in window.pixels)
            divisor = len(window.pixels) if pixels_only else window.divisor
            out[n, c, window.row, window.column] = total / divisor
    return out


def average_pool_gradient(gradient: Real, size: Pair, geometry: Geometry, round_up: bool = True) -> Array:
    """Gradient of `average_pool` at an image of ``size``."""
    out = np.zeros((*gradient.shape[:2], *size))
    for n, c in _planes(gradient):
        for window in pool_windows(size, geometry, round_up):
            for y, i in window.pixels:
                out[n, c, y, i] += gradient[n, c, window.row, window.column] / window.divisor
    return out


def average_pool_relevance(
    x: Real, relevance: Real, geometry: Geometry, add_activations: bool, round_up: bool = True
) -> Array:
    """Shares in proportion to ``x``; where |Σx| < 1e-6 adds x itself (Q7) or shares equally."""
    out = np.zeros(x.shape)
    for n, c in _planes(x):
        for window in pool_windows(image_size(x), geometry, round_up):
            received = float(relevance[n, c, window.row, window.column])
            total = sum(float(x[n, c, y, i]) for y, i in window.pixels)
            for y, i in window.pixels:
                if abs(total) >= 1e-6:
                    out[n, c, y, i] += received * float(x[n, c, y, i]) / total
                elif add_activations:
                    out[n, c, y, i] += x[n, c, y, i]
                else:
                    out[n, c, y, i] += received / len(window.pixels)
    return out


# --- Normalisation, neurons, softmax ----------------------------------------------------------------


class Lrn(NamedTuple):
    """Coefficients of an LRN layer."""

    size: int
    alpha: float
    beta: float
    k: float = 1.0


def _neighbours(channel: int, channels: int, size: int) -> list[int]:
    return [j for j in range(channels) if abs(j - channel) <= (size - 1) // 2]


def lrn_scale(x: Real, lrn: Lrn) -> Array:
    """``s_i = k + α/n Σ x_j²`` over neighbouring channels."""
    out = np.full(x.shape, lrn.k, np.float64)
    for i in range(x.shape[1]):
        for j in _neighbours(i, x.shape[1], lrn.size):
            out[:, i] += lrn.alpha / lrn.size * x[:, j].astype(np.float64) ** 2
    return out


def lrn_across(x: Real, lrn: Lrn) -> Array:
    """LRN across channels."""
    return np.asarray(x * lrn_scale(x, lrn) ** -lrn.beta)


def lrn_within(x: Real, lrn: Lrn) -> Array:
    """LRN within channels: ``x (1 + α/n² Σ x²)^(−β)`` over n×n neighbours, k not used."""
    reach = (lrn.size - 1) // 2
    out = np.zeros(x.shape)
    for n, c, y, i in np.ndindex(*x.shape):
        patch = x[n, c, max(0, y - reach) : y + reach + 1, max(0, i - reach) : i + reach + 1]
        total = float((patch.astype(np.float64) ** 2).sum())
        out[n, c, y, i] = x[n, c, y, i] * (1 + lrn.alpha / lrn.size**2 * total) ** -lrn.beta
    return out


def lrn_taylor(x: Real, relevance: Real, lrn: Lrn) -> Array:
    """The reference's Taylor rule (Q8)."""
    s = lrn_scale(x, lrn)
    a, n, b = lrn.alpha, lrn.size, lrn.beta
    out = np.zeros(x.shape)
    for i in range(x.shape[1]):
        xi = x[:, i].astype(np.float64)
        out[:, i] = xi * (lrn.k + a / n * xi**2) ** -b * relevance[:, i]
        for j in _neighbours(i, x.shape[1], n):
            if j != i:
                out[:, i] -= 2 * a * b / n * xi**2 * s[:, j] ** (-b - 1) * x[:, j] * relevance[:, j]
    return out


def central_difference(
    function: Callable[[Array], Array], x: Real, gradient: Real, step: float = 1e-5
) -> Array:
    """Gradient of ``function`` at ``x``, contracted with that at its output, item by item.

    ``function`` takes batches whose items do not know of one another: in each one element of ``x`` is moved.
    """
    out = np.zeros(x.shape)
    for item in range(len(x)):
        here = x[item].astype(np.float64)
        moves = step * np.eye(here.size).reshape(here.size, *here.shape)
        change = (function(here + moves) - function(here - moves)) / (2 * step)
        out[item] = (change * gradient[item]).reshape(here.size, -1).sum(axis=1).reshape(here.shape)
    return out


def relu(x: Real, slope: float) -> Array:
    """``max(x, 0) + slope·min(x, 0)``."""
    wide = x.astype(np.float64)
    return np.asarray(np.maximum(wide, 0) + slope * np.minimum(wide, 0))


def relu_gradient(x: Real, gradient: Real, slope: float) -> Array:
    """Gradient of `relu`; at 0 it is the slope."""
    out = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        out[at] = gradient[at] if x[at] > 0 else slope * float(gradient[at])
    return out


def positive(relevance: Real) -> Array:
    """``R⁺``: ReLU under deconvolution."""
    return np.array([max(float(r), 0.0) for r in relevance.reshape(-1)]).reshape(relevance.shape)


def guided(x: Real, relevance: Real) -> Array:
    """``R⁺ · [x > 0]``: ReLU under guided backpropagation."""
    return np.asarray(positive(relevance) * (x > 0))


def sigmoid(x: Real) -> Array:
    """Logistic function."""
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))


def softmax(x: Real, axis: int = 1) -> Array:
    """Softmax over one axis."""
    powers = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def softmax_gradient(x: Real, gradient: Real, axis: int = 1) -> Array:
    """Gradient of `softmax` from its Jacobian ``y_j (δ_ij − y_i)``."""
    y = np.moveaxis(softmax(x, axis), axis, -1)
    g = np.moveaxis(gradient.astype(np.float64), axis, -1)
    out = np.zeros(y.shape)
    for i in range(y.shape[-1]):
        for j in range(y.shape[-1]):
            out[..., i] += g[..., j] * y[..., j] * ((1.0 if i == j else 0.0) - y[..., i])
    return np.moveaxis(out, -1, axis)


def channel_l2(gradient: Real) -> Array:
    """L2 norm over the channels, written to every channel."""
    out = np.zeros(gradient.shape)
    for n in range(len(gradient)):
        for at in np.ndindex(*gradient.shape[2:]):
            norm = math.sqrt(sum(float(gradient[n, c][at]) ** 2 for c in range(gradient.shape[1])))
            for c in range(gradient.shape[1]):
                out[n, c][at] = norm
    return out


# --- Deconvolution ----------------------------------------------------------------------------------


@cache
def deconvolution_edges(input_shape: Shape, weight_shape: Shape, geometry: Geometry, groups: int) -> Edges:
    """Connections of a deconvolution over (C, H, W) with weights (C, M/groups, k_h, k_w), as in the file."""
    channels, height, width = input_shape
    _, group_outputs, kernel_h, kernel_w = weight_shape
    out_height, out_width = deconvolved_size((height, width), geometry)
    found = []
    for c in range(channels):
        first_output = c // (channels // groups) * group_outputs
        for row, column, m, ky, kx in np.ndindex(height, width, group_outputs, kernel_h, kernel_w):
            y = row * geometry.stride[0] - geometry.pad[0] + ky * geometry.dilation[0]
            x = column * geometry.stride[1] - geometry.pad[1] + kx * geometry.dilation[1]
            if 0 <= y < out_height and 0 <= x < out_width:
                source = (c * height + row) * width + column
                target = ((first_output + m) * out_height + y) * out_width + x
                found.append((source, target, ((c * group_outputs + m) * kernel_h + ky) * kernel_w + kx))
    return _edges(found, input_shape, (groups * group_outputs, out_height, out_width))


def deconvolved_size(size: Pair, geometry: Geometry) -> Pair:
    """Output height and width of a deconvolution."""
    sizes = []
    for axis in (0, 1):
        extent = geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1
        sizes.append(geometry.stride[axis] * (size[axis] - 1) + extent - sum(geometry.pads[axis]))
    return sizes[0], sizes[1]


def shared(relevance: Real, weight: Real, edges: Edges) -> Array:
    """Relevance in proportion to non-negative weights, over the connections that an output has."""
    totals = _sums(weight.astype(np.float64).reshape(-1)[edges.weight], edges.target, edges.output_shape)
    portions = np.divide(relevance, totals, out=np.zeros(relevance.shape), where=totals != 0)
    return adjoint(portions, weight, edges)


# --- Rules that the reference does not have ---------------------------------------------------------


def gamma(x: Real, weight: Real, bias: Real | None, relevance: Real, edges: Edges, gamma: float) -> Array:
    """γ rule for inputs of either sign, by four sets of modified weights; the sign of 0 is positive.

    Source: Andéol et al. 2021.
    """
    up, down = (
        weight + gamma * part
        for part in (np.maximum(weight, 0).astype(np.float64), np.minimum(weight, 0).astype(np.float64))
    )
    shift = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    positive, negative = np.maximum(x, 0), np.minimum(x, 0)
    z = linear(x, weight, bias, edges)
    out = np.zeros(x.shape)
    for favours, for_positive, for_negative, biases in (
        (z >= 0, up, down, shift + gamma * np.maximum(shift, 0)),
        (z < 0, down, up, shift + gamma * np.minimum(shift, 0)),
    ):
        divisor = linear(positive, for_positive, biases, edges) + linear(negative, for_negative, None, edges)
        shares = np.zeros(z.shape)
        for at in np.ndindex(*z.shape):
            if favours[at] and divisor[at] != 0:
                shares[at] = relevance[at] / divisor[at]
        out += positive * adjoint(shares, for_positive, edges)
        out += negative * adjoint(shares, for_negative, edges)
    return out


def z_box(x: Real, weight: Real, relevance: Real, edges: Edges, lowest: Real, highest: Real) -> Array:
    """z^B rule for inputs between ``lowest`` and ``highest``, each in the shape of one input.

    Source: Montavon et al. 2017.
    """
    wide = weight.astype(np.float64)
    positive, negative = np.maximum(wide, 0), np.minimum(wide, 0)
    out = np.zeros(x.shape)
    for item in range(len(x)):
        at, low, high = (
            numbers.astype(np.float64).reshape(-1)[edges.source] for numbers in (x[item], lowest, highest)
        )
        products = at * wide.reshape(-1)[edges.weight]
        products -= low * positive.reshape(-1)[edges.weight] + high * negative.reshape(-1)[edges.weight]
        z = _sums(products, edges.target, edges.output_shape)
        shares = np.divide(relevance[item], z, out=np.zeros_like(z), where=z != 0).reshape(-1)
        out[item] = _sums(products * shares[edges.target], edges.source, edges.input_shape)
    return out


# --- Rules that layers are given one by one ---------------------------------------------------------


def stabilised(z: Array, eps: float, is_relative: bool, is_clipped: bool, undivided: bool) -> Array:
    """Divisors for the sums of a batch: away from 0 by ε, or by ε times the root mean square of an item."""
    out = np.zeros(z.shape)
    for item in range(len(z)):
        numbers = [float(value) for value in z[item].reshape(-1)]
        size = eps
        if is_relative:
            size = eps * math.sqrt(sum(value**2 for value in numbers) / len(numbers))
        for at in np.ndindex(*z[item].shape):
            value = float(z[item][at])
            sign = -1 if value < 0 else 1
            out[item][at] = sign * max(abs(value), size) if is_clipped else value + sign * size
            if value == 0 and undivided:
                out[item][at] = 1
    return out


def over_divisor(relevance: Real, divisor: Array) -> Array:
    """Relevance over a divisor, 0 where that is 0."""
    return np.divide(relevance, divisor, out=np.zeros(divisor.shape), where=divisor != 0)


def product_counts(edges: Edges, count: int | None) -> Array:
    """Products of every output, those with padding included: ``count``, or as many as it has connections."""
    degrees = _sums(np.ones(len(edges.target)), edges.target, edges.output_shape)
    return degrees if count is None else np.full(edges.output_shape, float(count))


def epsilon_shared(
    x: Real, weight: Real, bias: Real, quotient: Array, edges: Edges, count: int | None
) -> Array:
    """``Σ (x w + b/K) q`` over the connections of every input; K is `product_counts`."""
    out = np.zeros(x.shape)
    shares = (_by_output(bias, edges.output_shape) / np.maximum(product_counts(edges, count), 1)).reshape(-1)
    for item in range(len(x)):
        products = x[item].reshape(-1)[edges.source] * weight.astype(np.float64).reshape(-1)[edges.weight]
        products += shares[edges.target]
        handed = products * quotient[item].reshape(-1)[edges.target]
        out[item] = _sums(handed, edges.source, edges.input_shape)
    return out


def alpha_beta_shared(
    x: Real, weight: Real, bias: Real, relevance: Real, edges: Edges, beta: float, count: int | None
) -> tuple[Array, dict[str, float]]:
    """αβ rule for products ``x w + b/K``, and what the second item loses; K is `product_counts`."""
    out, lost = np.zeros(x.shape), dict.fromkeys(("padding", "no_positive", "no_negative"), 0.0)
    counts = product_counts(edges, count)
    shares = _by_output(bias, edges.output_shape) / np.maximum(counts, 1)
    outside = shares * (counts - product_counts(edges, None))
    parts: list[tuple[str, float, Callable[[Array], Array]]] = [
        ("no_positive", 1 + beta, lambda numbers: np.maximum(numbers, 0)),
        ("no_negative", -beta, lambda numbers: np.minimum(numbers, 0)),
    ]
    for item in range(len(x)):
        products = x[item].reshape(-1)[edges.source] * weight.astype(np.float64).reshape(-1)[edges.weight]
        products += shares.reshape(-1)[edges.target]
        handed = np.zeros(products.shape)
        for cause, factor, part in parts:
            total = _sums(part(products), edges.target, edges.output_shape) + part(outside)
            quotient = over_divisor(factor * relevance[item].astype(np.float64), total)
            handed += part(products) * quotient.reshape(-1)[edges.target]
            if item == 1:
                lost["padding"] += float((quotient * part(outside)).sum())
                lost[cause] += float((factor * relevance[item].astype(np.float64))[total == 0].sum())
        out[item] = _sums(handed, edges.source, edges.input_shape)
    return out, lost


def softplus_gradient(x: Real, gradient: Real, sharpness: float) -> Array:
    """Gradient of ``log(1 + e^βx)/β``."""
    return np.array(
        [g / (1 + math.exp(-sharpness * v)) for v, g in zip(x.flat, gradient.flat, strict=True)]
    ).reshape(x.shape)
