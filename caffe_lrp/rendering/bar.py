"""A colour bar beside a picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .shades import bent, colours
from .style import ALPHA, PictureStyle

#: Sizes of the bar and its text, as fractions of the picture's height, and their minimum in pixels.
_SHARE, _LEAST_WIDTH, _LEAST_FONT = 0.04, 12, 11
#: Taller pictures count as this many times as high as wide, or the text would be wider than the picture.
_MOST_TIMES = 4
_MARGIN = 6


def with_bar(picture: Image.Image, style: PictureStyle, reach: float) -> Image.Image:
    """The picture with a colour bar on its right.

    Parameters
    ----------
    picture
        Any picture.
    style
        The style that it was drawn with.
    reach
        The relevance at the upper end of the bar.
    """
    height = picture.height
    size = round(_SHARE * min(height, _MOST_TIMES * picture.width))
    width = max(_LEAST_WIDTH, size)
    font = ImageFont.load_default(max(_LEAST_FONT, size))
    lowest = 0.0 if style.is_positive else -1.0
    ticks = {share: f"{share * reach:.3g}" for share in sorted({lowest, (lowest + 1) / 2, 1.0})}
    room = max(round(font.getlength(text)) for text in ticks.values())
    whole = Image.new("RGB", (picture.width + width + room + 3 * _MARGIN, height), "white")
    whole.paste(picture.convert("RGB"))
    left = picture.width + _MARGIN
    whole.paste(_bar(style, lowest, width, height), (left, 0))
    draw = ImageDraw.Draw(whole)
    for share, text in ticks.items():
        top, bottom = font.getbbox(text)[1::2]
        at = (1 - share) / (1 - lowest) * (height - 1) - (top + bottom) / 2
        at = min(max(at, -top), height - bottom)
        draw.text((left + width + _MARGIN, at), text, fill="black", font=font)
    return whole


def _bar(style: PictureStyle, lowest: float, width: int, height: int) -> Image.Image:
    strengths = np.linspace(1, lowest, height, dtype=np.float32)
    if style.mode == ALPHA:
        shades = np.repeat(bent(strengths, style.exponent_in_force)[:, np.newaxis], 3, axis=1)
    else:
        shades = colours(strengths if style.is_blended else bent(strengths, style.exponent_in_force), style)
    column = np.rint(255 * shades).astype(np.uint8)
    return Image.fromarray(np.repeat(column[:, np.newaxis], width, axis=1))
