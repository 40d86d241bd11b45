"""The command line: arguments in, exit code out. The only module that prints.

Plain options explain a list of images. A first word that is no option is reserved for subcommands.
"""

import argparse
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from .arguments import INTRODUCTION, demo_arguments, list_arguments
from .config import KEYS, HeatmapConfig, read_config
from .errors import CaffeLrpError, ExitCode
from .filelist import read_filelist

if TYPE_CHECKING:
    from .batch.job import HeatmapJob, JobOutcome, OutputLayout
    from .batch.session import Session
    from .outputs.writers import OutputKind

_ALL_FILES: "Sequence[OutputKind]" = ("heatmap", "input", "top10", "rawhm")
_TEXT_FILES: "Sequence[OutputKind]" = ("top10", "rawhm")
#: ``-b`` -> (files written, whole batches).
_BINARIES = {
    "default": (_ALL_FILES, False),
    "default_minimal": (_TEXT_FILES, False),
    "parallel": (_ALL_FILES, True),
    "parallel_minimal": (_TEXT_FILES, True),
}

#: Escape sequences of the colours we use; only a terminal is sent them.
_COLOURS = {"good": "\x1b[32m", "bad": "\x1b[31m"}
_NO_COLOUR = "\x1b[0m"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``caffe-lrp``; returns the exit code."""
    if not (sys.argv[1:] if arguments is None else arguments):
        _prepare_streams()
        _say(INTRODUCTION, sys.stdout)
        return ExitCode.USAGE
    return _guarded(list_arguments, arguments)


def demo_main(arguments: Sequence[str] | None = None) -> int:
    """Run ``caffe-lrp-demo CONFIG FILELIST PREPATH``, the drop-in for the reference's program."""
    return _guarded(demo_arguments, arguments)


def _guarded(
    read: Callable[[Sequence[str] | None], argparse.Namespace], arguments: Sequence[str] | None
) -> int:
    """Run with every foreseeable end turned into an exit code."""
    _prepare_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    options = read(arguments)
    try:
        return _run(options)
    except CaffeLrpError as error:
        return _stopped(error.exit_code, "error", str(error))
    except KeyboardInterrupt:
        return _stopped(ExitCode.INTERRUPTED, "interrupted", "files written so far are complete")
    except MemoryError:
        return _stopped(ExitCode.INTERNAL, "error", "not enough memory to load the net; end other programs")
    except Exception as error:
        if options.verbose:
            raise
        reason = f"please report it with what -v prints: {type(error).__name__}: {error}"
        return _stopped(ExitCode.INTERNAL, "internal error", reason)


def _stopped(code: ExitCode, how: str, why: str) -> ExitCode:
    """Say how and why the run ended before its time; returns ``code``."""
    _say(f"caffe-lrp: {_coloured(how, 'bad', sys.stderr)}: {why}", sys.stderr)
    return code


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


def _coloured(text: str, colour: str, stream: TextIO) -> str:
    """``text`` in a colour if ``stream`` is a terminal that wants some (see https://no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"{_COLOURS[colour]}{text}{_NO_COLOUR}"


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    config = read_config(options.config, _overrides(options))
    entries = read_filelist(options.filelist) if options.filelist else []
    # Numba and OpenCV take a second to load: not for --help, nor for a wrong config.
    from .batch.check import notices  # noqa: PLC0415
    from .batch.job import make_jobs, refuse_clashes  # noqa: PLC0415
    from .batch.session import open_session  # noqa: PLC0415

    jobs = make_jobs(entries, _layout(options, config), config.place_of("path_root"))
    if not options.is_demo:
        refuse_clashes(jobs, options.filelist, names_have_targets=options.suffix_target)
    session = open_session(config)
    if not options.quiet:
        for notice in notices(session, config):
            _say(f"caffe-lrp: note: {notice}", sys.stderr)
    return _check(options, session, jobs) if options.dry_run else _explain(options, session, jobs)


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


def _check(options: argparse.Namespace, session: "Session", jobs: Sequence["HeatmapJob"]) -> int:
    """Show layers and rules, and the lines of the list that will fail."""
    from .batch.check import foreseeable_fault  # noqa: PLC0415 - as in _run

    _print_plan(session)
    failed = False
    for job in jobs:
        fault = foreseeable_fault(session, job)
        if fault:
            failed = True
            _say(_failure(options, job, fault), sys.stderr)
    return ExitCode.IMAGES_FAILED if failed else ExitCode.DONE


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
    started = time.monotonic()
    done: list[str] = []
    hide_bar = options.quiet or not sys.stderr.isatty()
    with tqdm(total=len(jobs), unit="image", disable=hide_bar, dynamic_ncols=True) as bar:
        for outcome in run_jobs(session, jobs, kinds, batch_size):
            if not outcome.is_done:
                _say(_failure(options, outcome.job, outcome.error), sys.stderr, bar.write)
            else:
                done.append(str(outcome.job.stem))
                if options.verbose:
                    _say(_success(outcome, session), sys.stdout, bar.write)
            bar.update()
    if not options.quiet:
        _say(_summary(len(jobs), done, kinds, time.monotonic() - started), sys.stdout)
    return ExitCode.DONE if len(done) == len(jobs) else ExitCode.IMAGES_FAILED


def _summary(job_count: int, done: Sequence[str], kinds: "Sequence[OutputKind]", seconds: float) -> str:
    """What was done, and what was written where; ``done`` are the stems of the files."""
    from .outputs.writers import OUTPUTS  # noqa: PLC0415 - as in _run

    failed = job_count - len(done)
    text = _coloured(f"{len(done)} of {job_count} heatmaps made", "bad" if failed else "good", sys.stdout)
    text += f" in {seconds:.1f} s"
    if failed:
        text += f", {failed} failed for the reasons given"
    if done:
        folder = os.path.commonpath([Path(stem).parent for stem in done]) or "."
        suffixes = ", ".join(OUTPUTS[kind].suffix for kind in OUTPUTS if kind in kinds)
        text += f"\nfiles in {folder}: {suffixes}"
    return text


def _failure(options: argparse.Namespace, job: "HeatmapJob", error: str) -> str:
    """Line of the list, image and reason; a reason that begins with the image does not name it twice."""
    image = f"{job.image}: "
    line = _coloured(f"line {job.line}", "bad", sys.stderr)
    return f"{options.filelist}: {line}: {image}{error.removeprefix(image)}"


def _success(outcome: "JobOutcome", session: "Session") -> str:
    job, best = outcome.job, ""
    if outcome.best_class is not None:
        best = f"best class {outcome.best_class} ({session.label_of(outcome.best_class)}), "
    return f"{job.image}: {best}{outcome.seconds:.2f} s, files {job.stem}_*"
