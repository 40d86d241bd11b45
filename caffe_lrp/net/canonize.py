"""Canonization: layers that only scale and shift channels become part of an adjacent linear layer.

Whether batch normalization is a separate layer makes no difference to the net's output, but it does to
relevance: rules are meant for the linear function between two activations, and a bias in a layer without its
weights takes no share. Sources: Hui and Binder 2019, "BatchNorm Decomposition for Deep Neural Network
Interpretation"; zennit's ``SequentialMergeBatchNorm`` merges in the same way, but only into the layer before.

Layers keep their numbers: a merged layer is replaced by `Merged`, the identity, so relevance can start or end
there. But values between the layers change: the output of a linear layer is already normalized, and the
output in place of a normalization that was merged into the layer after it is not normalized yet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.affine import Affine, FusedAffine, Merged
from caffe_lrp.layers.base import Layer, Numbers
from caffe_lrp.layers.linear import Linear, Windowed


@dataclass(frozen=True)
class Merge:
    """Whether one layer that scales and shifts was merged, and into which layer.

    Attributes
    ----------
    index, label
        The layer.
    into, into_label
        The layer that it was merged into; None and empty if it was not merged.
    reason
        Why it was not merged; empty if it was.
    """

    index: int
    label: str
    into: int | None = None
    into_label: str = ""
    reason: str = ""

    @property
    def text(self) -> str:
        """One line for users."""
        if self.into is None:
            return f"{self.label}: not merged: {self.reason}"
        return f"{self.label}: merged into {self.into_label}"


def canonized(layers: Sequence[Layer]) -> tuple[tuple[Layer, ...], tuple[Merge, ...]]:
    """The layers with merged weights, as many as before, and the merges of all layers that scale and shift.

    Parameters
    ----------
    layers
        Layers of a net with their weights, ``layers[i].index == i``; every value has at most one reader.
    """
    graph = _Graph(layers)
    for run in graph.runs():
        graph.merge(run)
    return tuple(graph.layers), tuple(sorted(graph.merges, key=lambda merge: merge.index))


class _Graph:
    """Layers that are being merged, and the merges so far."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)
        self.merges: list[Merge] = []
        self._writers = {value: layer.index for layer in layers for value in layer.outputs}
        self._readers = {value: layer.index for layer in layers for value in layer.inputs}

    def _at(self, indices: dict[int, int], value: int) -> Layer | None:
        """The layer that writes or reads a value, if there is one."""
        return self.layers[indices[value]] if value in indices else None

    def runs(self) -> list[list[Affine]]:
        """Runs of consecutive affine layers; one with numbers that differ within a channel is its own run."""
        found: list[list[Affine]] = []
        begun: set[int] = set()
        for layer in self.layers:
            run: list[Affine] = []
            follower: Layer | None = layer
            while isinstance(follower, Affine) and follower.index not in begun:
                if run and None in (run[-1].of_channels, follower.of_channels):
                    break
                run.append(follower)
                begun.add(follower.index)
                follower = self._at(self._readers, follower.outputs[0])
            if run:
                found.append(run)
        return found

    def merge(self, run: Sequence[Affine]) -> None:
        """Merge a run into the layer before or after it, otherwise into its own first layer."""
        together = _composed(run)
        if together is None:
            self._keep(run[0], "its numbers differ within a channel")
            return
        before = self._at(self._writers, run[0].inputs[0])
        after = self._at(self._readers, run[-1].outputs[0])
        if isinstance(before, Linear) and _has_rows(before):
            self._move(run, before, _then(before, *together))
            return
        obstacle = _obstacle(after, together[1])
        if isinstance(after, Linear) and not obstacle:
            self._move(run, after, _after(after, *together))
            return
        self._keep(run[0], obstacle)
        if len(run) > 1:
            self._move(run[1:], run[0], _fused(run[0], *together))

    def _move(self, run: Sequence[Affine], into: Layer, merged: Layer) -> None:
        """Replace ``into`` by ``merged``, and the layers of a run by placeholders."""
        self.layers[into.index] = merged
        for layer in run:
            self.layers[layer.index] = Merged(**_place(layer))
            self.merges.append(Merge(layer.index, layer.label, into.index, into.label))

    def _keep(self, layer: Layer, reason: str) -> None:
        self.merges.append(Merge(layer.index, layer.label, reason=reason))


