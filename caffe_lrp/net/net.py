"""The layer graph and its forward pass."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import MappingProxyType

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.formats.spec import ConstantSpec, Shape
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Layer, Range, Winner
from caffe_lrp.layers.linear import Linear

from .canonize import Merge

#: How far the ends of a range may be from those of a gate's.
_ALMOST = 1e-6

#: Value id -> blob of one batch.
Activations = Mapping[int, Blob]

#: The forward pass of a layer: its inputs to its outputs.
Forward = Callable[[Blobs, Workspace], tuple[Blob, ...]]
NO_SUBSTITUTES: Mapping[int, Forward] = MappingProxyType({})


@dataclass(frozen=True)
class Net:
    """Immutable layers in order of execution, and the values between them.

    Values are identified by ids: a layer that works in place writes a new value, so pre-activations are
    kept. Every value has at most one reader, because a Split layer is inserted if there are several.

    Attributes
    ----------
    source
        Path of the prototxt, for messages.
    layers
        ``layers[i].index == i``.
    value_names
        Blob name of every value id.
    input_value
        Id of the image blob.
    input_shape
        (C, H, W).
    batch_size
        The batch size in the prototxt.
    outputs
        Ids of the blobs that no layer reads, the heads: first the one that is ranked by default.
    output_value
        Id of the output with the elements that are ranked.
    merges
        For every layer that scales and shifts, whether it was merged; see `canonize`.
    notices
        What users should know about the files and their conversion.
    constants
        Ids of values that no layer writes and that do not depend on the image, and the constants.
    fixed_values
        Ids of values that do not depend on the image: constants, and values that depend only on constants.
    """

    source: str
    layers: tuple[Layer, ...]
    value_names: tuple[str, ...]
    input_value: int
    input_shape: Shape
    batch_size: int
    outputs: tuple[int, ...]
    output_value: int
    merges: tuple[Merge, ...] = ()
    notices: tuple[str, ...] = ()
    constants: Mapping[int, ConstantSpec] = field(default_factory=dict)
    fixed_values: frozenset[int] = frozenset()

    def forward(
        self,
        batch: Blob,
        keep: Set[int],
        workspace: Workspace,
        substitutes: Mapping[int, Forward] = NO_SUBSTITUTES,
    ) -> Activations:
        """Values of one batch: those in ``keep`` and the output; all others are freed during the pass.

        Parameters
        ----------
        batch
            (N, C, H, W), float32, any N.
        keep
            Ids of the values to return.
        workspace
            Memory and threads to use.
        substitutes
            Index of a layer -> a function that replaces its forward pass, and keeps ties if outputs are
            compared.
        """
        keep = keep | {self.output_value}
        values: dict[int, Blob] = {self.input_value: batch, **self.filled_constants(len(batch))}
        for layer in self.layers:
            forward = substitutes.get(layer.index) or partial(self._forward, layer)
            outputs = forward([values[value] for value in layer.inputs], workspace)
            for value, blob in zip(layer.outputs, outputs, strict=True):
                if value in keep or value in self._read_values:
                    values[value] = blob
            for value in layer.inputs:
                if value not in keep:
                    del values[value]
        return values

    def _forward(self, layer: Layer, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        """The forward pass of one layer; equal windows give equal outputs if max pooling compares them."""
        outputs = layer.forward(inputs, workspace)
        if isinstance(layer, Linear) and self.is_compared(layer):
            layer.own_map.restore_ties(inputs[0], outputs[0], workspace)
        return outputs

    @cached_property
    def _read_values(self) -> frozenset[int]:
        """Values that some layer reads."""
        return frozenset(value for layer in self.layers for value in layer.inputs)

    def filled_constants(self, items: int) -> dict[int, Blob]:
        """The constants of a batch, by the ids of their values."""
        return {
            value: np.full((items, *constant.shape[1:]), constant.value, np.float32)
            for value, constant in self.constants.items()
        }

    @cached_property
    def nonnegative_values(self) -> frozenset[int]:
        """Values that are never negative for any image."""
        found = {value for value, constant in self.constants.items() if constant.value >= 0}
        for layer in self.layers:
            if layer.is_nonnegative([value in found for value in layer.inputs]):
                found.update(layer.outputs)
        return frozenset(found)

    @cached_property
    def gate_values(self) -> frozenset[int]:
        """Values that are gates, and all that do not depend on the image.

        Numbers clipped to a range that is 0 to 1, perhaps after scaling, are gates, too.
        """
        found = set(self.fixed_values)
        ranges: dict[int, Range | None] = {}
        for layer in self.layers:
            span = layer.range_of([ranges.get(value) for value in layer.inputs])
            ranges.update(dict.fromkeys(layer.outputs, span))
            is_unit = span is not None and np.allclose(span, (0, 1), rtol=0, atol=_ALMOST)
            if is_unit or layer.is_gate([value in found for value in layer.inputs]):
                found.update(layer.outputs)
        return frozenset(found)

    def gates_of(self, layer: Layer) -> tuple[bool, ...]:
        """Which inputs of a layer are gates; if all would be, only the constant ones."""
        are_fixed = tuple(value in self.fixed_values for value in layer.inputs)
        are_gates = tuple(value in self.gate_values for value in layer.inputs)
        return are_fixed if any(are_fixed) and all(are_gates) else are_gates

    @cached_property
    def compared_values(self) -> frozenset[int]:
        """Values that max pooling compares, and those that they depend on."""
        found: set[int] = set()
        for layer in reversed(self.layers):
            if isinstance(layer, Winner) or not found.isdisjoint(layer.outputs):
                found.update(layer.inputs)
        return frozenset(found)

    def is_compared(self, layer: Layer) -> bool:
        """Whether max pooling compares the outputs of a layer, or values that depend on them."""
        return not self.compared_values.isdisjoint(layer.outputs)

    def shape_of(self, value: int) -> Shape:
        """Shape of one item of a value."""
        return self._shapes[value]

    @cached_property
    def _shapes(self) -> dict[int, Shape]:
        """Shape of one item of every value; a search through layers would take seconds in deep nets."""
        shapes = {self.input_value: self.input_shape}
        shapes |= {value: constant.shape[1:] for value, constant in self.constants.items()}
        for layer in self.layers:
            shapes.update(zip(layer.outputs, layer.output_shapes, strict=True))
        return shapes

    def stored_value(self, value: int) -> int:
        """The value that finally occupies the memory of ``value`` in Caffe, after in-place layers."""
        in_place = {layer.inputs[0]: layer.outputs[0] for layer in self.layers if layer.is_in_place}
        while value in in_place:
            value = in_place[value]
        return value
