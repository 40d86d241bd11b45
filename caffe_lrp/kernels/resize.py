"""Resampling as ImageMagick 6 (16-bit integer build) does it: filters, contributions, one pass per axis.

Samples are unsigned 16-bit integers in 0..65535, C-ordered (H, W, C). Every sum is accumulated in float64
in the order of the input pixels and rounded to 16 bits once per pass, because the reference does so and
its rounding affects grey levels. ``imaging/resize.py`` chooses the filter and which axis comes first.
Source: manual: toolbox, "Resizing".
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ._kernel import helper, kernel

Samples = NDArray[np.uint16]

#: Samples (H, W·C) and (H, W, C); pixels of an axis, and their weights.
Rows = Annotated[NDArray[np.uint16], 2]
Planes = Annotated[NDArray[np.uint16], 3]
Places = Annotated[NDArray[np.int64], 1]
Weights = Annotated[NDArray[np.float64], 2]

MITCHELL = 0
LANCZOS = 1

#: Half-widths of the two filters in units of their own argument.
MITCHELL_SUPPORT = 2.0
LANCZOS_SUPPORT = 3.0

#: ImageMagick's epsilon, added to centres and scales and used to guard reciprocals.
EPSILON = 1e-12

#: Largest sample, and its reciprocal (multiplying by it rounds as in ImageMagick, dividing does not).
LARGEST = 65535.0
UNIT = 1.0 / 65535.0

#: Rows that ``resample_columns`` processes together, so that its inner loop is contiguous.
ROWS_AT_ONCE = 16

#: Samples of a row that ``resample_rows`` processes together, so that their sums stay in the L1 cache.
COLUMNS_AT_ONCE = 1024


@helper
def mitchell(x: float) -> float:
    """Value of the Mitchell filter (cubic, B = C = 1/3) at ``x`` ≥ 0."""
    b = 1.0 / 3.0
    c = 1.0 / 3.0
    if x < 1.0:
        inner = -3.0 + 2.0 * b + c
        return (1.0 - (1.0 / 3.0) * b) + x * (x * (inner + x * (2.0 - 1.5 * b - c)))
    if x < 2.0:
        linear = -8.0 * c - 2.0 * b
        outer = (b + 5.0 * c) + x * ((-1.0 / 6.0) * b - c)
        return ((4.0 / 3.0) * b + 4.0 * c) + x * (linear + x * outer)
    return 0.0


@helper
def sinc(x: float) -> float:
    """sin(πx)/(πx) for 0 ≤ ``x`` ≤ 4 as ImageMagick's polynomial, with exact zeros at 1, 2, 3 and 4."""
    if x > 4.0:
        angle = np.pi * x
        return float(np.sin(angle) / angle)
    square = x * x
    value = -0.177084805010701112639035485248501049364e-15
    value = 0.253524321426864752676094495396308636823e-13 + square * value
    value = -0.187208577776590710853865174371617338991e-11 + square * value
    value = 0.957694196677572570319816780188718518330e-10 + square * value
    value = -0.372895101408779549368465614321137048875e-8 + square * value
    value = 0.111902032818095784414237782071368805120e-6 + square * value
    value = -0.250963301609117217660068889165550534856e-5 + square * value
    value = 0.394201182359318128221229891724947048771e-4 + square * value
    value = -0.384240921114946632192116762889211361285e-3 + square * value
    value = 0.173611107357320220183368594093166520811e-2 + square * value
    return (square - 1.0) * (square - 4.0) * (square - 9.0) * (square - 16.0) * value


@helper
def filter_value(distance: float, filter_code: int) -> float:
    """Value of the filter ``filter_code`` (``MITCHELL`` or ``LANCZOS``) at a signed ``distance``."""
    x = abs(distance)
    if filter_code == MITCHELL:
        return mitchell(x)
    return sinc(x * (1.0 / 3.0)) * sinc(x)


@kernel
def contributions(
    inputs: int,
    filter_code: int,
    scale: float,
    support: float,
    starts: Places,
    counts: Places,
    weights: Weights,
) -> None:
    """Find the input pixels of each output pixel of one axis, and their normalized weights.

    Parameters
    ----------
    inputs
        Input pixels along the axis.
    filter_code
        ``MITCHELL`` or ``LANCZOS``.
    scale, support
        Stretch of the filter and its half-width, both in input pixels.
    starts, counts
        (outputs,), overwritten: first input pixel and number of input pixels.
    weights
        (outputs, ≥ largest count), overwritten as far as ``counts`` says.
    """
    outputs = starts.shape[0]
    factor = outputs / inputs
    inverse_scale = 1.0 / scale
    for output in range(outputs):
        centre = (output + 0.5) / factor + EPSILON
        start = int(max(centre - support + 0.5, 0.0))
        stop = int(min(centre + support + 0.5, float(inputs)))
        density = 0.0
        for tap in range(stop - start):
            weight = filter_value(inverse_scale * (float(start + tap) - centre + 0.5), filter_code)
            weights[output, tap] = weight
            density += weight
        if density not in (0.0, 1.0):
            normalise = reciprocal(density)
            for tap in range(stop - start):
                weights[output, tap] *= normalise
        starts[output] = start
        counts[output] = stop - start


