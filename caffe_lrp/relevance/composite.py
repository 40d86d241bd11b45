"""Composites as data: ordered entries that say which layers get which rule. The last one that matches wins.

Nothing here knows a net, or computes: `assignment` gives the layers of a net their rules. Importing this
module loads no NumPy.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Where a layer can be, among those that an entry chooses by its other keys.
FIRST, LAST, LOWEST, UP_TO_SWITCH = "first", "last", "lowest", "up-to-switch-layer"
POSITIONS: dict[str, str] = {
    FIRST: "the first in the order of execution",
    LAST: "the last in the order of execution",
    LOWEST: "those that the image reaches through no other linear layer",
    UP_TO_SWITCH: "those up to the switch layer, itself included",
}
#: Kinds of layers: name -> which they are.
KINDS: dict[str, str] = {
    "linear": "convolutions, deconvolutions and fully connected layers",
    "convolution": "convolutions and deconvolutions",
    "fully-connected": "fully connected layers",
    "relu": "ReLU",
    "activation": "activation functions, ReLU among them",
    "max-pooling": "max pooling, and other layers that output one of their inputs",
    "average-pooling": "average pooling",
    "combination": "layers that combine several inputs: sums, products, scales",
    "aggregation": "reductions, and pooling that neither averages nor takes the maximum",
    "normalization": "normalizations that are not merged, other than LRN across channels",
    "lrn": "LRN across channels",
    "softmax": "Softmax",
    "routing": "layers that copy, move or join: Split, Concat, Slice, Flatten, …",
}

#: Text that YAML reads as it stands.
_PLAIN = re.compile(r"[\w./+-]+")


@dataclass(frozen=True)
class Entry:
    """One entry of a composite: layers, and the rule that they get.

    A layer has to fit all keys that are given. Without `types`, `kinds` and `layers` the entry is for all
    layers that can have its rule.

    Attributes
    ----------
    rule
        A name in `RULES`.
    parameters
        Those that were given, in the order of the table.
    types
        Types of layers, as prototxts have them.
    kinds
        Names in `KINDS`.
    layers
        Names, patterns with ``*`` and ``?``, indices, and ranges ``a..b``, whose ends belong to them.
    position
        A name in `POSITIONS`; empty if it was not given.
    first
        How many layers, the first in the order of execution; 0: all.
    is_optional
        Whether it may fit no layer of a net.
    place
        Where it was written, for messages.
    """

    rule: str
    parameters: tuple[tuple[str, Any], ...] = ()
    types: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    layers: tuple[str | int, ...] = ()
    position: str = ""
    first: int = 0
    is_optional: bool = False
    place: str = field(default="", compare=False)

    def parameter(self, name: str, default: Any = None) -> Any:
        """The value of a parameter, or ``default`` if it was not given."""
        return dict(self.parameters).get(name, default)

    @property
    def chosen(self) -> dict[str, Any]:
        """The keys that choose layers, as a file has them."""
        keys = {
            "type": self.types,
            "kind": self.kinds,
            "layers": self.layers,
            "position": self.position,
            "first": self.first,
        }
        return {key: _single(value) for key, value in keys.items() if value}

    def as_json(self) -> dict[str, Any]:
        """The entry as a file has it."""
        parameters = {name: _plain(value) for name, value in self.parameters}
        return {
            **self.chosen,
            "rule": self.rule,
            **parameters,
            **({"optional": True} if self.is_optional else {}),
        }


@dataclass(frozen=True)
class Composite:
    """Which rule each layer gets: those of a base formula, and entries, of which the last that matches wins.

    Attributes
    ----------
    name
        What files and messages call it.
    entries
        In order.
    base
        Number or name of a formula that comes before the entries; None: rules of linear layers are in the
        entries alone. Other layers have rules without any entry (manual: layers).
    settings
        ``epsilon``, ``beta``, ``gamma``, ``switch_layer`` and ``quirks`` in place of the run's, where given.
    channel_norm
        Whether the map is replaced by its L2 norm over the channels.
    source
        The file, for messages; empty if there is none.
    """

    name: str
    entries: tuple[Entry, ...] = ()
    base: int | str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    channel_norm: bool = False
    source: str = field(default="", compare=False)

    @classmethod
    def of(
        cls,
        rules: Iterable[Mapping[str, Any]] = (),
        *,
        base: int | str | None = None,
        name: str = "composite",
        **settings: Any,
    ) -> "Composite":
        """The composite that these values describe, as a file has them (manual: composites).

        >>> str(Composite.of([{"type": "Convolution", "rule": "gamma", "gamma": 0.5}], base=0, name="mine"))
        'mine'

        Parameters
        ----------
        rules
            Entries, of which the last that matches a layer wins: mappings with keys that choose layers, a
            rule, and its parameters.
        base
            Number or name of the formula whose rules come first.
        name
            What messages, journals and file names call it.
        settings
            The other keys of a file: ``epsilon``, ``beta``, ``gamma``, ``switch_layer``, ``quirks`` and
            ``channel_norm``.

        Raises
        ------
        ConfigError
            They do not describe one; all faults are reported at once.
        """
        from .composite_values import composite_of  # noqa: PLC0415 - which imports this module

        is_list = isinstance(rules, Iterable) and not isinstance(rules, (str, Mapping))
        values = {"name": name, "rules": list(rules) if is_list else rules, **settings}
        return composite_of(values if base is None else {**values, "base": base}, name)

    def as_json(self) -> dict[str, Any]:
        """The composite as a file has it."""
        found: dict[str, Any] = {"name": self.name}
        if self.base is not None:
            found["base"] = self.base
        found |= dict(self.settings)
        if self.channel_norm:
            found["channel_norm"] = True
        return found | {"rules": [entry.as_json() for entry in self.entries]}

    def __str__(self) -> str:
        """Its name, which stands for it as a formula's does."""
        return self.name

    @property
    def label(self) -> str:
        """The composite in messages: its file, or its name."""
        return self.source or f"composite '{self.name}'"


#: What names a formula: a number of the reference's, or letters, digits and hyphens; or a composite itself.
FormulaCode: TypeAlias = int | str | Composite


def name_of(code: FormulaCode) -> int | str:
    """The number or the name of a formula; the name of a composite."""
    return code.name if isinstance(code, Composite) else code


def in_a_line(value: Any) -> str:
    """A value as YAML has it in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_a_line(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(in_a_line, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _single(value: Any) -> Any:
    """The only element of a tuple, or else a list of all; other values as they are."""
    if not isinstance(value, tuple):
        return value
    return value[0] if len(value) == 1 else list(value)


def _plain(value: Any) -> Any:
    """The value of a parameter as a file has it."""
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
    return {value[0]: value[1]} if is_pair else _single(value)
