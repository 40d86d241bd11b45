"""The config file: one table of keys for two formats, pairs of lines and YAML."""

from .arguments import CANONIZATIONS, CONVOLUTIONS, Settings, is_config, read_settings
from .composite_file import composite_as_yaml, read_composite
from .keys import COMMAND_LINE, KEYS, HeatmapConfig, Key, locate
from .reader import read_config, read_entries
from .yaml_file import as_yaml, is_yaml, require_yaml_name

__all__ = [
    "CANONIZATIONS",
    "COMMAND_LINE",
    "CONVOLUTIONS",
    "KEYS",
    "HeatmapConfig",
    "Key",
    "Settings",
    "as_yaml",
    "composite_as_yaml",
    "is_config",
    "is_yaml",
    "locate",
    "read_composite",
    "read_config",
    "read_entries",
    "read_settings",
    "require_yaml_name",
]
