"""Linear maps between the input and the output of a layer, forwards and backwards.

Apart from the layer's own map there are others, which rules make from its weights. Weights are lifted to
(groups, parts out, outputs, parts in, inputs, k_h, k_w). If there are two parts out, they are the sums of
positive and of negative products; two parts in are the positive and the negative part of the input.
"""

import math
from abc import ABC, abstractmethod

import numpy as np

from caffe_lrp.kernels.blobs import Blob, pixels
from caffe_lrp.kernels.passes import Source

from .workspace import Workspace


class LinearMap(ABC):
    """A linear map with the shapes of a layer, and with lifted weights."""

    weight: Blob
    output_shape: tuple[int, ...]

    @property
    def groups(self) -> int:
        """Groups of channels; the parts of a group are contiguous."""
        return int(self.weight.shape[0])

    def packed_growth(self, convolution: str) -> float:
        """Numbers in packed weights per weight, at most, for a method of convolution."""
        del convolution
        return 0.0

    @abstractmethod
    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        """The map of ``x`` plus ``bias`` (C,), in the layer's output shape; for one part out."""

    @abstractmethod
    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        """For two parts out: the sums (N, H, W, G·2·O), and their total plus ``bias`` as `apply` gives it.

        G is `groups`. Rules use the sums as they are; `sums_of_item` separates them by sign.
        """

    @abstractmethod
    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        """Propagate ``source`` back along the weights, to the layer's input shape.

        Parameters
        ----------
        source
            Pixels of the layer's output, (N, H, W, G·parts·O).
        factor
            Multiplied by the result, in the layer's input shape; with two parts in, its sign chooses the
            part. None leaves the result unchanged.
        """

    def restore_ties(self, x: Blob, out: Blob, workspace: Workspace) -> None:
        """Make outputs of equal windows of ``x`` equal if they differ by rounding errors.

        ``out``, the result of `apply` or `apply_sums` for ``x`` in the same workspace, is changed in place.
        """
        del x, out, workspace

    def rows(self, numbers: Blob) -> Blob:
        """(N, positions, C) from a blob in the layer's output shape."""
        return pixels(numbers).reshape(len(numbers), -1, self._channels)

    def sums_of_item(self, sums: Blob, item: int) -> tuple[Blob, Blob]:
        """The sums of positive and of negative products of one item, each (positions, C), as in `rows`."""
        channels = self._channels
        positions = math.prod(self.output_shape) // channels
        by_part = sums.reshape(-1, positions, self.groups, 2, channels // self.groups)[item]
        positive, negative = (by_part[..., part, :].reshape(positions, channels) for part in (0, 1))
        return positive, negative

    @property
    def _channels(self) -> int:
        """Outputs of all groups together."""
        return int(self.weight.shape[0] * self.weight.shape[2])


def signed_weight(weight: Blob, nonnegative: bool) -> Blob:
    """Lifted weights with two parts out: the sums of positive and of negative products.

    Parameters
    ----------
    weight
        Lifted weights with one part out and one part in.
    nonnegative
        Whether the input is never negative, so that one part in is enough.
    """
    groups, _, outputs, _, *rest = weight.shape
    signed = np.empty((groups, 2, outputs, 1 if nonnegative else 2, *rest), weight.dtype)
    # Each part is written where it belongs: copies of large layers would take gigabytes meanwhile.
    for out in range(2):
        for into in range(signed.shape[3]):
            part = np.maximum if out == into else np.minimum
            part(weight[:, 0, :, 0], 0, out=signed[:, out, :, into])
    return signed
