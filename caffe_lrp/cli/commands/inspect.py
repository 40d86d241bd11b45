"""``caffe-lrp inspect``: the layers of a net, and the rule of each layer under a formula."""

import argparse
from pathlib import Path

from caffe_lrp.cli.options import (
    Parser,
    add_canonize,
    add_composite,
    add_override,
    formulas_given,
    formulas_of,
)

HELP = "Show the layers of a net and the rule that each one gets. It also shows where relevance starts."

#: The formula whose rules are shown.
_DEFAULT_FORMULA = 100


def add_arguments(parser: Parser) -> None:
    """Add the net, the options that replace values of a config, and the output."""
    parser.usage = "caffe-lrp inspect PROTOTXT [CAFFEMODEL] [option ...]"
    parser.epilog = "Formulas 54 to 60, 102, 104 and 114 need --switch-layer."
    add = parser.add_argument
    add("prototxt", type=Path, metavar="PROTOTXT", help="the net")
    add(
        "caffemodel", type=Path, nargs="?", metavar="CAFFEMODEL", help="its weights, to check that they fit"
    )  # fmt: skip
    add(
        "--formula", dest="formulas", type=formulas_of, metavar="CODES",
        help=f"such as 0,{_DEFAULT_FORMULA} (default {_DEFAULT_FORMULA}); --formula help lists them",
    )  # fmt: skip
    add_composite(parser)
    add_override(parser, "start_layer", "where relevance starts (default: -1, -2 or the end)", "LAYER")
    add_override(parser, "first_layer", "where the backward pass ends (default 0)", "LAYER")
    add_override(parser, "head", "output whose classes are ranked", "NAME")
    add_override(parser, "switch_layer", "up to this layer, formulas use their lower rule", "LAYER")
    add_override(parser, "quirks", "reference (default) or corrected", "MODE")
    add_override(parser, "input_size", "size of the net's input, such as 480x640", "HxW")
    add_canonize(parser, "batch normalization: auto (default) merges it, or off")
    add("--json", action="store_true", help="print JSON, for other programs")
    add("--dot", type=Path, metavar="FILE", help="write the graph for Graphviz")
    add("--svg", type=Path, metavar="FILE", help="draw the graph, for web browsers")
    parser.set_defaults(first_layer=0, switch_layer=-1, quirks="reference")


def run(options: argparse.Namespace) -> int:
    """Print the layers of a net, and write its graph on request."""
    from caffe_lrp.cli.net_view import show_net  # noqa: PLC0415 - Numba takes its time

    options.formulas = formulas_given(options) or (_DEFAULT_FORMULA,)
    options.halt.unwind()
    return show_net(options)
