"""Evaluates a plan in double precision, to measure the effect of rounding on a map.

Plain NumPy, written from the definitions of the layers and rules in the benchmark's nets, on the package's
graph of layers and its plan. Other layers and rules raise `TypeError`. Batch normalization is that of the
package, which has merged it into weights in single precision.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.elementwise import ZERO_SUM
from caffe_lrp.kernels.window import Window
from caffe_lrp.layers.activation import ReLU
from caffe_lrp.layers.base import Identity, Layer
from caffe_lrp.layers.combine import Concat, EltwiseSum, Split
from caffe_lrp.layers.convolution import Convolution
from caffe_lrp.layers.inner_product import InnerProduct
from caffe_lrp.layers.linear import Linear
from caffe_lrp.layers.normalization import AcrossChannels
from caffe_lrp.layers.output import Softmax
from caffe_lrp.layers.pooling import AverageOfPixels, AveragePooling, MaxPooling, Pooling
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta
from caffe_lrp.relevance.rules.base import AnyRule
from caffe_lrp.relevance.rules.epsilon import Epsilon
from caffe_lrp.relevance.rules.gradients import Gradient
from caffe_lrp.relevance.rules.normalization import TaylorNormalization
from caffe_lrp.relevance.rules.routing import Pass
from caffe_lrp.relevance.rules.sharing import Contribution, Proportional

Array = NDArray[np.float64]
Arrays = list[Array]
#: Value id -> (N, …), as the package numbers values.
Values = dict[int, Array]

TIE = 1e-11
"""Numbers that differ by less than this share of the largest count as equal except for rounding."""


# --- Windows ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sliding:
    """Windows over images of `image` pixels; there are `size` (rows, columns) of them."""

    window: Window
    image: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def of(cls, layer: Convolution | Pooling) -> "Sliding":
        """Return the windows of a layer."""
        return cls(layer.window, layer.input_shapes[0][1:], layer.output_shapes[0][1:])

    def padded(self, x: NDArray[Any], fill: float) -> NDArray[Any]:
        """Return (…, H, W), padded as far as the windows reach."""
        window = self.window
        before = (window.pad_h, window.pad_w)
        reach = (
            (self.size[0] - 1) * window.stride_h + (window.kernel_h - 1) * window.dilation_h + 1,
            (self.size[1] - 1) * window.stride_w + (window.kernel_w - 1) * window.dilation_w + 1,
        )
        after = (max(0, reach[axis] - before[axis] - self.image[axis]) for axis in (0, 1))
        sides = [(0, 0)] * (x.ndim - 2) + list(zip(before, after, strict=True))
        return np.pad(x, sides, constant_values=fill)

    def taps(self, padded: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Return views (…, rows, columns) of the inputs of every kernel position, in scan order."""
        window = self.window
        for top in range(0, window.kernel_h * window.dilation_h, window.dilation_h):
            bottom = top + (self.size[0] - 1) * window.stride_h + 1
            for left in range(0, window.kernel_w * window.dilation_w, window.dilation_w):
                right = left + (self.size[1] - 1) * window.stride_w + 1
                yield padded[..., top : bottom : window.stride_h, left : right : window.stride_w]

    def spread(self, handed: Iterable[Array], shape: tuple[int, ...]) -> Array:
        """Return (…, H, W) of `shape`: the sum of the contributions of all kernel positions in scan order."""
        padded = self.padded(np.zeros(shape), 0.0)
        for view, share in zip(self.taps(padded), handed, strict=True):
            np.add(view, share, out=view)
        top, left = self.window.pad_h, self.window.pad_w
        return padded[..., top : top + self.image[0], left : left + self.image[1]]


def winners(layer: MaxPooling, x: NDArray[Any], tie: float = TIE) -> NDArray[np.intp]:
    """Return the first kernel position, in scan order, with the largest number of a window.

    Parameters
    ----------
    layer
        The layer.
    x
        Its input (N, C, H, W).
    tie
        Numbers that are less than this share of the largest of all below the window's largest count as equal.
    """
    seen = list(Sliding.of(layer).taps(Sliding.of(layer).padded(x, -np.inf)))
    limit = np.maximum.reduce(seen) - tie * np.abs(x).max()
    first = np.full(limit.shape, -1, np.intp)
    for place, view in enumerate(seen):
        first[(first < 0) & (view >= limit)] = place
    return first


# --- Linear layers ------------------------------------------------------------------------------------------


