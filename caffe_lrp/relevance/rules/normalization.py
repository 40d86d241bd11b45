"""The Taylor rule for normalization across channels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob, lines
from caffe_lrp.kernels.normalization import lrn_taylor
from caffe_lrp.layers.base import Blobs, ChannelNormalization

from .accounts import Doubles, Loss, doubles
from .base import PassedItem, Seen, UnpreparedRule


@dataclass(frozen=True)
class TaylorNormalization(UnpreparedRule[ChannelNormalization]):
    """The reference's first-order Taylor rule for LRN across channels (Q8); it does not conserve."""

    title = "Taylor"

    def uses_inputs(self, layer: ChannelNormalization) -> bool:
        return True

    def propagate(
        self, layer: ChannelNormalization, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(seen.inputs[0].shape)
        x, received, target = lines(seen.inputs[0]), lines(relevances[0]), lines(out)
        workspace.share(
            lambda first, last: lrn_taylor(
                x[first:last], received[first:last], *layer.coefficients, target[first:last]
            ),
            len(x),
            x.size,
        )
        return (out,)

    def losses(self, passed: PassedItem[ChannelNormalization, None]) -> Iterator[Loss]:
        """The difference between R and the rule's result (manual: toolbox, "LRN"), computed again."""
        size, alpha, beta, k = passed.layer.coefficients
        x, relevance = doubles(lines(passed.seen.inputs[0])), doubles(lines(passed.relevances[0]))
        squares = x * x
        scale = k + alpha / size * _sums_of_neighbours(squares, size)
        pull = scale ** (-beta - 1) * x * relevance
        others = _sums_of_neighbours(pull, size) - pull
        handed = x * (k + alpha / size * squares) ** -beta * relevance
        yield "Q8", float(np.sum(relevance - handed + 2 * alpha * beta / size * squares * others))


def _sums_of_neighbours(numbers: Doubles, size: int) -> Doubles:
    """Sums over ``size`` neighbouring channels of (P, C)."""
    reach, channels = size // 2, numbers.shape[1]
    padded = np.pad(numbers, ((0, 0), (reach, reach)))
    sums = np.zeros_like(numbers)
    for shift in range(size):
        sums += padded[:, shift : shift + channels]
    return sums
