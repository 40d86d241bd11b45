"""Grouping requests into batches of images, by position alone."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .attempt import Request

Asked = TypeVar("Asked", bound=Request)
#: The result of a request.
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Batch(Generic[Asked]):
    """Consecutive requests, grouped by image.

    Attributes
    ----------
    requests
        The requests, in order.
    requests_of
        For every image, in order of first occurrence, the positions of its requests.
    """

    requests: tuple[Asked, ...]
    requests_of: tuple[tuple[int, ...], ...]


def form_batches(
    requests: Iterable[Asked], size: int, most_requests: int | None = None
) -> Iterator[Batch[Asked]]:
    """Batches of ``size`` different images each; the last one may have fewer.

    Requests for the same image within a batch share one item, and only ``most_requests`` limits their number.
    Requests that cannot succeed count as well: the same requests form the same batches in every run.
    """
    together: list[Asked] = []
    places: dict[Hashable, list[int]] = {}
    for request in requests:
        is_full = request.image_key not in places and len(places) == size
        if is_full or len(together) == most_requests:
            yield _batch(together, places)
            together, places = [], {}
        places.setdefault(request.image_key, []).append(len(together))
        together.append(request)
    if places:
        yield _batch(together, places)


def _batch(requests: Sequence[Asked], places: dict[Hashable, list[int]]) -> Batch[Asked]:
    return Batch(tuple(requests), tuple(map(tuple, places.values())))
