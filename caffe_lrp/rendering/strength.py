"""The strength of each pixel: its relevance as a share of the relevance that is shown at full strength."""

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

    NaN counts as 0; larger magnitudes than the largest of float32 are clipped to it.

    Raises
    ------
    UsageError
        The relevance is not a map: it has other axes, or a single position.
    """
    whole = relevance[np.newaxis] if relevance.ndim == 2 else relevance
    if whole.ndim != 3 or 0 in whole.shape or whole.shape[1:] == (1, 1):
        raise UsageError(
            f"relevance of shape {relevance.shape} is not a map that can be drawn; a map has channels, "
            "rows and columns"
        )
    with np.errstate(over="ignore"):  # overflow gives infinity
        numbers = whole.astype(np.float64)
    bounded = np.clip(np.nan_to_num(numbers, copy=False, nan=0.0), -_LARGEST, _LARGEST)
    return _POOLED[pool](bounded)


def _shown(pixels: _Pixels, style: PictureStyle) -> _Pixels:
    return np.maximum(pixels, 0) if style.is_positive else pixels


def reach_of(relevance: NDArray[np.floating], style: PictureStyle) -> float:
    """The relevance that is shown at full strength, at least 0; 0 for a map without relevance.

    Parameters
    ----------
    relevance
        (C, H, W) or (H, W).
    style
        Its pool, sign and range are used. Source of ``robust``: rodrigobdz/lrp, after Montavon's tutorials.
    """
    if not isinstance(style.range, str):
        return style.range
    magnitudes = np.abs(_shown(pooled(relevance, style.pool), style))
    percentile = percentile_of(style.range)
    if percentile is not None:
        # With relevance in very few pixels the percentile can be 0, and none of them would be visible.
        return float(np.percentile(magnitudes, percentile)) or float(magnitudes.max())
    return _REACHES[style.range](magnitudes)


_REACHES: dict[str, Callable[[_Pixels], float]] = {
    LARGEST: lambda magnitudes: float(magnitudes.max()),
    ROBUST: lambda magnitudes: float(10 * np.cbrt((magnitudes**3).mean())),
}


def strengths(
    relevance: NDArray[np.floating], style: PictureStyle, reach: float | None = None
) -> NDArray[np.float32]:
    """(H, W): each pixel's relevance divided by ``reach``, from −1 to 1; 0 if there is nothing to show.

    Parameters
    ----------
    relevance
        (C, H, W) or (H, W).
    style
        Its pool and sign are used, and its range unless ``reach`` is given.
    reach
        The relevance that is shown at full strength.
    """
    limit = reach_of(relevance, style) if reach is None else reach
    pixels = _shown(pooled(relevance, style.pool), style)
    if not limit > 0:
        return np.zeros(pixels.shape, np.float32)
    return np.clip(np.clip(pixels, -limit, limit) / limit, -1, 1).astype(np.float32)
