"""Where relevance is lost at a layer, cause by cause: what each rule takes, worked out from its numbers.

An account says of one item how much of the relevance at the outputs does not reach the inputs, and why;
less than 0 where relevance is added. It is computed in double precision from what the rule divides by and
multiplies with, never as the difference of the two sums: so whatever is left over shows.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.window_map import ConvolutionMap
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import lines, pixels
from caffe_lrp.kernels.elementwise import ZERO_SUM
from caffe_lrp.layers.base import Layer, Linear, Windowed
from caffe_lrp.layers.pooling import Pooling

from .linear_rules import AlphaBeta, BoxedMaps, Epsilon, Flat, Gamma, WSquare, ZBox
from .passage import Passage
from .rules import Contribution, Overwrite, Pass, Proportional, Route, Rule, Share, TaylorNormalization

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]

#: Why relevance is lost: key -> what happens.
CAUSES: dict[str, str] = {
    "bias": "the share of the bias, which is no input",
    "epsilon": "ε makes the divisor larger than the sum that is shared",
    "constant": "the share of constants that layers read beside the image",
    "zero_sum": "the sum that is shared is 0",
    "padding": "the share of taps, or of pooling windows, that lie outside the layer's input",
    "no_positive": "αβ: the window has no positive products to take α R",
    "no_negative": "αβ: the window has no negative products to take −β R; the sum grows",
    "zero_weights": "w²: all weights of the output are 0",
    "Q4": "ε leaves relevance undivided where the sum is 0",
    "Q5": "αβ counts the biases of group 0 in every group",
    "Q6": "flat divides by the kernel area, not by the number of inputs",
    "Q7": "average pooling adds activations where a window sums to 0",
    "Q8": "LRN by a Taylor rule",
    "Q9": "softmax replaces relevance by its output",
    "rule": "a rule that is not made to conserve, such as the gradient",
    "rest": "rounding, and what no other cause explains",
}


class Constants:
    """Numbers of layers that do not depend on the image, computed when they are asked for, then kept."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Singles] = {}

    def of(self, layer: Layer, what: str, compute: Callable[[], Singles]) -> Singles:
        """One item of ``layer``'s output shape, or with axes of 1 where it does not vary along them."""
        key = (layer.index, what)
        if key not in self._known:  # computed twice by two threads at worst
            self._known[key] = _narrowed(compute())
        return self._known[key]


def _narrowed(numbers: Singles) -> Singles:
    """Without the axes behind the first along which nothing varies."""
    first = numbers[(slice(None), *(slice(0, 1),) * (numbers.ndim - 1))]
    return first.copy() if np.array_equal(np.broadcast_to(first, numbers.shape), numbers) else numbers


#: Causes and amounts for one item of a passage.
Account = Callable[[Any, Passage, int, Constants], Iterator[tuple[str, float]]]


def losses_of(passage: Passage, item: int, constants: Constants) -> dict[str, float] | None:
    """How much relevance of one item is lost for which cause; None for a rule that gives no account."""
    account = next((ACCOUNTS[kind] for kind in type(passage.step.rule).__mro__ if kind in ACCOUNTS), None)
    if account is None:
        return None
    found: dict[str, float] = {}
    for cause, amount in account(passage.step.rule, passage, item, constants):
        found[cause] = found.get(cause, 0.0) + amount
    return found


def _item(blob: Singles, item: int) -> Doubles:
    return np.asarray(blob[item], np.float64)


def _over(dividend: Doubles, divisor: Singles) -> Doubles:
    """A quotient as rules have it: what would be divided by 0 is 0."""
    quotient: Doubles = np.divide(dividend, divisor, out=np.zeros(dividend.shape), where=divisor != 0)
    return quotient


def _nothing(rule: Rule, passage: Passage, item: int, constants: Constants) -> Iterator[tuple[str, float]]:
    yield from ()


# Linear layers


