"""One class per Caffe layer type: forward pass, gradient, and the capabilities that rules use.

Importing the package fills `REGISTRY`; new modules have to be imported here.
"""

from . import (
    activation,
    affine,
    border,
    combine,
    convolution,
    deconvolution,
    inner_product,
    interpolation,
    neurons,
    normalization,
    output,
    pooling,
    pyramid,
    rectifiers,
    reduction,
    shape,
)
from .base import REGISTRY, Layer
from .unsupported import unsupported_type

__all__ = [
    "REGISTRY",
    "Layer",
    "activation",
    "affine",
    "border",
    "combine",
    "convolution",
    "deconvolution",
    "inner_product",
    "interpolation",
    "neurons",
    "normalization",
    "output",
    "pooling",
    "pyramid",
    "rectifiers",
    "reduction",
    "shape",
    "unsupported_type",
]
