"""Matrix products: the one seam through which layers reach BLAS."""

import numpy as np
from numpy.typing import NDArray

Blob = NDArray[np.float32]


def product(left: Blob, right: Blob, out: Blob | None = None) -> Blob:
    """Matrix product ``left @ right``, float32, with NumPy's BLAS.

    Parameters
    ----------
    left
        (..., M, K); a transposed view costs nothing.
    right
        (..., K, P).
    out
        (..., M, P), rows may be strided; allocated when None.
    """
    return np.matmul(left, right, out=out)
