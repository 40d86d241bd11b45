"""How large an image becomes, with which filter, and its pixels as 16-bit RGB.

The arithmetic of the passes is in ``kernels/resize.py``. Source: spec/reference.md §4 item 2.
"""

import math
from collections.abc import Callable

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

from .decode import ColourModel, DecodedImage

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
    samples = image.samples
    if size != samples.shape[:2]:
        filter_code = choose_filter(image, *size)
        if image.colours is ColourModel.RGBA:
            samples = _resample_matte(samples, *size, filter_code)
        else:
            samples = _resample(samples, *size, filter_code)
    return _as_rgb(samples, image.colours)


def target_size(height: int, width: int, base_size: int) -> tuple[int, int]:
    """Height and width after resizing; the long side can be one pixel short of ``base_size``.

    The longer side is scaled to ``base_size`` and both sides are rounded (half away from zero); then the
    aspect is kept *inside* that box, which can cost the long side a pixel.
    """
    scale = base_size / max(height, width)
    box_height, box_width = math.floor(height * scale + 0.5), math.floor(width * scale + 0.5)
    factor = min(box_height / height, box_width / width)
    return max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))


def _stretched(sides: Size, base_size: int, inputs: Size) -> Size:
    """The base box itself: the whole image fills it, out of proportion or not."""
    del sides
    return _base_box(base_size, inputs)


def _covering(sides: Size, base_size: int, inputs: Size) -> Size:
    """The smallest size in proportion that covers the base box."""
    box = _base_box(base_size, inputs)
    factor = max(box[0] / sides[0], box[1] / sides[1])
    return max(box[0], math.floor(sides[0] * factor + 0.5)), max(box[1], math.floor(sides[1] * factor + 0.5))


def _base_box(base_size: int, inputs: Size) -> Size:
    """A box in proportion to the input, whose longer side is ``base_size``."""
    scale = base_size / max(inputs)
    return math.floor(inputs[0] * scale + 0.5), math.floor(inputs[1] * scale + 0.5)


#: How images come to their size before the crop: name -> the size for the image's own, the base size and the
#: size of the input. For square inputs the base box is as wide and as high as the base size.
RESIZE_MODES: dict[str, Callable[[Size, int, Size], Size]] = {
    "reference": lambda sides, base_size, _: target_size(*sides, base_size),
    "stretch": _stretched,
    "short-side": _covering,
    "none": lambda sides, _, __: sides,
}


def choose_filter(image: DecodedImage, new_height: int, new_width: int) -> int:
    """``MITCHELL`` for palettes, alpha, 8-bit gray (PNG, JPEG) and enlarging, else ``LANCZOS``."""
    height, width = image.samples.shape[:2]
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


def _columns_first(samples: Samples, new_height: int, new_width: int) -> bool:
    """Whether the horizontal axis has the larger factor."""
    height, width = samples.shape[:2]
    return bool(new_width / width > new_height / height)


def _resample(samples: Samples, new_height: int, new_width: int, filter_code: int) -> Samples:
    """(H, W, C) to (new_height, new_width, C), planes independent of each other."""
    height, width, planes = samples.shape
    row_taps = _taps(height, new_height, filter_code)
    column_taps = _taps(width, new_width, filter_code)
    if _columns_first(samples, new_height, new_width):
        between = np.empty((height, new_width, planes), np.uint16)
        resample_columns(samples, *column_taps, between)
        out = np.empty((new_height, new_width, planes), np.uint16)
        resample_rows(between.reshape(height, -1), *row_taps, out.reshape(new_height, -1))
        return out
    between = np.empty((new_height, width, planes), np.uint16)
    resample_rows(samples.reshape(height, -1), *row_taps, between.reshape(new_height, -1))
    out = np.empty((new_height, new_width, planes), np.uint16)
    resample_columns(between, *column_taps, out)
    return out


def _resample_matte(samples: Samples, new_height: int, new_width: int, filter_code: int) -> Samples:
    """(H, W, 4) RGBA to (new_height, new_width, 4), its last plane opacity instead of alpha."""
    height, width = samples.shape[:2]
    row_taps = _taps(height, new_height, filter_code)
    column_taps = _taps(width, new_width, filter_code)
    source = samples.copy()
    source[..., 3] = _LARGEST - source[..., 3]
    out = np.empty((new_height, new_width, 4), np.uint16)
    if _columns_first(samples, new_height, new_width):
        between = np.empty((height, new_width, 4), np.uint16)
        resample_rows_matte(source.transpose(1, 0, 2), *column_taps, between.transpose(1, 0, 2))
        resample_rows_matte(between, *row_taps, out)
    else:
        between = np.empty((new_height, width, 4), np.uint16)
        resample_rows_matte(source, *row_taps, between)
        resample_rows_matte(between.transpose(1, 0, 2), *column_taps, out.transpose(1, 0, 2))
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
