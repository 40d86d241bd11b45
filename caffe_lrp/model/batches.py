"""Which requests run together: batches of images, formed by position alone."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .attempt import Request

Asked = TypeVar("Asked", bound=Request)
#: The result of one.
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Batch(Generic[Asked]):
    """Consecutive requests, and the images they share.

    Attributes
    ----------
    requests
        In the order in which they were made.
    requests_of
        For every image, in the order in which they first occur, the places of its requests.
    """

    requests: tuple[Asked, ...]
    requests_of: tuple[tuple[int, ...], ...]


def form_batches(
    requests: Iterable[Asked], size: int, most_requests: int | None = None
) -> Iterator[Batch[Asked]]:
    """Batches of ``size`` different images each, fewer in the last one.

    Requests for the same image within one batch share its place, and their number is not limited unless by
    ``most_requests``. Whether a request can succeed does not matter: what runs together is the same in every
    run over the same requests.
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
