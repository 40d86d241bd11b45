from collections.abc import Sequence

import pytest

from caffe_lrp.messages import closest, did_you_mean, listed


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("Convolutoin", ["Convolution", "Concat"], "Convolution"),
        ("CONVOLUTION", ["Convolution", "Concat"], "Convolution"),
        ("fc8", ["fc7", "fc6"], None),
        ("conv_1", ["conv1", "conv2"], "conv1"),
        ("img_0001.jpeg", ["img_0002.jpeg", "img_0001.jpg"], "img_0001.jpg"),
        ("qqqq", ["Convolution"], None),
        ("anything", [], None),
    ],
)
def test_the_closest_name_disregards_capitals_but_not_numbers(
    name: str, known: Sequence[str], expected: str | None
) -> None:
    assert closest(name, known) == expected


def test_a_name_that_goes_on_behind_a_separator_is_suggested() -> None:
    assert did_you_mean("fc8", ["fc7", "fc8_flickr_style"]) == "; did you mean 'fc8_flickr_style'?"
    assert did_you_mean("fc8", ["fc80", "fc8flickrstyle"]) == ""


def test_a_long_list_is_cut() -> None:
    assert listed(["a", "b"], most=2) == "  a\n  b"
    assert listed(["a", "b", "c", "d"], most=2) == "  a\n  b\n  … and 2 more"
