"""From an image file to the input blob of the net: decode, resize, crop, subtract the mean.

The crop is a matter of indices: for each axis, which row or column of the resized image and which one of
the mean belongs to each row or column of the input. Replicated edges are repeated indices. Source:
spec/reference.md §4 items 3 to 5.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, ModelError
from caffe_lrp.imagefile import ImageSource
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.quirks import Quirks

from .decode import MAX_PIXELS, decode, too_large
from .resize import resize_to_base

#: No net's input comes near it, and resized images of this size take 400 MB.
LARGEST_BASE_SIZE = 2**13


class AxisIndices(NamedTuple):
    """One axis of the crop: for every input row (or column) the row of the image and of the mean."""

    image: NDArray[np.intp]
    mean: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """One image, ready for the net.

    Attributes
    ----------
    blob
        (3, H, W) float32, C-contiguous, channels BGR, grey levels 0..255 less the mean.
    picture
        (H, W, 3) uint8, channels RGB, the same crop before the mean was subtracted.
    """

    blob: Blob
    picture: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """Turns image files into input blobs of one net.

    Attributes
    ----------
    base_size
        Longer image side after resizing, in pixels (``baseimgsize``).
    input_height, input_width
        Input size of the net, in pixels.
    mean
        (3, mean_h, mean_w) float32, channels BGR, grey levels; at least as large as the input.
    quirks
        Q1 is read here: where the mean starts on an axis whose edges are replicated.
    max_pixels
        Images with more pixels are refused.

    Raises
    ------
    ConfigError
        On construction, if ``base_size`` is smaller than the input or absurdly large.
    ModelError
        On construction, if the mean does not have three channels or is smaller than the input.
    """

    base_size: int
    input_height: int
    input_width: int
    mean: Blob
    quirks: Quirks
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        needed = max(self.input_height, self.input_width)
        if self.base_size < needed:
            raise ConfigError(
                f"baseimgsize is {self.base_size}, but the net's input is {self.input_height} x "
                f"{self.input_width} pixels; set baseimgsize to {needed} or more"
            )
        if self.base_size > LARGEST_BASE_SIZE:
            raise ConfigError(
                f"baseimgsize is {self.base_size}, the largest possible is {LARGEST_BASE_SIZE}; "
                f"the net needs no more than {needed}"
            )
        if self.mean.ndim != 3 or self.mean.shape[0] != 3:
            raise ModelError(f"the mean image has the shape {self.mean.shape}; three channels are needed")
        mean_height, mean_width = self.mean.shape[1:]
        if mean_height < self.input_height or mean_width < self.input_width:
            raise ModelError(
                f"the mean image has {mean_height} x {mean_width} pixels, fewer than the net's input of "
                f"{self.input_height} x {self.input_width}; use the mean that belongs to the net"
            )

    def __call__(self, source: ImageSource) -> PreparedImage:
        """Input blob of an image file.

        Raises
        ------
        ImageError
            The file is missing, no image that can be decoded, or too large.
        """
        try:
            resized = resize_to_base(decode(source, self.max_pixels), self.base_size)
        except MemoryError as error:
            raise too_large(source, "it does not fit in memory") from error
        rows, columns = self.indices(resized.shape[0], resized.shape[1])
        crop = resized[rows.image[:, np.newaxis], columns.image]
        levels = (crop * (255.0 / 65535.0)).astype(np.float32)
        mean = self.mean[:, rows.mean[:, np.newaxis], columns.mean]
        blob = np.ascontiguousarray(levels[..., ::-1].transpose(2, 0, 1)) - mean
        picture = ((crop.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return PreparedImage(blob, picture)

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Least and greatest number that an input can have in each channel, wherever its pixels lie.

        Which place of the mean belongs to a pixel depends on the image, so that its extremes count.
        """
        greatest, least = self.mean.max(axis=(1, 2)), self.mean.min(axis=(1, 2))
        return tuple((0 - greatest).tolist()), tuple((255 - least).tolist())

    def indices(self, height: int, width: int) -> tuple[AxisIndices, AxisIndices]:
        """Rows and columns of a resized image of ``height`` x ``width`` pixels that make the input."""
        inputs = (self.input_height, self.input_width)
        means = (self.mean.shape[1], self.mean.shape[2])
        long_axis = 0 if height > width else 1
        long_start = (self.base_size - max(inputs)) // 2
        border = min((means[0] - inputs[0]) // 2, (means[1] - inputs[1]) // 2)
        sides = (height, width)
        axes = [self._short_axis(sides[i], inputs[i], means[i]) for i in (0, 1)]
        axes[long_axis] = _axis(long_start, sides[long_axis], inputs[long_axis], border)
        return axes[0], axes[1]

    def _short_axis(self, side: int, inputs: int, mean_side: int) -> AxisIndices:
        """The axis that is centred, and replicated at its edges where ``side`` < ``inputs``."""
        if side >= inputs:
            return _axis((side - inputs) // 2, side, inputs, (mean_side - inputs) // 2)
        image = _axis(-((inputs - side) // 2), side, inputs, 0).image
        mean_start = 0 if self.quirks.Q1_mean_starts_at_zero else (mean_side - side) // 2
        return AxisIndices(image, mean_start + image)


def _axis(start: int, side: int, inputs: int, mean_start: int) -> AxisIndices:
    """Consecutive indices, those of the image from ``start`` on and kept within its ``side``."""
    steps = np.arange(inputs)
    return AxisIndices((start + steps).clip(0, side - 1), mean_start + steps)
