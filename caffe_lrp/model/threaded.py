"""Explaining requests in the caller's threads, for programs with threads of their own."""

from collections.abc import Callable, Iterable, Iterator

from caffe_lrp.engines.pool import EnginePool

from .attempt import Attempt
from .batches import Asked, Outcome, form_batches
from .explainer import Explainer
from .schedule import Schedule
from .stages import explain_batch, load_image


class ThreadedExplainer:
    """A net with one engine for each thread that may compute at the same time.

    Parameters
    ----------
    explainer
        Net, plans and preprocessing.
    schedule
        Batch size, and threads of the engines.
    """

    def __init__(self, explainer: Explainer, schedule: Schedule) -> None:
        self._explainer, self._batch_size = explainer, schedule.batch_size
        self._engines = EnginePool(schedule.threads_of_workers, explainer.settings.convolution)

    def explain(
        self, requests: Iterable[Asked], finish: Callable[[Asked, Attempt], Outcome]
    ) -> Iterator[list[Outcome]]:
        """Outcomes in the order of the requests, batch by batch; one engine computes them all."""
        with self._engines.borrowed() as engine:
            for batch in form_batches(requests, self._batch_size):
                loaded = [
                    load_image(self._explainer, [batch.requests[place] for place in places])
                    for places in batch.requests_of
                ]
                found = {
                    place: finish(batch.requests[place], attempt)
                    for place, attempt in explain_batch(self._explainer, batch, loaded, engine)
                }
                yield [found[place] for place in range(len(batch.requests))]
