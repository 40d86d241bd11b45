"""The YAML format: lines ``key: value``, a ``preprocess`` block for the net's input, and one for pictures.

Values are parsed from their text, as in text files; their types in YAML (``no``, ``1e-2``, ``012``) do not
matter. No objects are constructed, and everything that could make a small file large is refused.
"""

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from caffe_lrp.errors import ConfigError, UsageError
from caffe_lrp.messages import MOST_LISTED, did_you_mean
from caffe_lrp.relevance.composite import Composite
from caffe_lrp.rendering.style import DEFAULT_STYLE, PICTURE_OPTIONS

from .composite_file import composite_as_block, composite_in_config
from .keys import KEYS, Key, LocatedValue
from .yaml_nodes import line_of, pairs, root_of

#: The block with the keys for the input.
_BLOCK = "preprocess"
_EXAMPLE = (
    "a config in YAML consists of lines 'key: value', such as 'prototxt: deploy.prototxt'. One with the "
    "value below its key must not end with .yaml"
)
#: The block with the options for pictures; also the attribute of `HeatmapConfig`.
_PICTURE = "picture"
#: The block, or the path, of a composite in place of a formula.
_COMPOSITE, _FORMULA = "composite", "formula"
_PICTURE_OPTIONS = {option.name: option for option in PICTURE_OPTIONS}
SUFFIXES = (".yaml", ".yml")

#: Width of the reasons in a new file, without the indent.
_COMMENT_WIDTH = 96
_ORDINARY_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp", "null", "seq", "map")
)
_NULL = "tag:yaml.org,2002:null"
#: All names of every key.
_KEYS_BY_NAME = {name: key for key in KEYS for name in (key.name, key.attribute, key.yaml_name) if name}


class _Found(NamedTuple):
    """A key in a file: its name there, its line (from 1), and its value."""

    name: str
    line: int
    value: yaml.Node


def is_yaml(path: Path) -> bool:
    """Whether a config file with this name is YAML."""
    return path.suffix.lower() in SUFFIXES


def require_yaml_name(path: Path) -> None:
    """Raise UsageError unless a file with this name would be read as YAML."""
    if not is_yaml(path):
        raise UsageError(
            f"{path}: a YAML config is recognised by its name; give it a name that ends with {SUFFIXES[0]}"
        )


def read_yaml(content: bytes, path: Path, given: Collection[str]) -> dict[str, LocatedValue]:
    """The values in a YAML file, see `reader.read_entries`."""
    faults: list[str] = []
    root = root_of(content, path, "config file", _EXAMPLE)
    composite = _composite(root, path, given, faults)
    known = {*given, *composite}
    entries = _keys(_items(root, faults), known, faults) | _picture(root, faults) | composite
    if faults:
        more = [f"{path}: … and {len(faults) - MOST_LISTED} more"] if len(faults) > MOST_LISTED else []
        raise ConfigError("\n".join([*(f"{path}: {fault}" for fault in faults[:MOST_LISTED]), *more]))
    return entries


def _keys(items: Iterable[_Found], given: Collection[str], faults: list[str]) -> dict[str, LocatedValue]:
    """The values of keys by attribute; errors are added to ``faults``."""
    found: dict[str, _Found] = {}
    for item in items:
        key = _KEYS_BY_NAME[item.name]
        before = found.setdefault(key.attribute, item)
        if before is not item:
            also = f", as '{before.name}'" if before.name != item.name else ""
            faults.append(
                f"line {item.line}: '{item.name}' is given twice, first in line {before.line}{also}; keep one"
            )
    entries: dict[str, LocatedValue] = {}
    for key in KEYS:
        if key.attribute in given:
            continue
        try:
            if key.attribute in found:
                value = found[key.attribute].value
                entries[key.attribute] = LocatedValue(key.parse(_text_of(value, key)), line_of(value))
            elif key.needs_value:
                faults.append(f"the key '{key.attribute}' is missing ({key.help}); add it")
        except ValueError as error:
            item = found[key.attribute]
            faults.append(f"line {line_of(item.value)}: the value of '{item.name}' {error}")
    return entries


