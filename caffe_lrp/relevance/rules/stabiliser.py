"""What keeps the divisor of the ε rule and its relatives away from 0."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caffe_lrp.kernels.blobs import Blob

from .accounts import Doubles, Loss, doubles


@dataclass(frozen=True)
class Stabiliser:
    """From a sum z to the divisor: ``z + s·sign(z)``, where the sign of 0 is positive.

    Attributes
    ----------
    epsilon
        ε ≥ 0.
    is_relative
        Whether s is ε times the root mean square of z over one item, as in Montavon et al. 2019; else s is ε.
    is_clipped
        Whether the divisor is ``sign(z)·max(|z|, s)`` instead, which leaves sums of at least s as they are.
    undivided_at_zero
        Q4: relevance is not divided where z is 0.
    """

    epsilon: float
    is_relative: bool = False
    is_clipped: bool = False
    undivided_at_zero: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether s is the same number for all sums, and added to them."""
        return not (self.is_relative or self.is_clipped)

    def divisor(self, z: Blob) -> Blob:
        """What to divide by, for sums (N, …)."""
        size = self._sizes(z)
        if self.is_clipped:
            found = np.where(z > 0, np.maximum(z, size), np.minimum(z, -size))
        else:
            found = z + np.where(z > 0, size, -size)
        return np.where(z == 0, np.float32(1) if self.undivided_at_zero else size, found)

    def _sizes(self, z: Blob) -> Blob:
        """The number s for sums (N, …): an array of one number, or of one for each item."""
        if not self.is_relative:
            return np.array(self.epsilon, np.float32)
        # Item by item, so that roundings do not depend on the batch.
        means = [np.mean(np.square(item.reshape(-1), dtype=np.float64)) for item in z]
        sizes = self.epsilon * np.sqrt(np.array(means, np.float64))
        return sizes.astype(np.float32).reshape(-1, *(1,) * (z.ndim - 1))

    def losses(self, relevance: Doubles, z: Blob, quotient: Doubles) -> Iterator[Loss]:
        """What one item loses because ``quotient`` is relevance over `divisor`, and not over z itself."""
        is_zero = z == 0
        yield "epsilon", float(np.sum(quotient * (doubles(self.divisor(z)) - z), where=~is_zero))
        is_added = bool(np.any(self._sizes(z)))
        name = "Q4" if self.undivided_at_zero else "epsilon" if is_added else "zero_sum"
        yield name, float(np.sum(relevance, where=is_zero))
