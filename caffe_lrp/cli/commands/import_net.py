"""``caffe-lrp import``: Caffe files, and a config, from a net of another program."""

import argparse
from pathlib import Path

from caffe_lrp.cli.options import Parser, add_override, not_empty, one_of

HELP = "Make Caffe files from ONNX, or from a net of the LRP Toolbox. And a config for them."

_USAGE = "caffe-lrp import MODEL OUTDIR [option ...]"
_EPILOG = """\
OUTDIR gets deploy.prototxt, a caffemodel, config.yaml and report.md. Nothing is
replaced. For nets of torchvision:
  --pixel-range 1 --mean-values 0.485,0.456,0.406 --std-values 0.229,0.224,0.225
"""
#: Unit of mean and standard deviation -> grey levels in one.
PIXEL_RANGES = {"1": 255.0, "255": 1.0}
_FLATTEN_ORDERS = ("python", "matlab")


def add_arguments(parser: Parser) -> None:
    """Add the net, the new folder, and what the file leaves open."""
    parser.usage = _USAGE
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="the net: .onnx, or .nn or .txt of the LRP Toolbox")
    add("folder", type=not_empty, metavar="OUTDIR", help="folder for the new files")
    add_override(parser, "input_size", "size of the images, if the file leaves it open", "HxW")
    add_override(parser, "mean_values", "mean to subtract: one number, or one per channel", "N,N,N")
    add_override(parser, "std_values", "what to divide by: one number, or one per channel", "N,N,N")
    add(
        "--pixel-range", type=one_of(*PIXEL_RANGES), metavar="1|255",
        help="white, in the unit of mean and std (default 255)",
    )  # fmt: skip
    add_override(parser, "channel_order", "BGR or RGB: the order that the net expects", "ORDER")
    add("--labels", type=Path, metavar="FILE", help="class labels, one per line")
    add(
        "--flatten-order", type=one_of(*_FLATTEN_ORDERS), metavar="ORDER",
        help="of a net of the LRP Toolbox: python or matlab",
    )  # fmt: skip
    parser.fault_of = _fault


def _fault(options: argparse.Namespace) -> str:
    """Return an error about a mean or a deviation whose unit is not clear; empty if there is none."""
    if options.pixel_range is None and options.std_values is not None and max(options.std_values) < 1:
        return (
            "--std-values below 1 are for pixels from 0 to 1: add --pixel-range 1, or --pixel-range 255 if "
            "they are meant for grey levels"
        )
    return ""


def run(options: argparse.Namespace) -> int:
    """Write the files, and print what became of the net and the next steps; return the exit code."""
    from caffe_lrp.cli.imported_net import import_net  # noqa: PLC0415 - Numba takes its time

    options.halt.unwind()
    return import_net(options)
