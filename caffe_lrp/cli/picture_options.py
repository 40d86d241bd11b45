"""The picture options, which several commands share."""

import argparse
from typing import Any

from caffe_lrp.rendering.style import PICTURE_OPTIONS

from .options import Parser, checked

_PREFIX = "picture_"


def add_picture_options(parser: Parser, title: str = "pictures") -> None:
    """Add an option for each word of a style, as a group in the help."""
    group = parser.add_argument_group(title)
    for option in PICTURE_OPTIONS:
        settings: dict[str, Any] = (
            {"action": "store_const", "const": True}
            if option.is_flag
            else {"type": checked(option.parse), "metavar": option.metavar}
        )
        group.add_argument(f"--{option.name}", dest=_PREFIX + option.name, help=option.help, **settings)


def picture_options_of(given: argparse.Namespace) -> dict[str, Any]:
    """Return the words of the style that were given, with their values."""
    values = ((option.name, getattr(given, _PREFIX + option.name)) for option in PICTURE_OPTIONS)
    return {name: value for name, value in values if value is not None}
