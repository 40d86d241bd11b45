"""Images that are given in memory instead of a file: PIL images and arrays.

A PIL image gives the same input as the file it was opened from, and an array the same as a PNG with its
pixels. There are exceptions where Pillow has dropped information. Of 16-bit colours it keeps 8 bits. Once a
TIFF is loaded, it is rotated by its orientation tag. A copy has no format and is treated like a PNG, whose
gray is resized with another filter than that of TIFF and PNM.
"""

from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import ImageError
from caffe_lrp.files.imagefile import ArchiveMember, ImageSource
from caffe_lrp.kernels.blobs import Blob

from .decode import ImageName, decode_opened, refuse_large_sides
from .pixels import ColourModel, DecodedImage

#: What can be explained: a file by its path, a member of an archive, a PIL image, or an array. Arrays of
#: uint8 or uint16 are pictures: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA. Arrays of floating-point
#: numbers are finished inputs (C, H, W), in the net's own order and scale.
ImageInput = ImageSource | str | Image.Image | NDArray[Any]

_COLOURS = {1: ColourModel.GRAY, 3: ColourModel.RGB, 4: ColourModel.RGBA}
_BYTES_OF_LEVEL = (1, 2)
_AXES_OF_BATCH = 4

_PICTURES = "an array (H, W), (H, W, 3) or (H, W, 4) of uint8 or uint16"


def name_of(given: object) -> ImageName:
    """The name of an image in messages: the path of a file, or a description of the object."""
    if isinstance(given, Path | ArchiveMember):
        return given
    if isinstance(given, np.ndarray):
        return f"the image given (an array of shape {given.shape} and type {given.dtype})"
    if isinstance(given, Image.Image):
        return f"the image given (a PIL image of mode {given.mode}, {given.width} x {given.height} pixels)"
    return f"the image given (of type {type(given).__name__})"


def is_finished_input(given: object) -> TypeGuard[NDArray[np.floating[Any]]]:
    """Whether it is a floating-point array: its white level is unknown."""
    return isinstance(given, np.ndarray) and given.dtype.kind == "f"


def finished_input(array: NDArray[np.floating[Any]], shape: tuple[int, int, int]) -> Blob:
    """A float32 copy of an array that already is the net's input.

    Other floating-point types are converted: the shape makes the meaning clear, and most NumPy functions
    return float64.

    Parameters
    ----------
    array
        An array of exactly ``shape``, (C, H, W), the shape of the net's input.

    Raises
    ------
    ImageError
        The array has another shape, or numbers that are not finite in float32.
    """
    if array.shape != shape:
        raise ImageError(
            f"{name_of(array)}: a floating-point array is taken as the finished input of the net, whose "
            f"shape is {shape} (channels, height, width); {_advice_for_shape(array, shape)}"
        )
    with np.errstate(over="ignore"):
        blob = np.array(array, np.float32, order="C")
    if not np.isfinite(blob).all():
        raise ImageError(f"{name_of(array)}: holds numbers that are not finite in float32; replace them")
    return blob


def _advice_for_shape(array: NDArray[Any], shape: tuple[int, int, int]) -> str:
    if array.ndim == _AXES_OF_BATCH:
        return "give one image at a time, without the batch axis"
    if array.shape == (*shape[1:], shape[0]):
        return "put the channels first with .transpose(2, 0, 1)"
    return f"give a picture, which is resized and cropped, as {_PICTURES}"


def decode_given(given: object, max_pixels: int) -> DecodedImage:
    """Pixels of a PIL image, which is loaded if necessary, or of an array.

    Parameters
    ----------
    given
        A PIL image of any mode with known levels; or an array of uint8 or uint16: (H, W) or (H, W, 1) gray,
        (H, W, 3) RGB, (H, W, 4) RGBA.
    max_pixels
        Images with more pixels are refused.

    Raises
    ------
    ImageError
        It is not an image, has no pixels or too many, is damaged, or its levels are unknown.
    """
    if isinstance(given, Image.Image):
        return _of_picture(name_of(given), given, max_pixels)
    if isinstance(given, np.ndarray):
        return _of_array(name_of(given), given, max_pixels)
    raise ImageError(f"{name_of(given)}: is not an image; give a path, a PIL image or {_PICTURES}")


def _of_picture(name: ImageName, image: Image.Image, max_pixels: int) -> DecodedImage:
    if min(image.size) < 1:
        raise ImageError(f"{name}: has no pixels; give an image with at least one")
    return decode_opened(name, image, b"", max_pixels)


def _of_array(name: ImageName, array: NDArray[Any], max_pixels: int) -> DecodedImage:
    _refuse_array(name, array)
    height, width = array.shape[:2]
    levels = array.reshape(height, width, -1)
    colours = _COLOURS[levels.shape[2]]
    if array.dtype.itemsize == 1:
        return _of_picture(
            name, Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels), max_pixels
        )
    refuse_large_sides(name, height, width, max_pixels)
    return DecodedImage(levels.astype(np.uint16), colours, uses_mitchell=colours is ColourModel.RGBA)


def _refuse_array(name: ImageName, array: NDArray[Any]) -> None:
    """ImageError for an array that is not a picture."""
    if array.dtype.kind != "u" or array.dtype.itemsize not in _BYTES_OF_LEVEL:
        raise ImageError(
            f"{name}: the white level of numbers of this type is unknown; give {_PICTURES}, or the finished "
            "input of the net as float32"
        )
    if array.size == 0:
        raise ImageError(f"{name}: has no pixels; give an image with at least one")
    if array.ndim == _AXES_OF_BATCH:
        raise ImageError(f"{name}: is a batch; give one image at a time, without the batch axis")
    is_planar = array.ndim == 3 and array.shape[2] not in _COLOURS and array.shape[0] in _COLOURS
    if is_planar:
        raise ImageError(f"{name}: its channels come first; put them last with .transpose(1, 2, 0)")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _COLOURS):
        raise ImageError(f"{name}: is not an image; give {_PICTURES}")
