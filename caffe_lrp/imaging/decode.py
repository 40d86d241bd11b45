"""Decoding image files to 16-bit samples, with the facts about the file that resizing depends on.

Pillow identifies and decodes the file: it distinguishes palettes, inks and bilevel images, and raises an
error if data is damaged or missing. OpenCV decodes 16-bit colours (``deep_colours.py``). Both decode JPEG
with libjpeg-turbo and its default settings. Orientation tags are ignored, and the first frame of an animation
is used. Source: manual: toolbox, "Decoding".
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from caffe_lrp.errors import ImageError
from caffe_lrp.files.imagefile import ImageSource, read_image
from caffe_lrp.files.recognition import foreign_kind

from .budget import Take
from .deep_colours import PNG_SIGNATURE, TIFF_BITS, deep_colours, has_deep_colours
from .libraries import unwarned
from .pixels import (
    STRIP_BYTES,
    STRIP_PIXELS,
    ColourModel,
    DecodedImage,
    loaded_deep_gray,
    loaded_eight_bits,
)

#: Images with more pixels are refused before they are decoded, unless ``--max-pixels`` allows more: about
#: 13,400 x 13,400. See `_bytes_to_decode` for the memory.
MAX_PIXELS = 180_000_000

#: The most bytes per pixel that decoding takes.
_MOST_BYTES_OF_PIXEL = 28

#: Images with a longer side are refused: resizing takes half a kilobyte for every pixel of a row.
LARGEST_SIDE = 2**18

#: Progressive JPEGs with more scans than ordinary ones are refused if all scans together cover more pixels
#: than this: small files could keep the decoder busy for hours.
_ORDINARY_SCANS = 100
_MOST_SCANNED_PIXELS = 2 * 10**9
_JPEG_SCAN = b"\xff\xda"

#: Formats that are tried; other formats of Pillow start programs (EPS) or are not for photographs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000", "DIB", "PCX")

#: Formats whose gray images of 8 bits or fewer ImageMagick treats as palette images. Images made in memory
#: have no format and are treated like PNG.
_GRAY_AS_PALETTE = frozenset(("JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", None))

#: Bytes that decoders take per pixel, in addition to the pixels (measured on noise).
_DECODER_BYTES = {"JPEG2000": 20, "WEBP": 14, "TIFF": 5, "GIF": 4}
#: A progressive JPEG is kept as coefficients of two bytes until its last scan.
_PROGRESSIVE_BYTES = 8
#: Bytes per pixel in the modes for which Pillow does not use four.
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
#: 16-bit colours are decoded a second time, by OpenCV; a rotated picture is rotated back.
_DEEP_COLOUR_BYTES, _TURNED_BYTES = 8, 16

#: The name of an image in messages: its file, or a description if it comes from memory.
ImageName = ImageSource | str

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_PHOTOMETRIC, _ORIENTATION = 262, 274
_READABLE_BITS = (1, 2, 4, 8, 16)


def decode(source: ImageSource, max_pixels: int = MAX_PIXELS, take: Take = lambda size: None) -> DecodedImage:
    """Pixels of an image file.

    Parameters
    ----------
    source
        The file, or the member of an archive.
    max_pixels
        Images with more pixels are refused before they take any memory.
    take
        Called before each step with the memory that it takes: first reading the file, then decoding it.

    Raises
    ------
    ImageError
        The file is missing, unreadable, empty, not an image, damaged, cut short, too large, or holds
        floating-point or 32-bit samples.
    """
    content = read_image(source, take)
    with _open(source, content, max_pixels) as image:
        return decode_opened(source, image, content, max_pixels, take)


def decode_opened(
    name: ImageName,
    image: Image.Image,
    content: bytes,
    max_pixels: int = MAX_PIXELS,
    take: Take = lambda size: None,
) -> DecodedImage:
    """Pixels of an image that Pillow has opened, loaded or made.

    Parameters
    ----------
    name
        Its name in messages.
    image
        The image; it is loaded unless it has been loaded already.
    content
        The bytes of its file; empty if they are unknown. Then 16-bit colours have only the 8 bits that
        Pillow keeps.
    max_pixels, take
        As for `decode`.

    Raises
    ------
    ImageError
        The image is damaged, cut short, too large, or holds floating-point or 32-bit samples.
    """
    with _faults_told(name, image):
        _refuse_too_large(name, image, content, max_pixels)
        _refuse_unusable(name, image)
        orientation = _orientation(image)  # loading a TIFF rotates it, and removes the tag
        take(_bytes_to_decode(image, content))
        decoded = _loaded(name, image, content)
        if orientation == 1:
            return replace(decoded, is_turned=True) if _has_other_orientation(image) else decoded
        return replace(decoded, pixels=_as_stored(decoded.samples, orientation), is_turned=True)


def _open(source: ImageSource, content: bytes, max_pixels: int) -> Image.Image:
    """The image with its header read and its pixels not yet decoded."""
    _raise_limit_of_pillow(max_pixels)
    try:
        with unwarned():  # of metadata, and of Pillow's own soft limit
            return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _beyond_limit(source, "it has", max_pixels) from error
    except MemoryError as error:
        raise too_large(source, "it does not fit in memory") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{source}: {_why_unidentified(content)}") from error
    except Exception as error:  # as in _faults_told
        raise _damaged(source, error) from error


def _loaded(name: ImageName, image: Image.Image, content: bytes) -> DecodedImage:
    """The image decoded."""
    with unwarned():
        image.load()
        if image.mode in ("P", "PA") and not (image.palette and image.palette.palette):
            raise ValueError("its palette is missing")
        decoded = deep_colours(image, content) or _samples(name, image)
        if image.width * image.height <= STRIP_PIXELS:
            return replace(decoded, pixels=decoded.samples)  # ordinary photos are not kept twice
        decoded.pixels[:1, :1]  # colours that cannot be converted fail here
        return decoded


@contextmanager
def _faults_told(name: ImageName, image: Image.Image) -> Iterator[None]:
    """Turn any error of an opened image into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise _without_room(name, image) from error
    except Exception as error:  # damaged data can make a decoder raise anything
        _require_room(name, image)
        raise _damaged(name, error) from error


