"""The zᴮ rule: relevance of the pixels of an image, which have a limited range."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from caffe_lrp.kernels.blobs import Blob, as_blob, pixels
from caffe_lrp.layers.linear import Linear

from .base import Conditions
from .recipe import Part, PlainRule, negative, positive


@dataclass(frozen=True)
class ZBox(PlainRule):
    """``r = Σ (xw − lw⁺ − hw⁻) R / Σ (xw − lw⁺ − hw⁻)`` for inputs with ``l ≤ x ≤ h``; without bias.

    Computed as ``(x − l)w⁺ + (x − h)w⁻``, where no term is negative. A division by 0 gives 0.
    Source: Montavon et al. 2017.

    ``lowest`` and ``highest`` are l and h: one number per channel of the input, or per element.
    """

    title = "zᴮ"
    needs_bounds = True
    lowest: tuple[float, ...]
    highest: tuple[float, ...]

    def within(self, lowest: Blob, highest: Blob) -> "ZBox":
        return replace(self, lowest=_by_channel(lowest), highest=_by_channel(highest))

    def parts(self, layer: Linear) -> tuple[Part, ...]:
        lowest, highest = (_bounds(each, layer.input_shapes[0]) for each in (self.lowest, self.highest))
        return Part(positive, lambda x: x - lowest), Part(negative, lambda x: x - highest)

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        parts = super().derived_floats(layer, conditions, growth)
        return {**parts, f"box {id(self)}": 2 * math.prod(layer.input_shapes[0])}


@dataclass(frozen=True)
class ZBoxOfNumbers(ZBox):
    """zᴮ between given numbers, at any layer: one for all of the input, or one for every channel.

    They need not enclose the input: what lies outside has contributions of either sign.
    """

    needs_bounds = False

    def refusal(self, layer: Linear) -> str:
        shape = layer.input_shapes[0]
        for name, numbers in (("low", self.lowest), ("high", self.highest)):
            if len(numbers) not in (1, shape[0]):
                return (
                    f"its input has {shape[0]} channels, but {name} has {len(numbers)} numbers; give one "
                    "number, or one for every channel"
                )
        return ""


def _by_channel(bound: Blob) -> tuple[float, ...]:
    """One number per channel of (1, C, …), or per element if they differ within a channel."""
    channels = bound.reshape(bound.shape[1], -1)
    is_alike = bool((channels == channels[:, :1]).all())
    return tuple((channels[:, 0] if is_alike else channels.reshape(-1)).tolist())


def _bounds(numbers: Sequence[float], shape: tuple[int, ...]) -> Blob:
    """One number per channel of an image, broadcast to the ``shape`` of inputs: (1, …).

    It has the memory layout of inputs, so that the difference has it, too.
    """
    size = math.prod(shape)
    if not numbers or size % len(numbers):
        raise ValueError(f"bounds of {len(numbers)} channels do not fit inputs of shape {shape}")
    blob = np.repeat(np.array(numbers, np.float32), size // len(numbers)).reshape(1, *shape)
    return as_blob(pixels(blob), blob.shape)
