"""Writing PNG files, and the style that is stored in them."""

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from caffe_lrp.errors import ImageError

from .style import PictureStyle

#: The text chunk that holds the style of a picture.
_STYLE = "caffe-lrp picture"
#: Errors of Pillow for files that are not pictures, or are damaged.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
#: zlib's fastest level: the next one takes twice as long, and files are hardly smaller.
_COMPRESSION = 1


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file for an RGB picture (H, W, 3).

    Raises
    ------
    ImageError
        The picture has no pixels and cannot be encoded.
    MemoryError
        There is not enough memory for the file.
    """
    try:
        # OpenCV's defaults (level 1, run lengths, filter "sub") are the fastest settings that compress.
        done, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise ImageError(f"a picture of shape {picture.shape} cannot be encoded as PNG") from error
    if not done:  # OpenCV does not say why; with valid pixels nothing else can go wrong
        raise MemoryError
    return content.tobytes()


def encode_picture(picture: Image.Image, style: PictureStyle) -> bytes:
    """The bytes of a PNG file for a rendered picture; the file stores its style.

    A palette is kept, so its colours can be replaced.
    """
    info = PngImagePlugin.PngInfo()
    info.add_text(_STYLE, json.dumps(style.as_json()))
    content = io.BytesIO()
    picture.save(content, "PNG", pnginfo=info, compress_level=_COMPRESSION)
    return content.getvalue()


def style_in(path: Path) -> dict[str, Any] | None:
    """Return the style stored in a picture; None if it has none, or cannot be read."""
    try:
        with Image.open(path) as picture:
            said = json.loads(str(picture.info.get(_STYLE, "null")))
    except (*UNREADABLE, RecursionError):  # the stored JSON may be nested without end
        return None
    return said if isinstance(said, dict) else None
