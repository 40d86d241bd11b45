"""Ranking of the net's output, and which classes a target stands for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.gemm import Blob


@dataclass(frozen=True)
class Ranking:
    """Classes of one item, best first, and their scores."""

    classes: NDArray[np.int64]
    scores: Blob


def rank(output: Blob, class_count: int) -> Ranking:
    """Ranking of the first ``class_count`` elements of one item's output, equal scores by index."""
    scores = output.reshape(-1)[:class_count]
    order = np.argsort(-scores, kind="stable")
    return Ranking(order, scores[order])
