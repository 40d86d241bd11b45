"""Facts about a net: its layers, the start layer, and the rule that each layer would get."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from caffe_lrp.errors import ConfigError
from caffe_lrp.formats.spec import Shape
from caffe_lrp.layers.base import (
    Aggregation,
    ChannelNormalization,
    Combination,
    Layer,
    Neuron,
    Normalization,
    Router,
    WindowAverage,
    Winner,
)
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.heads import layers_below
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.advice import Advice, suitable_formula
from caffe_lrp.relevance.assignment import NO_RULE, Assigned
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.start import (
    AUTO,
    BEFORE_LOWEST_SOFTMAX,
    HIGHEST_INNER_PRODUCT,
    LayerReference,
    Start,
    find_start,
    layer_index,
)

from .gaps import Gap, Way, gaps_in
from .layer_table import LAYER_COLUMNS, aligned, rule_columns, shape_text

#: Values of ``lastlayerindex`` that are resolved in the net, and their meaning.
STARTS: Mapping[LayerReference, str] = {
    AUTO: "the layer of the class scores",
    BEFORE_LOWEST_SOFTMAX: "the layer before the lowest Softmax",
    HIGHEST_INNER_PRODUCT: "the highest InnerProduct",
}

#: Capabilities on which rules depend; a layer with several counts under the first.
_FAMILIES: tuple[type[Layer], ...] = (
    Linear,
    Neuron,
    Router,
    Winner,
    Combination,
    WindowAverage,
    Aggregation,
    Normalization,
    ChannelNormalization,
)


@dataclass(frozen=True)
class LayerFacts:
    """One layer.

    Attributes
    ----------
    index, name, type
        As in configs and messages.
    inputs, outputs
        Value ids.
    output_shapes
        Shapes with the batch axis.
    parameters
        Number of learned parameters.
    multiply_adds
        Products for one image in convolutions and inner products.
    family
        The capability on which its rule depends, empty if it has none.
    rules
        Formula -> title of its rule, or `NO_RULE`; nothing for a layer that relevance does not pass.
    """

    index: int
    name: str
    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    output_shapes: tuple[Shape, ...]
    parameters: int
    multiply_adds: int
    family: str
    rules: Mapping[FormulaCode, str]

    @property
    def shape_text(self) -> str:
        """Shape of the first output, ``-`` if there is none."""
        return shape_text(self.output_shapes[0]) if self.output_shapes else "-"

    @property
    def is_on_the_way(self) -> bool:
        """Whether relevance passes the layer."""
        return bool(self.rules)


@dataclass(frozen=True, repr=False)
class NetFacts:
    """Facts about a net.

    Attributes
    ----------
    source
        Path of the prototxt.
    input_value, input_shape
        Id of the image blob, and its shape with the batch axis.
    value_names
        Blob name of every value id.
    layers
        The layers by index.
    formulas
        The formulas with rules in `layers`.
    starts
        Value of ``lastlayerindex`` -> index of the layer it stands for, or why there is none.
    start
        Index of the layer where relevance starts.
    first
        Index of the lowest layer that it passes.
    suitable
        The formula that suits the net.
    heads
        Ids of the values that no layer reads, starting with the one that is ranked by default.
    head
        Id of the one with the ranked classes.
    positions
        Number of positions at which the start has scores of every class.
    gaps
        Layers without a rule.
    constants
        Ids of values that no layer writes and that do not depend on the image, with their shapes.
    remarks
        Notes on entries of composites without an effect that their author may expect.
    """

    source: str
    input_value: int
    input_shape: Shape
    value_names: tuple[str, ...]
    layers: tuple[LayerFacts, ...]
    formulas: tuple[FormulaCode, ...]
    starts: Mapping[LayerReference, int | str]
    start: int
    first: int
    suitable: Advice
    heads: tuple[int, ...]
    head: int
    positions: int = 1
    gaps: tuple[Gap, ...] = field(default=())
    constants: Mapping[int, Shape] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def head_shapes(self) -> dict[int, Shape]:
        """Shape of every head, with the batch axis; first the one with the ranked classes."""
        shapes = {
            value: shape
            for layer in self.layers
            for value, shape in zip(layer.outputs, layer.output_shapes, strict=True)
        }
        return {value: shapes[value] for value in sorted(self.heads, key=lambda value: value != self.head)}

    @property
    def parameters(self) -> int:
        """Number of learned parameters."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Products of all convolutions and inner products for one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    def __repr__(self) -> str:
        """The layers as a table."""
        return "\n".join(self.table())

    def table(self) -> Iterator[str]:
        """One line per layer: its type and size, and its rule under every formula."""
        rows = [[*LAYER_COLUMNS, "parameters", "mult-adds", *rule_columns(self.formulas)]]
        for layer in self.layers:
            counts = [f"{count:,}" if count else "-" for count in (layer.parameters, layer.multiply_adds)]
            rules = [layer.rules.get(code, "-") for code in self.formulas]
            rows.append([str(layer.index), layer.name, layer.type, layer.shape_text, *counts, *rules])
        return aligned(rows, right=(len(LAYER_COLUMNS), len(LAYER_COLUMNS) + 1))

    def as_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "prototxt": self.source,
            "input": {"name": self.value_names[self.input_value], "shape": list(self.input_shape)},
            "layers": [self._layer_as_json(layer) for layer in self.layers],
            "totals": {
                "layers": len(self.layers),
                "parameters": self.parameters,
                "multiply_adds": self.multiply_adds,
            },
            "starts": {str(value): found for value, found in self.starts.items()},
            "start": self.start,
            "first": self.first,
            "head": self.value_names[self.head],
            "heads": [
                {"name": self.value_names[value], "shape": list(shape)}
                for value, shape in self.head_shapes.items()
            ],
            "positions": self.positions,
            "suitable_formula": vars(self.suitable),
            "without_rule": [vars(gap) for gap in self.gaps],
        }

    def _layer_as_json(self, layer: LayerFacts) -> dict[str, Any]:
        return {
            "index": layer.index,
            "name": layer.name,
            "type": layer.type,
            "bottoms": [self.value_names[value] for value in layer.inputs],
            "tops": [self.value_names[value] for value in layer.outputs],
            "output_shapes": [list(shape) for shape in layer.output_shapes],
            "parameters": layer.parameters,
            "multiply_adds": layer.multiply_adds,
            "rules": {str(code): None if rule == NO_RULE else rule for code, rule in layer.rules.items()},
        }


