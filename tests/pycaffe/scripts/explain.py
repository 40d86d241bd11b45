"""Relevance of every pixel for the best class of two images, by the toolbox's extension."""

import sys

import caffe
import numpy as np


def options(epsilon, beta):
    """The options of formula 100: αβ in convolutions, ε in fully connected layers."""
    found = caffe.RelPropOpts()
    found.relpropformulatype = 100
    found.epsstab, found.alphabeta_beta = epsilon, beta
    found.lastlayerindex, found.firstlayerindex, found.numclasses = -2, 0, 12
    found.codeexectype = found.lrn_forward_type = 0
    found.lrn_backward_type = 1
    return found


prototxt, caffemodel, *pictures, out = sys.argv[1:]
net = caffe.Net(prototxt, caffemodel, caffe.TEST)
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
transformer.set_mean("data", np.array([104.0, 117.0, 123.0]))
transformer.set_raw_scale("data", 255)
transformer.set_channel_swap("data", (2, 1, 0))

images = np.stack([transformer.preprocess("data", caffe.io.load_image(picture)) for picture in pictures])
net.blobs["data"].reshape(*images.shape)
net.reshape()
net.blobs["data"].data[...] = images
scores = net.forward()["prob"]
classes = scores.argmax(axis=1)
relevance = net.lrp(classes, options(1.0, 1.0))
np.savez(out, classes=classes, relevance=relevance[:, ::-1], conv2=net.blobs["conv2"].diff)
