"""Forward and backward passes over a range of layers, from blobs and into blobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.layers.base import Layer
from caffe_lrp.net.net import Net

from .blob import Blob, Floats
from .faults import CaffeError

#: Called with the index of a layer.
Callback = Callable[[int], object]


@dataclass(eq=False)
class Memory:
    """The values of a net: blobs by name, and what in-place layers overwrite in them.

    Attributes
    ----------
    net
        The net.
    blobs
        Blob name -> blob.
    overwritten
        Value id -> numbers that an in-place layer has replaced in its blob, where gradients need them.
    """

    net: Net
    blobs: Mapping[str, Blob]
    overwritten: dict[int, Floats] = field(default_factory=dict)

    def blob_of(self, value: int) -> Blob:
        """The blob in which a value is, or was."""
        return self.blobs[self.net.value_names[value]]

    def before(self, value: int, layer: Layer, items: int) -> Floats:
        """A value that ``layer`` reads, as it is in its blob when a pass begins."""
        constants = self.net.constants
        shape = (items, *self.net.shape_of(value))
        blob = self.blob_of(value)
        if value in constants:
            blob.take(np.full(shape, constants[value].value, np.float32))
        if blob.shape != shape:
            raise CaffeError(
                f"layer '{layer.name}' reads the blob '{self.net.value_names[value]}' with the shape "
                f"{shape}, but it has {blob.shape}; call net.reshape(), or run the layers before it"
            )
        numbers = blob.data
        return self.keep(value, numbers.copy()) if self._is_needed(value) else numbers

    def keep(self, value: int, numbers: Floats) -> Floats:
        """Keep a value that an in-place layer overwrites, if a gradient needs it."""
        if self._is_needed(value):
            self.overwritten[value] = numbers
        return numbers

    def _is_needed(self, value: int) -> bool:
        return value in _overwritten_and_needed(self.net)

    def after(self, value: int, items: int) -> Floats:
        """A value as it was in the last forward pass."""
        found = self.overwritten.get(value)
        return self._of_items(value, items, self.blob_of(value).data if found is None else found)

    def diff(self, value: int, items: int) -> Floats:
        """The diff of the blob in which a value is, or was."""
        return self._of_items(value, items, self.blob_of(value).diff)

    def _of_items(self, value: int, items: int, numbers: Floats) -> Floats:
        """``numbers``; CaffeError unless they have the shape that a backward pass needs."""
        shape = (items, *self.net.shape_of(value))
        if numbers.shape != shape:
            raise CaffeError(
                f"the blob '{self.net.value_names[value]}' has the shape {numbers.shape} in place of "
                f"{shape}; run net.forward() before net.backward()"
            )
        return numbers


def _overwritten_and_needed(net: Net) -> frozenset[int]:
    """Values that in-place layers overwrite and that gradients use."""
    needed: set[int] = set()
    for layer in net.layers:
        needed.update(layer.inputs if layer.gradient_uses_inputs else ())
        needed.update(layer.outputs if layer.gradient_uses_outputs else ())
    return frozenset(
        layer.inputs[0] for layer in net.layers if layer.is_in_place and layer.inputs[0] in needed
    )


@dataclass(frozen=True, eq=False)
class Run:
    """A pass over layers.

    Attributes
    ----------
    first, last
        Indices of the lowest and the highest layer.
    items
        Number of items in the batch.
    before, after
        Called before and after each layer.
    """

    first: int
    last: int
    items: int
    before: Sequence[Callback] = ()
    after: Sequence[Callback] = ()

    def layers_of(self, net: Net) -> Sequence[Layer]:
        """The layers, the lowest first."""
        return net.layers[self.first : self.last + 1]


def run_forward(memory: Memory, run: Run, workspace: Workspace) -> None:
    """Compute the outputs of layers from the blobs that they read."""
    values: dict[int, Floats] = {}
    with np.errstate(all="ignore"):  # numbers that are not finite are left to the script
        for layer in run.layers_of(memory.net):
            for call in run.before:
                call(layer.index)
            inputs = [
                values.pop(value) if value in values else memory.before(value, layer, run.items)
                for value in layer.inputs
            ]
            outputs = memory.net.forward_layer(layer, inputs, workspace)
            for value, numbers in zip(layer.outputs, outputs, strict=True):
                values[value] = memory.keep(value, numbers)
                memory.blob_of(value).take(numbers)
            for call in run.after:
                call(layer.index)


def run_backward(memory: Memory, run: Run, workspace: Workspace) -> None:
    """Propagate gradients down to the bottoms of the lowest layer.

    They start as the diffs of those tops that no layer of the run reads.
    """
    layers = run.layers_of(memory.net)
    read = {value for layer in layers for value in layer.inputs}
    gradients: dict[int, Floats] = {}
    with np.errstate(all="ignore"):  # as in run_forward
        for layer in reversed(layers):
            for call in run.before:
                call(layer.index)
            received = [
                gradients.pop(value)
                if value in gradients
                else _start(memory.diff(value, run.items), value in read)
                for value in layer.outputs
            ]
            inputs = [memory.after(value, run.items) for value in layer.inputs]
            outputs = [memory.after(value, run.items) for value in layer.outputs]
            found = layer.gradient(inputs, outputs, received, workspace)
            for value, numbers in zip(layer.inputs, found, strict=True):
                gradients[value] = numbers
                memory.diff(value, run.items)[...] = numbers
            for call in run.after:
                call(layer.index)


def _start(diff: Floats, is_read: bool) -> Floats:
    """The gradient at an output that no layer has given one: that of the blob, or 0 inside of the run."""
    return np.zeros_like(diff) if is_read else diff.copy()
