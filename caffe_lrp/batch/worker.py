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

#: Nets that a worker keeps, so that two runs sharing it do not reload their nets for every batch.
_MOST_NETS = 2
#: Threads started by the Dask client library.
THREADS_OF_CLIENT = 3


@dataclass(frozen=True)
class Recipe:
    """Everything a worker needs to explain batches of a run.

    Attributes
    ----------
    fingerprint
        Fingerprint of the run; it keeps a worker from using the net of another run.
    settings
        Settings of the model, with absolute paths.
    delivery
        Writes the results; files only, as a database can have only one writer.
    options
        Options of the run, with all its formulas; ``memory`` is the limit of a worker process, None: half of
        the memory that Dask grants it.
    version
        Version of caffe-lrp where the run was started.
    """

    fingerprint: str
    settings: ModelSettings
    delivery: Delivery
    options: RunOptions
    version: str = __version__


def require_dask() -> Any:
    """Return the Dask client library, which only runs on a cluster need.

    Raises
    ------
    UsageError
        It is not installed, or the address space is too small to load it.
    """
    require_address_space_for(THREADS_OF_CLIENT, address_space_left(), stack_of_thread())
    try:
        return import_module("distributed")
    except ImportError as fault:
        raise UsageError(f"--dask: {fault}; install Dask: pip install 'caffe-lrp[dask]'") from fault


def explain_on_worker(recipe: Recipe, jobs: Sequence[HeatmapJob]) -> list[JobOutcome]:
    """Explain one batch and write its files; return the outcomes in the order of the jobs.

    Raises
    ------
    CaffeLrpError
        The model of the recipe cannot be opened here, or the output folder cannot be used.
    """
    with _OPENING:  # one thread opens a new net, the others wait for it
        explainer = _open_explainer(recipe)
    outcomes = []
    for made in explainer.explain(jobs, recipe.delivery.finish):
        recipe.delivery.settle(made)
        outcomes += made
    return outcomes


_OPENING = threading.Lock()


@lru_cache(maxsize=_MOST_NETS)
def _open_explainer(recipe: Recipe) -> ThreadedExplainer:
    """Return the explainer of this process for a run."""
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
            pass  # few people read logs of workers
        limits = Limits(threads, memory, recipe.options.batch_size)
        schedule = schedule_here(whole_footprint(explainer), MANY_IMAGES, limits)
        # Few people read logs of workers: large images are not reported.
        return ThreadedExplainer(loading_within(explainer, schedule, limits, lambda note: None), schedule)
    except CaffeLrpError as error:
        error.args = (f"Dask worker {worker.address}: {error.message}",)
        raise
