"""A run that can start: everything is checked and loaded before the first image is read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_lrp import __version__
from caffe_lrp.config import COMMAND_LINE, HeatmapConfig
from caffe_lrp.errors import UsageError
from caffe_lrp.kernels._jit import CACHE_PLACE
from caffe_lrp.machine import resources
from caffe_lrp.machine.environment import stack_of_thread
from caffe_lrp.model import schedule
from caffe_lrp.model.explainer import Session, open_session
from caffe_lrp.model.observation import layer_kinds
from caffe_lrp.model.schedule import Limits, Schedule
from caffe_lrp.outputs.database import MAPS_OF_RUN
from caffe_lrp.outputs.writers import file_kinds
from caffe_lrp.relevance.formulas import FormulaCode
from caffe_lrp.sources.filelist import EntryList

from .check import foreseeable_fault, notices, refuse_class, refuse_too_many_ranks
from .delivery import DATABASE
from .fingerprint import ContentHashes, cache_folder, describe_run
from .job import HeatmapJob, OutputLayout, WorkList, make_jobs
from .options import RunOptions
from .resume import Task
from .shards import shard_of_array
from .survey import refuse_clashes, refuse_other_paths, survey_of
from .worker import require_dask


@dataclass(frozen=True, eq=False)
class PreparedRun:
    """A list and all it takes to explain it.

    Attributes
    ----------
    options
        What the run is told besides the config.
    config
        What the session was opened from.
    session
        Net, plans and preprocessing.
    task
        The jobs, and where their files and the journal go.
    memory
        Bytes that may be used.
    """

    options: RunOptions
    config: HeatmapConfig
    session: Session
    task: Task
    memory: int

    @property
    def entries(self) -> EntryList | None:
        """The list; None for a check of config and net alone."""
        entries = self.task.work.entries
        return entries if isinstance(entries, EntryList) else None

    @property
    def has_database(self) -> bool:
        """Whether all maps go into a database."""
        return DATABASE in self.task.outputs

    @cached_property
    def limits(self) -> Limits:
        """What the run may use."""
        options = self.options
        whole = self.session.net.batch_size if options.whole_batches else None
        return Limits(
            threads=options.threads or resources.allowed_processors(),
            memory=self.memory,
            batch_size=options.batch_size or whole,
        )

    @cached_property
    def schedule(self) -> Schedule:
        """How the jobs are dealt out; that of the whole part, also where some of it is done.

        Raises
        ------
        LimitError
            There is too little address space for one thread.
        """
        part = self.task.part
        planned = schedule.plan_schedule(
            schedule.whole_footprint(self.session),
            part.image_count,
            self.limits,
            keeps_order=part.has_clashes,
        )
        if self.options.dask:
            return planned
        return schedule.within_address_space(planned, resources.address_space_left(), stack_of_thread())

    def notes(self) -> list[str]:
        """What is worth knowing before the run starts; raises as `schedule`."""
        on_source = self.entries.notices if self.entries else ()
        on_schedule = schedule.remarks_on(self.schedule, schedule.whole_footprint(self.session), self.limits)
        return [*CACHE_PLACE.notices, *on_source, *notices(self.session, self.config), *on_schedule]

    def foreseeable_faults(self) -> Iterator[tuple[HeatmapJob, str]]:
        """The jobs that will fail, as far as that shows without decoding images, and why."""
        faults = ((job, foreseeable_fault(self.session, job)) for job in self.task.jobs())
        return ((job, fault) for job, fault in faults if fault)


def prepare_run(
    options: RunOptions,
    config: HeatmapConfig,
    entries: EntryList | None,
    environment: Mapping[str, str],
) -> PreparedRun:
    """Check everything that can be checked before the first image is read, and load the net.

    Parameters
    ----------
    options
        What the run is told besides the config.
    config
        The config.
    entries
        The list; None for a dry run without one.
    environment
        Of the process: where hashes of files are remembered, and which task of an array job this is.

    Raises
    ------
    CaffeLrpError
        Of the kind that fits the first fault found.
    """
    if options.dask:
        require_dask()  # not only after the net was loaded
    is_head_named = config.head is not None and config.place_of("head") == COMMAND_LINE
    if options.top is not None and not is_head_named:  # or there might be any number of jobs
        refuse_too_many_ranks(config, options.top)
    formulas = options.formulas or (config.formula,)
    work = make_jobs(entries or (), _layout_of(options, config), formulas, options.top)
    survey = survey_of(work)
    refuse_other_paths(work, survey, config.place_of("path_root"))
    if file_kinds(options.outputs) and not options.is_demo:
        refuse_clashes(work, survey, entries.source if entries else "")
    memory = options.memory or resources.available_memory() // 2  # asked before weights take some of it
    session = open_session(config, formulas, options.convolution, options.max_pixels, options.canonize)
    config = replace(config, class_count=session.class_count)
    if options.top is not None:
        refuse_too_many_ranks(config, options.top)
    outputs = (*layer_kinds(session.plan, options.dump_layers), *options.outputs)
    session = session.observing(outputs)
    if options.target:
        refuse_class(session, options.target)
    _refuse_uses_of_database(options, formulas)
    description = {} if options.dry_run else _description_of(options, config, work, outputs, environment)
    shard = shard_of_array(environment) if options.shard == "auto" else options.shard
    task = Task(work, survey, shard, outputs, Path(work.layout.output_root), description)
    return PreparedRun(options, config, session, task, memory)


def _layout_of(options: RunOptions, config: HeatmapConfig) -> OutputLayout:
    """Where images and outputs are; several maps of an image have names of their own without being asked."""
    if options.is_demo:
        return OutputLayout(options.prepath, config.output_root, config.path_root, whole_path=True)
    several = options.top is not None or len(options.formulas) > 1
    return OutputLayout(
        options.image_root,
        f"{options.prepath}/{config.output_root}",
        config.path_root,
        names_have_targets=options.suffix_target or several,
    )


def _refuse_uses_of_database(options: RunOptions, formulas: Sequence[FormulaCode]) -> None:
    """UsageError if a database is to hold what it cannot, or to be written by several."""
    if DATABASE in options.outputs and len(formulas) > 1:
        raise UsageError("--outputs h5: a database holds the maps of one formula; run them one by one")
    if DATABASE in options.outputs and options.dask:
        raise UsageError("--outputs h5: a database has one writer; use --shard in place of --dask")


def _description_of(
    options: RunOptions,
    config: HeatmapConfig,
    work: WorkList,
    outputs: Sequence[str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """What decides on the files of the run, and how many maps there are."""
    choices = {
        "version": __version__,
        "formulas": list(work.formulas),
        "top": options.top,
        "convolution": options.convolution,
        "canonize": options.canonize,
        "image_root": work.layout.image_root,
        "names_have_targets": work.layout.names_have_targets,
        "outputs": list(outputs),
        "dtype": options.dtype,
        "input_dataset": options.input_dataset,
        "list": work.entries.digest if isinstance(work.entries, EntryList) else "",
    }
    described = describe_run(config, ContentHashes(cache_folder(environment)), choices)
    return described | {MAPS_OF_RUN: len(work)}
