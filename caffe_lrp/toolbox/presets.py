"""Nets for the generated digits of `digits`, with new weights."""

import numpy as np

from .modules import Convolution, Flatten, Linear, Rect, Sequential, SoftMax, SumPool
from .modules.module import Module


def new_lenet(seed: int = 0) -> Sequential:
    """A LeNet-5 like the toolbox's, in float32, for pictures (N, 28, 28, 1)."""
    random = np.random.RandomState(seed)
    modules = [
        Convolution((5, 5, 1, 10), (1, 1), random), Rect(), SumPool(),
        Convolution((5, 5, 10, 25), (1, 1), random), Rect(), SumPool(),
        Convolution((4, 4, 25, 100), (1, 1), random), Rect(),
        Flatten(), Linear(100, 10, random), SoftMax(),
    ]  # fmt: skip
    return Sequential(modules).astype(np.float32)


def new_mlp(seed: int = 0, hidden: tuple[int, ...] = (300, 100)) -> Sequential:
    """Fully connected layers, in float32, for pictures as vectors (N, 784)."""
    random = np.random.RandomState(seed)
    sizes = (784, *hidden)
    modules: list[Module] = []
    for inputs, outputs in zip(sizes, hidden, strict=False):
        modules += [Linear(inputs, outputs, random), Rect()]
    return Sequential([*modules, Linear(sizes[-1], 10, random), SoftMax()]).astype(np.float32)
