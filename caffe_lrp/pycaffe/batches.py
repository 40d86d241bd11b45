"""Arrays that scripts give for a batch, or for any number of items."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caffe_lrp.formats.spec import Shape

from .blob import Blob, Floats, Named
from .faults import CaffeValueError


def one_batch(name: str, given: Any, shape: Shape, what: str) -> Floats:
    """``given`` as numbers for a blob of ``shape``; the number of items must be right.

    Raises
    ------
    CaffeValueError
        It has another shape, or does not hold numbers.
    """
    try:
        numbers: Floats = np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise CaffeValueError(f"{what} of '{name}' must be an array of numbers ({error})") from error
    if not numbers.ndim or numbers.shape[0] != shape[0]:
        raise CaffeValueError(
            f"{what} is not batch sized: '{name}' holds {shape[0]} items, but an array of shape "
            f"{numbers.shape} was given; net.blobs['{name}'].reshape(...) changes the number of items"
        )
    try:
        np.broadcast_shapes(numbers.shape, shape)
        return np.broadcast_to(numbers, shape)
    except ValueError as error:
        raise CaffeValueError(
            f"{what} of '{name}' must have the shape {shape}, but has {numbers.shape}"
        ) from error


def batches_of(name: str, given: Any, blob: Blob) -> list[tuple[Floats, int]]:
    """Batches of the blob's size, the last one padded by zeros, and how many items of each are real."""
    numbers = np.asarray(given)
    if numbers.ndim != len(blob.shape) or not len(numbers):
        raise CaffeValueError(
            f"'{name}' must be an array of items (N, {', '.join(map(str, blob.shape[1:]))}), not of the "
            f"shape {numbers.shape}"
        )
    size, found = blob.shape[0], []
    for first in range(0, len(numbers), size):
        part = numbers[first : first + size]
        padded = np.zeros((size, *part.shape[1:]), np.float32)
        padded[: len(part)] = part
        found.append((padded, len(part)))
    return found


def append_to(pieces: dict[str, list[Floats]], found: Mapping[str, Floats], kept: int) -> None:
    """Add copies of the items of a batch that are real."""
    for name, numbers in found.items():
        pieces.setdefault(name, []).append(numbers[:kept].copy())


def joined(pieces: Mapping[str, Sequence[Floats]]) -> Named[Floats]:
    """The items of all batches by name."""
    return Named((name, np.concatenate(parts)) for name, parts in pieces.items())
