"""``caffe-lrp -c … -f … -p …``: explain a list of images. Quick checks are made here."""

import argparse
import os
from pathlib import Path
from typing import Any

from caffe_lrp import __version__
from caffe_lrp.cli.halt import Halt
from caffe_lrp.cli.options import (
    BINARIES,
    DTYPES,
    MOST_RANKS,
    MOST_THREADS,
    Parser,
    add_canonize,
    add_composite,
    add_override,
    at_least_one,
    at_most,
    checked,
    formulas_given,
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

from . import options_of_all, overview

#: What ``caffe-lrp`` alone prints.
INTRODUCTION = """\
caffe-lrp explains the predictions of a Caffe image classifier, pixel by pixel.

A first look at a net, from its two files:
  caffe-lrp explain deploy.prototxt net.caffemodel photo.jpg

Write a config for it, then explain a folder of images:
  caffe-lrp init deploy.prototxt net.caffemodel -c net.yaml
  caffe-lrp -c net.yaml --images photos/ -p out

Or a list of images, a path and a class on each line (-1: the best class):
  caffe-lrp -c net.yaml -f list.txt -p out

No net at hand? scripts/demo.sh in the repository explains pictures with a small
net that comes with it.

The manual: caffe-lrp help          All options: caffe-lrp --help"""

HELP = "Explain the predictions of a Caffe image classifier, pixel by pixel."

_EPILOG = """\
commands (each has its own --help):
{commands}

exit codes: 0 all done, 1 internal error, 2 wrong usage, 3 bad config, model or list, 4 some images \
failed, 5 output cannot be written, 130 interrupted

The manual: caffe-lrp help"""


def list_parser() -> Parser:
    """The parser of ``caffe-lrp`` without a subcommand."""
    parser = Parser(
        prog="caffe-lrp",
        usage="caffe-lrp -c CONFIG -f FILELIST [-p DIR] [option ...]\n"
        "       caffe-lrp -c CONFIG --images DIR|TAR [-p DIR] [option ...]\n"
        "       caffe-lrp COMMAND ...",
        description=HELP,
        epilog=_EPILOG.format(commands=overview()),
    )
    parser.options_elsewhere = options_of_all
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
    parser.add_argument("config", type=Path, metavar="CONFIG", help="net, mean and formula")
    parser.add_argument("filelist", type=Path, metavar="FILELIST", help="a path and a class on each line")
    parser.add_argument(
        "prepath", metavar="PREPATH", help="put before image paths: ./, or / if they are absolute"
    )
    _add_common(parser)
    # Options that the demo lacks keep their defaults.
    parser.set_defaults(**vars(list_parser().parse_args([])) | {"is_demo": True})
    return parser


def add_arguments(parser: Parser) -> None:
    """Add all arguments; missing and conflicting ones are checked at the end."""
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    _add_sources(parser)
    _add_explanation(parser)
    _add_output(parser)
    add_picture_options(parser, "pictures (of --outputs render)")
    _add_speed(parser)
    _add_runs(parser)
    messages = parser.add_argument_group("messages")
    loudness = messages.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="store_true", help="print a line for every map")
    loudness.add_argument("--quiet", action="store_true", help="print errors only")
    _add_common(messages)
    parser.set_defaults(is_demo=False)
    parser.fault_of = _fault