def _items(root: yaml.MappingNode, faults: list[str]) -> Iterator[_Found]:
    """All known keys of the file, including those in the block; errors are added to ``faults``."""
    for name, value in pairs(root, faults):
        if name.value in (_PICTURE, _COMPOSITE):
            continue
        if name.value != _BLOCK:
            yield from _known(name, value, faults, in_block=False)
        else:
            for inner, inner_value in _block(name, value, faults):
                yield from _known(inner, inner_value, faults, in_block=True)


def _block(
    name: yaml.ScalarNode, value: yaml.Node, faults: list[str]
) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """Names and values in a block; empty if it is not a block."""
    if isinstance(value, yaml.MappingNode):
        yield from pairs(value, faults)
    else:
        faults.append(
            f"line {line_of(name)}: '{name.value}' is a block; write its keys on the lines below, indented"
        )


def _composite(
    root: yaml.MappingNode, path: Path, given: Collection[str], faults: list[str]
) -> dict[str, LocatedValue]:
    """The composite, instead of a formula, if there is one; errors are added to ``faults``."""
    nodes = {name.value: (line_of(name), value) for name, value in pairs(root, [])}
    formulas = [line for name, (line, _) in nodes.items() if _attribute(name) == _FORMULA]
    if _COMPOSITE not in nodes or _FORMULA in given:
        return {}
    line, value = nodes[_COMPOSITE]
    if formulas:
        faults.append(
            f"line {line}: a composite is given together with a formula (line {formulas[0]}); keep one of "
            "them. To explain by both, give the formula with --formula and the composite with --composite"
        )
        return {}
    return {_FORMULA: LocatedValue(composite_in_config(value, path), line)}


def _attribute(name: str) -> str:
    """The attribute that a key stands for; empty if there is no such key."""
    return _KEYS_BY_NAME[name].attribute if name in _KEYS_BY_NAME else ""


def _picture(root: yaml.MappingNode, faults: list[str]) -> dict[str, LocatedValue]:
    """The options for pictures, if there are any; errors are added to ``faults``."""
    blocks = [pair for pair in pairs(root, []) if pair[0].value == _PICTURE]
    values: dict[str, Any] = {}
    for block in blocks:
        for name, value in _block(*block, faults):
            _add_word(values, name, value, faults)
    return {_PICTURE: LocatedValue(values, line_of(blocks[-1][0]))} if values else {}


def _add_word(values: dict[str, Any], name: yaml.ScalarNode, value: yaml.Node, faults: list[str]) -> None:
    """Add an option for pictures to ``values``, or its error to ``faults``."""
    place = f"line {line_of(name)}: '{name.value}'"
    option = _PICTURE_OPTIONS.get(name.value)
    if option is None:
        faults.append(f"{place} is not an option for pictures{did_you_mean(name.value, _PICTURE_OPTIONS)}")
    elif name.value in values:
        faults.append(f"{place} is given twice; keep one")
    else:
        try:
            values[name.value] = option.parse(_scalar(value, option.help))
        except ValueError as error:
            faults.append(f"line {line_of(value)}: the value of '{name.value}' {error}")


def _known(name: yaml.ScalarNode, value: yaml.Node, faults: list[str], *, in_block: bool) -> Iterator[_Found]:
    """The key with this name; None if there is no such key at this place."""
    key = _KEYS_BY_NAME.get(name.value)
    if key is None:
        names = [*_KEYS_BY_NAME, _BLOCK, _PICTURE, _COMPOSITE]
        faults.append(
            f"line {line_of(name)}: there is no key '{name.value}'{did_you_mean(name.value, names)}"
        )
    elif in_block and not key.is_preprocessing:
        faults.append(
            f"line {line_of(name)}: '{name.value}' does not belong in the block '{_BLOCK}'; move it out"
        )
    else:
        yield _Found(name.value, line_of(name), value)


def _text_of(node: yaml.Node, key: Key) -> str:
    """The text of a value; ValueError if it is not a single value."""
    if node.tag not in _ORDINARY_TAGS:
        raise ValueError(f"has the tag {node.tag}, which means nothing here; remove it")
    if isinstance(node, yaml.SequenceNode) and key.is_list and node.value:
        return ",".join(_scalar(part, key.help) for part in node.value)
    return _scalar(node, key.help, needed=key.needs_value)


