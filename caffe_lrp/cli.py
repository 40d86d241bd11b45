"""The command line: arguments in, exit code out. The only module that prints.

Plain options explain a list of images. A first word that is no option is reserved for subcommands.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from . import __version__
from .config import KEYS, HeatmapConfig, Key, read_config
from .errors import CaffeLrpError, ExitCode
from .filelist import read_filelist

if TYPE_CHECKING:
    from .batch.job import HeatmapJob, JobOutcome, OutputLayout
    from .batch.session import Session
    from .outputs.writers import OutputKind

_DESCRIPTION = "Explain the predictions of a Caffe image classifier, pixel by pixel."
_EXAMPLES = """\
examples:
  caffe-lrp -c config.txt -f filelist.txt -p outdir/
  caffe-lrp -c config.txt -f filelist.txt --formula 0 --eps 0.01 --suffix-target
  caffe-lrp -c config.txt -f filelist.txt --dry-run      show layers and rules, explain nothing

The list has one 'path class' a line; class -1 is the best class, -2 the five best together.
exit codes: 0 all done, 1 internal error, 2 wrong usage, 3 bad config, model or list,
  4 some images failed (the others are written), 130 interrupted
"""

#: Options that replace a value of the config file: option -> (key of the file, help).
_OVERRIDES = {
    "--formula": ("relpropformulatype", "formula code"),
    "--eps": ("epsstab", "ε of the ε rule"),
    "--beta": ("alphabeta_beta", "β of the αβ rule"),
    "--switch-layer": (
        "auxiliaryvariable_maxlayerindexforflatdistinconv",
        "last layer with the formula's lower rule",
    ),
    "--start-layer": ("lastlayerindex", "layer where relevance starts"),
    "--first-layer": ("firstlayerindex", "lowest layer to pass"),
    "--quirks": ("quirks", "reference (default): as the program we replace; corrected: without its quirks"),
}

_ALL_FILES: "Sequence[OutputKind]" = ("heatmap", "input", "top10", "rawhm")
_TEXT_FILES: "Sequence[OutputKind]" = ("top10", "rawhm")
#: ``-b``: names of the reference's four programs -> (files written, whole batches).
_BINARIES = {
    "default": (_ALL_FILES, False),
    "default_minimal": (_TEXT_FILES, False),
    "parallel": (_ALL_FILES, True),
    "parallel_minimal": (_TEXT_FILES, True),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``caffe-lrp``; returns the exit code."""
    return _guarded(_parser(), arguments)


def demo_main(arguments: Sequence[str] | None = None) -> int:
    """Run ``caffe-lrp-demo CONFIG FILELIST PREPATH``, the drop-in for the reference's program."""
    return _guarded(_demo_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="caffe-lrp",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="config file")
    parser.add_argument("-f", "--filelist", type=Path, required=True, metavar="FILE", help="list of images")
    parser.add_argument(
        "-p", "--prepath", type=_not_empty, default="./", metavar="DIR", help="where output goes (default ./)"
    )
    parser.add_argument(
        "-b", "--binary", choices=_BINARIES, default="default", metavar="KEY",
        help="what is written: default, default_minimal (text files only), parallel, parallel_minimal "
        "(in batches of the net's input dimension)",
    )  # fmt: skip
    parser.add_argument("--image-root", default="", metavar="DIR", help="folder of relative image paths")
    parser.add_argument(
        "--suffix-target", action="store_true", help="put formula and class into the names of the files"
    )
    keys = {key.name: key for key in KEYS}
    replacing = parser.add_argument_group("in place of the config file's value")
    for option, (name, text) in _OVERRIDES.items():
        key = keys[name]
        replacing.add_argument(option, dest=key.attribute, type=_value_of(key), metavar="VALUE", help=text)
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, show layers and rules, stop"
    )
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="print errors only")
    loudness.add_argument("-v", "--verbose", action="store_true", help="print a line for every image")
    parser.add_argument("--version", action="version", version=f"caffe-lrp {__version__}")
    parser.set_defaults(is_demo=False)
    return parser


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


def _demo_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="caffe-lrp-demo",
        description="Drop-in for the LRP Toolbox's lrp_demo: PREPATH is put before every image path, "
        "output goes to the config's standalone_outpath.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("filelist", type=Path, metavar="FILELIST")
    parser.add_argument("prepath", metavar="PREPATH")
    parser.add_argument("--version", action="version", version=f"caffe-lrp {__version__}")
    parser.set_defaults(
        is_demo=True, binary="default", suffix_target=False, dry_run=False, quiet=False, verbose=False
    )
    return parser


