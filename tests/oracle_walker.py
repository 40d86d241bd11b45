"""A slow float64 walk through whole nets, with its own reading of the table of formulas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from oracle import (
    Array,
    Edges,
    Geometry,
    Lrn,
    Pair,
    Real,
    adjoint,
    alpha_beta,
    average_pool,
    average_pool_gradient,
    average_pool_relevance,
    central_difference,
    channel_l2,
    convolution_edges,
    epsilon,
    flat,
    gamma,
    guided,
    image_size,
    inner_product_edges,
    linear,
    lrn_across,
    lrn_taylor,
    lrn_within,
    max_pool,
    max_pool_route,
    positive,
    relu,
    relu_gradient,
    softmax,
    softmax_gradient,
    w_square,
    z_box,
)


@dataclass(frozen=True)
class Options:
    """What the table of formulas depends on besides the code."""

    epsilon: float = 0.0
    beta: float = 0.0
    switch: int = -1
    corrected: bool = False
    gamma: float = 0.25
    lowest: tuple[float, ...] = ()
    highest: tuple[float, ...] = ()


class Walker:
    """Forward pass and relevance of a whole net, by the table of section 6.

    Knows no Split layers: what several readers of a blob hand back is summed. The indices of the
    layers, Splits counted, are given by the test.

    Parameters
    ----------
    layers
        Protobuf messages of the layers, without Splits, in order.
    weights
        Learned blobs by layer name.
    indices
        Number of every layer by its name.
    data
        Name of the input blob.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        weights: Mapping[str, Sequence[Real]],
        indices: Mapping[str, int],
        data: str = "data",
    ) -> None:
        self.layers = list(layers)
        self.weights = {name: [blob.astype(np.float64) for blob in blobs] for name, blobs in weights.items()}
        self.indices = indices
        self.data = data
        self.values: list[Array] = []
        self.reads: dict[str, list[int]] = {}
        self.writes: dict[str, list[int]] = {}
        self.last: dict[str, int] = {}

    def forward(self, x: Real) -> None:
        """Compute all values; a layer that works in place writes a new one."""
        self.values = [x.astype(np.float64)]
        self.last = {self.data: 0}
        for layer in self.layers:
            read = [self.last[bottom] for bottom in layer.bottom]
            self.reads[layer.name] = read
            self.writes[layer.name] = [len(self.values)]
            self.values.append(self._output(layer, [self.values[value] for value in read]))
            self.last[layer.top[0]] = len(self.values) - 1

    def relevance(
        self,
        formula: int | str,
        options: Options,
        start: str,
        classes: Sequence[Sequence[int]],
        first: str | None = None,
        stop_above: str | None = None,
        copies: int = 1,
    ) -> Array:
        """Relevance at the first bottom of ``first``, or at the top of ``stop_above``.

        ``copies`` is the number of tops of a Split right above ``start`` at which relevance starts.
        """
        layer = next(layer for layer in self.layers if layer.name == start)
        scores = self.values[self.last[layer.top[0]]]
        unit = formula in (11, 99) and options.corrected
        reached = {self.writes[start][0]: copies * _seed(scores, classes, unit)}
        target: Array | None = None
        for layer in reversed(self.layers):
            out = self.writes[layer.name][0]
            if layer.name == stop_above:
                target = reached[out]
                break
            if out not in reached:
                continue
            handed = self._propagated(layer, reached.pop(out), formula, options)
            if layer.name == first:
                target = handed[0]
                break
            for value, blob in zip(self.reads[layer.name], handed, strict=True):
                reached[value] = reached[value] + blob if value in reached else blob
        assert target is not None
        return channel_l2(target) if formula == 99 else target

    def _output(self, layer: Any, xs: list[Array]) -> Array:
        x, kind = xs[0], layer.type
        out = x
        if kind in ("Convolution", "InnerProduct"):
            weight, bias = self._weights(layer)
            out = linear(x, weight, bias, self._edges(layer, x))
        elif kind == "ReLU":
            out = relu(x, layer.relu_param.negative_slope)
        elif kind == "TanH":
            out = np.asarray(np.tanh(x))
        elif kind == "Pooling":
            pool = max_pool if layer.pooling_param.pool == 0 else average_pool
            out = pool(x, pooling_geometry(layer.pooling_param, image_size(x)))
        elif kind == "LRN":
            lrn = _lrn(layer)
            out = lrn_across(x, lrn) if layer.lrn_param.norm_region == 0 else lrn_within(x, lrn)
        elif kind == "Concat":
            out = np.concatenate(xs, axis=1)
        elif kind == "Flatten":
            out = x.reshape(len(x), -1)
        elif kind == "Softmax":
            out = softmax(x)
        else:
            assert kind == "Dropout", kind
        return out

    def _propagated(self, layer: Any, received: Array, formula: int | str, options: Options) -> list[Array]:
        xs = [self.values[value] for value in self.reads[layer.name]]
        x, kind = xs[0], layer.type
        if kind == "Concat":
            ends = np.cumsum([part.shape[1] for part in xs])[:-1]
            return list(np.split(received, ends, axis=1))
        if kind == "Flatten":
            handed = received.reshape(x.shape)
        elif kind == "Dropout":
            handed = received
        elif kind == "Pooling" and layer.pooling_param.pool == 0:
            handed = max_pool_route(x, received, pooling_geometry(layer.pooling_param, image_size(x)))
        elif formula in (11, 99):
            handed = self._gradient(layer, x, received)
        elif kind in ("Convolution", "InnerProduct"):
            handed = self._linear_relevance(layer, x, received, formula, options)
        elif kind == "ReLU" and formula == 26:
            handed = positive(received)
        elif kind == "ReLU" and formula == 166:
            handed = guided(x, received)
        elif kind == "ReLU":
            handed = received
        elif kind == "TanH" and formula in (26, 166):
            handed = self._gradient(layer, x, received)
        elif kind == "TanH":
            handed = received
        elif kind == "Pooling":
            geometry = pooling_geometry(layer.pooling_param, image_size(x))
            handed = average_pool_relevance(x, received, geometry, not options.corrected)
        elif kind == "LRN" and layer.lrn_param.norm_region == 0:
            handed = received if options.corrected else lrn_taylor(x, received, _lrn(layer))
        elif kind == "LRN":
            handed = self._gradient(layer, x, received) if formula in (26, 166) else received
        else:
            assert kind == "Softmax", kind
            handed = received if options.corrected else softmax(x)
        return [handed]

    def _linear_relevance(
        self, layer: Any, x: Array, received: Array, formula: int | str, options: Options
    ) -> Array:
        weight, bias = self._weights(layer)
        edges = self._edges(layer, x)
        convolution = layer.type == "Convolution"
        groups = layer.convolution_param.group if convolution else 1
        if isinstance(formula, str):
            rule, beta = named_rule(formula, convolution, self._reads_image(layer))
            options = options if beta is None else replace(options, beta=beta)
        else:
            rule = table_rule(formula, convolution, self.indices[layer.name] <= options.switch)
        if rule in ("gamma", "z-box"):
            return _late_rule(rule, x, weight, bias, received, edges, options)
        if rule == "backprojection":
            return adjoint(received, weight, edges)
        if rule == "epsilon":
            return epsilon(x, weight, bias, received, edges, options.epsilon, not options.corrected)
        if rule == "alpha-beta":
            first_bias = not options.corrected
            return alpha_beta(x, weight, bias, received, edges, options.beta, first_bias, groups)
        if rule == "flat":
            fan_in = weight[0].size
            area = weight.shape[2] * weight.shape[3] if convolution else fan_in
            return flat(received, edges, fan_in if options.corrected else area)
        assert rule == "w-square", rule
        return w_square(received, weight, edges)

    def _reads_image(self, layer: Any) -> bool:
        """Whether the image reaches a layer through no other linear layer."""
        for value in self.reads[layer.name]:
            writer = next((other for other in self.layers if self.writes[other.name] == [value]), None)
            if writer is None:
                return True
            if writer.type not in ("Convolution", "InnerProduct") and self._reads_image(writer):
                return True
        return False

    def _gradient(self, layer: Any, x: Array, gradient: Array) -> Array:
        kind = layer.type
        if kind in ("Convolution", "InnerProduct"):
            return adjoint(gradient, self._weights(layer)[0], self._edges(layer, x))
        if kind == "ReLU":
            return relu_gradient(x, gradient, layer.relu_param.negative_slope)
        if kind == "Pooling":
            geometry = pooling_geometry(layer.pooling_param, image_size(x))
            return average_pool_gradient(gradient, image_size(x), geometry)
        if kind == "Softmax":
            return softmax_gradient(x, gradient)
        return central_difference(lambda varied: self._output(layer, [varied]), x, gradient)

    def _weights(self, layer: Any) -> tuple[Array, Array | None]:
        blobs = self.weights[layer.name]
        return blobs[0], blobs[1] if len(blobs) > 1 else None

    def _edges(self, layer: Any, x: Array) -> Edges:
        weight = self._weights(layer)[0]
        if layer.type == "InnerProduct":
            return inner_product_edges(x.shape[1:], len(weight))
        parameters = layer.convolution_param
        geometry = convolution_geometry(parameters)
        return convolution_edges(x.shape[1:], weight.shape, geometry, parameters.group)


