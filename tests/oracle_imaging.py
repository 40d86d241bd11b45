"""Slow float64 loops that resize, crop and subtract the mean; written from the spec, not from the package."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SINC_COEFFICIENTS = (
    0.173611107357320220183368594093166520811e-2,
    -0.384240921114946632192116762889211361285e-3,
    0.394201182359318128221229891724947048771e-4,
    -0.250963301609117217660068889165550534856e-5,
    0.111902032818095784414237782071368805120e-6,
    -0.372895101408779549368465614321137048875e-8,
    0.957694196677572570319816780188718518330e-10,
    -0.187208577776590710853865174371617338991e-11,
    0.253524321426864752676094495396308636823e-13,
    -0.177084805010701112639035485248501049364e-15,
)

Filter = Callable[[float], float]


def mitchell(distance: float) -> float:
    x = abs(distance)
    if x < 1:
        return (7 * x**3 - 12 * x**2 + 16 / 3) / 6
    if x < 2:
        return (-7 / 3 * x**3 + 12 * x**2 - 20 * x + 32 / 3) / 6
    return 0.0


def sinc(x: float) -> float:
    square = x * x
    total = sum(c * square**k for k, c in enumerate(SINC_COEFFICIENTS))
    return (square - 1) * (square - 4) * (square - 9) * (square - 16) * total


def lanczos(distance: float) -> float:
    return sinc(abs(distance)) * sinc(abs(distance) / 3)


def axis_weights(inputs: int, outputs: int, shape: Filter, support: float) -> list[dict[int, float]]:
    """For every output pixel: input pixel -> weight."""
    factor = outputs / inputs
    scale = max(1 / factor + 1e-12, 1.0)
    width = max(scale * support, 0.5)
    table = []
    for output in range(outputs):
        centre = (output + 0.5) / factor + 1e-12
        first, last = math.trunc(max(centre - width + 0.5, 0)), math.trunc(min(centre + width + 0.5, inputs))
        weights = {pixel: shape((pixel - centre + 0.5) / scale) for pixel in range(first, last)}
        total = sum(weights.values())
        table.append({pixel: weight / total for pixel, weight in weights.items()})
    return table


def rounded(value: float) -> int:
    return math.floor(min(max(value, 0.0), 65535.0) + 0.5)


def resample_height(
    samples: NDArray[np.uint16], outputs: int, shape: Filter, support: float
) -> NDArray[np.uint16]:
    """One pass along the first axis; planes independent of each other."""
    height, width, planes = samples.shape
    out = np.zeros((outputs, width, planes), np.uint16)
    for row, weights in enumerate(axis_weights(height, outputs, shape, support)):
        for column in range(width):
            for plane in range(planes):
                total = 0.0
                for pixel, weight in weights.items():
                    total += weight * int(samples[pixel, column, plane])
                out[row, column, plane] = rounded(total)
    return out


def resample_height_matte(
    samples: NDArray[np.uint16], outputs: int, shape: Filter, support: float
) -> NDArray[np.uint16]:
    """One pass along the first axis of RGBA, colours weighted by alpha."""
    height, width, _ = samples.shape
    out = np.zeros((outputs, width, 4), np.uint16)
    for row, weights in enumerate(axis_weights(height, outputs, shape, support)):
        for column in range(width):
            colour, gamma, opacity = [0.0, 0.0, 0.0], 0.0, 0.0
            for pixel, weight in weights.items():
                alpha = int(samples[pixel, column, 3]) / 65535
                gamma += weight * alpha
                opacity += weight * (65535 - int(samples[pixel, column, 3]))
                for plane in range(3):
                    colour[plane] += weight * alpha * int(samples[pixel, column, plane])
            guarded = math.copysign(max(abs(gamma), 1e-12), gamma)
            for plane in range(3):
                out[row, column, plane] = rounded(colour[plane] / guarded)
            out[row, column, 3] = 65535 - rounded(opacity)
    return out


def resize(
    samples: NDArray[np.uint16], height: int, width: int, *, use_mitchell: bool, has_alpha: bool
) -> NDArray[np.uint16]:
    """(H, W, C) to (height, width, C), the axis with the larger factor first, vertical on a tie."""
    shape, support = (mitchell, 2.0) if use_mitchell else (lanczos, 3.0)
    one_pass = resample_height_matte if has_alpha else resample_height
    columns_first = width / samples.shape[1] > height / samples.shape[0]
    for vertical in (not columns_first, columns_first):
        if vertical:
            samples = one_pass(samples, height, shape, support)
        else:
            turned = one_pass(samples.transpose(1, 0, 2), width, shape, support)
            samples = turned.transpose(1, 0, 2)
    return np.ascontiguousarray(samples)


def crop_less_mean(
    resized: NDArray[np.uint16],
    mean: NDArray[np.float32],
    base_size: int,
    input_size: tuple[int, int],
    *,
    centre_mean: bool,
) -> NDArray[np.float64]:
    """(3, H, W) BGR grey levels less the mean, from a resized RGB image (h, w, 3)."""
    sides, means = resized.shape[:2], mean.shape[1:]
    is_portrait = sides[0] > sides[1]
    starts, mean_starts = [0, 0], [0, 0]
    for axis in (0, 1):
        if (axis == 0) == is_portrait:
            starts[axis] = (base_size - input_size[axis]) // 2
            mean_starts[axis] = (means[axis] - input_size[axis]) // 2
            if input_size[0] == input_size[1]:
                mean_starts[axis] = (min(means) - input_size[0]) // 2
        elif sides[axis] >= input_size[axis]:
            starts[axis] = (sides[axis] - input_size[axis]) // 2
            mean_starts[axis] = (means[axis] - input_size[axis]) // 2
        else:
            starts[axis] = -((input_size[axis] - sides[axis]) // 2)
            mean_starts[axis] = (means[axis] - sides[axis]) // 2 if centre_mean else 0
    out = np.zeros((3, *input_size))
    for row in range(input_size[0]):
        for column in range(input_size[1]):
            source, of_mean = [0, 0], [0, 0]
            for axis, position in enumerate((row, column)):
                source[axis] = min(max(starts[axis] + position, 0), sides[axis] - 1)
                replicated = starts[axis] < 0
                of_mean[axis] = mean_starts[axis] + (source[axis] if replicated else position)
            for channel in range(3):
                level = int(resized[source[0], source[1], 2 - channel]) * 255 / 65535
                out[channel, row, column] = level - float(mean[channel, of_mean[0], of_mean[1]])
    return out


def mean_from_text(text: str) -> NDArray[np.float64]:
    """A text mean, number by number."""
    tokens = iter(text.split())
    channels, height, width = (int(next(tokens)) for _ in range(3))
    mean = np.zeros((channels, height, width))
    for channel in range(channels):
        for column in range(width):
            for row in range(height):
                mean[channel, row, column] = float(next(tokens))
    return mean
