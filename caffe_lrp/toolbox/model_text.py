"""Modules from files of the toolbox, and the lines of its text format, which its MATLAB part shares.

Files are read by `formats.importers.toolbox`, which runs nothing that they contain.
Source: manual: teaching, "Files".
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.importers.toolbox.module import Module as StoredModule

from .modules import Convolution, Flatten, Linear, MaxPool, Module, Rect, SoftMax, SumPool, Tanh


class _Unset:
    """Draws zeros: weights are set next."""

    def normal(self, loc: float, scale: float, size: Any) -> Any:
        return np.broadcast_to(0.0, size)

    def randint(self, low: int, high: int, size: Any) -> Any:
        raise NotImplementedError


def module_of(stored: StoredModule) -> Module:
    """A module as a file has it."""
    module = _MAKERS[stored.kind](stored)
    if isinstance(module, Linear | Convolution):
        module.W, module.B = stored.weights, stored.bias  # type: ignore[assignment]
    return module


def _linear(stored: StoredModule) -> Module:
    m, n = stored.sizes
    return Linear(m, n, _Unset())


def _convolution(stored: StoredModule) -> Module:
    h, w, d, n, down, across = stored.sizes
    return Convolution((h, w, d, n), (down, across), _Unset())


_MAKERS: Mapping[str, Callable[[StoredModule], Module]] = {
    "Linear": _linear,
    "Convolution": _convolution,
    "SumPool": lambda stored: SumPool(stored.window, stored.strides),
    "MaxPool": lambda stored: MaxPool(stored.window, stored.strides),
    "Flatten": lambda _: Flatten(),
    "Rect": lambda _: Rect(),
    "Tanh": lambda _: Tanh(),
    "SoftMax": lambda _: SoftMax(),
}


def text_of(modules: list[Module]) -> Iterator[str]:
    """Yield the lines of modules, without line breaks.

    Raises
    ------
    ModelError
        A module is not the toolbox's, and the format has no line for it.
    """
    for module in modules:
        name = type(module).__name__
        if isinstance(module, Linear):
            yield f"{name} {module.m} {module.n}"
        elif isinstance(module, Convolution):
            sizes = (module.fh, module.fw, module.fd, module.n, *module.stride)
            yield " ".join([name, *map(str, sizes)])
        elif isinstance(module, SumPool | MaxPool):
            yield " ".join([name, *map(str, (*module.pool, *module.stride))])
        elif name in _MAKERS:
            yield name
        else:
            raise ModelError(f"{name} is not a module of the toolbox, whose text format cannot hold it")
        for parameter in module.parameters:
            yield " ".join(map(repr, getattr(module, parameter).ravel().tolist()))
