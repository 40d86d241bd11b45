"""What the two programs take: their options, the help, and suggestions where an option is misspelt.

What the commands besides the list take is in `subcommands`.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from caffe_lrp import __version__
from caffe_lrp.batch.shards import Shard, parse_shard
from caffe_lrp.config import CANONIZATIONS, CONVOLUTIONS, KEYS, Key
from caffe_lrp.machine.resources import parse_memory
from caffe_lrp.messages import did_you_mean
from caffe_lrp.outputs.kinds import DATABASE, OUTPUTS, in_order
from caffe_lrp.relevance.target import Target, parse_target

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
for config values: --formula CODES --eps ε --beta β --gamma γ --head NAME
  --start-layer, --first-layer, --switch-layer LAYER --quirks, --input-size
images: --image-root DIR  --images DIR|TAR  --target CLASS  --max-pixels N
output: --outputs --dtype --input-dataset --dump-layers --conservation --no-sync
net: --threads N  --memory 4G  --batch N  --convolution, --canonize METHOD
runs: --shard --dask --retry-failed --max-failures --overwrite --suffix-target
also: caffe-lrp inspect, status, merge, convert-config, warmup (each: --help)
exit codes: 0 all done, 1 internal error, 2 wrong usage, 3 bad config, model or
list, 4 some images failed, 5 bad output folder, 130 interrupted
"""

#: Options that replace a value of the config file: option -> key of the file. ``--formula`` is another.
OVERRIDES = {
    "--eps": "epsstab",
    "--beta": "alphabeta_beta",
    "--gamma": "gamma",
    "--quirks": "quirks",
    "--start-layer": "lastlayerindex",
    "--first-layer": "firstlayerindex",
    "--head": "head",
    "--switch-layer": "auxiliaryvariable_maxlayerindexforflatdistinconv",
    "--input-size": "input_size",
}

#: Names of the reference's four programs, the values of ``-b``.
BINARIES = ("default", "default_minimal", "parallel", "parallel_minimal")

#: Numbers of relevance, the values of ``--dtype``.
DTYPES = ("float32", "float16")

#: More threads than any machine has processors are a slip of the pen.
_MOST_THREADS = 1024
#: Each is a job for every image, before it is known how many classes the net has.
_MOST_RANKS = 10_000

#: Counts have no more; they fit into 64 bits then.
_MOST_DIGITS = 18

#: OpenCV decodes no larger images.
_MOST_PIXELS = 10**9
_PIXEL_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_PIXELS = re.compile(r"([0-9]{1,12}\.?[0-9]{0,12}|\.[0-9]{1,12})\s*([KMG]?)", re.IGNORECASE)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
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
    if options.filelist is None and options.images is None and not options.dry_run:
        parser.error("-f/--filelist is missing: the list of images; only --images and --dry-run do without")
    if options.filelist is not None and options.images is not None:
        parser.error("-f/--filelist and --images exclude each other: give one of them")
    if options.image_root and options.images is not None:
        parser.error("--image-root is for lists; the images of --images are where it says")
    if options.target is not None and options.images is None:
        parser.error("--target is for --images; in a list, every line has its own class")
    if options.input_dataset and DATABASE not in (options.outputs or ()):
        parser.error("--input-dataset goes with the database of --outputs h5")
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
        formatter_class=HelpFormatter,
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
        "-b", "--binary", type=_one_of(*BINARIES), default=BINARIES[0], metavar="KEY",
        help="default, parallel (batches); …_minimal: text only",
    )  # fmt: skip
    add("--top", type=_ranks, metavar="K", help="maps of the K best classes, not of those listed")
    add("--dry-run", action="store_true", help="check config, net and list, show layers, stop")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="print a line for every map; errors only: --quiet"
    )
    loudness.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    _add_common(parser, "show this help; the version: --version", argparse.SUPPRESS)
    _add_hidden(parser)
    parser.set_defaults(is_demo=False)
    return parser