def _add_common(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("-h", "--help", action="help", help="show this help")
    parser.add_argument(
        "--version", action="version", version=f"caffe-lrp {__version__}", help="show the version"
    )


def _add_sources(parser: Parser) -> None:
    add = parser.add_argument_group("config and list").add_argument
    add("-c", "--config", type=Path, metavar="FILE", help="net, mean and formula, see: caffe-lrp help config")
    add(
        "-f",
        "--filelist",
        type=Path,
        metavar="FILE",
        help="a path and a class on each line; -1: the best class",
    )
    add("--dry-run", action="store_true", help="check config, net and list, show the layers, stop")
    add = parser.add_argument_group("images").add_argument
    add("--images", type=Path, metavar="DIR|TAR", help="a folder or a tar archive, instead of a list")
    add(
        "--target", type=checked(parse_target), metavar="CLASS",
        help="with --images: the class (default -1: the best)",
    )  # fmt: skip
    add("--image-root", default="", metavar="DIR", help="base folder of relative paths in the list")
    add(
        "--max-pixels", type=pixels_of, default=pixels_of("180M"), metavar="N",
        help="refuse larger images (default 180M, at most 1G)",
    )  # fmt: skip


#: Options that replace a value of the config: attribute -> metavar, help.
_OVERRIDES = {
    "epsilon": ("N", "ε of the ε rule"),
    "beta": ("N", "β of the αβ rule, where α = 1 + β"),
    "gamma": ("N", "γ of the γ rule (default 0.25)"),
    "switch_layer": ("LAYER", "up to this layer, formulas use their lower rule"),
    "start_layer": ("LAYER", "where relevance starts: index, name, -1, -2 or auto"),
    "start_vector": ("VECTOR", "as what: score, difference:285, a .npy file, …"),
    "first_layer": ("LAYER", "where the backward pass ends (0: at the image)"),
    "head": ("NAME", "output whose classes are ranked"),
    "input_size": ("HxW", "size of the net's input, such as 480x640"),
    "quirks": ("MODE", "reference: like the toolbox (default); or corrected"),
}


def _add_explanation(parser: Parser) -> None:
    group = parser.add_argument_group("explanation", "Most of these replace a value of the config.")
    add = group.add_argument
    add(
        "--formula", dest="formulas", type=formulas_of, metavar="CODES",
        help="such as 0,100; --formula help lists them",
    )  # fmt: skip
    add_composite(group)
    for attribute, (metavar, text) in _OVERRIDES.items():
        add_override(group, attribute, text, metavar)
    add_canonize(group, "batch normalization: auto (default) merges it, or off")
    add(
        "--top",
        type=at_most(MOST_RANKS),
        metavar="K",
        help="maps of the K best classes, not of those in the list",
    )


def _add_output(parser: Parser) -> None:
    add = parser.add_argument_group("output").add_argument
    add("-p", "--prepath", type=not_empty, default="./", metavar="DIR", help="where output goes (default ./)")
    add("--outputs", type=kinds_of, metavar="KINDS", help="such as heatmap,npy; --outputs help lists them")
    add(
        "-b", "--binary", type=one_of(*BINARIES), default=BINARIES[0], metavar="PROGRAM",
        help="default, parallel (batches); …_minimal: text only",
    )  # fmt: skip
    add(
        "--dtype", type=one_of(*DTYPES), default=DTYPES[0], metavar="TYPE",
        help=f"of npy, npz, h5: {' or '.join(DTYPES)} (default {DTYPES[0]})",
    )  # fmt: skip
    add("--input-dataset", action="store_true", help="with h5: also the inputs, and a ViRelAy project")
    add(
        "--dump-layers", type=layers_of, default=(), metavar="LAYERS",
        help="also write relevance at layers, such as conv5,12",
    )  # fmt: skip
    add("--conservation", action="store_true", help="also write where relevance is lost")
    add("--suffix-target", action="store_true", help="put formula and class into file names")
    add("--overwrite", action="store_true", help="replace files of a run with other settings")


def _add_speed(parser: Parser) -> None:
    add = parser.add_argument_group("speed").add_argument
    add("--threads", type=at_most(MOST_THREADS), metavar="N", help="default: one per processor")
    add("--memory", type=memory_of, metavar="SIZE", help="limit, such as 4G (default: half of what is free)")
    add("--batch", type=at_least_one, metavar="N", help="images in a batch (default 16, or fewer)")
    add(
        "--convolution", type=one_of(*CONVOLUTIONS), default=CONVOLUTIONS[0], metavar="METHOD",
        help=f"{', '.join(CONVOLUTIONS)} (default {CONVOLUTIONS[0]})",
    )  # fmt: skip


def _add_runs(parser: Parser) -> None:
    add = parser.add_argument_group("long runs").add_argument
    add("--retry-failed", action="store_true", help="retry images that failed in an earlier run")
    add(
        "--max-failures", type=at_least_one, metavar="N", help="stop once N maps have failed (default: go on)"
    )
    add("--no-sync", action="store_true", help="do not wait for the disk: faster, less safe")
    add = parser.add_argument_group("cluster").add_argument
    add("--shard", type=shard_of, metavar="I/N", help="part I of N, counted from 0; auto: from Slurm")
    add("--dask", type=not_empty, metavar="ADDRESS", help="do the work on a Dask cluster")


def _fault(options: argparse.Namespace) -> str:
    """Return an error about missing or conflicting arguments; empty if there is none."""
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
            "-f/--filelist is missing: the list of images; only --images and --dry-run work without it",
        ),
        (has_list and has_images, "-f/--filelist and --images cannot be combined; give only one of them"),
        (
            bool(options.image_root) and has_images,
            "--image-root is only for lists; --images already gives the folder of the images",
        ),
        (
            options.target is not None and not has_images,
            "--target is only for --images; in a list, every line has its own class",
        ),
        (
            options.input_dataset and "h5" not in (options.outputs or ()),
            "--input-dataset needs --outputs h5",
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
    options.formulas = formulas_given(options)
    config = read_config(options.config, _overrides(options))
    entries: EntryList | None = None
    if options.images:
        output_root = Path(f"{options.prepath}/{config.output_root}")
        entries = read_images(options.images, options.target or Target(-1), output_root)
    elif options.filelist:
        entries = read_filelist(options.filelist)
    # Numba and OpenCV take a second to load: too long for --help or a wrong config.
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
    """Return the values given on the command line, by attribute of the config."""
    given = vars(options) | {"formula": options.formulas[0] if options.formulas else None}
    return {key.attribute: given[key.attribute] for key in KEYS if given.get(key.attribute) is not None}
