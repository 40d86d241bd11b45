"""``caffe-lrp render``: pictures of the maps of finished runs, drawn again without their models."""

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caffe_lrp.cli.halt import Halt
from caffe_lrp.cli.options import MOST_THREADS, Parser, at_most, not_empty
from caffe_lrp.cli.picture_options import add_picture_options, picture_options_of
from caffe_lrp.cli.terminal import remark, say
from caffe_lrp.errors import ExitCode, OutputError, placing
from caffe_lrp.messages import counted
from caffe_lrp.rendering.style import PICTURE_OPTIONS, PictureStyle, picture_style

if TYPE_CHECKING:
    from caffe_lrp.batch.painting import Painter, Survey
    from caffe_lrp.batch.sources_of_maps import FinishedMaps

HELP = "Draw the maps of finished runs again, without their nets. In any colours, over photos, on a sheet."

#: A value of --range for this command only: the largest range of any map.
_RUN = "run"
#: A sheet of more pictures takes a while, and is announced.
_MANY = 100
#: Shorter times, in seconds, are printed as "less than" this.
_LEAST_TOLD = 0.1
_EPILOG = """\
SOURCE is the output folder of a run, its maps.h5, or files of maps:
_relevance.npy, _relevance.npz, _rawhm.txt. Pictures are named …_render.png.
Pictures that exist in the same style are not drawn again, so the same command
resumes after an interruption. --range run gives all maps the same range, the
largest that any of them has by itself."""


def add_arguments(parser: Parser) -> None:
    """Add the sources, the output, and the style of the pictures."""
    add = parser.add_argument
    add("sources", type=Path, nargs="+", metavar="SOURCE", help="folder of a run, maps.h5, or files of maps")
    add = parser.add_argument_group("output").add_argument
    add("-p", "--prepath", type=not_empty, metavar="DIR", help="where pictures go (default: beside the maps)")
    add("--sheet", type=Path, metavar="FILE", help="also put all pictures side by side into one PNG")
    add("--image-root", type=Path, metavar="DIR", help="look for photos below DIR, not where the run did")
    add("--threads", type=at_most(MOST_THREADS), metavar="N", help="default: one per processor")
    add("--overwrite", action="store_true", help="replace pictures of another style, and the sheet")
    add_picture_options(parser)
    (ranges,) = (action for action in parser._actions if "--range" in action.option_strings)
    of_one_map: Any = ranges.type
    ranges.type = lambda text: text if text == _RUN else of_one_map(text)
    ranges.help = "max, robust, a number, percentile:P (99), or run"
    parser.usage = "caffe-lrp render SOURCE ... [-p DIR] [option ...]"
    parser.epilog = _EPILOG


def run(options: argparse.Namespace) -> int:
    """Draw the missing pictures; return the exit code."""
    from caffe_lrp.batch.painting import Painter  # noqa: PLC0415 - these load OpenCV
    from caffe_lrp.batch.photos import Photos  # noqa: PLC0415
    from caffe_lrp.batch.sheets import draw_sheet  # noqa: PLC0415
    from caffe_lrp.batch.sources_of_maps import FinishedMaps  # noqa: PLC0415
    from caffe_lrp.cli.sheet_file import require_room, write_sheet  # noqa: PLC0415
    from caffe_lrp.machine.resources import allowed_processors  # noqa: PLC0415

    halt: Halt = options.halt
    halt.unwind()
    given = picture_options_of(options)
    is_of_run = given.get("range") == _RUN
    with placing({option.name: f"--{option.name}" for option in PICTURE_OPTIONS}):
        style = picture_style(given | {"range": None} if is_of_run else given)
    if options.sheet:
        require_room(options.sheet, overwrite=options.overwrite)
    threads = options.threads or allowed_processors()
    folder = None if options.prepath is None else Path(options.prepath)
    with FinishedMaps(options.sources) as maps:
        if is_of_run:
            style = _of_run(maps, style, threads, halt)
        painter = Painter(style, Photos(options.image_root), folder)
        survey = painter.survey(maps)
        _refuse_others(survey, options)
        with halt.finishing():
            code = _paint(painter, maps, survey, threads, halt)
        if options.sheet and halt.is_requested():
            remark(f"interrupted: {options.sheet} was not drawn; run the same command again to continue")
            return ExitCode.INTERRUPTED
        if options.sheet:
            if survey.total > _MANY:
                remark(f"putting the pictures on {options.sheet}")
            write_sheet(options.sheet, draw_sheet(maps, painter), painter.style)
    return code


def _of_run(maps: "FinishedMaps", style: PictureStyle, threads: int, halt: Halt) -> PictureStyle:
    """Return the style with a common range for all maps: the largest of their own ranges."""
    from caffe_lrp.batch.painting import largest_reach  # noqa: PLC0415
    from caffe_lrp.cli.progress import Tally  # noqa: PLC0415

    counts = Counter(finished.formula for finished in maps)
    with Tally(counts.total(), "map", "maps measured for one range") as tally:
        reach = largest_reach(maps, style, threads, halt, tally.add)
    remark(f"note: range shared by {counted(tally.done, 'map')}: relevance up to {reach:.6g} ({style.range})")
    if len(counts) > 1:
        remark(
            f"note: these maps come from {len(counts)} formulas, whose relevance differs in scale, so some "
            "may look empty; to compare the maps of one formula, give only the files with "
            f"_f{max(counts)}_ in their names"
        )
    return replace(style, range=reach) if reach > 0 else style


def _refuse_others(survey: "Survey", options: argparse.Namespace) -> None:
    """Refuse to replace pictures without ``--overwrite``."""
    if survey.other is not None and not options.overwrite:
        more = f", as are {survey.other_count - 1:,} more" if survey.other_count > 1 else ""
        raise OutputError(
            f"{survey.other}: already exists, drawn in another style{more}; add --overwrite, or write the "
            "new ones to another folder (-p)"
        )


def _paint(painter: "Painter", maps: "FinishedMaps", survey: "Survey", threads: int, halt: Halt) -> ExitCode:
    """Draw the remaining pictures, and print a summary; return the exit code."""
    from caffe_lrp.cli.progress import Tally  # noqa: PLC0415

    left = survey.total - survey.done
    if not left:
        there = f"{survey.total:,} of {counted(survey.total, 'picture')} already exist"
        say(f"nothing left to do: {there}", sys.stdout)
        return ExitCode.DONE
    if survey.done:
        remark(f"note: {survey.done:,} of {counted(survey.total, 'picture')} already exist; {left:,} left")
    with Tally(left, "picture", "pictures") as tally:
        for painted in painter.paint(maps, threads, halt):
            tally.add(painted.error, painted.advice)
    drawn = survey.done + tally.done - tally.failed
    time = "less than 0.1 s" if tally.seconds < _LEAST_TOLD else f"{tally.seconds:.1f} s"
    text = f"{drawn:,} of {counted(survey.total, 'picture')} drawn in {time}"
    if survey.done:
        text += f", {survey.done:,} of them before"
    if tally.failed:
        text += f", {tally.failed:,} failed (reasons above)"
    if tally.failed < tally.done:
        text += f"; {tally.per_second:.3g} a second"
    say(text, sys.stdout)
    if halt.is_requested() and tally.done < left:
        remark(f"interrupted: {left - tally.done:,} left; run the same command again to continue")
        return ExitCode.INTERRUPTED
    return ExitCode.IMAGES_FAILED if tally.failed else ExitCode.DONE
