"""The size of the image that a net of the toolbox takes, which its files do not have."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from caffe_lrp.errors import ModelError

from .module import Module

#: Numbers of an image, beyond which sizes are mistakes.
_MOST_NUMBERS = 2**26
#: Vectors of at least so many numbers, if it is a square, are taken for pictures.
_LEAST_PICTURE = 64
_WINDOWS = ("Convolution", "SumPool", "MaxPool")

ImageShape = tuple[int, int, int]


class InputShape(NamedTuple):
    """Channels, height and width of the input, how they were found, and whether it is a vector."""

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
        return InputShape(
            (count // (height * width), height, width), f"the {count} inputs are an image", True
        )
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


def input_shape(modules: Sequence[Module], input_size: tuple[int, int] | None) -> InputShape:
    """The input of a net: as its first module with sizes needs it.

    Raises
    ------
    ModelError
        No module says how many channels it has, or its size is impossible.
    """
    first = next((module for module in modules if module.kind in (*_WINDOWS, "Linear")), None)
    if first is None:
        raise ModelError("the net has no Linear and no Convolution, so nothing says what its input is")
    is_vector = first.kind == "Linear"
    found = shape_of_vector(first.sizes[0], input_size) if is_vector else _of_maps(modules, input_size)
    if math.prod(found.shape) > _MOST_NUMBERS:
        raise ModelError(
            f"its input would have {'×'.join(map(str, found.shape))} numbers; is it really a net?"
        )
    return found


def _of_maps(modules: Sequence[Module], input_size: tuple[int, int] | None) -> InputShape:
    channels = _channels(modules)
    if input_size is not None:
        return InputShape((channels, *input_size), "the size of the input is that of --input-size")
    last_channels, windows, side, is_known = channels, [], (1, 1), False
    for module in modules:
        if module.kind in _WINDOWS:
            windows.append(module)
            last_channels = module.sizes[3] if module.kind == "Convolution" else last_channels
        elif module.kind == "Linear":
            side, is_known = _side_before(module, last_channels), True
            break
    height, width = side
    for module in reversed(windows):
        (rows, columns), (down, right) = module.window, module.strides
        height, width = (height - 1) * down + rows, (width - 1) * right + columns
    shown = f"{height}×{width}"
    why = (
        "as the first Linear needs it" if is_known else "the smallest for which the net ends with 1×1 pixels"
    )
    return InputShape(
        (channels, height, width), f"the input is {shown} pixels, {why}; for another size, use --input-size"
    )


def _channels(modules: Sequence[Module]) -> int:
    for module in modules:
        if module.kind == "Convolution":
            return module.sizes[2]
        if module.kind in ("Linear", "Flatten"):
            break
    raise ModelError(
        "the net begins with a pooling, and no Convolution behind it says how many channels the input has"
    )


def _side_before(module: Module, channels: int) -> tuple[int, int]:
    """Height and width of the maps that a Flatten makes the inputs of a Linear."""
    positions, rest = divmod(module.sizes[0], channels)
    side = math.isqrt(positions)
    if rest or side * side != positions:
        raise module.error(
            f"its {module.sizes[0]} inputs do not come from square maps of {channels} channels; give the "
            "size of the images with --input-size"
        )
    return side, side