def _bytes_to_decode(image: Image.Image, content: bytes) -> int:
    """Estimate of the memory for decoding and resizing an image whose header has been read."""
    each = _PIXEL_BYTES.get(image.mode, 4) + _DECODER_BYTES.get(str(image.format), 0)
    each += _PROGRESSIVE_BYTES * bool(image.info.get("progressive"))
    is_deep = has_deep_colours(image, content)
    each += _DEEP_COLOUR_BYTES * is_deep
    each += _TURNED_BYTES * (_orientation(image) != 1)
    pixels = image.width * image.height
    chunks = 2 * len(content) * is_deep  # see _essential_chunks
    return each * pixels + chunks + STRIP_BYTES * min(pixels, STRIP_PIXELS)


def _raise_limit_of_pillow(max_pixels: int) -> None:
    """Raise Pillow's own limit, so that it accepts every image that ``max_pixels`` allows.

    Pillow refuses images of twice its limit. There is one limit per process; it is never lowered.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and 2 * limit < max_pixels:
        Image.MAX_IMAGE_PIXELS = math.ceil(max_pixels / 2)


def _why_unidentified(content: bytes) -> str:
    """What kind of file it may be that no decoder recognises."""
    if content.startswith(_TIFF_SIGNATURES):
        return (
            "this kind of TIFF cannot be read (floating-point or 32-bit samples, unusual planes, or damage); "
            "convert it to 8- or 16-bit PNG"
        )
    if content.startswith((PNG_SIGNATURE, b"\xff\xd8\xff", b"GIF8", b"BM")):
        return "image is damaged or cut short in its header; get a complete copy of the file"
    kind = foreign_kind(content)
    if kind is not None:
        return f"is not an image but {kind.name}; {kind.advice}"
    return "is not an image of a known format; convert it to JPEG, PNG, BMP, GIF, TIFF, WebP or PNM"


def too_large(name: ImageName, reason: str) -> ImageError:
    """The error for an image that takes too much memory."""
    return ImageError(f"{name}: image is too large: {reason}; make it smaller first")


def _beyond_limit(name: ImageName, size: str, max_pixels: int) -> ImageError:
    or_allow = "" if isinstance(name, str) else ", or allow more with --max-pixels"
    return ImageError(
        f"{name}: image is too large: {size} more than the limit of {max_pixels} pixels; make it smaller "
        f"first{or_allow}"
    )


def _damaged(name: ImageName, error: Exception) -> ImageError:
    reason = str(error) or type(error).__name__
    return ImageError(f"{name}: image is damaged or cut short ({reason}); get a complete copy of the file")


def _without_room(name: ImageName, image: Image.Image) -> ImageError:
    return too_large(name, f"{image.width} x {image.height} pixels do not fit in memory")


def _require_room(name: ImageName, image: Image.Image) -> None:
    """Raise ImageError if decoding runs out of memory: decoders report that as damage."""
    try:
        np.empty(_MOST_BYTES_OF_PIXEL * image.width * image.height, np.uint8)
    except MemoryError as error:
        raise _without_room(name, image) from error


def refuse_large_sides(name: ImageName, height: int, width: int, max_pixels: int) -> None:
    """Raise ImageError for more than ``max_pixels`` pixels, or more than `LARGEST_SIDE` a side."""
    size = f"{width} x {height}"
    if width * height > max_pixels:
        raise _beyond_limit(name, f"{size} pixels are", max_pixels)
    if max(width, height) > LARGEST_SIDE:
        raise too_large(name, f"it has {size} pixels, the limit is {LARGEST_SIDE} per side")


def _refuse_too_large(name: ImageName, image: Image.Image, content: bytes, max_pixels: int) -> None:
    """Raise ImageError for images that would take too much memory or time."""
    refuse_large_sides(name, image.height, image.width, max_pixels)
    scans = content.count(_JPEG_SCAN) if image.format in ("JPEG", "MPO") else 0
    if scans > _ORDINARY_SCANS and scans * image.width * image.height > _MOST_SCANNED_PIXELS:
        raise ImageError(
            f"{name}: {image.width} x {image.height} pixels in up to {scans} scans would take too long; "
            "convert it to a JPEG that is not progressive"
        )


def _refuse_unusable(name: ImageName, image: Image.Image) -> None:
    """Raise ImageError for images without defined grey levels."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        better = "8- or 16-bit PNG or TIFF" if image.format else "the mode L, I;16 or RGB"
        raise ImageError(
            f"{name}: has floating-point or 32-bit samples, whose white level is unknown; "
            f"convert it to {better}"
        )
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(TIFF_BITS, (1,))
        if any(depth not in _READABLE_BITS for depth in bits):
            raise ImageError(
                f"{name}: has samples of {'/'.join(map(str, bits))} bits; convert it to 8 or 16 bits"
            )


