"""The config file: pairs of lines, a key and the value below it (spec/reference.md §2)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe_lrp.errors import ConfigError
from caffe_lrp.files import read_small_file
from caffe_lrp.quirks import QUIRK_MODES

#: ε and β beyond this overflow float32.
LARGEST_NUMBER = 1e30

_BLANK_DELIMITED = re.compile(r"[^ \t\v\f]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class HeatmapConfig:
    """Everything a config file says; attribute names are those of the package, not of the file."""

    prototxt: Path
    caffemodel: Path
    mean_file: Path
    mean_mode: int
    synset_file: Path
    start_layer: int
    first_layer: int
    class_count: int
    base_size: int
    output_root: str
    path_root: str
    formula: int
    epsilon: float
    beta: float
    switch_layer: int
    quirks: str = "reference"


@dataclass(frozen=True)
class Key:
    """One key of the config file.

    Attributes
    ----------
    name
        As it stands in the file.
    attribute
        Of `HeatmapConfig`.
    parse
        From the text of the value; a ValueError tells what is wrong with it.
    help
        One line for the documentation.
    required
        Whether a file without the key is refused.
    """

    name: str
    attribute: str
    parse: Callable[[str], Any]
    help: str
    required: bool = True


def _integer(text: str) -> int:
    if not re.fullmatch("[+-]?[0-9]+", text):
        raise ValueError("must be a whole number")
    return int(text)


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = _integer(text)
        if value < least:
            raise ValueError(f"must be at least {least}")
        return value

    return parse


def _one_of(*choices: Any) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        for choice in choices:
            if text == str(choice):
                return choice
        raise ValueError(f"must be one of {', '.join(map(str, choices))}")

    return parse


def _non_negative(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError("must be a number, such as 0.01")
    value = float(text)
    if not 0 <= value <= LARGEST_NUMBER:
        raise ValueError(f"must be at least 0 and at most {LARGEST_NUMBER:g}")
    return value


KEYS: tuple[Key, ...] = (
    Key("param_file", "prototxt", Path, "deploy prototxt"),
    Key("model_file", "caffemodel", Path, "caffemodel with the weights"),
    Key("mean_file", "mean_file", Path, "mean image"),
    Key(
        "use_mean_file_asbinaryprotoblob",
        "mean_mode",
        _one_of(0, 1, 2),
        "format of the mean: 0 text, 1 BlobProto in BGR, 2 BlobProto in RGB",
    ),
    Key("synsetfile", "synset_file", Path, "class labels, one a line"),
    Key(
        "lastlayerindex",
        "start_layer",
        _at_least(-2),
        "layer where relevance starts; -1: before the lowest Softmax, -2: the highest InnerProduct",
    ),
    Key("firstlayerindex", "first_layer", _at_least(0), "lowest layer to pass; 0: down to the image"),
    Key("numclasses", "class_count", _at_least(1), "number of outputs that are ranked"),
    Key("baseimgsize", "base_size", _at_least(1), "longer side of the image after resizing, in pixels"),
    Key("standalone_outpath", "output_root", str, "root of the output files"),
    Key("standalone_rootpath", "path_root", str, "output paths repeat the image path from this text on"),
    Key("relpropformulatype", "formula", _integer, "formula"),
    Key("epsstab", "epsilon", _non_negative, "ε of the ε rule"),
    Key("alphabeta_beta", "beta", _non_negative, "β of the αβ rule; α = 1 + β"),
    Key(
        "auxiliaryvariable_maxlayerindexforflatdistinconv",
        "switch_layer",
        _integer,
        "up to this layer, formulas 54 to 60, 102, 104 and 114 use their lower rule",
    ),
    Key("quirks", "quirks", _one_of(*QUIRK_MODES), "reference or corrected", required=False),
)

_PATH_ATTRIBUTES = tuple(key.attribute for key in KEYS if key.parse is Path)


def read_config(path: Path, overrides: Mapping[str, Any] | None = None) -> HeatmapConfig:
    """The config in a file; values in ``overrides`` (by attribute) replace those of the file.

    Relative paths are looked up in the current folder first, then beside the config file.

    Raises
    ------
    ConfigError
        The file cannot be read, or keys are missing or have bad values; all faults are named at once.
    """
    content = read_small_file(path, "config file", ConfigError, most_megabytes=1, may_be_pipe=True)
    if b"\0" in content:
        raise ConfigError(f"{path}: is not a text file; a config file is needed")
    lines = re.split("\r\n|\n|\r", content.decode("utf-8-sig", errors="surrogateescape"))
    values = dict(overrides or {})
    faults = []
    for key in KEYS:
        if key.attribute in values:
            continue
        try:
            _read_key(key, lines, values)
        except ValueError as error:
            faults.append(f"{path}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    for attribute in _PATH_ATTRIBUTES:
        values[attribute] = _locate(values[attribute], path.parent)
    return HeatmapConfig(**values)


def _read_key(key: Key, lines: list[str], values: dict[str, Any]) -> None:
    """Put the value of ``key`` into ``values``; ValueError says what is wrong."""
    number = next((i for i, line in enumerate(lines) if _is_key_line(line.strip(), key)), None)
    if number is None:
        if key.required:
            raise ValueError(
                f"the key '{key.name}' is missing ({key.help}); add it and its value on the next line"
            )
        return
    value_line = _BLANK_DELIMITED.findall(lines[number + 1]) if number + 1 < len(lines) else []
    if not value_line:
        raise ValueError(f"line {number + 2}: no value below the key '{key.name}' ({key.help})")
    try:
        values[key.attribute] = key.parse(value_line[0])
    except ValueError as error:
        raise ValueError(f"line {number + 2}: the value {value_line[0]!r} of '{key.name}' {error}") from None


def _is_key_line(line: str, key: Key) -> bool:
    """Whether a line names the key: it begins with it, as the reference has it.

    Optional keys are our own and must stand alone, so that no comment of an old file is taken for one.
    """
    return line.startswith(key.name) if key.required else line == key.name


def _locate(path: Path, config_folder: Path) -> Path:
    """``path`` as it is if it exists or is absolute, else beside the config file if it exists there."""
    beside = config_folder / path
    return beside if not path.exists() and beside.exists() else path
