"""The two pictures, as PNG files. Source: spec/reference.md §7."""

import numpy as np

from caffe_lrp.model.explanation import Explanation
from caffe_lrp.rendering.heatmap import heatmap_picture
from caffe_lrp.rendering.png import encode_png

from .encoding import Encoding


def heatmap_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_heatmap.png``: the relevance in colours."""
    # In the net's order: channels are added up one after the other.
    relevance = np.ascontiguousarray(explanation.relevance_of_net)
    return encode_png(heatmap_picture(relevance))


def input_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_as_inputted_into_the_dnn.png``: the picture that the net saw."""
    return encode_png(explanation.input)
