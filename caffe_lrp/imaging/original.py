"""Explained images, read again as pictures in their original size, for people to look at."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.files.imagefile import ArchiveMember
from caffe_lrp.kernels.blobs import Blob

from .decode import MAX_PIXELS, decode, too_large
from .memory import ImageInput, decode_given, name_of
from .numpy_file import is_numpy_file, read_numpy_file
from .pixels import DecodedImage, strips
from .resize import resize

_FULL, _STEP = 255, 257


@dataclass(frozen=True, eq=False)
class Original:
    """An image as it was before it was resized and cropped.

    Attributes
    ----------
    image
        A path, a member of an archive, a PIL image or an array (gray or colour).
    channels, channel_order
        Channels and channel order of the net's input, for NumPy files.
    max_pixels
        Images with more pixels are refused.
    """

    image: ImageInput
    channels: int = 3
    channel_order: str = "BGR"
    max_pixels: int = MAX_PIXELS

    def picture(self) -> NDArray[np.uint8]:
        """(h, w, 3), RGB: the image from which the net's input is made; orientation tags are ignored.

        Raises
        ------
        ImageError
            The file is no longer there, or cannot be read.
        """
        image = Path(self.image) if isinstance(self.image, str) else self.image
        try:
            if not isinstance(image, Path | ArchiveMember):
                return _eight_bits(decode_given(image, self.max_pixels))
            if is_numpy_file(image):
                levels = read_numpy_file(image, self.channels, self.max_pixels)
                return picture_of_levels(levels, self.channel_order)
            return _eight_bits(decode(image, self.max_pixels))
        except MemoryError as error:
            raise too_large(name_of(image), "it does not fit in memory") from error


def _eight_bits(image: DecodedImage) -> NDArray[np.uint8]:
    """(h, w, 3): all pixels of a decoded image, computed strip by strip."""
    height, width = image.sides
    picture = np.empty((height, width, 3), np.uint8)
    for rows in strips(height, width):
        part = replace(image, pixels=np.ascontiguousarray(image.pixels[rows, slice(0, width)]))
        picture[rows] = as_eight_bits(resize(part, part.sides))
    return picture


def as_eight_bits(samples: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16-bit samples rounded to 8 bits."""
    return ((samples.astype(np.uint32) + _STEP // 2) // _STEP).astype(np.uint8)


def picture_of_levels(levels: Blob, channel_order: str) -> NDArray[np.uint8]:
    """Grey levels (C, H, W) as a picture (H, W, 3), RGB; channels that are not colours are averaged."""
    shown = levels if len(levels) == 3 else levels.mean(axis=0, keepdims=True)
    if channel_order == "BGR":
        shown = shown[::-1]
    return as_three_channels((shown.clip(0, _FULL) + 0.5).astype(np.uint8).transpose(1, 2, 0))


def as_three_channels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 1 or 3), gray replicated."""
    return picture if picture.shape[2] == 3 else np.repeat(picture, 3, axis=2)
