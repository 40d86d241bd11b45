"""ONNX files as Caffe files: classifiers as PyTorch and tf2onnx export them.

A file becomes a `graph` of nodes and constants, in which `patterns` are replaced by single nodes; `operators`
turn every node into layers, for the sizes of the input, and `tidy` simplifies these. `reader` does all of it.
The package ``onnx`` is only imported when an ONNX file is read, and never runs anything.
"""

from .reader import read

__all__ = ["read"]