def _bias(layer: Linear, constants: Constants, workspace: Workspace) -> Singles:
    """What the layer adds to its products, as it shows where there are none."""

    def compute() -> Singles:
        nothing = np.zeros((1, *layer.input_shapes[0]), np.float32)
        # A map of this moment: what is packed for it is not kept with the layer.
        own = layer.map_of(layer.lifted(layer.weight))
        return np.array(own.apply(nothing, layer.bias, workspace.directly())[0])

    return constants.of(layer, "bias", compute)


def _epsilon(rule: Epsilon, passage: Passage, item: int, constants: Constants) -> Iterator[tuple[str, float]]:
    """Of R, ``q (z − b)`` is handed down, with ``q = R / (z + ε sign z)``."""
    layer: Any = passage.step.layer
    relevance, z = _item(passage.received[0], item), passage.seen.outputs[0][item]
    epsilon = np.float32(rule.epsilon)
    at_zero = np.float32(1) if rule.undivided_at_zero else epsilon
    divisor = np.where(z == 0, at_zero, z + np.where(z > 0, epsilon, -epsilon))
    quotient = _over(relevance, divisor)
    if layer.bias is not None:
        yield "bias", float(np.sum(quotient * _bias(layer, constants, passage.workspace)))
    is_zero = z == 0
    yield "epsilon", float(np.sum(quotient * (divisor.astype(np.float64) - z), where=~is_zero))
    name = "Q4" if rule.undivided_at_zero else "epsilon" if epsilon else "zero_sum"
    yield name, float(np.sum(relevance, where=is_zero))


def _alpha_beta(
    rule: AlphaBeta, passage: Passage, item: int, constants: Constants
) -> Iterator[tuple[str, float]]:
    """Of ``α R`` the bias takes ``b⁺/p``, and all is lost where p is 0; likewise of ``−β R``."""
    layer: Any = passage.step.layer
    prepared = passage.step.prepared
    relevance, sums = _signed_sums(passage, item)
    used = _signed_losses(relevance, sums, (prepared.bias_positive, prepared.bias_negative), rule.beta)
    if not (rule.first_group_bias and layer.groups > 1 and layer.has_bias):
        yield from used.items()
        return
    own = layer.weights[1]
    meant = _signed_losses(relevance, sums, (np.maximum(own, 0), np.minimum(own, 0)), rule.beta)
    yield from meant.items()
    yield "Q5", sum(used.values()) - sum(meant.values())


def _signed_sums(passage: Passage, item: int) -> tuple[Doubles, tuple[Singles, Singles]]:
    """(positions, C): relevance of one item, and the sums of its positive and of its negative products."""
    assert passage.seen.sums is not None
    linear_map: LinearMap = passage.step.prepared.map
    relevance = linear_map.rows(passage.received[0])[item].astype(np.float64)
    return relevance, linear_map.sums_of_item(passage.seen.sums, item)


def _gamma(rule: Gamma, passage: Passage, item: int, constants: Constants) -> Iterator[tuple[str, float]]:
    """Of R, the bias takes ``(b + γbˢ) / (z + γzˢ)``, and all is lost where that sum is 0."""
    prepared = passage.step.prepared
    relevance, (positive, negative) = _signed_sums(passage, item)
    favoured = [
        part + bias for part, bias in ((positive, prepared.bias_positive), (negative, prepared.bias_negative))
    ]
    is_positive = favoured[0] + favoured[1] >= 0
    gamma = np.float32(rule.gamma)
    total = favoured[0] + favoured[1] + gamma * np.where(is_positive, *favoured)
    biases = prepared.bias_positive, prepared.bias_negative
    bias = biases[0] + biases[1] + gamma * np.where(is_positive, *biases)
    yield "bias", float(np.sum(_over(relevance, total) * bias))
    yield "zero_sum", float(np.sum(relevance, where=total == 0))


def _z_box(rule: ZBox, passage: Passage, item: int, constants: Constants) -> Iterator[tuple[str, float]]:
    """Nothing is lost but where what is shared sums to 0."""
    step = passage.step
    x = passage.seen.inputs[0][item : item + 1]
    boxed: BoxedMaps = step.prepared
    z = boxed.sums(x - boxed.lowest, x - boxed.highest, passage.workspace)
    yield "zero_sum", float(np.sum(_item(passage.received[0], item), where=z[0] == 0))


