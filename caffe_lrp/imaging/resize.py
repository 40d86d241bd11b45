"""Resizing: the new size of an image, the filter, and the resized pixels as 16-bit RGB.

The arithmetic of the passes is in ``kernels/resize.py``. Source: manual: toolbox, "Resizing".
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.resize import (
    EPSILON,
    LANCZOS,
    LANCZOS_SUPPORT,
    MITCHELL,
    MITCHELL_SUPPORT,
    Samples,
    contributions,
    resample_columns,
    resample_rows,
    resample_rows_matte,
)

from .pixels import ColourModel, DecodedImage, Pixels, strips

_LARGEST = 65535
_SUPPORT = {MITCHELL: MITCHELL_SUPPORT, LANCZOS: LANCZOS_SUPPORT}

Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
Size = tuple[int, int]


def resize(image: DecodedImage, size: Size) -> Samples:
    """The image resized, as RGB without alpha.

    Parameters
    ----------
    image
        A decoded image.
    size
        Its new height and width.

    Returns
    -------
    (H, W, 3) uint16 in 0..65535.
    """
    if size == image.sides:
        return _as_rgb(image.samples, image.colours)
    passes = _MATTE if image.colours is ColourModel.RGBA else _PLAIN
    return _as_rgb(_resample(image.pixels, *size, choose_filter(image, *size), passes), image.colours)


def target_size(height: int, width: int, base_size: int) -> tuple[int, int]:
    """Height and width after resizing; the long side can be one pixel short of ``base_size``.

    The longer side is scaled to ``base_size`` and both sides are rounded (half away from zero). Then the
    image is fitted *into* that box with its aspect ratio, which can make the long side a pixel shorter.
    """
    scale = base_size / max(height, width)
    box_height, box_width = math.floor(height * scale + 0.5), math.floor(width * scale + 0.5)
    factor = min(box_height / height, box_width / width)
    return max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))


def _stretched(sides: Size, base_size: int, inputs: Size) -> Size:
    """The base box: the whole image is stretched to fill it."""
    del sides
    return _base_box(base_size, inputs)


def _covering(sides: Size, base_size: int, inputs: Size) -> Size:
    """The smallest size with the image's aspect ratio that covers the base box."""
    box = _base_box(base_size, inputs)
    factor = max(box[0] / sides[0], box[1] / sides[1])
    return max(box[0], math.floor(sides[0] * factor + 0.5)), max(box[1], math.floor(sides[1] * factor + 0.5))


def _base_box(base_size: int, inputs: Size) -> Size:
    """A box with the input's aspect ratio and ``base_size`` as its longer side."""
    scale = base_size / max(inputs)
    return math.floor(inputs[0] * scale + 0.5), math.floor(inputs[1] * scale + 0.5)


#: How images are resized before the crop: name -> the new size, from the image's size, the base size and the
#: input size. For square inputs the base box is as wide and as high as the base size.
RESIZE_MODES: dict[str, Callable[[Size, int, Size], Size]] = {
    "reference": lambda sides, base_size, _: target_size(*sides, base_size),
    "stretch": _stretched,
    "short-side": _covering,
    "none": lambda sides, _, __: sides,
}


def choose_filter(image: DecodedImage, new_height: int, new_width: int) -> int:
    """``MITCHELL`` for palettes, alpha, 8-bit gray (PNG, JPEG) and for enlarging, else ``LANCZOS``."""
    height, width = image.sides
    if image.uses_mitchell or (new_width / width) * (new_height / height) > 1.0:
        return MITCHELL
    return LANCZOS


def _taps(inputs: int, outputs: int, filter_code: int) -> Taps:
    """Contributions of one axis: starts (outputs,), counts (outputs,), weights (outputs, taps)."""
    scale = max(1.0 / (outputs / inputs) + EPSILON, 1.0)
    support = max(scale * _SUPPORT[filter_code], 0.5)
    starts = np.empty(outputs, np.int64)
    counts = np.empty(outputs, np.int64)
    weights = np.empty((outputs, int(2.0 * support) + 3), np.float64)
    contributions(inputs, filter_code, scale, support, starts, counts, weights)
    return starts, counts, weights


class _Passes(NamedTuple):
    """How the two axes are resampled.

    Attributes
    ----------
    prepared
        Prepares the samples of a part for the passes.
    rows, columns
        The vertical and the horizontal pass; arguments: samples, contributions, and the array for the result.
    """

    prepared: Callable[[Samples], Samples]
    rows: Callable[[Samples, Taps, Samples], None]
    columns: Callable[[Samples, Taps, Samples], None]


def _plain_rows(samples: Samples, taps: Taps, out: Samples) -> None:
    resample_rows(samples.reshape(samples.shape[0], -1), *taps, out.reshape(out.shape[0], -1))


def _plain_columns(samples: Samples, taps: Taps, out: Samples) -> None:
    resample_columns(samples, *taps, out)


def _matte_rows(samples: Samples, taps: Taps, out: Samples) -> None:
    resample_rows_matte(samples, *taps, out)


def _matte_columns(samples: Samples, taps: Taps, out: Samples) -> None:
    turned = np.empty((out.shape[1], out.shape[0], out.shape[2]), np.uint16)
    resample_rows_matte(np.ascontiguousarray(samples.transpose(1, 0, 2)), *taps, turned)
    out[:] = turned.transpose(1, 0, 2)


def _with_opacity(samples: Samples) -> Samples:
    """RGBA samples with opacity instead of alpha."""
    prepared = samples.copy()
    prepared[..., 3] = _LARGEST - prepared[..., 3]
    return prepared


#: For independent planes; and for (H, W, 4) RGBA, whose last plane becomes opacity.
_PLAIN = _Passes(np.ascontiguousarray, _plain_rows, _plain_columns)
_MATTE = _Passes(_with_opacity, _matte_rows, _matte_columns)


def _resample(pixels: Pixels, new_height: int, new_width: int, filter_code: int, passes: _Passes) -> Samples:
    """(H, W, C) to (new_height, new_width, C), the axis with the larger factor first.

    The first pass works strip by strip. The result does not depend on the edges of strips: each sum is over
    one row, or one column.
    """
    height, width, planes = pixels.shape
    row_taps = _taps(height, new_height, filter_code)
    column_taps = _taps(width, new_width, filter_code)
    out = np.empty((new_height, new_width, planes), np.uint16)
    if new_width / width > new_height / height:
        between = np.empty((height, new_width, planes), np.uint16)
        for rows in strips(height, width):
            passes.columns(passes.prepared(pixels[rows, :]), column_taps, between[rows])
        passes.rows(between, row_taps, out)
        return out
    between = np.empty((new_height, width, planes), np.uint16)
    for columns in strips(width, height):
        part = np.empty_like(between[:, columns], order="C")
        passes.rows(passes.prepared(pixels[:, columns]), row_taps, part)
        between[:, columns] = part
    passes.columns(between, column_taps, out)
    return out


def _as_rgb(samples: Samples, colours: ColourModel) -> Samples:
    """Three planes: gray replicated, alpha dropped, inks subtracted from white."""
    if colours is ColourModel.GRAY:
        return np.repeat(samples, 3, axis=2)
    if colours is ColourModel.CMYK:
        light = _LARGEST - samples.astype(np.uint64)
        product = light[..., :3] * light[..., 3:]
        return ((product + _LARGEST // 2) // _LARGEST).astype(np.uint16)
    return np.ascontiguousarray(samples[..., :3])
