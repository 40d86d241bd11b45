"""Which converter makes layers of which ONNX operator."""

from collections.abc import Callable, Mapping

from ..layers import NetBuilder
from ..node import Node
from . import arithmetic, axes, convolution, functions, linear, normalization, pooling, resizing

#: Adds the layers of a node, and says what its outputs are.
Converter = Callable[[NetBuilder, Node], None]

CONVERTERS: Mapping[str, Converter] = {
    **functions.CONVERTERS,
    **arithmetic.CONVERTERS,
    **axes.CONVERTERS,
    **convolution.CONVERTERS,
    **linear.CONVERTERS,
    **normalization.CONVERTERS,
    **pooling.CONVERTERS,
    **resizing.CONVERTERS,
}
"""Operator -> its converter."""

__all__ = ["CONVERTERS", "Converter"]
