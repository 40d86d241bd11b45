"""A run on a Dask cluster: batches are sent to worker processes, outcomes are collected as they finish.

The net is not sent. A worker gets a `Recipe`, opens the net from it once, and writes the files of its batches
itself: images, model and output folder have the same paths on all machines. Dask gives the
batch of a lost worker to another one. Explaining a batch twice is harmless: its files are replaced
atomically, by the same bytes.
"""

import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from caffe_lrp import __version__
from caffe_lrp.errors import ClusterError, LimitError, UsageError
from caffe_lrp.machine.crew import require_threads
from caffe_lrp.machine.environment import lack_of_memory, stack_of_thread
from caffe_lrp.machine.resources import address_space_left, memory_is_limited
from caffe_lrp.model.batches import Batch, form_batches
from caffe_lrp.model.schedule import BATCHES_PER_WORKER, require_address_space_for

from .job import HeatmapJob, JobOutcome
from .worker import THREADS_OF_CLIENT, Recipe, explain_on_worker, require_dask

#: Address that means a cluster of processes on this machine.
LOCAL = "local"

#: Seconds to wait for a scheduler to answer.
_SECONDS_TO_CONNECT = 30
#: Longest time in seconds before a stop is noticed.
_SECONDS_DEAF = 0.1

#: Error of the images of a batch that Dask gives up. It omits Dask's names for the batch, since failures
#: are counted by reason.
_LOST = "every worker that started its batch was lost"
_DEADLY = (
    f"{_LOST}, perhaps for lack of memory; their logs may say why, and --retry-failed tries again, with a "
    "smaller --memory or --batch"
)

#: Threads that Dask starts in this process for each worker, and in each worker; measured.
_THREADS_FOR_PROCESS = 3
_THREADS_IN_PROCESS = 8


def run_on_cluster(
    place: str,
    recipe: Recipe,
    jobs: Iterable[HeatmapJob],
    batch_size: int,
    threads: int,
    halted: Callable[[], bool] = lambda: False,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[JobOutcome, None, None]:
    """Explain every job on a cluster, and write its files; outcomes come as batches finish, in any order.

    Closing the generator cancels batches that no worker has begun; batches in progress are finished.

    Parameters
    ----------
    place
        Address of a scheduler, a scheduler file (``….json``), or ``local``.
    recipe
        The recipe for the workers.
    jobs
        What to explain.
    batch_size
        Images per batch sent to a worker.
    threads
        Threads of a local cluster, all processes together.
    halted
        Called before every batch; once it is true, no more batches are sent.
    stopped
        Called while waiting for a batch; once it is true, the wait ends.

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
            while cluster.is_busy and cluster.awaits_next(stopped):
                yield from cluster.take_back()
        while cluster.batches and cluster.awaits_next(stopped):
            yield from cluster.take_back()


class _Cluster:
    """A connection to Dask and its batches in progress; a context manager that ends both."""

    def __init__(self, place: str, recipe: Recipe, threads: int) -> None:
        self._distributed = require_dask()
        self._recipe, self._threads, self._is_local = recipe, threads, place == LOCAL
        #: Batches in progress and their futures, by Dask's key.
        self.batches: dict[str, tuple[Batch[HeatmapJob], Any]] = {}
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
        """Raise ClusterError if the scheduler ends or becomes unreachable within the block."""
        try:
            yield
        except (self._distributed.CancelledError, self._distributed.comm.CommClosedError) as fault:
            raise ClusterError("the Dask cluster is lost; run the same command again to continue") from fault

    @property
    def is_busy(self) -> bool:
        """Return whether every thread of all current workers has a batch in progress and another queued."""
        threads: int = sum(self._client.nthreads().values())
        return len(self.batches) >= BATCHES_PER_WORKER * max(1, threads)

    def hand_out(self, batch: Batch[HeatmapJob]) -> None:
        """Send a batch to the cluster."""
        jobs = [_absolute(job) for job in batch.requests]
        future = self._client.submit(explain_on_worker, self._recipe, jobs, pure=False)
        self.batches[future.key] = batch, future
        self._finished.add(future)

    def awaits_next(self, stopped: Callable[[], bool]) -> bool:
        """Wait for a batch; return whether one is done. Finished ones are collected even after a stop."""
        while not self._finished.has_ready():
            if stopped():
                return False
            with self._finished.thread_condition:
                self._finished.thread_condition.wait(_SECONDS_DEAF)
        return True

    def take_back(self) -> list[JobOutcome]:
        """Return the outcomes of the next finished batch."""
        future = next(self._finished)
        batch, _ = self.batches.pop(future.key)
        try:
            outcomes = future.result()
        except self._distributed.KilledWorker as fault:
            if self._is_local and memory_is_limited():
                raise LimitError(f"--dask: {_LOST}, possible reason: {lack_of_memory()}") from fault
            return [JobOutcome(job, error=_DEADLY) for job in batch.requests]
        except ModuleNotFoundError as fault:
            raise UsageError(
                f"--dask: {fault} on the cluster; its scheduler and workers need caffe-lrp {__version__} too"
            ) from fault
        return [_as_listed(job, outcome) for job, outcome in zip(batch.requests, outcomes, strict=True)]

    def _connection(self, place: str, opened: ExitStack) -> Any:
        """Return a client of a new or an existing cluster."""
        client = self._distributed.Client
        if place == LOCAL:
            return client(opened.enter_context(self._local_cluster()))
        if place.endswith(".json") and not Path(place).is_file():
            raise UsageError(
                f"--dask: {place}: no such scheduler file; start the Dask scheduler with this file first"
            )
        address = {"scheduler_file" if place.endswith(".json") else "address": place}
        try:
            return client(**address, timeout=_SECONDS_TO_CONNECT)
        except (OSError, ValueError) as fault:
            raise UsageError(
                f"--dask: {place}: no Dask scheduler answers there ({fault}); give the address it printed "
                f"when it was started, a scheduler file that ends in .json, or {LOCAL}"
            ) from fault

    def _local_cluster(self) -> Any:
        """Return a cluster of processes on this machine, which share the threads and memory of the run."""
        split = import_module("distributed.deploy.utils").nprocesses_nthreads
        processes, threads = split(self._threads)
        here = THREADS_OF_CLIENT + _THREADS_FOR_PROCESS * processes
        left = address_space_left()
        require_address_space_for(here, left, stack_of_thread())
        if left is None:  # otherwise the address space of one process may be too small for them
            require_threads(here + processes * (_THREADS_IN_PROCESS + threads))
        options = self._recipe.options
        share = options.memory and options.memory // processes
        self._recipe = replace(self._recipe, options=replace(options, memory=share))
        with _deaf_to_terminals():
            return self._distributed.LocalCluster(
                n_workers=processes, threads_per_worker=threads, memory_limit=0, dashboard_address=None
            )


#: Signals a terminal sends to all its processes: on Ctrl-C, and when it is closed.
_OF_TERMINALS = (signal.SIGINT, signal.SIGHUP)


@contextmanager
def _deaf_to_terminals() -> Iterator[None]:
    """Make processes that are started within the block, or later by its threads, ignore terminal signals.

    After the block, this process handles Ctrl-C and the closing of the terminal, and ends the others in an
    orderly way.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINALS)
    try:
        # Starting Python's resource tracker re-enables Ctrl-C in the calling thread, so start it here first.
        import_module("multiprocessing.resource_tracker").ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _absolute(job: HeatmapJob) -> HeatmapJob:
    """Return the job with absolute paths, for a process in another folder."""
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
