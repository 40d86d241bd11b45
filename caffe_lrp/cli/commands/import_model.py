"""``caffe-lrp import``: a net of another framework as Caffe files, with a config to run them."""

import argparse
from pathlib import Path

from caffe_lrp.cli.options import Parser, add_override, one_of

HELP = "Turn a net from elsewhere (ONNX) into Caffe files. Writes a prototxt, weights, a config and a report."

#: Values of --pixel-range.
_RANGES = ("1", "255")
_EPILOG = """\
Files are never replaced. PyTorch and Keras export ONNX: caffe-lrp help importing
"""


def add_arguments(parser: Parser) -> None:
    """Add the model, the folder, and what is to be known of the input."""
    parser.usage = "caffe-lrp import MODEL OUTDIR [option ...]"
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="the net, such as net.onnx")
    add("folder", type=Path, metavar="OUTDIR", help="the folder for the new files")
    add_override(parser, "input_size", "size of the input, if the model leaves it open", "HxW")
    add_override(parser, "mean_values", "mean to subtract: one number, or one per channel", "N,N,N")
    add_override(parser, "std_values", "what to divide by: one number, or one per channel", "N,N,N")
    add(
        "--pixel-range", type=one_of(*_RANGES), default=_RANGES[1], metavar="N",
        help="white in these numbers: 1 (PyTorch), or 255 (default)",
    )  # fmt: skip
    add_override(parser, "channel_order", "order of the colours: RGB (default for ONNX) or BGR", "ORDER")
    add("--labels", type=Path, metavar="FILE", help="class labels, one per line")


def run(options: argparse.Namespace) -> int:
    """Write the files, compare the nets, and print what to do next."""
    from caffe_lrp.cli.importing import import_model  # noqa: PLC0415 - Numba takes its time

    options.halt.unwind()
    return import_model(options)
