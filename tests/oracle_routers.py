"""Slow float64 twins of layers that put blobs together or move elements about, and a walk through nets.

Written element by element from Caffe's definitions, never from the package.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from oracle import Array, Pair, Real, Shape, central_difference
from oracle_walker import Options, Walker

Layer = Callable[..., Array]


# --- Several inputs -------------------------------------------------------------------------------


def eltwise_sum(coefficients: Sequence[float]) -> Layer:
    """``Σ cᵢ xᵢ``."""

    def layer(*xs: Real) -> Array:
        out = np.zeros(xs[0].shape)
        for at in np.ndindex(*out.shape):
            out[at] = sum(c * float(x[at]) for c, x in zip(coefficients, xs, strict=True))
        return out

    return layer


def eltwise_product(*xs: Real) -> Array:
    """``Π xᵢ``."""
    out = np.ones(xs[0].shape)
    for at in np.ndindex(*out.shape):
        for x in xs:
            out[at] *= float(x[at])
    return out


def eltwise_maximum(*xs: Real) -> Array:
    """The largest."""
    out = np.zeros(xs[0].shape)
    for at in np.ndindex(*out.shape):
        out[at] = max(float(x[at]) for x in xs)
    return out


def axpy(scale: Real, x: Real, y: Real) -> Array:
    """``a·x + y``, a for every channel."""
    factors = scale.reshape(scale.shape[:2]).astype(np.float64)
    out = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        out[at] = factors[at[:2]] * float(x[at]) + float(y[at])
    return out


def shares(parts: Sequence[Real | None], total: Real, relevance: Real) -> list[Array | None]:
    """Relevance in proportion to what each part contributes, alike where the total is nearly 0."""
    present = [part for part in parts if part is not None]
    found: list[Array | None] = [None if part is None else np.zeros(total.shape) for part in parts]
    for at in np.ndindex(*total.shape):
        for part, out in zip(parts, found, strict=True):
            if part is None or out is None:
                continue
            is_zero = abs(float(total[at])) < 1e-6
            portion = 1 / len(present) if is_zero else float(part[at]) / float(total[at])
            out[at] = float(relevance[at]) * portion
    return found


# --- Other places ---------------------------------------------------------------------------------


def moved(x: Real, shape: Shape, origin: Callable[..., tuple[int, ...]]) -> Array:
    """A blob of ``shape`` (without batch axis) whose elements come from ``origin`` of their place."""
    out = np.zeros((len(x), *shape))
    for item, *at in np.ndindex(*out.shape):
        out[(item, *at)] = x[(item, *origin(*at))]
    return out


def piece(axis: int, first: int, last: int) -> Layer:
    """Elements ``first`` to ``last`` along an axis of one item."""

    def layer(x: Real) -> Array:
        shape = list(x.shape[1:])
        shape[axis] = last - first
        return moved(x, tuple(shape), lambda *at: (*at[:axis], at[axis] + first, *at[axis + 1 :]))

    return layer


def reshape(shape: Shape) -> Layer:
    """The same elements in another shape."""

    def layer(x: Real) -> Array:
        inside = x.shape[1:]
        return moved(
            x, shape, lambda *at: tuple(map(int, np.unravel_index(np.ravel_multi_index(at, shape), inside)))
        )

    return layer


def permute(order: Sequence[int]) -> Layer:
    """Axes in another order, the batch axis 0 first."""

    def layer(x: Real) -> Array:
        shape = tuple(x.shape[axis] for axis in order[1:])
        return moved(x, shape, lambda *at: tuple(at[order.index(axis) - 1] for axis in range(1, x.ndim)))

    return layer


def tile(axis: int, count: int) -> Layer:
    """Copies one after the other along an axis of one item."""

    def layer(x: Real) -> Array:
        shape = list(x.shape[1:])
        shape[axis] *= count
        size = x.shape[axis + 1]
        return moved(x, tuple(shape), lambda *at: (*at[:axis], at[axis] % size, *at[axis + 1 :]))

    return layer


def flip(axes: Sequence[int]) -> Layer:
    """Axes of one item in reverse order."""

    def layer(x: Real) -> Array:
        shape = x.shape[1:]
        return moved(
            x, shape, lambda *at: tuple(shape[n] - 1 - a if n in axes else a for n, a in enumerate(at))
        )

    return layer


def shuffle(groups: int) -> Layer:
    """Channel j of group i goes to place i of group j."""

    def layer(x: Real) -> Array:
        size = x.shape[1] // groups
        return moved(x, x.shape[1:], lambda c, *at: (c % groups * size + c // groups, *at))

    return layer


def crop(offsets: Sequence[int], shape: Shape) -> Layer:
    """A piece of ``shape`` from ``offsets`` on."""

    def layer(x: Real, *_: Real) -> Array:
        return moved(x, shape, lambda *at: tuple(a + o for a, o in zip(at, offsets, strict=True)))

    return layer


# --- Other sizes ----------------------------------------------------------------------------------


def interpolate(size: Pair, cropped: Pair = (0, 0)) -> Layer:
    """Bilinear interpolation of an image without ``cropped`` pixels at its begin and end, by its corners."""

    def layer(x: Real, *_: Real) -> Array:
        inner = x[..., cropped[0] : x.shape[2] - cropped[1], cropped[0] : x.shape[3] - cropped[1]]
        steps = [(n - 1) / (m - 1) if m > 1 else 0.0 for n, m in zip(inner.shape[2:], size, strict=True)]
        out = np.zeros((*x.shape[:2], *size))
        for row, column in np.ndindex(*size):
            y, i = row * steps[0], column * steps[1]
            for v, w in np.ndindex(*inner.shape[2:]):
                weight = max(0.0, 1 - abs(y - v)) * max(0.0, 1 - abs(i - w))
                if weight:
                    out[:, :, row, column] += weight * inner[:, :, v, w].astype(np.float64)
        return out

    return layer


def repeat(times: Pair) -> Layer:
    """Every pixel several times."""

    def layer(x: Real) -> Array:
        shape = (x.shape[1], x.shape[2] * times[0], x.shape[3] * times[1])
        return moved(x, shape, lambda c, y, i: (c, y // times[0], i // times[1]))

    return layer


def unpool(size: Pair) -> Layer:
    """Elements where a mask says they came from; the last of several takes a place."""

    def layer(x: Real, mask: Real) -> Array:
        out = np.zeros((*x.shape[:2], *size))
        for n, c, y, i in np.ndindex(*x.shape):
            place = round(float(mask[n, c, y, i]))
            out[n, c, place // size[1], place % size[1]] = x[n, c, y, i]
        return out

    return layer


# --- Gradients and nets ---------------------------------------------------------------------------


def gradients(layer: Layer, inputs: Sequence[Real], gradient: Real) -> list[Array]:
    """Gradient at every input by central differences."""
    found = [np.zeros(x.shape) for x in inputs]
    for item in range(len(gradient)):
        here = [x[item : item + 1] for x in inputs]
        for number, out in enumerate(found):

            def varied(x: Array, number: int = number, here: list[Real] = here) -> Array:
                others = [np.broadcast_to(other, (len(x), *other.shape[1:])) for other in here]
                return layer(*others[:number], x, *others[number + 1 :])

            out[item : item + 1] = central_difference(varied, here[number], gradient[item : item + 1])
    return found


class RouterWalker(Walker):
    """A `Walker` that knows more layers, by their names.

    ``routers`` move elements: their gradient is how relevance travels. ``combinations`` are put together from
    what a function of the inputs says they contribute (None for what only gates others).
    """

    def __init__(
        self,
        layers: Sequence[Any],
        weights: Any,
        routers: dict[str, Layer],
        combinations: dict[str, tuple[Layer, Callable[..., Sequence[Real | None]]]],
    ) -> None:
        super().__init__(layers, weights, dict.fromkeys((layer.name for layer in layers), 0))
        self.routers, self.combinations = routers, combinations

    def _output(self, layer: Any, xs: list[Array]) -> Array:
        if layer.name in self.routers:
            return self.routers[layer.name](*xs)
        if layer.name in self.combinations:
            return self.combinations[layer.name][0](*xs)
        if layer.type == "Sigmoid":
            return np.asarray(1 / (1 + np.exp(-xs[0])))
        return super()._output(layer, xs)

    def _propagated(self, layer: Any, received: Array, formula: int | str, options: Options) -> list[Array]:
        xs = [self.values[value] for value in self.reads[layer.name]]
        if layer.name in self.routers:
            return gradients(self.routers[layer.name], xs, received)
        if layer.name in self.combinations:
            function, contributed = self.combinations[layer.name]
            if formula in (11, 99):
                return gradients(function, xs, received)
            found = shares(contributed(*xs), function(*xs), received)
            return [np.zeros(x.shape) if part is None else part for x, part in zip(xs, found, strict=True)]
        if layer.type == "Sigmoid" and formula not in (11, 99):
            return [received]
        return super()._propagated(layer, received, formula, options)
