"""Dark maps: pictures that are black, or in which hardly any pixel is visible."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.relevance.beginning import Beginning
from caffe_lrp.rendering.heatmap import LEAST_BRIGHTNESS, LEAST_VISIBLE, visible_share


def percent(share: float) -> str:
    """A share as a readable text: ``0.5 %``."""
    return f"{100 * share:.2g} %"


#: The definition of a dark map, for messages.
DARK = (
    f"under {percent(LEAST_VISIBLE)} of the pixels reach {percent(LEAST_BRIGHTNESS)} of the brightest colour"
)


class Cause(Enum):
    """Causes of dark maps; the names are for programs."""

    STARTS_AT_ZERO = "starts_at_zero"
    LOST = "lost_on_the_way"
    NOTHING_POSITIVE = "nothing_positive"
    FEW_PIXELS = "few_visible_pixels"


@dataclass(frozen=True)
class Darkness:
    """A map in which nothing can be seen.

    Attributes
    ----------
    cause
        Why it is dark.
    classes
        The classes it explains.
    starts
        The sum of the start vector.
    visible
        Share of visible pixels.
    amount
        The sum of its absolute values.
    """

    cause: Cause
    classes: tuple[int, ...]
    starts: float
    visible: float = 0.0
    amount: float = 0.0


def darkness_of(beginning: Beginning, item: int, classes: Sequence[int], relevance: Blob) -> Darkness | None:
    """Return why a map is dark; None if it is not.

    Parameters
    ----------
    beginning
        What relevance started as.
    item
        Its item in the batch.
    classes
        The classes it explains.
    relevance
        The map, (C, H, W), finite.
    """
    visible = visible_share(relevance)
    if visible >= LEAST_VISIBLE:
        return None
    starts, amount = beginning.sums(item)
    if not amount:
        cause = Cause.STARTS_AT_ZERO
    elif not relevance.any():
        cause = Cause.LOST
    else:
        cause = Cause.FEW_PIXELS if visible else Cause.NOTHING_POSITIVE
    return Darkness(cause, tuple(classes), starts, visible, amount)
