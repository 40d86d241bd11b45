"""One class per Caffe layer type: forward pass, gradient, and what relevance rules may ask of it.

Importing the package fills `REGISTRY`.
"""

from . import (
    activation,
    affine,
    combine,
    convolution,
    inner_product,
    normalization,
    output,
    pooling,
    shape,
)
from .base import REGISTRY, Layer
from .unsupported import unsupported_type

__all__ = [
    "REGISTRY",
    "Layer",
    "activation",
    "affine",
    "combine",
    "convolution",
    "inner_product",
    "normalization",
    "output",
    "pooling",
    "shape",
    "unsupported_type",
]
