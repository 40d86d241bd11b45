"""Layers that compute with the lowest float, which max pooling outputs for windows without a pixel.

ReLU and most other neurons make it harmless, and so does a maximum with other numbers. Sums and products do
not: they overflow in single precision, also in Caffe.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.layers.base import Layer, Neuron, Router, Winner
from caffe_lrp.layers.combine import Split
from caffe_lrp.layers.pooling import LOWEST, MaxPooling

#: Numbers larger than this are not activations, but result from the lowest float.
_FAR = 1e30


def notices_on_empty_windows(layers: Sequence[Layer], source: str) -> Iterator[str]:
    """A notice for every max pooling layer with empty windows that reach a layer that sums or multiplies."""
    origins: dict[int, Layer] = {}
    told: set[int] = set()
    for layer in layers:
        origin = next((origins[value] for value in layer.inputs if value in origins), None)
        if isinstance(layer, MaxPooling) and layer.has_empty_windows:
            origins[layer.outputs[0]] = layer
        elif origin is None or _makes_harmless(layer):
            continue
        elif layer.is_alias or isinstance(layer, Router | Neuron | MaxPooling):
            origins.update(dict.fromkeys(layer.outputs, origin))
        elif origin.index not in told:
            told.add(origin.index)
            yield (
                f"{source}: {origin.label}: some windows lie outside the image and give {LOWEST:.2g}, as in "
                f"Caffe; {layer.label} computes with it, so scores may not be finite: put a ReLU layer "
                "between them, or round sizes down (round_mode: FLOOR)"
            )


def refuse_masks_of_empty_windows(layers: Sequence[Layer], source: str) -> None:
    """Reject layers that unpool by a mask if some windows contain no pixel, and so have no position in it.

    Raises
    ------
    ModelError
        There is such a layer; the message names both layers.
    """
    masks = {
        layer.outputs[1]: layer
        for layer in layers
        if isinstance(layer, MaxPooling) and layer.has_empty_windows and len(layer.outputs) > 1
    }
    for layer in layers:
        pooling = next((masks[value] for value in layer.inputs if value in masks), None)
        if isinstance(layer, Split) and pooling is not None:
            masks.update(dict.fromkeys(layer.outputs, pooling))
        elif pooling is not None:
            raise ModelError(
                f"{source}: {layer.label} reads the mask of {pooling.label}, some of whose windows lie "
                "outside the image and so have no maximum; round sizes down there (round_mode: FLOOR)"
            )


def _makes_harmless(layer: Layer) -> bool:
    """Whether a layer turns the lowest float into a number that is safe to compute with.

    A neuron layer with learned numbers counts as one that may not, until these are loaded.
    """
    if layer.gives_probabilities or (isinstance(layer, Winner) and not isinstance(layer, MaxPooling)):
        return True
    if not isinstance(layer, Neuron) or layer.is_alias or len(layer.weights) < len(layer.weight_shapes):
        return False
    channels, *sides = layer.input_shapes[0]
    pixel = (channels, *(1 for _ in sides))  # one is enough, and a whole blob may be large
    lowest = np.full((1, *pixel), LOWEST, np.float32)
    output = replace(layer, input_shapes=(pixel,)).forward((lowest,), Workspace())[0]
    return bool(np.abs(output).max() < _FAR)
