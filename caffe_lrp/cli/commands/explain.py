"""``caffe-lrp explain``: explains images with a net, from its two files, without a config."""

import argparse
from pathlib import Path

from caffe_lrp.cli.options import (
    MOST_RANKS,
    Parser,
    add_composite,
    add_override,
    at_most,
    checked,
    formulas_given,
    formulas_of,
    not_empty,
)
from caffe_lrp.cli.picture_options import add_picture_options
from caffe_lrp.config import is_config
from caffe_lrp.errors import UsageError
from caffe_lrp.files.reading import read_head
from caffe_lrp.files.recognition import SEARCHED_BYTES, why_foreign
from caffe_lrp.relevance.target import parse_target

HELP = "Explain images with a net, without a config. For a first look."

#: Settings of a model that have an option: attribute -> metavar, help.
SETTINGS = {
    "resize": ("HOW", "stretch, short-side, reference (longer side), none"),
    "base_size": ("PIXELS", "side to resize to; the net sees the centre"),
    "channel_order": ("ORDER", "BGR or RGB: the order that the net expects"),
    "mean_values": ("N,N,N", "mean to subtract: one number, or one per channel"),
    "mean_file": ("FILE", "mean image, instead of numbers"),
    "input_scale": ("N", "factor of the input, after the mean is subtracted"),
    "std_values": ("N,N,N", "what the input is divided by, instead of a factor"),
    "input_size": ("HxW", "size of the net's input, such as 480x640"),
    "head": ("NAME", "output whose classes are ranked"),
    "start_layer": ("LAYER", "where relevance starts"),
}

_USAGE = "caffe-lrp explain PROTOTXT CAFFEMODEL IMAGE ... [option ...]"
_EPILOG = """\
Every IMAGE becomes IMAGE_render.png. For folders of images, and outputs other
than pictures, write a config (caffe-lrp init) and run
caffe-lrp -c CONFIG --images DIR
"""


def add_arguments(parser: Parser) -> None:
    """Add the net, the images, and the options for the net and the pictures."""
    parser.usage = _USAGE
    parser.epilog = _EPILOG
    parser.words_go_anywhere = True
    add = parser.add_argument
    add("prototxt", type=Path, metavar="PROTOTXT", help="the net")
    add("caffemodel", type=Path, metavar="CAFFEMODEL", help="its weights")
    add("images", type=Path, nargs="*", metavar="IMAGE", help="photos or other pictures")
    add = parser.add_argument_group("output").add_argument
    add(
        "-p", "--prepath", type=not_empty, default="./", metavar="DIR",
        help="where pictures go (default ./)",
    )  # fmt: skip
    add("--sheet", type=Path, metavar="FILE", help="also put all pictures side by side into one PNG")
    add("--overwrite", action="store_true", help="replace existing pictures, and the sheet")
    explanation = parser.add_argument_group("explanation")
    add = explanation.add_argument
    add(
        "--target", type=checked(parse_target), metavar="CLASS",
        help="class to explain (default -1: the best; -2: best 5)",
    )  # fmt: skip
    add("--top", type=at_most(MOST_RANKS), metavar="K", help="a picture for each of the K best classes")
    add(
        "--formula", dest="formulas", type=formulas_of, metavar="CODES",
        help="such as 0,100; help: a list (default: suits the net)",
    )  # fmt: skip
    add_composite(explanation)
    add_override(explanation, "start_vector", "what relevance starts as, such as difference:285", "VECTOR")
    about_net = parser.add_argument_group(
        "net and preprocessing", "Options that are not given are chosen to suit the net, and printed."
    )
    about_net.add_argument("--labels", type=Path, metavar="FILE", help="class labels, one per line")
    for attribute, (metavar, text) in SETTINGS.items():
        add_override(about_net, attribute, text, metavar)
    add_picture_options(parser)
    parser.fault_of = _fault


def _is_foreign(path: Path) -> bool:
    """Return whether a file is of a known kind that is no prototxt, such as a PyTorch model."""
    try:
        return bool(why_foreign(read_head(path, "prototxt", UsageError, SEARCHED_BYTES), "prototxt"))
    except UsageError:  # reported later, by the run
        return False


def _fault(options: argparse.Namespace) -> str:
    """Return an error about missing or conflicting arguments; empty if there is none."""
    # Of a foreign prototxt, the run says more than that an image is missing: what it is, and what to do.
    lacks_images = not options.images and not _is_foreign(options.prototxt)
    faults = (
        (
            is_config(options.prototxt),
            f"{options.prototxt} is a config, which already names its net; explain takes the files of a "
            f"net: PROTOTXT CAFFEMODEL IMAGE. With a config: caffe-lrp -c {options.prototxt} -f FILELIST",
        ),
        (lacks_images, "IMAGE is missing: write PROTOTXT CAFFEMODEL IMAGE, in this order"),
        (
            options.mean_values is not None and options.mean_file is not None,
            "--mean-values and --mean-file cannot be combined; give only one of them",
        ),
        (
            options.std_values is not None and options.input_scale is not None,
            "--std-values and --input-scale cannot be combined; give only one of them",
        ),
        (
            options.top is not None and options.target is not None,
            "--top and --target cannot be combined; give only one of them",
        ),
    )
    return next((complaint for is_wrong, complaint in faults if is_wrong), "")


def run(options: argparse.Namespace) -> int:
    """Write the pictures, and print the classes of the images; return the exit code."""
    from caffe_lrp.cli.image_view import show_images  # noqa: PLC0415 - Numba takes its time

    options.formulas = formulas_given(options)
    options.halt.unwind()
    return show_images(options)