def _add_hidden(parser: Parser) -> None:
    """Options that share a few lines of the epilog."""
    parser.add_argument(
        "--formula", dest="formulas", type=formulas_of, metavar="CODES", help=argparse.SUPPRESS
    )
    for option in OVERRIDES:
        add_override(parser, option)
    for option, kind in (("--threads", _threads), ("--memory", _memory), ("--batch", _at_least_one)):
        parser.add_argument(option, type=kind, metavar="VALUE", help=argparse.SUPPRESS)
    parser.add_argument("--image-root", default="", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--suffix-target", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=Path, metavar="DIR|TAR", help=argparse.SUPPRESS)
    parser.add_argument("--target", type=_target, metavar="CLASS", help=argparse.SUPPRESS)
    parser.add_argument("--outputs", type=_outputs, metavar="KINDS", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", type=_one_of(*DTYPES), default=DTYPES[0], help=argparse.SUPPRESS)
    parser.add_argument("--input-dataset", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--dump-layers", type=_layers, default=(), metavar="LAYERS", help=argparse.SUPPRESS)
    parser.add_argument("--conservation", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shard", type=_shard, metavar="I/N", help=argparse.SUPPRESS)
    parser.add_argument("--dask", type=_not_empty, metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("--overwrite", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-sync", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--retry-failed", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--max-failures", type=_at_least_one, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument(
        "--max-pixels", type=_pixels, default=_pixels("180M"), metavar="N", help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--convolution", type=_one_of(*CONVOLUTIONS), default=CONVOLUTIONS[0], help=argparse.SUPPRESS
    )
    add_canonize(parser)


def add_canonize(parser: Parser, help_text: str = argparse.SUPPRESS) -> None:
    """Add the option that says whether batch normalization is merged."""
    parser.add_argument(
        "--canonize", type=_one_of(*CANONIZATIONS), default=CANONIZATIONS[0], metavar="MODE", help=help_text
    )


def add_override(parser: Parser, option: str, help_text: str = argparse.SUPPRESS) -> None:
    """Add an option of `OVERRIDES`; its value is named as the attribute of the config."""
    key = next(known for known in KEYS if known.name == OVERRIDES[option])
    parser.add_argument(option, dest=key.attribute, type=value_of(key), metavar="VALUE", help=help_text)


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
    _add_common(parser, "show this help", "show the version")
    # Whatever cannot be said here is as where it can, but is not.
    parser.set_defaults(**vars(list_parser().parse_args([])) | {"is_demo": True})
    return parser


def _add_common(parser: Parser, about_help: str, about_version: str) -> None:
    parser.add_argument("-h", "--help", action="help", help=about_help)
    parser.add_argument("--version", action="version", version=f"caffe-lrp {__version__}", help=about_version)


def _one_of(*choices: str) -> Callable[[str], str]:
    """Parser of a value that is one of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"{text!r} is none of {', '.join(choices)}{did_you_mean(text, choices)}"
            )
        return text

    return parse


def formulas_of(text: str) -> tuple[int | str, ...]:
    """Numbers and names of formulas, between commas."""
    key = next(known for known in KEYS if known.attribute == "formula")
    try:
        codes = tuple(key.parse(part.strip()) for part in text.split(","))
    except ValueError as error:
        advice = "; write several with commas between them, such as 0,100" if "," in text else ""
        raise argparse.ArgumentTypeError(f"{text!r} {error}{advice}") from None
    for code in codes:
        if codes.count(code) > 1:
            raise argparse.ArgumentTypeError(f"{text!r} has the formula {code} twice")
    return codes


def _at_least_one(text: str) -> int:
    """A whole number from 1 on."""
    if len(text) > _MOST_DIGITS:  # Python refuses to read thousands of them
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at most {_MOST_DIGITS} digits")
    if not re.fullmatch("[+]?[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, at least 1")
    return int(text)


def _threads(text: str) -> int:
    """A number of threads."""
    return _at_most(_MOST_THREADS, text)


def _ranks(text: str) -> int:
    """A number of best classes."""
    return _at_most(_MOST_RANKS, text)


def _at_most(most: int, text: str) -> int:
    """A whole number from 1 to ``most``."""
    count = _at_least_one(text)
    if count > most:
        raise argparse.ArgumentTypeError(f"{text!r} must be at most {most}")
    return count


def _memory(text: str) -> int:
    """Bytes from a number and a unit."""
    try:
        return parse_memory(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def _outputs(text: str) -> tuple[str, ...]:
    """Kinds of output, between commas, in the order of writing."""
    return in_order(_one_of(*OUTPUTS)(part.strip()) for part in text.split(","))


def _layers(text: str) -> tuple[str, ...]:
    """Names or indices of layers, between commas."""
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be names or indices of layers, such as conv5,12")
    return names


def _target(text: str) -> Target:
    """What all images are explained for."""
    try:
        return parse_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def _shard(text: str) -> Shard | str:
    """A part of the list, or ``auto``."""
    if text == "auto":
        return text
    try:
        return parse_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def _pixels(text: str) -> int:
    """A number of pixels; units are powers of 1000, as of megapixels."""
    match = _PIXELS.fullmatch(text.strip())
    count = float(match[1]) * _PIXEL_UNITS[match[2].upper()] if match else 0
    if not 1 <= count <= _MOST_PIXELS:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 1 to 1G, such as 180M")
    return round(count)


def _not_empty(text: str) -> str:
    """A folder; an empty text is an unset shell variable and would mean the root of the file system."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; give a folder, ./ for the current one")
    return text


def value_of(key: Key) -> Callable[[str], Any]:
    """Parser of an option's value, by the rules of the config key it stands for."""

    def parse(text: str) -> Any:
        try:
            return key.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} {error}") from None

    return parse
