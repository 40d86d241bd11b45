"""Maps that say nothing: black pictures, and those in which hardly a pixel can be seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.relevance.passage import ForwardPass, starting_scores
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.rendering.heatmap import LEAST_BRIGHTNESS, LEAST_VISIBLE, visible_share


def percent(share: float) -> str:
    """A share for people: ``0.5 %``."""
    return f"{100 * share:.2g} %"


#: What makes a map dark, for people.
DARK = (
    f"under {percent(LEAST_VISIBLE)} of the pixels reach {percent(LEAST_BRIGHTNESS)} of the brightest colour"
)


class Cause(Enum):
    """Why a map is dark, by the names that programs read."""

    STARTS_AT_ZERO = "starts_at_zero"
    LOST = "lost_on_the_way"
    NOTHING_POSITIVE = "nothing_positive"
    FEW_PIXELS = "few_visible_pixels"


@dataclass(frozen=True)
class Darkness:
    """A map that says nothing.

    Attributes
    ----------
    cause
        Why.
    classes
        The classes it explains.
    starts
        The sum that relevance started as.
    visible
        Share of the pixels that can be seen.
    """

    cause: Cause
    classes: tuple[int, ...]
    starts: float
    visible: float = 0.0


def darkness_of(
    plan: Plan, forward: ForwardPass, item: int, classes: Sequence[int], relevance: Blob
) -> Darkness | None:
    """Describe why one map of a forward pass is dark; None if it is not.

    Parameters
    ----------
    plan, forward
        What made the map.
    item
        Which item of the batch it is of.
    classes
        The classes it explains.
    relevance
        The map, (C, H, W), finite.
    """
    visible = visible_share(relevance)
    if visible >= LEAST_VISIBLE:
        return None
    scores = starting_scores(plan, forward, item, classes)
    if not scores.any():
        cause = Cause.STARTS_AT_ZERO
    elif not relevance.any():
        cause = Cause.LOST
    else:
        cause = Cause.FEW_PIXELS if visible else Cause.NOTHING_POSITIVE
    return Darkness(cause, tuple(classes), float(scores.sum(dtype="float64")), visible)
