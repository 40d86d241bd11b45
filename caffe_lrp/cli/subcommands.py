"""What the commands besides the list take: ``caffe-lrp inspect``, ``status``, ``merge`` and ``warmup``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .options import HelpFormatter, Parser, add_canonize, add_override, formulas_of

#: The formula whose rules ``caffe-lrp inspect`` shows.
_DEFAULT_FORMULA = 100


def inspect_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of ``caffe-lrp inspect``; with wrong ones the program ends, see `Parser.parse`."""
    return inspect_parser().parse(arguments)


def inspect_parser() -> Parser:
    """The parser of ``caffe-lrp inspect``."""
    parser = _parser(
        "inspect",
        "Show the layers of a net, where relevance would start, and which rule each layer would get.",
        epilog="Formulas 54 to 60, 102, 104 and 114 need --switch-layer.",
    )
    parser.add_argument("prototxt", type=Path, metavar="PROTOTXT", help="the net")
    parser.add_argument(
        "caffemodel", type=Path, nargs="?", metavar="CAFFEMODEL", help="its weights, to see whether they fit"
    )
    parser.add_argument(
        "--formula",
        dest="formulas",
        type=formulas_of,
        default=(_DEFAULT_FORMULA,),
        metavar="CODES",
        help=f"formulas whose rules are shown, such as 0,100 (default {_DEFAULT_FORMULA})",
    )
    add_override(parser, "--start-layer", "where relevance starts (default: -1, -2 or the end)")
    add_override(parser, "--first-layer", "lowest layer that it passes (default 0)")
    add_override(parser, "--head", "output whose classes are ranked, by name")
    add_override(parser, "--switch-layer", "up to this layer, lower rules apply")
    add_override(parser, "--quirks", "reference (default) or corrected")
    add_override(parser, "--input-size", "height x width of the input, such as 480x640")
    add_canonize(parser, "auto (default) shows what a run with the caffemodel merges, off nothing")
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")
    parser.add_argument("--dot", type=Path, metavar="FILE", help="write the graph for Graphviz")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the graph, for web browsers")
    parser.set_defaults(first_layer=0, switch_layer=-1, quirks="reference")
    return parser


def warmup_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of ``caffe-lrp warmup``; with wrong ones the program ends, see `Parser.parse`."""
    parser = _parser(
        "warmup",
        "Compile everything ahead, so that no run has to.",
        epilog="For machines of several kinds, name a CPU that all of them can stand in for, such\n"
        "as x86-64-v3, and set CAFFE_LRP_CPU to the same name when they run.",
    )
    parser.add_argument("--cpu", metavar="NAME", help="CPU to compile for (default: this machine's)")
    return parser.parse(arguments)


def status_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of ``caffe-lrp status``; with wrong ones the program ends, see `Parser.parse`."""
    parser = _parser(
        "status",
        "Say how far the runs are that write into a folder, from their journals: maps done, failed, missing.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="output root: what -p and standalone_outpath name"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")
    return parser.parse(arguments)


def merge_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of ``caffe-lrp merge``; with wrong ones the program ends, see `Parser.parse`."""
    parser = _parser("merge", "Join the databases (--outputs h5) of shards into one.")
    parser.add_argument("out", type=Path, metavar="OUT", help="the database to make")
    parser.add_argument("shards", type=Path, nargs="+", metavar="SHARD", help="databases to join")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class labels, as a config's synsetfile")
    parser.add_argument("--allow-missing", action="store_true", help="leave out maps that are not there")
    return parser.parse(arguments)


def convert_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of ``caffe-lrp convert-config``; with wrong ones the program ends, see `Parser.parse`."""
    parser = _parser(
        "convert-config",
        "Write a config file as YAML, with every key explained; what the old one says, the new one says.",
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="the config file")
    parser.add_argument("new", type=Path, metavar="NEW", help="the YAML file to make, such as net.yaml")
    return parser.parse(arguments)


def _parser(name: str, description: str, epilog: str = "") -> Parser:
    """What all commands besides the list have in common."""
    parser = Parser(
        prog=f"caffe-lrp {name}",
        description=description,
        epilog=epilog,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="help", help="show this help")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more of internal errors")
    return parser
