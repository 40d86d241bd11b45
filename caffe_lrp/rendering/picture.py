"""From relevance to a picture, in every mode. `style` documents the options."""

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import UsageError
from caffe_lrp.imaging.place import Place

from .bar import with_bar
from .edges import edges_of
from .placing import PlacedMap, enlarged, enlargement, whole
from .shades import bent, colours, palette, palette_indices
from .strength import pooled, reach_of, strengths
from .style import ALPHA, GRAY, ORIGINAL, OUTLINE, OVERLAY, PLAIN, SIDE, PictureStyle

_Pixels = NDArray[np.uint8]
_Strengths = NDArray[np.float32]

#: Paints a band of the picture as bytes (rows, W, 3), from the strengths and the photo there.
_Blend = Callable[[_Strengths, _Pixels, PictureStyle], _Pixels]

#: Pixels that are coloured at a time.
_BAND = 2**19
#: Brightness of the photo where the net did not see it; 0 in mode alpha, where dark means no evidence for the
#: class.
_UNSEEN = 0.5
#: Pixels between a photo and the map beside it.
_GAP = 4


def render(
    relevance: NDArray[np.floating],
    style: PictureStyle,
    photo: NDArray[np.uint8] | None = None,
    place: Place | None = None,
    reach: float | None = None,
) -> Image.Image:
    """The picture of a map.

    Parameters
    ----------
    relevance
        (C, H, W) or (H, W).
    style
        How the picture looks.
    photo
        (h, w, 3), RGB: the part that the net saw at size ``net``, the original at size ``original``. A plain
        picture needs none.
    place
        At size ``original``: the position of the map in the original.
    reach
        The relevance shown at full strength, instead of the style's range.

    Returns
    -------
    Image.Image
        In mode ``P`` if it is plain and has no bar: then its palette can be replaced. Else in mode ``RGB``.
        Small pictures are enlarged: every pixel becomes a square.

    Raises
    ------
    UsageError
        The relevance is not a map, a photo or place is missing, or they do not match.
    """
    pixels = pooled(relevance, style.pool)  # pooling a second time changes nothing
    limit = reach_of(pixels, style) if reach is None else reach
    shown = strengths(pixels, style, limit)
    frame = _frame_of(shown, style, photo, place)
    placed = PlacedMap(shown, frame)
    times = enlargement(frame.height, frame.width)
    bands = _bands(frame)
    if style.mode == PLAIN:
        indices = [palette_indices(bent(placed.band(rows), style.exponent_in_force), style) for rows in bands]
        picture = _with_palette(enlarged(np.concatenate(indices), times), palette(style))
    else:
        assert photo is not None  # see _frame_of
        drawn = np.concatenate([_blended(placed, photo, rows, style) for rows in bands])
        picture = _finished(enlarged(drawn, times), enlarged(photo, times), style)
    return with_bar(picture, style, limit) if style.bar else picture


def _with_palette(indices: _Pixels, colours_of_indices: _Pixels) -> Image.Image:
    picture = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    picture.putpalette(colours_of_indices.tobytes())
    return picture


def _finished(drawn: _Pixels, photo: _Pixels, style: PictureStyle) -> Image.Image:
    finish = _FINISHED.get(style.mode)
    return Image.fromarray(finish(drawn, photo) if finish else drawn)


def _frame_of(
    shown: _Strengths, style: PictureStyle, photo: NDArray[np.uint8] | None, place: Place | None
) -> Place:
    """The position of the map in the picture; UsageError if it is not known."""
    if photo is None and style.needs_photo:
        raise UsageError(f"a picture of mode {style.mode} needs the photo; mode plain needs none")
    if style.size == ORIGINAL:
        if place is None:
            raise UsageError("the map's position in the original is not known; size net does not need it")
        if photo is not None and photo.shape[:2] != (place.height, place.width):
            raise UsageError(
                f"the photo is {photo.shape[0]} x {photo.shape[1]} pixels, but the one that was explained "
                f"is {place.height} x {place.width}; give the same photo"
            )
        return place
    return whole(*(shown.shape if photo is None else photo.shape[:2]))


def _bands(frame: Place) -> Iterator[slice]:
    rows = max(1, _BAND // frame.width)
    for band in range(math.ceil(frame.height / rows)):
        yield slice(band * rows, min((band + 1) * rows, frame.height))


def _blended(placed: PlacedMap, photo: _Pixels, rows: slice, style: PictureStyle) -> _Pixels:
    seen = photo[rows]
    if style.is_blended and style.photo == GRAY:
        seen = np.repeat(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY)[..., np.newaxis], 3, axis=2)
    band = _BLENDS[style.mode](placed.band(rows), seen, style)
    if style.is_blended:
        unseen = ~placed.is_seen(rows)
        band[unseen] = 0 if style.mode == ALPHA else np.rint(_UNSEEN * seen[unseen])
    return band


def _coloured(strength: _Strengths, _: _Pixels, style: PictureStyle) -> _Pixels:
    shades = colours(bent(strength, style.exponent_in_force), style)
    return np.rint(255 * shades).astype(np.uint8)


def _overlaid(strength: _Strengths, photo: _Pixels, style: PictureStyle) -> _Pixels:
    opacity = _opacity(strength, style)
    blend = 255 * opacity * colours(strength, style) + (1 - opacity) * photo
    return np.rint(blend).astype(np.uint8)


def _lit(strength: _Strengths, photo: _Pixels, style: PictureStyle) -> _Pixels:
    lit: _Pixels = np.rint(_opacity(strength, style) * photo).astype(np.uint8)
    return lit


def _opacity(strength: _Strengths, style: PictureStyle) -> _Strengths:
    """Opacity (…, 1) of strengths (…)."""
    scaled = np.minimum(np.abs(strength * np.float32(style.level)), 1)
    opacity: _Strengths = np.float32(style.opacity) * bent(scaled, style.exponent_in_force)
    return opacity.reshape(*opacity.shape, 1)


_BLENDS: dict[str, _Blend] = {OVERLAY: _overlaid, ALPHA: _lit, OUTLINE: _coloured, SIDE: _coloured}


def _outlined(drawn: _Pixels, photo: _Pixels) -> _Pixels:
    drawn[edges_of(photo)] = 0
    return drawn


def _beside(drawn: _Pixels, photo: _Pixels) -> _Pixels:
    gap = np.full((len(drawn), _GAP, 3), 255, np.uint8)
    return np.hstack([photo, gap, drawn])


#: The last step of some modes: from the drawn picture and the photo.
_FINISHED: dict[str, Callable[[_Pixels, _Pixels], _Pixels]] = {OUTLINE: _outlined, SIDE: _beside}