def facts_of(
    net: Net,
    formulas: Sequence[FormulaCode],
    parameters: RuleParameters,
    start_layer: LayerReference | None = None,
    first_layer: LayerReference = 0,
    head: int | None = None,
) -> NetFacts:
    """The facts about ``net``, with or without its weights.

    Parameters
    ----------
    net, formulas, parameters
        The net, codes of existing formulas, and the parameters of their rules.
    start_layer
        As for `find_start`; None: the first of `STARTS` that the net has, or else its last layer.
    first_layer
        Index or name of the lowest layer that relevance passes.
    head
        The requested output, as for `find_start`.

    Raises
    ------
    ConfigError
        There are no such layers, or they are not connected.
    """
    starts = {value: _found(net, value, head) for value in STARTS}
    start = _chosen_start(net, start_layer, starts, head)
    way = Way(net, parameters, start, first_layer)
    asked = {code: way.rules(code) for code in formulas}
    found = {code: rules for code, (rules, _) in asked.items()}
    return NetFacts(
        source=net.source,
        input_value=net.input_value,
        input_shape=(net.batch_size, *net.input_shape),
        value_names=net.value_names,
        layers=tuple(_layer_facts(layer, found, net.batch_size) for layer in net.layers),
        formulas=tuple(formulas),
        starts=starts,
        start=start.layer.index,
        first=layer_index(net, first_layer, "firstlayerindex", "--first-layer"),
        suitable=suitable_formula(net, start.output),
        heads=net.outputs,
        head=start.output,
        positions=start.class_size,
        gaps=gaps_in(found, way),
        constants={value: constant.shape for value, constant in net.constants.items()},
        remarks=tuple(remark for _, remarks in asked.values() for remark in remarks),
    )


def with_parameters_of(facts: NetFacts, outline: Net) -> NetFacts:
    """Facts with the learned parameters in the files, before any layers were merged."""
    counts = [_parameters(layer) for layer in outline.layers]
    layers = zip(facts.layers, counts, strict=True)
    return replace(facts, layers=tuple(replace(layer, parameters=count) for layer, count in layers))


def _parameters(layer: Layer) -> int:
    """Number of learned parameters of a layer."""
    return sum(math.prod(shape) for shape in layer.weight_shapes)


def _chosen_start(
    net: Net,
    start_layer: LayerReference | None,
    starts: Mapping[LayerReference, int | str],
    head: int | None,
) -> Start:
    """The requested start layer, or the default of `facts_of`."""
    if start_layer is not None:
        return find_start(net, start_layer, head)
    present = (value for value, found in starts.items() if isinstance(found, int))
    last = net.layers[-1] if head is None else layers_below(net, head)[-1]
    return find_start(net, next(present, last.index), head)


def _found(net: Net, start_layer: LayerReference, head: int | None) -> int | str:
    """Index of the layer that a value of ``lastlayerindex`` denotes, or why there is none."""
    try:
        return find_start(net, start_layer, head).layer.index
    except ConfigError as error:
        return str(error)


def _layer_facts(
    layer: Layer, found: Mapping[FormulaCode, Mapping[Layer, Assigned]], batch_size: int
) -> LayerFacts:
    """Facts of one layer; ``found`` has the rules of every formula."""
    rules = {code: of_layers[layer] for code, of_layers in found.items() if layer in of_layers}
    return LayerFacts(
        index=layer.index,
        name=layer.name,
        type=layer.type,
        inputs=layer.inputs,
        outputs=layer.outputs,
        output_shapes=tuple((batch_size, *shape) for shape in layer.output_shapes),
        parameters=_parameters(layer),
        multiply_adds=layer.multiply_adds if isinstance(layer, Linear) else 0,
        family=family_of(layer),
        rules={code: assigned.text for code, assigned in rules.items()},
    )


def family_of(layer: Layer) -> str:
    """Name of the capability on which a layer's rule depends; empty if it has none."""
    return next((family.__name__ for family in _FAMILIES if isinstance(layer, family)), "")
