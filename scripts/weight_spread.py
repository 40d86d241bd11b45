"""The size of random weights with which activations neither vanish nor explode.

The mean square of every blob is estimated through the net: weights double it, a ReLU halves it. So the
statistics of batch normalization fit their inputs, however many layers there are.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from caffe_lrp.formats.caffe.caffe_pb2 import EltwiseParameter, PoolingParameter
from caffe_lrp.formats.spec import LayerSpec, NetSpec, Shape

PIXEL_RMS = 60.0
"""Approximate root of the mean square of pixels after the mean is subtracted."""

BIAS_SHARE, BIAS_STD = 1 / 60, 1.0
"""Biases are so much of what a layer reads, but no more than this: small, and seen in every heatmap."""

MEAN_SHARE = 0.1
"""Means of batch normalization and the shifts after it, as a share of the values they are added to."""


class Level(NamedTuple):
    """Mean square of a blob, and whether its distribution is symmetric around 0."""

    mean_square: float
    is_centred: bool

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return math.sqrt(self.mean_square)


class Draw(NamedTuple):
    """How numbers are drawn: normal with a standard deviation, or uniform up to ``spread`` from the centre.

    ``is_added`` says whether they are added to something: biases, means and shifts.
    """

    centre: float
    spread: float
    is_uniform: bool = False
    is_added: bool = False


def draws(
    net: NetSpec, shapes_of: Mapping[str, Sequence[Shape]], input_rms: float = PIXEL_RMS
) -> dict[str, list[Draw]]:
    """Return how the blobs of every layer that has any are drawn, by the layer's name.

    Parameters
    ----------
    net
        The net.
    shapes_of
        Shapes of the blobs, by layer name.
    input_rms
        Root of the mean square of the input.
    """
    start = Level(input_rms**2, True)
    levels: dict[str, Level] = {}
    found = {}
    for layer in net.layers:
        inputs = [levels.get(name, start) for name in layer.bottoms] or [start]
        shapes = shapes_of.get(layer.name, ())
        if shapes:
            found[layer.name] = BLOBS.get(layer.type, _weight_and_biases)(layer, inputs[0], shapes)
        level = LEVELS.get(layer.type, _unchanged)(layer, inputs)
        levels.update(dict.fromkeys(layer.tops, level))
    return found


# --- blobs of a layer


def _weight_and_biases(layer: LayerSpec, level: Level, shapes: Sequence[Shape]) -> list[Draw]:
    """He's weights, with Caffe's fan-in: the size of one slice along the first axis."""
    weight = Draw(0.0, math.sqrt(2.0 / math.prod(shapes[0][1:])))
    return [weight] + [_added(min(level.rms * BIAS_SHARE, BIAS_STD))] * (len(shapes) - 1)


def _statistics(layer: LayerSpec, level: Level, shapes: Sequence[Shape]) -> list[Draw]:
    """Mean, variance, factor of both; scale and shift in forks."""
    mean, variance = _added(level.rms * MEAN_SHARE), _around(level.mean_square, 0.5)
    return [mean, variance, _around(1.0, 0.0), *_SCALE_AND_SHIFT][: len(shapes)]


def _scale_shift_statistics(layer: LayerSpec, level: Level, shapes: Sequence[Shape]) -> list[Draw]:
    """Scale, shift, mean and variance."""
    return [*_SCALE_AND_SHIFT, *_statistics(layer, level, shapes)[:2]]


def _scale(layer: LayerSpec, level: Level, shapes: Sequence[Shape]) -> list[Draw]:
    """Scale and shift; the scale is a bottom if there are two."""
    both = [_SCALE_AND_SHIFT[0], _added(level.rms * MEAN_SHARE)]
    return both[len(layer.bottoms) - 1 :][: len(shapes)]


def _shift(layer: LayerSpec, level: Level, shapes: Sequence[Shape]) -> list[Draw]:
    return [_added(level.rms * MEAN_SHARE)]


def _slope(layer: LayerSpec, level: Level, shapes: Sequence[Shape]) -> list[Draw]:
    return [_around(0.25, 0.5)]


def _around(centre: float, share: float) -> Draw:
    return Draw(centre, centre * share, is_uniform=True)


def _added(spread: float) -> Draw:
    return Draw(0.0, spread, is_added=True)


_SCALE_AND_SHIFT = (_around(1.0, 0.25), _added(MEAN_SHARE))

#: Layer type -> how its blobs are drawn; a weight and biases for all others.
BLOBS: Mapping[str, Callable[[LayerSpec, Level, Sequence[Shape]], list[Draw]]] = {
    "BatchNorm": _statistics,
    "Bias": _shift,
    "BN": _scale_shift_statistics,
    "PReLU": _slope,
    "Scale": _scale,
}


# --- outputs of a layer


def _unchanged(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    return inputs[0]


def _weighted(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    return Level(2 * inputs[0].mean_square, True)


def _normalized(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    return Level(1.0, True)


def _rectified(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    level = inputs[0]
    return Level(level.mean_square / 2 if level.is_centred else level.mean_square, False)


def _gate(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    return Level(0.3, False)


def _joined(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    squares = [level.mean_square for level in inputs]
    return Level(sum(squares) / len(squares), all(level.is_centred for level in inputs))


def _pooled(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    level = inputs[0]
    if layer.parameters.pooling_param.pool == PoolingParameter.MAX and level.is_centred:
        return Level(2 * level.mean_square, False)
    return level


def _combined(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    parameters = layer.parameters.eltwise_param
    squares = [level.mean_square for level in inputs]
    are_centred = all(level.is_centred for level in inputs)
    if parameters.operation == EltwiseParameter.PROD:
        return Level(math.prod(squares), any(level.is_centred for level in inputs))
    if parameters.operation == EltwiseParameter.MAX:
        return Level(max(squares), False)
    factors = list(parameters.coeff) or [1.0] * len(inputs)
    terms = (factor**2 * square for factor, square in zip(factors, squares, strict=True))
    return Level(sum(terms), are_centred)


def _scaled(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    return Level(math.prod(level.mean_square for level in inputs), inputs[0].is_centred)


def _gated_sum(layer: LayerSpec, inputs: Sequence[Level]) -> Level:
    factor, scaled, added = inputs
    square = factor.mean_square * scaled.mean_square + added.mean_square
    return Level(square, scaled.is_centred and added.is_centred)


#: Layer type -> the level of its outputs; that of the first bottom for all others.
LEVELS: Mapping[str, Callable[[LayerSpec, Sequence[Level]], Level]] = {
    **dict.fromkeys(("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution"), _weighted),
    **dict.fromkeys(("Deconvolution", "InnerProduct"), _weighted),
    **dict.fromkeys(("BatchNorm", "BN", "MVN"), _normalized),
    **dict.fromkeys(("ReLU", "ReLU6", "PReLU", "ELU", "Swish"), _rectified),
    "Sigmoid": _gate,
    "Concat": _joined,
    "Pooling": _pooled,
    "Eltwise": _combined,
    "Scale": _scaled,
    "Axpy": _gated_sum,
}
