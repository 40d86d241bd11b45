"""Positions in the text of a prototxt: protobuf's own parser drops line numbers, and the order of styles.

The text has already been parsed by protobuf, so braces and quotes match.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .caffe_pb2 import NetParameter

#: Comments and strings are skipped; a name is a field if a value or a block follows it.
_TOKEN = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'"""
    r"""| (?P<field>[A-Za-z_]\w*|\[[A-Za-z_][\w./-]*\])(?=\s*(?:\#[^\n]*\n\s*)*[:{<\[])"""
    r"""| [A-Za-z_]\w* | (?P<brace>[{}<>])""",
    re.VERBOSE,
)
#: A value that is neither a block nor a list.
_SCALAR = re.compile(r"\s*(?:\#[^\n]*\n\s*)*:\s*(?:\#[^\n]*\n\s*)*([^\s{<\[\"'#,;}>]+)")


@dataclass(frozen=True)
class FieldUse:
    """One place where a field has a value.

    Attributes
    ----------
    name
        The field.
    start, stop
        Position of its name in the text.
    block
        Name of the block around it, empty for the net.
    known
        The fields that such a block has; None in a block that is unknown itself.
    entry
        Number of the net's block that it is in, −1 outside.
    """

    name: str
    start: int
    stop: int
    block: str
    known: Mapping[str, Any] | None
    entry: int

    @property
    def is_known(self) -> bool:
        """Whether the block has such a field; always true in an unknown block."""
        return self.known is None or self.name in self.known

    def line(self, text: str) -> int:
        """The line number of the field."""
        return text.count("\n", 0, self.start) + 1

    def plain_value(self, text: str) -> str:
        """The number, boolean or enum value after the field name; empty for anything else."""
        found = _SCALAR.match(text, self.stop)
        return "" if found is None else found[1]


def fields_of(text: str) -> Iterator[FieldUse]:
    """All uses of fields, in order."""
    outer: list[tuple[str, Any]] = []
    block: tuple[str, Any] = ("", NetParameter.DESCRIPTOR)
    next_block: tuple[str, Any] = ("", None)
    entry = -1
    for token in _TOKEN.finditer(text):
        if token["brace"] in ("{", "<"):
            entry += not outer
            outer.append(block)
            block = next_block
        elif token["brace"]:
            next_block, block = block, outer.pop()  # the next list element is a block of the same kind
        elif token["field"]:
            name, known = token["field"], None if block[1] is None else block[1].fields_by_name
            next_block = (name, known[name].message_type if known and name in known else None)
            yield FieldUse(name, *token.span(), block[0], known, entry if outer else -1)


def blocks_of(text: str) -> Iterator[str]:
    """Names of the net's blocks, in order: ``layer`` for every layer of the current style."""
    depth, name = 0, ""
    for token in _TOKEN.finditer(text):
        if token["brace"] in ("{", "<"):
            if depth == 0:
                yield name
            depth += 1
        elif token["brace"]:
            depth -= 1
        elif token["field"] and depth == 0:
            name = token["field"]