def _guarded(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Run with every foreseeable end turned into an exit code."""
    _prepare_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except CaffeLrpError as error:
        _say(f"caffe-lrp: error: {error}", sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        _say("caffe-lrp: interrupted; files written so far are complete", sys.stderr)
        return ExitCode.INTERRUPTED
    except MemoryError:
        _say("caffe-lrp: error: not enough memory to load the net", sys.stderr)
        return ExitCode.INTERNAL
    except Exception as error:
        if options.verbose:
            raise
        reason = f"{type(error).__name__}: {error}"
        _say(f"caffe-lrp: internal error, please report it with what -v prints: {reason}", sys.stderr)
        return ExitCode.INTERNAL


def _prepare_streams() -> None:
    """Make printing safe: a closed stream swallows, and characters the terminal lacks are escaped."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - open until the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(text: str, stream: TextIO, write: Callable[..., None] = print) -> None:
    """Print a line; if nobody can read it any more (``caffe-lrp … | head``), the work goes on silently."""
    try:
        write(text, file=stream)
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    config = read_config(options.config, _overrides(options))
    entries = read_filelist(options.filelist)
    # Numba and OpenCV take a second to load: not for --help, nor for a wrong config.
    from .batch.job import make_jobs, refuse_clashes  # noqa: PLC0415
    from .batch.session import open_session  # noqa: PLC0415

    jobs = make_jobs(entries, _layout(options, config))
    if not options.is_demo:
        refuse_clashes(jobs, options.filelist, names_have_targets=options.suffix_target)
    session = open_session(config)
    if options.dry_run:
        _print_plan(session)
        return ExitCode.DONE
    return _explain(options, session, jobs)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Values given on the command line, by attribute of the config."""
    given = vars(options)
    return {key.attribute: given[key.attribute] for key in KEYS if given.get(key.attribute) is not None}


def _layout(options: argparse.Namespace, config: HeatmapConfig) -> "OutputLayout":
    from .batch.job import OutputLayout  # noqa: PLC0415 - as in _run

    if options.is_demo:
        return OutputLayout(options.prepath, config.output_root, config.path_root, whole_path=True)
    return OutputLayout(
        options.image_root,
        f"{options.prepath}/{config.output_root}",
        config.path_root,
        formula=config.formula if options.suffix_target else None,
    )


def _print_plan(session: "Session") -> None:
    """One line a layer: index, name, type, output shape, rule."""
    rows = [("index", "name", "type", "output", "rule")]
    for layer in session.net.layers:
        rule = session.plan.rule_of(layer)
        shape = "×".join(map(str, (session.net.batch_size, *layer.output_shapes[0])))
        rows.append((str(layer.index), layer.name, layer.type, shape, rule.title if rule else "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _say(line.rstrip(), sys.stdout)


def _explain(options: argparse.Namespace, session: "Session", jobs: Sequence["HeatmapJob"]) -> int:
    """Explain all jobs with progress, print failures as they come and a summary at the end."""
    from tqdm import tqdm  # noqa: PLC0415 - as in _run

    from .batch.runner import run_jobs  # noqa: PLC0415

    kinds, whole_batches = _BINARIES[options.binary]
    batch_size = session.net.batch_size if whole_batches else 1
    failed = 0
    hide_bar = options.quiet or not sys.stderr.isatty()
    with tqdm(total=len(jobs), unit="image", disable=hide_bar, dynamic_ncols=True) as bar:
        for outcome in run_jobs(session, jobs, kinds, batch_size):
            if not outcome.is_done:
                failed += 1
                _say(f"{options.filelist}: line {_failure(outcome)}", sys.stderr, bar.write)
            elif options.verbose:
                _say(_success(outcome, session), sys.stdout, bar.write)
            bar.update()
    if not options.quiet:
        failures = f", {failed} failed" if failed else ""
        _say(f"{len(jobs) - failed} of {len(jobs)} images explained{failures}", sys.stdout)
    return ExitCode.IMAGES_FAILED if failed else ExitCode.DONE


def _failure(outcome: "JobOutcome") -> str:
    """Line of the list, image and reason; a reason that begins with the image does not name it twice."""
    image = f"{outcome.job.image}: "
    return f"{outcome.job.line}: {image}{outcome.error.removeprefix(image)}"


def _success(outcome: "JobOutcome", session: "Session") -> str:
    job, best = outcome.job, ""
    if outcome.best_class is not None:
        best = f"best class {outcome.best_class} ({session.label_of(outcome.best_class)}), "
    return f"{job.image}: {best}{outcome.seconds:.2f} s, files {job.stem}_*"
