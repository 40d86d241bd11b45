"""Nets of the LRP Toolbox's Python and Matlab parts as Caffe files.

`text` and `pickled` read the two formats of the toolbox as the same `module.Module` values; `layers` makes
layers of them; `forward` computes them as the toolbox does, for comparison. `machine` reads pickles without
building anything that they name.
"""

from .layers import FLATTEN_ORDERS, FlattenOrder
from .reader import read, run

__all__ = ["FLATTEN_ORDERS", "FlattenOrder", "read", "run"]
