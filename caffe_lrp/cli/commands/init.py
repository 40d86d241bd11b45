"""``caffe-lrp init``: a config for a net, with everything in it that its files tell."""

import argparse
from pathlib import Path

from caffe_lrp.cli.options import Parser, add_override

HELP = "Write a commented config in YAML for a net. It marks what is left to fill in."

_EPILOG = """\
Values that neither options nor prototxt give stay empty in the new file, and a
run says which are missing. An existing file is never replaced.
"""


def add_arguments(parser: Parser) -> None:
    """Add the net, the new file, and what the net's files may not tell."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("prototxt", type=Path, metavar="PROTOTXT", help="the net")
    add("caffemodel", type=Path, nargs="?", metavar="CAFFEMODEL", help="its weights")
    add(
        "-c", "--config", type=Path, metavar="NEW.yaml",
        help="the file to write (default: ./NET.yaml)",
    )  # fmt: skip
    add_override(parser, "mean_values", "mean to subtract: one number a channel, or one", "N,N,N")
    add_override(parser, "mean_file", "in place of numbers: a mean image", "FILE")
    add_override(parser, "input_size", "size of the input, if the prototxt has none", "HxW")
    add("--labels", type=Path, metavar="FILE", help="class labels, one a line")
    parser.fault_of = _fault


def _fault(options: argparse.Namespace) -> str:
    """What does not go together; empty if nothing."""
    if options.mean_values is not None and options.mean_file is not None:
        return "--mean-values and --mean-file exclude each other: give one of them"
    return ""


def run(options: argparse.Namespace) -> int:
    """Write the config, and print what it says, what is left to fill in and what to do next."""
    from caffe_lrp.cli.new_config import make_config  # noqa: PLC0415 - Numba takes its time

    options.halt.unwind()
    return make_config(options)
