"""Plan: which layers relevance passes, in which order, by which rule. Resolved before anything runs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from caffe_lrp.errors import ConfigError, PlanError
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.net.net import Net
from caffe_lrp.sharing import shared_property

from .formulas import Formula, RuleParameters, compose
from .rules import Rule

#: Values of ``lastlayerindex`` that are not an index.
BEFORE_LOWEST_SOFTMAX, HIGHEST_INNER_PRODUCT = -1, -2


@dataclass(frozen=True)
class Step:
    """One layer and its rule; ``nonnegative`` is whether the layer's inputs never have negative elements."""

    layer: Layer
    rule: Rule
    nonnegative: bool

    @shared_property
    def prepared(self) -> Any:
        """What the rule derives from the weights: computed on first use, then kept."""
        return self.rule.prepare(self.layer, self.nonnegative)


@dataclass(frozen=True)
class Plan:
    """How relevance travels through one net under one formula.

    Attributes
    ----------
    steps
        From the start layer downwards.
    start
        Layer at whose outputs relevance starts.
    seeds
        Output value of the start layer -> the value that supplies the scores.
    target
        Value whose relevance is the result.
    unit_seed
        Start from 1 instead of the score (gradients without Q3).
    finish
        Applied to the result, or None.
    """

    net: Net
    steps: tuple[Step, ...]
    start: Layer
    seeds: dict[int, int]
    target: int
    unit_seed: bool
    finish: Callable[[Blob], Blob] | None

    @cached_property
    def kept_values(self) -> frozenset[int]:
        """Values of the forward pass that the plan looks at."""
        kept = set(self.seeds.values())
        for step in self.steps:
            if step.rule.uses_inputs(step.layer):
                kept.update(step.layer.inputs)
            if step.rule.uses_outputs(step.layer):
                kept.update(step.layer.outputs)
        return frozenset(kept)

    @property
    def is_image(self) -> bool:
        """Whether the result is the relevance of the net's input image."""
        return self.target == self.net.input_value

    @property
    def start_size(self) -> int:
        """Number of elements at the start layer: classes must be below it."""
        return min(math.prod(shape) for shape in self.start.output_shapes)

    def rule_of(self, layer: Layer) -> Rule | None:
        """The rule a layer got, None for a layer that relevance does not pass."""
        return next((step.rule for step in self.steps if step.layer is layer), None)


def resolve_plan(
    net: Net, formula: Formula, parameters: RuleParameters, start_layer: int, first_layer: int
) -> Plan:
    """The plan for ``net`` under ``formula``.

    Parameters
    ----------
    net
        The net.
    formula, parameters
        Row of the table of formulas, and its numbers.
    start_layer
        Index of the layer where relevance starts, or −1 (the layer before the lowest Softmax) or −2
        (the highest InnerProduct).
    first_layer
        Index of the lowest layer to pass; its first bottom's relevance is the result.

    Raises
    ------
    ConfigError
        No such layer, layers in the wrong order or not connected.
    PlanError
        A layer without a rule.
    """
    start = find_start(net, start_layer)
    found = rules_on_the_way(net, formula, parameters, start, first_layer)
    return Plan(
        net=net,
        steps=tuple(
            Step(layer, _required(rule, layer, net), net.nonnegative_values.issuperset(layer.inputs))
            for layer, rule in found
        ),
        start=start,
        seeds={value: net.stored_value(value) for value in start.outputs},
        target=net.layers[first_layer].inputs[0],
        unit_seed=formula.is_gradient and not parameters.quirks.Q3_gradient_seeded_with_score,
        finish=formula.finish,
    )


def find_start(net: Net, start_layer: int) -> Layer:
    """Layer where relevance starts (spec/reference.md §2, ``lastlayerindex``).

    Raises
    ------
    ConfigError
        No such layer.
    """
    if start_layer == BEFORE_LOWEST_SOFTMAX:
        softmax = [layer.index for layer in net.layers if layer.type == "Softmax"]
        if not softmax or softmax[0] == 0:
            raise ConfigError(
                f"lastlayerindex -1: {net.source} has no Softmax with a layer before it; give -2 "
                "(the highest InnerProduct) or an index"
            )
        return net.layers[softmax[0] - 1]
    if start_layer == HIGHEST_INNER_PRODUCT:
        products = [layer for layer in net.layers if layer.type == "InnerProduct"]
        if not products:
            raise ConfigError(
                f"lastlayerindex -2: {net.source} has no InnerProduct layer; give -1 (the layer before the "
                "lowest Softmax) or an index"
            )
        return products[-1]
    if not 0 <= start_layer < len(net.layers):
        raise ConfigError(
            f"lastlayerindex {start_layer} (--start-layer): {net.source} has layers 0 to "
            f"{len(net.layers) - 1}; give one of them, -1 (the layer before the lowest Softmax) or -2 (the "
            "highest InnerProduct)"
        )
    return net.layers[start_layer]


def _layers_on_the_way(net: Net, start: Layer, first_layer: int) -> list[Layer]:
    """Layers that relevance passes from ``start`` down to the one with index ``first_layer``, start first.

    Raises
    ------
    ConfigError
        There is no such layer below ``start``, or it does not lead there.
    """
    if not 0 <= first_layer < start.index:
        raise ConfigError(
            f"firstlayerindex {first_layer} (--first-layer) must be at least 0 and below the start layer "
            f"{start.index} ('{start.name}') of {net.source}; 0 leads down to the image"
        )
    first = net.layers[first_layer]
    wanted = set(start.outputs)
    path = []
    for layer in reversed(net.layers[first.index : start.index + 1]):
        if wanted.intersection(layer.outputs):
            path.append(layer)
            wanted.update(layer.inputs)
    if path[-1] is not first:
        raise ConfigError(
            f"firstlayerindex {first.index} ('{first.name}') does not lead to the start layer "
            f"{start.index} ('{start.name}'); give a layer that does, or 0 for the image"
        )
    return path


def rules_on_the_way(
    net: Net, formula: Formula, parameters: RuleParameters, start: Layer, first_layer: int
) -> list[tuple[Layer, Rule | None]]:
    """The layers that relevance passes, ``start`` first, each with its rule or None if there is none.

    Raises
    ------
    ConfigError
        There is no layer ``first_layer`` below ``start``, or it does not lead there.
    """
    composite = compose(formula, parameters)
    return [(layer, composite.rule_for(layer)) for layer in _layers_on_the_way(net, start, first_layer)]


def _required(rule: Rule | None, layer: Layer, net: Net) -> Rule:
    """``rule``; PlanError if there is none for the layer."""
    if rule is None:
        raise PlanError(
            f"{net.source}: {layer.label} has no rule under this formula; choose another "
            "formula, or start below or stop above the layer"
        )
    return rule
