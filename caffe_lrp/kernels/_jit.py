"""The one decorator that all kernels use.

Kernels are compiled on first use and kept on disk, so that only the first run after an installation
pays for the compiler. They release the GIL. ``fastmath`` stays off: it would let the compiler
reorder sums, and reproducible ties in max pooling depend on the order.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(function: Kernel) -> Kernel:
    """Compile ``function`` with Numba in nopython mode.

    Numba raises RuntimeError where neither the package's folder nor the user's cache folder can be
    written (a read-only container without a home); the kernel is then compiled anew in every run.
    """
    try:
        return cast(Kernel, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(Kernel, numba.njit(nogil=True)(function))
