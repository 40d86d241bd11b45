"""``caffe.io.resize_image``: what scikit-image and SciPy made of it in Caffe's days, without antialiasing."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blob import Floats
from .faults import CaffeValueError

Doubles = NDArray[np.float64]


def resize_image(im: NDArray[Any], new_dims: tuple[int, int], interp_order: int = 1) -> Floats:
    """``im`` (H, W, K) in the size (h, w): float32.

    Images of 1 or 3 channels are interpolated between pixel centres; outside there is the least number of the
    image. Others are interpolated from corner to corner, as by ``scipy.ndimage.zoom``.

    Parameters
    ----------
    im
        The image.
    new_dims
        Height and width.
    interp_order
        1: bilinear; 0: the nearest pixel.

    Raises
    ------
    CaffeValueError
        It is no image, a size is not positive, or the order is another.
    """
    image = np.asarray(im)
    if image.ndim != 3 or not image.size or len(new_dims) != 2 or min(new_dims) < 1:
        raise CaffeValueError(
            f"resize_image needs an image (height, width, channels) and a size (height, width), not the "
            f"shape {image.shape} and {tuple(new_dims)}"
        )
    if interp_order not in (0, 1):
        raise CaffeValueError(f"resize_image: interp_order must be 1 (bilinear) or 0, not {interp_order}")
    if image.shape[2] not in (1, 3):
        return _resized(image.astype(np.float64), new_dims, _corners, interp_order).astype(np.float32)
    least, greatest = float(image.min()), float(image.max())
    if least == greatest:
        return np.full((*new_dims, image.shape[2]), least, np.float32)
    unit = (image.astype(np.float64) - least) / (greatest - least)
    found = _resized(unit, new_dims, _centres, interp_order)
    return (found * (greatest - least) + least).astype(np.float32)


def _centres(old: int, new: int) -> Doubles:
    """Positions of new pixels among the old ones, centre to centre."""
    return np.asarray((np.arange(new) + 0.5) * (old / new) - 0.5, np.float64)


def _corners(old: int, new: int) -> Doubles:
    """Positions with the first and the last pixels at the same place."""
    return np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)


def _linear(old: int, at: Doubles) -> Doubles:
    """(new, old): the share of each old pixel; what lies outside counts as 0."""
    low = np.floor(at).astype(int)
    shares = np.zeros((len(at), old))
    for index, share in ((low, low + 1 - at), (low + 1, at - low)):
        is_inside = (index >= 0) & (index < old)
        shares[np.flatnonzero(is_inside), index[is_inside]] += share[is_inside]
    return shares


def _nearest(old: int, at: Doubles) -> Doubles:
    """(new, old): 1 for the nearest old pixel."""
    shares = np.zeros((len(at), old))
    shares[np.arange(len(at)), np.clip(np.floor(at + 0.5).astype(int), 0, old - 1)] = 1
    return shares


_ORDERS: Mapping[int, Callable[[int, Doubles], Doubles]] = {0: _nearest, 1: _linear}


def _resized(
    image: Doubles, size: tuple[int, int], positions: Callable[[int, int], Doubles], order: int
) -> Doubles:
    """One axis after the other."""
    shares = [_ORDERS[order](old, positions(old, new)) for old, new in zip(image.shape, size, strict=False)]
    rows = np.tensordot(shares[0], image, axes=(1, 0))
    return np.ascontiguousarray(np.tensordot(shares[1], rows, axes=(1, 1)).transpose(1, 0, 2))
