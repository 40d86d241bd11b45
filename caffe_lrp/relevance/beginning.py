"""The start of a backward pass, from a start vector and the forward pass; and maps of two passes made one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caffe_lrp.errors import ImageError
from caffe_lrp.kernels.blobs import Blob

from .passage import ForwardPass
from .plan import Plan
from .start_amounts import Scored, Subject
from .start_vector import ONE, SCORE, StartVector

#: A sum below this share of its terms, signs aside, is rounding.
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, eq=False)
class Beginning:
    """The start of the backward passes of a batch.

    Attributes
    ----------
    relevance
        Value where relevance starts -> (N, …): what it starts as.
    contrast
        The same of the second pass; None if there is one pass.
    faults
        Item -> why it has no start vector; its relevance means nothing.
    """

    relevance: dict[int, Blob]
    contrast: dict[int, Blob] | None
    faults: dict[int, ImageError]

    def sums(self, item: int) -> tuple[float, float]:
        """The sum that relevance of an item starts as, and the same with signs aside."""
        blobs = [blob[item] for blob in self.relevance.values()]
        starts = sum(float(blob.sum(dtype=np.float64)) for blob in blobs)
        return starts, sum(float(np.abs(blob).sum(dtype=np.float64)) for blob in blobs)


def begin(
    plan: Plan, forward: ForwardPass, subjects: Sequence[Subject | None], vector: StartVector | None = None
) -> Beginning:
    """What relevance starts as.

    Parameters
    ----------
    plan
        The plan.
    forward
        The forward pass of N items.
    subjects
        What each item is explained for; None: it is not explained, and starts from 0.
    vector
        The start vector; None: the scores, or 1 where the plan says so.
    """
    kind = vector.kind if vector else (ONE if plan.unit_seed else SCORE)
    argument = vector.argument if vector else None
    beginning = Beginning(_zeros(plan, forward), None if kind.contrast is None else _zeros(plan, forward), {})
    for item, subject in enumerate(subjects):
        if subject is None:
            continue
        try:
            for value, scores in plan.seeds.items():
                at = _scored(plan, forward.activations[scores][item], subject)
                _put(beginning.relevance[value][item], kind.start(at, argument))
                if beginning.contrast is not None and kind.contrast is not None:
                    _put(beginning.contrast[value][item], kind.contrast(at, argument))
        except ImageError as error:
            beginning.faults[item] = error
    return beginning


def at_scores(plan: Plan, forward: ForwardPass, classes: Sequence[Sequence[int]]) -> dict[int, Blob]:
    """The start without a start vector: value -> (N, …), for each item the scores of its classes."""
    return begin(plan, forward, [Subject(tuple(chosen)) for chosen in classes]).relevance


def contrasted(relevance: Blob, other: Blob, *, is_clamped: bool) -> Blob:
    """R − R꜀ · ΣR / ΣR꜀: a map, less that of the contrast, scaled to the same sum (Gu et al. 2018).

    Parameters
    ----------
    relevance, other
        (C, H, W), contiguous: the maps of one item.
    is_clamped
        Whether negative relevance is set to 0.

    Raises
    ------
    ImageError
        The sum of the contrast is 0, but for rounding.
    """
    wanted, against = relevance.astype(np.float64), other.astype(np.float64)
    total = against.sum()
    if abs(total) <= _LEAST_SHARE * np.abs(against).sum():
        raise ImageError(
            f"the relevance of the contrast sums to {total:.3g}, so it cannot be scaled; use difference:CLASS"
        )
    found = wanted - against * (wanted.sum() / total)
    return np.asarray(np.maximum(found, 0) if is_clamped else found, np.float32)


def _zeros(plan: Plan, forward: ForwardPass) -> dict[int, Blob]:
    values = forward.activations
    return {value: np.zeros(values[scores].shape, np.float32) for value, scores in plan.seeds.items()}


def _scored(plan: Plan, values: Blob, subject: Subject) -> Scored:
    count, size = plan.origin.class_count, plan.origin.class_size
    scores = values.reshape(-1)[: count * size].reshape(count, size)
    return Scored(scores, values.shape, subject, plan.is_gradient)


def _put(started: Blob, amounts: Blob) -> None:
    """Write what one item starts as; elements that belong to no class stay 0."""
    started.reshape(-1)[: amounts.size] = amounts.reshape(-1)
