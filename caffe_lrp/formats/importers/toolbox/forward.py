"""The forward pass of the toolbox's Python part, in float64, for comparison with the imported net.

A map is (N, H, W, D), a vector (N, D), as in the toolbox.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .module import Module, Numbers


def forward(
    modules: Sequence[Module], inputs: Numbers, axes: tuple[int, int, int], *, is_vector: bool
) -> Numbers:
    """Scores for inputs (N, C, H, W) of the imported net.

    Parameters
    ----------
    modules
        The net.
    inputs
        As the imported net gets them.
    axes
        Axes of (C, H, W), from the slowest to the fastest, of a flattened map.
    is_vector
        Whether the net takes them as vectors.
    """
    x = inputs.transpose(0, 2, 3, 1)
    if is_vector:
        x = _flat(x, axes)
    with np.errstate(all="ignore"):
        for module in modules:
            x = _flat(x, axes) if module.kind == "Flatten" else _FORWARD[module.kind](module, x)
    return x


def _flat(x: Numbers, axes: tuple[int, int, int]) -> Numbers:
    if x.ndim == 2:
        return x
    from_map = {0: 3, 1: 1, 2: 2}  # channels, height and width are the last, second and third axis
    return x.transpose(0, *(from_map[axis] for axis in axes)).reshape(len(x), -1)


def _linear(module: Module, x: Numbers) -> Numbers:
    assert module.weights is not None
    assert module.bias is not None
    found: Numbers = x.reshape(len(x), -1) @ module.weights + module.bias
    return found


def _windows(module: Module, x: Numbers) -> list[Numbers]:
    """The pixels at each place of the window: (N, H', W', D), row by row."""
    (height, width), (down, right) = module.window, module.strides
    rows, columns = (x.shape[1] - height) // down + 1, (x.shape[2] - width) // right + 1
    return [
        x[:, i : i + rows * down : down, j : j + columns * right : right][:, :rows, :columns]
        for i in range(height)
        for j in range(width)
    ]


def _convolution(module: Module, x: Numbers) -> Numbers:
    assert module.weights is not None
    assert module.bias is not None
    taps = module.weights.reshape(-1, *module.weights.shape[2:])
    parts = zip(_windows(module, x), taps, strict=True)
    found: Numbers = sum(pixels @ weights for pixels, weights in parts) + module.bias
    return found


def _sum_pool(module: Module, x: Numbers) -> Numbers:
    found: Numbers = sum(_windows(module, x)) / math.sqrt(math.prod(module.window))
    return found


def _max_pool(module: Module, x: Numbers) -> Numbers:
    found: Numbers = np.maximum.reduce(_windows(module, x))
    return found


def _softmax(_: Module, x: Numbers) -> Numbers:
    found = np.exp(x - x.max(axis=1, keepdims=True))
    probabilities: Numbers = found / found.sum(axis=1, keepdims=True)
    return probabilities


_FORWARD: Mapping[str, Callable[[Module, Numbers], Numbers]] = {
    "Linear": _linear,
    "Convolution": _convolution,
    "SumPool": _sum_pool,
    "MaxPool": _max_pool,
    "Rect": lambda _, x: np.maximum(x, 0),
    "Tanh": lambda _, x: np.tanh(x),
    "SoftMax": _softmax,
}
