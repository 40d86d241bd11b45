"""The w² rule: relevance in proportion to squared weights, whatever the input."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.quotients import undivided
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs
from caffe_lrp.layers.linear import Linear, Windowed

from .accounts import Loss, doubles, kept_inside
from .base import Conditions, PassedItem, Rule, Seen


@dataclass(frozen=True)
class WSquare(Rule[Linear, LinearMap]):
    """``r = Σ w² R / Σ w²``; does not use ``x``. Source: Montavon et al. 2017, eq. 12."""

    title = "w²"

    def prepare(self, layer: Linear, conditions: Conditions) -> LinearMap:
        return layer.squared_map

    def propagate(
        self, layer: Linear, prepared: LinearMap, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (prepared.adjoint(undivided(relevances[0]), None, workspace),)

    def losses(self, passed: PassedItem[Linear, LinearMap]) -> Iterator[Loss]:
        """The inputs receive the share of R of the weights that do not fall on padding."""
        layer = passed.layer

        def compute() -> Blob:
            # If weights are packed, use a temporary map, so that they are not kept.
            is_packed = isinstance(layer, Windowed)
            shares = layer.sharing_map(np.square(layer.weight)) if is_packed else passed.prepared
            return kept_inside(layer, shares, 1, passed.workspace)

        kept = passed.constants.of(layer, "kept by w²", compute)
        has_weights = kept.any(axis=tuple(range(2, kept.ndim)), keepdims=True)
        lost = doubles(passed.relevances[0]) * (1 - kept.astype(np.float64))
        yield "padding", float(np.sum(lost * has_weights))
        yield "zero_weights", float(np.sum(lost * ~has_weights))

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return {"squares": math.ceil(layer.weight.size * (1 + growth))}
