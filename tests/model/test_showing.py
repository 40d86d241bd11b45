"""What an explanation shows of itself in a notebook, and the channels of its layers."""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe_lrp
from caffe_lrp import Explanation, UsageError
from caffe_lrp.model import channels

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
    assert np.array_equal(np.asarray(picture), np.asarray(expected))
    assert text == (
        f"{PICTURE} evidence for class 4 (square), probability 11.6 %, formula 102 "
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
    expected = inner.heatmap(size="net", mode="plain")
    assert np.array_equal(np.asarray(picture), np.asarray(expected))
    text = inner._repr_html_()
    assert "<b>&lt;b&gt;.png</b><br>evidence for classes 4 (without a label), 0 (&lt;i&gt;), score" in text


def test_a_notebook_shows_words_alone_where_relevance_is_no_map(explanation: Explanation) -> None:
    text = replace(explanation, relevance=np.ones((3, 1, 1), np.float32))._repr_html_()
    assert "<img" not in text
    assert "relevance of shape (3, 1, 1) is not a map that can be drawn" in text


def test_a_sheet_shows_the_channels_that_carry_most_in_one_range(
    explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(channels, "sheet_of", lambda pictures, captions: given.append((pictures, captions)))
    maps = np.zeros((4, 2, 3), np.float32)
    maps[1, 0], maps[2, 1, 0], maps[3] = 1, -6, 0.1
    replace(explanation, layers={"conv": maps}).sheet(
        "conv", count=2, cmap="gray", range="max", sign="symmetric"
    )
    ((pictures, captions),) = given
    assert captions == ["2: -62.5 %", "1: 31.2 %"]
    inside = [np.asarray(picture.convert("L"))[1:-1, 1:-1] for picture in pictures]
    strongest = [np.unique(picture).tolist() for picture in inside]
    assert [ends[0] for ends in strongest] == [0, strongest[0][-1]]
    assert strongest[0][-1] < strongest[1][-1] < 255


def test_a_sheet_is_a_picture(explanation: Explanation) -> None:
    assert explanation.sheet("conv5", count=6).mode == "RGB"


@pytest.mark.parametrize(
    ("layer", "count", "setting", "complaint"),
    [
        ("conv4", 5, "layer", "only at conv5, score; explain the image with layers=['conv4']"),
        ("score", 5, "layer", "'score' has no maps: the shape of its output is (8,)"),
        ("conv5", 0, "count", "0 must be a whole number from 1 to"),
    ],
)
def test_a_sheet_that_cannot_be_made_is_refused(
    explanation: Explanation, layer: str, count: int, setting: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)) as caught:
        explanation.sheet(layer, count)
    assert caught.value.setting == setting


def test_a_sheet_of_what_was_not_kept_says_how_to_keep_it(explanation: Explanation) -> None:
    with pytest.raises(
        UsageError, match=r"nor at any other layer; explain the image with layers=\['conv3'\]"
    ):
        replace(explanation, layers={}).sheet("conv3")
