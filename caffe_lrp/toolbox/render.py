"""Pictures of digits and heatmaps, under the toolbox's names; colours are numbers from 0 to 1.

Colour maps are the package's (manual: pictures). Those that the toolbox defines itself differ from it in one
thing: relevance is divided by its largest magnitude, so that no colour overflows.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import UsageError
from caffe_lrp.rendering.colour_map import ColourMap
from caffe_lrp.rendering.colour_maps import find_colour_map
from caffe_lrp.rendering.edges import edges_of

from .modules.module import Array
from .paths import Report, log

#: Maps of the toolbox's own, which scale for themselves.
_CUSTOM = ("gray-red", "gray-red2", "black-green", "blue-black-yellow", "black-firered")


def vec2im(V: Array, shape: Sequence[int] = ()) -> Array:
    """A vector as a map of a shape, row by row; unless given, a square.

    Raises
    ------
    UsageError
        The numbers do not fill the shape, or no square.
    """
    side = int(V.size**0.5)
    wanted = tuple(shape) if len(shape) >= 2 else (side, side)
    if np.prod(wanted) != V.size:
        raise UsageError(f"{V.size} numbers do not fill a map of {'×'.join(map(str, wanted))}; give a shape")
    return V.reshape(wanted)


def enlarge_image(img: Array, scaling: int = 3) -> Array:
    """A picture (H, W) or (H, W, D) in which each pixel is a square of ``scaling`` × ``scaling`` pixels.

    Raises
    ------
    UsageError
        The factor is not a whole number from 1 on.
    """
    if not isinstance(scaling, int) or scaling < 1:
        raise UsageError(f"scaling {scaling} must be a whole number from 1 on")
    return np.repeat(np.repeat(np.asarray(img, np.float64), scaling, axis=0), scaling, axis=1)


def repaint_corner_pixels(rgbimg: Array, scaling: int = 3) -> Array:
    """Paint the first and the last square of a picture in the mean colour of their neighbours, in place."""
    for corner, inward in ((slice(0, scaling), 1), (slice(-scaling, None), -1)):
        near = scaling * inward
        first = near if inward > 0 else near - 1
        neighbours = [(first, corner), (corner, first), (first, first)]
        colour = np.mean([rgbimg[place].reshape(-1, rgbimg.shape[2])[0] for place in neighbours], axis=0)
        rgbimg[corner, corner] = colour
    return rgbimg


def digit_to_rgb(X: Array, scaling: int = 3, shape: Sequence[int] = (), cmap: str = "binary") -> Array:
    """A digit, whose numbers from 0 to 1 are positions in a colour map, as a picture (H, W, 3)."""
    return _colour_map(cmap)(enlarge_image(vec2im(X, shape), scaling))


def hm_to_rgb(
    R: Array,
    X: Array | None = None,
    scaling: int = 3,
    shape: Sequence[int] = (),
    sigma: float = 2,
    cmap: str = "jet",
    normalize: bool = True,
    report: Report = log,
) -> Array:
    """Relevance as a picture (H, W, 3).

    Parameters
    ----------
    R
        Relevance: a vector or a map.
    X
        The input, with numbers from 0 to 1; its edges are drawn in black.
    scaling
        Pixels of the picture for each number, along each side.
    shape
        (H, W) of the map; unless given, a square.
    sigma
        σ of the Gaussian that smooths ``X`` before edges are sought, in pixels of the picture.
    cmap
        Name of a colour map.
    normalize
        Whether relevance is divided by its largest magnitude, and 0 is the middle of the colour map.
    report
        Called with a line if ``X`` has another size than ``R``, so that no edges are drawn.
    """
    relevance = enlarge_image(vec2im(R, shape), scaling)
    positions = relevance
    if normalize or cmap in _CUSTOM:
        largest = np.abs(relevance).max()
        positions = (relevance / largest + 1) / 2 if largest > 0 else np.full_like(relevance, 0.5)
    picture = _colour_map(cmap)(positions)
    if X is not None:
        drawn = enlarge_image(vec2im(X, shape), scaling)
        if drawn.shape == relevance.shape:
            picture[edges_of(_as_photo(drawn), sigma)] = 0
        else:
            report(f"no edges are drawn: X has {drawn.shape} pixels, the heatmap {relevance.shape}")
    return picture


def save_image(
    rgb_images: Sequence[Array], path: str | PathLike[str], gap: int = 2, report: Report = log
) -> NDArray[np.uint8]:
    """Write pictures side by side to a file, which is replaced if it exists; return the pixels.

    Pictures that are lower than others get black pixels below them.

    Parameters
    ----------
    rgb_images
        Pictures (H, W, 3) or (H, W), with numbers from 0 to 1.
    path
        The file; its ending is the format.
    gap
        Black columns between pictures.
    report
        Called with the line that the toolbox prints.
    """
    height = max(len(picture) for picture in rgb_images)
    parts: list[Array] = []
    for picture in map(np.asarray, rgb_images):
        sides: list[Any] = [(0, height - len(picture)), (0, gap)] + [(0, 0)] * (picture.ndim - 2)
        parts.append(np.pad(picture, sides))
    joined = np.hstack(parts)
    pixels: NDArray[np.uint8] = (255 * np.clip(joined[:, : joined.shape[1] - gap], 0, 1)).astype(np.uint8)
    report(f"saving image to {path}")
    Image.fromarray(pixels).save(Path(path))
    return pixels


def _colour_map(name: str) -> ColourMap:
    try:
        return find_colour_map(name)
    except ValueError as fault:
        raise UsageError(f"cmap: {name} {fault}") from fault


def _as_photo(picture: Array) -> NDArray[np.uint8]:
    levels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return np.repeat(levels[..., np.newaxis], 3, axis=2)
