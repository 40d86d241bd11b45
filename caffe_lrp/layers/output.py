"""Layers that turn scores into the net's output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.formats.spec import LayerSpec
from caffe_lrp.kernels import elementwise as kernels
from caffe_lrp.kernels.blobs import Blob

from .base import Blobs, Layer, register
from .geometry import canonical_axis


@register("Softmax")
@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Layer):
    """Softmax over one axis."""

    gives_probabilities: ClassVar[bool] = True
    gradient_uses_outputs: ClassVar[bool] = True

    axis: int

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Softmax":
        axis = canonical_axis(spec.parameters.softmax_param.axis, node["input_shapes"][0])
        return cls(axis=axis, **node)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        lines = self._lines(inputs[0])
        out = workspace.empty(lines.shape)
        kernels.softmax(lines, out)
        return (out.reshape(inputs[0].shape),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        lines = self._lines(outputs[0])
        out = workspace.empty(lines.shape)
        kernels.softmax_gradient(lines, self._lines(gradients[0]), out)
        return (out.reshape(outputs[0].shape),)

    def _lines(self, blob: Blob) -> Blob:
        """``blob`` as a contiguous (A, C, B), C along the softmax axis."""
        shape = self.input_shapes[0]
        return np.ascontiguousarray(blob.reshape(-1, shape[self.axis], math.prod(shape[self.axis + 1 :])))

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return True
