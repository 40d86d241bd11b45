"""``caffe-lrp init``: a config for a net, filled in from its files."""

import argparse
from pathlib import Path

from caffe_lrp.cli.options import Parser, add_override

HELP = "Write a commented YAML config for a net. Lines that are left to fill in are marked."

_EPILOG = """\
Values found in neither options nor prototxt stay empty in the new file, and a
run reports them as missing. An existing file is never replaced.
"""


def add_arguments(parser: Parser) -> None:
    """Add the net, the new file, and the values that the net's files may lack."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("prototxt", type=Path, metavar="PROTOTXT", help="the net")
    add("caffemodel", type=Path, nargs="?", metavar="CAFFEMODEL", help="its weights")
    add(
        "-c", "--config", type=Path, metavar="NEW.yaml",
        help="the file to write (default: ./NET.yaml)",
    )  # fmt: skip
    add_override(parser, "mean_values", "mean to subtract: one number, or one per channel", "N,N,N")
    add_override(parser, "mean_file", "mean image, instead of numbers", "FILE")
    add_override(parser, "std_values", "what to divide by: one number, or one per channel", "N,N,N")
    add_override(parser, "input_size", "size of the input, if the prototxt has none", "HxW")
    add("--labels", type=Path, metavar="FILE", help="class labels, one per line")
    parser.fault_of = _fault


def _fault(options: argparse.Namespace) -> str:
    """Return an error about conflicting arguments; empty if there is none."""
    if options.mean_values is not None and options.mean_file is not None:
        return "--mean-values and --mean-file cannot be combined; give only one of them"
    return ""


def run(options: argparse.Namespace) -> int:
    """Write the config, and print its settings, the values left to fill in, and the next steps."""
    from caffe_lrp.cli.new_config import make_config  # noqa: PLC0415 - Numba takes its time

    options.halt.unwind()
    return make_config(options)
