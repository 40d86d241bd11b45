"""Limits on the size of a net: anything larger is a mistake in the prototxt, or malicious, and rejected."""

import math
from collections.abc import Sequence

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.spec import InputSpec, Shape
from caffe_lrp.layers import Layer
from caffe_lrp.machine.environment import how_to_free_memory

#: Numbers of one image in a single blob (8 GB), and in all blobs of the net together (32 GB).
LARGEST_BLOB = 2**31
MOST_ACTIVATIONS = 2**33
#: Caffe's limit.
MOST_AXES = 32

_BYTES = 4
_GIGABYTE = 2**30


def check_shape(shape: Shape, what: str) -> None:
    """Reject a blob with an impossible or absurdly large shape.

    Parameters
    ----------
    shape
        The shape, with the batch axis first.
    what
        The blob, for messages.

    Raises
    ------
    ModelError
        There are too few or too many axes, or too few or too many elements.
    """
    if len(shape) > MOST_AXES:
        raise ModelError(f"{what} has {len(shape)} axes, the limit is {MOST_AXES}; check the prototxt")
    if len(shape) < 2 or min(shape) < 1:
        raise ModelError(f"{what} has the impossible shape {shape}; check the sizes in the prototxt")
    if math.prod(shape[1:]) > LARGEST_BLOB:
        sizes = "×".join(map(str, shape[1:]))
        raise ModelError(
            f"{what} has the impossible size {sizes}, the limit is {LARGEST_BLOB} numbers for one image; "
            "check the sizes in the prototxt"
        )


def refuse_too_many_activations(inputs: Sequence[InputSpec], layers: Sequence[Layer], source: str) -> None:
    """Reject a net with blobs that are absurdly large in total.

    Parameters
    ----------
    inputs
        The net's inputs.
    layers
        The layers, in order.
    source
        The prototxt, for messages.

    Raises
    ------
    ModelError
        Together they have too many elements; the message names the layer that exceeds the limit.
    """
    total = sum(math.prod(declared.shape[1:]) for declared in inputs)
    for layer in layers:
        total += 0 if layer.is_alias else sum(map(math.prod, layer.output_shapes))
        if total > MOST_ACTIVATIONS:
            raise ModelError(
                f"{source}: the blobs of one image have {total} numbers up to {layer.label}, the limit is "
                f"{MOST_ACTIVATIONS}; check the sizes in the prototxt, or make the net's input smaller"
            )


def refuse_beyond_memory(layers: Sequence[Layer], memory: int, source: str) -> None:
    """Reject a net that cannot possibly run on this machine.

    The estimate counts weights, and the largest input and output of a layer together; every explanation needs
    more.

    Parameters
    ----------
    layers
        The layers, with or without weights.
    memory
        Available bytes.
    source
        The prototxt, for messages.

    Raises
    ------
    ModelError
        More memory is needed; the message names the layer that needs most.
    """
    weights = sum(math.prod(shape) for layer in layers for shape in layer.weight_shapes)
    largest = max(layers, key=_activations)
    needed = _BYTES * (weights + _activations(largest))
    if needed > memory:
        raise ModelError(
            f"{source}: one image takes more than {needed / _GIGABYTE:.1f} GB of memory, "
            f"{_BYTES * weights / _GIGABYTE:.1f} GB of it for weights and "
            f"{_BYTES * _activations(largest) / _GIGABYTE:.1f} GB in {largest.label}, but "
            f"{memory / _GIGABYTE:.1f} GB are free; check the sizes in the prototxt, or "
            + how_to_free_memory()
        )


def _activations(layer: Layer) -> int:
    """Minimum number of values of one image that a layer has in memory at once."""
    inputs = max(map(math.prod, layer.input_shapes))
    return inputs if layer.is_alias else inputs + sum(map(math.prod, layer.output_shapes))
