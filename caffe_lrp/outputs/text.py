"""The text files. Source: manual: toolbox, "Output files".

Numbers are formatted like the default of C++ streams: ``%g`` with 6 significant digits.
"""

import json

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.text import most_bytes, write_numbers
from caffe_lrp.model.explanation import Explanation

from .encoding import LIST_LENGTH, Encoding


def raw_heatmap_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_rawhm.txt``."""
    return raw_heatmap(explanation.relevance)


def top_scores_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_top10scores.txt``: a line "index score" per class, best first."""
    best = explanation.top(LIST_LENGTH)
    return "".join(f"{each.class_index} {each.score:g}\n" for each in best).encode("ascii")


def conservation_file(explanation: Explanation, _: Encoding) -> bytes:
    """Content of ``_conservation.json``: the map, and its sum of relevance at every layer."""
    if explanation.conservation is None:
        raise ValueError("the explanation has no sums of the relevance that enters and leaves its layers")
    content: dict[str, object] = {"formula": explanation.formula, "classes": list(explanation.target)}
    if explanation.start_vector:
        content["start_vector"] = explanation.start_vector
    content |= explanation.conservation.as_json()
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def raw_heatmap(relevance: NDArray[np.float32]) -> bytes:
    """Content of ``_rawhm.txt``: the number of channels, "H W", then every channel's rows.

    Parameters
    ----------
    relevance
        (C, H, W), the channels of a picture RGB.
    """
    channels, height, width = relevance.shape
    rows = np.ascontiguousarray(relevance, np.float32).reshape(channels * height, width)
    head = f"{channels}\n{height} {width}\n".encode("ascii")
    content = np.empty(len(head) + most_bytes(*rows.shape), np.uint8)
    content[: len(head)] = np.frombuffer(head, np.uint8)
    end = len(head) + write_numbers(rows, content[len(head) :])
    return content[:end].tobytes()
