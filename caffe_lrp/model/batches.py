"""Which jobs run together: batches of images, formed by position in the list alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.batch.job import HeatmapJob


@dataclass(frozen=True)
class Batch:
    """Consecutive jobs of a list, and the images they share.

    Attributes
    ----------
    jobs
        In the order of the list.
    images
        The different images, in the order in which they first occur.
    jobs_of
        For every image the places of its jobs in ``jobs``.
    """

    jobs: tuple[HeatmapJob, ...]
    images: tuple[Path, ...]
    jobs_of: tuple[tuple[int, ...], ...]


def form_batches(jobs: Iterable[HeatmapJob], size: int) -> Iterator[Batch]:
    """Batches of ``size`` different images each, fewer in the last one.

    Jobs that explain the same image within one batch share its place. Whether a job can succeed does not
    matter: what runs together is the same in every run of a list.
    """
    together: list[HeatmapJob] = []
    places: dict[Path, list[int]] = {}
    for job in jobs:
        if job.image not in places and len(places) == size:
            yield _batch(together, places)
            together, places = [], {}
        places.setdefault(job.image, []).append(len(together))
        together.append(job)
    if places:
        yield _batch(together, places)


def _batch(jobs: Sequence[HeatmapJob], places: dict[Path, list[int]]) -> Batch:
    return Batch(tuple(jobs), tuple(places), tuple(map(tuple, places.values())))


def count_images(jobs: Iterable[HeatmapJob]) -> int:
    """Number of images in a list, where one that is listed several times in a row counts once."""
    count, before = 0, None
    for job in jobs:
        count += job.image != before
        before = job.image
    return count
