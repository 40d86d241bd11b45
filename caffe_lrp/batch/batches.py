"""Which jobs run together: batches of images, formed by position in the list alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .job import HeatmapJob


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


def form_batches(jobs: Sequence[HeatmapJob], size: int) -> list[Batch]:
    """Batches of ``size`` different images each, fewer in the last one.

    Jobs that explain the same image within one batch share its place. Whether a job can succeed does not
    matter: what runs together is the same in every run of a list.
    """
    batches: list[Batch] = []
    first, places = 0, dict[Path, list[int]]()
    for number, job in enumerate(jobs):
        if job.image not in places and len(places) == size:
            batches.append(_batch(jobs[first:number], places))
            first, places = number, {}
        places.setdefault(job.image, []).append(number - first)
    if places:
        batches.append(_batch(jobs[first:], places))
    return batches


def _batch(jobs: Sequence[HeatmapJob], places: dict[Path, list[int]]) -> Batch:
    return Batch(tuple(jobs), tuple(places), tuple(map(tuple, places.values())))


def count_images(jobs: Sequence[HeatmapJob]) -> int:
    """Number of images in a list, where one that is listed several times in a row counts once."""
    return sum(job.image != before.image for job, before in zip(jobs[1:], jobs, strict=False)) + bool(jobs)
