"""The memory layout of blobs: N×C×H×W with the channels of a pixel side by side.

Shapes and indices of blobs are Caffe's; only the order in memory differs, so that kernels work on
vectors of channels. NumPy keeps the two apart: code that reshapes or indexes a blob need not know.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

#: Numbers of a batch, the items along the first axis.
Blob = NDArray[np.float32]

#: Numbers along so many axes, side by side in memory: what kernels state that they are compiled for.
Blob1 = Annotated[NDArray[np.float32], 1]
Blob2 = Annotated[NDArray[np.float32], 2]
Blob3 = Annotated[NDArray[np.float32], 3]
Blob4 = Annotated[NDArray[np.float32], 4]


def pixels(blob: Blob) -> Blob:
    """``blob`` as a contiguous (N, H, W, C) array; (N, K) and others become (N, 1, 1, K).

    A view where the blob lies in memory as described above, a copy otherwise.
    """
    if blob.ndim == 4:
        return np.ascontiguousarray(blob.transpose(0, 2, 3, 1))
    return np.ascontiguousarray(blob.reshape(len(blob), 1, 1, -1))


def flat(blob: Blob) -> Blob:
    """All numbers of ``blob`` in the order of memory: (P,), for kernels that work element by element.

    A view, or a copy, as `pixels`: two blobs of one shape come in one order.
    """
    return pixels(blob).reshape(-1)


def lines(blob: Blob) -> Blob:
    """The pixels of ``blob``, one after the other: (P, C). A view, or a copy, as `pixels`."""
    numbers = pixels(blob)
    return numbers.reshape(-1, numbers.shape[3])


def as_blob(numbers: Blob, shape: tuple[int, ...]) -> Blob:
    """The inverse of `pixels`: (N, H, W, C) or (N, 1, 1, K) seen as a blob of ``shape``."""
    if len(shape) == 4:
        return numbers.transpose(0, 3, 1, 2)
    return numbers.reshape(shape)