def _signed_losses(
    relevance: Doubles, sums: tuple[Singles, Singles], biases: tuple[Singles, Singles], beta: float
) -> dict[str, float]:
    """What αβ loses of (positions, C) with the given parts of the biases, (C,) each."""
    found = {"bias": 0.0, "no_positive": 0.0, "no_negative": 0.0}
    for part, (name, factor) in enumerate((("no_positive", 1 + beta), ("no_negative", -beta))):
        if factor:
            total = sums[part] + biases[part]
            to_share = relevance * float(np.float32(factor))
            found["bias"] += float(np.sum(_over(to_share, total) * biases[part]))
            found[name] += float(np.sum(to_share, where=total == 0))
    return found


def _flat(rule: Flat, passage: Passage, item: int, constants: Constants) -> Iterator[tuple[str, float]]:
    """Of R, a share for every input that the output sees is handed down."""
    layer: Any = passage.step.layer
    relevance = _item(passage.received[0], item)

    def compute() -> Singles:
        if not isinstance(layer, Windowed):
            return np.ones(layer.output_shapes[0], np.float32)
        shares = layer.map_of(layer.lifted(np.ones_like(layer.weight)))
        return _kept(layer, shares, layer.fan_in, passage.workspace)

    kept = constants.of(layer, "kept by flat", compute).astype(np.float64)
    yield "padding", float(np.sum(relevance * (1 - kept)))
    if rule.ignore_channels:
        yield "Q6", float(np.sum(relevance * kept)) * (1 - layer.fan_in / layer.taps)


def _w_square(
    rule: WSquare, passage: Passage, item: int, constants: Constants
) -> Iterator[tuple[str, float]]:
    """Of R, the share of the weights inside the input is handed down."""
    step = passage.step
    layer: Any = step.layer
    relevance = _item(passage.received[0], item)

    def compute() -> Singles:
        # In place of the map of the step one of this moment, where something would be packed for it and kept.
        shares = rule.prepare(layer, step.conditions) if isinstance(layer, Windowed) else step.prepared
        return _kept(layer, shares, 1, passage.workspace)

    kept = constants.of(layer, "kept by w²", compute)
    has_weights = kept.any(axis=tuple(range(1, kept.ndim)), keepdims=True)
    lost = relevance * (1 - kept.astype(np.float64))
    yield "padding", float(np.sum(lost * has_weights))
    yield "zero_weights", float(np.sum(lost * ~has_weights))


def _kept(layer: Layer, shares: LinearMap, whole: int, workspace: Workspace) -> Singles:
    """What part of ``whole`` the shares of every output inside the input sum to.

    Only convolutions have shares outside it: all others share what there is among the inputs they see.
    """
    ones = np.ones((1, *layer.input_shapes[0]), np.float32)
    reached: Singles = shares.apply(ones, None, workspace.directly())[0] / np.float32(whole)
    return reached if isinstance(shares, ConvolutionMap) else (reached != 0).astype(np.float32)


# Other layers


def _proportional(
    rule: Proportional, passage: Passage, item: int, constants: Constants
) -> Iterator[tuple[str, float]]:
    """Nothing is lost but where a window sums to 0 and hands down that sum (Q7)."""
    layer: Any = passage.step.layer
    if rule.add_activations:
        sums = _window_sums(pixels(passage.seen.inputs[0])[item], layer)
        lost = pixels(passage.received[0])[item].astype(np.float64) - sums
        yield "Q7", float(np.sum(lost, where=np.abs(sums) < np.float32(ZERO_SUM)))


