"""``caffe.io.Transformer``: images to inputs of a net, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.messages import did_you_mean

from .blob import Floats
from .faults import CaffeValueError
from .resizing import resize_image


class Transformer:
    """Resizes, transposes, swaps channels, scales and subtracts a mean.

    Parameters
    ----------
    inputs
        Name of an input -> its shape (N, C, H, W).

    Attributes
    ----------
    transpose, channel_swap, raw_scale, mean, input_scale
        Name of an input -> what was set.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, tuple[int, ...]] = {}
        self.channel_swap: dict[str, tuple[int, ...]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Floats] = {}
        self.input_scale: dict[str, float] = {}

    def _require(self, in_: str) -> tuple[int, ...]:
        """The shape of an input; CaffeValueError if there is none of this name."""
        if in_ not in self.inputs:
            raise CaffeValueError(
                f"{in_} is not one of the net inputs: {', '.join(self.inputs)}"
                f"{did_you_mean(str(in_), self.inputs)}"
            )
        return self.inputs[in_]

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of axes: (2, 0, 1) makes (C, H, W) of (H, W, C)."""
        axes = len(self._require(in_)) - 1
        if sorted(order) != list(range(axes)):
            raise CaffeValueError(f"the order {tuple(order)} must have each of the axes 0 to {axes - 1} once")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of channels, after the transposition: (2, 1, 0) makes BGR of RGB."""
        channels = self._require(in_)[1]
        if sorted(order) != list(range(channels)):
            raise CaffeValueError(
                f"Channel swap needs to have the same number of dimensions as the input channels: "
                f"{channels}, each once, but it is {tuple(order)}"
            )
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set the factor before the mean: 255 for the images of `load_image`."""
        self._require(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Any) -> None:
        """Set the mean to subtract: (C,), (C, H, W), or (H, W) for one channel.

        Raises
        ------
        CaffeValueError
            It has another shape.
        """
        shape = self._require(in_)
        numbers: Floats = np.asarray(mean, np.float32)
        if numbers.ndim == 1 and numbers.shape[0] in (1, shape[1]):
            numbers = numbers[:, np.newaxis, np.newaxis]
        elif numbers.ndim == 2:
            numbers = numbers[np.newaxis]
        if numbers.ndim != 3 or (numbers.shape[1:] != (1, 1) and numbers.shape != shape[1:]):
            advice = ""
            if numbers.ndim == 3 and numbers.shape[0] == shape[1]:
                advice = "; the usual remedy is a mean per channel: mean.mean(1).mean(1)"
            raise CaffeValueError(
                f"Mean shape incompatible with input shape. The mean has {np.shape(mean)}, the input "
                f"{shape[1:]}{advice}"
            )
        self.mean[in_] = numbers

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor after the mean."""
        self._require(in_)
        self.input_scale[in_] = scale

    def preprocess(self, in_: str, data: NDArray[Any]) -> Floats:
        """(C, H, W) float32 of an image (H, W, C), an array of its own."""
        shape = self._require(in_)
        image: Floats = np.array(data, np.float32)
        if image.shape[:2] != shape[2:]:
            image = resize_image(image, (shape[2], shape[3]))
        if in_ in self.transpose:
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[list(self.channel_swap[in_])]
        image = image * np.float32(self.raw_scale.get(in_, 1))
        if in_ in self.mean:
            image = image - self.mean[in_]
        return np.ascontiguousarray(image * np.float32(self.input_scale.get(in_, 1)))

    def deprocess(self, in_: str, data: NDArray[Any]) -> Floats:
        """The inverse of `preprocess` but for its resizing: (H, W, C), without axes of size 1."""
        self._require(in_)
        image: Floats = np.array(data, np.float32).squeeze()
        if in_ in self.input_scale:
            image = image / np.float32(self.input_scale[in_])
        if in_ in self.mean:
            image = image + self.mean[in_].squeeze(axis=0) if image.ndim == 2 else image + self.mean[in_]
        if in_ in self.raw_scale:
            image = image / np.float32(self.raw_scale[in_])
        if image.ndim == 3 and in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        if image.ndim == 3 and in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return np.ascontiguousarray(image)