def _scalar(node: yaml.Node, purpose: str, *, needed: bool = False) -> str:
    is_single = isinstance(node, yaml.ScalarNode)
    if not is_single:
        raise ValueError(f"must be a single value ({purpose})")
    if node.tag == _NULL or not node.value:
        way_out = "" if needed else ", or leave the key out"
        raise ValueError(f"is empty ({purpose}); write one{way_out}")
    return str(node.value)


def as_yaml(entries: Mapping[str, Any], reasons: Mapping[str, str] | None = None) -> str:
    """A YAML file with all keys.

    Parameters
    ----------
    entries
        Values by attribute. With None the key has no value, which is refused when the file is read. All other
        keys become comments with their defaults.
    reasons
        Reasons for values, by attribute, for the comments; None: comments name the toolbox's keys.
    """
    lines = ["# Config of caffe-lrp; a line that begins with # is a comment.", ""]
    for key in KEYS:
        if not key.is_preprocessing:
            lines += [*_lines_of(key, entries, reasons), ""]
    lines += ["# From an image to the input of the net.", f"{_BLOCK}:"]
    for key in KEYS:
        if key.is_preprocessing:
            lines += [f"  {line}" for line in _lines_of(key, entries, reasons)]
    lines += ["", *_lines_of_pictures(entries.get(_PICTURE, {}))]
    return "\n".join(lines) + "\n"


def _lines_of(key: Key, entries: Mapping[str, Any], reasons: Mapping[str, str] | None) -> Iterator[str]:
    """Return lines with a key's purpose and its value; without a value, its default as a comment."""
    old_name = f" ({key.name})" if reasons is None and key.name != key.attribute else ""
    yield f"# {key.help}{old_name}"
    for line in textwrap.wrap(_sentence((reasons or {}).get(key.attribute, "")), _COMMENT_WIDTH):
        yield f"# {line}"
    given = key.attribute in entries
    value = entries[key.attribute] if given else key.default
    if isinstance(value, Composite):
        yield f"{_COMPOSITE}:"
        yield from (f"  {line}" for line in composite_as_block(value).splitlines())
        return
    scalar = "" if value in (None, "") else _as_scalar(value)
    yield f"{'' if given else '# '}{key.name_in_yaml}: {scalar}".rstrip()


def _sentence(text: str) -> str:
    """A reason as a comment: in one line, without characters that YAML does not allow."""
    line = "".join(character if character.isprintable() else "?" for character in text)
    return f"{line[0].upper()}{line[1:]}." if line else ""


def _lines_of_pictures(given: Mapping[str, Any]) -> Iterator[str]:
    """The block for pictures; a comment if it has no value, as an empty block is not a block."""
    yield "# How pictures look (--outputs render)."
    yield f"{_PICTURE}:" if given else f"# {_PICTURE}:"
    defaults = DEFAULT_STYLE.as_json()
    for option in PICTURE_OPTIONS:
        yield f"  # {option.help}"
        if option.name in given:
            yield f"  {option.name}: {_as_scalar(given[option.name])}"
        else:
            default = defaults[option.name]
            yield f"  # {option.name}: {'' if default is None else _as_scalar(default)}".rstrip()


def _as_scalar(value: Any) -> str:
    """The text that is read back as this value; text that looks like something else is quoted."""
    if isinstance(value, tuple):
        return _as_list(value)
    if not isinstance(value, (str, Path)):
        return str(value)
    style = None if str(value).isprintable() else '"'
    scalar = yaml.safe_dump(str(value), default_style=style, allow_unicode=True, width=2**30)
    return scalar.removesuffix("\n").removesuffix("\n...")


def _as_list(values: tuple[Any, ...]) -> str:
    """A list of numbers, or a height and a width."""
    if all(isinstance(value, int) for value in values):
        return "x".join(map(str, values))
    return f"[{', '.join(map(str, values))}]"
