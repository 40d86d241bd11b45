"""How strongly each pixel is shown: the share of its relevance in what is shown at full strength."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import UsageError

from .style import LARGEST, ROBUST, PictureStyle, percentile_of

_Pixels = NDArray[np.float64]
_LARGEST = float(np.finfo(np.float32).max)

#: (C, H, W) float64 -> (H, W).
_POOLED: dict[str, Callable[[_Pixels], _Pixels]] = {
    "sum": lambda relevance: relevance.sum(axis=0),
    "mean": lambda relevance: relevance.mean(axis=0),
    "l2": lambda relevance: np.sqrt(np.square(relevance).sum(axis=0)),
    "linf": lambda relevance: np.abs(relevance).max(axis=0),
    "abs-sum": lambda relevance: np.abs(relevance).sum(axis=0),
    "positive": lambda relevance: np.maximum(relevance, 0).sum(axis=0),
}


def pooled(relevance: NDArray[np.floating], pool: str) -> _Pixels:
    """(H, W): one number for each pixel of a map (C, H, W) or (H, W).

    What is not a number counts as 0, and what is larger than the largest number of float32 as that.

    Raises
    ------
    UsageError
        The relevance is no map: it has other axes, or a single position.
    """
    whole = relevance[np.newaxis] if relevance.ndim == 2 else relevance
    if whole.ndim != 3 or 0 in whole.shape or whole.shape[1:] == (1, 1):
        raise UsageError(
            f"relevance of shape {relevance.shape} is no map to draw; a map has channels, rows and columns"
        )
    with np.errstate(over="ignore"):  # what is too large is infinite
        numbers = whole.astype(np.float64)
    bounded = np.clip(np.nan_to_num(numbers, copy=False, nan=0.0), -_LARGEST, _LARGEST)
    return _POOLED[pool](bounded)


def _shown(pixels: _Pixels, style: PictureStyle) -> _Pixels:
    return np.maximum(pixels, 0) if style.is_positive else pixels


def reach_of(relevance: NDArray[np.floating], style: PictureStyle) -> float:
    """The relevance that is shown at full strength, at least 0; 0 in a map without any.

    Parameters
    ----------
    relevance
        (C, H, W) or (H, W).
    style
        Pool, sign and range are read. Source of ``robust``: rodrigobdz/lrp, after Montavon's tutorials.
    """
    if not isinstance(style.range, str):
        return style.range
    magnitudes = np.abs(_shown(pooled(relevance, style.pool), style))
    percentile = percentile_of(style.range)
    if percentile is not None:
        # Of a map with relevance in very few pixels that can be 0, and nothing would be seen of them.
        return float(np.percentile(magnitudes, percentile)) or float(magnitudes.max())
    return _REACHES[style.range](magnitudes)


_REACHES: dict[str, Callable[[_Pixels], float]] = {
    LARGEST: lambda magnitudes: float(magnitudes.max()),
    ROBUST: lambda magnitudes: float(10 * np.cbrt((magnitudes**3).mean())),
}


def strengths(
    relevance: NDArray[np.floating], style: PictureStyle, reach: float | None = None
) -> NDArray[np.float32]:
    """(H, W): the share of each pixel's relevance in ``reach``, from −1 to 1; 0 where nothing can be shown.

    Parameters
    ----------
    relevance
        (C, H, W) or (H, W).
    style
        Pool and sign are read, and the range unless ``reach`` is given.
    reach
        The relevance that is shown at full strength.
    """
    limit = reach_of(relevance, style) if reach is None else reach
    pixels = _shown(pooled(relevance, style.pool), style)
    if not limit > 0:
        return np.zeros(pixels.shape, np.float32)
    return np.clip(np.clip(pixels, -limit, limit) / limit, -1, 1).astype(np.float32)
