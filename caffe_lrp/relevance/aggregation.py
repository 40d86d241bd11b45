"""The rule of layers that put every output together from many elements of one input."""

from dataclasses import dataclass

from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.layers.base import Aggregation, Blobs, Layer
from caffe_lrp.workspace import Workspace

from .rules import Rule, Seen


@dataclass(frozen=True)
class Share(Rule):
    """``r = R c / Σc`` for elements that contribute ``c``, alike where the sum is 0.

    Source: Bach et al. 2015, eq. 56.
    """

    title = "R·c/Σc"

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: Aggregation, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (layer.shared(seen.inputs, relevances[0], workspace),)
