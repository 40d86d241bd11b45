"""``caffe-lrp composite``: a formula, or an example, as a file of rules layer by layer."""

import argparse
import sys
from pathlib import Path

from caffe_lrp.cli.listings import show_listing
from caffe_lrp.cli.options import Parser
from caffe_lrp.cli.terminal import say
from caffe_lrp.errors import ExitCode
from caffe_lrp.files.atomic import write_new

HELP = "Print a formula, or an example, as a file for --composite."


def add_arguments(parser: Parser) -> None:
    """Add the name, and the file."""
    parser.usage = "caffe-lrp composite NAME [FILE]"
    parser.epilog = "caffe-lrp composite NAME > my.yaml, edit it, and explain with --composite my.yaml"
    add = parser.add_argument
    add("name", metavar="NAME", help="a formula, or an example; help lists all")
    add("file", type=Path, nargs="?", metavar="FILE", help="write this file, such as my.yaml")


def run(options: argparse.Namespace) -> int:
    """Print the composite, or write it to a new file."""
    from caffe_lrp.cli.composite_texts import composite_text  # noqa: PLC0415 - Numba takes its time

    if options.name == "help":
        return show_listing("--composite")
    text = composite_text(options.name)
    if options.file is None:
        say(text.rstrip("\n"), sys.stdout)
        return ExitCode.DONE
    with options.halt.concluding():
        write_new(options.file, text)
    say(f"{options.file} was written; to explain images by it: --composite {options.file}", sys.stdout)
    return ExitCode.DONE
