"""A run ready to start: everything is checked and loaded before the first image is read."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_lrp import __version__
from caffe_lrp.errors import ConfigError, ImageError, Notice, UsageError
from caffe_lrp.files.reading import require_file
from caffe_lrp.machine import resources
from caffe_lrp.model import schedule
from caffe_lrp.model.explainer import Explainer, composite_of
from caffe_lrp.model.model import Model
from caffe_lrp.model.notices import notices_on
from caffe_lrp.model.preprocessing import mean_of_prototxt
from caffe_lrp.model.schedule import Limits, Schedule
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.model.start_vectors import refuse_ranks, refuse_too_few_rows
from caffe_lrp.outputs.database import MAPS_OF_RUN
from caffe_lrp.outputs.kinds import DATABASE, RENDER, file_kinds
from caffe_lrp.relevance.composite import Composite, FormulaCode
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.filelist import EntryList

from .fingerprint import ContentHashes, cache_folder, describe_run
from .job import HeatmapJob, OutputPaths, WorkList, make_jobs
from .observing import layer_kinds, observing
from .options import RunOptions
from .resume import Task
from .shards import shard_of_array
from .survey import refuse_clashes, refuse_other_paths, survey_of
from .worker import require_dask


@dataclass(frozen=True, eq=False)
class PreparedRun:
    """A list, and everything needed to explain it.

    Attributes
    ----------
    options
        The options of the run.
    explainer
        Net, plans and preprocessing.
    task
        The jobs, and the paths of their files and the journal.
    memory
        Bytes that may be used.
    seconds
        How long the preparation took.
    """

    options: RunOptions
    explainer: Explainer
    task: Task
    memory: int
    seconds: float = 0.0

    @property
    def entries(self) -> EntryList | None:
        """The list; None to check only config and net."""
        entries = self.task.work.entries
        return entries if isinstance(entries, EntryList) else None

    @property
    def has_database(self) -> bool:
        """Whether all maps go into a database."""
        return DATABASE in self.task.outputs

    @cached_property
    def limits(self) -> Limits:
        """The limits of the run."""
        options = self.options
        whole = self.explainer.net.batch_size if options.whole_batches else None
        return Limits(
            threads=options.threads or resources.allowed_processors(),
            memory=self.memory,
            batch_size=options.batch_size or whole,
        )

    @cached_property
    def schedule(self) -> Schedule:
        """The schedule of the jobs of the whole shard, including finished ones.

        Raises
        ------
        LimitError
            The address space is too small for one thread.
        """
        part = self.task.part
        plan = schedule.plan_schedule if self.options.dask else schedule.schedule_here
        footprint = schedule.whole_footprint(self.explainer)
        return plan(footprint, part.image_count, self.limits, keeps_order=part.has_clashes)

    def notes(self) -> list[Notice]:
        """Notes before the run starts; raises as `schedule`."""
        on_source = self.entries.notices if self.entries else ()
        footprint = schedule.whole_footprint(self.explainer)
        on_schedule = schedule.remarks_on(self.schedule, footprint, self.limits)
        return [*map(Notice, on_source), *notices_on(self.explainer), *map(Notice, on_schedule)]

    def foreseeable_faults(self) -> Iterator[tuple[HeatmapJob, str]]:
        """Yield the jobs known to fail without decoding images, and the reasons."""
        faults = ((job, foreseeable_fault(self.explainer, job)) for job in self.task.jobs())
        return ((job, fault) for job, fault in faults if fault)


def prepare_run(
    options: RunOptions,
    settings: ModelSettings,
    entries: EntryList | None,
    environment: Mapping[str, str],
) -> PreparedRun:
    """Check everything that can be checked before the first image is read, and load the net.

    Parameters
    ----------
    options
        The options of the run.
    settings
        Settings of the model.
    entries
        The list; None for a dry run without one.
    environment
        Environment variables: they give the folder of cached hashes, and the task of an array job.

    Raises
    ------
    CaffeLrpError
        The first fault found.
    """
    started = time.monotonic()
    if options.dask:
        require_dask()  # before the net is loaded
    if options.top is not None and settings.class_count is not None:  # before any other use of it
        refuse_too_many_ranks(settings.class_count, options.top)
    model_formulas = () if settings.formula is None else (settings.formula,)
    work = make_jobs(
        entries or (), _output_paths_of(options), options.formulas or model_formulas, options.top
    )
    survey = survey_of(work)
    refuse_other_paths(work, survey)
    if file_kinds(options.outputs) and not options.is_demo:
        refuse_clashes(work, survey, entries.source if entries else "")
    memory = options.memory or resources.available_memory() // 2  # before weights take some of it
    explainer = _opened(settings, work.formulas, options.threads, memory)
    outputs = (*layer_kinds(explainer, options.dump_layers), *options.outputs)
    explainer = observing(explainer, outputs)
    _refuse_what_the_net_lacks(options, explainer)
    refuse_too_few_rows(explainer.vector, work.entries)
    description = {}
    if not options.dry_run:
        description = _description_of(options, work, explainer, outputs, environment)
    shard = shard_of_array(environment) if options.shard == "auto" else options.shard
    root, labels = Path(work.output_paths.output_root), _path_of_labels(settings)
    task = Task(work, survey, shard, outputs, root, description, labels, explainer.described_preprocessing)
    return PreparedRun(options, explainer, task, memory, time.monotonic() - started)


def _opened(
    settings: ModelSettings, formulas: Sequence[FormulaCode], threads: int | None, memory: int
) -> Explainer:
    """Return the net with plans for the formulas; formulas are checked before any file is read."""
    for code in formulas:
        composite_of(settings, code)
    return Model(settings, threads=threads, memory=memory).explainer(formulas)


def _path_of_labels(settings: ModelSettings) -> str:
    return str(settings.labels.absolute()) if isinstance(settings.labels, Path) else ""


def _output_paths_of(options: RunOptions) -> OutputPaths:
    """Return the paths of images and outputs; with several maps per image, names always have targets."""
    if options.is_demo:
        return OutputPaths(options.prepath, options.output_root, options.path_root, whole_path=True)
    several = options.top is not None or len(options.formulas) > 1
    return OutputPaths(
        options.image_root,
        f"{options.prepath}/{options.output_root}",
        options.path_root,
        names_have_targets=options.suffix_target or several,
    )


def _refuse_what_the_net_lacks(options: RunOptions, explainer: Explainer) -> None:
    """Refuse more ranks than classes, a class that does not exist, and wrong uses of a database."""
    if options.top is not None:
        refuse_too_many_ranks(explainer.class_count, options.top)
        refuse_ranks(explainer.vector)
    if options.target:
        refuse_class(explainer, options.target)
    _refuse_uses_of_database(options, explainer.formulas)


def _refuse_uses_of_database(options: RunOptions, formulas: Sequence[FormulaCode]) -> None:
    """Raise UsageError if a database cannot hold the requested maps, or would have several writers."""
    if DATABASE in options.outputs and len(formulas) > 1:
        raise UsageError(
            "--outputs h5: a database holds the maps of one formula; run the formulas one by one"
        )
    if DATABASE in options.outputs and options.dask:
        raise UsageError("--outputs h5: a database can have only one writer; use --shard instead of --dask")


def _description_of(
    options: RunOptions,
    work: WorkList,
    explainer: Explainer,
    outputs: Sequence[str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Return the description of the run: everything its files depend on, and the number of maps."""
    settings = replace(explainer.settings, class_count=explainer.class_count)
    choices: dict[str, Any] = {
        "version": __version__,
        "formulas": [code.as_json() if isinstance(code, Composite) else code for code in work.formulas],
        "top": options.top,
        "convolution": settings.convolution,
        "canonize": settings.canonize,
        "image_root": work.output_paths.image_root,
        "names_have_targets": work.output_paths.names_have_targets,
        "outputs": list(outputs),
        "dtype": options.dtype,
        "input_dataset": options.input_dataset,
        "list": work.entries.digest if isinstance(work.entries, EntryList) else "",
        "path_root": options.path_root,
    }
    if RENDER in outputs:
        choices["picture"] = options.picture.as_json()
    mean = mean_of_prototxt(settings, explainer.deployed)
    described = describe_run(settings, ContentHashes(cache_folder(environment)), choices, mean)
    return described | {MAPS_OF_RUN: len(work)}


def foreseeable_fault(explainer: Explainer, job: HeatmapJob) -> str:
    """Return why a job will fail, as far as known without decoding its image; empty if no reason is known."""
    if job.fault:
        return job.fault
    try:
        if job.member is None:
            require_file(job.image, "image", ImageError)
        explainer.require_classes((job.target.code,))
    except ImageError as error:
        return str(error)
    return ""


def refuse_too_many_ranks(class_count: int, top: int) -> None:
    """Raise ConfigError if more of the best classes should be explained than the net ranks."""
    if top > class_count:
        raise ConfigError(
            f"numclasses is {class_count}, but --top asks for the {top} best classes; give {class_count} or "
            "fewer",
            setting="class_count",
        )


def refuse_class(explainer: Explainer, target: Target) -> None:
    """Raise UsageError if the net lacks the class for which all images should be explained."""
    try:
        explainer.require_classes((target.code,))
    except ImageError as error:
        raise UsageError(f"--target: {error}") from error
