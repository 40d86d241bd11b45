"""The words for pictures."""

import subprocess
import sys
from typing import Any

import pytest

from caffe_lrp.errors import UsageError
from caffe_lrp.rendering.style import PICTURE_OPTIONS, PictureStyle, picture_style


def test_there_is_one_option_for_every_attribute() -> None:
    assert {option.name for option in PICTURE_OPTIONS} == set(PictureStyle().as_json())


def test_values_and_texts_mean_the_same() -> None:
    texts = {"cmap": "jet_r", "range": "percentile:99.5", "level": "2", "bar": "true", "exponent": None}
    assert picture_style(texts) == picture_style(texts | {"level": 2.0, "bar": True})
    assert picture_style({"range": 0.5}).range == 0.5
    assert picture_style({"cmap": "00f, 80:fff, f00"}).is_positive is False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cmaps": "jet"}, "no picture option 'cmaps'; did you mean 'cmap'"),
        ({"cmap": "jett"}, "did you mean 'jet'"),
        ({"cmap": "f00,zz"}, "'z', which is not part of a colour"),
        ({"mode": "overlayed"}, "must be one of plain, overlay.* did you mean 'overlay'"),
        ({"range": "percentile:101"}, "must be max, robust, percentile:P"),
        ({"range": "percentile:0"}, "must be max"),
        ({"range": 0}, "or a number above 0"),
        ({"range": "nan"}, "or a number above 0"),
        ({"opacity": 1.5}, "from 0 to 1"),
        ({"exponent": "x"}, "from 0 to 10"),
        ({"bar": 1}, "must be one of true, false"),
    ],
)
def test_other_words_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        picture_style(given)
    assert caught.value.setting == next(iter(given))


def test_the_words_are_known_without_numpy() -> None:
    code = (
        "import sys; from caffe_lrp.rendering.style import PICTURE_OPTIONS, picture_style; "
        "picture_style({'mode': 'plain'}); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
