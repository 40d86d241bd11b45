"""Layers that scale and shift one blob by another, which has fewer axes."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import BiasParameter, ScaleParameter
from caffe_lrp.formats.spec import Shape
from caffe_lrp.kernels.blobs import Blob

from .base import Blobs, Combination


class BroadcastPair(Combination):
    """Two blobs; the second is repeated over the last axes of the first."""

    def _spread(self, blob: Blob) -> Blob:
        """A blob in the second input's shape, extended to as many axes as the first has."""
        return blob.reshape(*blob.shape, *(1,) * (len(self.input_shapes[0]) + 1 - blob.ndim))

    def _collected(self, blob: Blob) -> Blob:
        """A blob in the first input's shape, summed over the axes that the second does not have."""
        axes = tuple(range(len(self.input_shapes[1]) + 1, blob.ndim))
        return blob.sum(axis=axes, dtype=np.float64).astype(np.float32) if axes else blob

    def gathered(self, number: int, share: Blob) -> Blob:
        return self._collected(share) if number == 1 else share

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def keeps_bounds(self, varying: int) -> bool:
        return varying == 1


def require_part(parameters: ScaleParameter | BiasParameter, field: str, shapes: tuple[Shape, ...]) -> None:
    """Raise ModelError unless the shape of the first bottom starts with that of the second, per image."""
    whole, part = shapes
    if parameters.axis not in (0, -1 - len(whole)):
        raise ModelError(
            f"axis {parameters.axis} with two bottoms would apply the numbers of one image to all; write "
            f"{field} {{ axis: 0 }}"
        )
    if part != whole[: len(part)]:
        raise ModelError(
            f"bottoms of shapes {shapes} do not match: the first must begin with the shape of the second; "
            "put a Flatten or Reshape layer before it that drops axes of size 1"
        )


class ScaledByBlob(BroadcastPair):
    """``x·s``; one of the two may be a gate."""

    gradient_uses_inputs: ClassVar[bool] = True

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        x, scale = inputs
        return (np.multiply(x, self._spread(scale), out=workspace.empty(x.shape)),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        x, scale = inputs
        of_x = np.multiply(gradients[0], self._spread(scale), out=workspace.empty(x.shape))
        products = np.multiply(gradients[0], x, out=workspace.empty(x.shape))
        return of_x, self._collected(products)

    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        """The signal contributes everything: the first input, unless only that one is a gate."""
        is_second = tuple(gates) == (True, False)
        return (None, outputs[0]) if is_second else (outputs[0], None)


class ShiftedByBlob(BroadcastPair):
    """``x + b``."""

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        x, bias = inputs
        return (np.add(x, self._spread(bias), out=workspace.empty(x.shape)),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return gradients[0], self._collected(gradients[0])

    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        x, bias = inputs
        return x, np.broadcast_to(self._spread(bias), x.shape)
