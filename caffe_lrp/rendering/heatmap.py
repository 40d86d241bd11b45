"""The heatmap of relevance, and whether anything can be seen in it.

Source: manual: toolbox, "Output files".
"""

import math

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.render import count_visible, heatmap_colours

#: A pixel is visible if one of its colours reaches this share of the brightest in the picture, 255.
LEAST_BRIGHTNESS = 0.2
#: Share of the largest positive value from which a pixel is that bright after rounding.
_LEAST_RELEVANCE = (LEAST_BRIGHTNESS * 255 - 0.5) / 255
#: A picture with a smaller share of visible pixels is dark.
LEAST_VISIBLE = 0.005


def heatmap_picture(relevance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The heatmap as an RGB picture (H, W, 3), for relevance (C, H, W).

    It shows the mean over the channels: positive values yellow, negative values blue, both relative to the
    largest positive value; larger negative magnitudes are clipped. Without a positive value all is black.
    """
    per_pixel = relevance.mean(axis=0, dtype=np.float64)
    picture = np.empty((*per_pixel.shape, 3), np.uint8)
    heatmap_colours(per_pixel, float(per_pixel.max()), picture)
    return picture


def visible_share(relevance: NDArray[np.float32], enough: float = LEAST_VISIBLE) -> float:
    """Share of visible pixels in the `heatmap_picture` of relevance (C, H, W), which is not painted.

    Counting may stop early: a result of at least ``enough`` only means that the share is at least that.
    """
    pixels: int = math.prod(relevance.shape[1:])
    return count_visible(relevance, _LEAST_RELEVANCE, math.ceil(enough * pixels)) / pixels
