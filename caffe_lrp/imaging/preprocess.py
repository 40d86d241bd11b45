"""From an image to the input blob of the net: decode, resize, crop, subtract the mean, scale.

The crop is done by indexing: for each axis, every row or column of the input has an index into the resized
image and one into the mean. Replicated edges are repeated indices. Source: manual: toolbox, "Crop and
mean". The reference lacks inputs that are not square and other ways to resize; there, each axis is centred
on its own.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import ConfigError, ImageError, ModelError
from caffe_lrp.files.imagefile import ArchiveMember, ImageSource
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.quirks import Quirks

from .budget import MemoryBudget
from .crop import Crop
from .decode import MAX_PIXELS, ImageName, decode, too_large
from .memory import ImageInput, decode_given, finished_input, is_finished_input, name_of
from .numpy_file import is_numpy_file, read_numpy_file
from .original import Original, as_eight_bits, as_three_channels, picture_of_levels
from .pixels import DecodedImage
from .place import Place
from .resize import Size, resize

#: Far larger than any net's input; resized images of this size take 400 MB.
LARGEST_BASE_SIZE = 2**13

#: Weights of red, green and blue in the luma of Rec. 601, times 2**14, as in OpenCV.
_LUMA = np.array([4899, 9617, 1868], np.uint32)
_LUMA_BITS = 14

_NEEDED = {1: "one channel is", 3: "three channels are"}


class AxisIndices(NamedTuple):
    """One axis of the crop: for every row (or column) of the input, the row of the image and of the mean."""

    image: NDArray[np.intp]
    mean: NDArray[np.intp]


#: The rows and the columns of the crop.
Axes = tuple[AxisIndices, AxisIndices]


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """One image, ready for the net.

    Attributes
    ----------
    blob
        (C, H, W) float32, C-contiguous, channels in the net's order: grey levels minus the mean, scaled.
    picture
        (H, W, 3) uint8, channels RGB: the same crop before the mean was subtracted.
    place
        Position of the crop in the original.
    original
        For reading the original again; for a finished input, the picture that was made from it.
    is_turned
        Whether an orientation tag, which is ignored, says that the original is shown turned or mirrored.
    """

    blob: Blob
    picture: NDArray[np.uint8]
    place: Place
    original: Original
    is_turned: bool = False


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """Turns images into input blobs of one net.

    Attributes
    ----------
    base_size
        Longer image side after resizing, in pixels (``baseimgsize``).
    input_height, input_width
        Input size of the net, in pixels.
    mean
        (C, mean_h, mean_w) float32, channels in the net's order, grey levels; at least as large as the input.
    quirks
        Used for Q1: where the mean starts on an axis with replicated edges.
    max_pixels
        Images with more pixels are refused.
    channels
        Channels of the net's input: 3 are colours, 1 is their luma; any other number needs NumPy files.
    channel_order
        Order of the colours in the net's input: ``BGR`` or ``RGB``.
    resize_mode
        One of `resize.RESIZE_MODES`.
    scale
        Factor of the input, applied after the mean is subtracted.
    std
        What each channel is divided by, in the net's order, instead of a factor.
    budget
        The memory for image files while they are loaded; shared by all threads that load.

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
    std: tuple[float, ...] | None = None
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
                f"the mean image is {mean_height} x {mean_width} pixels, smaller than the net's input of "
                f"{self.input_height} x {self.input_width}; use the mean that belongs to the net"
            )

    def _refuse_base_size(self) -> None:
        """Raise ConfigError if images would be too small for the crop, or absurdly large."""
        needed = max(self.input_size)
        if self.base_size < needed:
            raise ConfigError(
                f"baseimgsize is {self.base_size}, but the net's input is {self.input_height} x "
                f"{self.input_width} pixels; set baseimgsize to {needed} or more"
            )
        if self.base_size > LARGEST_BASE_SIZE:
            raise ConfigError(
                f"baseimgsize is {self.base_size}, the limit is {LARGEST_BASE_SIZE}; "
                f"the net needs no more than {needed}"
            )

    @property
    def input_size(self) -> Size:
        """Height and width of the net's input."""
        return self.input_height, self.input_width

    @property
    def crop(self) -> Crop:
        """Which part of a picture the input shows."""
        return Crop(self.resize_mode, self.base_size, self.input_size)

    def __call__(self, source: ImageInput) -> PreparedImage:
        """Input blob of an image file, a NumPy file, or an image in memory.

        Only what the `Original` needs of ``source`` is kept, and arrays are not changed. Floating-point
        numbers are a finished input and are used as they are.

        Raises
        ------
        ImageError
            The file is missing, or the image cannot be decoded, does not fit the net's input, or is too
            large.
        """
        image = Path(source) if isinstance(source, str) else source
        try:
            if isinstance(image, Path | ArchiveMember):
                return self._from_file(image)
            return self._from_memory(image)
        except MemoryError as error:
            raise too_large(name_of(image), "it does not fit in memory") from error

    def _from_file(self, source: ImageSource) -> PreparedImage:
        with self.budget.share(source) as take:
            if is_numpy_file(source):
                levels = read_numpy_file(source, self.channels, self.max_pixels, take)
                return self._from_levels(levels, self._original(source))
            self._require_colours(
                source, f"give NumPy files (.npy) with {self.channels} x height x width numbers"
            )
            return self._from_image(source, decode(source, self.max_pixels, take), self._original(source))

    def _from_memory(self, given: Image.Image | NDArray[Any]) -> PreparedImage:
        shape = (self.channels, *self.input_size)
        if is_finished_input(given):
            return self._from_blob(finished_input(given, shape))
        self._require_colours(name_of(given), f"give its finished input as a float32 array of shape {shape}")
        decoded = decode_given(given, self.max_pixels)
        return self._from_image(name_of(given), decoded, self._original(given))

    def _original(self, image: ImageInput) -> Original:
        return Original(image, self.channels, self.channel_order, self.max_pixels)

    def _require_colours(self, name: ImageName, advice: str) -> None:
        """Raise ImageError if the net's input is not an image."""
        if self.channels not in (1, 3):
            raise ImageError(
                f"{name}: the net's input has {self.channels} channels, which no image has; {advice}"
            )

    def _from_image(self, name: ImageName, image: DecodedImage, original: Original) -> PreparedImage:
        sides = image.sides
        size = self.crop.resized(sides)
        if size != sides and size[0] * size[1] > LARGEST_BASE_SIZE**2:
            raise too_large(name, f"{sides[0]} x {sides[1]} pixels become {size[0]} x {size[1]}")
        axes = self.indices(*size) if self.resize_mode == "reference" else self.centred_indices(*size)
        rows, columns = axes
        if size == sides:
            crop = _cut_out(image, rows.image, columns.image)
        else:
            crop = _part(resize(image, size), rows.image, columns.image)
        if self.channels == 1:
            crop = _luma(crop)
        ordered = crop[..., ::-1] if self.channel_order == "BGR" else crop
        planes = np.ascontiguousarray(ordered.transpose(2, 0, 1))
        levels = (planes * (255.0 / 65535.0)).astype(np.float32)
        picture = as_eight_bits(crop)
        blob = self._less_mean(levels, axes)
        place = self.crop.place(sides)
        return PreparedImage(blob, as_three_channels(picture), place, original, image.is_turned)

    def _from_levels(self, levels: Blob, original: Original) -> PreparedImage:
        sides = (levels.shape[1], levels.shape[2])
        axes = self.centred_indices(*sides)
        rows, columns = axes
        crop = _part(levels, rows.image, columns.image, first_axis=1)
        picture = picture_of_levels(crop, self.channel_order)
        place = self.crop.place_of_levels(sides)
        return PreparedImage(self._less_mean(crop, axes), picture, place, original)

    def _from_blob(self, blob: Blob) -> PreparedImage:
        sides = self.input_size
        axes = self.centred_indices(*sides)
        unscaled = blob / np.float32(self.scale) if self.std is None else blob * self._divisors
        levels = unscaled + self._mean_at(axes)
        picture = picture_of_levels(levels, self.channel_order)
        place = self.crop.place_of_levels(sides)
        return PreparedImage(blob, picture, place, self._original(picture))

    def _mean_at(self, axes: Axes) -> Blob:
        """The mean of the crop, (C, H, W)."""
        rows, columns = axes
        return _part(self.mean, rows.mean, columns.mean, first_axis=1)

    def _less_mean(self, levels: Blob, axes: Axes) -> Blob:
        """The input from the grey levels (C, H, W) of the crop."""
        blob = np.subtract(levels, self._mean_at(axes), order="C")
        return self._scaled(blob)

    def _scaled(self, blob: Blob) -> Blob:
        """``blob`` (C, …), scaled in place."""
        if self.std is None:
            blob *= np.float32(self.scale)
        else:
            blob /= self._divisors.reshape(-1, *(1,) * (blob.ndim - 1))
        return blob

    @property
    def _divisors(self) -> Blob:
        """(C, 1, 1): what each channel is divided by."""
        return np.array(self.std, np.float32).reshape(-1, 1, 1)

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Smallest and largest number that an input can have in each channel, at any position.

        The part of the mean that is subtracted from a pixel depends on the image, so its extremes count.
        """
        lowest = self._scaled(0 - self.mean.max(axis=(1, 2)))
        highest = self._scaled(255 - self.mean.min(axis=(1, 2)))
        return tuple(lowest.tolist()), tuple(highest.tolist())

    def indices(self, height: int, width: int) -> Axes:
        """Rows and columns of an image of ``height`` x ``width`` pixels, resized as the reference does."""
        inputs, starts = self.input_size, self.crop.start((height, width))
        means = (self.mean.shape[1], self.mean.shape[2])
        long_axis = 0 if height > width else 1
        borders = ((means[0] - inputs[0]) // 2, (means[1] - inputs[1]) // 2)
        # The reference takes the smaller border; its inputs are square.
        border = min(borders) if inputs[0] == inputs[1] else borders[long_axis]
        sides = (height, width)
        starts_at_zero = self.quirks.Q1_mean_starts_at_zero
        axes = [_centred(starts[i], sides[i], inputs[i], means[i], starts_at_zero) for i in (0, 1)]
        axes[long_axis] = _axis(starts[long_axis], sides[long_axis], inputs[long_axis], border)
        return axes[0], axes[1]

    def centred_indices(self, height: int, width: int) -> Axes:
        """Rows and columns of the centre of an image of ``height`` x ``width`` pixels, and of the mean."""
        _, mean_height, mean_width = self.mean.shape
        top, left = self.crop.centred_start((height, width))
        return (
            _centred(top, height, self.input_height, mean_height, starts_at_zero=False),
            _centred(left, width, self.input_width, mean_width, starts_at_zero=False),
        )


def _centred(start: int, side: int, inputs: int, mean_side: int, starts_at_zero: bool) -> AxisIndices:
    """A centred axis, with replicated edges if ``side`` < ``inputs``.

    ``starts_at_zero`` says whether the mean of a replicated axis starts at 0 (Q1).
    """
    if side >= inputs:
        return _axis(start, side, inputs, (mean_side - inputs) // 2)
    image = _axis(start, side, inputs, 0).image
    return AxisIndices(image, image + (0 if starts_at_zero else (mean_side - side) // 2))


def _axis(start: int, side: int, inputs: int, mean_start: int) -> AxisIndices:
    """Consecutive indices: those of the image begin at ``start`` and are clipped to its ``side``."""
    steps = np.arange(inputs)
    return AxisIndices((start + steps).clip(0, side - 1), mean_start + steps)


def _cut_out(image: DecodedImage, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.uint16]:
    """Some rows and columns of an image that is not resized, as RGB; the rest is not converted."""
    top, left = int(rows.min()), int(columns.min())
    window = image.pixels[top : int(rows.max()) + 1, left : int(columns.max()) + 1]
    part = replace(image, pixels=np.ascontiguousarray(window))
    return _part(resize(part, part.sides), rows - top, columns - left)


def _part(
    array: NDArray[Any], rows: NDArray[np.intp], columns: NDArray[np.intp], first_axis: int = 0
) -> NDArray[Any]:
    """Rows and columns of an array along ``first_axis`` and the next; a view if both are consecutive.

    Each axis is indexed on its own: with both at once NumPy looks up every number individually, which takes
    ten times as long.
    """
    for axis, indices in enumerate((rows, columns), first_axis):
        first, last = int(indices[0]), int(indices[-1])
        if last - first == len(indices) - 1:  # none is repeated: indices never decrease
            array = array[(slice(None),) * axis + (slice(first, last + 1),)]
        else:
            array = array.take(indices, axis)
    return array


def _luma(samples: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Gray (H, W, 1) of RGB samples (H, W, 3), by Rec. 601; gray images keep their levels."""
    weighted = samples.astype(np.uint32) @ _LUMA
    rounded: NDArray[np.uint16] = ((weighted + (1 << _LUMA_BITS - 1)) >> _LUMA_BITS).astype(np.uint16)
    return rounded[..., np.newaxis]
