"""Colours of a heatmap. Source: spec/reference.md §7, ``_heatmap.png``."""

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel


@kernel
def heatmap_colours(relevance: NDArray[np.float64], peak: float, out: NDArray[np.uint8]) -> None:
    """Positive relevance in yellow, negative in blue, relative to the largest positive value.

    Parameters
    ----------
    relevance
        (H, W), one value per pixel.
    peak
        Its largest value; nothing is drawn unless it is positive.
    out
        (H, W, 3) in RGB, overwritten. Negative values beyond −``peak`` are full blue, and what is not a
        number is black.
    """
    if not peak > 0.0:
        out[:] = 0
        return
    # Without branches on the sign: in a heatmap it cannot be predicted. max(0.0, NaN) is 0.0.
    for row in range(relevance.shape[0]):
        for column in range(relevance.shape[1]):
            share = relevance[row, column] / peak
            yellow = int(max(0.0, share) * 255.0 + 0.5)
            out[row, column, 0] = yellow
            out[row, column, 1] = yellow
            out[row, column, 2] = int(min(max(0.0, -share), 1.0) * 255.0 + 0.5)
