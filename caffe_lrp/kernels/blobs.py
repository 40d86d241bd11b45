"""The memory layout of blobs: N×C×H×W, with the channels of a pixel contiguous in memory.

Shapes and indices of blobs are Caffe's. Only the order in memory differs, so that kernels can work on
vectors of channels. NumPy's strides hide this from code that reshapes or indexes a blob.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

#: The numbers of a batch, with the items along the first axis.
Blob = NDArray[np.float32]

#: Contiguous numbers with the given number of axes, for the annotations of kernels.
Blob1 = Annotated[NDArray[np.float32], 1]
Blob2 = Annotated[NDArray[np.float32], 2]
Blob3 = Annotated[NDArray[np.float32], 3]
Blob4 = Annotated[NDArray[np.float32], 4]


def pixels(blob: Blob) -> Blob:
    """``blob`` as a contiguous (N, H, W, C) array; (N, K) and others become (N, 1, 1, K).

    A view if the blob has the memory layout above, otherwise a copy.
    """
    if blob.ndim == 4:
        return np.ascontiguousarray(blob.transpose(0, 2, 3, 1))
    return np.ascontiguousarray(blob.reshape(len(blob), 1, 1, -1))


def flat(blob: Blob) -> Blob:
    """All numbers of ``blob`` in memory order: (P,), for kernels that work element by element.

    A view or a copy, as for `pixels`. Two blobs of the same shape are in the same order.
    """
    return pixels(blob).reshape(-1)


def lines(blob: Blob) -> Blob:
    """The pixels of ``blob``, one after another: (P, C). A view or a copy, as for `pixels`."""
    numbers = pixels(blob)
    return numbers.reshape(-1, numbers.shape[3])


def as_blob(numbers: Blob, shape: tuple[int, ...]) -> Blob:
    """The inverse of `pixels`: (N, H, W, C) or (N, 1, 1, K) as a blob of ``shape``."""
    if len(shape) == 4:
        return numbers.transpose(0, 3, 1, 2)
    return numbers.reshape(shape)
