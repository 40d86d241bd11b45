"""A run on a Dask cluster: batches go out to worker processes, outcomes come back as they are done.

No net travels. A worker is told what to open (`Recipe`), opens it once, and writes the files of its batches
itself: images, model and output folder lie where all machines see them under the same path. Dask hands the
batch of a worker that is lost to another one. Nothing speaks against doing a batch twice: files are replaced
whole, by the same bytes.
"""

import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import cv2

from caffe_lrp import __version__
from caffe_lrp.config import HeatmapConfig
from caffe_lrp.crew import require_threads
from caffe_lrp.environment import lack_of_memory, stack_of_thread
from caffe_lrp.errors import CaffeLrpError, ClusterError, LimitError, UsageError
from caffe_lrp.workspace import Workspace

from .batches import Batch, form_batches
from .delivery import Delivery
from .job import HeatmapJob, JobOutcome
from .resources import address_space_left, available_memory, memory_is_limited
from .runner import deliver, explain_batch, load_image
from .schedule import (
    BATCHES_PER_WORKER,
    Limits,
    plan_schedule,
    require_address_space_for,
    whole_footprint,
    within_address_space,
)
from .session import Session, open_session

#: What stands for a cluster of processes on this machine.
LOCAL = "local"

#: A scheduler that does not answer within so many seconds is not there.
_SECONDS_TO_CONNECT = 30
#: Nets that a worker keeps: two runs that share it do not make it load a net for every batch.
_MOST_NETS = 2
#: As many as any list has, so that a worker does not deal out its batches as those of a short one.
_MANY_IMAGES = 10**9

#: What is said of the images of a batch that Dask gives up. Without the names it has for it: failures are
#: counted by reason.
_LOST = "every worker that began its batch was lost"
_DEADLY = (
    f"{_LOST}, perhaps for lack of memory; their logs may say why, and --retry-failed tries again, with a "
    "smaller --memory or --batch"
)

