"""One run over a list: what it consists of, and what people read of it."""

import argparse
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from caffe_lrp.batch import schedule
from caffe_lrp.batch.batches import count_images
from caffe_lrp.batch.check import foreseeable_fault, notices, refuse_class, refuse_too_many_ranks
from caffe_lrp.batch.claim import Holder
from caffe_lrp.batch.clashes import has_clashes, refuse_clashes
from caffe_lrp.batch.cluster import LOCAL, run_on_cluster, with_absolute_paths
from caffe_lrp.batch.delivery import Delivery
from caffe_lrp.batch.job import HeatmapJob, JobOutcome, make_jobs
from caffe_lrp.batch.journal import Journal
from caffe_lrp.batch.observation import layer_kinds
from caffe_lrp.batch.pipeline import run_jobs
from caffe_lrp.batch.progress import Progress
from caffe_lrp.batch.provenance import describe_preprocessing
from caffe_lrp.batch.recorder import Recorder
from caffe_lrp.batch.records import DONE, FAILED, MISSING
from caffe_lrp.batch.resume import (
    OpenedRun,
    Task,
    find_missing,
    jobs_left,
    lost_files,
    naming_lost_files,
    opened_run,
    remove_leftovers,
    write_summary,
)
from caffe_lrp.batch.schedule import Schedule
from caffe_lrp.batch.session import Session, open_session
from caffe_lrp.batch.shards import Shard, shard_of_array
from caffe_lrp.batch.worker import Recipe, require_dask
from caffe_lrp.cli.accounts import conservation_lines
from caffe_lrp.cli.dark_maps import DarkMaps, why_dark
from caffe_lrp.cli.database import database_path, open_database, write_project_of
from caffe_lrp.cli.halt import Halt
from caffe_lrp.cli.layout import PROGRAMS, description_of, layout_of, outputs_of
from caffe_lrp.cli.terminal import coloured, remark, say
from caffe_lrp.cli.wording import merges_line, plan_table, resumption_line, success_line
from caffe_lrp.config import HeatmapConfig
from caffe_lrp.errors import ExitCode, OutputError, UsageError, presentable
from caffe_lrp.kernels._jit import CACHE_PLACE
from caffe_lrp.machine import resources
from caffe_lrp.machine.environment import stack_of_thread
from caffe_lrp.messages import counted
from caffe_lrp.outputs.database import MAPS_OF_RUN, AttributionDatabase
from caffe_lrp.outputs.kinds import DATABASE, file_kinds, suffix_of
from caffe_lrp.sources.filelist import EntryList

#: Where no bar is shown, a line says how far the run is once in so many seconds.
_SECONDS_BETWEEN_LINES = 60.0


