"""From relevance to a picture. Source: spec/reference.md §7."""

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.render import heatmap_colours


def heatmap_picture(relevance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The heatmap as an RGB picture (H, W, 3), for relevance (C, H, W).

    The mean over the channels is shown: positive values yellow, negative ones blue, both relative to the
    largest positive value, negative ones beyond it clamped. Without a positive value all is black.
    """
    per_pixel = relevance.mean(axis=0, dtype=np.float64)
    picture = np.empty((*per_pixel.shape, 3), np.uint8)
    heatmap_colours(per_pixel, float(per_pixel.max()), picture)
    return picture
