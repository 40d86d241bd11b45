"""Reading mean images in all file formats; three channels are always returned in BGR order.

The reference reads text and BlobProtos (manual: toolbox, "Crop and mean"). NumPy files, and files with one
number per channel, are additions of this package.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, ModelError
from caffe_lrp.files.reading import read_head, read_small_file
from caffe_lrp.files.recognition import why_no_text
from caffe_lrp.formats.caffe.reader import scan_blob
from caffe_lrp.quirks import Quirks

from .numpy_file import MAGIC, array_of

#: Values of the config key ``use_mean_file_asbinaryprotoblob``.
TEXT_BGR, BLOB_BGR, BLOB_RGB = 0, 1, 2

_HEADER_NUMBERS = 3
_LARGEST_SIDE = 65535
#: Inputs of nets have sides of a few hundred pixels; a mean of 4096 x 4096 takes 200 MB.
_MOST_PIXELS = 2**24
_MOST_MEGABYTES = 64
#: Characters of a text mean that are parsed at a time: split into words they take ten times the memory.
_BLOCK = 2**20
_BLANK = re.compile(r"\s")
_LONGEST_COMPLAINT = 200
_NUMERALS = {1: "one is", 3: "three are"}

Mean = NDArray[np.float32]


def constant_mean(values: Sequence[float], channels: int, height: int, width: int) -> Mean:
    """A constant mean (channels, height, width); ``values`` is one number per channel, or one for all."""
    planes = np.array(values, np.float32).reshape(-1, 1, 1)
    return np.ascontiguousarray(np.broadcast_to(planes, (channels, height, width)))


def load_mean(path: Path, mode: int, quirks: Quirks, channels: int = 3) -> Mean:
    """The mean image of ``path`` as (channels, H, W) float32, in grey levels; three channels as BGR.

    If the file has one number per channel, H and W are 1.

    Parameters
    ----------
    path
        A text mean (``mode`` 0) or a file with one BlobProto (1: channels BGR, 2: channels RGB). A NumPy
        file is recognised by its content; its channels are RGB with mode 2, else BGR.
    mode
        Value of the config key ``use_mean_file_asbinaryprotoblob``.
    quirks
        Used for Q10: whether a BlobProto mean is used transposed.
    channels
        Number of channels of the net's input.

    Raises
    ------
    ConfigError
        ``mode`` is not 0, 1 or 2, or is 2 for channels that are not colours.
    ModelError
        The file is missing, unreadable, malformed, has another number of channels, or numbers that are not
        finite.
    """
    if mode not in (TEXT_BGR, BLOB_BGR, BLOB_RGB):
        raise ConfigError(
            f"use_mean_file_asbinaryprotoblob is {mode}; use 0 (text), 1 (BlobProto, channels BGR) or 2 "
            "(BlobProto, channels RGB); NumPy files are BGR under 0 and 1, RGB under 2"
        )
    if mode == BLOB_RGB and channels not in (1, 3):
        raise ConfigError(
            f"use_mean_file_asbinaryprotoblob is 2 (channels RGB), but the net's input has {channels} "
            "channels; use 0 (text) or 1 (BlobProto)"
        )
    if read_head(path, "mean image", ModelError).startswith(MAGIC):
        mean = _numpy_mean(path, channels)
    else:
        mean = _text_mean(path, channels) if mode == TEXT_BGR else _blob_mean(path, channels, quirks)
    with np.errstate(over="ignore"):
        ordered = np.ascontiguousarray(mean[::-1] if mode == BLOB_RGB else mean, dtype=np.float32)
    if not np.isfinite(ordered).all():
        raise ModelError(
            f"{path}: the mean image holds numbers that are not finite; download or make it again"
        )
    return ordered


def _blob_mean(path: Path, wanted: int, quirks: Quirks) -> Mean:
    """A BlobProto mean (wanted, H, W), channels in the file's order."""
    stored = scan_blob(path)
    if stored.count == wanted:
        return stored.read().reshape(wanted, 1, 1)
    shape = stored.shape[1:] if len(stored.shape) == 4 and stored.shape[0] == 1 else stored.shape
    if len(shape) != 3 or shape[0] != wanted:
        found = " x ".join(map(str, stored.shape))
        raise ModelError(
            f"{path}: a mean image has 1 x {wanted} x H x W numbers, or just {wanted}, but this blob has "
            f"{found}; use the mean of the net's training images"
        )
    channels, height, width = shape
    _refuse_absurd_size(path, height, width)
    blob = stored.read()
    if quirks.Q10_transposed_mean:
        return blob.reshape(channels, width, height).transpose(0, 2, 1)
    return blob.reshape(channels, height, width)


