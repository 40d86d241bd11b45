"""The one decorator that all kernels use.

Kernels are compiled on first use and kept on disk, so that only the first run after an installation
pays for the compiler. They release the GIL. ``fastmath`` stays off: it would let the compiler
reorder sums, and reproducible ties in max pooling depend on the order.
"""

import contextlib
import pickle
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


class _ForgivingCache(FunctionCache):
    """Numba's cache on disk, except that a full or damaged folder costs time instead of the run."""

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """What is stored for ``signature``; None, as for a miss, if it cannot be read."""
        try:
            return super().load_overload(signature, target_context)
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        """Store a compiled kernel if there is room for it."""
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            super().save_overload(signature, data)


def kernel(function: Kernel) -> Kernel:
    """Compile ``function`` with Numba in nopython mode.

    Numba raises RuntimeError where neither the package's folder nor the user's cache folder can be
    written (a read-only container without a home); the kernel is then compiled anew in every run.
    """
    compiled: Any = numba.njit(nogil=True)(function)
    if hasattr(compiled, "py_func"):  # NUMBA_DISABLE_JIT hands the plain function back
        with contextlib.suppress(RuntimeError):
            compiled._cache = _ForgivingCache(compiled.py_func)
    return cast(Kernel, compiled)