def _orientation(image: Image.Image) -> int:
    """The orientation tag of a TIFF, which both libraries apply automatically; 1 for other files."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1
    orientation = image.tag_v2.get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _has_other_orientation(image: Image.Image) -> bool:
    """Return whether a loaded image is to be shown turned or mirrored; False for damaged metadata."""
    with suppress(Exception):  # whatever they are, the pixels can be used
        return image.getexif().get(_ORIENTATION) in range(2, 9)
    return False


def _as_stored(samples: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Samples (H, W, C) as they are stored in the file: the rotation by ``orientation`` is undone."""
    if orientation >= 5:
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 6, 7):
        samples = samples[::-1]
    if orientation in (2, 3, 7, 8):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def _samples(name: ImageName, image: Image.Image) -> DecodedImage:
    """A loaded image, as Pillow decoded it."""
    has_alpha = image.has_transparency_data or image.mode in ("RGBa", "La")
    if image.mode.startswith("I"):
        return _deep_gray(image)
    if has_alpha:
        return DecodedImage(loaded_eight_bits(image, "RGBA"), ColourModel.RGBA, uses_mitchell=True)
    if image.mode in ("1", "L"):
        is_palette = image.format in _GRAY_AS_PALETTE
        return DecodedImage(loaded_eight_bits(image, "L"), ColourModel.GRAY, is_palette)
    if image.mode == "CMYK":
        return DecodedImage(loaded_eight_bits(image, "CMYK"), ColourModel.CMYK, uses_mitchell=False)
    if image.mode in ("P", "RGB", "RGBX", "YCbCr", "HSV"):
        return DecodedImage(loaded_eight_bits(image, "RGB"), ColourModel.RGB, image.mode == "P")
    raise ImageError(f"{name}: colour mode {image.mode} cannot be read; convert the image to RGB")


def _deep_gray(image: Image.Image) -> DecodedImage:
    """A loaded 16-bit gray image; one of its levels may be transparent."""
    white_is_zero = isinstance(image, TiffImagePlugin.TiffImageFile) and not image.tag_v2[_TIFF_PHOTOMETRIC]
    key = image.info.get("transparency")
    level = key if isinstance(key, int) else None
    pixels = loaded_deep_gray(image, white_is_zero=white_is_zero, key=level)
    colours = ColourModel.GRAY if level is None else ColourModel.RGBA
    return DecodedImage(pixels, colours, uses_mitchell=level is not None)
