"""What rules have in common that share relevance by weights alone: flat and w²."""

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.window_map import ConvolutionMap
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.linear import Linear


def kept_inside(layer: Linear, shares: LinearMap, whole: int, workspace: Workspace) -> Blob:
    """What part of ``whole`` the shares of every output inside the input sum to: a batch of one.

    Only convolutions have shares outside it: all others share what there is among the inputs they see.
    """
    ones = np.ones((1, *layer.input_shapes[0]), np.float32)
    reached: Blob = shares.apply(ones, None, workspace.directly()) / np.float32(whole)
    return reached if isinstance(shares, ConvolutionMap) else (reached != 0).astype(np.float32)