def applied(layer: Linear, weight: Array, x: Array) -> Array:
    """Return ``W x`` for weights in the shape of the layer's own."""
    if isinstance(layer, InnerProduct):
        return (x.reshape(-1, layer.fan_in) @ weight.T).reshape(len(x), *layer.output_shapes[0])
    assert isinstance(layer, Convolution)
    windows, matrix = Sliding.of(layer), weight.reshape(layer.groups, layer.group_outputs, -1)
    out = np.empty((len(x), *layer.output_shapes[0]))
    for item, target in zip(x, out, strict=True):
        columns = np.stack(list(windows.taps(windows.padded(item, 0.0))), axis=1)
        target[...] = (matrix @ columns.reshape(layer.groups, matrix.shape[2], -1)).reshape(target.shape)
    return out


def adjoint(layer: Linear, weight: Array, received: Array) -> Array:
    """Return ``Wᵀ R`` for weights in the shape of the layer's own."""
    shape = layer.input_shapes[0]
    if isinstance(layer, InnerProduct):
        return (received.reshape(-1, layer.output_count) @ weight).reshape(len(received), *shape)
    assert isinstance(layer, Convolution)
    windows, matrix = Sliding.of(layer), weight.reshape(layer.groups, layer.group_outputs, -1)
    out = np.empty((len(received), *shape))
    for item, target in zip(received, out, strict=True):
        columns = matrix.swapaxes(1, 2) @ item.reshape(layer.groups, layer.group_outputs, -1)
        by_tap = columns.reshape(shape[0], layer.taps, *windows.size).swapaxes(0, 1)
        target[...] = windows.spread(by_tap, shape)
    return out


def weight_of(layer: Linear) -> Array:
    """Return a layer's weights."""
    return layer.weight.astype(np.float64)


def along_channels(layer: Linear, numbers: NDArray[Any] | None) -> Array:
    """Return one number per output channel, as an array that can be added to the output."""
    if numbers is None:
        return np.zeros(())
    is_image = isinstance(layer, Convolution)
    return numbers.astype(np.float64).reshape(-1, *(1, 1) * is_image)


# --- The forward pass ---------------------------------------------------------------------------------------


def _linear(layer: Linear, x: Array) -> Array:
    return applied(layer, weight_of(layer), x) + along_channels(layer, layer.bias)


def _max_pool(layer: MaxPooling, x: Array) -> Array:
    windows = Sliding.of(layer)
    return np.asarray(np.maximum.reduce(list(windows.taps(windows.padded(x, -np.inf)))))


def _areas(layer: AveragePooling) -> Array:
    """Return the divisor of every window's sum, with padding as the layer counts it."""
    windows = Sliding.of(layer)
    (height, width), pads = windows.image, (layer.window.pad_h, layer.window.pad_w)
    inside = np.zeros((height + pads[0] + layer.ends[0], width + pads[1] + layer.ends[1]))
    if isinstance(layer, AverageOfPixels):
        inside[pads[0] : pads[0] + height, pads[1] : pads[1] + width] = 1
    else:
        inside[...] = 1
    whole = Sliding(layer.window._replace(pad_h=0, pad_w=0), inside.shape, windows.size)
    return np.asarray(sum(whole.taps(whole.padded(inside, 0.0))))


def _window_sums(layer: AveragePooling, x: Array) -> Array:
    windows = Sliding.of(layer)
    return np.asarray(sum(windows.taps(windows.padded(x, 0.0))))


def _average_pool(layer: AveragePooling, x: Array) -> Array:
    return _window_sums(layer, x) / _areas(layer)


def _neighbours(numbers: Array, size: int) -> Array:
    """Return sums over `size` neighbouring channels of (N, C, …)."""
    reach, channels = size // 2, numbers.shape[1]
    padded = np.pad(numbers, ((0, 0), (reach, reach)) + ((0, 0),) * (numbers.ndim - 2))
    return np.asarray(sum(padded[:, first : first + channels] for first in range(size)))


def _scale(layer: AcrossChannels, x: Array) -> Array:
    return layer.k + layer.alpha / layer.local_size * _neighbours(x * x, layer.local_size)


def _softmax(layer: Softmax, x: Array) -> Array:
    powers = np.exp(x - x.max(axis=layer.axis + 1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=layer.axis + 1, keepdims=True))


