"""From a composite to the rules of the layers of a net: the last entry that matches a layer wins."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from caffe_lrp.layers.activation import IdleDropout, ReLU
from caffe_lrp.layers.affine import Merged
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
from caffe_lrp.layers.linear import Linear, Windowed
from caffe_lrp.layers.output import Softmax
from caffe_lrp.messages import did_you_mean, enumerated

from .composite import FIRST, LAST, LOWEST, UP_TO_SWITCH, Composite, Entry, in_a_line
from .rule_names import RULES
from .rules.base import AnyRule, RuleParameters
from .rules.makers import maker_for
from .rules.normalization import TaylorNormalization
from .rules.routing import Pass, PassMerged, Route
from .rules.sharing import Contribution, Proportional, Share
from .rules.softmax import Overwrite

#: Most layers that a message names.
_MOST_NAMED = 5
#: What a layer that relevance passes has instead of a rule.
NO_RULE = "none"
#: Between the ends of a range of layers.
_RANGE = ".."


def _is(*included: type[Layer], without: tuple[type[Layer], ...] = ()) -> Callable[[Layer], bool]:
    return lambda layer: isinstance(layer, included) and not isinstance(layer, without)


#: Which layers are of a kind; see `composite.KINDS`.
_KINDS: Mapping[str, Callable[[Layer], bool]] = {
    "linear": _is(Linear),
    "convolution": _is(Windowed),
    "fully-connected": _is(Linear, without=(Windowed,)),
    "relu": _is(ReLU),
    "activation": _is(Neuron, without=(IdleDropout,)),
    "max-pooling": _is(Winner),
    "average-pooling": _is(WindowAverage),
    "combination": _is(Combination),
    "aggregation": _is(Aggregation, without=(WindowAverage,)),
    "normalization": _is(Normalization),
    "lrn": _is(ChannelNormalization),
    "softmax": _is(Softmax),
    "routing": _is(Router, without=(Merged,)),
}


@dataclass(frozen=True)
class Assigned:
    """The rule of a layer, and why it has it.

    Attributes
    ----------
    rule
        None if the composite gives it none.
    won
        What gave it the rule: a line of a file, an entry, or ``base``; empty where all composites give it.
    """

    rule: AnyRule | None
    won: str = ""

    @property
    def text(self) -> str:
        """Title of the rule, and what gave it; ``none`` without a rule."""
        title = self.rule.title if self.rule else NO_RULE
        return f"{title}, {self.won}" if self.won else title


@dataclass(frozen=True)
class Assignment:
    """The rules of layers.

    Attributes
    ----------
    rules
        Index of a layer -> its rule.
    faults
        What is wrong with entries, one text each.
    remarks
        Notes on entries without an effect that their author may expect: names of merged layers.
    """

    rules: Mapping[int, Assigned]
    faults: tuple[str, ...]
    remarks: tuple[str, ...]


def assign(
    composite: Composite,
    base: Sequence[Entry],
    parameters: RuleParameters,
    layers: Sequence[Layer],
    way: Sequence[Layer],
    lowest: Collection[int],
) -> Assignment:
    """The rules that a composite gives to layers.

    Parameters
    ----------
    composite, base
        The composite, and the entries of its base, which need not match anything.
    parameters
        Numbers of the rules.
    layers
        All layers of the net, which entries may name.
    way
        Those that relevance passes, in the order of execution.
    lowest
        Indices of the lowest linear layers.
    """
    chooser = _Chooser(layers, way, lowest, parameters.switch_layer)
    passed = {layer.index: layer for layer in way}
    rules = {index: Assigned(default_rule(layer, parameters)) for index, layer in passed.items()}
    for entry in base:
        for index in chooser.chosen(entry):
            rules[index] = Assigned(
                _made(entry, passed[index], parameters), "base" if composite.entries else ""
            )
    chooser.forget()
    for entry in composite.entries:
        for index in chooser.chosen(entry):
            rule = _made(entry, passed[index], parameters)
            chooser.note_refusal(entry, passed[index], rule.refusal(passed[index]))
            rules[index] = Assigned(rule, entry.place)
    return Assignment(rules, tuple(chooser.faults), tuple(chooser.remarks))


def _made(entry: Entry, layer: Layer, parameters: RuleParameters) -> AnyRule:
    maker = maker_for(entry.rule, layer)
    assert maker is not None  # the entry would not have been chosen
    return maker.make(entry, parameters)


def default_rule(layer: Layer, parameters: RuleParameters) -> AnyRule | None:
    """The rule of a layer that no entry chooses; None for linear layers, which need one, and unknown ones.

    The reference has no rule for some, and this is what is done instead: neurons pass relevance as its ReLU
    does, and as it does itself for TanH and others under 0 and 2. Sums share it by contribution, as zennit
    does for residual connections, and so do reductions and pooling that the reference lacks, as average
    pooling where quirks are corrected; products give it to the signal and nothing to the gate (Arras et al.
    2017). Normalizations pass it, as zennit's and as LRN across channels where quirks are corrected.
    """
    quirks = parameters.quirks
    found: tuple[tuple[type[Layer], AnyRule], ...] = (
        (Merged, PassMerged()),
        (Router, Route()),
        (Winner, Route()),
        (WindowAverage, Proportional(quirks.Q7_zero_sum_adds_activations)),
        (ChannelNormalization, TaylorNormalization() if quirks.Q8_normalization_taylor else Pass()),
        (Softmax, Overwrite() if quirks.Q9_softmax_overwrites else Pass()),
        (Neuron, Pass()),
        (Combination, Contribution()),
        (Aggregation, Share()),
        (Normalization, Pass()),
    )
    return next((rule for capability, rule in found if isinstance(layer, capability)), None)


class _Chooser:
    """Finds the layers that entries choose, and notes what is wrong with them."""

    def __init__(
        self, layers: Sequence[Layer], way: Sequence[Layer], lowest: Collection[int], switch_layer: int
    ) -> None:
        self.faults: list[str] = []
        self.remarks: list[str] = []
        self._layers, self._way, self._lowest = layers, way, lowest
        self._switch_layer = switch_layer

    def forget(self) -> None:
        """Forget what was noted."""
        self.faults.clear()
        self.remarks.clear()

    def chosen(self, entry: Entry) -> list[int]:
        """Indices of the layers that an entry chooses."""
        before = len(self.faults)
        named = self._named(entry)
        if len(self.faults) > before:
            return []
        asked = [
            layer
            for layer in self._way
            if (not entry.layers or layer.index in named)
            and (not entry.types or layer.type in entry.types)
            and (not entry.kinds or any(_KINDS[kind](layer) for kind in entry.kinds))
        ]
        is_strict = bool(entry.types or entry.kinds)
        merged = [layer for layer in asked if isinstance(layer, Merged)]
        asked = [layer for layer in asked if layer not in merged]
        unsuited = [layer for layer in asked if maker_for(entry.rule, layer) is None]
        suited = [layer for layer in asked if layer not in unsuited]
        strict = [layer for layer in unsuited if is_strict or named.get(layer.index)]
        if strict and not (entry.position or entry.first):
            self._note_unsuited(entry, strict)
            return []
        found = self._at_position(entry, suited)
        remarkable = [layer for layer in merged if named.get(layer.index) or not found]
        if remarkable:
            self._remark_merged(entry, remarkable)
        elif not found and not entry.is_optional:
            self._note_empty(entry, named, unsuited)
        return [layer.index for layer in found]

    def _named(self, entry: Entry) -> dict[int, bool]:
        """Index of each layer that an entry names -> whether by name or index, not by a pattern or range."""
        found: dict[int, bool] = {}
        for reference in entry.layers:
            exact = [
                layer
                for layer in self._layers
                if reference in ((layer.index,) if isinstance(reference, int) else (layer.name,))
            ]
            found |= {layer.index: True for layer in exact}
            if not exact:
                others = self._by_pattern(entry, reference)
                if not others:
                    return {}
                found = dict.fromkeys(others, False) | found
        return found

    def _by_pattern(self, entry: Entry, reference: str | int) -> list[int]:
        """Indices of layers that a pattern or a range stands for; none is a fault."""
        if isinstance(reference, int):
            self._fault(entry, self._no_such_index(reference))
            return []
        if _RANGE in reference:
            return self._in_range(entry, *self._ends(reference))
        pattern = reference.replace("[", "[[]")  # only * and ? are special
        found = [layer.index for layer in self._layers if fnmatchcase(layer.name, pattern)]
        if not found and not entry.is_optional:
            self._fault(entry, self._no_such_layer(reference))
        return found

    def _ends(self, reference: str) -> tuple[str, str]:
        """The ends of a range, whose names may contain ``..`` too."""
        known = [*(layer.name for layer in self._layers), *(str(layer.index) for layer in self._layers)]
        starts = (name for name in known if reference.startswith(f"{name}{_RANGE}"))
        splits = ((start, reference[len(start) + len(_RANGE) :]) for start in starts)
        start, _, end = reference.partition(_RANGE)
        return next((ends for ends in splits if ends[1] in known), (start, end))

    def _in_range(self, entry: Entry, start: str, end: str) -> list[int]:
        if not (start and end):
            self._fault(
                entry,
                f"the range {start}..{end} needs two ends, names or indices of layers, such as conv1..pool5",
            )
            return []
        ends = [self._index(entry, name) for name in (start, end)]
        if None in ends:
            return []
        first, last = (index for index in ends if index is not None)
        if first > last:
            self._fault(entry, f"the range {start}..{end} ends before it begins; swap its ends")
            return []
        return [layer.index for layer in self._layers if first <= layer.index <= last]

    def _index(self, entry: Entry, name: str) -> int | None:
        """The layer at the end of a range."""
        found = [layer.index for layer in self._layers if name == str(layer.index)]
        found = found or [layer.index for layer in self._layers if name == layer.name]
        if found:
            return found[0]
        is_index = name.lstrip("-").isdecimal()
        self._fault(entry, self._no_such_index(name) if is_index else self._no_such_layer(name))
        return None

    def _no_such_index(self, index: int | str) -> str:
        return f"there is no layer {index}; the layers of the net are 0 to {len(self._layers) - 1}"

    def _no_such_layer(self, name: str) -> str:
        names = [layer.name for layer in self._layers]
        advice = did_you_mean(name, names) or "; caffe-lrp inspect shows all"
        verb = "matches" if {*"*?["}.intersection(name) else "is called"
        return f"no layer of the net {verb} '{name}'{advice}"

    def _at_position(self, entry: Entry, layers: list[Layer]) -> list[Layer]:
        """Those of ``layers``, which are in the order of execution, that are at the entry's position."""
        if entry.position == LOWEST:
            layers = [layer for layer in layers if layer.index in self._lowest]
        elif entry.position == UP_TO_SWITCH:
            layers = [layer for layer in layers if layer.index <= self._switch_layer]
        elif entry.position:
            layers = {FIRST: layers[:1], LAST: layers[-1:]}[entry.position]
        return layers[: entry.first] if entry.first else layers

    def note_refusal(self, entry: Entry, layer: Layer, reason: str) -> None:
        """Note why a layer cannot have a rule although others of its kind can; nothing without a reason."""
        if reason:
            self._fault(entry, f"{layer.label} cannot have the rule '{entry.rule}': {reason}")

    def _fault(self, entry: Entry, text: str) -> None:
        self.faults.append(f"{entry.place}: {text}" if entry.place else text)

    def _remark_merged(self, entry: Entry, merged: Sequence[Layer]) -> None:
        where = (
            "was merged into a layer beside it" if len(merged) == 1 else "were merged into layers beside them"
        )
        self.remarks.append(
            f"{entry.place}: {_labels(merged)} {where}, whose rule counts; --canonize off keeps them apart"
        )

    def _note_unsuited(self, entry: Entry, layers: Sequence[Layer]) -> None:
        kinds = RULES[entry.rule].layers
        self._fault(
            entry,
            f"{_labels(layers)} cannot have the rule '{entry.rule}', which is for layers of the kind "
            f"{' or '.join(kinds)}; choose other layers, or a rule that they can have: "
            f"{', '.join(_rules_for(layers[0])) or 'there is none'}",
        )

    def _note_empty(self, entry: Entry, named: Mapping[int, bool], unsuited: Sequence[Layer]) -> None:
        """Say why no layer was chosen."""
        passed = {layer.index for layer in self._way}
        types = sorted({layer.type for layer in self._way})
        missing = [name for name in entry.types if name not in types]
        if unsuited and not entry.chosen:
            self._fault(
                entry,
                f"relevance passes no layer that can have the rule '{entry.rule}', which is for layers of "
                f"the kind {' or '.join(RULES[entry.rule].layers)}; remove the entry, or add optional: true "
                "to it",
            )
        elif unsuited:
            self._note_unsuited(entry, unsuited)
        elif named and passed.isdisjoint(named):
            others = [layer for layer in self._layers if layer.index in named]
            self._fault(entry, f"the backward pass does not reach {_labels(others)}; remove the entry")
        elif missing:
            self._fault(
                entry,
                f"relevance passes no layer of the type '{missing[0]}'"
                f"{did_you_mean(missing[0], types) or '; it passes ' + ', '.join(types)}",
            )
        else:
            self._fault(
                entry, f"no layer matches {_choice(entry)}; remove the entry, or add optional: true to it"
            )


def _rules_for(layer: Layer) -> Iterator[str]:
    return (name for name in RULES if maker_for(name, layer))


def _labels(layers: Sequence[Layer]) -> str:
    return enumerated([layer.label for layer in layers], _MOST_NAMED)


def _choice(entry: Entry) -> str:
    """The keys of an entry that choose layers; its rule if there are none."""
    return in_a_line(entry.chosen or {"rule": entry.rule})
