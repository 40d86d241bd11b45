"""``caffe-lrp classroom``: a net is trained on generated digits, and explained, without any file."""

import argparse
from pathlib import Path

from caffe_lrp.cli.options import Parser, at_most

HELP = "Train a net on generated digits, and explain it. Needs no files, and takes about a minute."

NETS = ("lenet", "mlp")
#: A million digits are 800 MB.
_MOST_DIGITS = 1_000_000
_EPILOG = """\
Digits are drawn, distorted and learnt. Then FOLDER has the net as Caffe files,
ten new digits, and sheet.png, where four rules explain each of them. FOLDER is
made, or must be empty: no file is ever replaced.
"""


def add_arguments(parser: Parser) -> None:
    """Add the folder, and how the net is trained."""
    parser.usage = "caffe-lrp classroom [FOLDER] [option ...]"
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "folder", type=Path, nargs="?", default=Path("classroom"), metavar="FOLDER",
        help="where all files go (default ./classroom)",
    )  # fmt: skip
    add("--net", choices=NETS, default=NETS[0], help="lenet (default): convolutions; or mlp")
    add(
        "--digits", type=at_most(_MOST_DIGITS), default=8000, metavar="N",
        help="how many are learnt (default 8000)",
    )  # fmt: skip
    add("--seed", type=at_most(2**31 - 1), default=1, metavar="N", help="of all random numbers (default 1)")


def run(options: argparse.Namespace) -> int:
    """Train and explain the net, and say what is done; return the exit code."""
    from caffe_lrp.cli.lesson import teach  # noqa: PLC0415 - loads NumPy and OpenCV

    options.halt.unwind()
    return teach(options)
