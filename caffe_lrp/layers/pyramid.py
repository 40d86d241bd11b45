"""Spatial pyramid pooling: parallel pooling layers, each with twice the bins per side of the one before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import SPPParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.window import Window

from .base import Aggregation, Blobs, Layer, Winner, register
from .geometry import PaddedWindow, require_image
from .pooling import AveragePooling, Pooling, StochasticPooling, pooling_of


@register("SPP")
@dataclass(frozen=True, eq=False, kw_only=True)
class SpatialPyramid(Layer):
    """The concatenated outputs of pooling ``levels``; a single level keeps its shape.

    Level i pools into 2^i × 2^i bins. Source: He et al. 2014, and Caffe's geometry.
    """

    gradient_uses_inputs: ClassVar[bool] = True

    levels: tuple[Pooling, ...]

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "SpatialPyramid":
        parameters = spec.parameters.spp_param
        if parameters.pyramid_height < 1:
            raise ModelError("pyramid_height must be at least 1; set it in spp_param")
        _, *size = require_image(node["input_shapes"][0])
        windows = [_bins(level, size) for level in range(parameters.pyramid_height)]
        levels = tuple(pooling_of(parameters.pool, padded, True, **node) for padded in windows)
        kind = MaxPyramid if parameters.pool == SPPParameter.MAX else AveragePyramid
        return kind(levels=levels, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        if len(self.levels) == 1:
            return self.levels[0].output_shapes
        return ((sum(self._sizes),),)

    @property
    def _sizes(self) -> list[int]:
        """Numbers in the output of every level."""
        return [int(np.prod(level.output_shapes[0])) for level in self.levels]

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        found = [level.forward(inputs, workspace)[0] for level in self.levels]
        if len(found) == 1:
            return (found[0],)
        out = workspace.empty((len(inputs[0]), *self.output_shapes[0]))
        return (np.concatenate([blob.reshape(len(blob), -1) for blob in found], axis=1, out=out),)

    def _apart(self, blob: Blob) -> list[Blob]:
        """A blob in the shape of the output, as one blob per level."""
        parts = np.split(blob.reshape(len(blob), -1), np.cumsum(self._sizes)[:-1], axis=1)
        return [
            part.reshape(len(blob), *level.output_shapes[0])
            for part, level in zip(parts, self.levels, strict=True)
        ]

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        parts = zip(self.levels, self._apart(gradients[0]), strict=True)
        return (_sum(level.gradient(inputs, (), (part,), workspace)[0] for level, part in parts),)


class MaxPyramid(SpatialPyramid, Winner):
    """The largest element of every bin at every level."""


class AveragePyramid(SpatialPyramid, Aggregation):
    """The mean of every bin at every level."""

    levels: tuple[AveragePooling | StochasticPooling, ...]

    def shared(self, inputs: Blobs, relevance: Blob, workspace: Workspace) -> Blob:
        parts = zip(self.levels, self._apart(relevance), strict=True)
        return _sum(level.shared(inputs, part, workspace) for level, part in parts)


def _bins(level: int, size: Sequence[int]) -> PaddedWindow:
    """Window of a level for an image of ``size``, padded so that all bins have the same size.

    Raises
    ------
    ModelError
        There are more bins than Caffe fills.
    """
    count = 2**level
    kernel = [-(-pixels // count) for pixels in size]
    pad = [
        (pixels_in_bin * count - pixels + 1) // 2 for pixels_in_bin, pixels in zip(kernel, size, strict=True)
    ]
    if pad[0] >= kernel[0] or pad[1] >= kernel[1]:
        raise ModelError(
            f"an input of {size[0]}×{size[1]} is too small for {count}×{count} bins; set pyramid_height in "
            f"spp_param to at most {level}, or make the net's input larger"
        )
    return PaddedWindow(Window(*kernel, *kernel, *pad), (pad[0], pad[1]))


def _sum(blobs: Iterator[Blob]) -> Blob:
    """The sum of ``blobs``, which are never all in memory together; the first is overwritten."""
    total = next(blobs)
    for blob in blobs:
        total += blob
    return total