def table_rule(formula: int, convolution: bool, below: bool) -> str:
    """Rule of a linear layer; ``below``: its index is at most the switch index."""
    if formula in (26, 166):
        return "backprojection"
    if below and formula in (54, 58, 102):
        return "flat"
    if below and formula in (56, 60, 104):
        return "w-square"
    if formula in (2, 58, 60) or (below and formula == 114) or (convolution and formula in (100, 102, 104)):
        return "alpha-beta"
    assert formula in (0, 54, 56, 100, 102, 104, 114), formula
    return "epsilon"


def _late_rule(
    rule: str, x: Array, weight: Array, bias: Array | None, received: Array, edges: Edges, options: Options
) -> Array:
    """Rules that the reference does not have."""
    if rule == "gamma":
        return gamma(x, weight, bias, received, edges, options.gamma)
    bounds = (
        np.repeat(numbers, x[0].size // len(numbers)).reshape(x[0].shape)
        for numbers in (options.lowest, options.highest)
    )
    return z_box(x, weight, received, edges, *bounds)


#: Name of a formula -> rule of the lowest linear layers, of convolutions, of inner products.
NAMED = {
    "epsilon-plus": (None, "plus", "epsilon"),
    "epsilon-plus-flat": ("flat", "plus", "epsilon"),
    "epsilon-alpha2-beta1": (None, "alpha2-beta1", "epsilon"),
    "epsilon-alpha2-beta1-flat": ("flat", "alpha2-beta1", "epsilon"),
    "epsilon-gamma-box": ("z-box", "gamma", "epsilon"),
    "gamma-all": (None, "gamma", "gamma"),
    "deep-taylor": ("z-box", "plus", "plus"),
}
BETAS = {"plus": 0.0, "alpha2-beta1": 1.0}


def named_rule(formula: str, convolution: bool, first: bool) -> tuple[str, float | None]:
    """Rule of a linear layer under a formula with a name, and its β where the name says it."""
    of_first, of_convolution, of_product = NAMED[formula]
    rule = of_first if first and of_first else of_convolution if convolution else of_product
    return ("alpha-beta", BETAS[rule]) if rule in BETAS else (rule, None)


def _seed(scores: Array, classes: Sequence[Sequence[int]], unit: bool) -> Array:
    seed = np.zeros_like(scores)
    for item, chosen in enumerate(classes):
        for c in chosen:
            seed[item].reshape(-1)[c] = 1.0 if unit else scores[item].reshape(-1)[c]
    return seed


def _lrn(layer: Any) -> Lrn:
    parameters = layer.lrn_param
    return Lrn(parameters.local_size, parameters.alpha, parameters.beta, parameters.k)


def convolution_geometry(parameters: Any) -> Geometry:
    """Geometry from a ConvolutionParameter."""
    return Geometry(
        _pair(parameters, "kernel", list(parameters.kernel_size), 1),
        _pair(parameters, "stride", list(parameters.stride), 1),
        _pair(parameters, "pad", list(parameters.pad), 0),
        _pair(None, "", list(parameters.dilation), 1),
    )


def pooling_geometry(parameters: Any, size: Pair) -> Geometry:
    """Geometry from a PoolingParameter over an image of ``size``."""
    if parameters.global_pooling:
        return Geometry(size)
    return Geometry(
        _pair(parameters, "kernel", [parameters.kernel_size], 1),
        _pair(parameters, "stride", [parameters.stride], 1),
        _pair(parameters, "pad", [parameters.pad], 0),
    )


def _pair(parameters: Any, what: str, sizes: list[int], default: int) -> Pair:
    if parameters is not None and parameters.HasField(f"{what}_h"):
        return getattr(parameters, f"{what}_h"), getattr(parameters, f"{what}_w")
    return (sizes[0], sizes[-1]) if sizes else (default, default)
