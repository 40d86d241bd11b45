"""What one image's explanation consists of, before it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class HeatmapResult:
    """The explanation of one image.

    Attributes
    ----------
    relevance
        (C, H, W) float32, in the channel order of the blob it belongs to.
    is_image
        Whether that blob is the input image, whose channels are BGR.
    picture
        (H, W, 3) uint8, RGB: what went into the net, before the mean was subtracted.
    ranked_classes
        (K,) integers, best class first.
    ranked_scores
        (K,) float32, their scores.
    target_classes
        The classes explained, the first of them the best.
    scores_of_all
        (classes,) float32, all outputs of the net; None where nobody needs them.
    description
        What describes the run (net, formula, settings), as a JSON text.
    layers
        Kind of output -> relevance at the layer it stands for, without the batch axis.
    conservation
        What entered and left every layer, as a JSON text; empty where nobody needs it.
    """

    relevance: NDArray[np.float32]
    is_image: bool
    picture: NDArray[np.uint8]
    ranked_classes: NDArray[np.int64]
    ranked_scores: NDArray[np.float32]
    target_classes: tuple[int, ...] = ()
    scores_of_all: NDArray[np.float32] | None = None
    description: str = ""
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    conservation: str = ""
