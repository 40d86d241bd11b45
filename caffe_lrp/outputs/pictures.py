"""The pictures of an image, as PNG files. Source: manual: toolbox, "Output files"."""

import numpy as np

from caffe_lrp.errors import ImageError, UsageError
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.rendering.heatmap import heatmap_picture
from caffe_lrp.rendering.png import encode_picture, encode_png

from .encoding import Encoding


def heatmap_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_heatmap.png``: the relevance in colours."""
    # In the net's order: it decides in which order channels are summed.
    relevance = np.ascontiguousarray(explanation.relevance_of_net)
    return encode_png(heatmap_picture(relevance))


def input_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_as_inputted_into_the_dnn.png``: the net's input as a picture."""
    return encode_png(explanation.input)


def render_file(explanation: Explanation, encoding: Encoding) -> bytes:
    """Content of ``_render.png``: the relevance drawn in the requested style, which is noted in the file.

    Raises
    ------
    ImageError
        The relevance is not a map, or the original image is needed but is gone or has changed.
    """
    try:
        picture = explanation.heatmap(encoding.picture)
    except UsageError as fault:  # the other images may be fine
        raise ImageError(f"{explanation.source}: {fault}") from fault
    return encode_picture(picture, encoding.picture)
