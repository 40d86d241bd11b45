"""Layers that change the shape of a blob and nothing else."""

import math
from dataclasses import dataclass
from typing import Any

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.proto.spec import LayerSpec, Shape
from caffe_lrp.workspace import Workspace

from .base import Blobs, Router, canonical_axis, register


@register("Flatten")
@dataclass(frozen=True, eq=False, kw_only=True)
class Flatten(Router):
    """Axes ``first`` to ``last`` of one item joined into one."""

    is_alias = True

    first: int
    last: int

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Flatten":
        parameters = spec.parameters.flatten_param
        shape: Shape = node["input_shapes"][0]
        first = canonical_axis(parameters.axis, shape)
        last = canonical_axis(parameters.end_axis, shape)
        if last < first:
            raise ModelError(f"end_axis {parameters.end_axis} lies before axis {parameters.axis}")
        return cls(first=first, last=last, **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        shape = self.input_shapes[0]
        joined = math.prod(shape[self.first : self.last + 1])
        return ((*shape[: self.first], joined, *shape[self.last + 1 :]),)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (inputs[0].reshape(len(inputs[0]), *self.output_shapes[0]),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (gradients[0].reshape(len(gradients[0]), *self.input_shapes[0]),)