@helper
def reciprocal(value: float) -> float:
    """1/``value``, its magnitude limited to 1/``EPSILON``."""
    sign = -1.0 if value < 0.0 else 1.0
    return sign / max(abs(value), EPSILON)


@helper
def to_sample(value: float) -> np.int32:
    """``value`` clamped to 0..65535 and rounded half up; without branches, so that loops are vectorized."""
    return np.int32(min(max(value, 0.0), LARGEST) + 0.5)


@kernel
def resample_rows(
    samples: Rows,
    starts: Places,
    counts: Places,
    weights: Weights,
    out: Rows,
) -> None:
    """Vertical pass: weighted sums of rows, separately for each plane.

    Parameters
    ----------
    samples
        (H, W·C), planes interleaved.
    starts, counts, weights
        From ``contributions``.
    out
        (H_out, W·C), overwritten.
    """
    width = samples.shape[1]
    sums = np.empty(COLUMNS_AT_ONCE, np.float64)
    for left in range(0, width, COLUMNS_AT_ONCE):
        size = min(COLUMNS_AT_ONCE, width - left)
        for row in range(out.shape[0]):
            sums[:] = 0.0
            for tap in range(counts[row]):
                weight = weights[row, tap]
                source = samples[starts[row] + tap, left : left + size]
                for i in range(size):
                    sums[i] += weight * source[i]
            for i in range(size):
                out[row, left + i] = to_sample(sums[i])


@kernel
def resample_columns(
    samples: Planes,
    starts: Places,
    counts: Places,
    weights: Weights,
    out: Planes,
) -> None:
    """Horizontal pass: weighted sums of columns, separately for each plane.

    ``ROWS_AT_ONCE`` rows are copied and interleaved as float64, so that the sums of one output pixel in all
    planes and rows are one contiguous vector. Each sum is taken in the order of the pixels.

    Parameters
    ----------
    samples
        (H, W, C).
    starts, counts, weights
        From ``contributions``.
    out
        (H, W_out, C), overwritten.
    """
    height, width, planes = samples.shape
    vector = planes * ROWS_AT_ONCE
    lanes = np.zeros((width, vector), np.float64)
    sums = np.empty(vector, np.float64)
    for top in range(0, height, ROWS_AT_ONCE):
        rows = min(ROWS_AT_ONCE, height - top)
        for lane in range(rows):
            for column in range(width):
                for plane in range(planes):
                    lanes[column, plane * ROWS_AT_ONCE + lane] = samples[top + lane, column, plane]
        for column in range(out.shape[1]):
            sums[:] = 0.0
            for tap in range(counts[column]):
                weight = weights[column, tap]
                source = lanes[starts[column] + tap]
                for i in range(vector):
                    sums[i] += weight * source[i]
            for lane in range(rows):
                for plane in range(planes):
                    out[top + lane, column, plane] = to_sample(sums[plane * ROWS_AT_ONCE + lane])


@kernel
def resample_rows_matte(
    samples: Planes,
    starts: Places,
    counts: Places,
    weights: Weights,
    out: Planes,
) -> None:
    """Vertical pass with alpha: colours are weighted by how opaque they are.

    The opacity plane (0 is opaque) is resampled unweighted. For the horizontal pass, give the
    arrays with their first two axes swapped.

    Parameters
    ----------
    samples
        (H, W, 4): red, green, blue, opacity.
    starts, counts, weights
        From ``contributions``.
    out
        (H_out, W, 4), overwritten.
    """
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            red = green = blue = opacity = gamma = 0.0
            for tap in range(counts[row]):
                pixel = samples[starts[row] + tap, column]
                weight = weights[row, tap]
                share = weight * UNIT * (LARGEST - pixel[3])
                red += share * pixel[0]
                green += share * pixel[1]
                blue += share * pixel[2]
                opacity += weight * pixel[3]
                gamma += share
            gamma = reciprocal(gamma)
            out[row, column, 0] = to_sample(gamma * red)
            out[row, column, 1] = to_sample(gamma * green)
            out[row, column, 2] = to_sample(gamma * blue)
            out[row, column, 3] = to_sample(opacity)
