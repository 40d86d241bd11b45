"""Matrix products: the one seam through which layers reach BLAS."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Blob = NDArray[np.float32]


Real = TypeVar("Real", np.float32, np.float64)


def product(left: NDArray[Real], right: NDArray[Real]) -> NDArray[Real]:
    """Matrix product ``left @ right`` with NumPy's BLAS, in the type of its operands.

    Parameters
    ----------
    left
        (..., M, K); a transposed view costs nothing.
    right
        (..., K, P).
    """
    result: NDArray[Real] = np.matmul(left, right)
    return result
