"""From a config file of either format to the config."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from caffe_lrp.errors import ConfigError
from caffe_lrp.files.reading import read_small_file

from .keys import ALTERNATIVES, COMMAND_LINE, HeatmapConfig, LocatedValue, locate
from .text_file import read_text
from .yaml_file import is_yaml, read_yaml


def read_config(path: Path, overrides: Mapping[str, Any] | None = None) -> HeatmapConfig:
    """The config in a file; values in ``overrides`` (by attribute) replace those of the file.

    Relative paths are looked up in the current folder first, then beside the config file.

    Raises
    ------
    ConfigError
        The file cannot be read, or keys are missing or have bad values; all faults are in one message.
    """
    values = dict(overrides or {})
    places = dict.fromkeys(values, COMMAND_LINE)
    for attribute, entry in read_entries(path, values).items():
        values[attribute] = entry.value
        places[attribute] = f"{path}: line {entry.line}"
    for one, other in ALTERNATIVES:
        if values.get(one) is not None and values.get(other) is not None:
            raise ConfigError(
                f"{places[one]}: {one} is given together with {other}; keep only one of the two"
            )
    for attribute, value in values.items():
        if isinstance(value, Path):
            values[attribute] = locate(value, path.parent)
    return HeatmapConfig(**values, places=places)


def read_entries(path: Path, given: Collection[str] = ()) -> dict[str, LocatedValue]:
    """The values of a file by attribute; paths are not resolved.

    Parameters
    ----------
    path
        The file; one that ends with ``.yaml`` or ``.yml`` is YAML.
    given
        Attributes whose values come from elsewhere; the file's values for them are ignored.

    Raises
    ------
    ConfigError
        As `read_config`.
    """
    content = read_small_file(path, "config file", ConfigError, most_megabytes=1, may_be_pipe=True)
    read = read_yaml if is_yaml(path) else read_text
    return read(content, path, given)
