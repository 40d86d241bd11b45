"""The table of keys, the parsers of their values, and the resulting config.

Both formats share the table. Text files use the name of a key; YAML files may also use its attribute.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from caffe_lrp.messages import did_you_mean
from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.composite import Composite, FormulaCode
from caffe_lrp.relevance.rule_names import LARGEST_NUMBER, NUMBER

#: Place of values from the command line.
COMMAND_LINE = "command line"

#: Python refuses to read numbers of thousands of digits; 64 bits hold these.
_MOST_DIGITS = 18

#: Attributes that only runs over lists need.
_OF_RUN = ("output_root", "path_root", "picture", "places", "synset_file")

_INTEGER = re.compile("[+-]?[0-9]+")
_FORMULA_NAME = re.compile("[A-Za-z][A-Za-z0-9_-]*")
_SIZE = re.compile("([0-9]{1,6})[xX×]([0-9]{1,6})")


@dataclass(frozen=True, kw_only=True)
class HeatmapConfig:
    """All values of a config file, under the package's own names.

    Layers are given by index, by name, or (where relevance starts) as ``auto``, which is resolved when the
    net is known. None means not given.
    """

    prototxt: Path
    caffemodel: Path
    mean_file: Path | None = None
    mean_format: int = 1
    mean_values: tuple[float, ...] | None = None
    input_scale: float | None = None
    std_values: tuple[float, ...] | None = None
    channel_order: str = "BGR"
    resize: str = "reference"
    base_size: int | None = None
    crop: str = "center"
    input_size: tuple[int, int] | None = None
    synset_file: Path | None = None
    start_layer: int | str
    first_layer: int | str = 0
    start_vector: str | Path | None = None
    head: str | None = None
    class_count: int | None = None
    output_root: str = "heatmaps"
    path_root: str = ""
    formula: FormulaCode
    epsilon: float = 0.01
    beta: float = 1.0
    switch_layer: int | str = -1
    quirks: str = "reference"
    gamma: float = 0.25
    picture: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_for_another_head(self) -> bool:
        """Whether the command line names the head; the file's classes may be those of another head."""
        return self.places.get("head") == COMMAND_LINE

    def model_arguments(self) -> dict[str, Any]:
        """Return the settings of the model, by the names of the arguments of `caffe_lrp.load`.

        Settings about classes in a file do not apply to a head that was chosen on the command line.
        """
        given = {name: getattr(self, name) for name in MODEL_ATTRIBUTES}
        if self.is_for_another_head and self.places.get("class_count") != COMMAND_LINE:
            given["class_count"] = None
        return given | {"labels": self.synset_file or ()}

    def location_of(self, attribute: str) -> str:
        """Where a given value comes from: file and line, or command line."""
        return self.places[attribute]


#: Attributes that are settings of the model, except labels.
MODEL_ATTRIBUTES = tuple(name for name in HeatmapConfig.__dataclass_fields__ if name not in _OF_RUN)


class LocatedValue(NamedTuple):
    """A value in a file, and its line number, from 1."""

    value: Any
    line: int


@dataclass(frozen=True)
class Key:
    """One key of the config file.

    Attributes
    ----------
    name
        Its name in text files.
    attribute
        Its attribute of `HeatmapConfig`; in YAML also a name of the key.
    parse
        Parses the text of the value; a ValueError says what is wrong with it.
    help
        One line for the documentation.
    required
        Whether text files without the key are refused: unknown lines are comments there, and so are misspelt
        keys.
    stand_in
        Name of a key that can replace this one.
    is_preprocessing
        Whether the key may be in the block ``preprocess`` of a YAML file.
    yaml_name
        A further name in YAML; empty if there is none.
    """

    name: str
    attribute: str
    parse: Callable[[str], Any]
    help: str
    required: bool = True
    stand_in: str = ""
    is_preprocessing: bool = False
    yaml_name: str = ""

    @property
    def default(self) -> Any:
        """The default value; `MISSING` if a value is required."""
        return HeatmapConfig.__dataclass_fields__[self.attribute].default

    @property
    def needs_value(self) -> bool:
        """Whether the key is required in YAML, where misspelt keys are not taken for comments."""
        return self.default is MISSING

    @property
    def name_in_yaml(self) -> str:
        """Its name in new files."""
        return self.yaml_name or self.attribute

    @property
    def is_list(self) -> bool:
        """Whether the value can have several parts."""
        return self.parse in (_numbers, _positive_numbers)

    @property
    def is_layer(self) -> bool:
        """Whether the value can be the name of a layer or a blob."""
        return self.attribute in ("start_layer", "first_layer", "head", "switch_layer")


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("must be a whole number")
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"must have at most {_MOST_DIGITS} digits")
    return int(text)


