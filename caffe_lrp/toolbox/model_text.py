"""The text format of nets, which the Python and the MATLAB part of the toolbox share.

Source: manual: teaching, "Files".
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from caffe_lrp.errors import ModelError

from .modules import Convolution, Flatten, Linear, MaxPool, Module, Rect, SoftMax, SumPool, Tanh
from .modules.module import Array

#: More numbers than this in one layer are a damaged header.
_MOST_NUMBERS = 10**9
_LAYERS_WITHOUT_SIZES: dict[str, Callable[[], Module]] = {
    "Flatten": Flatten, "Rect": Rect, "Tanh": Tanh, "SoftMax": SoftMax,
}  # fmt: skip


class _Unset:
    """Draws nothing: weights that are read next."""

    def normal(self, loc: float, scale: float, size: Any) -> Any:
        return np.broadcast_to(0.0, size)

    def randint(self, low: int, high: int, size: Any) -> Any:
        raise NotImplementedError


class _Lines:
    """The lines of a file, with their numbers for messages."""

    def __init__(self, text: str, source: str) -> None:
        self._lines, self._source, self.number = text.split("\n"), source, 0

    def next(self) -> str | None:
        """The next line; None at the end."""
        if self.number == len(self._lines):
            return None
        self.number += 1
        return self._lines[self.number - 1].rstrip("\r")

    def fault(self, reason: str) -> ModelError:
        return ModelError(f"{self._source}: line {self.number}: {reason}")

    def numbers(self, shape: tuple[int, ...], what: str) -> Array:
        """The numbers of the next line in a shape."""
        line = self.next()
        if line is None:
            raise self.fault(f"the file ends where {what} should be")
        try:
            found = np.array(line.split(), np.float64)
        except ValueError as fault:
            raise self.fault(f"{what} are not numbers: {fault}") from fault
        if not np.isfinite(found).all():
            raise self.fault(f"{what} are not all finite")
        if found.size != np.prod(shape):
            raise self.fault(f"{what} are {found.size} numbers, not {'×'.join(map(str, shape))}")
        return found.reshape(shape)


def read_text(text: str, source: str) -> list[Module]:
    """The modules in a text.

    Parameters
    ----------
    text
        Content of the file. An empty line ends the net, as in the toolbox.
    source
        The file, for messages.

    Raises
    ------
    ModelError
        A line is not what it should be.
    """
    lines, modules = _Lines(text, source), []
    while line := lines.next():
        modules.append(_module(line, lines))
    return modules


def _module(line: str, lines: _Lines) -> Module:
    name, *words = line.split(" ")
    plain = next((make for word, make in _LAYERS_WITHOUT_SIZES.items() if line.startswith(word)), None)
    if plain is not None:
        return plain()
    readers = {"Linear": _linear, "Convolution": _convolution, "SumPool": _pool, "MaxPool": _pool}
    if name not in readers:
        raise lines.fault(f"'{name[:40]}' is no layer of the toolbox")
    counts = {"Linear": 2, "Convolution": 6, "SumPool": 4, "MaxPool": 4}
    sizes = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 10]
    if len(sizes) != len(words) or len(sizes) != counts[name] or 0 in sizes:
        raise lines.fault(f"{name} needs {counts[name]} whole numbers from 1 on")
    if np.prod([float(size) for size in sizes]) > _MOST_NUMBERS:
        raise lines.fault("these sizes are too large")
    return readers[name](name, sizes, lines)


def _linear(_: str, sizes: list[int], lines: _Lines) -> Module:
    m, n = sizes
    module = Linear(m, n, _Unset())
    module.W, module.B = lines.numbers((m, n), "weights"), lines.numbers((n,), "biases")
    return module


def _convolution(_: str, sizes: list[int], lines: _Lines) -> Module:
    h, w, d, n, down, across = sizes
    module = Convolution((h, w, d, n), (down, across), _Unset())
    module.W, module.B = lines.numbers((h, w, d, n), "weights"), lines.numbers((n,), "biases")
    return module


def _pool(name: str, sizes: list[int], _: _Lines) -> Module:
    h, w, down, across = sizes
    kind = SumPool if name == "SumPool" else MaxPool
    return kind((h, w), (down, across))


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
        elif name in _LAYERS_WITHOUT_SIZES:
            yield name
        else:
            raise ModelError(f"{name} is not a module of the toolbox, whose text format cannot hold it")
        for parameter in module.parameters:
            yield " ".join(map(repr, getattr(module, parameter).ravel().tolist()))