def _window_sums(x: Singles, layer: Any) -> Singles:
    """(H_out, W_out, C): sums of ``x`` (H, W, C) in every window, added up in the order of the kernel."""
    window, (channels, rows, columns) = layer.window, layer.output_shapes[0]
    bottom = (rows - 1) * window.stride_h + window.kernel_h
    right = (columns - 1) * window.stride_w + window.kernel_w
    top, left = window.pad_h, window.pad_w
    size = (max(bottom, top + x.shape[0]), max(right, left + x.shape[1]), channels)
    padded = np.zeros(size, np.float32)
    padded[top : top + x.shape[0], left : left + x.shape[1]] = x
    sums = np.zeros((rows, columns, channels), np.float32)
    for y in range(window.kernel_h):
        for i in range(window.kernel_w):
            sums += padded[
                y : y + (rows - 1) * window.stride_h + 1 : window.stride_h,
                i : i + (columns - 1) * window.stride_w + 1 : window.stride_w,
            ]
    return sums


def _outside(rule: Rule, passage: Passage, item: int, constants: Constants) -> Iterator[tuple[str, float]]:
    """What pooling windows without a pixel get has nowhere to go."""
    layer = passage.step.layer
    if isinstance(layer, Pooling) and layer.has_empty_windows:
        rows, columns = layer.filled_size
        received = _item(passage.received[0], item)
        yield "padding", float(np.sum(received[:, rows:]) + np.sum(received[:, :rows, columns:]))


def _contribution(
    rule: Contribution, passage: Passage, item: int, constants: Constants
) -> Iterator[tuple[str, float]]:
    """Of R, ``R Σc / z`` is handed down; what z has besides the contributions c is a bias."""
    layer: Any = passage.step.layer
    if not layer.has_bias:
        return
    one = slice(item, item + 1)
    seen = passage.seen
    inputs, outputs = ([blob[one] for blob in blobs] for blobs in (seen.inputs, seen.outputs))
    parts = layer.contributions(inputs, outputs, passage.step.prepared)
    total = seen.outputs[0][item]
    bias = total.astype(np.float64) - np.sum(
        [part[0] for part in parts if part is not None], axis=0, dtype=np.float64
    )
    lost = _over(_item(passage.received[0], item) * bias, total)
    yield "bias", float(np.sum(lost, where=np.abs(total) >= np.float32(ZERO_SUM)))


def _taylor(
    rule: TaylorNormalization, passage: Passage, item: int, constants: Constants
) -> Iterator[tuple[str, float]]:
    """The difference to what the rule makes of R (spec/reference.md §6, LRN), computed once more."""
    layer: Any = passage.step.layer
    size, alpha, beta, k = layer.coefficients
    x = lines(passage.seen.inputs[0][item : item + 1]).astype(np.float64)
    relevance = lines(passage.received[0][item : item + 1]).astype(np.float64)
    squares = x * x
    scale = k + alpha / size * _sums_of_neighbours(squares, size)
    pull = scale ** (-beta - 1) * x * relevance
    others = _sums_of_neighbours(pull, size) - pull
    handed = x * (k + alpha / size * squares) ** -beta * relevance
    yield "Q8", float(np.sum(relevance - handed + 2 * alpha * beta / size * squares * others))


def _sums_of_neighbours(numbers: Doubles, size: int) -> Doubles:
    """Sums over ``size`` neighbouring channels of (P, C)."""
    reach, channels = size // 2, numbers.shape[1]
    padded = np.pad(numbers, ((0, 0), (reach, reach)))
    sums = np.zeros_like(numbers)
    for shift in range(size):
        sums += padded[:, shift : shift + channels]
    return sums


def _overwrite(
    rule: Overwrite, passage: Passage, item: int, constants: Constants
) -> Iterator[tuple[str, float]]:
    replaced = _item(passage.received[0], item) - _item(passage.seen.outputs[0], item)
    yield "Q9", float(np.sum(replaced))


#: Rule -> its account. A rule that is not here, nor made from one that is, is not made to conserve.
ACCOUNTS: dict[type[Rule], Account] = {
    Epsilon: _epsilon,
    AlphaBeta: _alpha_beta,
    Gamma: _gamma,
    ZBox: _z_box,
    Flat: _flat,
    WSquare: _w_square,
    Proportional: _proportional,
    Contribution: _contribution,
    Share: _outside,
    TaylorNormalization: _taylor,
    Overwrite: _overwrite,
    Pass: _nothing,
    Route: _outside,
}
