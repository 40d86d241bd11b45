"""NumPy files (``.npy``): images with grey levels that image files cannot store, and mean images.

Nothing is unpickled, and no memory is allocated for numbers that the file declares but does not contain.
"""

import io
import math
import threading
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import CaffeLrpError, ImageError
from caffe_lrp.files.imagefile import ImageSource, read_image
from caffe_lrp.files.recognition import why_foreign

from .budget import Take
from .libraries import unwarned

SUFFIX = ".npy"
#: The first bytes of these files, whatever their names.
MAGIC = b"\x93NUMPY"

_KINDS = "fiu"
#: A float32 and a boolean: whether it is finite.
_BYTES_PER_NUMBER = 5
#: NumPy parses headers with Python's parser, and Python 3.11 counts the recursion depth of all threads
#: together: parsing in two threads at once can end with a SystemError.
_PARSING = threading.Lock()
#: The most axes that every version of NumPy supports.
_MOST_AXES = 32
#: Headers of numeric arrays have 128 bytes or a few more. Parsing 10,000 bytes can take Python a gigabyte.
_LONGEST_HEADER = 1024
_LONGEST_BEGINNING = _LONGEST_HEADER + 12
_ADVICE = "save it with numpy.save, as an array (channels, height, width) of real numbers"


def is_numpy_file(source: ImageSource) -> bool:
    """Whether the image has the name of a NumPy file."""
    return str(source).lower().endswith(SUFFIX)


def read_numpy_file(
    source: ImageSource, channels: int, max_pixels: int, take: Take = lambda size: None
) -> NDArray[np.float32]:
    """The array of a NumPy file that is given as an image, (channels, H, W); it is not resized.

    Parameters
    ----------
    source
        The file, or the member of an archive.
    channels
        Number of channels of the net's input; the array has them in the same order.
    max_pixels
        Arrays with more pixels are refused.
    take
        Called before each step with the memory that it takes: first reading the file, then the numbers.

    Raises
    ------
    ImageError
        The file cannot be read, is not a NumPy file, or does not hold such an array.
    """
    beginning = read_image(source, most=_LONGEST_BEGINNING)
    shape, _, dtype, start = _described(beginning, source, ImageError, _ADVICE)
    found = "×".join(map(str, shape))
    if len(shape) != 3:
        raise ImageError(f"{source}: holds {found} of the type {dtype}, not an image; {_ADVICE}")
    if shape[0] != channels:
        raise ImageError(
            f"{source}: holds {found} numbers, but the net's input has {channels} channel(s); {_ADVICE}"
        )
    if shape[1] * shape[2] > max_pixels:
        raise ImageError(
            f"{source}: {found} numbers exceed the limit of {max_pixels} pixels; allow more with --max-pixels"
        )
    content = read_image(source, take, start + math.prod(shape) * dtype.itemsize)
    array = array_of(content, source, ImageError, _ADVICE)
    take(_BYTES_PER_NUMBER * array.size)
    with np.errstate(over="ignore"):
        levels = array.astype(np.float32)
    if not np.isfinite(levels).all():
        raise ImageError(f"{source}: holds numbers that are not finite in float32; replace them")
    return levels


def array_of(
    content: bytes,
    source: ImageSource | Path,
    error: type[CaffeLrpError],
    advice: str,
    wanted: str = "an image",
) -> NDArray[Any]:
    """The array in a NumPy file, a view of ``content``: real numbers of any type.

    Parameters
    ----------
    content
        The bytes of the file.
    source, advice
        The file, and how to write a correct one, for messages.
    error
        Class of the error to raise.
    wanted
        What the file should hold, for messages.

    Raises
    ------
    CaffeLrpError
        Of class ``error``: it is not a NumPy file, is cut short, is empty, or does not hold numbers.
    """
    shape, is_fortran, dtype, start = _described(content, source, error, advice, wanted)
    count = math.prod(shape)
    if len(content) - start < count * dtype.itemsize:
        raise error(f"{source}: is cut short; get a complete copy of the file")
    array: NDArray[Any] = np.frombuffer(content, dtype, count, start)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _described(
    content: bytes,
    source: ImageSource | Path,
    error: type[CaffeLrpError],
    advice: str,
    wanted: str = "an image",
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether the first axis is contiguous, type and offset of the numbers; raises as `array_of`."""
    file = io.BytesIO(content)
    try:
        shape, is_fortran, dtype = _header(file)
    except Exception as fault:  # a header is an expression that Python parses, which can raise anything
        damage = f"cannot be read as a NumPy file ({str(fault) or type(fault).__name__}); {advice}"
        reason = "" if content.startswith(MAGIC) else why_foreign(content, "NumPy file")
        raise error(f"{source}: {reason or damage}") from fault
    found = "×".join(map(str, shape)) or "one number"
    if dtype.kind not in _KINDS or not shape or min(shape) < 1:
        raise error(f"{source}: holds {found} of the type {dtype}, not {wanted}; {advice}")
    return shape, is_fortran, dtype, file.tell()


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis is contiguous, and type; ValueError for an impossible shape."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    start = file.tell()
    if int.from_bytes(file.read(2 if version == (1, 0) else 4), "little") > _LONGEST_HEADER:
        raise ValueError("its header is too long")
    file.seek(start)
    with _PARSING, unwarned():  # files from Python 2 are read, with a warning
        shape, is_fortran, dtype = read(file)
    # NumPy accepts True as a number, and numbers too large to be printed.
    if len(shape) > _MOST_AXES or any(type(side) is not int or abs(side) >= 2**63 for side in shape):
        raise ValueError("its header has a shape that no array can have")
    return shape, is_fortran, dtype