def _sum(layer: EltwiseSum, *inputs: Array) -> Array:
    return np.asarray(sum(factor * x for factor, x in zip(layer.coefficients, inputs, strict=True)))


#: Kind of a layer -> its output, given its inputs.
OUTPUTS: Mapping[type[Layer], Callable[..., Array]] = {
    Linear: _linear,
    ReLU: lambda layer, x: np.where(x > 0, x, layer.negative_slope * x),
    MaxPooling: _max_pool,
    AveragePooling: _average_pool,
    AcrossChannels: lambda layer, x: x * _scale(layer, x) ** -layer.beta,
    Softmax: _softmax,
    Concat: lambda layer, *inputs: np.concatenate(inputs, axis=layer.axis + 1),
    EltwiseSum: _sum,
    Split: lambda layer, x: x,
    Identity: lambda layer, x: x,
}


def forward(net: Net, batch: NDArray[Any]) -> Values:
    """Return all values of a batch of inputs (N, C, H, W)."""
    values: Values = {net.input_value: batch.astype(np.float64)}
    for layer in net.layers:
        output = _entry(OUTPUTS, layer)(layer, *(values[value] for value in layer.inputs))
        values |= dict.fromkeys(layer.outputs, output)
    return values


# --- Gradients ----------------------------------------------------------------------------------------------


def _max_pool_gradient(layer: MaxPooling, xs: Arrays, received: Arrays) -> Arrays:
    first = winners(layer, xs[0])
    handed = (received[0] * (first == place) for place in range(layer.window.taps))
    return [Sliding.of(layer).spread(handed, xs[0].shape)]


def _average_pool_gradient(layer: AveragePooling, xs: Arrays, received: Arrays) -> Arrays:
    share = received[0] / _areas(layer)
    return [Sliding.of(layer).spread([share] * layer.window.taps, xs[0].shape)]


def _normalization_gradient(layer: AcrossChannels, xs: Arrays, received: Arrays) -> Arrays:
    scale, factor = _scale(layer, xs[0]), 2 * layer.alpha * layer.beta / layer.local_size
    pull = _neighbours(scale ** (-layer.beta - 1) * xs[0] * received[0], layer.local_size)
    return [received[0] * scale**-layer.beta - factor * xs[0] * pull]


def _pieces(layer: Concat, xs: Arrays, received: Arrays) -> Arrays:
    ends = np.cumsum([x.shape[layer.axis + 1] for x in xs])[:-1]
    return np.split(received[0], ends, axis=layer.axis + 1)


#: Kind of a layer -> the gradient at its inputs, from the inputs and the gradient at its outputs.
GRADIENTS: Mapping[type[Layer], Callable[..., Arrays]] = {
    Linear: lambda layer, xs, received: [adjoint(layer, weight_of(layer), received[0])],
    ReLU: lambda layer, xs, received: [received[0] * np.where(xs[0] > 0, 1.0, layer.negative_slope)],
    MaxPooling: _max_pool_gradient,
    AveragePooling: _average_pool_gradient,
    AcrossChannels: _normalization_gradient,
    Concat: _pieces,
    EltwiseSum: lambda layer, xs, received: [factor * received[0] for factor in layer.coefficients],
    Split: lambda layer, xs, received: [np.asarray(sum(received))],
    Identity: lambda layer, xs, received: [received[0]],
}


# --- Rules --------------------------------------------------------------------------------------------------


