"""The two pictures, as PNG files. Source: spec/reference.md §7."""

from caffe_lrp.rendering.heatmap import heatmap_picture
from caffe_lrp.rendering.png import encode_png

from .arrays import Dtype
from .result import HeatmapResult


def heatmap_file(result: HeatmapResult, _: Dtype) -> bytes:
    """Content of ``_heatmap.png``: the relevance in colours."""
    return encode_png(heatmap_picture(result.relevance))


def input_file(result: HeatmapResult, _: Dtype) -> bytes:
    """Content of ``_as_inputted_into_the_dnn.png``: the picture that the net saw."""
    return encode_png(result.picture)
