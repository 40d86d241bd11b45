"""``caffe.proto``: the messages of Caffe's files, as far as trained nets need them."""

from caffe_lrp.formats.caffe import caffe_pb2

__all__ = ["caffe_pb2"]
