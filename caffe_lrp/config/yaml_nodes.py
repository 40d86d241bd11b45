"""YAML nodes, with their lines, from files that may be hostile.

No objects are constructed, and anything that could make a small file large is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml

from caffe_lrp.errors import ConfigError
from caffe_lrp.files.recognition import why_no_text

#: Maximum size of a file in bytes; configs have about two thousand, and reading takes a second per 200,000.
_MOST_BYTES = 100_000
#: Nodes inside nodes: a number in a list of a parameter, of an entry, in a list, in a block, in a file.
_DEEPEST = 6


class _Composer(yaml.SafeLoader):
    """A loader that refuses features that configs do not need and malicious files use."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """One node; aliases, which can expand to gigabytes, and deep nesting are faults."""
        event: Any = cast(Any, self).peek_event()  # its stub has no types
        self.depth += 1
        fault = ""
        if isinstance(event, yaml.AliasEvent):
            fault = f"the alias *{event.anchor} is not allowed; write out its value"
        elif self.depth > _DEEPEST:
            fault = "nested too deeply; write blocks and lists as the manual has them"
        if fault:
            raise yaml.MarkedYAMLError(problem=fault, problem_mark=event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def root_of(content: bytes, path: Path, kind: str, example: str) -> yaml.MappingNode:
    """The keys and values of a file.

    Parameters
    ----------
    content, path
        The bytes of the file, and where it is.
    kind, example
        What the file should be, and what such files consist of, for messages.

    Raises
    ------
    ConfigError
        It is no YAML, or has no keys.
    """
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {_MOST_BYTES // 1000} KB; is it really a {kind}?")
    try:
        root = yaml.compose(content.decode("utf-8-sig"), Loader=_Composer)
    except UnicodeDecodeError as error:
        reason = why_no_text(content, kind) or "is not in UTF-8; save it as UTF-8"
        raise ConfigError(f"{path}: {reason}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {why_no_text(content, kind) or _why_invalid(error)}") from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: has no keys; {example}")
    return root


def _why_invalid(error: yaml.YAMLError) -> str:
    """Line and reason of a syntax error."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        context = f" {error.context}" if error.context else ""
        return f"line {error.problem_mark.line + 1}: is not valid YAML{context}: {error.problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"has a character that YAML does not allow (code {error.character}); remove it"
    return f"is not valid YAML: {error}"


def pairs(node: yaml.MappingNode, faults: list[str]) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """Names and values of one block; names that are no words go to ``faults``."""
    for name, value in node.value:
        if isinstance(name, yaml.ScalarNode):
            yield name, value
        else:
            faults.append(f"line {line_of(name)}: a key must be a word")


def line_of(node: yaml.Node) -> int:
    """The line that a node begins in, from 1."""
    return int(node.start_mark.line) + 1
