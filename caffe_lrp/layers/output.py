"""Layers that turn scores into the net's output."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.kernels import elementwise as kernels
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.proto.spec import LayerSpec

from .base import Blobs, Layer, canonical_axis, register


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

    def forward(self, inputs: Blobs) -> tuple[Blob, ...]:
        out = np.empty_like(inputs[0])
        kernels.softmax(self._lines(inputs[0]), self._lines(out))
        return (out,)

    def gradient(self, inputs: Blobs, outputs: Blobs, gradients: Blobs) -> tuple[Blob, ...]:
        out = np.empty_like(outputs[0])
        kernels.softmax_gradient(self._lines(outputs[0]), self._lines(gradients[0]), self._lines(out))
        return (out,)

    def _lines(self, blob: Blob) -> Blob:
        """``blob`` viewed as (A, C, B), C along the softmax axis."""
        shape = self.input_shapes[0]
        return blob.reshape(-1, shape[self.axis], math.prod(shape[self.axis + 1 :]))