#: Threads that Dask starts here, in all and for each process, and in each process; measured.
_THREADS_OF_CLIENT = 3
_THREADS_FOR_PROCESS = 3
_THREADS_IN_PROCESS = 8


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to know in order to explain batches of a run.

    Attributes
    ----------
    fingerprint
        Of the run; a worker does not take the net of another run for its net.
    config
        The config, its paths absolute.
    formulas
        Codes of the formulas.
    convolution
        How convolutions are computed.
    delivery
        Where results go; files only, as a database has one writer.
    max_pixels
        Larger images are refused.
    batch_size
        Images wanted in a batch; None: as many as do well.
    memory
        Bytes a worker process may take; 0: half of what Dask grants it.
    canonize
        Whether batch normalization is merged into the layers beside it.
    version
        Of caffe-lrp where the run was started.
    """

    fingerprint: str
    config: HeatmapConfig
    formulas: tuple[int | str, ...]
    convolution: str
    delivery: Delivery
    max_pixels: int
    batch_size: int | None = None
    memory: int = 0
    canonize: str = "auto"
    version: str = __version__


def require_dask() -> Any:
    """The library that speaks to Dask, which only such runs need.

    Raises
    ------
    UsageError
        It is not installed, or there is too little address space to load it.
    """
    require_address_space_for(_THREADS_OF_CLIENT, address_space_left(), stack_of_thread())
    try:
        return import_module("distributed")
    except ImportError as fault:
        raise UsageError(f"--dask: {fault}; install Dask: pip install 'caffe-lrp[dask]'") from fault


# Where the run was started


def run_on_cluster(
    place: str,
    recipe: Recipe,
    jobs: Iterable[HeatmapJob],
    batch_size: int,
    threads: int,
    halted: Callable[[], bool] = lambda: False,
) -> Generator[JobOutcome, None, None]:
    """Have every job explained and its files written; outcomes come as batches are done, in any order.

    Closing the generator cancels what no worker has begun; a batch that one is at is finished there.

    Parameters
    ----------
    place
        Address of a scheduler, a scheduler file (``….json``), or ``local``.
    recipe
        What workers are told.
    jobs
        What to explain.
    batch_size
        Images that are handed out together.
    threads
        Threads of a local cluster, all processes together.
    halted
        Asked before every batch; once it is true, the batches that have been handed out are the last ones.

    Raises
    ------
    CaffeLrpError
        There is no such cluster, it is lost, or a worker cannot open what the recipe names.
    """
    with _Cluster(place, recipe, threads) as cluster, cluster.noticing_loss():
        for batch in form_batches(jobs, batch_size):
            if halted():
                break
            cluster.hand_out(batch)
            while cluster.is_busy:
                yield from cluster.take_back()
        while cluster.batches:
            yield from cluster.take_back()


class _Cluster:
    """A connection to Dask and the batches that are under way there; a context manager that ends both."""

    def __init__(self, place: str, recipe: Recipe, threads: int) -> None:
        self._distributed = require_dask()
        self._recipe, self._threads, self._is_local = recipe, threads, place == LOCAL
        #: What is under way, by Dask's name for it: the batch and its future.
        self.batches: dict[str, tuple[Batch, Any]] = {}
        with ExitStack() as opened:
            self._client = opened.enter_context(self._connection(place, opened))
            self._finished = self._distributed.as_completed(loop=self._client.loop)
            self._opened = opened.pop_all()

    def __enter__(self) -> "_Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened:
            if self._client.status == "running":
                self._client.cancel([future for _, future in self.batches.values()])

    @contextmanager
    def noticing_loss(self) -> Iterator[None]:
        """Say so if the scheduler ends within the block, or cannot be reached any more."""
        try:
            yield
        except (self._distributed.CancelledError, self._distributed.comm.CommClosedError) as fault:
            raise ClusterError("the Dask cluster is lost; the same command goes on from here") from fault

    @property
    def is_busy(self) -> bool:
        """Whether every thread of every worker, as many as there are by now, has a batch and a next one."""
        threads: int = sum(self._client.nthreads().values())
        return len(self.batches) >= BATCHES_PER_WORKER * max(1, threads)

    def hand_out(self, batch: Batch) -> None:
        """Send a batch on its way."""
        jobs = [_absolute(job) for job in batch.jobs]
        future = self._client.submit(explain_on_worker, self._recipe, jobs, pure=False)
        self.batches[future.key] = batch, future
        self._finished.add(future)

    def take_back(self) -> list[JobOutcome]:
        """What became of the jobs of the batch that is done next."""
        future = next(self._finished)
        batch, _ = self.batches.pop(future.key)
        try:
            outcomes = future.result()
        except self._distributed.KilledWorker as fault:
            if self._is_local and memory_is_limited():
                raise LimitError(f"--dask: {_LOST}, perhaps so: {lack_of_memory()}") from fault
            return [JobOutcome(job, error=_DEADLY) for job in batch.jobs]
        except ModuleNotFoundError as fault:
            raise UsageError(
                f"--dask: {fault} on the cluster; its scheduler and workers need caffe-lrp {__version__} too"
            ) from fault
        return [_as_listed(job, outcome) for job, outcome in zip(batch.jobs, outcomes, strict=True)]

    def _connection(self, place: str, opened: ExitStack) -> Any:
        """A client, of a new cluster or of one that is there."""
        client = self._distributed.Client
        if place == LOCAL:
            return client(opened.enter_context(self._local_cluster()))
        if place.endswith(".json") and not Path(place).is_file():
            raise UsageError(f"--dask: {place}: no such scheduler file; start dask scheduler with it first")
        address = {"scheduler_file" if place.endswith(".json") else "address": place}
        try:
            return client(**address, timeout=_SECONDS_TO_CONNECT)
        except (OSError, ValueError) as fault:
            raise UsageError(
                f"--dask: {place}: no Dask scheduler answers there ({fault}); give the address it printed "
                f"when it was started, a scheduler file that ends in .json, or {LOCAL}"
            ) from fault

    def _local_cluster(self) -> Any:
        """Processes on this machine that share threads and memory of the run."""
        split = import_module("distributed.deploy.utils").nprocesses_nthreads
        processes, threads = split(self._threads)
        here = _THREADS_OF_CLIENT + _THREADS_FOR_PROCESS * processes
        left = address_space_left()
        require_address_space_for(here, left, stack_of_thread())
        if left is None:  # else there may be no room for so many in one process
            require_threads(here + processes * (_THREADS_IN_PROCESS + threads))
        self._recipe = replace(self._recipe, memory=self._recipe.memory // processes)
        with _deaf_to_interrupts():
            return self._distributed.LocalCluster(
                n_workers=processes, threads_per_worker=threads, memory_limit=0, dashboard_address=None
            )


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started within the block do not hear Ctrl-C: it is for this one, which ends them in time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def with_absolute_paths(config: HeatmapConfig) -> HeatmapConfig:
    """The same config for a process in another folder."""
    return replace(
        config,
        prototxt=config.prototxt.absolute(),
        caffemodel=config.caffemodel.absolute(),
        mean_file=config.mean_file and config.mean_file.absolute(),
        synset_file=config.synset_file.absolute(),
    )


def _absolute(job: HeatmapJob) -> HeatmapJob:
    """The same job for a process in another folder."""
    stem = None if job.stem is None else str(Path(job.stem).absolute())
    member, root = job.member, job.output_root
    return replace(
        job,
        image=job.image.absolute(),
        stem=stem,
        member=member and replace(member, archive=member.archive.absolute()),
        output_root=root and root.absolute(),
    )


def _as_listed(job: HeatmapJob, outcome: JobOutcome) -> JobOutcome:
    """The outcome of ``job``, with paths in its error written as in the list."""
    error = outcome.error.replace(str(outcome.job.image), str(job.image))
    if job.stem is not None:
        error = error.replace(str(outcome.job.stem), job.stem)
    return replace(outcome, job=job, error=error)


# In a worker process


def explain_on_worker(recipe: Recipe, jobs: Sequence[HeatmapJob]) -> list[JobOutcome]:
    """Explain one batch and write its files; the outcomes in the order of the jobs.

    Raises
    ------
    CaffeLrpError
        What the recipe names cannot be opened here, or the output folder cannot be used.
    """
    with _OPENING:  # of the threads that come for a new net one opens it, and all others wait for that
        workplace = _open_workplace(recipe)
    return workplace.explain(jobs)


_OPENING = threading.Lock()


class _Workplace:
    """A loaded net, and memory and threads for as many batches as this process may compute at a time."""

    def __init__(self, session: Session, recipe: Recipe, limits: Limits) -> None:
        self._session, self._delivery = session, recipe.delivery
        planned = plan_schedule(whole_footprint(session), _MANY_IMAGES, limits)
        schedule = within_address_space(planned, address_space_left(), stack_of_thread())
        self._batch_size = schedule.batch_size
        self._workspaces: SimpleQueue[Workspace] = SimpleQueue()
        for threads in schedule.threads_of_workers:
            self._workspaces.put(Workspace(threads))

    def explain(self, jobs: Sequence[HeatmapJob]) -> list[JobOutcome]:
        """What `explain_on_worker` returns; in smaller batches if memory is short here."""
        workspace = self._workspaces.get()
        try:
            return [
                outcome
                for batch in form_batches(jobs, self._batch_size)
                for outcome in self._explain_batch(batch, workspace)
            ]
        finally:
            self._workspaces.put(workspace)

    def _explain_batch(self, batch: Batch, workspace: Workspace) -> list[JobOutcome]:
        images = [
            load_image(self._session, [batch.jobs[place] for place in places]) for places in batch.jobs_of
        ]
        outcomes = {
            place: deliver(batch.jobs[place], explanation, self._delivery)
            for place, explanation in explain_batch(self._session, batch, images, workspace)
        }
        return [outcomes[place] for place in range(len(batch.jobs))]


@lru_cache(maxsize=_MOST_NETS)
def _open_workplace(recipe: Recipe) -> _Workplace:
    """The workplace of this process for a run."""
    worker = require_dask().get_worker()
    if recipe.version != __version__:
        raise UsageError(
            f"--dask: the run is of caffe-lrp {recipe.version}, but worker {worker.address} has "
            f"{__version__}; install the same version everywhere"
        )
    cv2.setNumThreads(1)  # as in a run without a cluster
    granted = worker.memory_manager.memory_limit or available_memory()
    try:
        session = open_session(
            recipe.config, recipe.formulas, recipe.convolution, recipe.max_pixels, recipe.canonize
        )
        session = session.observing(recipe.delivery.kinds)
        limits = Limits(worker.state.nthreads, recipe.memory or granted // 2, recipe.batch_size)
        return _Workplace(session, recipe, limits)
    except CaffeLrpError as error:
        raise type(error)(f"Dask worker {worker.address}: {error}") from error
