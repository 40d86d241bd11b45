"""Where modules and training draw numbers from."""

from typing import Any, Protocol

import numpy as np


class Random(Protocol):
    """A source of random numbers: ``numpy.random.RandomState``, or the module ``numpy.random`` itself."""

    def normal(self, loc: float, scale: float, size: Any) -> Any:
        """Normal numbers."""

    def randint(self, low: int, high: int, size: Any) -> Any:
        """Whole numbers from ``low`` to below ``high``."""


#: NumPy's own, as in the toolbox: ``numpy.random.seed`` makes a script repeatable.
GLOBAL: Random = np.random.mtrand._rand
