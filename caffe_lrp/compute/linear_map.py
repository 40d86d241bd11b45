"""Linear maps between the input and the output of a layer, ready to be applied and to be reversed.

A map need not be the layer's own: rules make others from its weights. Weights are lifted to (groups,
parts out, outputs, parts in, inputs, k_h, k_w). Two parts out are the sums of positive and of negative
products; two parts in are the positive and the negative parts of the input.
"""

import math
from abc import ABC, abstractmethod

import numpy as np

from caffe_lrp.kernels.blobs import Blob, pixels
from caffe_lrp.kernels.passes import Source

from .workspace import Workspace


class LinearMap(ABC):
    """A linear map with the shapes of a layer, and its lifted weights."""

    weight: Blob
    output_shape: tuple[int, ...]

    @property
    def groups(self) -> int:
        """Groups of channels, in each of which parts lie side by side."""
        return int(self.weight.shape[0])

    def packed_growth(self, convolution: str) -> float:
        """Numbers that the map takes to be ready, at most, for every weight, by a method of convolution."""
        del convolution
        return 0.0

    @abstractmethod
    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        """The map of ``x`` plus ``bias`` (C,), in the layer's output shape; for one part out."""

    @abstractmethod
    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        """For two parts out: the sums (N, H, W, G·2·O), and their total plus ``bias`` as `apply` gives it.

        G is `groups`. Rules take them as they are; `sums_of_item` takes them apart.
        """

    @abstractmethod
    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        """Propagate ``source`` back along the weights, to the layer's input shape.

        Parameters
        ----------
        source
            Gives (N, H, W, G·parts·O): pixels of the layer's output.
        factor
            In the layer's input shape: every result is multiplied by its number; with two parts in, its
            sign chooses the part. None leaves results as they are.
        """

    def restore_ties(self, x: Blob, out: Blob, workspace: Workspace) -> None:
        """Make outputs equal that follow from equal windows of ``x``, where rounding has made them differ.

        ``out`` is changed in place: what this map has made of ``x``, by `apply` or `apply_sums`, in the same
        workspace.
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
    """Lifted weights whose two parts out sum the positive and the negative products.

    Parameters
    ----------
    weight
        Lifted weights with one part out and one part in.
    nonnegative
        Whether the input has no negative numbers, so that one part in is enough.
    """
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    columns = [np.concatenate([positive, negative], axis=1)]
    if not nonnegative:
        columns.append(np.concatenate([negative, positive], axis=1))
    return np.ascontiguousarray(np.concatenate(columns, axis=3))
