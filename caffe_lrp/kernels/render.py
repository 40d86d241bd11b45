"""Colours of a heatmap, and how much of it can be seen. Source: manual: toolbox, "Output files"."""

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


@kernel
def count_visible(relevance: Blob3, least: float, most: int) -> int:
    """How many pixels of the heatmap reach ``least`` of its brightest colour in any colour.

    The brightest colour is that of the largest positive value, so nothing is visible without one. Counting
    ends at ``most``: that a map shows enough is mostly known after a few rows.

    Parameters
    ----------
    relevance
        (C, H, W).
    least
        Share of the brightest colour, above 0 and at most 1.
    most
        The largest number that matters.
    """
    height = relevance.shape[1]
    sums = np.empty(relevance.shape[2])  # over channels: as good as means, for what is relative
    peak = 0.0
    for row in range(height):
        _sum_row(relevance, row, sums)
        for pixel in sums:
            if pixel > peak:  # noqa: PLR1730 - a branch that is hardly ever taken, not a chain of maxima
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
    """One row of pixels, summed over the channels, into ``out``."""
    out[:] = 0.0
    for channel in range(relevance.shape[0]):
        for column in range(out.size):
            out[column] += relevance[channel, row, column]
