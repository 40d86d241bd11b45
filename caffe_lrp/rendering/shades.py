"""The colours of strengths under a style: a fine table of colours, and a palette of 256."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .colour_map import as_bytes
from .colour_maps import find_colour_map
from .style import PictureStyle

#: Entries of the fine table for strengths from 0 to 1.
_FINE = 2**15 - 1
#: Index of strength 0 in a palette: the middle of a symmetric one, the beginning of a positive one.
_MIDDLE, _LARGEST_INDEX = 128, 255


def bent(strengths: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    """Strengths with their magnitudes raised to an exponent; signs are kept."""
    if exponent == 1:
        return strengths
    magnitudes: NDArray[np.float32] = np.abs(strengths) ** np.float32(exponent)
    signed: NDArray[np.float32] = np.copysign(magnitudes, strengths)
    return signed


def colours(strengths: NDArray[np.float32], style: PictureStyle) -> NDArray[np.float32]:
    """Colours (…, 3) from 0 to 1 of strengths (…) from −1 to 1."""
    indices = np.rint(strengths * np.float32(_FINE)).astype(np.intp) + _FINE
    table = _fine_table(style.cmap, style.level, style.is_positive)
    found: NDArray[np.float32] = table.take(indices, axis=0)
    return found


def palette(style: PictureStyle) -> NDArray[np.uint8]:
    """(256, 3): the colours for the indices of `palette_indices`."""
    indices = np.arange(_LARGEST_INDEX + 1)
    reach, zero = (_LARGEST_INDEX, 0) if style.is_positive else (_MIDDLE - 1, _MIDDLE)
    shares = np.maximum((indices - zero) / reach, -1)
    return as_bytes(_colours_at(shares, style.cmap, style.level, style.is_positive))


def palette_indices(strengths: NDArray[np.float32], style: PictureStyle) -> NDArray[np.uint8]:
    """Indices of strengths s from −1 to 1: 128 + 127 s, for positive ones 255 s, rounded. They do not depend
    on the colour map, which can be replaced in the file.
    """  # noqa: D205 - a formula
    reach, zero = (_LARGEST_INDEX, 0) if style.is_positive else (_MIDDLE - 1, _MIDDLE)
    return (np.rint(strengths * reach) + zero).astype(np.uint8)


@lru_cache(maxsize=8)
def _fine_table(cmap: str, level: float, is_positive: bool) -> NDArray[np.float32]:
    shares = np.arange(-_FINE, _FINE + 1) / _FINE
    return _colours_at(shares, cmap, level, is_positive).astype(np.float32)


def _colours_at(
    shares: NDArray[np.float64], cmap: str, level: float, is_positive: bool
) -> NDArray[np.float64]:
    """Colours of strengths from −1 to 1; positive ones use the whole of a map without a middle."""
    colour_map = find_colour_map(cmap)
    scaled = np.clip(shares * level, -1, 1)
    begins_at_zero = is_positive and not colour_map.has_middle
    return colour_map(scaled if begins_at_zero else (scaled + 1) / 2)
