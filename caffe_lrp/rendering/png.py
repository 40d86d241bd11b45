"""PNG files, and the style that is stored in a picture."""

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
#: What Pillow raises for a file that is no picture, or a damaged one.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
#: zlib's fastest level: pictures of the next take twice as long and are hardly smaller.
_COMPRESSION = 1


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file for an RGB picture (H, W, 3).

    Raises
    ------
    ImageError
        The picture cannot be encoded (it has no pixels).
    MemoryError
        There is no room for the file.
    """
    try:
        # OpenCV's own settings (level 1, run lengths, filter "sub") are the fastest of those that compress.
        done, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise ImageError(f"a picture of shape {picture.shape} cannot be encoded as PNG") from error
    if not done:  # OpenCV does not say why; of pixels that it takes, this is all that can be wrong
        raise MemoryError
    return content.tobytes()


def encode_picture(picture: Image.Image, style: PictureStyle) -> bytes:
    """The bytes of a PNG file for a rendered picture, which says how it was drawn.

    A palette stays one, so that its colours can be exchanged.
    """
    info = PngImagePlugin.PngInfo()
    info.add_text(_STYLE, json.dumps(style.as_json()))
    content = io.BytesIO()
    picture.save(content, "PNG", pnginfo=info, compress_level=_COMPRESSION)
    return content.getvalue()


def style_in(path: Path) -> dict[str, Any] | None:
    """Return the style stored in a picture; None if it is not one of ours, or cannot be read."""
    try:
        with Image.open(path) as picture:
            said = json.loads(str(picture.info.get(_STYLE, "null")))
    except (*UNREADABLE, RecursionError):  # what it says may be nested without end
        return None
    return said if isinstance(said, dict) else None
