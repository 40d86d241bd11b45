"""``caffe.io``: images, and arrays in Caffe's messages."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.imaging.decode import decode
from caffe_lrp.imaging.pixels import ColourModel
from caffe_lrp.imaging.resize import resize

from .blob import Floats
from .faults import CaffeValueError, Refused
from .resizing import resize_image
from .transformer import Transformer

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "blobproto_to_array",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]

#: Weights of red, green and blue in luma, as in scikit-image.
_LUMA = np.array((0.2125, 0.7154, 0.0721), np.float32)
_LEGACY = ("num", "channels", "height", "width")
_LEGACY_AXES = len(_LEGACY)

_NO_DATABASES = "databases of images are not read; load images, and write them into net.blobs['data'].data"
array_to_datum = Refused("caffe.io.array_to_datum", _NO_DATABASES)
datum_to_array = Refused("caffe.io.datum_to_array", _NO_DATABASES)


def load_image(filename: str | os.PathLike[str], color: bool = True) -> Floats:
    """An image file as (H, W, 3) float32 in RGB, from 0 to 1; without ``color`` (H, W, 1), its luma.

    Raises
    ------
    ImageError
        The file is missing, damaged, or no image.
    """
    image = decode(Path(filename))
    is_ink = image.colours is ColourModel.CMYK
    samples = resize(image, image.sides) if is_ink else image.samples[:, :, :3]  # without alpha
    levels: Floats = (samples / np.float32(65535)).astype(np.float32)
    if color:
        return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels
    return levels if levels.shape[2] == 1 else (levels @ _LUMA)[..., np.newaxis]


def oversample(images: Iterable[NDArray[Any]], crop_dims: Sequence[int]) -> Floats:
    """Ten crops of each image (H, W, K): corners and centre, then the same mirrored. (10N, h, w, K) float32.

    Raises
    ------
    CaffeValueError
        There is no image, or the crop does not fit into one.
    """
    height, width = map(int, crop_dims)
    found = []
    for image in images:
        rows, columns = image.shape[0] - height, image.shape[1] - width
        if min(rows, columns) < 0:
            raise CaffeValueError(
                f"crops of {height} × {width} do not fit into an image of {image.shape[0]} × {image.shape[1]}"
            )
        corners = [(0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2)]
        crops = np.stack([image[top : top + height, left : left + width] for top, left in corners])
        found += [crops, crops[:, :, ::-1]]
    if not found:
        raise CaffeValueError("there are no images to crop")
    return np.concatenate(found).astype(np.float32)


def blobproto_to_array(blob: Any, return_diff: bool = False) -> NDArray[Any]:
    """The numbers of a BlobProto in its shape; with ``return_diff`` its gradients.

    Raises
    ------
    CaffeValueError
        The numbers do not fill the shape.
    """
    kind = "diff" if return_diff else "data"
    doubles = getattr(blob, f"double_{kind}")
    numbers = np.array(doubles) if len(doubles) else np.array(getattr(blob, kind), np.float32)
    if any(blob.HasField(name) for name in _LEGACY):
        shape = tuple(getattr(blob, name) for name in _LEGACY)
    else:
        shape = tuple(blob.shape.dim)
    if numbers.size != np.prod(shape, dtype=np.int64):
        raise CaffeValueError(f"the BlobProto has {numbers.size} numbers for the shape {shape}")
    return numbers.reshape(shape)


def array_to_blobproto(arr: NDArray[Any], diff: NDArray[Any] | None = None) -> caffe_pb2.BlobProto:
    """A BlobProto with the shape and the numbers of an array, and of its gradients."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(np.asarray(arr, np.float64).reshape(-1).tolist())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, np.float64).reshape(-1).tolist())
    return blob
