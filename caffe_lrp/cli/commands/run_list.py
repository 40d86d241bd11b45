"""``caffe-lrp -c … -f … -p …``: explain a list of images. What can be checked in no time is checked here."""

import argparse
import os
import textwrap
from pathlib import Path
from typing import Any

from caffe_lrp import __version__
from caffe_lrp.cli.halt import Halt
from caffe_lrp.cli.options import (
    BINARIES,
    DTYPES,
    MOST_RANKS,
    MOST_THREADS,
    OVERRIDES,
    WIDTH,
    Parser,
    add_canonize,
    add_override,
    at_least_one,
    at_most,
    checked,
    formulas_of,
    kinds_of,
    layers_of,
    memory_of,
    not_empty,
    one_of,
    pixels_of,
    shard_of,
)
from caffe_lrp.cli.picture_options import add_picture_options, picture_options_of
from caffe_lrp.config import CONVOLUTIONS, KEYS, read_config
from caffe_lrp.errors import placing
from caffe_lrp.outputs.kinds import RENDER
from caffe_lrp.relevance.target import Target, parse_target
from caffe_lrp.sources.collection import read_images
from caffe_lrp.sources.filelist import EntryList, read_filelist

from . import COMMANDS

#: What ``caffe-lrp`` alone prints.
INTRODUCTION = """\
caffe-lrp explains the predictions of a Caffe image classifier, pixel by pixel.

  caffe-lrp -c config.txt -f filelist.txt -p outdir/

config.txt    names the net (prototxt and caffemodel), its mean image and class
              labels, and the formula; the repository's configs/ has examples
filelist.txt  one image a line: its path and the class to explain, -1 for the best
outdir/       receives a heatmap and three other files for every line

No config? The two files of a net are enough for a first look:

  caffe-lrp explain net.prototxt net.caffemodel photo.jpg

Never tried it? scripts/demo.sh of the repository explains pictures with a small
net that comes with it. All options: caffe-lrp --help"""

HELP = "Explain the predictions of a Caffe image classifier, pixel by pixel."

_COMMANDS = textwrap.fill(f"also: caffe-lrp {', '.join(COMMANDS)} (each: --help)", WIDTH)
_EPILOG = f"""\
for config values: --formula CODES --eps ε --beta β --gamma γ --head NAME
  --start-layer, --first-layer, --switch-layer LAYER --quirks, --input-size
images: --image-root DIR  --images DIR|TAR  --target CLASS  --max-pixels N
output: --outputs --dtype --input-dataset --dump-layers --conservation --no-sync
with --outputs render: --cmap NAME --mode --size --range --sign --pool --photo
  --exponent --level --opacity --bar
net: --threads N  --memory 4G  --batch N  --convolution, --canonize METHOD
runs: --shard --dask --retry-failed --max-failures --overwrite --suffix-target
{_COMMANDS}
exit codes: 0 all done, 1 internal error, 2 wrong usage, 3 bad config, model or
list, 4 some images failed, 5 bad output folder, 130 interrupted
"""


def list_parser() -> Parser:
    """The parser of ``caffe-lrp`` without a subcommand."""
    parser = Parser(
        prog="caffe-lrp",
        usage="caffe-lrp -c CONFIG -f FILELIST [-p DIR] [option ...]",
        description=HELP,
        epilog=_EPILOG,
    )
    add_arguments(parser)
    return parser


def demo_parser() -> Parser:
    """The parser of ``caffe-lrp-demo``, the drop-in for the reference's program."""
    parser = Parser(
        prog="caffe-lrp-demo",
        description="Drop-in for the LRP Toolbox's lrp_demo: PREPATH is put before every image path, "
        "output goes to the config's standalone_outpath.",
        formatter_class=argparse.HelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("filelist", type=Path, metavar="FILELIST")
    parser.add_argument("prepath", metavar="PREPATH")
    _add_common(parser, "show this help", "show the version")
    # Whatever cannot be said here is as where it can, but is not.
    parser.set_defaults(**vars(list_parser().parse_args([])) | {"is_demo": True})
    return parser


def add_arguments(parser: Parser) -> None:
    """Add everything; what must be given, and what goes together, is checked in the end."""
    add = parser.add_argument
    add("words", nargs="*", help=argparse.SUPPRESS)
    add("-c", "--config", type=Path, metavar="FILE", help="config: net, mean image, formula")
    add("-f", "--filelist", type=Path, metavar="FILE", help="images, 'path class' a line; -1: best class")
    add("-p", "--prepath", type=not_empty, default="./", metavar="DIR", help="where output goes (default ./)")
    add(
        "-b", "--binary", type=one_of(*BINARIES), default=BINARIES[0], metavar="KEY",
        help="default, parallel (batches); …_minimal: text only",
    )  # fmt: skip
    add(
        "--top", type=at_most(MOST_RANKS), metavar="K", help="maps of the K best classes, not of those listed"
    )
    add("--dry-run", action="store_true", help="check config, net and list, show layers, stop")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="print a line for every map; errors only: --quiet"
    )
    loudness.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    _add_common(parser, "show this help; the version: --version", argparse.SUPPRESS)
    _add_hidden(parser)
    parser.set_defaults(is_demo=False)
    parser.fault_of = _fault