@dataclass
class Run:
    """A list and all it takes to explain it.

    Attributes
    ----------
    options
        The command line.
    session
        Net, plans and preprocessing.
    task
        The jobs, and where their files and the journal go.
    memory
        Bytes that may be used.
    config
        What the session was opened from.
    """

    options: argparse.Namespace
    session: Session
    task: Task
    memory: int
    config: HeatmapConfig
    last_failure: str = field(default="", init=False)
    folder: str = field(default="", init=False)
    has_account: bool = field(default=False, init=False)
    dark: DarkMaps = field(default_factory=DarkMaps, init=False)

    @classmethod
    def prepared(cls, options: argparse.Namespace, config: HeatmapConfig, entries: EntryList | None) -> "Run":
        """A run that can start: everything is checked and loaded, and notes are printed."""
        formulas = options.formulas or (config.formula,)
        if options.dask:
            require_dask()  # not only after the net was loaded
        if options.top is not None and options.head is None:  # or there might be any number of jobs
            refuse_too_many_ranks(config, options.top)
        layout = layout_of(options, config)
        jobs = make_jobs(entries or (), layout, config.place_of("path_root"), formulas, options.top)
        outputs = outputs_of(options)
        if file_kinds(outputs) and not options.is_demo:
            source = entries.source if entries else ""
            refuse_clashes(jobs, source, names_have_targets=layout.names_have_targets)
        memory = options.memory or resources.available_memory() // 2  # asked before weights take some of it
        session = open_session(config, formulas, options.convolution, options.max_pixels, options.canonize)
        config = replace(config, class_count=session.class_count)
        if options.top is not None:
            refuse_too_many_ranks(config, options.top)
        outputs = (*layer_kinds(session.plan, options.dump_layers), *outputs)
        session = session.observing(outputs)
        if options.target:
            refuse_class(session, options.target)
        if DATABASE in outputs and len(formulas) > 1:
            raise UsageError("--outputs h5: a database holds the maps of one formula; run them one by one")
        if DATABASE in outputs and options.dask:
            raise UsageError("--outputs h5: a database has one writer; use --shard in place of --dask")
        description = {}
        if not options.dry_run:
            description = description_of(options, config, layout, formulas, outputs, entries)
            description[MAPS_OF_RUN] = len(jobs)
        shard = shard_of_array(os.environ) if options.shard == "auto" else options.shard or Shard()
        preprocessing = describe_preprocessing(config, session.preprocessor)
        labels, root = str(config.synset_file.absolute()), Path(layout.output_root)
        task = Task(jobs, shard, outputs, root, description, labels, preprocessing)
        run = cls(options, session, task, memory, config)
        if not options.quiet:
            on_source = entries.notices if entries else ()
            on_net = [*notices(session, config), *run.schedule_remarks]
            for notice in [*CACHE_PLACE.notices, *on_source, *on_net]:
                remark(f"note: {notice}")
        return run

    @cached_property
    def _limits(self) -> schedule.Limits:
        _, whole_batches = PROGRAMS[self.options.binary]
        return schedule.Limits(
            threads=self.options.threads or resources.allowed_processors(),
            memory=self.memory,
            batch_size=self.options.batch or (self.session.net.batch_size if whole_batches else None),
        )

    @cached_property
    def schedule(self) -> Schedule:
        """How the jobs are dealt out; that of the whole part, also where some of it is done."""
        planned = schedule.plan_schedule(
            schedule.whole_footprint(self.session),
            count_images(self.task.jobs()),
            self._limits,
            keeps_order=has_clashes(self.task.work, self.task.lines),
        )
        if self.options.dask:
            return planned
        return schedule.within_address_space(planned, resources.address_space_left(), stack_of_thread())

    @property
    def schedule_remarks(self) -> list[str]:
        """What is to be said of the schedule."""
        return schedule.remarks_on(self.schedule, schedule.whole_footprint(self.session), self._limits)

    # Checking only

    def check(self) -> int:
        """Show layers and rules, and the lines of the list that will fail."""
        for line in plan_table(self.session):
            say(line, sys.stdout)
        faults = ((job, foreseeable_fault(self.session, job)) for job in self.task.jobs())
        complaints = [self._about(job, fault) for job, fault in faults if fault]
        for complaint in dict.fromkeys(complaints):
            say(complaint, sys.stderr)
        return ExitCode.IMAGES_FAILED if complaints else ExitCode.DONE

    # Working

    def start(self, halt: Halt) -> int:
        """Explain what is left of the list, and print failures as they come and a summary at the end."""
        if self.options.verbose and self.session.net.merges:
            say(merges_line(self.session.net.merges), sys.stdout)
        if self.options.verbose and not self.options.dask:
            say(self.schedule.description, sys.stdout)
        overwrite = self.options.overwrite or self.options.is_demo
        is_synced = not self.options.no_sync
        with ExitStack() as stack:
            opened = stack.enter_context(
                opened_run(self.task, self._tell_of_wait, overwrite=overwrite, is_synced=is_synced)
            )
            journal = opened.journal
            database = stack.enter_context(self._database(overwrite)) if self._has_database else None
            opened.mark_replaced()
            missing = self._missing(journal, database)
            remove_leftovers(self.task, missing)
            progress = Progress(int(np.count_nonzero(missing)))
            delivery = Delivery(
                self.task.kinds,
                self.options.dtype,
                database,
                self.task.header.first,
                self.task.description_text,
                is_synced,
            )
            stack.enter_context(halt.finishing())
            with naming_lost_files(self.task, journal, missing):
                self._work(opened, jobs_left(self.task, missing), delivery, progress, halt)
            gone = lost_files(self.task, journal, missing)
            extra = {"interrupted": halt.requested, "gone": gone.count, **self._settings_in_force}
            write_summary(self.task, journal, progress, extra)
            code = self._end(journal, progress, halt)
        if gone.count:
            raise OutputError(str(gone))
        if code == ExitCode.DONE and self.options.input_dataset and self.task.shard.count == 1:
            project = write_project_of(self.task, self.session)
            if not self.options.quiet:
                say(f"project for ViRelAy: {project}", sys.stdout)
        return code

    def _tell_of_wait(self, holder: Holder, seconds: float) -> None:
        """Say that a run on another machine is waited for, which may have died."""
        if not self.options.quiet:
            remark(
                f"note: {self.task.root}: {holder} was writing the same files less than {seconds:.0f} s ago; "
                f"waiting up to {seconds:.0f} s to see whether it still is"
            )

    @property
    def _has_database(self) -> bool:
        return DATABASE in self.task.outputs

    def _database(self, overwrite: bool) -> AttributionDatabase:
        return open_database(
            self.task,
            self.session,
            self.options.dtype,
            with_input=self.options.input_dataset,
            overwrite=overwrite,
        )

    def _missing(self, journal: Journal, database: AttributionDatabase | None) -> NDArray[np.bool_]:
        """Which jobs are left, see `find_missing`; says so where some are not."""
        made = journal.count(DONE)
        begun = len(journal.states) - journal.count(MISSING)
        rows_done = database.rows_done() if database else None
        missing = find_missing(self.task, journal, rows_done, retry_failed=self.options.retry_failed)
        if (begun or journal.passed_over) and not self.options.quiet:
            remark(resumption_line(journal, missing, made - journal.count(DONE)))
        return missing

    @property
    def _settings_in_force(self) -> dict[str, object]:
        return {
            "quirks": self.task.description["quirks"],
            "outputs": list(self.task.outputs),
            "batch_size": self.schedule.batch_size,
            "threads": self.schedule.threads,
        }

    def _work(
        self,
        opened: OpenedRun,
        jobs: Iterator[HeatmapJob],
        delivery: Delivery,
        progress: Progress,
        halt: Halt,
    ) -> None:
        """Explain jobs, until all are done, the run is to end, or too many have failed."""
        hide_bar = self.options.quiet or not sys.stderr.isatty()
        next_line = _SECONDS_BETWEEN_LINES
        outcomes = self._outcomes(jobs, delivery, halt)
        with (
            Recorder(self._note(opened, delivery)) as recorder,
            tqdm(total=progress.total, unit="map", disable=hide_bar, dynamic_ncols=True) as bar,
            closing(outcomes),
        ):
            for outcome in outcomes:
                recorder.add(outcome)
                progress.add(outcome)
                self._report(outcome, bar)
                if progress.failed:
                    bar.set_postfix(failed=progress.failed, refresh=False)
                bar.update()
                is_over = progress.finished == progress.total
                if hide_bar and not self.options.quiet and progress.seconds >= next_line and not is_over:
                    remark(progress.line())
                    next_line = progress.seconds + _SECONDS_BETWEEN_LINES
                if progress.failed == self.options.max_failures:
                    break

    def _note(self, opened: OpenedRun, delivery: Delivery) -> Callable[[Sequence[JobOutcome]], None]:
        """What makes outcomes last, and then puts them into the journal."""

        def note(outcomes: Sequence[JobOutcome]) -> None:
            opened.lease.require()
            if not self.options.dask:  # there the workers have done it
                delivery.settle(outcomes)
            opened.journal.record(outcomes)

        return note

    def _outcomes(
        self, jobs: Iterator[HeatmapJob], delivery: Delivery, halt: Halt
    ) -> Generator[JobOutcome, None, None]:
        """What becomes of jobs, here or on a cluster."""
        place, stop = self.options.dask, (halt.is_requested, lambda: halt.at_once)
        if place is None:
            session = schedule.loading_within(self.session, self.schedule, self._limits, self._tell)
            return run_jobs(session, jobs, delivery, self.schedule, *stop)
        recipe = Recipe(
            fingerprint=self.task.header.fingerprint,
            config=with_absolute_paths(self.config),
            formulas=self.session.formulas,
            convolution=self.options.convolution,
            delivery=delivery,
            max_pixels=self.options.max_pixels,
            batch_size=self._limits.batch_size,
            memory=self.memory if place == LOCAL else self.options.memory or 0,
            canonize=self.options.canonize,
        )
        return run_on_cluster(place, recipe, jobs, self.schedule.batch_size, self.schedule.threads, *stop)

    def _tell(self, note: str) -> None:
        """Print a note while a bar may be shown."""
        if not self.options.quiet:
            say(f"caffe-lrp: note: {note}", sys.stderr, tqdm.write)

    def _report(self, outcome: JobOutcome, bar: "tqdm[Any]") -> None:
        """Print a failure, or with ``-v`` a success."""
        if not outcome.is_done:
            failure = self._about(outcome.job, outcome.error)
            if failure != self.last_failure:  # the maps of one line mostly fail together, for one reason
                say(failure, sys.stderr, bar.write)
            self.last_failure = failure
            return
        own = str(Path(str(outcome.job.stem)).parent)
        self.folder = (os.path.commonpath([self.folder, own]) or ".") if self.folder else own
        why = ""
        if outcome.darkness:
            why = why_dark(outcome.darkness, self.session, outcome.job.formula)
            self.dark.add(outcome.job, outcome.darkness, self._about(outcome.job, why))
        if self.options.verbose:
            line = success_line(outcome, self.session, bool(self.task.kinds))
            say(f"{line}; {why}" if why else line, sys.stdout, bar.write)
        if outcome.conservation and not self.options.quiet:
            for line in conservation_lines(outcome, in_full=not self.has_account):
                say(line, sys.stdout, bar.write)
            self.has_account = True

    def _end(self, journal: Journal, progress: Progress, halt: Halt) -> int:
        """Print the summary; the exit code."""
        done, failed, left = map(journal.count, (DONE, FAILED, MISSING))
        if not self.options.quiet:
            say(self._summary(done, failed, progress), sys.stdout)
            if note := self.dark.note(progress, self.session):
                remark(f"note: {note}")
        how = coloured("interrupted" if halt.requested else "stopped", "bad", sys.stderr)
        if left and halt.requested:
            remark(f"{how}: {left} left; the same command goes on from here")
            return ExitCode.INTERRUPTED
        if left:
            remark(
                f"{how} after {counted(progress.failed, 'failure')} (--max-failures), {left} left; the same "
                "command goes on from here, --retry-failed tries those again"
            )
        return ExitCode.IMAGES_FAILED if failed or left else ExitCode.DONE

    def _summary(self, done: int, failed: int, progress: Progress) -> str:
        """What was done, and what was written where."""
        total = self.task.size
        text = coloured(f"{done} of {total} heatmaps made", "bad" if done < total else "good", sys.stdout)
        text += f" in {progress.seconds:.1f} s"
        before = done - progress.done
        if before:
            text += f", {before} of them in earlier runs" if progress.done else " in earlier runs"
        if failed:
            text += f", {failed} failed for the reasons given"
        if progress.finished > 1 and progress.slowest_stage:
            text += f"; {progress.per_second:.3g} a second, most time in {progress.slowest_stage}"
            text += f", quirks {self.task.description['quirks']}"
        if done:
            suffixes = ", ".join(suffix_of(kind) for kind in self.task.kinds)
            if suffixes:
                where = f"in {self.folder}" if self.folder else f"below {self.task.root}"
                text += f"\nfiles {where}: {suffixes}"
            if self._has_database:
                text += f"\nmaps in {database_path(self.task)}"
        return text

    def _about(self, job: HeatmapJob, what: str) -> str:
        """Line of the list, image and ``what`` is to be said; the image is not named twice if that does."""
        image = presentable(f"{job.image}: ")
        entries = self.task.work.entries
        source, unit = (entries.source, entries.unit) if isinstance(entries, EntryList) else ("", "line")
        line = coloured(f"{unit} {job.line}", "bad", sys.stderr)
        return f"{source}: {line}: {image}{what.removeprefix(image)}"
