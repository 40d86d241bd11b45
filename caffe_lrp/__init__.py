"""Layer-wise Relevance Propagation for Caffe image classifiers, without Caffe."""

__version__ = "0.1.0"
