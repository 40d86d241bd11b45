"""An estimate of the memory that explanations need, from the shapes in a net and its plans.

It follows the forward pass and the backward passes of the plans without computing anything, and adds up what
is in memory at the same time. Numbers are float32; images need memory in proportion to the batch, weights
do not.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.plan import Plan, Step

from .base import Footprint

_BYTES = 4


def footprint_of(net: Net, plans: Sequence[Plan], convolution: str = "auto") -> Footprint:
    """Estimate the memory to explain images by ``plans``, which share one forward pass."""
    kept = frozenset[int]().union({net.output_value}, *(plan.kept_values for plan in plans))
    owners = _owners(net)
    steps = [step for plan in plans for step in plan.steps]
    sums = sum(_most_kept(steps).values())
    held = _floats(net, owners, kept) + sums
    peaks = [_forward_peak(net, owners, kept) + sums]
    peaks += [held + _backward_peak(net, plan) for plan in plans]
    weights = sum(blob.size for layer in net.layers for blob in layer.weights)
    derived = {
        (step.layer.index, what): size
        for step in steps
        for what, size in derived_floats(step, convolution).items()
    }
    own = sum(packed_floats(layer, convolution) for layer in net.layers)
    return Footprint(_BYTES * (weights + own + sum(derived.values())), _BYTES * max(peaks))


def packed_floats(layer: Layer, convolution: str) -> int:
    """Numbers a layer derives from its own weights for the forward pass, by a method of convolution."""
    if not isinstance(layer, Linear):
        return 0
    return math.ceil(layer.weight.size * layer.own_map.packed_growth(convolution))


def kept_floats(step: Step) -> int:
    """Numbers per image that a rule keeps from the forward pass, apart from values."""
    return step.rule.kept_floats(step.layer)


def derived_floats(step: Step, convolution: str) -> Mapping[str, int]:
    """Numbers that a rule derives from the weights, once for all images; rules share the same data."""
    layer = step.layer
    growth = layer.own_map.packed_growth(convolution) if isinstance(layer, Linear) else 0.0
    return step.rule.derived_floats(layer, step.conditions, growth)


def _most_kept(steps: Iterable[Step]) -> dict[int, int]:
    """Index of a layer -> numbers kept for its rules; plans share them, even if not all need them."""
    most: dict[int, int] = {}
    for step in steps:
        index = step.layer.index
        most[index] = max(most.get(index, 0), kept_floats(step))
    return most


def _owners(net: Net) -> dict[int, int]:
    """Value -> the value that owns its memory."""
    owners = {value: value for value in (net.input_value, *net.constants)}
    for layer in net.layers:
        for value in layer.outputs:
            owners[value] = owners[layer.inputs[0]] if layer.is_alias else value
    return owners


def _floats(net: Net, owners: dict[int, int], values: Iterable[int]) -> int:
    """Numbers in ``values`` of one image together."""
    return sum(math.prod(net.shape_of(owner)) for owner in {owners[value] for value in values})


def _forward_peak(net: Net, owners: dict[int, int], kept: frozenset[int]) -> int:
    """Peak number of values of one image in memory during the forward pass."""
    needed = kept.union(*(layer.inputs for layer in net.layers))
    live, peak = {net.input_value, *net.constants}, 0
    for layer in net.layers:
        live.update(layer.outputs)
        peak = max(peak, _floats(net, owners, live))
        live -= set(layer.inputs) - kept
        live &= needed
    return peak


def _backward_peak(net: Net, plan: Plan) -> int:
    """Peak number of relevance values of one image in memory during the backward pass."""
    live = set(plan.seeds)
    peak = 0
    for step in plan.steps:
        live.update(step.layer.outputs)
        together = live.union(step.layer.inputs)
        relevance = sum(math.prod(net.shape_of(value)) for value in together)
        peak = max(peak, relevance + step.rule.passing_floats(step.layer))
        live = together.difference(step.layer.outputs)
    return peak