def _formula(text: str | Composite) -> FormulaCode:
    """Parse a number, a name or a composite; whether there is such a formula is checked elsewhere."""
    if isinstance(text, Composite):
        return text
    if _FORMULA_NAME.fullmatch(text):
        return text
    if not _INTEGER.fullmatch(text):
        raise ValueError("must be the number or the name of a formula, such as 100 or epsilon-plus")
    return _integer(text)


def at_least(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers that are at least ``least``."""

    def parse(text: str) -> int:
        value = _integer(text)
        if value < least:
            raise ValueError(f"must be at least {least}")
        return value

    return parse


def _layer(parse_index: Callable[[str], int]) -> Callable[[str], int | str]:
    """Parse a layer: an index, or else a name."""
    return lambda text: parse_index(text) if _INTEGER.fullmatch(text) else text


def _start_vector(text: str) -> str | Path:
    """A NumPy file, or words; the table of start vectors, which knows whether they mean one, is not here."""
    if not text.strip():
        raise ValueError("must be a start vector, such as one, or a .npy file")
    return Path(text) if text.lower().endswith(".npy") else text


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError("must be a name")
    return text


def one_of(*choices: Any) -> Callable[[str], Any]:
    """Return a parser for one of a few words."""

    def parse(text: str) -> Any:
        for choice in choices:
            if text == str(choice):
                return choice
        names = [str(choice) for choice in choices]
        raise ValueError(f"must be one of {', '.join(names)}{did_you_mean(text, names)}")

    return parse


def _number(text: str) -> float:
    if not NUMBER.fullmatch(text):
        raise ValueError("must be a number, such as 0.01")
    return float(text)


def _non_negative(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= LARGEST_NUMBER:
        raise ValueError(f"must be at least 0 and at most {LARGEST_NUMBER:g}")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if not 1 / LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise ValueError(f"must be more than 0 and at most {LARGEST_NUMBER:g}")
    return value


def _numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(_number(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("must be numbers separated by commas, such as 104,117,123") from None
    if max(map(abs, values)) > LARGEST_NUMBER:
        raise ValueError(f"must be at most {LARGEST_NUMBER:g}")
    return values


def _positive_numbers(text: str) -> tuple[float, ...]:
    values = _numbers(text)
    if min(values) < 1 / LARGEST_NUMBER:
        raise ValueError("must be more than 0")
    return values


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(size) < 1:
        raise ValueError("must be a height and a width in pixels with an x between them, such as 480x640")
    return size


def _preprocessing(
    name: str, attribute: str, parse: Callable[[str], Any], description: str, stand_in: str = ""
) -> Key:
    """Return a key of the reference for the input."""
    return Key(name, attribute, parse, description, True, stand_in, is_preprocessing=True)


def _choice(name: str, parse: Callable[[str], Any], description: str) -> Key:
    """Return a key of our own for the input."""
    return Key(name, name, parse, description, required=False, is_preprocessing=True)


KEYS: tuple[Key, ...] = (
    Key("param_file", "prototxt", Path, "deploy prototxt"),
    Key("model_file", "caffemodel", Path, "caffemodel with the weights"),
    _preprocessing("mean_file", "mean_file", Path, "mean image", "mean_values"),
    _preprocessing(
        "use_mean_file_asbinaryprotoblob",
        "mean_format",
        one_of(0, 1, 2),
        "format of the mean: 0 text, 1 BlobProto in BGR, 2 in RGB; .npy files are known by their content",
        "mean_values",
    ),
    _choice(
        "mean_values",
        _numbers,
        "instead of a mean image: one number per channel, in the order the net expects; or one for all",
    ),
    _choice("input_scale", _positive, "factor of the input, applied after the mean is subtracted"),
    _choice(
        "std_values",
        _positive_numbers,
        "instead of input_scale: what the input is divided by, one number per channel, in grey levels; or "
        "one for all",
    ),
    _choice("channel_order", one_of("BGR", "RGB"), "order of the colours that the net expects: BGR or RGB"),
    _choice(
        "resize",
        one_of("reference", "stretch", "short-side", "none"),
        "how images are resized to baseimgsize: reference (longer side), stretch (both sides), "
        "short-side, none",
    ),
    _preprocessing(
        "baseimgsize",
        "base_size",
        at_least(1),
        "longer side of the image after resizing, in pixels; under short-side the shorter one",
    ),
    _choice("crop", one_of("center"), "which part of the resized image the net sees: the center"),
    _choice("input_size", _size, "height x width of the input, instead of what the prototxt declares"),
    Key("synsetfile", "synset_file", Path, "class labels, one per line", yaml_name="labels"),
    Key(
        "lastlayerindex",
        "start_layer",
        _layer(at_least(-2)),
        "layer where relevance starts, by index or name; -1: before the lowest Softmax, -2: the highest "
        "InnerProduct, auto: the layer of the class scores",
    ),
    Key(
        "firstlayerindex",
        "first_layer",
        _layer(at_least(0)),
        "lowest layer of the backward pass, by index or name; 0: down to the image",
    ),
    Key(
        "start_vector",
        "start_vector",
        _start_vector,
        "what relevance starts as: score, one, difference:CLASS, … or a .npy file; the score of the class "
        "unless given",
        required=False,
    ),
    Key(
        "head",
        "head",
        _name,
        "in a net with several outputs, the name of the one whose classes are ranked; by default, the "
        "one that the start layer leads to",
        required=False,
    ),
    Key(
        "numclasses",
        "class_count",
        at_least(1),
        "number of outputs that are ranked, counted from the first",
    ),
    Key("standalone_outpath", "output_root", str, "root of the output files"),
    Key("standalone_rootpath", "path_root", str, "output paths repeat the image path from this text on"),
    Key("relpropformulatype", "formula", _formula, "formula: its number or its name"),
    Key("epsstab", "epsilon", _non_negative, "ε of the ε rule"),
    Key("alphabeta_beta", "beta", _non_negative, "β of the αβ rule; α = 1 + β"),
    Key(
        "auxiliaryvariable_maxlayerindexforflatdistinconv",
        "switch_layer",
        _layer(_integer),
        "up to this layer, by index or name, formulas 54 to 60, 102, 104 and 114 use their lower rule",
    ),
    Key("gamma", "gamma", _non_negative, "γ of the γ rule; 0.25 unless given", required=False),
    Key("quirks", "quirks", one_of(*QUIRK_MODES), "reference or corrected", required=False),
)


#: Settings of which only one can be given.
ALTERNATIVES = (("mean_values", "mean_file"), ("std_values", "input_scale"))


def locate(path: Path, config_folder: Path) -> Path:
    """``path`` itself if it exists or is absolute, else in the config file's folder if it exists there."""
    beside = config_folder / path
    return beside if not exists(path) and exists(beside) else path


def exists(path: Path) -> bool:
    """Whether there is such a file; False for invalid paths, such as too long ones."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
