"""From an image file to the input blob of the net: decode, resize, crop, subtract the mean, scale.

The crop is a matter of indices: for each axis, which row or column of the resized image and which one of
the mean belongs to each row or column of the input. Replicated edges are repeated indices. Source:
spec/reference.md §4 items 3 to 5. What the reference does not know, inputs that are not square and other
ways to resize, has every axis centred by itself.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, ImageError, ModelError
from caffe_lrp.files.imagefile import ImageSource
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.quirks import Quirks

from .budget import MemoryBudget, Take
from .decode import MAX_PIXELS, decode, too_large
from .numpy_file import is_numpy_file, read_numpy_file
from .pixels import DecodedImage
from .resize import RESIZE_MODES, Size, resize

#: No net's input comes near it, and resized images of this size take 400 MB.
LARGEST_BASE_SIZE = 2**13

#: Shares of red, green and blue in the luma of Rec. 601, in 2**14ths, as OpenCV has them.
_LUMA = np.array([4899, 9617, 1868], np.uint32)
_LUMA_BITS = 14

_NEEDED = {1: "one channel is", 3: "three channels are"}


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
        (C, H, W) float32, C-contiguous, channels in the net's order: grey levels less the mean, scaled.
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
        (C, mean_h, mean_w) float32, channels in the net's order, grey levels; at least as large as the input.
    quirks
        Q1 is read here: where the mean starts on an axis whose edges are replicated.
    max_pixels
        Images with more pixels are refused.
    channels
        Of the net's input: 3 are colours, 1 is their luma; any other number comes from NumPy files.
    channel_order
        Order of the colours that the net wants: ``BGR`` or ``RGB``.
    resize_mode
        One of `resize.RESIZE_MODES`.
    scale
        Factor of the input, after the mean was subtracted.
    budget
        The memory for images while they are loaded; several threads may load at a time.

    Raises
    ------
    ConfigError
        On construction, if ``base_size`` is smaller than the input or absurdly large.
    ModelError
        On construction, if the mean has another number of channels or is smaller than the input.
    """

    base_size: int
    input_height: int
    input_width: int
    mean: Blob
    quirks: Quirks
    max_pixels: int = MAX_PIXELS
    channels: int = 3
    channel_order: str = "BGR"
    resize_mode: str = "reference"
    scale: float = 1.0
    budget: MemoryBudget = field(default_factory=MemoryBudget)

    def __post_init__(self) -> None:
        if self.resize_mode != "none":
            self._refuse_base_size()
        if self.mean.ndim != 3 or self.mean.shape[0] != self.channels:
            needed = _NEEDED.get(self.channels, f"{self.channels} channels are")
            raise ModelError(f"the mean image has the shape {self.mean.shape}; {needed} needed")
        mean_height, mean_width = self.mean.shape[1:]
        if mean_height < self.input_height or mean_width < self.input_width:
            raise ModelError(
                f"the mean image has {mean_height} x {mean_width} pixels, fewer than the net's input of "
                f"{self.input_height} x {self.input_width}; use the mean that belongs to the net"
            )

    def _refuse_base_size(self) -> None:
        """ConfigError if images would be too small for the crop, or absurdly large."""
        needed = max(self.input_size)
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

    @property
    def input_size(self) -> Size:
        """Height and width of the net's input."""
        return self.input_height, self.input_width

    def __call__(self, source: ImageSource) -> PreparedImage:
        """Input blob of an image file, or of a NumPy file in its place.

        Raises
        ------
        ImageError
            The file is missing, nothing that can be decoded or that the net can take, or too large.
        """
        try:
            with self.budget.share(source) as take:
                if is_numpy_file(source):
                    return self._from_levels(source, take)
                return self._from_image(source, take)
        except MemoryError as error:
            raise too_large(source, "it does not fit in memory") from error

    def _from_image(self, source: ImageSource, take: Take) -> PreparedImage:
        if self.channels not in (1, 3):
            raise ImageError(
                f"{source}: the net's input has {self.channels} channels, and no image has; give NumPy files "
                f"(.npy) with {self.channels} x height x width numbers"
            )
        image = decode(source, self.max_pixels, take)
        sides = image.sides
        size = RESIZE_MODES[self.resize_mode](sides, self.base_size, self.input_size)
        if size != sides and size[0] * size[1] > LARGEST_BASE_SIZE**2:
            raise too_large(source, f"{sides[0]} x {sides[1]} pixels become {size[0]} x {size[1]}")
        axes = self.indices(*size) if self.resize_mode == "reference" else self.centred_indices(*size)
        rows, columns = axes
        if size == sides:
            crop = _cut_out(image, rows.image, columns.image)
        else:
            crop = resize(image, size)[rows.image[:, np.newaxis], columns.image]
        if self.channels == 1:
            crop = _luma(crop)
        levels = (crop * (255.0 / 65535.0)).astype(np.float32)
        ordered = levels[..., ::-1] if self.channel_order == "BGR" else levels
        picture = ((crop.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return self._prepared(ordered.transpose(2, 0, 1), axes, picture)

    def _from_levels(self, source: ImageSource, take: Take) -> PreparedImage:
        levels = read_numpy_file(source, self.channels, self.max_pixels, take)
        axes = self.centred_indices(*levels.shape[1:])
        rows, columns = axes
        crop = levels[:, rows.image[:, np.newaxis], columns.image]
        shown = crop if self.channels == 3 else crop.mean(axis=0, keepdims=True)
        if self.channel_order == "BGR":
            shown = shown[::-1]
        picture = (shown.clip(0, 255) + 0.5).astype(np.uint8).transpose(1, 2, 0)
        return self._prepared(crop, axes, picture)

    def _prepared(
        self, levels: Blob, axes: tuple[AxisIndices, AxisIndices], picture: NDArray[np.uint8]
    ) -> PreparedImage:
        """The input from the crop (C, H, W) and its picture (H, W, 1 or 3)."""
        rows, columns = axes
        blob = np.ascontiguousarray(levels) - self.mean[:, rows.mean[:, np.newaxis], columns.mean]
        blob *= np.float32(self.scale)
        return PreparedImage(blob, picture if picture.shape[2] == 3 else np.repeat(picture, 3, axis=2))

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Least and greatest number that an input can have in each channel, wherever its pixels lie.

        Which place of the mean belongs to a pixel depends on the image, so that its extremes count.
        """
        lowest = (0 - self.mean.max(axis=(1, 2))) * np.float32(self.scale)
        highest = (255 - self.mean.min(axis=(1, 2))) * np.float32(self.scale)
        return tuple(lowest.tolist()), tuple(highest.tolist())

    def indices(self, height: int, width: int) -> tuple[AxisIndices, AxisIndices]:
        """Rows and columns of an image of ``height`` x ``width`` pixels, resized as the reference does."""
        inputs = self.input_size
        means = (self.mean.shape[1], self.mean.shape[2])
        long_axis = 0 if height > width else 1
        long_start = (self.base_size - inputs[long_axis]) // 2
        borders = ((means[0] - inputs[0]) // 2, (means[1] - inputs[1]) // 2)
        # The smaller border is the reference's choice, whose inputs are square.
        border = min(borders) if inputs[0] == inputs[1] else borders[long_axis]
        sides = (height, width)
        starts_at_zero = self.quirks.Q1_mean_starts_at_zero
        axes = [_centred(sides[i], inputs[i], means[i], starts_at_zero) for i in (0, 1)]
        axes[long_axis] = _axis(long_start, sides[long_axis], inputs[long_axis], border)
        return axes[0], axes[1]

    def centred_indices(self, height: int, width: int) -> tuple[AxisIndices, AxisIndices]:
        """Rows and columns of the centre of an image of ``height`` x ``width`` pixels, and of the mean."""
        _, mean_height, mean_width = self.mean.shape
        return (
            _centred(height, self.input_height, mean_height, starts_at_zero=False),
            _centred(width, self.input_width, mean_width, starts_at_zero=False),
        )


def _centred(side: int, inputs: int, mean_side: int, starts_at_zero: bool) -> AxisIndices:
    """The axis that is centred, and replicated at its edges where ``side`` < ``inputs``.

    ``starts_at_zero`` is whether the mean of a replicated axis does (Q1).
    """
    if side >= inputs:
        return _axis((side - inputs) // 2, side, inputs, (mean_side - inputs) // 2)
    image = _axis(-((inputs - side) // 2), side, inputs, 0).image
    return AxisIndices(image, image + (0 if starts_at_zero else (mean_side - side) // 2))


def _axis(start: int, side: int, inputs: int, mean_start: int) -> AxisIndices:
    """Consecutive indices, those of the image from ``start`` on and kept within its ``side``."""
    steps = np.arange(inputs)
    return AxisIndices((start + steps).clip(0, side - 1), mean_start + steps)


def _cut_out(image: DecodedImage, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.uint16]:
    """Some rows and columns of an image as it is, as RGB; no more of it is touched."""
    top, left = int(rows.min()), int(columns.min())
    window = image.pixels[top : int(rows.max()) + 1, left : int(columns.max()) + 1]
    part = replace(image, pixels=np.ascontiguousarray(window))
    return resize(part, part.sides)[(rows - top)[:, np.newaxis], columns - left]


def _luma(samples: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Gray (H, W, 1) of RGB samples (H, W, 3), by Rec. 601; that of a gray image is the image itself."""
    weighted = samples.astype(np.uint32) @ _LUMA
    rounded: NDArray[np.uint16] = ((weighted + (1 << _LUMA_BITS - 1)) >> _LUMA_BITS).astype(np.uint16)
    return rounded[..., np.newaxis]
