"""The threads of a run: some load images ahead, some compute batches, some finish results.

There are three pools: loaders feed workers, and workers feed finishers, which write files or otherwise
process results. The number of started batches (see `Schedule`) and of results waiting for a finisher is
limited. When the run is stopped, every thread completes its current step (a file, a layer) and the rest is
dropped, so nothing is left half done.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Generic

from caffe_lrp.engines.base import Engine
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.imaging.libraries import ONE_THREAD_OF_OPENCV
from caffe_lrp.machine.crew import SECONDS_DEAF, Crew

from .attempt import Attempt
from .batches import Asked, Batch, Outcome, form_batches
from .explainer import Explainer
from .schedule import Schedule
from .stages import LoadedImage, explain_batch, load_image


class Stopped(BaseException):
    """The run was stopped early. This is no image's fault and is not recorded as one."""


def run_requests(
    explainer: Explainer,
    requests: Iterable[Asked],
    finish: Callable[[Asked, Attempt], Outcome],
    schedule: Schedule,
    halted: Callable[[], bool] = lambda: False,
    stopped: Callable[[], bool] = lambda: False,
    *,
    most_of_batch: int | None = None,
) -> Generator[Outcome, None, None]:
    """Explain all requests and finish each result; yield outcomes in the order of the requests.

    Closing the generator, or an exception in the thread that uses it, stops the run: steps in progress are
    completed, and no thread is left. ``stopped`` does the same, but outcomes that are complete are still
    yielded.

    Parameters
    ----------
    explainer
        Net, plans and preprocessing.
    requests
        The requests to explain.
    finish
        Makes the outcome from a request and its result: writes files, or passes on the explanation. Called
        from several threads. An exception ends the run.
    schedule
        Batch size, workers and threads.
    halted
        Called before every batch; once it is true, no more batches are started.
    stopped
        Called while waiting for an outcome; once it is true, started batches are dropped as well.
    most_of_batch
        The most requests in a batch, if outcomes take memory until they are used; None: no limit.
    """
    started: deque[deque[Future[Outcome]]] = deque()
    with _Pipeline(explainer, finish, schedule) as pipeline:
        try:
            for batch in form_batches(requests, schedule.batch_size, most_of_batch):
                if halted():
                    break
                started.append(deque(pipeline.start(batch)))
                if len(started) == schedule.most_batches:
                    yield from _in_order(pipeline, started, stopped)
            while started:
                yield from _in_order(pipeline, started, stopped)
        except Stopped:
            pipeline.drop()
            yield from _done(started)  # before waiting for outcomes that may never come
            pipeline.join()
            yield from _done(started)


def _in_order(
    pipeline: "_Pipeline[Asked, Outcome]", started: deque[deque[Future[Outcome]]], stopped: Callable[[], bool]
) -> Iterator[Outcome]:
    """The outcomes of the oldest batch, each removed from it when it is yielded."""
    batch = started[0]
    while batch:
        outcome = pipeline.awaited(batch[0], stopped)
        batch.popleft()
        yield outcome
    started.popleft()


def _done(started: Iterable[deque[Future[Outcome]]]) -> Iterator[Outcome]:
    """The outcomes that are complete, removed from their batches."""
    for batch in started:
        for outcome in list(batch):
            if outcome.done():
                batch.remove(outcome)
                if outcome.exception() is None:
                    yield outcome.result()


class _Pipeline(Generic[Asked, Outcome]):
    """The pools of a run; a context manager that stops them."""

    def __init__(
        self, explainer: Explainer, finish: Callable[[Asked, Attempt], Outcome], schedule: Schedule
    ) -> None:
        self._explainer, self._finish = explainer, finish
        self._stopping = threading.Event()
        self._room = threading.Semaphore(schedule.most_results)
        self._engines: SimpleQueue[Engine] = SimpleQueue()
        with ExitStack() as opened:
            opened.enter_context(ONE_THREAD_OF_OPENCV.one_more())
            for threads in schedule.threads_of_workers:
                engine = CpuEngine(threads, self._refuse_stopped, explainer.settings.convolution)
                self._engines.put(opened.enter_context(engine))
            counts = {"loader": schedule.loaders, "worker": schedule.workers, "finisher": schedule.writers}
            crews = []
            for name, count in counts.items():
                crews.append(Crew(count, name))
                opened.callback(crews[-1].join)
            self._crews = self._loaders, self._workers, self._finishers = crews
            self._opened = opened.pop_all()

    def __enter__(self) -> "_Pipeline[Asked, Outcome]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()
        self._opened.close()

    def awaited(self, outcome: Future[Outcome], stopped: Callable[[], bool]) -> Outcome:
        """Wait for an outcome in short steps: a signal right before a wait would not end that wait."""
        while not outcome.done():
            if stopped():
                raise Stopped
            wait([outcome], SECONDS_DEAF)
            for crew in self._crews:
                crew.require_all()
        return outcome.result()

    def drop(self) -> None:
        """Let every thread complete its current step, and drop the rest."""
        self._stopping.set()
        for crew in self._crews:
            crew.dismiss()

    def join(self) -> None:
        """Wait until all threads have ended. All crews must be stopped first: one may wait for another."""
        for crew in self._crews:
            crew.join()

    def start(self, batch: Batch[Asked]) -> list[Future[Outcome]]:
        """Start a batch; return futures of the outcomes of its requests, in order."""
        images = [
            self._loaders.submit(load_image, self._explainer, [batch.requests[place] for place in places])
            for places in batch.requests_of
        ]
        outcomes: list[Future[Outcome]] = [Future() for _ in batch.requests]
        self._workers.submit(self._compute, batch, images, outcomes)
        return outcomes

    def _compute(
        self,
        batch: Batch[Asked],
        images: Sequence[Future[LoadedImage]],
        outcomes: Sequence[Future[Outcome]],
    ) -> None:
        """Explain a batch in a worker; exceptions are raised where the outcomes are awaited."""
        waiting = set(range(len(outcomes)))
        try:
            self._loaders.wait(images)
            loaded = [image.result() for image in images]
            engine = self._engines.get_nowait()  # there is one for each worker
            try:
                for place, attempt in explain_batch(self._explainer, batch, loaded, engine):
                    self._hand_over(batch.requests[place], attempt, outcomes[place])
                    waiting.discard(place)
            finally:
                self._engines.put(engine)
        except BaseException as error:  # noqa: BLE001 - a thread has nobody else to tell
            for place in waiting:
                with suppress(InvalidStateError):  # already set by its finisher
                    outcomes[place].set_exception(error)

    def _hand_over(self, request: Asked, attempt: Attempt, outcome: Future[Outcome]) -> None:
        """Hand a result to the finishers; waits while too many others are waiting for them."""
        if attempt.explanation is None:
            self._settle(request, attempt, outcome)
            return
        while not self._room.acquire(timeout=SECONDS_DEAF):
            self._finishers.require_all()
        self._refuse_stopped()
        finished = self._finishers.submit(self._settle, request, attempt, outcome)
        finished.add_done_callback(lambda _: self._room.release())

    def _settle(self, request: Asked, attempt: Attempt, outcome: Future[Outcome]) -> None:
        try:
            found = self._finish(request, attempt)
        except BaseException as error:  # noqa: BLE001 - as in _compute
            outcome.set_exception(error)
        else:
            outcome.set_result(found)

    def _refuse_stopped(self) -> None:
        if self._stopping.is_set():
            raise Stopped
