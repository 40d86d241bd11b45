"""Layer-wise Relevance Propagation for Caffe image classifiers, without Caffe."""

__version__ = "0.2.0"
