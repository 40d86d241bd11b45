"""Composites in YAML: a file of their own, or a block of a config."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from caffe_lrp.errors import ConfigError
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.relevance.composite import Composite, in_a_line
from caffe_lrp.relevance.composite_values import composite_of

from .keys import locate
from .yaml_nodes import line_of, pairs, root_of

#: What a composite in a block is called, unless it says so itself.
_NAME_OF_BLOCK = "composite"
_EXAMPLE = "a composite has lines such as 'base: epsilon-plus' and a list 'rules'"


def read_composite(path: str | os.PathLike[str]) -> Composite:
    """The composite in a file; its name is that of the file without the ending, unless it has one of its own.

    Raises
    ------
    ConfigError
        The file cannot be read, or is none; all faults are reported at once.
    """
    path = Path(path)
    content = read_small_file(path, "composite", ConfigError, most_megabytes=1, may_be_pipe=True)
    root = root_of(content, path, "composite", _EXAMPLE)
    return _composite(root, path.stem, str(path))


def composite_in_config(node: yaml.Node, config: Path) -> Composite:
    """The composite that the value of a key in ``config`` is, a block, or the path of a file.

    A relative path is looked up as those of other files: in the current folder, then beside the config.

    Raises
    ------
    ConfigError
        As `read_composite`.
    """
    if isinstance(node, yaml.ScalarNode) and node.value:
        return read_composite(locate(Path(node.value), config.parent))
    return _composite(node, _NAME_OF_BLOCK, str(config))


def _composite(node: yaml.Node, name: str, source: str) -> Composite:
    faults: list[str] = []
    values = _plain(node, faults)
    if faults:
        raise ConfigError("\n".join(f"{source}: {fault}" for fault in faults))
    return composite_of(values, name, source, _lines_of(node))


def _plain(node: yaml.Node, faults: list[str]) -> Any:
    """Texts, in lists and mappings; what is wrong with keys goes to ``faults``."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(part, faults) for part in node.value]
    if not isinstance(node, yaml.MappingNode):
        return str(node.value)
    found: dict[str, Any] = {}
    for name, value in pairs(node, faults):
        if name.value in found:
            faults.append(f"line {line_of(name)}: '{name.value}' is given twice; keep one")
        found[name.value] = _plain(value, faults)
    return found


def _lines_of(root: yaml.Node) -> Callable[[object], int]:
    """The line of a key, or of an entry by its number."""
    lines: dict[object, int] = {}
    for name, value in pairs(root, []) if isinstance(root, yaml.MappingNode) else ():
        lines[name.value] = line_of(name)
        if name.value == "rules" and isinstance(value, yaml.SequenceNode):
            lines |= {number: line_of(entry) for number, entry in enumerate(value.value)}
    return lambda where: lines.get(where, line_of(root))


def composite_as_yaml(composite: Composite, comments: tuple[str, ...] = ()) -> str:
    """A file of a composite, which `read_composite` reads back; the file's name becomes its name."""
    values = composite.as_json()
    del values["name"]
    return _text_of(values, comments)


def composite_as_block(composite: Composite) -> str:
    """The block of a composite in a config, which `composite_in_config` reads back."""
    values = composite.as_json()
    if composite.name == _NAME_OF_BLOCK:
        del values["name"]
    return _text_of(values)


def _text_of(values: dict[str, Any], comments: tuple[str, ...] = ()) -> str:
    rules = values.pop("rules")
    lines = [f"# {comment}".rstrip() for comment in comments]
    lines += [f"{key}: {in_a_line(value)}" for key, value in values.items()]
    if rules:
        lines += ["rules:", *(f"  - {in_a_line(rule)}" for rule in rules)]
    return "\n".join(lines) + "\n"
