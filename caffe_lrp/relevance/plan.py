"""Plans: which layers relevance passes, in which order, and by which rules. Resolved before anything runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from caffe_lrp.compute.once import shared_property
from caffe_lrp.errors import ConfigError, PlanError, about
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.linear import Linear
from caffe_lrp.messages import MOST_LISTED
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import QUIRK_MODES

from .assignment import Assigned, assign
from .bounds import bounded_values, bounds_of_values
from .composite import Composite, Entry, FormulaCode
from .formulas import all_entries, base_of, channel_l2, composite_for, has_channel_norm
from .rules.base import AnyRule, Conditions, RuleParameters
from .start import LayerReference, Start, find_start, layer_index

#: What to do in a composite about linear layers without a rule, and about zᴮ without bounds.
ADVICE_ON_LINEAR_LAYERS = (
    "begin the rules with one for all linear layers, such as {kind: linear, rule: epsilon}, or give a base, "
    "such as epsilon-plus"
)
ADVICE_ON_BOUNDS = "give the layer the rule z-box with bounds 'low' and 'high', or another rule"


@dataclass(frozen=True)
class Step:
    """One layer, its rule, and properties of the layer in its net.

    ``won`` says which entry gave it the rule, see `Assigned`.
    """

    layer: Layer
    rule: AnyRule
    conditions: Conditions
    won: str = ""

    @shared_property
    def prepared(self) -> Any:
        """The data that the rule derives from the weights: computed on first use, then kept."""
        return self.rule.prepare(self.layer, self.conditions)


@dataclass(frozen=True)
class Plan:
    """How relevance is propagated through a net under a composite.

    Attributes
    ----------
    steps
        From the start layer downwards.
    origin
        Where relevance starts, and the meaning of a class there.
    target
        The value for which relevance is computed.
    unit_seed
        Whether to start, unless there is a start vector, from 1 instead of the score (gradients without Q3).
    is_gradient
        Whether every layer gets its true gradient.
    finish
        Applied to the result, or None.
    remarks
        Notes on entries without an effect that their author may expect.
    """

    net: Net
    steps: tuple[Step, ...]
    origin: Start
    target: int
    unit_seed: bool
    is_gradient: bool
    finish: Callable[[Blob], Blob] | None
    remarks: tuple[str, ...] = ()

    @cached_property
    def kept_values(self) -> frozenset[int]:
        """Values of the forward pass that the plan uses."""
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
    def start(self) -> Layer:
        """The layer that computes the scores from which relevance starts."""
        return self.origin.layer

    @property
    def seeds(self) -> dict[int, int]:
        """Value where the backward pass starts -> the value that supplies the scores."""
        return self.origin.seeds

    @property
    def start_size(self) -> int:
        """Number of classes at the start; explained classes must be below it."""
        return self.origin.class_count

    def text_of(self, layer: Layer) -> str:
        """The rule a layer got, and what gave it; ``-`` for a layer that relevance does not pass."""
        found = next((step for step in self.steps if step.layer is layer), None)
        return Assigned(found.rule, found.won).text if found else "-"

    def rule_of(self, layer: Layer) -> AnyRule | None:
        """The rule of a layer, or None if relevance does not pass it."""
        return next((step.rule for step in self.steps if step.layer is layer), None)


def resolve_plan(
    net: Net,
    formula: FormulaCode,
    parameters: RuleParameters,
    start: Start | LayerReference,
    first_layer: LayerReference,
) -> Plan:
    """The plan for ``net`` under ``formula``.

    Parameters
    ----------
    net
        The net.
    formula, parameters
        Number or name of a formula, or a composite; and the parameters of rules that it does not set.
    start
        Where relevance starts, or an argument for `find_start`.
    first_layer
        Index or name of the lowest layer to pass; the relevance of its first bottom is the result.

    Raises
    ------
    ConfigError
        There is no such formula or layer, the layers are in the wrong order or not connected, or an entry of
        the composite does not fit the net.
    PlanError
        A layer has no rule, or has one that needs to read the image and does not.
    """
    composite = composite_for(formula)
    origin = start if isinstance(start, Start) else find_start(net, start)
    path = _layers_on_the_way(net, origin, first_layer)
    parameters = _with_settings(composite, parameters, net)
    assigned, remarks = _assigned(net, composite, parameters, path)
    rules = [_required(assigned[layer.index].rule, layer, net, composite) for layer in path]
    is_gradient = {*all_entries(composite)} == {Entry("gradient")}
    return Plan(
        net=net,
        steps=tuple(
            Step(layer, rule, _conditions_of(layer, net), assigned[layer.index].won)
            for layer, rule in zip(path, _within_bounds(rules, path, parameters, net), strict=True)
        ),
        origin=origin,
        target=next(value for value in path[-1].inputs if value not in net.fixed_values),
        unit_seed=is_gradient and not parameters.quirks.Q3_gradient_seeded_with_score,
        is_gradient=is_gradient,
        finish=channel_l2 if has_channel_norm(composite) else None,
        remarks=remarks,
    )


def _with_settings(composite: Composite, parameters: RuleParameters, net: Net) -> RuleParameters:
    """The numbers of rules, some of them replaced by a composite."""
    given = dict(composite.settings)
    if "quirks" in given:
        given["quirks"] = QUIRK_MODES[given["quirks"]]
    if "switch_layer" in given:
        with about(ConfigError, place=composite.label):
            given["switch_layer"] = layer_index(net, given["switch_layer"], "switch_layer", "--switch-layer")
    return replace(parameters, **given)


def _assigned(
    net: Net, composite: Composite, parameters: RuleParameters, path: Sequence[Layer]
) -> tuple[Mapping[int, Assigned], tuple[str, ...]]:
    """The rules of the layers on the way, and remarks; ConfigError where an entry does not fit the net."""
    base, lowest = base_of(composite), lowest_linear_layers(net)
    found = assign(composite, base.entries if base else (), parameters, net.layers, path[::-1], lowest)
    with about(ConfigError, place=composite.label):
        if found.faults:
            more = len(found.faults) - MOST_LISTED
            shown = [*found.faults[:MOST_LISTED], *([f"… and {more} more"] if more > 0 else [])]
            raise ConfigError(f"\n{composite.label}: ".join(shown))
    return found.rules, tuple(f"{composite.label}: {remark}" for remark in found.remarks)


def _conditions_of(layer: Layer, net: Net) -> Conditions:
    return Conditions(
        nonnegative=net.nonnegative_values.issuperset(layer.inputs),
        is_compared=net.is_compared(layer),
        gates=net.gates_of(layer),
    )


def _layers_on_the_way(net: Net, origin: Start, first_layer: LayerReference) -> list[Layer]:
    """Layers that relevance passes from ``origin`` down to ``first_layer``, the highest first.

    Raises
    ------
    ConfigError
        There is no such layer below the start, or it does not lead there.
    """
    highest = origin.layer
    lowest = layer_index(net, first_layer, "firstlayerindex", "--first-layer")
    # If the scores are the first layer of a net, relevance passes only that layer.
    if not 0 <= lowest < max(highest.index, 1):
        raise ConfigError(
            f"firstlayerindex {first_layer} (--first-layer) must be at least 0 and below the start layer "
            f"{highest.index} ('{highest.name}') of {net.source}; 0 leads down to the image"
        )
    # Layers that depend only on constants may come before the first one that reads the image.
    first = net.layers[lowest] if lowest else _first_on_image(net)
    wanted = set(origin.seeds)
    path = []
    for layer in reversed(net.layers[first.index : origin.top + 1]):
        if wanted.intersection(layer.outputs):
            path.append(layer)
            wanted.update(value for value in layer.inputs if value not in net.fixed_values)
    if not path or path[-1] is not first:
        raise ConfigError(
            f"firstlayerindex {first.index} ('{first.name}') does not lead to the start layer "
            f"{origin.layer.index} ('{origin.layer.name}'); give a layer that does, or 0 for the image"
        )
    return path


def rules_on_the_way(
    net: Net, formula: FormulaCode, parameters: RuleParameters, origin: Start, first_layer: LayerReference
) -> tuple[dict[Layer, Assigned], tuple[str, ...]]:
    """The layers that relevance passes, the highest first, with their rules or None; and remarks.

    Raises
    ------
    ConfigError
        There is no layer ``first_layer`` below ``origin``, or it does not lead there; or an entry of the
        composite does not fit the net.
    """
    composite, path = composite_for(formula), _layers_on_the_way(net, origin, first_layer)
    rules, remarks = _assigned(net, composite, _with_settings(composite, parameters, net), path)
    found = {}
    for layer in path:
        assigned = rules[layer.index]
        if assigned.rule and not _knows_its_bounds(assigned.rule, layer, net):
            assigned = replace(assigned, rule=None)
        found[layer] = assigned
    return found, remarks


def _first_on_image(net: Net) -> Layer:
    """The lowest layer that depends on the image; if none does, the lowest layer."""
    on_image = (layer for layer in net.layers if not net.fixed_values.issuperset(layer.inputs))
    return next(on_image, net.layers[0])


def _within_bounds(
    rules: Sequence[AnyRule], layers: Sequence[Layer], parameters: RuleParameters, net: Net
) -> list[AnyRule]:
    """The rules of layers; those that need the bounds of their inputs get them if they are known."""
    if not parameters.lowest or not any(rule.needs_bounds for rule in rules):
        return list(rules)
    bounds = bounds_of_values(net, parameters.lowest, parameters.highest)
    return [
        rule.within(*bounds[layer.inputs[0]]) if rule.needs_bounds else rule
        for rule, layer in zip(rules, layers, strict=True)
    ]


def _knows_its_bounds(rule: AnyRule, layer: Layer, net: Net) -> bool:
    """Whether the bounds of its input are known to a rule that needs them."""
    return not rule.needs_bounds or bounded_values(net).issuperset(layer.inputs)


def lowest_linear_layers(net: Net) -> frozenset[int]:
    """Indices of the linear layers without another linear layer between them and the image."""
    reached, found = {net.input_value}, set()
    for layer in net.layers:
        if reached.isdisjoint(layer.inputs):
            continue
        if isinstance(layer, Linear):
            found.add(layer.index)
        else:
            reached.update(layer.outputs)
    return frozenset(found)


def _required(rule: AnyRule | None, layer: Layer, net: Net, composite: Composite) -> AnyRule:
    """``rule``; PlanError, about the layer, if there is none, or if it does not apply to the layer."""
    with about(PlanError, layer=layer.name):
        if rule is None and composite.entries and isinstance(layer, Linear):
            raise PlanError(f"{layer.label} of {net.source} gets no rule; {ADVICE_ON_LINEAR_LAYERS}")
        if rule is None:
            raise PlanError(
                f"{net.source}: {layer.label} has no rule under this formula; choose another "
                "formula, or start below or stop above the layer"
            )
        if not _knows_its_bounds(rule, layer, net):
            remedy = "choose a formula without it, such as epsilon-plus-flat"
            if composite.entries:
                remedy = ADVICE_ON_BOUNDS
            raise PlanError(
                f"{net.source}: {layer.label} does not read the image, nor a moved, scaled or shifted copy, "
                f"but {rule.title} needs to know the range of its input; {remedy}"
            )
        return rule