def _numpy_mean(path: Path, wanted: int) -> NDArray[Any]:
    """The mean (wanted, H, W) of a NumPy file, channels in the file's order; never transposed.

    Channels come first, as in Caffe, or last, as in OpenCV.
    """
    advice = f"save it with numpy.save, as an array ({wanted}, height, width) of real numbers"
    content = read_small_file(path, "mean image", ModelError, most_megabytes=_MOST_MEGABYTES)
    array = array_of(content, path, ModelError, advice)
    shape, found = array.shape, "×".join(map(str, array.shape))
    if math.prod(shape) == wanted:
        mean = array.reshape(wanted, 1, 1)
    elif len(shape) == 4 and shape[:2] == (1, wanted):
        mean = array[0]
    elif len(shape) == 2 and wanted == 1:
        mean = array[np.newaxis]
    elif len(shape) == 3 and shape[0] == shape[2] == wanted:
        raise ModelError(
            f"{path}: it is unclear whether the channels of {found} numbers come first or last; "
            f"save it with numpy.save, as an array (1, {wanted}, height, width)"
        )
    elif len(shape) == 3 and wanted in (shape[0], shape[2]):
        mean = array if shape[0] == wanted else array.transpose(2, 0, 1)
    else:
        raise ModelError(
            f"{path}: holds {found} numbers, but the net's input has {wanted} channel(s); {advice}"
        )
    _refuse_absurd_size(path, *mean.shape[1:])
    return mean


def _refuse_absurd_size(path: Path, height: int, width: int) -> None:
    """ModelError for a mean far larger than any net's input, before memory is allocated."""
    if height * width > _MOST_PIXELS:
        raise ModelError(
            f"{path}: the mean image is {height} x {width} pixels, the limit is {_MOST_PIXELS} in all; use "
            "the mean that belongs to the net"
        )


def _text_mean(path: Path, wanted: int) -> NDArray[np.float64]:
    """A text mean (wanted, H, W): the channels, "H W", then each channel column by column.

    Or only one number per channel.
    """
    numbers = _numbers(path)
    header = numbers[:_HEADER_NUMBERS]
    if len(numbers) == wanted and not header[0] == wanted == _HEADER_NUMBERS:
        return numbers.reshape(wanted, 1, 1)
    if len(header) < _HEADER_NUMBERS or not np.isin(header, np.arange(1, _LARGEST_SIDE + 1)).all():
        raise ModelError(
            f"{path}: a text mean begins with the channels, the height and the width, each a whole number; "
            f"{_text_layout(wanted)}"
        )
    if header[0] != wanted:
        raise ModelError(
            f"{path}: the mean image has {header[0]:g} channels; "
            f"{_NUMERALS.get(wanted, f'{wanted} are')} needed; {_text_layout(wanted)}"
        )
    values = numbers[_HEADER_NUMBERS:]
    height, width = int(header[1]), int(header[2])
    _refuse_absurd_size(path, height, width)
    if len(values) != wanted * height * width:
        raise ModelError(
            f"{path}: the header says {wanted} x {height} x {width} = {wanted * height * width} numbers, "
            f"the file has {len(values)}; download or make it again"
        )
    return values.reshape(wanted, width, height).transpose(0, 2, 1)


def _text_layout(channels: int) -> str:
    """The layout of a text mean, for messages."""
    planes = "the blue, the green and the red plane" if channels == 3 else "every channel"
    return (
        f"begin it with {channels}, the height and the width, followed by all numbers of {planes}, each "
        "column by column"
    )


def _numbers(path: Path) -> NDArray[np.float64]:
    """All blank-delimited numbers of a text file."""
    advice = "for a BlobProto (binaryproto), set use_mean_file_asbinaryprotoblob to 1 or 2"
    content = read_small_file(path, "text mean", ModelError, most_megabytes=_MOST_MEGABYTES)
    try:
        blocks = [np.array(words, dtype=np.float64) for words in _words(content.decode("utf-8-sig"))]
    except ValueError as error:
        complaint = str(error)[:_LONGEST_COMPLAINT]
        only_numbers = f"a text mean holds numbers only, but {complaint}"
        reason = why_no_text(content, "text mean", advice) or only_numbers
        raise ModelError(f"{path}: {reason}") from error
    return np.concatenate([*blocks, np.empty(0)])


def _words(text: str) -> Iterator[list[str]]:
    """The words of a text, block by block."""
    start = 0
    while start < len(text):
        blank = _BLANK.search(text, start + _BLOCK)
        stop = blank.start() if blank else len(text)
        yield text[start:stop].split()
        start = stop
