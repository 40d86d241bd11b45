"""Colours of a heatmap, and how much of it is visible. Source: manual: toolbox, "Output files"."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ._kernel import helper, kernel
from .blobs import Blob, Blob3


@kernel
def heatmap_colours(
    relevance: Annotated[NDArray[np.float64], 2], peak: float, out: Annotated[NDArray[np.uint8], 3]
) -> None:
    """Positive relevance in yellow, negative in blue, relative to the largest positive value.

    Parameters
    ----------
    relevance
        (H, W), one value per pixel.
    peak
        Its largest value; nothing is drawn unless it is positive.
    out
        (H, W, 3) in RGB, overwritten. Values below −``peak`` are full blue, and NaN is black.
    """
    if not peak > 0.0:
        out[:] = 0
        return
    # No branches on the sign, because it is unpredictable in a heatmap. max(0.0, NaN) is 0.0.
    for row in range(relevance.shape[0]):
        for column in range(relevance.shape[1]):
            share = relevance[row, column] / peak
            yellow = int(max(0.0, share) * 255.0 + 0.5)
            out[row, column, 0] = yellow
            out[row, column, 1] = yellow
            out[row, column, 2] = int(min(max(0.0, -share), 1.0) * 255.0 + 0.5)


@kernel
def count_visible(relevance: Blob3, least: float, most: int) -> int:
    """How many pixels of the heatmap have at least ``least`` of its peak brightness, in either colour.

    The largest positive value is the brightest, so without one nothing is visible. Counting stops
    at ``most``, because a few rows are usually enough to see that a map shows enough.

    Parameters
    ----------
    relevance
        (C, H, W).
    least
        Fraction of the peak brightness, above 0 and at most 1.
    most
        The number at which counting stops.
    """
    height = relevance.shape[1]
    sums = np.empty(relevance.shape[2])  # over channels: only ratios matter, so sums do as well as means
    peak = 0.0
    for row in range(height):
        _sum_row(relevance, row, sums)
        for pixel in sums:
            if pixel > peak:  # noqa: PLR1730 - a rarely taken branch, not a chain of maxima
                peak = pixel
    count = 0
    if peak > 0.0:
        faintest = least * peak
        for row in range(height):
            if count >= most:
                break
            _sum_row(relevance, row, sums)
            for pixel in sums:
                if abs(pixel) >= faintest:
                    count += 1
    return min(count, most)


@helper
def _sum_row(relevance: Blob, row: int, out: NDArray[np.float64]) -> None:
    """Sum one row of pixels over the channels, into ``out``."""
    out[:] = 0.0
    for channel in range(relevance.shape[0]):
        for column in range(out.size):
            out[column] += relevance[channel, row, column]
