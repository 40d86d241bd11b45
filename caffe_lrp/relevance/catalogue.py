"""The layer types and their rules: rows made from the registry and the formulas.

Nothing here depends on individual types. The kind of a class follows from its ancestors, and its rules from
the composites, which are applied to a stand-in.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from caffe_lrp.layers import REGISTRY, Layer
from caffe_lrp.layers.activation import IdleDropout, ReLU
from caffe_lrp.layers.base import (
    Aggregation,
    ChannelNormalization,
    Combination,
    Neuron,
    Normalization,
    Router,
    WindowAverage,
    Winner,
)
from caffe_lrp.layers.linear import Linear
from caffe_lrp.layers.output import Softmax
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks

from .assignment import assign
from .formulas import written_out
from .rules.base import RuleParameters

#: Name of a kind of formulas -> one of them. Gradients are missing: there every layer has its own gradient.
KINDS_OF_FORMULAS = {"ε": 0, "αβ": 2, "deconvolution": 26, "guided": 166}

_TOOLBOX = "LRP Toolbox"

#: Class of layers -> source of its rule; the nearest ancestor counts.
SOURCES: dict[type[Layer], str] = {
    Linear: "Bach et al. 2015: eq. 58 (ε), eq. 60 (αβ)",
    ReLU: _TOOLBOX,
    IdleDropout: _TOOLBOX,
    Neuron: f"{_TOOLBOX} under 0 and 2, here under 54 to 114 too",
    Router: f"{_TOOLBOX}, as Split and Concat",
    Winner: f"{_TOOLBOX}, as max pooling",
    WindowAverage: _TOOLBOX,
    ChannelNormalization: f"{_TOOLBOX}; Binder et al. 2016",
    Combination: "Bach et al. 2015, eq. 56; gates get no relevance: Arras et al. 2017",
    Aggregation: "Bach et al. 2015, eq. 56, as average pooling",
    Normalization: "as LRN with corrected quirks, and as zennit",
    Softmax: _TOOLBOX,
}


@dataclass(frozen=True)
class LayerRow:
    """One class of layers.

    Attributes
    ----------
    type
        Caffe's type.
    what
        What such layers do.
    rules
        Name in `KINDS_OF_FORMULAS` -> title of the rule, and of the one with corrected quirks if that
        differs.
    source
        Where the rules come from; empty if unknown.
    """

    type: str
    what: str
    rules: dict[str, str]
    source: str


def catalogue() -> list[LayerRow]:
    """All layer types in alphabetical order; the classes of a type follow one another."""
    return [
        LayerRow(
            name,
            (layer_class.__doc__ or "").splitlines()[0].rstrip("."),
            {kind: _rule(layer_class, name, code) for kind, code in KINDS_OF_FORMULAS.items()},
            next((SOURCES[base] for base in layer_class.__mro__ if base in SOURCES), ""),
        )
        for name, registered in sorted(REGISTRY.items())
        for layer_class in _classes(registered)
    ]


def _classes(layer_class: type[Layer]) -> Iterator[type[Layer]]:
    """The classes that layers of a registered class can have.

    These are its variants; if there are none, its subclasses that are not registered themselves, and the
    class itself unless it is only a base of them.
    """
    if layer_class.variants:
        yield from layer_class.variants
        return
    others = [
        other
        for other in layer_class.__subclasses__()
        if other.__module__.startswith("caffe_lrp.") and other not in REGISTRY.values()
    ]
    is_incomplete = inspect.isabstract(layer_class) or (others and not _has_source(layer_class))
    if not is_incomplete:
        yield layer_class
    for other in others:
        yield from _classes(other)


def _has_source(layer_class: type[Layer]) -> bool:
    return any(base in SOURCES for base in layer_class.__mro__)


def _rule(layer_class: type[Layer], name: str, code: int) -> str:
    """The rule of a class of layers under a formula, with and without quirks."""
    stand_in = object.__new__(layer_class)
    for attribute, value in (("index", 0), ("name", name), ("type", name)):
        object.__setattr__(stand_in, attribute, value)
    compatible, corrected = (_title(stand_in, code, quirks) for quirks in (REFERENCE, CORRECTED))
    return compatible if compatible == corrected else f"{compatible}; corrected: {corrected}"


def _title(layer: Layer, code: int, quirks: Quirks) -> str:
    parameters = RuleParameters(epsilon=0.0, beta=0.0, switch_layer=-1, quirks=quirks)
    return assign(written_out(code), (), parameters, [layer], [layer], ()).rules[layer.index].text
