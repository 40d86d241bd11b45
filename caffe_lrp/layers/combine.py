"""Layers with several inputs or outputs that move elements about."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.proto.spec import LayerSpec, Shape
from caffe_lrp.workspace import Workspace

from .base import Blobs, Router, canonical_axis, register


@register("Split")
class Split(Router):
    """Copies of one blob for several consumers; what they hand back is summed."""

    output_counts: ClassVar[tuple[int, int | None]] = (1, None)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (inputs[0],) * len(self.outputs)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        if len(gradients) == 1:
            return (gradients[0],)
        total = np.add(gradients[0], gradients[1], out=workspace.empty(gradients[0].shape))
        for gradient in gradients[2:]:
            total += gradient
        return (total,)


@register("Concat")
@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Router):
    """Blobs joined along one axis; each gets its slice back."""

    input_counts: ClassVar[tuple[int, int | None]] = (1, None)

    axis: int

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Concat":
        parameters = spec.parameters.concat_param
        old_style = parameters.HasField("concat_dim")
        shapes: tuple[Shape, ...] = node["input_shapes"]
        axis = canonical_axis(parameters.concat_dim if old_style else parameters.axis, shapes[0])
        for shape in shapes[1:]:
            if len(shape) != len(shapes[0]) or _without(axis, shape) != _without(axis, shapes[0]):
                raise ModelError(
                    f"bottoms of shapes {shapes} cannot be joined along axis {axis + 1}; "
                    "check concat_param and the layers that write them"
                )
        return cls(axis=axis, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        first = self.input_shapes[0]
        joined = sum(shape[self.axis] for shape in self.input_shapes)
        return ((*first[: self.axis], joined, *first[self.axis + 1 :]),)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        out = workspace.empty((len(inputs[0]), *self.output_shapes[0]))
        return (np.concatenate(inputs, axis=self.axis + 1, out=out),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        ends = np.cumsum([shape[self.axis] for shape in self.input_shapes])[:-1]
        parts = np.split(gradients[0], ends, axis=self.axis + 1)
        copies = tuple(workspace.empty(part.shape) for part in parts)
        for copy, part in zip(copies, parts, strict=True):
            copy[...] = part
        return copies


def _without(axis: int, shape: Shape) -> Shape:
    return shape[:axis] + shape[axis + 1 :]
