"""``caffe-lrp inspect``: what a net consists of, and what would become of it under a formula."""

import argparse
from pathlib import Path

from caffe_lrp.cli.options import Parser, add_canonize, add_override, formulas_of

HELP = "Show the layers of a net, where relevance would start, and which rule each layer would get."

#: The formula whose rules are shown.
_DEFAULT_FORMULA = 100


def add_arguments(parser: Parser) -> None:
    """Add the net, what replaces values of a config, and what is written."""
    parser.epilog = "Formulas 54 to 60, 102, 104 and 114 need --switch-layer."
    add = parser.add_argument
    add("prototxt", type=Path, metavar="PROTOTXT", help="the net")
    add(
        "caffemodel", type=Path, nargs="?", metavar="CAFFEMODEL", help="its weights, to see whether they fit"
    )  # fmt: skip
    add(
        "--formula", dest="formulas", type=formulas_of, default=(_DEFAULT_FORMULA,), metavar="CODES",
        help=f"formulas whose rules are shown, such as 0,100 (default {_DEFAULT_FORMULA})",
    )  # fmt: skip
    add_override(parser, "start_layer", "where relevance starts (default: -1, -2 or the end)")
    add_override(parser, "first_layer", "lowest layer that it passes (default 0)")
    add_override(parser, "head", "output whose classes are ranked, by name")
    add_override(parser, "switch_layer", "up to this layer, lower rules apply")
    add_override(parser, "quirks", "reference (default) or corrected")
    add_override(parser, "input_size", "height x width of the input, such as 480x640")
    add_canonize(parser, "auto (default) shows what a run with the caffemodel merges, off nothing")
    add("--json", action="store_true", help="print JSON, for other programs")
    add("--dot", type=Path, metavar="FILE", help="write the graph for Graphviz")
    add("--svg", type=Path, metavar="FILE", help="draw the graph, for web browsers")
    parser.set_defaults(first_layer=0, switch_layer=-1, quirks="reference")


def run(options: argparse.Namespace) -> int:
    """Print the layers of a net, and write its graph where that is asked for."""
    from caffe_lrp.cli.net_view import show_net  # noqa: PLC0415 - Numba takes its time

    options.halt.unwind()
    return show_net(options)
