"""What the two programs take: their options, the help, and suggestions where an option is misspelt."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .config import KEYS, Key
from .messages import did_you_mean

#: What ``caffe-lrp`` alone prints.
INTRODUCTION = """\
caffe-lrp explains the predictions of a Caffe image classifier, pixel by pixel.

  caffe-lrp -c config.txt -f filelist.txt -p outdir/

config.txt    names the net (prototxt and caffemodel), its mean image and class
              labels, and the formula; the repository's configs/ has examples
filelist.txt  one image a line: its path and the class to explain, -1 for the best
outdir/       receives a heatmap and three other files for every line

Never tried it? scripts/demo.sh of the repository explains pictures with a small
net that comes with it. All options: caffe-lrp --help"""

_EPILOG = """\
in place of the config file's value:
  --formula CODE  --eps ε  --beta β (α = 1 + β)  --quirks reference|corrected
  --start-layer, --first-layer, --switch-layer INDEX (--dry-run shows indices)

exit codes: 0 all done, 1 internal error, 2 wrong usage, 3 bad config, model or
list, 4 some images failed (all others are written), 130 interrupted
"""

#: Options that replace a value of the config file: option -> key of the file.
_OVERRIDES = {
    "--formula": "relpropformulatype",
    "--eps": "epsstab",
    "--beta": "alphabeta_beta",
    "--quirks": "quirks",
    "--start-layer": "lastlayerindex",
    "--first-layer": "firstlayerindex",
    "--switch-layer": "auxiliaryvariable_maxlayerindexforflatdistinconv",
}

#: Names of the reference's four programs, the values of ``-b``.
BINARIES = ("default", "default_minimal", "parallel", "parallel_minimal")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Options and their help on one line each, in 80 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=80)


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests what an unknown option was meant to be."""

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The options; with wrong ones the program ends with a message and the code for wrong usage.

        Unknown options are reported before missing ones: the one is often the other, misspelt.
        """
        given = list(sys.argv[1:] if arguments is None else arguments)
        for argument in given[: given.index("--")] if "--" in given else given:
            option = argument.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(f"there is no option {option}{did_you_mean(option, self._option_string_actions)}")
        return self.parse_args(given)


def list_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of ``caffe-lrp``; with wrong ones the program ends, see `Parser.parse`."""
    parser = list_parser()
    options = parser.parse(arguments)
    if options.words:
        parser.error(
            f"'{options.words[0]}' stands without an option; write -c CONFIG -f FILELIST -p DIR (or use "
            "caffe-lrp-demo CONFIG FILELIST PREPATH)"
        )
    if options.config is None:
        parser.error("-c/--config is missing: the config file")
    if options.filelist is None and not options.dry_run:
        parser.error("-f/--filelist is missing: the list of images; only --dry-run does without")
    return options


def demo_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of ``caffe-lrp-demo``; with wrong ones the program ends, see `Parser.parse`."""
    return demo_parser().parse(arguments)


def list_parser() -> Parser:
    """The parser of ``caffe-lrp``; what must be given is checked by `list_arguments`."""
    parser = Parser(
        prog="caffe-lrp",
        usage="caffe-lrp -c CONFIG -f FILELIST [-p DIR] [option ...]",
        description="Explain the predictions of a Caffe image classifier, pixel by pixel.",
        epilog=_EPILOG,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument
    add("words", nargs="*", help=argparse.SUPPRESS)
    add("-c", "--config", type=Path, metavar="FILE", help="config: net, mean image, formula")
    add("-f", "--filelist", type=Path, metavar="FILE", help="images, 'path class' a line; -1: best class")
    add(
        "-p", "--prepath", type=_not_empty, default="./", metavar="DIR", help="where output goes (default ./)"
    )  # fmt: skip
    add(
        "-b", "--binary", type=_binary, default=BINARIES[0], metavar="KEY",
        help="default, parallel (batches); …_minimal: text only",
    )  # fmt: skip
    add("--image-root", default="", metavar="DIR", help="folder of relative image paths")
    add("--suffix-target", action="store_true", help="put formula and class into the file names")
    add("--dry-run", action="store_true", help="check config, net and list, show layers, stop")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="print errors only")
    loudness.add_argument("-v", "--verbose", action="store_true", help="print a line for every image")
    _add_common(parser)
    for option, key in _OVERRIDES.items():
        _add_override(parser, option, next(known for known in KEYS if known.name == key))
    parser.set_defaults(is_demo=False)
    return parser


def demo_parser() -> Parser:
    """The parser of ``caffe-lrp-demo``, the drop-in for the reference's program."""
    parser = Parser(
        prog="caffe-lrp-demo",
        description="Drop-in for the LRP Toolbox's lrp_demo: PREPATH is put before every image path, "
        "output goes to the config's standalone_outpath.",
        add_help=False,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("filelist", type=Path, metavar="FILELIST")
    parser.add_argument("prepath", metavar="PREPATH")
    _add_common(parser)
    parser.set_defaults(
        is_demo=True, binary=BINARIES[0], suffix_target=False, dry_run=False, quiet=False, verbose=False
    )
    return parser


def _add_common(parser: Parser) -> None:
    parser.add_argument(
        "--version", action="version", version=f"caffe-lrp {__version__}", help="show the version"
    )
    parser.add_argument("-h", "--help", action="help", help="show this help")


def _add_override(parser: Parser, option: str, key: Key) -> None:
    """An option in place of a key; all of them share three lines of the epilog."""
    parser.add_argument(
        option, dest=key.attribute, type=_value_of(key), metavar="VALUE", help=argparse.SUPPRESS
    )


def _binary(text: str) -> str:
    """One of `BINARIES`."""
    if text not in BINARIES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {', '.join(BINARIES)}{did_you_mean(text, BINARIES)}"
        )
    return text


def _not_empty(text: str) -> str:
    """A folder; an empty text is an unset shell variable and would mean the root of the file system."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; give a folder, ./ for the current one")
    return text


def _value_of(key: Key) -> Callable[[str], Any]:
    """Parser of an option's value, by the rules of the config key it stands for."""

    def parse(text: str) -> Any:
        try:
            return key.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} {error}") from None

    return parse
