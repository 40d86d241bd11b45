"""Where the lowest number there is, which max pooling gives for windows without a pixel, is computed with.

ReLU and most other neurons make it harmless, and so does a maximum with other numbers. Sums and products do
not: in single precision they overflow, in Caffe as well.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from caffe_lrp.layers.base import Layer, Neuron, Router, Winner
from caffe_lrp.layers.pooling import LOWEST, MaxPooling
from caffe_lrp.workspace import Workspace

#: Numbers larger than this are no activations, but come from the lowest there is.
_FAR = 1e30


def notices_on_empty_windows(layers: Sequence[Layer], source: str) -> Iterator[str]:
    """A notice for every max pooling layer whose empty windows reach a layer that sums or multiplies."""
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


def _makes_harmless(layer: Layer) -> bool:
    """Whether a layer turns the lowest number into one that can be computed with.

    A neuron whose learned numbers are not there yet may not.
    """
    if layer.gives_probabilities or (isinstance(layer, Winner) and not isinstance(layer, MaxPooling)):
        return True
    if not isinstance(layer, Neuron) or layer.is_alias or len(layer.weights) < len(layer.weight_shapes):
        return False
    lowest = np.full((1, *layer.input_shapes[0]), LOWEST, np.float32)
    return bool(np.abs(layer.forward((lowest,), Workspace())[0]).max() < _FAR)
