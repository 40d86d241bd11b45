"""Nets on vectors as nets on images: everything else in the package works on images."""

import math
from dataclasses import replace
from typing import NamedTuple

from caffe_lrp.errors import ModelError

from .imported import ImportedLayer, ImportedNet

#: Vectors of at least so many numbers, if it is a square, are taken for pictures.
_LEAST_PICTURE = 64

ImageShape = tuple[int, int, int]


class InputShape(NamedTuple):
    """Channels, height and width of an input, how they were found, and whether the net takes a vector."""

    shape: ImageShape
    note: str
    is_vector: bool = False


def shape_of_vector(count: int, input_size: tuple[int, int] | None) -> InputShape:
    """The image whose numbers are a net's input vector.

    Raises
    ------
    ModelError
        The numbers do not make an image of that size.
    """
    if input_size is not None:
        height, width = input_size
        if count % (height * width):
            raise ModelError(
                f"the net takes {count} numbers, which do not make an image of {height}×{width} pixels; give "
                "another --input-size, or leave it out"
            )
        channels = count // (height * width)
        return InputShape((channels, height, width), f"the {count} inputs are {height}×{width} pixels", True)
    side = math.isqrt(count)
    if count >= _LEAST_PICTURE and side * side == count:
        note = (
            f"the {count} inputs are taken for {side}×{side} pixels, row by row; --input-size says otherwise"
        )
        return InputShape((1, side, side), note, True)
    note = (
        f"the {count} inputs are {count} channels of one pixel: images are .npy files of {count}×1×1 numbers"
    )
    return InputShape((count, 1, 1), note, True)


def on_images(net: ImportedNet, input_size: tuple[int, int] | None) -> ImportedNet:
    """The same net on images, if it is one on vectors: their numbers are in Caffe's order of an image.

    Raises
    ------
    ModelError
        The numbers do not make an image of that size.
    """
    if len(net.input_shape) != 2:
        return net
    shape, note, _ = shape_of_vector(net.input_shape[1], input_size)
    names = {name for layer in net.layers for name in (layer.name, *layer.tops)} | {net.input_name}
    name = next(name for name in ("image", *(f"image{n}" for n in range(len(names)))) if name not in names)
    flatten = ImportedLayer(net.input_name, "Flatten", (name,), (net.input_name,))
    if any(layer.name == net.input_name for layer in net.layers):
        flatten = replace(flatten, name=f"flatten_{name}")
    return replace(
        net,
        input_name=name,
        input_shape=(1, *shape),
        layers=(flatten, *net.layers),
        notes=(note, *net.notes),
    )
