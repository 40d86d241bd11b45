"""Classifies an image: the scores of its classes, and those of the average over ten crops."""

import sys

import caffe
import numpy as np

prototxt, caffemodel, picture, out = sys.argv[1:]
caffe.set_mode_cpu()
net = caffe.Net(prototxt, caffemodel, caffe.TEST)
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
transformer.set_mean("data", np.array([104.0, 117.0, 123.0]))
transformer.set_raw_scale("data", 255)
transformer.set_channel_swap("data", (2, 1, 0))

image = caffe.io.load_image(picture)
net.blobs["data"].reshape(3, *net.blobs["data"].shape[1:])
net.blobs["data"].data[...] = transformer.preprocess("data", image)
probabilities = net.forward()["prob"]
best = probabilities[0].argsort()[::-1][:5]
for label in best:
    print(label, probabilities[0][label])

classifier = caffe.Classifier(
    prototxt, caffemodel, mean=np.array([104.0, 117.0, 123.0]), raw_scale=255, channel_swap=(2, 1, 0)
)
np.savez(out, probabilities=probabilities, best=best, of_centre=classifier.predict([image], oversample=False))
