"""One module of a net of the toolbox, as both of its formats have it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ModelError

Numbers = NDArray[np.float64]

#: Sizes, channels and the like beyond this are mistakes.
LARGEST_SIZE = 2**20
#: Modules of a net: the toolbox's own have a dozen.
MOST_MODULES = 10_000

#: Kind of module -> its sizes, in the order of a text file.
SIZES: Mapping[str, tuple[str, ...]] = {
    "Linear": ("m", "n"),
    "Convolution": ("h", "w", "d", "n", "s0", "s1"),
    "SumPool": ("h", "w", "s0", "s1"),
    "MaxPool": ("h", "w", "s0", "s1"),
    "Flatten": (),
    "Rect": (),
    "Tanh": (),
    "SoftMax": (),
}


@dataclass(frozen=True, eq=False)
class Module:
    """A module.

    Attributes
    ----------
    kind
        The toolbox's class.
    place
        Where it is in the file: ``line 3``, ``module 2``.
    sizes
        As in `SIZES`: all at least 1.
    weights
        (m, n) of a Linear; (h, w, d, n) of a Convolution; else None.
    bias
        (n,), or None.
    """

    kind: str
    place: str
    sizes: tuple[int, ...] = ()
    weights: Numbers | None = None
    bias: Numbers | None = None

    def __str__(self) -> str:
        """Its header in a text file."""
        return " ".join((self.kind, *map(str, self.sizes)))

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.place} ({self})"

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the window of a convolution or a pooling."""
        return self.sizes[0], self.sizes[1]

    @property
    def strides(self) -> tuple[int, int]:
        """Vertical and horizontal stride."""
        return self.sizes[-2], self.sizes[-1]

    def error(self, fault: str) -> ModelError:
        """An error about it."""
        return ModelError(f"{self.label}: {fault}")


def weight_shape(kind: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the weights of a module; empty if it has none."""
    return sizes if kind == "Linear" else sizes[:4] if kind == "Convolution" else ()


def checked_module(
    kind: str, place: str, sizes: tuple[int, ...], weights: Numbers | None = None, bias: Numbers | None = None
) -> Module:
    """A module whose numbers fit.

    Raises
    ------
    ModelError
        A size is impossible, the weights do not have the shape that the sizes say, or are not finite.
    """
    module = Module(kind, place, sizes, weights, bias)
    if sizes and not 1 <= min(sizes) <= max(sizes) <= LARGEST_SIZE:
        raise module.error(f"sizes must be from 1 to {LARGEST_SIZE}; write the net again")
    shape = weight_shape(kind, sizes)
    if not shape:
        return module
    assert weights is not None
    assert bias is not None
    if weights.shape != shape:
        raise module.error(f"its W has the shape {weights.shape}, not {shape}; write the net again")
    if bias.shape != shape[-1:]:
        raise module.error(
            f"its B has {math.prod(bias.shape)} numbers, but there are {shape[-1]} outputs; write it again"
        )
    for name, numbers in (("W", weights), ("B", bias)):
        with np.errstate(over="ignore"):
            is_finite = np.isfinite(numbers.astype(np.float32)).all()
        if not is_finite:
            raise module.error(
                f"its {name} has numbers that are not finite in float32; the training may have diverged"
            )
    return module
