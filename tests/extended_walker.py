"""The oracle's walker over whole nets, taught further layers; and whole nets both ways."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from builders import (
    ENGINE,
    Weights,
    build,
    from_scores,
    messages,
    parse,
    random_blob,
    random_weights,
)
from oracle import Array
from oracle_walker import Options, Walker

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters


@dataclass(frozen=True)
class Slow:
    """A layer's slow version: its output, and how relevance and gradients pass it.

    ``relevance`` and ``gradient`` take the input and what is received. Without a ``gradient``, central
    differences are taken, which need an input at which the layer has one.
    """

    output: Callable[[Array], Array]
    relevance: Callable[[Array, Array], Array]
    gradient: Callable[[Array, Array], Array] | None = None


def passed(x: Array, received: Array) -> Array:
    """Relevance as it is."""
    del x
    return received


class ExtendedWalker(Walker):
    """A walker that knows the layers in ``slow``, by name."""

    def __init__(self, layers: Any, weights: Any, indices: Any, slow: Mapping[str, Slow]) -> None:
        super().__init__(layers, weights, indices)
        self.slow = slow

    def _output(self, layer: Any, xs: list[Array]) -> Array:
        if layer.name in self.slow:
            return self.slow[layer.name].output(xs[0])
        return super()._output(layer, xs)

    def _propagated(self, layer: Any, received: Array, formula: int | str, options: Options) -> list[Array]:
        slow = self.slow.get(layer.name)
        if slow is None:
            return super()._propagated(layer, received, formula, options)
        x = self.values[self.reads[layer.name][0]]
        if formula not in (11, 26, 99, 166):
            return [slow.relevance(x, received)]
        if slow.gradient is None:
            return [self._gradient(layer, x, received)]
        return [slow.gradient(x, received)]


class Pair:
    """One net, as the package builds it and as a walker walks it; its layers are numbered in order.

    ``is_positive`` makes images and weights so: αβ has no sums of 0 then, at which relevance would end.
    """

    def __init__(
        self,
        folder: Path,
        text: str,
        walker: Callable[[list[Any], Weights, dict[str, int]], Walker],
        is_positive: bool = False,
    ) -> None:
        self.weights = random_weights(parse(folder, text), 11)
        if is_positive:
            self.weights = {name: [np.abs(blob) for blob in blobs] for name, blobs in self.weights.items()}
        self.net: Net = build(folder, text, self.weights)
        shape = (2, *self.net.input_shape)
        self.batch: Blob = np.abs(random_blob(shape, 12)) if is_positive else random_blob(shape, 12)
        layers = messages(text)
        self.walker = walker(layers, self.weights, {layer.name: i for i, layer in enumerate(layers)})
        self.walker.forward(self.batch)

    def plan(self, code: int, options: Options, start: str) -> Plan:
        quirks = CORRECTED if options.corrected else REFERENCE
        parameters = RuleParameters(options.epsilon, options.beta, options.switch, quirks)
        return resolve_plan(self.net, code, parameters, self.walker.indices[start], 0)

    def explain(self, code: int, options: Options, start: str, classes: list[list[int]]) -> Blob:
        plan = self.plan(code, options, start)
        return from_scores(plan, ENGINE.forward(self.net, [plan], self.batch), classes)

    def expected(self, code: int, options: Options, start: str, classes: list[list[int]]) -> Array:
        first = self.net.layers[0].name
        return self.walker.relevance(code, options, start, classes, first=first)