def _composed(run: Sequence[Affine]) -> tuple[Numbers, Numbers] | None:
    """Combined factor and shift of a run per channel; None if they differ within a channel."""
    factor, shift = np.ones(()), np.zeros(())
    for layer in run:
        numbers = layer.of_channels
        if numbers is None:
            return None
        factor, shift = numbers[0] * factor, numbers[0] * shift + numbers[1]
    return factor, shift


def _has_rows(layer: Linear) -> bool:
    """Whether there is one row of weights per output channel."""
    shape = layer.output_shapes[0]
    is_first_axis = isinstance(layer, Windowed) or len(shape) == 1  # unlike an inner product of later axes
    return is_first_axis and len(layer.weight) == shape[0] == layer.groups * layer.group_outputs


def _has_columns(layer: Linear) -> bool:
    """Whether a row has weights for every input channel of its group."""
    shape = layer.input_shapes[0]
    inputs = shape[0] if isinstance(layer, Windowed) else math.prod(shape)
    return bool(layer.groups * layer.weight.shape[1] == inputs)


def _obstacle(after: Layer | None, shift: Numbers) -> str:
    """Why a scale and shift cannot become part of the layer after them; empty if they can."""
    if not isinstance(after, Linear) or not _has_rows(after) or not _has_columns(after):
        return "neither the layer before nor the layer after it is a linear layer that can absorb it"
    if after.has_partial_windows and shift.any():
        return f"the shift would be missing in the padding of {after.label}"
    return ""


def _then(layer: Linear, factor: Numbers, shift: Numbers) -> Linear:
    """The linear layer combined with scaling and shifting of its output."""
    bias = shift if layer.bias is None else layer.bias * factor + shift
    return _rebuilt(layer, _product(layer.weight, layer.along_outputs(factor)), bias)


def _after(layer: Linear, factor: Numbers, shift: Numbers) -> Linear:
    """The linear layer combined with scaling and shifting of its input."""
    shifts = np.broadcast_to(layer.along_inputs(shift), layer.weight.shape)
    # Row by row, because all products in full precision may not fit into memory.
    bias = np.array([(row * added).sum() for row, added in zip(layer.weight, shifts, strict=True)])
    if layer.bias is not None:
        bias += layer.bias
    return _rebuilt(layer, _product(layer.weight, layer.along_inputs(factor)), bias)


def _product(weight: Blob, numbers: Numbers) -> Blob:
    """Products in full precision, rounded once."""
    return np.multiply(weight, numbers, out=np.empty_like(weight), casting="same_kind")


def _rebuilt(layer: Linear, weight: Blob, bias: Numbers) -> Linear:
    """The layer with other weights; if it had no bias, a bias of zeros is left out."""
    if not layer.has_bias and not bias.any():
        return replace(layer, weights=(weight,))
    changes: dict[str, Any] = {"weights": (weight, bias.astype(np.float32)), "has_bias": True}
    return replace(layer, **changes)


def _place(layer: Layer) -> dict[str, Any]:
    """The fields that a layer takes over from the layer it replaces."""
    names = ("index", "name", "type", "inputs", "outputs", "input_shapes", "is_in_place")
    return {name: getattr(layer, name) for name in names}


def _fused(layer: Affine, factor: Numbers, shift: Numbers) -> FusedAffine:
    shape = (-1, *(1,) * (len(layer.input_shapes[0]) - 1))
    return FusedAffine(factor=factor.reshape(shape), shift=shift.reshape(shape), **_place(layer))
