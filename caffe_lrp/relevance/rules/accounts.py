"""Where relevance is lost at a layer, cause by cause: the building blocks of all rules' accounts.

An account says how much relevance of one item at the outputs does not reach the inputs, and why; losses are
negative if relevance is added. It is computed in double precision from the rule's divisors and factors,
never as the difference of the two sums, so that an unexplained rest is visible.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.window_map import ConvolutionMap
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.linear import Linear, Windowed

Doubles = NDArray[np.float64]

#: A blob, or one in double precision.
NumbersT = TypeVar("NumbersT", Blob, Doubles)

#: A cause, and how much is lost by it.
Loss = tuple[str, float]

#: Cause of a loss -> explanation.
CAUSES: dict[str, str] = {
    "bias": "the share of the bias, which is not an input",
    "epsilon": "ε makes the divisor larger than the sum of the contributions",
    "constant": "the share of constants that layers read in addition to the image",
    "zero_sum": "the sum to divide by is 0",
    "padding": "the share of taps, pooling windows or borders (Pad) that lie outside the layer's input",
    "no_positive": "αβ: the window has no positive products to receive α R",
    "no_negative": "αβ: the window has no negative products to receive −β R; if β > 0, the sum grows",
    "zero_weights": "w²: all weights of the output are 0",
    "Q4": "ε leaves relevance undivided where the sum is 0",
    "Q5": "αβ counts the biases of group 0 in every group",
    "Q6": "flat divides by the kernel area, not by the number of inputs",
    "Q7": "average pooling adds activations where a window sums to 0",
    "Q8": "LRN by a Taylor rule",
    "Q9": "softmax replaces relevance by its output",
    "rule": "a rule that is not designed to conserve, such as the gradient",
    "rest": "rounding, and anything no other cause explains",
}


class Constants:
    """Numbers of layers that do not depend on the image, computed on first use and then kept."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Blob] = {}

    def of(self, layer: Layer, what: str, compute: Callable[[], Blob]) -> Blob:
        """A batch of one in ``layer``'s output shape; constant axes may have size 1."""
        key = (layer.index, what)
        if key not in self._known:  # at worst, two threads both compute it
            self._known[key] = _narrowed(compute())
        return self._known[key]


def _narrowed(numbers: Blob) -> Blob:
    """The blob with constant axes after the channels reduced to size 1."""
    first = numbers[(slice(None), slice(None), *(slice(0, 1),) * (numbers.ndim - 2))]
    return first.copy() if np.array_equal(np.broadcast_to(first, numbers.shape), numbers) else numbers


def doubles(blob: Blob) -> Doubles:
    """A blob in double precision."""
    return np.asarray(blob, np.float64)


def ratio(dividend: NumbersT, divisor: Blob, out: NumbersT | None = None) -> NumbersT:
    """A quotient that is 0 where the divisor is 0. ``out`` may be the divisor."""
    quotient = np.empty(dividend.shape, dividend.dtype) if out is None else out
    is_zero = divisor == 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        np.divide(dividend, divisor, out=quotient)
    np.copyto(quotient, 0, where=is_zero)
    return quotient


def bias_of(layer: Linear, constants: Constants, workspace: Workspace) -> Blob:
    """The bias of a layer: its output for an input of zeros, a batch of one."""

    def compute() -> Blob:
        nothing = np.zeros((1, *layer.input_shapes[0]), np.float32)
        # A temporary map, so that its packed weights are not kept in the layer.
        own = layer.map_of(layer.lifted(layer.weight))
        return np.array(own.apply(nothing, layer.bias, workspace.directly()))

    return constants.of(layer, "bias", compute)


def kept_inside(layer: Linear, shares: LinearMap, whole: int, workspace: Workspace) -> Blob:
    """Share of every output's relevance that does not fall on padding: a batch of one.

    ``whole`` is the sum of the shares of an output. Only convolutions have shares of padding; all other
    layers share relevance among the inputs that they see.
    """
    ones = np.ones((1, *layer.input_shapes[0]), np.float32)
    reached: Blob = shares.apply(ones, None, workspace.directly()) / np.float32(whole)
    return reached if isinstance(shares, ConvolutionMap) else (reached != 0).astype(np.float32)


def kept_of_equal_shares(layer: Linear, constants: Constants, workspace: Workspace) -> Doubles:
    """How much of every output's relevance stays inside the input if all inputs of it get the same share.

    A batch of one; axes along which nothing varies may be 1.
    """

    def compute() -> Blob:
        if not isinstance(layer, Windowed):
            return np.ones((1, *layer.output_shapes[0]), np.float32)
        shares = layer.map_of(layer.lifted(np.ones_like(layer.weight)))
        return kept_inside(layer, shares, layer.fan_in, workspace)

    return doubles(constants.of(layer, "kept of equal shares", compute))
