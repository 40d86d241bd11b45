"""Executing a run: explains the remaining jobs of a list, and yields events. Nothing is printed here."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ExitCode, OutputError
from caffe_lrp.model.pipeline import run_requests
from caffe_lrp.model.schedule import loading_within
from caffe_lrp.outputs.database import AttributionDatabase
from caffe_lrp.outputs.encoding import Encoding

from .cluster import LOCAL, run_on_cluster
from .delivery import Delivery
from .events import (
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
from .job import HeatmapJob, JobOutcome
from .preparation import PreparedRun
from .progress import Progress
from .recorder import Recorder
from .records import DONE, FAILED, MISSING
from .resume import (
    LostFiles,
    OpenedRun,
    find_missing,
    lost_files,
    naming_lost_files,
    opened_run,
    remove_leftovers,
)
from .run_files import open_database, write_project_of, write_summary
from .worker import Recipe

#: Seconds between two `Advanced` events.
_SECONDS_BETWEEN_REPORTS = 60.0


class Stop(Protocol):
    """A request to end a run early.

    Attributes
    ----------
    requested
        Whether there is a request: nothing new should be started.
    at_once
        Whether to drop work in progress, too.
    """

    requested: bool
    at_once: bool

    def is_requested(self) -> bool:
        """The same as ``requested``, for a caller that also checks ``at_once``."""

    def finishing(self) -> AbstractContextManager[None]:
        """Keep a request from raising an exception within the block."""


def explain_list(run: PreparedRun, stop: Stop, tell: Callable[[Event], None]) -> Generator[Event, None, None]:
    """Explain the remaining jobs of the list; yield events as they happen.

    Closing the generator, or an exception in the thread that uses it, stops the run. Files are then either
    complete or absent, and the journal is up to date.

    Parameters
    ----------
    run
        The run.
    stop
        Checked during the run.
    tell
        Called with `Waiting` and `LargeImage`, which occur while the generator cannot yield; with the latter
        by threads that load images.

    Raises
    ------
    OutputError
        The output folder cannot be used, or files of this run have been removed when it ends.
    CaffeLrpError
        Another error ends the run.
    """
    task = run.task
    with ExitStack() as stack:
        opened = stack.enter_context(_opened(run, tell))
        database = stack.enter_context(_database(run)) if run.has_database else None
        opened.mark_replaced()
        missing, resumed = _what_is_left(run, opened, database)
        if resumed:
            yield resumed
        remove_leftovers(task, missing)
        work = _Work(run, opened, _delivery(run, database), Progress(int(np.count_nonzero(missing))), stop)
        stack.enter_context(stop.finishing())
        if missing.any():
            yield from work.compiling()
        with naming_lost_files(task, opened.journal, missing):
            yield from work.events(task.jobs_where(missing), tell)
        gone = lost_files(task, opened.journal, missing)
        ended = work.ended(gone)
        yield ended
    if gone.count:
        raise OutputError(str(gone))
    if ended.exit_code == ExitCode.DONE and run.options.input_dataset and task.shard.count == 1:
        yield ProjectWritten(write_project_of(task, run.explainer))


def _opened(run: PreparedRun, tell: Callable[[Event], None]) -> AbstractContextManager[OpenedRun]:
    return opened_run(
        run.task,
        lambda holder, seconds: tell(Waiting(holder, seconds)),
        overwrite=run.options.may_overwrite,
        is_synced=run.options.is_synced,
    )


def _database(run: PreparedRun) -> AttributionDatabase:
    options = run.options
    return open_database(
        run.task,
        run.explainer,
        options.dtype,
        with_input=options.input_dataset,
        overwrite=options.may_overwrite,
    )


def _delivery(run: PreparedRun, database: AttributionDatabase | None) -> Delivery:
    task, options = run.task, run.options
    encoding = Encoding(options.dtype, task.description_text, options.picture)
    return Delivery(task.kinds, encoding, database, task.header.first, options.is_synced)


def _what_is_left(
    run: PreparedRun, opened: OpenedRun, database: AttributionDatabase | None
) -> tuple[NDArray[np.bool_], Resumed | None]:
    """Return the remaining jobs (`find_missing`), and an event if the run continues an earlier one."""
    journal = opened.journal
    made = journal.count(DONE)
    is_begun = journal.count(MISSING) < len(journal.states) or journal.passed_over
    rows_done = database.rows_done() if database else None
    missing = find_missing(run.task, journal, rows_done, retry_failed=run.options.retry_failed)
    if not is_begun:
        return missing, None
    done = journal.count(DONE)
    failed, left = np.count_nonzero(journal.states[~missing] == FAILED), np.count_nonzero(missing)
    return missing, Resumed(len(missing), done, int(failed), made - done, journal.passed_over, int(left))


@dataclass
class _Work:
    """The maps of a run, while they are being made."""

    run: PreparedRun
    opened: OpenedRun
    delivery: Delivery
    progress: Progress
    stop: Stop
    folder: str = ""

    def compiling(self) -> Iterator[Event]:
        """Compile and load the kernels that the maps need; workers of a cluster do that themselves."""
        run, progress, started = self.run, self.progress, time.monotonic()
        if run.options.dask in {None, LOCAL}:
            steps = self.delivery.compiling(run.explainer, run.schedule.threads)
            with closing(steps):
                for compiled in steps:
                    progress.seconds_compiling = compiled.seconds
                    yield Compiling(compiled)
                    if self.stop.requested:
                        break
        progress.seconds_loading = run.seconds + time.monotonic() - started - progress.seconds_compiling
        progress.begin()

    def events(self, jobs: Iterator[HeatmapJob], tell: Callable[[Event], None]) -> Iterator[Event]:
        """Explain jobs until all are done, a stop is requested, or too many have failed."""
        progress, next_report = self.progress, _SECONDS_BETWEEN_REPORTS
        outcomes = self._outcomes(jobs, tell)
        with Recorder(self._note) as recorder:
            yield Started(progress.total)
            with closing(outcomes):
                for outcome in outcomes:
                    recorder.add(outcome)
                    progress.add(outcome)
                    self._add_folder(outcome)
                    yield Finished(outcome, progress.failed)
                    if progress.seconds >= next_report and progress.finished < progress.total:
                        yield progress.advanced()
                        next_report = progress.seconds + _SECONDS_BETWEEN_REPORTS
                    if progress.failed == self.run.options.max_failures:
                        break
            yield Settling()

    def _note(self, outcomes: Sequence[JobOutcome]) -> None:
        """Sync outcomes to disk, and then write them into the journal."""
        self.opened.lease.require()
        if not self.run.options.dask:  # on a cluster, the workers have synced
            self.delivery.settle(outcomes)
        self.opened.journal.record(outcomes)

    def _outcomes(
        self, jobs: Iterator[HeatmapJob], tell: Callable[[Event], None]
    ) -> Generator[JobOutcome, None, None]:
        """Yield the outcomes of jobs, in this process or on a cluster."""
        run, place = self.run, self.run.options.dask
        stops = self.stop.is_requested, lambda: self.stop.at_once
        if place is None:
            explainer = loading_within(
                run.explainer, run.schedule, run.limits, lambda note: tell(LargeImage(note))
            )
            return run_requests(explainer, jobs, self.delivery.finish, run.schedule, *stops)
        recipe = _recipe(run, place, self.delivery)
        return run_on_cluster(place, recipe, jobs, run.schedule.batch_size, run.schedule.threads, *stops)

    def _add_folder(self, outcome: JobOutcome) -> None:
        if outcome.is_done:
            own = str(Path(str(outcome.job.stem)).parent)
            self.folder = (os.path.commonpath([self.folder, own]) or ".") if self.folder else own

    def ended(self, gone: LostFiles) -> Ended:
        """Return the last event; the summary is written."""
        task, schedule = self.run.task, self.run.schedule
        journal, progress = self.opened.journal, self.progress
        was_interrupted = self.stop.requested
        in_force = {
            "quirks": task.description["quirks"],
            "outputs": list(task.outputs),
            "batch_size": schedule.batch_size,
            "threads": schedule.threads,
        }
        extra = {"interrupted": was_interrupted, "gone": gone.count, **in_force}
        write_summary(task, journal, progress, extra)
        done, failed, left = map(journal.count, (DONE, FAILED, MISSING))
        return Ended(
            task.size,
            done,
            failed,
            left,
            made=progress.done,
            failures=progress.failed,
            seconds=progress.seconds,
            seconds_loading=progress.seconds_loading,
            seconds_compiling=progress.seconds_compiling,
            slowest_stage=progress.slowest_stage,
            dark=dict(progress.dark),
            folder=self.folder,
            was_interrupted=was_interrupted,
        )


def _recipe(run: PreparedRun, place: str, delivery: Delivery) -> Recipe:
    """Return the recipe for the workers of a cluster; on this machine they share the memory of the run."""
    memory = run.memory if place == LOCAL else run.options.memory
    return Recipe(
        fingerprint=run.task.header.fingerprint,
        settings=run.explainer.settings.with_absolute_paths(),
        delivery=delivery,
        options=replace(
            run.options,
            formulas=run.explainer.formulas,
            batch_size=run.limits.batch_size,
            memory=memory,
        ),
    )
