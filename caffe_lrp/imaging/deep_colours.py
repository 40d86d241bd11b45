"""16-bit colours of PNG and TIFF files, decoded by OpenCV: Pillow would reduce them to 8 bits."""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from .pixels import ColourModel, DecodedImage, strips

#: OpenCV 5 moved the function.
_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_DEPTH_OFFSET = 24
_PNG_KEPT_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
TIFF_BITS, _TIFF_PLANES = 258, 284


def deep_colours(image: Image.Image, content: bytes) -> DecodedImage | None:
    """16-bit RGB or RGBA samples by OpenCV; None for files that Pillow decodes without loss.

    Pillow has decoded the file before, so damaged files do not get here.
    """
    if not has_deep_colours(image, content):
        return None
    samples = _decode_quietly(_essential_chunks(content) if image.format == "PNG" else content)
    if (
        samples is None
        or samples.dtype != np.uint16
        or samples.ndim != 3
        or samples.shape[:2] != image.size[::-1]
    ):
        raise ValueError("its 16-bit colours cannot be decoded")
    has_alpha = samples.shape[2] == 4
    order = [2, 1, 0, 3] if has_alpha else [2, 1, 0]
    for rows in strips(samples.shape[0], samples.shape[1]):
        samples[rows] = samples[rows][..., order]
    colours = ColourModel.RGBA if has_alpha else ColourModel.RGB
    return DecodedImage(samples, colours, uses_mitchell=has_alpha)


def has_deep_colours(image: Image.Image, content: bytes) -> bool:
    """Whether the file has 16-bit colours that OpenCV reads and Pillow reduces to 8 bits."""
    if not content or image.mode not in ("RGB", "RGBA"):
        return False
    if image.format == "PNG":
        return content[_PNG_DEPTH_OFFSET] == 16
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    # OpenCV 4.8 to 5.0 silently misreads separate planes; Pillow's 8 bits are right.
    tags = image.tag_v2
    return bool(tags.get(TIFF_BITS, (1,))[0] == 16 and tags.get(_TIFF_PLANES, 1) == 1)


def _decode_quietly(content: bytes) -> NDArray[Any] | None:
    """The file as OpenCV decodes it, (H, W, C) in BGR or BGRA order; None if it cannot."""
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    level = _set_log_level(0)  # silences warnings about private TIFF tags
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    finally:
        _set_log_level(level)


def _essential_chunks(png: bytes) -> bytes:
    """A PNG without the chunks that libpng prints warnings about (colour profiles, text, animation).

    Raises ValueError if the end mark is missing: OpenCV would fill in the missing pixels.
    """
    kept = [PNG_SIGNATURE]
    offset = len(PNG_SIGNATURE)
    while offset + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, offset)
        if kind in _PNG_KEPT_CHUNKS:
            kept.append(png[offset : offset + 12 + length])
        offset += 12 + length
    if kept[-1] != _PNG_END:
        raise ValueError("the file ends before its end mark")
    return b"".join(kept)
