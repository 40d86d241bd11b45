"""Relevance in NumPy's formats: the files of one image, and the numbers in databases.

Output does not depend on time or machine: the same explanation gives the same bytes. Nothing is pickled.
"""

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ImageError
from caffe_lrp.model.explanation import Explanation

from .encoding import LIST_LENGTH, Dtype, Encoding

#: The largest number in half precision.
_LARGEST_HALF = float(np.finfo(np.float16).max)

#: Floats hardly compress: higher levels save 3 % at most.
_COMPRESSION = 1

#: The earliest date possible in a ZIP archive, used instead of the time of writing.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def relevance_map(explanation: Explanation, dtype: Dtype) -> NDArray[Any]:
    """Return the relevance (C, H, W) as stored: RGB for an image, as in the text file, else as the blob.

    Raises
    ------
    ImageError
        A number is too large for float16.
    """
    return _stored(explanation.relevance, dtype)


def _stored(relevance: NDArray[np.float32], dtype: Dtype) -> NDArray[Any]:
    """Return ``relevance`` in the type of the files; ImageError if a number is too large for float16."""
    if dtype == "float16":
        _refuse_overflow(relevance)
    return np.ascontiguousarray(relevance, little_endian(dtype))


def npy_file(explanation: Explanation, encoding: Encoding) -> bytes:
    """Content of ``_relevance.npy``: the relevance."""
    return _encode_npy(relevance_map(explanation, encoding.dtype))


def layer_file(kind: str, explanation: Explanation, encoding: Encoding) -> bytes:
    """Content of a file of relevance at a layer, with the shape and channel order of its blob.

    Raises
    ------
    ImageError
        A number is too large for float16.
    """
    return _encode_npy(_stored(explanation.layers[kind], encoding.dtype))


def npz_file(explanation: Explanation, encoding: Encoding) -> bytes:
    """Content of ``_relevance.npz``: the relevance, the explained classes, and the settings of the run."""
    arrays = {
        "relevance": relevance_map(explanation, encoding.dtype),
        "scores": np.asarray(explanation.ranking.scores[:LIST_LENGTH], "<f4"),
        "classes": np.asarray(explanation.ranking.classes[:LIST_LENGTH], "<i8"),
        "target": np.asarray(explanation.target, "<i8"),
        "config": np.asarray(encoding.description),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:
        for name, array in arrays.items():
            # ZipFile's defaults depend on time and system.
            entry = zipfile.ZipInfo(f"{name}.npy", _NO_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, _encode_npy(array))
    return content.getvalue()


def _encode_npy(array: NDArray[Any]) -> bytes:
    """Return the bytes of an NPY file; object arrays, which would be pickled, are refused."""
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
    return content.getvalue()


def little_endian(dtype: Dtype) -> np.dtype[Any]:
    """Return a type in the byte order of the files, which is the same on every machine."""
    return np.dtype(dtype).newbyteorder("<")


def _refuse_overflow(relevance: NDArray[np.float32]) -> None:
    largest = float(np.abs(relevance).max(initial=0))
    if largest > _LARGEST_HALF:
        raise ImageError(
            f"relevance of {largest:g} is too large for float16, whose limit is {_LARGEST_HALF:g}; "
            "use float32 (--dtype float32)"
        )
