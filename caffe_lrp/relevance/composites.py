"""Composites, which assign rules to layers: an ordered list of (match, rule); the first match wins."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from caffe_lrp.layers.base import Layer

from .rules.base import AnyRule

Match = Callable[[Layer], bool]


@dataclass(frozen=True)
class Composite:
    """An ordered assignment of rules to layers."""

    entries: tuple[tuple[Match, AnyRule], ...]

    def rule_for(self, layer: Layer) -> AnyRule | None:
        """Rule of the first entry that matches ``layer``, or None."""
        return next((rule for match, rule in self.entries if match(layer)), None)


def is_a(*layer_classes: type[Layer]) -> Match:
    """Match for layers of the given classes or capabilities."""
    return lambda layer: isinstance(layer, layer_classes)


def up_to(switch_layer: int, match: Match) -> Match:
    """``match``, restricted to layers whose index is at most ``switch_layer``."""
    return lambda layer: layer.index <= switch_layer and match(layer)


def among(indices: Collection[int], match: Match) -> Match:
    """``match``, restricted to layers of these ``indices``."""
    return lambda layer: layer.index in indices and match(layer)


def any_layer(layer: Layer) -> bool:
    """Match for all layers."""
    del layer
    return True
