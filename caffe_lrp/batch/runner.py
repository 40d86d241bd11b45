"""The runner: jobs to files, batch by batch. An image that fails costs no other its result."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from caffe_lrp.errors import ImageError
from caffe_lrp.filelist import Target
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.outputs.result import HeatmapResult
from caffe_lrp.outputs.writers import OutputKind, write_outputs
from caffe_lrp.relevance.engine import explain
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.ranking import Ranking, rank

from .check import require_classes
from .job import HeatmapJob, JobOutcome
from .session import Session

#: Lines of the file with the best scores.
LIST_LENGTH = 10


@dataclass
class _Item:
    """One job on its way through its batch; ``error`` says why it went no further."""

    job: HeatmapJob
    error: str = ""
    image: PreparedImage | None = None
    result: HeatmapResult | None = None


def run_jobs(
    session: Session, jobs: Sequence[HeatmapJob], kinds: Sequence[OutputKind], batch_size: int
) -> Iterator[JobOutcome]:
    """Explain every job and write its files; outcomes come in the order of the jobs.

    Batches form by position in the list and keep their size whatever fails (a blank takes the place of
    an image that cannot be read), so that the result of a job does not depend on the fate of others.

    Parameters
    ----------
    session
        Net, plan and preprocessing.
    jobs
        What to explain.
    kinds
        Which files to write.
    batch_size
        Images per batch.
    """
    for first in range(0, len(jobs), batch_size):
        started = time.perf_counter()
        batch = [_Item(job, job.fault) for job in jobs[first : first + batch_size]]
        _run_batch(session, batch, kinds)
        seconds = (time.perf_counter() - started) / len(batch)
        for item in batch:
            best = None if item.result is None else int(item.result.ranked_classes[0])
            yield JobOutcome(item.job, seconds, item.error, best)


def _run_batch(session: Session, batch: Sequence[_Item], kinds: Sequence[OutputKind]) -> None:
    """Take one batch through all stages; what goes wrong is noted at the items it concerns."""
    for item in batch:
        if not item.error:
            with _noting_failure([item]):
                item.image = session.preprocessor(item.job.image)
    loaded = [item for item in batch if item.image is not None]
    if loaded:
        with _noting_failure(loaded):
            _explain(session, batch)
    for item in loaded:
        if item.result is not None and item.job.stem is not None and not item.error:
            with _noting_failure([item]):
                write_outputs(item.job.stem, item.result, kinds)


@contextmanager
def _noting_failure(items: Sequence[_Item]) -> Iterator[None]:
    """Turn a failure of the block into the ``error`` of the items it concerns."""
    try:
        yield
    except ImageError as error:
        reason = str(error)
    except MemoryError:
        reason = "not enough memory; free some, or use smaller batches"
    except Exception as error:  # noqa: BLE001 - a fault in one image must not end the others' run
        reason = f"internal error, please report it: {type(error).__name__}: {error}"
    else:
        return
    for item in items:
        item.error = reason


def _explain(session: Session, batch: Sequence[_Item]) -> None:
    """Forward and relevance pass of one batch, results put into the items that have an image."""
    plan, net = session.plan, session.net
    blank = np.zeros(net.input_shape, np.float32)
    blobs = np.stack([blank if item.image is None else item.image.blob for item in batch])
    # What is not finite is found in the results and reported with its image.
    with np.errstate(all="ignore"):
        activations = net.forward(blobs, plan.kept_values)
        rankings = [rank(scores, session.class_count) for scores in activations[net.output_value]]
        classes = [_classes_of(session, item, ranking) for item, ranking in zip(batch, rankings, strict=True)]
        relevance = explain(plan, activations, classes)
    for item, ranking, heatmap in zip(batch, rankings, relevance, strict=True):
        if item.image is not None and not item.error:
            with _noting_failure([item]):
                item.result = _result(plan, item.image, ranking, heatmap)


def _classes_of(session: Session, item: _Item, ranking: Ranking) -> tuple[int, ...]:
    """Classes one item is explained for; none where there is no image or no such class."""
    if item.image is not None:
        with _noting_failure([item]):
            return choose_classes(session, item.job.target, ranking)
    return ()


def _result(plan: Plan, image: PreparedImage, ranking: Ranking, relevance: Blob) -> HeatmapResult:
    """What is written for one image.

    Raises
    ------
    ImageError
        Scores or relevance are not finite.
    """
    if not np.isfinite(ranking.scores).all():
        raise ImageError("the net's scores are not finite; the image or the weights overflow float32")
    if not np.isfinite(relevance).all():
        raise ImageError(
            "the relevance is not finite: a division by nearly 0; try a larger epsstab (--eps) "
            "or a smaller alphabeta_beta (--beta)"
        )
    return HeatmapResult(
        relevance=_as_image(relevance),
        is_image=plan.is_image,
        picture=image.picture,
        ranked_classes=ranking.classes[:LIST_LENGTH],
        ranked_scores=ranking.scores[:LIST_LENGTH],
    )


def choose_classes(session: Session, target: Target, ranking: Ranking) -> tuple[int, ...]:
    """Flat elements of the start layer at which relevance of one image starts.

    Raises
    ------
    ImageError
        The class asked for is none of the net's, or the start layer has no such element.
    """
    if target.best_count:
        classes = tuple(int(best) for best in ranking.classes[: target.best_count])
    else:
        classes = (target.code,)
    require_classes(session, classes)
    return classes


def _as_image(relevance: Blob) -> Blob:
    """(C, H, W) from the relevance of one item; vectors become (K, 1, 1)."""
    return relevance.reshape((*relevance.shape, 1, 1)[:3]) if relevance.ndim < 3 else relevance
