"""A colour map: from positions between 0 and 1 to colours. `colour_maps` lists the maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

#: Decimals that count when a colour is rounded down to a byte: 0.8 · 255 is 204, not slightly less.
_DIGITS = 12

#: (position, level): the level of red, green or blue at a position.
Point = tuple[float, float]


@dataclass(frozen=True)
class ColourMap:
    """Red, green and blue, each linear between given points.

    Attributes
    ----------
    channels
        The points of red, green and blue; positions ascend from 0 or less to 1 or more. Two points at one
        position make a hard edge, where the right-hand level counts.
    has_middle
        Whether its middle is relevance 0, and its halves are opposite signs.
    steps
        Number of equal steps of one colour each, whose colours are spaced evenly from position 0 to 1; 0:
        the map is continuous.
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
        """The reversed map."""
        red, green, blue = (tuple((1 - at, level) for at, level in points[::-1]) for points in self.channels)
        return ColourMap((red, green, blue), self.has_middle, self.steps)


def of_nodes(
    nodes: Sequence[tuple[float, Sequence[float]]], *, has_middle: bool, steps: int = 0
) -> ColourMap:
    """The map with given colours (red, green, blue) at given positions."""
    red, green, blue = (tuple((at, colour[channel]) for at, colour in nodes) for channel in range(3))
    return ColourMap((red, green, blue), has_middle, steps)


def as_bytes(colours: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours from 0 to 1 as integers from 0 to 255, rounded down."""
    return np.floor(np.round(255 * colours, _DIGITS)).astype(np.uint8)


def _at(points: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    places, levels = points.T
    left = np.clip(np.searchsorted(places, positions, side="right") - 1, 0, len(places) - 2)
    share = (positions - places[left]) / (places[left + 1] - places[left])
    mixed: NDArray[np.float64] = levels[left] * (1 - share) + levels[left + 1] * share
    return mixed
