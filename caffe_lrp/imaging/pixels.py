"""Pixels of a decoded image, converted to 16 bits part by part.

A large picture is kept only once, as it was decoded, and never as a whole in 16 bits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.kernels.resize import Samples

#: A part of an image: its rows and its columns.
Region = tuple[slice, slice]
Widen = Callable[[Image.Image], Samples]

#: Pixels that are converted and resized at a time, and the maximum number of bytes each takes meanwhile.
STRIP_PIXELS = 2**21
STRIP_BYTES = 24
#: The rows or columns of a strip are a multiple of this: kernels process as many side by side.
_STRIP_UNIT = 16


def strips(length: int, across: int) -> Iterator[slice]:
    """An axis of ``length`` split into strips of about `STRIP_PIXELS`; the other axis is ``across`` long."""
    step = max(_STRIP_UNIT, STRIP_PIXELS // across // _STRIP_UNIT * _STRIP_UNIT)
    for start in range(0, length, step):
        yield slice(start, min(length, start + step))


class ColourModel(Enum):
    """The meaning of the planes of a decoded image."""

    GRAY = 1
    RGB = 3
    RGBA = 4
    CMYK = 5


class Pixels(Protocol):
    """Samples that can be read part by part: an array (H, W, C), or an object that converts parts to one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and planes."""

    def __getitem__(self, window: Region, /) -> Samples:
        """The samples (h, w, C) of a part."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """Pixels of a file, before any resizing.

    Attributes
    ----------
    pixels
        (H, W, C) uint16; 65535 is full (8-bit values are multiplied by 257).
    colours
        Meaning of the planes: ``GRAY`` (C = 1), ``RGB`` (3), ``RGBA`` (4, the last one alpha, 65535 is
        opaque), ``CMYK`` (4 inks, 65535 is full ink).
    uses_mitchell
        Whether the file has a palette or alpha, or is 8-bit gray of a format that the reference holds
        as a palette; such images are resized with the Mitchell filter.
    is_turned
        Whether an orientation tag says that the image is to be shown turned or mirrored.
    """

    pixels: Pixels
    colours: ColourModel
    uses_mitchell: bool
    is_turned: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        height, width, _ = self.pixels.shape
        return height, width

    @property
    def samples(self) -> Samples:
        """All pixels at once, C-contiguous."""
        return np.ascontiguousarray(self.pixels[:, :])


@dataclass(frozen=True, eq=False)
class LoadedPixels:
    """Pixels that Pillow holds.

    Attributes
    ----------
    image
        A loaded image.
    widen
        Gives the samples (h, w, C) of an image or a part of it; pixels do not depend on each other.
    planes
        Number of planes that ``widen`` gives.
    """

    image: Image.Image
    widen: Widen
    planes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and planes."""
        return self.image.height, self.image.width, self.planes

    def __getitem__(self, window: Region, /) -> Samples:
        """The samples (h, w, C) of a part."""
        top, bottom, _ = window[0].indices(self.image.height)
        left, right, _ = window[1].indices(self.image.width)
        box = (left, top, right, bottom)
        is_whole = box == (0, 0, *self.image.size)
        return self.widen(self.image if is_whole else self.image.crop(box))


def loaded_eight_bits(image: Image.Image, mode: str) -> LoadedPixels:
    """The pixels of a loaded image, converted to ``mode``, which has 8 bits; 255 becomes 65535."""

    def widen(part: Image.Image) -> Samples:
        narrow: NDArray[np.uint8] = np.asarray(part if part.mode == mode else part.convert(mode))
        samples: Samples = np.multiply(narrow, np.uint16(257), dtype=np.uint16)
        return samples.reshape(*samples.shape[:2], -1)

    return LoadedPixels(image, widen, len(mode))


def loaded_deep_gray(image: Image.Image, *, white_is_zero: bool, key: int | None) -> LoadedPixels:
    """The pixels of a loaded 16-bit gray image; as RGBA if the level ``key`` is transparent.

    The integer mode that Pillow uses for them depends on its version.
    """

    def widen(part: Image.Image) -> Samples:
        gray = np.asarray(part).clip(0, 65535).astype(np.uint16)[..., np.newaxis]
        if white_is_zero:
            gray = np.subtract(65535, gray, dtype=np.uint16)
        if key is None:
            return gray
        alpha = np.where(gray == key, np.uint16(0), np.uint16(65535))
        return np.concatenate([gray, gray, gray, alpha], axis=2)

    return LoadedPixels(image, widen, 1 if key is None else 4)
