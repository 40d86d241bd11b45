"""The threads of a run: images are loaded ahead, batches computed by several workers, files written behind.

Three pools pass on what they have made: loaders to workers, workers to writers. What is on the way is
bounded by the number of batches that have been started and not ended (see `Schedule`), and by a count of
the maps that wait to be written. A stop lets every thread end what it holds (a file, a layer) and drops the
rest, so that nothing is left half done.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from types import TracebackType

import cv2

from caffe_lrp.engines.base import Engine
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.machine.crew import SECONDS_DEAF, Crew

from .batches import Batch, form_batches
from .delivery import Delivery
from .job import HeatmapJob, JobOutcome
from .runner import Explanation, LoadedImage, deliver, explain_batch, load_image
from .schedule import Schedule
from .session import Session


class Stopped(BaseException):
    """The run has ended before its time; no fault of an image, so nothing that is noted at one."""


def run_jobs(
    session: Session,
    jobs: Iterable[HeatmapJob],
    delivery: Delivery,
    schedule: Schedule,
    halted: Callable[[], bool] = lambda: False,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[JobOutcome, None, None]:
    """Explain every job and write its files; outcomes come in the order of the jobs.

    Closing the generator, or an exception in the thread that uses it, stops the run: files are complete or
    absent then, and no thread is left. So does ``stopped``, after which outcomes of jobs that are done
    still come.

    Parameters
    ----------
    session
        Net, plans and preprocessing.
    jobs
        What to explain.
    delivery
        Where results go.
    schedule
        Batch size, workers and threads.
    halted
        Asked before every batch; once it is true, the batches that have been started are the last ones.
    stopped
        Asked while a job is waited for; once it is true, batches that have been started are dropped, too.
    """
    started: deque[deque[Future[JobOutcome]]] = deque()
    with _Pipeline(session, delivery, schedule) as pipeline:
        try:
            for batch in form_batches(jobs, schedule.batch_size):
                if halted():
                    break
                started.append(deque(pipeline.start(batch)))
                if len(started) == schedule.most_batches:
                    yield from _in_order(pipeline, started, stopped)
            while started:
                yield from _in_order(pipeline, started, stopped)
        except Stopped:
            pipeline.drop()
            yield from _done(started)  # before anything is waited for, which may never come
            pipeline.join()
            yield from _done(started)


def _in_order(
    pipeline: "_Pipeline", started: deque[deque[Future[JobOutcome]]], stopped: Callable[[], bool]
) -> Iterator[JobOutcome]:
    """The outcomes of the first batch that was started, each taken out of it as it comes."""
    batch = started[0]
    while batch:
        outcome = pipeline.awaited(batch[0], stopped)
        batch.popleft()
        yield outcome
    started.popleft()


def _done(started: Iterable[deque[Future[JobOutcome]]]) -> Iterator[JobOutcome]:
    """The outcomes there are by now, taken out of their batches."""
    for batch in started:
        for outcome in list(batch):
            if outcome.done():
                batch.remove(outcome)
                if outcome.exception() is None:
                    yield outcome.result()


class _Pipeline:
    """The pools of one run; a context manager that stops them."""

    def __init__(self, session: Session, delivery: Delivery, schedule: Schedule) -> None:
        self._session, self._delivery = session, delivery
        self._stopping = threading.Event()
        self._room = threading.Semaphore(schedule.most_results)
        self._engines: SimpleQueue[Engine] = SimpleQueue()
        with ExitStack() as opened:
            for threads in schedule.threads_of_workers:
                self._engines.put(opened.enter_context(CpuEngine(threads, self._refuse_stopped)))
            counts = {"loader": schedule.loaders, "worker": schedule.workers, "writer": schedule.writers}
            crews = []
            for name, count in counts.items():
                crews.append(Crew(count, name))
                opened.callback(crews[-1].join)
            self._crews = self._loaders, self._workers, self._writers = crews
            self._opened = opened.pop_all()

    def __enter__(self) -> "_Pipeline":
        cv2.setNumThreads(1)  # different pictures are worked on at the same time instead
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()
        self._opened.close()

    def awaited(self, outcome: Future[JobOutcome], stopped: Callable[[], bool]) -> JobOutcome:
        """An outcome, waited for step by step: a signal right before a wait does not end that wait."""
        while not outcome.done():
            if stopped():
                raise Stopped
            wait([outcome], SECONDS_DEAF)
            for crew in self._crews:
                crew.require_all()
        return outcome.result()

    def drop(self) -> None:
        """Have every thread end what it holds, and drop the rest."""
        self._stopping.set()
        for crew in self._crews:
            crew.dismiss()

    def join(self) -> None:
        """Wait until all threads have ended. All crews must have been told to: one may wait for another."""
        for crew in self._crews:
            crew.join()

    def start(self, batch: Batch) -> list[Future[JobOutcome]]:
        """Have one batch go its way; what becomes of its jobs, in their order."""
        images = [
            self._loaders.submit(load_image, self._session, [batch.jobs[place] for place in places])
            for places in batch.jobs_of
        ]
        outcomes: list[Future[JobOutcome]] = [Future() for _ in batch.jobs]
        self._workers.submit(self._compute, batch, images, outcomes)
        return outcomes

    def _compute(
        self,
        batch: Batch,
        images: Sequence[Future[LoadedImage]],
        outcomes: Sequence[Future[JobOutcome]],
    ) -> None:
        """Explain one batch in a worker; what is raised here comes out where the outcomes are awaited."""
        waiting = set(range(len(outcomes)))
        try:
            self._loaders.wait(images)
            loaded = [image.result() for image in images]
            engine = self._engines.get_nowait()  # there are as many as workers
            try:
                for place, explanation in explain_batch(self._session, batch, loaded, engine):
                    self._hand_over(batch.jobs[place], explanation, outcomes[place])
                    waiting.discard(place)
            finally:
                self._engines.put(engine)
        except BaseException as error:  # noqa: BLE001 - a thread has nobody else to tell
            for place in waiting:
                with suppress(InvalidStateError):  # its writer has settled it already
                    outcomes[place].set_exception(error)

    def _hand_over(self, job: HeatmapJob, explanation: Explanation, outcome: Future[JobOutcome]) -> None:
        """Have the files of a job written, as soon as not too many others wait for that."""
        if explanation.result is None:
            self._write(job, explanation, outcome)
            return
        while not self._room.acquire(timeout=SECONDS_DEAF):
            self._writers.require_all()
        self._refuse_stopped()
        written = self._writers.submit(self._write, job, explanation, outcome)
        written.add_done_callback(lambda _: self._room.release())

    def _write(self, job: HeatmapJob, explanation: Explanation, outcome: Future[JobOutcome]) -> None:
        try:
            written = deliver(job, explanation, self._delivery)
        except BaseException as error:  # noqa: BLE001 - as in _compute
            outcome.set_exception(error)
        else:
            outcome.set_result(written)

    def _refuse_stopped(self) -> None:
        if self._stopping.is_set():
            raise Stopped
