"""Layers that relevance passes and that have no rule, and what to do about them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.assignment import Assigned
from caffe_lrp.relevance.composite import Composite, FormulaCode
from caffe_lrp.relevance.formulas import FORMULAS
from caffe_lrp.relevance.plan import ADVICE_ON_BOUNDS, ADVICE_ON_LINEAR_LAYERS, rules_on_the_way
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.start import LayerReference, Start


@dataclass(frozen=True)
class Gap:
    """A layer that relevance passes, but that has no rule under a formula.

    Attributes
    ----------
    index, label
        The layer.
    formula
        The formula.
    advice
        What to do.
    """

    index: int
    label: str
    formula: FormulaCode
    advice: str


@dataclass(frozen=True)
class Way:
    """Start and end of the backward pass in a net, and the parameters of its rules."""

    net: Net
    parameters: RuleParameters
    start: Start
    first_layer: LayerReference

    def rules(self, formula: FormulaCode) -> tuple[dict[Layer, Assigned], tuple[str, ...]]:
        """The layers that relevance passes, with their rules; and remarks on the composite."""
        return rules_on_the_way(self.net, formula, self.parameters, self.start, self.first_layer)


def gaps_in(found: Mapping[FormulaCode, Mapping[Layer, Assigned]], way: Way) -> tuple[Gap, ...]:
    """Layers without a rule; ``found`` has the rules of every formula."""
    return tuple(
        Gap(layer.index, layer.label, code, _advice_on_gap(layer, assigned, code, way))
        for code, rules in found.items()
        for layer, assigned in rules.items()
        if assigned.rule is None
    )


def _advice_on_gap(layer: Layer, assigned: Assigned, code: FormulaCode, way: Way) -> str:
    """The remedies for a layer without a rule, or with one that does not know the bounds of its input."""
    if isinstance(code, Composite) and assigned.won:
        return ADVICE_ON_BOUNDS
    if isinstance(code, Composite) and isinstance(layer, Linear):
        return ADVICE_ON_LINEAR_LAYERS
    return _advice(layer, way)


def _advice(layer: Layer, way: Way) -> str:
    """The remedies for a layer without a rule."""
    ways = []
    for mode, quirks in QUIRK_MODES.items():
        other = replace(way, parameters=replace(way.parameters, quirks=quirks))
        codes = [code for code in FORMULAS if other.rules(code)[0][layer].rule]
        if codes and quirks == way.parameters.quirks:
            ways.append(f"choose formula {' or '.join(map(str, codes))}")
        elif len(codes) == len(FORMULAS):
            ways.append(f"set --quirks {mode}, under which every formula has one")
    ways.append("start below the layer (--start-layer)")
    ways.append("stop above it (--first-layer)")
    return ", or ".join(ways)
