"""The flat rule: relevance shared equally, whatever the input."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs
from caffe_lrp.layers.linear import Linear

from .accounts import Loss, doubles, kept_of_equal_shares
from .base import PassedItem, Seen, UnpreparedRule


@dataclass(frozen=True)
class Flat(UnpreparedRule[Linear]):
    """Relevance shared equally among the inputs that an output sees; does not use ``x``.

    ``ignore_channels`` (Q6) divides by the kernel area instead of the number of inputs. The share of
    padding is lost. Source: Lapuschkin et al. 2019.
    """

    title = "flat"
    ignore_channels: bool

    def propagate(
        self, layer: Linear, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (layer.shared_equally(relevances[0], self.ignore_channels, workspace),)

    def losses(self, passed: PassedItem[Linear, None]) -> Iterator[Loss]:
        """The inputs receive one share of R for every input that the output sees."""
        layer, relevance = passed.layer, doubles(passed.relevances[0])
        kept = kept_of_equal_shares(layer, passed.constants, passed.workspace)
        yield "padding", float(np.sum(relevance * (1 - kept)))
        if self.ignore_channels:
            yield "Q6", float(np.sum(relevance * kept)) * (1 - layer.fan_in / layer.taps)
