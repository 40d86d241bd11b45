"""Resizing maps: to their position in a photo, and enlarging small ones."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from caffe_lrp.imaging.place import Place

#: Pictures whose longer side has fewer pixels are enlarged.
LEAST_SIDE = 224


def enlargement(height: int, width: int, least: int = LEAST_SIDE) -> int:
    """Return the smallest whole factor that makes the longer side of a picture at least ``least`` pixels."""
    return -(-least // max(height, width))


def enlarged(array: NDArray[Any], times: int) -> NDArray[Any]:
    """An array (H, W, …) with every pixel repeated ``times`` times in both directions."""
    return array if times == 1 else array.repeat(times, axis=0).repeat(times, axis=1)


def whole(height: int, width: int) -> Place:
    """The place of an input that is the whole picture."""
    return Place(height, width, 0.0, 0.0, float(height), float(width))


class PlacedMap:
    """A map's strengths at the size of a picture, band by band: 0 where the net did not see the picture.

    They are interpolated linearly between the centres of the map's pixels. If the picture has fewer pixels
    than the map, the map's pixels are averaged first.

    Parameters
    ----------
    strengths
        (h, w) of the map.
    place
        Position of the map in the picture.
    """

    def __init__(self, strengths: NDArray[np.float32], place: Place) -> None:
        self._rows = _Axis.of(place.top, place.bottom, place.height, strengths.shape[0])
        columns = _Axis.of(place.left, place.right, place.width, strengths.shape[1])
        kept = (self._rows.kept, columns.kept)
        if kept != strengths.shape:
            strengths = np.asarray(
                cv2.resize(strengths, kept[::-1], interpolation=cv2.INTER_AREA), np.float32
            )
        self._across = columns.interpolated(strengths.T, slice(None)).T
        self._seen_columns = columns.is_seen

    def band(self, rows: slice) -> NDArray[np.float32]:
        """(rows, W): the strengths."""
        return self._rows.interpolated(self._across, rows)

    def is_seen(self, rows: slice) -> NDArray[np.bool_]:
        """(rows, W): whether the net saw the pixels."""
        return self._rows.is_seen[rows, np.newaxis] & self._seen_columns


class _Axis:
    """One axis of a picture: the two samples of the map between which each row lies.

    Parameters
    ----------
    start, end
        Edges of the map on the axis, in pixels of the picture.
    length
        Pixels of the picture.
    kept
        Number of samples of the map.
    """

    def __init__(self, start: float, end: float, length: int, kept: int) -> None:
        self.kept = kept
        centres = (np.arange(length) + 0.5 - start) / (end - start)
        self.is_seen = (centres >= 0) & (centres <= 1)
        at = np.clip(centres * kept - 0.5, 0, kept - 1)
        self._before = np.floor(at).astype(np.intp)
        self._after = np.minimum(self._before + 1, kept - 1)
        self._share = (at - self._before).astype(np.float32)

    @classmethod
    def of(cls, start: float, end: float, length: int, samples: int) -> "_Axis":
        """The axis for a map of ``samples`` samples; fewer are kept if the picture has fewer pixels there."""
        return cls(start, end, length, min(samples, max(1, round(end - start))))

    def interpolated(self, samples: NDArray[np.float32], rows: slice) -> NDArray[np.float32]:
        """Samples (kept, …) at rows of the picture."""
        share = self._share[rows, np.newaxis]
        before, after = samples[self._before[rows]], samples[self._after[rows]]
        values: NDArray[np.float32] = before * (1 - share) + after * share
        values[~self.is_seen[rows]] = 0
        return values
