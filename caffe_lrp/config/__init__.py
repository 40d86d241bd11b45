"""The config file: what a run is made of. One table of keys, two formats: pairs of lines, and YAML."""

from .arguments import CANONIZATIONS, CONVOLUTIONS, Settings, is_config, read_settings
from .keys import COMMAND_LINE, KEYS, HeatmapConfig, Key
from .reader import read_config, read_entries
from .yaml_file import SUFFIXES, as_yaml, is_yaml

__all__ = [
    "CANONIZATIONS",
    "COMMAND_LINE",
    "CONVOLUTIONS",
    "KEYS",
    "SUFFIXES",
    "HeatmapConfig",
    "Key",
    "Settings",
    "as_yaml",
    "is_config",
    "is_yaml",
    "read_config",
    "read_entries",
    "read_settings",
]
