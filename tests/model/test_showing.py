"""What an explanation shows of itself in a notebook."""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe_lrp
from caffe_lrp import Explanation

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "filelists/demo/1_cross_square_crescent.png"


@pytest.fixture(scope="module")
def explanation() -> Iterator[Explanation]:
    with caffe_lrp.load(ROOT / "configs/demo.txt") as model:
        yield model.explain(PICTURE, 4, layers=["conv5", "score"])


def shown(explanation: Explanation) -> tuple[Image.Image, str]:
    """The picture and the text that a notebook gets."""
    text = explanation._repr_html_()
    found = re.search(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"', text)
    assert found
    picture = Image.open(io.BytesIO(base64.b64decode(found[1])))
    return picture, " ".join(re.sub("<[^>]*>", " ", text).split())


def test_a_notebook_shows_the_heatmap_over_what_the_net_saw_and_the_best_classes(
    explanation: Explanation,
) -> None:
    picture, text = shown(explanation)
    expected = explanation.heatmap(size="net")
    assert np.array_equal(picture, expected)
    assert text == (
        f"{PICTURE} what speaks for class 4 (square), probability 11.6 %, formula 102 "
        "class probability 6 61.9 % cross 2 19.5 % crescent 4 11.6 % square 5 3.0 % star 7 2.3 % heart"
    )


def test_a_notebook_shows_relevance_that_ends_at_a_layer_alone_and_names_as_they_are(
    explanation: Explanation,
) -> None:
    inner = replace(
        explanation,
        relevance=explanation.layers["conv5"],
        source="<b>.png",
        labels=("<i>",),
        scores_are_probabilities=False,
        target=(4, 0),
    )
    picture, _ = shown(inner)
    assert np.array_equal(picture, inner.heatmap(size="net", mode="plain").convert(picture.mode))
    text = inner._repr_html_()
    assert "<b>&lt;b&gt;.png</b><br>what speaks for classes 4 (without a label), 0 (&lt;i&gt;), score" in text
