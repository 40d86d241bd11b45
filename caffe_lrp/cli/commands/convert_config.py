"""``caffe-lrp convert-config``: converts a config (pairs of lines or YAML) to YAML with explained keys."""

import argparse
import os
import sys
from pathlib import Path

from caffe_lrp.cli.options import Parser
from caffe_lrp.cli.terminal import say
from caffe_lrp.config import KEYS, as_yaml, read_entries, require_yaml_name
from caffe_lrp.config.keys import exists
from caffe_lrp.errors import ExitCode
from caffe_lrp.files.atomic import write_new

HELP = "Write a config file as YAML, with every key explained. The new file means the same as the old one."


def add_arguments(parser: Parser) -> None:
    """Add the two files."""
    parser.add_argument("old", type=Path, metavar="OLD", help="the config file")
    parser.add_argument("new", type=Path, metavar="NEW", help="the YAML file to make, such as net.yaml")


def run(options: argparse.Namespace) -> int:
    """Write the YAML file, unless it exists, and report it."""
    old, new = options.old, options.new
    require_yaml_name(new)
    values = {attribute: entry.value for attribute, entry in read_entries(old).items()}
    for key in KEYS:
        if key.parse is Path and key.attribute in values:
            values[key.attribute] = _moved(values[key.attribute], old.parent, new.parent)
    text = as_yaml(values)
    with options.halt.concluding():
        write_new(new, text)
    say(f"{old} converted to {new}", sys.stdout)
    return ExitCode.DONE


def _moved(path: Path, old_folder: Path, new_folder: Path) -> Path:
    """Return a path relative to the config file as written from another folder.

    A path that exists in the current folder is resolved there, whatever the config file's folder.
    """
    if path.is_absolute() or exists(path):
        return path
    return Path(os.path.relpath(old_folder / path, new_folder))
