"""The modules of the LRP Toolbox under their names: ``from caffe_lrp.toolbox import modules``."""

from .convolution import Convolution
from .elementwise import Elu, Flatten, LeakyRect, Rect, Sigmoid, SoftMax, Tanh
from .linear import Linear
from .module import Module
from .pooling import MaxPool, SumPool
from .sequential import Sequential

__all__ = [
    "Convolution",
    "Elu",
    "Flatten",
    "LeakyRect",
    "Linear",
    "MaxPool",
    "Module",
    "Rect",
    "Sequential",
    "Sigmoid",
    "SoftMax",
    "SumPool",
    "Tanh",
]
