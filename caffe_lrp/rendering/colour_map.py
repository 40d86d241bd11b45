"""A colour map: from positions between 0 and 1 to colours. Which maps there are is told in `colour_maps`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

#: Digits behind the point that count when a colour becomes a byte: 0.8 · 255 is 204, not a little less.
_DIGITS = 12

#: (position, level): where a colour has which share of red, green or blue.
Point = tuple[float, float]


@dataclass(frozen=True)
class ColourMap:
    """Red, green and blue, each linear between points.

    Attributes
    ----------
    channels
        The points of red, green and blue, positions ascending from 0 or less to 1 or more. Two points at one
        position are a hard edge, which belongs to the right-hand side.
    has_middle
        Whether its middle stands for 0, and both halves for opposite signs.
    steps
        A position counts as the beginning of one of so many equal steps, whose colours are spread evenly
        from 0 to 1; 0: it counts as it is.
    """

    channels: tuple[tuple[Point, ...], tuple[Point, ...], tuple[Point, ...]]
    has_middle: bool
    steps: int = 0

    def __call__(self, positions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Colours (…, 3) from 0 to 1 at positions (…), which are clipped to 0 to 1."""
        clipped = np.clip(positions, 0.0, 1.0).astype(np.float64)
        if self.steps:
            clipped = np.minimum(np.floor(clipped * self.steps), self.steps - 1) / (self.steps - 1)
        return np.stack([_at(points, clipped) for points in self._points], axis=-1)

    @cached_property
    def _points(self) -> tuple[NDArray[np.float64], ...]:
        return tuple(np.array(points, np.float64) for points in self.channels)

    @property
    def reversed(self) -> "ColourMap":
        """The map from its other end."""
        red, green, blue = (tuple((1 - at, level) for at, level in points[::-1]) for points in self.channels)
        return ColourMap((red, green, blue), self.has_middle, self.steps)


def of_nodes(
    nodes: Sequence[tuple[float, Sequence[float]]], *, has_middle: bool, steps: int = 0
) -> ColourMap:
    """The map that has given colours (red, green, blue) at given positions."""
    red, green, blue = (tuple((at, colour[channel]) for at, colour in nodes) for channel in range(3))
    return ColourMap((red, green, blue), has_middle, steps)


def as_bytes(colours: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours from 0 to 1 as 0 to 255, rounded down."""
    return np.floor(np.round(255 * colours, _DIGITS)).astype(np.uint8)


def _at(points: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    places, levels = points.T
    left = np.clip(np.searchsorted(places, positions, side="right") - 1, 0, len(places) - 2)
    share = (positions - places[left]) / (places[left + 1] - places[left])
    mixed: NDArray[np.float64] = levels[left] * (1 - share) + levels[left + 1] * share
    return mixed
