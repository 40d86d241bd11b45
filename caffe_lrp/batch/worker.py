"""A worker process of a Dask cluster: opens the net of a recipe, and explains batches.

A worker writes the files of its batches itself; see `cluster`.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import cv2

from caffe_lrp import __version__
from caffe_lrp.errors import CaffeLrpError, UsageError
from caffe_lrp.machine.environment import stack_of_thread
from caffe_lrp.machine.resources import address_space_left, available_memory
from caffe_lrp.model.model import Model
from caffe_lrp.model.schedule import (
    MANY_IMAGES,
    Limits,
    loading_within,
    require_address_space_for,
    schedule_here,
    whole_footprint,
)
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.model.threaded import ThreadedExplainer

from .delivery import Delivery
from .job import HeatmapJob, JobOutcome
from .observing import observing
from .options import RunOptions

#: Nets that a worker keeps: two runs that share it do not make it load a net for every batch.
_MOST_NETS = 2
#: Threads that the library that speaks to Dask starts.
THREADS_OF_CLIENT = 3


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to know in order to explain batches of a run.

    Attributes
    ----------
    fingerprint
        Of the run; a worker does not take the net of another run for its net.
    settings
        What the model is opened from, paths absolute.
    delivery
        Where results go; files only, as a database has one writer.
    options
        Of the run, all its formulas named; ``memory`` is what a worker process may take, None: half of what
        Dask grants it.
    version
        Of caffe-lrp where the run was started.
    """

    fingerprint: str
    settings: ModelSettings
    delivery: Delivery
    options: RunOptions
    version: str = __version__


def require_dask() -> Any:
    """Return the Dask client library, which only such runs need.

    Raises
    ------
    UsageError
        It is not installed, or there is too little address space to load it.
    """
    require_address_space_for(THREADS_OF_CLIENT, address_space_left(), stack_of_thread())
    try:
        return import_module("distributed")
    except ImportError as fault:
        raise UsageError(f"--dask: {fault}; install Dask: pip install 'caffe-lrp[dask]'") from fault


def explain_on_worker(recipe: Recipe, jobs: Sequence[HeatmapJob]) -> list[JobOutcome]:
    """Explain one batch and write its files; the outcomes in the order of the jobs.

    Raises
    ------
    CaffeLrpError
        What the recipe names cannot be opened here, or the output folder cannot be used.
    """
    with _OPENING:  # of the threads that come for a new net one opens it, and all others wait for that
        explainer = _open_explainer(recipe)
    outcomes = []
    for made in explainer.explain(jobs, recipe.delivery.finish):
        recipe.delivery.settle(made)
        outcomes += made
    return outcomes


_OPENING = threading.Lock()


@lru_cache(maxsize=_MOST_NETS)
def _open_explainer(recipe: Recipe) -> ThreadedExplainer:
    """The explainer of this process for a run."""
    worker = require_dask().get_worker()
    if recipe.version != __version__:
        raise UsageError(
            f"--dask: the run uses caffe-lrp {recipe.version}, but worker {worker.address} has "
            f"{__version__}; install the same version everywhere"
        )
    cv2.setNumThreads(1)  # as in a run without a cluster
    granted = worker.memory_manager.memory_limit or available_memory()
    try:
        threads, memory = worker.state.nthreads, recipe.options.memory or granted // 2
        model = Model(recipe.settings, threads=threads, memory=memory)
        explainer = observing(model.explainer(recipe.options.formulas), recipe.delivery.kinds)
        for _ in recipe.delivery.compiling(explainer, threads):
            pass  # logs of workers are read by few
        limits = Limits(threads, memory, recipe.options.batch_size)
        schedule = schedule_here(whole_footprint(explainer), MANY_IMAGES, limits)
        # Logs of workers are read by few: of a large image nothing is told.
        return ThreadedExplainer(loading_within(explainer, schedule, limits, lambda note: None), schedule)
    except CaffeLrpError as error:
        error.args = (f"Dask worker {worker.address}: {error.message}",)
        raise
