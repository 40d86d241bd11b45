"""The reference's rule for relevance that passes a softmax."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Layer

from .accounts import Loss, doubles
from .base import PassedItem, Seen, UnpreparedRule


@dataclass(frozen=True)
class Overwrite(UnpreparedRule[Layer]):
    """Relevance is replaced by the layer's own output (Q9)."""

    title = "overwrite"

    def uses_outputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: Layer, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (seen.outputs[0],)

    def losses(self, passed: PassedItem[Layer, None]) -> Iterator[Loss]:
        yield "Q9", float(np.sum(doubles(passed.relevances[0]) - doubles(passed.seen.outputs[0])))
