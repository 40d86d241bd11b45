"""The process of the benchmark that runs caffe-lrp: forward pass and relevance of images in memory."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from bench_worker import Case, Round, read_case, serve

import caffe_lrp
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.relevance.beginning import at_scores


def load(case: Case) -> tuple[Explainer, Blob]:
    """Return net, plan (None for the forward pass alone) and images of a case, as a batch."""
    model = caffe_lrp.load(case.config, convolution=case.convolution)
    explainer = model.explainer(() if case.formula is None else (case.formula,))
    photos = [explainer.preprocessor(Path(photo)).blob for photo in case.photos[: case.batch]]
    return explainer, np.stack(photos)


class Engine:
    """Explains the images of one case repeatedly."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._explainer, self._batch = load(case)
        self._classes = [(item,) for item in range(case.batch)]
        workers, inside = (1, case.threads) if case.together else (case.threads, 1)
        self._engines = [CpuEngine(inside, convolution=case.convolution) for _ in range(workers)]
        self._pool = ThreadPoolExecutor(workers)

    def run(self, count: int) -> Round:
        """Let every worker explain `count` batches and return the time.

        The shares of the two passes are shares of the workers' time.
        """
        started = time.perf_counter()
        passes = list(self._pool.map(lambda engine: self._work(engine, count), self._engines))
        seconds = time.perf_counter() - started
        forward, relevance = np.sum(passes, axis=0)
        share = seconds / (forward + relevance)
        images = len(self._engines) * count * self._case.batch
        return Round(images, seconds, float(share * forward), float(share * relevance))

    def _work(self, engine: CpuEngine, count: int) -> tuple[float, float]:
        """Explain `count` batches and return the seconds that forward and relevance passes took."""
        net, plans = self._explainer.net, tuple(self._explainer.plans.values())
        forward_seconds = relevance_seconds = 0.0
        for _ in range(count):
            started = time.perf_counter()
            forward = engine.forward(net, plans, self._batch)
            forward_seconds += time.perf_counter() - started
            for plan in plans:
                started = time.perf_counter()
                engine.explain(plan, forward, at_scores(plan, forward, self._classes))
                relevance_seconds += time.perf_counter() - started
        return forward_seconds, relevance_seconds


def main() -> None:
    """Serve the case on the command line."""
    case = read_case(sys.argv[1])
    serve({"explain": Engine(case).run}, case.round_seconds)


if __name__ == "__main__":
    main()