def _add_common(parser: Parser, about_help: str, about_version: str) -> None:
    parser.add_argument("-h", "--help", action="help", help=about_help)
    parser.add_argument("--version", action="version", version=f"caffe-lrp {__version__}", help=about_version)


def _add_hidden(parser: Parser) -> None:
    """Options that share a few lines of the epilog."""

    def add(option: str, **settings: Any) -> None:
        parser.add_argument(option, help=argparse.SUPPRESS, **settings)

    add("--formula", dest="formulas", type=formulas_of, metavar="CODES")
    for attribute in OVERRIDES:
        add_override(parser, attribute)
    add("--threads", type=at_most(MOST_THREADS), metavar="VALUE")
    add("--memory", type=memory_of, metavar="VALUE")
    add("--batch", type=at_least_one, metavar="VALUE")
    add("--image-root", default="", metavar="DIR")
    add("--suffix-target", action="store_true")
    add("--images", type=Path, metavar="DIR|TAR")
    add("--target", type=checked(parse_target), metavar="CLASS")
    add("--outputs", type=kinds_of, metavar="KINDS")
    add_picture_options(parser, is_hidden=True)
    add("--dtype", type=one_of(*DTYPES), default=DTYPES[0])
    add("--input-dataset", action="store_true")
    add("--dump-layers", type=layers_of, default=(), metavar="LAYERS")
    add("--conservation", action="store_true")
    add("--shard", type=shard_of, metavar="I/N")
    add("--dask", type=not_empty, metavar="ADDRESS")
    add("--overwrite", action="store_true")
    add("--no-sync", action="store_true")
    add("--retry-failed", action="store_true")
    add("--max-failures", type=at_least_one, metavar="N")
    add("--max-pixels", type=pixels_of, default=pixels_of("180M"), metavar="N")
    add("--convolution", type=one_of(*CONVOLUTIONS), default=CONVOLUTIONS[0])
    add_canonize(parser)


def _fault(options: argparse.Namespace) -> str:
    """What is missing, or does not go together; empty if nothing."""
    has_list, has_images = options.filelist is not None, options.images is not None
    word = options.words[0] if options.words else ""
    picture = next(iter(picture_options_of(options)), "")
    faults = (
        (
            bool(options.words),
            f"'{word}' needs an option before it; write -c CONFIG -f FILELIST -p DIR (or use "
            "caffe-lrp-demo CONFIG FILELIST PREPATH)",
        ),
        (options.config is None, "-c/--config is missing: the config file"),
        (
            not has_list and not has_images and not options.dry_run,
            "-f/--filelist is missing: the list of images; only --images and --dry-run do without",
        ),
        (has_list and has_images, "-f/--filelist and --images exclude each other: give one of them"),
        (
            bool(options.image_root) and has_images,
            "--image-root is for lists; the images of --images are where it says",
        ),
        (
            options.target is not None and not has_images,
            "--target is for --images; in a list, every line has its own class",
        ),
        (
            options.input_dataset and "h5" not in (options.outputs or ()),
            "--input-dataset goes with the database of --outputs h5",
        ),
        (
            bool(picture) and RENDER not in (options.outputs or ()),
            f"--{picture} goes with the picture of --outputs {RENDER}",
        ),
    )
    return next((complaint for is_wrong, complaint in faults if is_wrong), "")


def run(options: argparse.Namespace) -> int:
    """Explain all images of the list; the exit code."""
    halt: Halt = options.halt
    config = read_config(options.config, _overrides(options))
    entries: EntryList | None = None
    if options.images:
        output_root = Path(f"{options.prepath}/{config.output_root}")
        entries = read_images(options.images, options.target or Target(-1), output_root)
    elif options.filelist:
        entries = read_filelist(options.filelist)
    # Numba and OpenCV take a second to load: not for --help, nor for a wrong config.
    from caffe_lrp.batch.preparation import prepare_run  # noqa: PLC0415
    from caffe_lrp.batch.run import explain_list  # noqa: PLC0415
    from caffe_lrp.cli.reporter import Reporter  # noqa: PLC0415
    from caffe_lrp.cli.run_options import model_settings, run_options  # noqa: PLC0415

    halt.unwind()
    places = {**config.places, "layers": "--dump-layers"}
    with placing(places):
        run = prepare_run(run_options(options, config), model_settings(options, config), entries, os.environ)
        reporter = Reporter(run, places, quiet=options.quiet, verbose=options.verbose)
        reporter.show_notes()
        if options.dry_run:
            return reporter.show_check()
        return reporter.follow(explain_list(run, halt, reporter.show))


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Values given on the command line, by attribute of the config."""
    given = vars(options) | {"formula": options.formulas and options.formulas[0]}
    return {key.attribute: given[key.attribute] for key in KEYS if given.get(key.attribute) is not None}
