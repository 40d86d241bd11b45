"""One node of an ONNX graph: its operator, inputs, outputs and attributes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from caffe_lrp.errors import ModelError

from .tensors import Constant, ExternalFiles, stored_constant

#: Sizes, strides and the like beyond this are mistakes.
LARGEST_SIZE = 2**31
#: Characters of a name in messages.
_LONGEST = 120
#: Types of an AttributeProto.
_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS, _GRAPHS = 1, 2, 3, 4, 5, 6, 7, 8, 10
_READERS: Mapping[int, Any] = {
    _FLOAT: lambda message: float(message.f),
    _INT: lambda message: int(message.i),
    _STRING: lambda message: message.s.decode("utf-8", "replace"),
    _FLOATS: lambda message: tuple(map(float, message.floats)),
    _INTS: lambda message: tuple(map(int, message.ints)),
    _STRINGS: lambda message: tuple(text.decode("utf-8", "replace") for text in message.strings),
}


def said(name: str | bytes) -> str:
    """A name in a file as messages have it: in one line, and not too long; bytes if it is not UTF-8."""
    plain = " ".join(str(name).split())
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST // 2]}…{plain[-_LONGEST // 2 :]}"


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put ``what`` in front of the messages of errors raised within the block."""
    try:
        yield
    except ModelError as fault:
        raise ModelError(f"{what}: {fault.message}") from fault


@dataclass(frozen=True, eq=False)
class Node:
    """A node; absent optional inputs and outputs have empty names.

    Attributes
    ----------
    name
        Its own name, or that of its first output.
    operator, domain
        What it does.
    attributes
        Numbers, texts, tuples of these, and constants.
    merged
        Operators of the nodes that it replaces; empty for a node of the file.
    """

    name: str
    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    merged: tuple[str, ...] = ()

    @classmethod
    def of(cls, message: Any, number: int, files: ExternalFiles) -> "Node":
        """A node of a file; ``number`` names it if it has no name.

        Raises
        ------
        ModelError
            It has a subgraph, or an attribute of an unknown type.
        """
        outputs = tuple(map(str, message.output))
        name = str(message.name) or next(filter(None, outputs), "") or f"number {number}"
        bare = cls(
            name, str(message.op_type), str(message.domain), tuple(map(str, message.input)), outputs, {}
        )
        attributes = {str(entry.name): bare._attribute(entry, files) for entry in message.attribute}
        return cls(name, bare.operator, bare.domain, bare.inputs, outputs, attributes)

    def _attribute(self, message: Any, files: ExternalFiles) -> Any:
        kind = int(message.type)
        if kind in (_GRAPH, _GRAPHS):
            raise self.error(
                "has a subgraph: what it does depends on data",
                "export the net without control flow (If, Loop, Scan)",
            )
        if kind == _TENSOR:
            with naming(f"{self.label}: its attribute '{said(message.name)}'"):
                return stored_constant(message.t, files)
        if kind not in _READERS:
            raise self.error(
                f"attribute '{said(message.name)}' has a type that is not supported", "export the net again"
            )
        return _READERS[kind](message)

    @property
    def source(self) -> str:
        """What the report calls it."""
        return f"{said(self.name)} ({', '.join(self.merged) or said(self.operator)})"

    @property
    def label(self) -> str:
        """What messages call it."""
        domain = f"{said(self.domain)}." if self.domain else ""
        return f"node '{said(self.name)}' ({domain}{said(self.operator)})"

    def error(self, what: str, advice: str) -> ModelError:
        """An error that names the node."""
        return ModelError(f"{self.label}: {what}; {advice}")

    def has_input(self, place: int) -> bool:
        """Whether an optional input is given."""
        return place < len(self.inputs) and bool(self.inputs[place])

    def number(self, name: str, default: float) -> float:
        """An attribute that is one finite number."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error(f"attribute '{name}' should be a number", "export the net again")
        return float(value)

    def integer(self, name: str, default: int) -> int:
        """An attribute that is one integer."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int) or abs(value) > LARGEST_SIZE:
            raise self.error(
                f"attribute '{name}' should be an integer of reasonable size", "export the net again"
            )
        return value

    def integers(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """An attribute that is a list of integers."""
        value = self.attributes.get(name, tuple(default))
        if not isinstance(value, tuple) or not all(
            isinstance(n, int) and abs(n) <= LARGEST_SIZE for n in value
        ):
            raise self.error(
                f"attribute '{name}' should be integers of reasonable size", "export the net again"
            )
        return value

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise self.error(f"attribute '{name}' should be a text", "export the net again")
        return value

    def tensor(self, name: str) -> Constant | None:
        """An attribute that is a tensor; None if there is none."""
        value = self.attributes.get(name)
        return value if isinstance(value, Constant) else None
