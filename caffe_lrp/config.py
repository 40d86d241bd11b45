"""The config file: pairs of lines, a key and the value below it (spec/reference.md §2)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffe_lrp.errors import ConfigError
from caffe_lrp.files import read_small_file
from caffe_lrp.messages import closest, did_you_mean
from caffe_lrp.quirks import QUIRK_MODES

#: ε and β beyond this overflow float32.
LARGEST_NUMBER = 1e30

#: From here on a word is taken for a misspelt key.
_LEAST_SIMILARITY = 0.8

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
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    def place_of(self, attribute: str) -> str:
        """Where the value of an attribute comes from: file and line, command line, or default."""
        return self.places.get(attribute, "config")


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
        names = [str(choice) for choice in choices]
        raise ValueError(f"must be one of {', '.join(names)}{did_you_mean(text, names)}")

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
    lines = re.split("\r\n|\n|\r", content.decode("utf-8-sig", errors="surrogateescape"))
    if not any(_is_key_line(line.strip(), key) for line in lines for key in KEYS):
        raise ConfigError(
            f"{path}: has none of the keys of a config file, such as 'param_file'; the config file comes "
            "behind -c, the list of images behind -f"
        )
    values = dict(overrides or {})
    places = dict.fromkeys(values, "command line")
    faults = []
    for key in KEYS:
        if key.attribute in values:
            continue
        try:
            number = _read_key(key, lines, values, path.parent)
        except ValueError as error:
            faults.append(f"{path}: {error}")
        else:
            places[key.attribute] = f"{path}: line {number}" if number else "default"
    if faults:
        raise ConfigError("\n".join(faults))
    for attribute in _PATH_ATTRIBUTES:
        values[attribute] = _locate(values[attribute], path.parent)
    return HeatmapConfig(**values, places=places)


def _read_key(key: Key, lines: list[str], values: dict[str, Any], config_folder: Path) -> int | None:
    """Put the value of ``key`` into ``values`` and return its line, None if an optional key is not there.

    ValueError says what is wrong.
    """
    number = next((i for i, line in enumerate(lines) if _is_key_line(line.strip(), key)), None)
    if number is None:
        if key.required:
            raise ValueError(
                f"the key '{key.name}' is missing ({key.help}); {_advice_on_missing(key, lines)}"
            )
        _refuse_slip(key, lines)
        return None
    value_line = _BLANK_DELIMITED.findall(lines[number + 1]) if number + 1 < len(lines) else []
    if not value_line or _names_a_key(value_line[0]):
        raise ValueError(
            f"line {number + 2}: no value below the key '{key.name}' ({key.help}); write it on a line of its "
            "own"
        )
    try:
        values[key.attribute] = key.parse(value_line[0])
        if key.parse is Path:
            _refuse_blank(value_line[0], lines[number + 1].strip(), config_folder)
    except ValueError as error:
        raise ValueError(f"line {number + 2}: the value {value_line[0]!r} of '{key.name}' {error}") from None
    return number + 2


def _refuse_blank(first_word: str, whole: str, config_folder: Path) -> None:
    """ValueError if the first word of a path is no file, but all of its line is one."""
    if not _exists(_locate(Path(first_word), config_folder)) and _exists(_locate(Path(whole), config_folder)):
        raise ValueError("ends at its first blank; rename the file so that its path has none")


def _advice_on_missing(key: Key, lines: list[str]) -> str:
    """What to do about a missing key: mend a line that nearly names it, or add one."""
    number = _line_like(key, lines)
    if number is None:
        return "add it and its value on the next line"
    return f"write it so in line {number + 1}, where now stands '{lines[number].strip()}'"


def _line_like(key: Key, lines: list[str]) -> int | None:
    """Index of the first line whose first word is nearly the name of ``key``."""
    for number, line in enumerate(lines):
        word = re.split(r"[\s:=]", line.strip(), maxsplit=1)[0]
        if closest(word, [key.name], _LEAST_SIMILARITY) and not _names_a_key(word):
            return number
    return None


def _names_a_key(word: str) -> bool:
    """Whether a word is a key, perhaps with a sign of another style of config behind it."""
    return any(re.split("[:=]", word)[0] == key.name for key in KEYS)


def _refuse_slip(key: Key, lines: list[str]) -> None:
    """ValueError if an optional key is there, but written so that it would be taken for a comment."""
    for number, line in enumerate(lines):
        word, *rest = re.split(r"[\s:=]+", line.strip())
        below = lines[number + 1 : number + 2]
        if closest(word, [key.name], _LEAST_SIMILARITY) and _is_value(key, [*rest, *below]):
            raise ValueError(
                f"line {number + 1}: '{line.strip()}' is taken for a comment; write the key '{key.name}' on "
                "a line of its own and its value on the next"
            )


def _is_value(key: Key, texts: list[str]) -> bool:
    """Whether the first of ``texts`` that is not blank is a value of ``key``."""
    words = " ".join(texts).split()
    try:
        key.parse(words[0] if words else "")
    except ValueError:
        return False
    return True


def _is_key_line(line: str, key: Key) -> bool:
    """Whether a line names the key: it begins with it, as the reference has it.

    Optional keys are our own and must stand alone, so that no comment of an old file is taken for one.
    """
    return line.startswith(key.name) if key.required else line == key.name


def _locate(path: Path, config_folder: Path) -> Path:
    """``path`` as it is if it exists or is absolute, else beside the config file if it exists there."""
    beside = config_folder / path
    return beside if not _exists(path) and _exists(beside) else path


def _exists(path: Path) -> bool:
    """Whether there is such a file; not if its name is longer than names can be."""
    try:
        return path.exists()
    except OSError:
        return False
