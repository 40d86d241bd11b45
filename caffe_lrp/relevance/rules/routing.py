"""Rules that move relevance to where elements came from, or pass it unchanged."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Bordered, ClippedWindows, Layer

from .accounts import Loss, doubles
from .base import PassedItem, Seen, UnpreparedRule
from .gradients import Gradient


def lost_outside(layer: Layer, relevance: Blob) -> Iterator[Loss]:
    """The loss of relevance at windows without a pixel, or in a border of constants."""
    if isinstance(layer, Bordered) and layer.inside is not None:
        outside = doubles(relevance[:1]).copy()
        outside[layer.inside] = 0
        yield "padding", float(np.sum(outside))
    if isinstance(layer, ClippedWindows) and layer.has_empty_windows:
        rows, columns = layer.filled_size
        received = doubles(relevance[0])
        yield "padding", float(np.sum(received[:, rows:]) + np.sum(received[:, :rows, columns:]))


@dataclass(frozen=True)
class Route(Gradient):
    """Relevance goes where the elements came from."""

    title = "route"

    def losses(self, passed: PassedItem[Layer, None]) -> Iterator[Loss]:
        return lost_outside(passed.layer, passed.relevances[0])


@dataclass(frozen=True)
class PassMerged(Route):
    """Relevance passes the placeholder of a layer that was merged into another one."""

    title = "merged"


@dataclass(frozen=True)
class Pass(UnpreparedRule[Layer]):
    """Relevance passes unchanged."""

    title = "pass"

    def propagate(
        self, layer: Layer, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (relevances[0],)

    def losses(self, passed: PassedItem[Layer, None]) -> Iterator[Loss]:
        """Nothing."""
        return iter(())
