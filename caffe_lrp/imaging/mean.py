"""The mean image in its three file formats, always returned in BGR order.

Source: spec/reference.md §2 (``use_mean_file_asbinaryprotoblob``) and §4 item 4 (Q10).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, ModelError
from caffe_lrp.files import read_small_file, why_no_text
from caffe_lrp.proto.reader import read_blob
from caffe_lrp.quirks import Quirks

#: Values of the config key ``use_mean_file_asbinaryprotoblob``.
TEXT_BGR, BLOB_BGR, BLOB_RGB = 0, 1, 2

_HEADER_NUMBERS = 3
_LARGEST_SIDE = 65535
_TEXT_LAYOUT = (
    "begin it with 3, the height and the width, followed by all numbers of the blue, the green and the red "
    "plane, each column by column"
)

Mean = NDArray[np.float32]


def load_mean(path: Path, mode: int, quirks: Quirks) -> Mean:
    """The mean image of ``path`` as (3, H, W) float32, channels BGR, in grey levels.

    Parameters
    ----------
    path
        A text mean (``mode`` 0) or a file with one BlobProto (1: channels BGR, 2: channels RGB).
    mode
        Value of the config key ``use_mean_file_asbinaryprotoblob``.
    quirks
        Q10 is read here: whether a BlobProto mean is used transposed.

    Raises
    ------
    ConfigError
        ``mode`` is not 0, 1 or 2.
    ModelError
        The file is missing, unreadable, malformed, or does not hold three channels of finite numbers.
    """
    if mode not in (TEXT_BGR, BLOB_BGR, BLOB_RGB):
        raise ConfigError(
            f"use_mean_file_asbinaryprotoblob is {mode}; use 0 (text), 1 (BlobProto, channels BGR) or 2 "
            "(BlobProto, channels RGB)"
        )
    mean = _text_mean(path) if mode == TEXT_BGR else _blob_mean(path, quirks)
    with np.errstate(over="ignore"):
        ordered = np.ascontiguousarray(mean[::-1] if mode == BLOB_RGB else mean, dtype=np.float32)
    if not np.isfinite(ordered).all():
        raise ModelError(
            f"{path}: the mean image holds numbers that are not finite; download or make it again"
        )
    return ordered


def _blob_mean(path: Path, quirks: Quirks) -> Mean:
    """A BlobProto mean (3, H, W), channels in the file's order."""
    blob = read_blob(path)
    shape = blob.shape[1:] if blob.ndim == 4 and blob.shape[0] == 1 else blob.shape
    if len(shape) != 3 or shape[0] != 3:
        found = " x ".join(map(str, blob.shape))
        raise ModelError(
            f"{path}: a mean image has 1 x 3 x H x W numbers, this blob has {found}; use the mean of the "
            "net's training images"
        )
    channels, height, width = shape
    if quirks.Q10_transposed_mean:
        return blob.reshape(channels, width, height).transpose(0, 2, 1)
    return blob.reshape(channels, height, width)


def _text_mean(path: Path) -> NDArray[np.float64]:
    """A text mean (3, H, W): "3", "H W", then per channel one column after the other."""
    numbers = _numbers(path)
    header = numbers[:_HEADER_NUMBERS]
    if len(numbers) == _HEADER_NUMBERS and header[0] != 3:
        raise ModelError(
            f"{path}: holds three numbers only; for one mean colour, write 3, height and width of the "
            "net's input, then the number of blue once for every pixel, that of green, and that of red"
        )
    if len(header) < _HEADER_NUMBERS or not np.isin(header, np.arange(1, _LARGEST_SIDE + 1)).all():
        raise ModelError(
            f"{path}: a text mean begins with the channels, the height and the width, each a whole number; "
            f"{_TEXT_LAYOUT}"
        )
    if header[0] != 3:
        raise ModelError(
            f"{path}: the mean image has {header[0]:g} channels; three are needed; {_TEXT_LAYOUT}"
        )
    values = numbers[_HEADER_NUMBERS:]
    height, width = int(header[1]), int(header[2])
    if len(values) != 3 * height * width:
        raise ModelError(
            f"{path}: the header promises 3 x {height} x {width} = {3 * height * width} numbers, "
            f"the file has {len(values)}; download or make it again"
        )
    return values.reshape(3, width, height).transpose(0, 2, 1)


def _numbers(path: Path) -> NDArray[np.float64]:
    """All blank-delimited numbers of a text file."""
    advice = "for a BlobProto (binaryproto), set use_mean_file_asbinaryprotoblob to 1 or 2"
    content = read_small_file(path, "text mean", ModelError, most_megabytes=256)
    try:
        return np.array(content.decode("utf-8-sig").split(), dtype=np.float64)
    except ValueError as error:
        reason = why_no_text(content, "text mean", advice) or f"a text mean holds numbers only, but {error}"
        raise ModelError(f"{path}: {reason}") from error
