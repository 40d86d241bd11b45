"""The config file: pairs of lines, a key and the value below it (spec/reference.md §2)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffe_lrp.errors import ConfigError
from caffe_lrp.files import read_small_file, why_no_text
from caffe_lrp.messages import closest, did_you_mean
from caffe_lrp.quirks import QUIRK_MODES

#: ε and β beyond this overflow float32.
LARGEST_NUMBER = 1e30

#: From here on a word is taken for a misspelt key.
_LEAST_SIMILARITY = 0.8
#: Misspelt keys are looked for in so many lines; no config file comes near it.
_MOST_LINES = 2000

#: Python refuses to read numbers of thousands of digits; 64 bits hold these.
_MOST_DIGITS = 18

_BLANK_DELIMITED = re.compile(r"[^ \t\v\f]+")
_FIRST_WORD = re.compile(r"\s*([^\s:=]+)")
_FORMULA_NAME = re.compile("[A-Za-z][A-Za-z0-9_-]*")
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
    formula: int | str
    epsilon: float
    beta: float
    switch_layer: int
    quirks: str = "reference"
    gamma: float = 0.25
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    def place_of(self, attribute: str) -> str:
        """Where the value of an attribute that was given comes from: file and line, or command line."""
        return self.places[attribute]


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
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"must have at most {_MOST_DIGITS} digits")
    return int(text)


def _formula(text: str) -> int | str:
    """A number or a name; the table of formulas, which knows whether there is such a one, is not here."""
    if _FORMULA_NAME.fullmatch(text):
        return text
    if not re.fullmatch("[+-]?[0-9]+", text):
        raise ValueError("must be the number or the name of a formula, such as 100 or epsilon-plus")
    return _integer(text)


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
    Key("relpropformulatype", "formula", _formula, "formula: its number or its name"),
    Key("epsstab", "epsilon", _non_negative, "ε of the ε rule"),
    Key("alphabeta_beta", "beta", _non_negative, "β of the αβ rule; α = 1 + β"),
    Key(
        "auxiliaryvariable_maxlayerindexforflatdistinconv",
        "switch_layer",
        _integer,
        "up to this layer, formulas 54 to 60, 102, 104 and 114 use their lower rule",
    ),
    Key("gamma", "gamma", _non_negative, "γ of the γ rule; 0.25 unless given", required=False),
    Key("quirks", "quirks", _one_of(*QUIRK_MODES), "reference or corrected", required=False),
)

_NAMES = tuple(key.name for key in KEYS)
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
    key_lines = _find_keys(lines)
    if not key_lines:
        reason = why_no_text(content, "config file") or (
            "has none of the keys of a config file, such as 'param_file'; the config file comes behind -c, "
            "the list of images behind -f"
        )
        raise ConfigError(f"{path}: {reason}")
    values = dict(overrides or {})
    places = dict.fromkeys(values, "command line")
    faults = []
    for key in KEYS:
        if key.attribute in values:
            continue
        try:
            if key.name in key_lines:
                value_line = key_lines[key.name] + 1
                values[key.attribute] = _read_value(key, lines, value_line, path.parent)
                places[key.attribute] = f"{path}: line {value_line + 1}"
            else:
                _refuse_absence(key, lines)
        except ValueError as error:
            faults.append(f"{path}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    for attribute in _PATH_ATTRIBUTES:
        values[attribute] = _locate(values[attribute], path.parent)
    return HeatmapConfig(**values, places=places)


def _find_keys(lines: list[str]) -> dict[str, int]:
    """Index of the first line of every key that is there, by the key's name.

    A line names a key if it begins with it, as the reference has it. Optional keys are our own and must
    stand alone, so that no comment of an old file is taken for one.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(map(str.strip, lines)):
        if line.startswith(_NAMES):
            for key in KEYS:
                if line.startswith(key.name) if key.required else line == key.name:
                    found.setdefault(key.name, number)
    return found


def _read_value(key: Key, lines: list[str], number: int, config_folder: Path) -> Any:
    """The value of ``key`` in line ``number`` (from 0); ValueError says what is wrong with it."""
    line = lines[number] if number < len(lines) else ""
    words = _BLANK_DELIMITED.findall(line)
    forgotten = (
        f"line {number + 1}: no value below the key '{key.name}' ({key.help}); write it on a line of its own"
    )
    if not words:
        raise ValueError(forgotten)
    names_a_key = re.split("[:=]", words[0])[0] in _NAMES
    try:
        value = key.parse(words[0])
        if key.parse is Path:
            _refuse_blank(words[0], line.strip(), config_folder)
    except ValueError as error:
        raise ValueError(
            forgotten if names_a_key else f"line {number + 1}: the value {words[0]!r} of '{key.name}' {error}"
        ) from None
    is_missing = key.parse is Path and not _exists(_locate(value, config_folder))
    if names_a_key and (is_missing or key.parse is _formula):
        raise ValueError(forgotten)
    return value


def _refuse_blank(first_word: str, whole: str, config_folder: Path) -> None:
    """ValueError if the first word of a path is no file, but all of its line is one."""
    if not _exists(_locate(Path(first_word), config_folder)) and _exists(_locate(Path(whole), config_folder)):
        raise ValueError("ends at its first blank; rename the file so that its path has none")


def _refuse_absence(key: Key, lines: list[str]) -> None:
    """ValueError if a key that is not there is required, or optional and written like a comment."""
    if key.required:
        raise ValueError(f"the key '{key.name}' is missing ({key.help}); {_advice_on_missing(key, lines)}")
    for number, line in enumerate(lines[:_MOST_LINES]):
        if _is_slip(key, line.strip(), "".join(lines[number + 1 : number + 2]).strip()):
            raise ValueError(
                f"line {number + 1}: '{line.strip()}' is taken for a comment; write the key '{key.name}' on "
                "a line of its own and its value on the next"
            )


def _advice_on_missing(key: Key, lines: list[str]) -> str:
    """What to do about a missing key: mend the line that nearly names it, or add one."""
    first_words: dict[str, int] = {}
    for number, line in enumerate(lines[:_MOST_LINES]):
        word = _FIRST_WORD.match(line)
        if word and word[1] not in _NAMES:
            first_words.setdefault(word[1], number)
    close = closest(key.name, first_words, _LEAST_SIMILARITY)
    if close is None:
        return "add it and its value on the next line"
    number = first_words[close]
    return f"write it so in line {number + 1}, where now stands '{lines[number].strip()}'"


def _is_slip(key: Key, line: str, below: str) -> bool:
    """Whether a line is nearly the key alone above a value, or the key and a value and nothing else."""
    word, *rest = re.split(r"\s*[:=]\s*|\s+", line, maxsplit=1)
    if not closest(key.name, [word], _LEAST_SIMILARITY):
        return False
    try:
        key.parse("".join(rest) or below)
    except ValueError:
        return False
    return True


def _locate(path: Path, config_folder: Path) -> Path:
    """``path`` as it is if it exists or is absolute, else beside the config file if it exists there."""
    beside = config_folder / path
    return beside if not _exists(path) and _exists(beside) else path


def _exists(path: Path) -> bool:
    """Whether there is such a file; not if its path is none, such as one too long."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
