"""Readers for Caffe's file formats: prototxt, caffemodel and BlobProto."""
