"""The Python part of the LRP Toolbox under its names: nets in NumPy, training, files and pictures.

Scripts of the toolbox run with changed imports:

>>> from caffe_lrp.toolbox import data_io, model_io, modules, render
>>> net = modules.Sequential([modules.Linear(2, 3), modules.Tanh(), modules.Linear(3, 2)])

Source: manual: teaching.
"""

from . import modules  # isort: skip - the others use it
from . import data_io, digits, model_io, optimizers, presets, quirks, render

__all__ = ["data_io", "digits", "model_io", "modules", "optimizers", "presets", "quirks", "render"]
