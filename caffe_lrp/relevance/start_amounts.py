"""What relevance starts as, for each kind of start vector: pure functions of the scores at the start layer.

Which of them a user can ask for, and by what words, is in `start_vector`. Each takes an item and the argument
of the kind, and returns (C, P) float32: relevance of each class at each of its positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ImageError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.elementwise import ZERO_SUM

from .ranking import Ranking

OTHERS, RUNNER_UP = "others", "runner-up"

_UNRANKED = Ranking(np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class Subject:
    """What one item of a batch is explained for.

    Attributes
    ----------
    targets
        The classes it is explained for.
    ranking
        Classes of the net that are ranked, best first.
    row
        Row of the start vectors in a file, from 0.
    """

    targets: tuple[int, ...]
    ranking: Ranking = _UNRANKED
    row: int = 0


@dataclass(frozen=True, eq=False)
class Scored:
    """One item at the start layer.

    Attributes
    ----------
    scores
        (C, P) float32: what the start layer says of each class, at each of its positions.
    shape
        Shape of the value that has these scores, without the batch axis.
    subject
        What the item is explained for.
    is_gradient
        Whether gradients are propagated: each position of a class then counts the same, as in its average.
    """

    scores: Blob
    shape: tuple[int, ...]
    subject: Subject
    is_gradient: bool = False

    @property
    def targets(self) -> list[int]:
        """The classes it is explained for."""
        return list(self.subject.targets)

    @property
    def ranked(self) -> NDArray[np.int64]:
        """The classes that are ranked, best first, as far as the start layer has them."""
        ranked = self.subject.ranking.classes
        return ranked[ranked < len(self.scores)]

    @property
    def others(self) -> NDArray[np.int64]:
        """The ranked classes that are not explained, best first; ImageError if there are none."""
        ranked = self.ranked
        found: NDArray[np.int64] = ranked[~np.isin(ranked, self.targets)]
        if not len(found):
            raise ImageError("there is no class besides the explained ones to compare with")
        return found

    @property
    def runner_up(self) -> int:
        """The best class that is not explained; of several with one score, the best at the start layer.

        Probabilities of all classes but one are often 0 in float32.
        """
        others, ranking = self.others, self.subject.ranking
        scores = ranking.scores[np.isin(ranking.classes, others)]
        tied = others[scores == scores[0]]
        return int(tied[self.scores[tied].mean(axis=1, dtype=np.float64).argmax()])

    def probabilities(self) -> NDArray[np.float64]:
        """(C,): the softmax of the ranked classes' scores, averaged over positions; 0 for other classes.

        Raises
        ------
        ImageError
            A class that is explained is not ranked.
        """
        ranked = self.ranked
        for target in self.targets:
            if target not in ranked:
                raise ImageError(f"class {target} is not ranked (numclasses), so it has no probability")
        means = self.scores[ranked].mean(axis=1, dtype=np.float64)
        powers = np.exp(means - means.max())
        found = np.zeros(len(self.scores))
        found[ranked] = powers / powers.sum()
        return found

    def of(self, classes: Any) -> Blob:
        """(C, P): the scores of some classes, and 0 for all others."""
        amounts = self.zeros()
        amounts[classes] = self.scores[classes]
        return amounts

    def spread(self, classes: Any, numbers: Any) -> Blob:
        """(C, P): numbers of some classes, one each, at their positions in proportion to the scores there.

        So relevance starts as if it had passed the average over positions. The mean over the positions is the
        number itself. Scores that sum to 0 do not count, as in average pooling.
        """
        scores = self.scores[classes].astype(np.float64)
        means = scores.mean(axis=1, keepdims=True)
        is_even = np.abs(means * scores.shape[1]) < ZERO_SUM
        shares = np.divide(scores, means, out=np.ones_like(scores), where=~(is_even | self.is_gradient))
        amounts = self.zeros()
        amounts[classes] = shares * np.reshape(numbers, (-1, 1))
        return amounts

    def zeros(self) -> Blob:
        """(C, P): zeros."""
        return np.zeros(self.scores.shape, np.float32)


def score(at: Scored, _: Any) -> Blob:
    """The scores of the explained classes."""
    return at.of(at.targets)


def one(at: Scored, _: Any) -> Blob:
    """1 at the explained classes."""
    return at.spread(at.targets, 1.0)


def difference(at: Scored, other: int) -> Blob:
    """The scores of the explained classes, less that of another."""
    return at.of(at.targets) - _of_class(at, other)


def _of_class(at: Scored, other: int) -> Blob:
    if other in at.targets:
        raise ImageError(f"class {other} is compared with itself; compare with another class")
    return at.of([other])


def contrast(at: Scored, others: int | str) -> Blob:
    """The scores of all other classes, of the best of them, or of one."""
    if isinstance(others, int):
        return _of_class(at, others)
    return at.of(at.others if others == OTHERS else [at.runner_up])


def shared_score(at: Scored, _: Any) -> Blob:
    """The scores that are explained, in equal shares at all other classes."""
    others = at.others
    explained = at.scores[at.targets].mean(axis=1, dtype=np.float64).sum()
    return at.spread(others, explained / len(others))


def softmax_gradient(at: Scored, _: Any) -> Blob:
    """The gradient of the probability of the explained classes by the scores."""
    return probable(at, None) - improbable(at, None)


def probable(at: Scored, _: Any) -> Blob:
    """The product y (1 − y) at the classes that are explained, where y is the probability of them all."""
    found = at.probabilities()
    # Not 1 - y: of a class that is nearly certain, nothing would be left.
    amounts = at.spread(at.targets, found[at.targets] * found[at.others].sum())
    if not amounts.any():
        classes = ", ".join(map(str, at.targets))
        raise ImageError(
            f"the probability of class {classes} is 0 or 1 but for rounding, so relevance would start at 0; "
            "use contrast:others"
        )
    return amounts


def improbable(at: Scored, _: Any) -> Blob:
    """The products of the probability of the explained classes and of each other one."""
    found, others = at.probabilities(), at.others
    return at.spread(others, found[others] * found[at.targets].sum())


def weighted(at: Scored, weights: Sequence[tuple[int, float]]) -> Blob:
    """Weighted scores."""
    amounts = at.zeros()
    for index, weight in weights:
        amounts[index] = weight * at.scores[index].astype(np.float64)
    return amounts


def unit(at: Scored, unit: int) -> Blob:
    """One element."""
    return _elements(at, slice(unit, unit + 1))


def channel(at: Scored, channel: int) -> Blob:
    """All positions of one channel."""
    size = math.prod(at.shape[1:])
    return _elements(at, slice(channel * size, (channel + 1) * size))


def _elements(at: Scored, chosen: slice) -> Blob:
    amounts = at.zeros()
    amounts.reshape(-1)[chosen] = at.scores.reshape(-1)[chosen]
    return amounts


def given(at: Scored, numbers: Blob) -> Blob:
    """Numbers that are given, one for each class: for all images, or a row for each."""
    if numbers.ndim == 2 and at.subject.row >= len(numbers):
        raise ImageError(f"the start vectors have {len(numbers)} rows, none for image {at.subject.row + 1}")
    row = numbers[at.subject.row] if numbers.ndim == 2 else numbers
    return at.spread(np.arange(len(row)), row)
