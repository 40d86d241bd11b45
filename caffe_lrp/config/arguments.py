"""Settings given in Python, instead of a config file or in addition to one; checked in the same way."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from caffe_lrp.errors import ConfigError, UsageError, about
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.machine.resources import parse_memory
from caffe_lrp.relevance.composite import Composite

from .keys import ALTERNATIVES, COMMAND_LINE, KEYS, Key, at_least, one_of
from .reader import read_config
from .yaml_file import is_yaml

#: How convolutions are computed.
CONVOLUTIONS = ("auto", "direct", "winograd")
#: Whether batch normalization is merged into the layers next to it.
CANONIZATIONS = ("auto", "off")

#: A line that is in every config of the toolbox's format, and in no prototxt.
_FIRST_KEY = KEYS[0].name.encode()
#: The key with another name here: in a config file its value is always a file.
_LABELS = "labels"
_KEYS: Mapping[str, Key] = {key.attribute: key for key in KEYS}
#: Settings that are not in config files -> their parsers.
_OTHERS: Mapping[str, Callable[[str], Any]] = {
    "convolution": one_of(*CONVOLUTIONS),
    "canonize": one_of(*CANONIZATIONS),
    "max_pixels": at_least(1),
    "threads": at_least(1),
    "memory": parse_memory,
}
#: Those among them that are not settings of the model.
_OF_PROCESS = ("threads", "memory")


@dataclass(frozen=True)
class Settings:
    """The settings of a model, and the limits on threads and memory.

    Attributes
    ----------
    of_model
        Arguments of a model's settings.
    threads, memory
        Threads, and bytes, that it may use; None: not given.
    places
        Setting -> its line in the config file.
    """

    of_model: Mapping[str, Any]
    threads: int | None
    memory: int | None
    places: Mapping[str, str]


def read_settings(source: str | os.PathLike[str], given: Mapping[str, Any]) -> Settings:
    """The settings of a config file, or of a prototxt and its caffemodel, together with given values.

    Parameters
    ----------
    source
        The file: a config, or a prototxt if ``given`` has its caffemodel.
    given
        Values by name; they replace those of the file.

    Raises
    ------
    ConfigError
        A value is invalid, or the config file cannot be read.
    UsageError
        A prototxt is given alone.
    """
    path = Path(source)
    values = {name: _checked(name, value) for name, value in given.items()}
    process = {name: values.pop(name, None) for name in _OF_PROCESS}
    for one, other in ALTERNATIVES:
        if values.get(one) is not None and values.get(other) is not None:
            raise ConfigError(f"is given together with {other}; keep only one of the two", setting=one)
    if "caffemodel" in values and not is_config(path):
        return Settings({"prototxt": path, **values}, **process, places={})
    if path.suffix in (".prototxt", ".caffemodel"):
        raise UsageError(
            f"{path} was given alone; give a prototxt and its caffemodel, or a config file",
            setting="caffemodel",
        )
    with about(ConfigError, file=path):
        config = read_config(path, _in_place_of_config(values))
    places = {name: place for name, place in config.places.items() if place != COMMAND_LINE}
    others = {name: value for name, value in values.items() if name in _OTHERS or name == _LABELS}
    return Settings({**config.model_arguments(), **others}, **process, places=places)


def is_config(path: Path) -> bool:
    """Whether a file is a config; an unreadable file is reported when it is read."""
    if is_yaml(path):
        return True
    try:
        content = read_small_file(path, "file", ConfigError, most_megabytes=1)
    except ConfigError:
        return False
    return any(line.strip() == _FIRST_KEY for line in content.splitlines())


def _in_place_of_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by attribute of a config; what is given in one form replaces the other form."""
    overrides = {name: value for name, value in values.items() if name in _KEYS}
    for pair in ALTERNATIVES:
        for one, other in (pair, pair[::-1]):
            if one in overrides:
                overrides.setdefault(other, None)
    return overrides


def _checked(name: str, value: Any) -> Any:
    """Return a value as in a config file; raise ConfigError if it is invalid."""
    if name == _LABELS:
        return _labels(value)
    parse = _KEYS[name].parse if name in _KEYS else _OTHERS[name]
    try:
        return parse(_as_text(name, value))
    except ValueError as error:
        raise ConfigError(f"the value {value!r} {error}", setting=name) from None


def _labels(value: Any) -> Path | tuple[str, ...]:
    if isinstance(value, (str, os.PathLike)):
        return Path(cast(str, value))
    labels = tuple(value) if isinstance(value, Sequence) else (None,)
    if not all(isinstance(label, str) for label in labels):
        raise ConfigError("must be a file, or a list of strings", setting=_LABELS)
    return labels


def _as_text(name: str, value: Any) -> Any:
    """The text of a value, as in a config file; composites as they are."""
    if isinstance(value, Composite):
        return value
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy's types
        value = value.tolist()
    is_list = name in _KEYS and (_KEYS[name].is_list or name == "input_size")
    if is_list and isinstance(value, (list, tuple)):
        return ("x" if name == "input_size" else ",").join(_as_text(name, part) for part in value)
    return f"{value}B" if name == "memory" else repr(value)
