"""Prints the events of a run over a list as they happen."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from typing import Any

from tqdm import tqdm

from caffe_lrp.batch.events import (
    Advanced,
    Compiling,
    Ended,
    Event,
    Finished,
    LargeImage,
    ProjectWritten,
    Resumed,
    Settling,
    Started,
    Waiting,
)
from caffe_lrp.batch.job import HeatmapJob, JobOutcome
from caffe_lrp.batch.preparation import PreparedRun
from caffe_lrp.errors import ExitCode, presentable
from caffe_lrp.kernels._jit import CACHE_FOLDER

from .accounts import conservation_lines
from .compiler_reporter import CompilerReporter
from .dark_maps import DarkMaps, why_dark
from .terminal import coloured, remark, say
from .turned_images import TurnedImages
from .wording import (
    ending_line,
    merges_line,
    plan_table,
    prefix_line,
    progress_line,
    resumption_line,
    success_line,
    summary_lines,
    waiting_line,
)


class Reporter:
    """Prints the events of a run; errors are printed by the caller that catches them.

    Parameters
    ----------
    run
        The run.
    places
        Setting -> where it was given.
    quiet
        Print failures only.
    verbose
        Print a line for every map.
    """

    def __init__(self, run: PreparedRun, places: Mapping[str, str], *, quiet: bool, verbose: bool) -> None:
        self._run, self._places, self._quiet, self._verbose = run, places, quiet, verbose
        self._last_failure, self._has_account, self._dark = "", False, DarkMaps()
        self._misses_images, self._turned = False, TurnedImages()
        self._compiler = CompilerReporter()
        self._hides_bar = quiet or not sys.stderr.isatty()
        self._bar: tqdm[Any] = tqdm(disable=True)
        self._show: dict[type[Event], Callable[[Any], None]] = {
            Waiting: self._show_waiting,
            LargeImage: self._show_large_image,
            Resumed: self._show_resumed,
            Compiling: self._show_compiling,
            Started: self._show_started,
            Finished: self._show_finished,
            Advanced: self._show_advanced,
            Settling: self._show_settling,
            Ended: self._show_ended,
            ProjectWritten: self._show_project,
        }

    # Before the run

    def show_notes(self) -> None:
        """Print the notes before the run starts."""
        if not self._quiet:
            on_run = [notice.placed(self._places) for notice in self._run.notes()]
            for note in (*CACHE_FOLDER.notices, *on_run):
                remark(f"note: {note}")

    def show_check(self) -> ExitCode:
        """Print layers, rules, and the lines of the list that will fail; return the exit code."""
        for line in plan_table(self._run.explainer):
            say(line, sys.stdout)
        complaints = [self._about(job, fault) for job, fault in self._run.foreseeable_faults()]
        for complaint in dict.fromkeys(complaints):
            say(complaint, sys.stderr)
        return ExitCode.IMAGES_FAILED if complaints else ExitCode.DONE

    # During the run

    def follow(self, events: Generator[Event, None, None]) -> ExitCode:
        """Print all events of the run until it ends; return the exit code."""
        run, code = self._run, ExitCode.DONE
        if self._verbose and run.explainer.net.merges:
            say(merges_line(run.explainer.net.merges), sys.stdout)
        if self._verbose and not run.options.dask:
            say(run.schedule.description, sys.stdout)
        with ExitStack() as stack:
            stack.enter_context(closing(events))
            stack.callback(self._close_bar)
            for event in events:
                self.show(event)
                if isinstance(event, Ended):
                    code = event.exit_code
        return code

    def show(self, event: Event) -> None:
        """Print one event; `Waiting` and `LargeImage` can come from any thread."""
        self._show[type(event)](event)

    def _show_waiting(self, event: Waiting) -> None:
        if not self._quiet:
            remark(waiting_line(self._run.task.root, event))

    def _show_large_image(self, event: LargeImage) -> None:
        if not self._quiet:  # not through remark: a bar may be shown
            say(f"caffe-lrp: note: {event.note}", sys.stderr, tqdm.write)

    def _show_resumed(self, event: Resumed) -> None:
        if event.left and not self._quiet:  # otherwise the last line says it all
            remark(resumption_line(event))

    def _show_compiling(self, event: Compiling) -> None:
        if not self._quiet:
            self._compiler.show(event.compiled)

    def _show_started(self, event: Started) -> None:
        if not event.total:
            return
        self._bar = tqdm(total=event.total, unit="map", disable=self._hides_bar, dynamic_ncols=True)

    def _show_finished(self, event: Finished) -> None:
        outcome = event.outcome
        if outcome.is_done:
            self._show_success(outcome)
        else:
            self._show_failure(outcome)
        if event.failed:
            self._bar.set_postfix(failed=event.failed, refresh=False)
        self._bar.update()

    def _show_failure(self, outcome: JobOutcome) -> None:
        failure = self._about(outcome.job, outcome.error)
        if failure != self._last_failure:  # the maps of one line usually fail together, for the same reason
            say(failure, sys.stderr, self._bar.write)
        self._last_failure = failure
        self._misses_images = self._misses_images or outcome.job.is_missing

    def _show_success(self, outcome: JobOutcome) -> None:
        run, why = self._run, ""
        if outcome.is_turned:
            self._turned.add(str(outcome.job.image))
        if outcome.darkness:
            why = why_dark(outcome.darkness, run.explainer, outcome.job.formula)
            self._dark.add(outcome.job, outcome.darkness, self._about(outcome.job, why))
        if self._verbose:
            line = success_line(outcome, run.explainer, bool(run.task.kinds))
            say(f"{line}; {why}" if why else line, sys.stdout, self._bar.write)
        if outcome.conservation and not self._quiet:
            for line in conservation_lines(outcome, in_full=not self._has_account):
                say(line, sys.stdout, self._bar.write)
            self._has_account = True

    def _show_advanced(self, event: Advanced) -> None:
        if self._hides_bar and not self._quiet:
            remark(progress_line(event))

    def _show_settling(self, event: Settling) -> None:
        self._close_bar()

    def _close_bar(self) -> None:
        self._compiler.close()
        self._bar.close()

    def _show_ended(self, event: Ended) -> None:
        run = self._run
        if not self._quiet:
            colour = "bad" if event.done < event.total else "good"
            made = coloured(f"{event.done} of {event.total} heatmaps made", colour, sys.stdout)
            say("\n".join(summary_lines(run, event, made)), sys.stdout)
            for note in filter(None, [self._dark.note(event, run.explainer), self._turned.note()]):
                remark(f"note: {note}")
        if self._misses_images and (note := prefix_line(run.options)):
            remark(note)
        if event.left:
            how = coloured("interrupted" if event.was_interrupted else "stopped", "bad", sys.stderr)
            remark(f"{how}{ending_line(event)}")

    def _show_project(self, event: ProjectWritten) -> None:
        if not self._quiet:
            say(f"project for ViRelAy: {event.path}", sys.stdout)

    def _about(self, job: HeatmapJob, what: str) -> str:
        """Return line of the list, image and ``what``, without naming the image twice."""
        image = presentable(f"{job.image}: ")
        entries = self._run.entries
        source, unit = (entries.source, entries.unit) if entries else ("", "line")
        line = coloured(f"{unit} {job.line}", "bad", sys.stderr)
        return f"{source}: {line}: {image}{what.removeprefix(image)}"
