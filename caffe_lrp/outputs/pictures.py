"""The pictures of an image, as PNG files. Source: manual: toolbox, "Output files"."""

import numpy as np

from caffe_lrp.errors import ImageError, UsageError
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.rendering.heatmap import heatmap_picture
from caffe_lrp.rendering.png import encode_picture, encode_png

from .encoding import Encoding


def heatmap_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_heatmap.png``: the relevance in colours."""
    # In the net's order: channels are added up one after the other.
    relevance = np.ascontiguousarray(explanation.relevance_of_net)
    return encode_png(heatmap_picture(relevance))


def input_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_as_inputted_into_the_dnn.png``: the picture that the net saw."""
    return encode_png(explanation.input)


def render_file(explanation: Explanation, encoding: Encoding) -> bytes:
    """Content of ``_render.png``: the relevance as people want to see it, and how it was drawn.

    Raises
    ------
    ImageError
        The relevance is no map, or the original is needed, and its file is no longer there, or another.
    """
    try:
        picture = explanation.heatmap(encoding.picture)
    except UsageError as fault:  # the other images may be fine
        raise ImageError(f"{explanation.source}: {fault}") from fault
    return encode_picture(picture, encoding.picture)
