"""The text files. Source: spec/reference.md §7.

Numbers look as C++ streams print them by default: ``%g`` with 6 significant digits.
"""

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.text import most_bytes, write_numbers

from .arrays import Dtype
from .result import HeatmapResult


def raw_heatmap_file(result: HeatmapResult, _: Dtype) -> bytes:
    """Content of ``_rawhm.txt``."""
    return raw_heatmap(result.relevance, is_image=result.is_image)


def top_scores_file(result: HeatmapResult, _: Dtype) -> bytes:
    """Content of ``_top10scores.txt``."""
    return top_scores(result.ranked_classes, result.ranked_scores)


def conservation_file(result: HeatmapResult, _: Dtype) -> bytes:
    """Content of ``_conservation.json``."""
    return result.conservation.encode()


def raw_heatmap(relevance: NDArray[np.float32], *, is_image: bool) -> bytes:
    """Content of ``_rawhm.txt``: the number of channels, "H W", then every channel's rows.

    Parameters
    ----------
    relevance
        (C, H, W).
    is_image
        Whether the channels are those of the input image (BGR) and have to be reversed to RGB.
    """
    channels, height, width = relevance.shape
    ordered = relevance[::-1] if is_image else relevance
    rows = np.ascontiguousarray(ordered, np.float32).reshape(channels * height, width)
    head = f"{channels}\n{height} {width}\n".encode("ascii")
    content = np.empty(len(head) + most_bytes(*rows.shape), np.uint8)
    content[: len(head)] = np.frombuffer(head, np.uint8)
    end = len(head) + write_numbers(rows, content[len(head) :])
    return content[:end].tobytes()


def top_scores(classes: NDArray[np.int64], scores: NDArray[np.float32]) -> bytes:
    """Content of ``_top10scores.txt``: a line "index score" for every class, in the order given."""
    pairs = zip(classes.tolist(), scores.tolist(), strict=True)
    return "".join(f"{index} {score:g}\n" for index, score in pairs).encode("ascii")
