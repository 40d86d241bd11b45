"""Ranking of the net's output."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.blobs import Blob


@dataclass(frozen=True)
class Ranking:
    """Classes of one item, best first, and their scores."""

    classes: NDArray[np.int64]
    scores: Blob


def class_scores(outputs: Blob, class_count: int) -> Blob:
    """Scores (N, classes) from the net's outputs (N, …).

    If the output has several positions per class, the score is their sum.
    """
    planes = outputs.reshape(len(outputs), class_count, -1)
    if planes.shape[2] == 1:
        return planes[:, :, 0]
    sums: Blob = planes.sum(axis=2, dtype=np.float64).astype(np.float32)
    return sums


def rank(scores: Blob, class_count: int) -> Ranking:
    """Ranking of the first ``class_count`` scores of one item; equal ones by index."""
    scores = scores[:class_count]
    order = np.argsort(-scores, kind="stable")
    return Ranking(order, scores[order])
