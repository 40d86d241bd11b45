"""Nets of other programs as Caffe files: one module, or package, per format."""
