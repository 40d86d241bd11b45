"""Pictures of filters and of what layers make of an image, each a square of small squares."""

import sys

import caffe
import numpy as np
from PIL import Image


def tiled(planes):
    """A picture of planes (n, h, w) or (n, h, w, 3) side by side, from black to white."""
    low, high = planes.min(), planes.max()
    planes = (planes - low) / (high - low)
    side = int(np.ceil(np.sqrt(len(planes))))
    padding = ((0, side**2 - len(planes)), (0, 1), (0, 1)) + ((0, 0),) * (planes.ndim - 3)
    planes = np.pad(planes, padding, constant_values=1)
    rows = planes.reshape((side, side, *planes.shape[1:])).swapaxes(1, 2)
    return Image.fromarray((rows.reshape(side * rows.shape[1], -1, *rows.shape[4:]) * 255).astype(np.uint8))


prototxt, caffemodel, picture, out = sys.argv[1:]
net = caffe.Net(prototxt, caffemodel, caffe.TEST)
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
transformer.set_mean("data", np.array([104.0, 117.0, 123.0]))
transformer.set_raw_scale("data", 255)
transformer.set_channel_swap("data", (2, 1, 0))
net.blobs["data"].data[...] = transformer.preprocess("data", caffe.io.load_image(picture))
net.forward()

for name, blob in net.blobs.items():
    print(name, blob.data.shape)
for name, param in net.params.items():
    print(name, param[0].data.shape, param[1].data.shape)

filters = net.params["conv1"][0].data
tiled(filters.transpose(0, 2, 3, 1)).save(f"{out}_filters.png")
features = net.blobs["conv1"].data[0, :9]
tiled(features).save(f"{out}_features.png")
np.savez(
    out,
    conv1=net.blobs["conv1"].data,
    pool5=net.blobs["pool5"].data,
    fc6=net.blobs["fc6"].data,
    seen=transformer.deprocess("data", net.blobs["data"].data[0]),
)