def ratio(above: Array, below: Array) -> Array:
    """Return ``above / below``, and 0 where ``below`` is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _gradient(rule: Gradient, layer: Layer, xs: Arrays, received: Arrays) -> Arrays:
    del rule
    handed: Arrays = _entry(GRADIENTS, layer)(layer, xs, received)
    return handed


def _epsilon(rule: Epsilon, layer: Linear, xs: Arrays, received: Arrays) -> Arrays:
    z = _linear(layer, xs[0])
    at_zero = 1.0 if rule.undivided_at_zero else rule.epsilon
    divisor = np.where(z == 0, at_zero, z + rule.epsilon * np.sign(z))
    return [xs[0] * adjoint(layer, weight_of(layer), ratio(received[0], divisor))]


def _alpha_beta(rule: AlphaBeta, layer: Linear, xs: Arrays, received: Arrays) -> Arrays:
    weight, bias = weight_of(layer), along_channels(layer, rule.counted_bias(layer))
    above, below = np.maximum(weight, 0), np.minimum(weight, 0)
    high, low = np.maximum(xs[0], 0), np.minimum(xs[0], 0)
    positive = applied(layer, above, high) + np.maximum(bias, 0)
    negative = applied(layer, below, high) + np.minimum(bias, 0)
    if low.any():
        positive += applied(layer, below, low)
        negative += applied(layer, above, low)
    of_positive = ratio((1 + rule.beta) * received[0], positive)
    of_negative = ratio(-rule.beta * received[0], negative)
    handed = high * (adjoint(layer, above, of_positive) + adjoint(layer, below, of_negative))
    if low.any():
        handed += low * (adjoint(layer, below, of_positive) + adjoint(layer, above, of_negative))
    return [handed]


def _taylor(rule: TaylorNormalization, layer: AcrossChannels, xs: Arrays, received: Arrays) -> Arrays:
    del rule
    x, size, share = xs[0], layer.local_size, layer.alpha / layer.local_size
    pull = _scale(layer, x) ** (-layer.beta - 1) * x * received[0]
    own = x * (layer.k + share * x * x) ** -layer.beta * received[0]
    return [own - 2 * share * layer.beta * x * x * (_neighbours(pull, size) - pull)]


def _proportional(rule: Proportional, layer: AveragePooling, xs: Arrays, received: Arrays) -> Arrays:
    windows = Sliding.of(layer)
    sums, counts = _window_sums(layer, xs[0]), _window_sums(layer, np.ones_like(xs[0]))
    is_zero = np.abs(sums) < ZERO_SUM
    factors = np.where(is_zero, float(rule.add_activations), ratio(received[0], sums))
    shifts = np.where(is_zero & (not rule.add_activations), received[0] / counts, 0.0)
    handed = (x * factors + shifts for x in windows.taps(windows.padded(xs[0], 0.0)))
    return [windows.spread(handed, xs[0].shape)]


def _contribution(rule: Contribution, layer: EltwiseSum, xs: Arrays, received: Arrays) -> Arrays:
    del rule
    total = _sum(layer, *xs)
    is_zero = np.abs(total) < ZERO_SUM
    share = ratio(received[0], np.where(is_zero, 0.0, total))
    alike = np.where(is_zero, received[0] / len(xs), 0.0)
    return [factor * x * share + alike for factor, x in zip(layer.coefficients, xs, strict=True)]


#: Kind of a rule -> the relevance of a layer's inputs, from the inputs and the relevance of its outputs.
RULES: Mapping[type[AnyRule], Callable[..., Arrays]] = {
    Gradient: _gradient,
    Pass: lambda rule, layer, xs, received: [received[0]],
    Epsilon: _epsilon,
    AlphaBeta: _alpha_beta,
    TaylorNormalization: _taylor,
    Proportional: _proportional,
    Contribution: _contribution,
}


def explain(plan: Plan, values: Values, classes: Sequence[int]) -> Array:
    """Return the relevance of the plan's target.

    Parameters
    ----------
    plan
        The plan.
    values
        All values of a batch, as `forward` gives them.
    classes
        The class to explain for every item.
    """
    relevance = {value: _seed(values[scores], classes, plan) for value, scores in plan.seeds.items()}
    for step in plan.steps:
        layer = step.layer
        received = [
            relevance.pop(value) if value in relevance else np.zeros_like(values[value])
            for value in layer.outputs
        ]
        inputs = [values[value] for value in layer.inputs]
        handed = _entry(RULES, step.rule)(step.rule, layer, inputs, received)
        relevance.update(zip(layer.inputs, handed, strict=True))
    if plan.finish is not None:
        raise TypeError("formulas that change the map at the end are not supported here")
    return relevance[plan.target]


def _seed(scores: Array, classes: Sequence[int], plan: Plan) -> Array:
    seed, size = np.zeros_like(scores), plan.origin.class_size
    for item, each in enumerate(classes):
        chosen = slice(each * size, (each + 1) * size)
        seed[item].reshape(-1)[chosen] = 1.0 if plan.unit_seed else scores[item].reshape(-1)[chosen]
    return seed


def _entry(table: Mapping[type[Any], Callable[..., Any]], thing: Any) -> Callable[..., Any]:
    """Return the table's entry for the class of a layer or rule."""
    kind = next((kind for kind in type(thing).__mro__ if kind in table), None)
    if kind is None:
        raise TypeError(f"there is no evaluation in double precision of {type(thing).__name__}")
    return table[kind]
