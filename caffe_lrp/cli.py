"""The command line: arguments in, exit code out. The only module that prints.

Plain options explain a list of images. A first word that is no option is a subcommand: ``warmup``.
"""

import argparse
import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from .arguments import INTRODUCTION, demo_arguments, list_arguments, warmup_arguments
from .config import KEYS, HeatmapConfig, read_config
from .errors import CaffeLrpError, ConfigError, ExitCode, UsageError
from .filelist import read_filelist

if TYPE_CHECKING:
    from .batch.job import HeatmapJob, JobOutcome, OutputLayout
    from .batch.schedule import Schedule
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
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        _prepare_streams()
        _say(INTRODUCTION, sys.stdout)
        return ExitCode.USAGE
    if given[0] == "warmup":
        return _guarded(_warm_up, warmup_arguments, given[1:])
    return _guarded(_run, list_arguments, given)


def demo_main(arguments: Sequence[str] | None = None) -> int:
    """Run ``caffe-lrp-demo CONFIG FILELIST PREPATH``, the drop-in for the reference's program."""
    return _guarded(_run, demo_arguments, arguments)


def _guarded(
    work: Callable[[argparse.Namespace], int],
    read: Callable[[Sequence[str] | None], argparse.Namespace],
    arguments: Sequence[str] | None,
) -> int:
    """Work with every foreseeable end turned into an exit code."""
    _prepare_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    options = read(arguments)
    try:
        return work(options)
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
    formulas = options.formulas or (config.formula,)
    if options.top is not None and options.top > config.class_count:
        raise ConfigError(
            f"{config.place_of('class_count')}: numclasses is {config.class_count}, but --top asks for the "
            f"{options.top} best classes; give {config.class_count} or fewer"
        )
    entries = read_filelist(options.filelist) if options.filelist else []
    # Numba and OpenCV take a second to load: not for --help, nor for a wrong config.
    from .batch.check import notices  # noqa: PLC0415
    from .batch.job import make_jobs, refuse_clashes  # noqa: PLC0415
    from .batch.resources import available_memory  # noqa: PLC0415
    from .batch.session import open_session  # noqa: PLC0415
    from .kernels._jit import CACHE_PLACE  # noqa: PLC0415

    layout = _layout(options, config)
    jobs = make_jobs(entries, layout, config.place_of("path_root"), formulas, options.top)
    if not options.is_demo:
        refuse_clashes(jobs, options.filelist, names_have_targets=layout.names_have_targets)
    memory = options.memory or available_memory() // 2  # asked before weights take some of it
    session = open_session(config, formulas, options.convolution)
    schedule, remarks = _schedule(options, session, jobs, memory)
    if not options.quiet:
        for notice in [*CACHE_PLACE.notices, *notices(session, config), *remarks]:
            _say(f"caffe-lrp: note: {notice}", sys.stderr)
    return _check(options, session, jobs) if options.dry_run else _explain(options, session, jobs, schedule)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Values given on the command line, by attribute of the config."""
    given = vars(options) | {"formula": options.formulas and options.formulas[0]}
    return {key.attribute: given[key.attribute] for key in KEYS if given.get(key.attribute) is not None}


def _layout(options: argparse.Namespace, config: HeatmapConfig) -> "OutputLayout":
    """Where images and outputs are; several maps of an image have names of their own without being asked."""
    from .batch.job import OutputLayout  # noqa: PLC0415 - as in _run

    if options.is_demo:
        return OutputLayout(options.prepath, config.output_root, config.path_root, whole_path=True)
    several = options.top is not None or len(options.formulas or ()) > 1
    return OutputLayout(
        options.image_root,
        f"{options.prepath}/{config.output_root}",
        config.path_root,
        names_have_targets=options.suffix_target or several,
    )


def _schedule(
    options: argparse.Namespace, session: "Session", jobs: Sequence["HeatmapJob"], memory: int
) -> "tuple[Schedule, list[str]]":
    """How the jobs are dealt out within some bytes of memory, and what is to be said of it."""
    from .batch import schedule  # noqa: PLC0415 - as in _run
    from .batch.batches import count_images  # noqa: PLC0415
    from .batch.job import has_clashes  # noqa: PLC0415
    from .batch.resources import allowed_processors  # noqa: PLC0415

    _, whole_batches = _BINARIES[options.binary]
    limits = schedule.Limits(
        threads=options.threads or allowed_processors(),
        memory=memory,
        batch_size=options.batch or (session.net.batch_size if whole_batches else None),
    )
    footprint = schedule.whole_footprint(session)
    planned = schedule.plan_schedule(footprint, count_images(jobs), limits, keeps_order=has_clashes(jobs))
    return planned, schedule.remarks_on(planned, footprint, limits)


def _check(options: argparse.Namespace, session: "Session", jobs: Sequence["HeatmapJob"]) -> int:
    """Show layers and rules, and the lines of the list that will fail."""
    from .batch.check import foreseeable_fault  # noqa: PLC0415 - as in _run

    _print_plan(session)
    complaints = [_failure(options, job, fault) for job in jobs if (fault := foreseeable_fault(session, job))]
    for complaint in dict.fromkeys(complaints):
        _say(complaint, sys.stderr)
    return ExitCode.IMAGES_FAILED if complaints else ExitCode.DONE


def _print_plan(session: "Session") -> None:
    """One line a layer: index, name, type, output shape, and the rule of every formula."""
    several = len(session.formulas) > 1
    rows = [["index", "name", "type", "output"]]
    rows[0] += [f"rule of {code}" if several else "rule" for code in session.formulas]
    for layer in session.net.layers:
        shape = "×".join(map(str, (session.net.batch_size, *layer.output_shapes[0])))
        rules = [plan.rule_of(layer) for plan in session.plans]
        titles = [rule.title if rule else "-" for rule in rules]
        rows.append([str(layer.index), layer.name, layer.type, shape, *titles])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _say(line.rstrip(), sys.stdout)


def _explain(
    options: argparse.Namespace, session: "Session", jobs: Sequence["HeatmapJob"], schedule: "Schedule"
) -> int:
    """Explain all jobs with progress, print failures as they come and a summary at the end."""
    from tqdm import tqdm  # noqa: PLC0415 - as in _run

    from .batch.pipeline import run_jobs  # noqa: PLC0415

    if options.verbose:
        _say(schedule.description, sys.stdout)
    kinds, _ = _BINARIES[options.binary]
    started = time.monotonic()
    done: list[str] = []
    last_failure = ""
    hide_bar = options.quiet or not sys.stderr.isatty()
    with (
        tqdm(total=len(jobs), unit="map", disable=hide_bar, dynamic_ncols=True) as bar,
        closing(run_jobs(session, jobs, kinds, schedule)) as outcomes,
    ):
        for outcome in outcomes:
            if outcome.is_done:
                done.append(str(outcome.job.stem))
                if options.verbose:
                    _say(_success(outcome, session), sys.stdout, bar.write)
            else:
                failure = _failure(options, outcome.job, outcome.error)
                if failure != last_failure:  # the maps of one line mostly fail together, for one reason
                    _say(failure, sys.stderr, bar.write)
                last_failure = failure
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
    return f"{job.image}: {best}{outcome.times.total:.2f} s, files {job.stem}_*"


def _warm_up(options: argparse.Namespace) -> int:
    """Compile all kernels ahead, by runs that need every one of them, and say how to make use of it."""
    if options.cpu:
        os.environ["CAFFE_LRP_CPU"] = options.cpu
    from tqdm import tqdm  # noqa: PLC0415 - as in _run

    from .kernels._jit import CACHE_PLACE, mark_cache_complete  # noqa: PLC0415
    from .warmup import prepare_runs  # noqa: PLC0415

    notices = "; ".join(CACHE_PLACE.notices)
    if CACHE_PLACE.folder is None:
        raise UsageError(f"nothing is compiled ahead: {notices}")
    if notices:
        _say(f"caffe-lrp: note: {notices}", sys.stderr)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="caffe-lrp-") as folder:
        runs = prepare_runs(Path(folder))
        for arguments in tqdm(runs, "compiling", disable=not sys.stderr.isatty(), dynamic_ncols=True):
            if _run(list_arguments(arguments)) != ExitCode.DONE:
                raise RuntimeError(f"failed: {' '.join(arguments)}")
    mark_cache_complete()
    _say(f"compiled in {time.monotonic() - started:.0f} s, kept in {CACHE_PLACE.folder}", sys.stdout)
    names = ("CAFFE_LRP_CPU", "CAFFE_LRP_CACHE_DIR")
    settings = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    if settings:
        _say(f"to run with it, set {' and '.join(settings)}", sys.stdout)
    return ExitCode.DONE
