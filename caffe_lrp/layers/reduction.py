"""Reduction: the last axes of a blob summed in one of several ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import ReductionParameter
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.elementwise import ZERO_SUM

from .base import Aggregation, AnyNumbers, Blobs, register
from .geometry import canonical_axis


@dataclass(frozen=True)
class Operation:
    """One reduction: the contribution of an element to the sum, and its derivative."""

    contribution: Callable[[Blob], AnyNumbers]
    slope: Callable[[Blob], AnyNumbers]
    is_mean: bool = False
    #: Whether contributions are never negative, whatever the elements.
    is_nonnegative: bool = False


OPERATIONS: dict[int, Operation] = {
    ReductionParameter.SUM: Operation(np.positive, np.ones_like),
    ReductionParameter.MEAN: Operation(np.positive, np.ones_like, is_mean=True),
    ReductionParameter.ASUM: Operation(np.abs, np.sign, is_nonnegative=True),
    ReductionParameter.SUMSQ: Operation(np.square, lambda x: 2 * x, is_nonnegative=True),
}


@register("Reduction")
@dataclass(frozen=True, eq=False, kw_only=True)
class Reduction(Aggregation):
    """``coefficient · Σ contribution(x)`` over ``axis`` of one item and all after it.

    A single number per image has an axis of size 1 here, but not in Caffe.
    """

    gradient_uses_inputs: ClassVar[bool] = True

    operation: Operation
    axis: int
    coefficient: float

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Reduction":
        parameters = spec.parameters.reduction_param
        shape: Shape = node["input_shapes"][0]
        if parameters.axis in (0, -len(shape) - 1):
            raise ModelError("axis 0 would add up the images of a batch; set another axis in reduction_param")
        axis = canonical_axis(parameters.axis, shape)
        operation = OPERATIONS[parameters.operation]
        coefficient = parameters.coeff / (np.prod(shape[axis:]) if operation.is_mean else 1)
        return cls(operation=operation, axis=axis, coefficient=float(coefficient), **node)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        return (self.input_shapes[0][: self.axis] or (1,),)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return self.coefficient >= 0 and (self.operation.is_nonnegative or all(inputs))

    def _rows(self, blob: Blob) -> Blob:
        """A blob in the shape of the input, as (sums, elements)."""
        return blob.reshape(len(blob) * int(np.prod(self.input_shapes[0][: self.axis])), -1)

    def _blob(self, numbers: AnyNumbers, shape: Shape, workspace: Workspace) -> Blob:
        """``numbers`` as a blob with items of ``shape``."""
        numbers = numbers.reshape(-1, *shape)
        out = workspace.empty(numbers.shape)
        out[...] = numbers
        return out

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        with np.errstate(all="ignore"):
            sums = self.operation.contribution(self._rows(inputs[0])).sum(axis=1)
            sums *= np.float32(self.coefficient)
        return (self._blob(sums, self.output_shapes[0], workspace),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        with np.errstate(all="ignore"):
            pull = gradients[0].reshape(-1, 1) * np.float32(self.coefficient)
            handed = pull * self.operation.slope(self._rows(inputs[0]))
        return (self._blob(handed, self.input_shapes[0], workspace),)

    def shared(self, inputs: Blobs, relevance: Blob, workspace: Workspace) -> Blob:
        # Contributions that are never negative cannot cancel out.
        least = np.finfo(np.float32).tiny if self.operation.is_nonnegative else ZERO_SUM
        with np.errstate(all="ignore"):
            contributions = self.operation.contribution(self._rows(inputs[0]))
            sums = contributions.sum(axis=1, keepdims=True)
            alike = np.full_like(contributions, 1 / contributions.shape[1])
            shares = np.divide(contributions, sums, out=alike, where=np.abs(sums) >= least)
            handed = relevance.reshape(-1, 1) * shares
        return self._blob(handed, self.input_shapes[0], workspace)
