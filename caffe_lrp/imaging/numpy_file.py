"""NumPy files (``.npy``) in place of images: grey levels that no image file can hold.

The array is (C, H, W), channels in the order of the net's input; nothing is resized. Nothing is unpickled,
and no memory is taken for numbers that the file promises and does not have.
"""

import io
import math
import tokenize

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ImageError
from caffe_lrp.imagefile import ImageSource, read_image

SUFFIX = ".npy"

_KINDS = "fiu"
#: What NumPy raises on headers that are none.
_DAMAGE = (
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    LookupError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)
_ADVICE = "save it with numpy.save, as an array (channels, height, width) of real numbers"


def is_numpy_file(source: ImageSource) -> bool:
    """Whether what is to be explained is called a NumPy file."""
    return str(source).lower().endswith(SUFFIX)


def read_numpy_file(source: ImageSource, channels: int, max_pixels: int) -> NDArray[np.float32]:
    """The array of a NumPy file, (channels, H, W).

    Parameters
    ----------
    source
        Where the bytes of the file are.
    channels
        As many as the net's input has.
    max_pixels
        Arrays with more pixels are refused.

    Raises
    ------
    ImageError
        The file cannot be read, is none of this kind, or holds something else than such an array.
    """
    content = io.BytesIO(read_image(source))
    try:
        version = np.lib.format.read_magic(content)
        read_header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read_header = np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(content)
    except _DAMAGE as error:
        raise ImageError(f"{source}: is no NumPy file that can be read ({error}); {_ADVICE}") from error
    found = "×".join(map(str, shape)) or "one number"
    if dtype.kind not in _KINDS or len(shape) != 3 or min(shape) < 1:
        raise ImageError(f"{source}: holds {found} of the type {dtype}, not an image; {_ADVICE}")
    if shape[0] != channels:
        raise ImageError(
            f"{source}: holds {found} numbers, but the net's input has {channels} channel(s); {_ADVICE}"
        )
    if shape[1] * shape[2] > max_pixels:
        raise ImageError(
            f"{source}: {found} numbers have more than the {max_pixels} pixels that are allowed; allow more "
            "with --max-pixels"
        )
    numbers = content.getbuffer()[content.tell() :]
    if len(numbers) < math.prod(shape) * dtype.itemsize:
        raise ImageError(f"{source}: is cut short; get a complete copy of the file")
    array = np.frombuffer(numbers, dtype, math.prod(shape)).reshape(shape, order="F" if is_fortran else "C")
    with np.errstate(over="ignore"):
        levels = array.astype(np.float32)
    if not np.isfinite(levels).all():
        raise ImageError(f"{source}: holds numbers that are not finite in float32; replace them")
    return levels
