from collections.abc import Sequence

import pytest

from caffe_lrp.messages import closest, counted, did_you_mean, duration, listed


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("Convolutoin", ["Convolution", "Concat"], "Convolution"),
        ("CONVOLUTION", ["Convolution", "Concat"], "Convolution"),
        ("fc8", ["fc7", "fc6"], None),
        ("conv_1", ["conv1", "conv2"], "conv1"),
        ("img_0001.jpeg", ["img_0002.jpeg", "img_0001.jpg"], "img_0001.jpg"),
        ("qqqq", ["Convolution"], None),
        ("onvolution", ["Convolution"], None),
        ("Data", ["dato"], "dato"),
        ("anything", [], None),
    ],
)
def test_the_closest_name_disregards_capitals_but_not_numbers(
    name: str, known: Sequence[str], expected: str | None
) -> None:
    assert closest(name, known) == expected


def test_one_is_no_plural() -> None:
    assert [counted(count, "map") for count in (0, 1, 2, 1000)] == ["0 maps", "1 map", "2 maps", "1,000 maps"]


def test_a_name_that_goes_on_behind_a_separator_is_suggested() -> None:
    assert did_you_mean("fc8", ["fc7", "fc8_flickr_style"]) == "; did you mean 'fc8_flickr_style'?"
    assert did_you_mean("fc8", ["fc80", "fc8flickrstyle"]) == ""
    assert did_you_mean("Gamma", ["gamma-2019", "gamma"]) == "; did you mean 'gamma'?"


@pytest.mark.parametrize("separator", "_.-")
def test_names_go_on_behind_these_separators_in_any_capitals(separator: str) -> None:
    longer = f"FC8{separator}of_another_net_1"
    assert did_you_mean("fc8", ["fc7", longer]) == f"; did you mean '{longer}'?"
    assert did_you_mean(longer, ["fc8"]) == ""


def test_the_least_similarity_of_names_can_be_set() -> None:
    assert closest("abcde", ["abcxy"]) == "abcxy"  # 2 x 3 letters of 10: just 0.6
    assert closest("abcd", ["abxy"]) is None  # 0.5
    assert closest("abcde", ["abcxy"], 0.61) is None
    assert did_you_mean("abcde", ["abcxy"]) == "; did you mean 'abcxy'?"
    assert did_you_mean("abcde", ["abcxy"], 0.61) == ""


def test_twenty_lines_are_listed_in_full() -> None:
    lines = [str(number) for number in range(21)]
    assert "more" not in listed(lines[:20])
    assert listed(lines).endswith("  19\n  … and 1 more")


def test_a_long_list_is_cut() -> None:
    assert listed(["a", "b"], most=2) == "  a\n  b"
    assert listed(["a", "b", "c", "d"], most=2) == "  a\n  b\n  … and 2 more"


def test_a_name_is_compared_with_as_many_as_take_a_second_or_two() -> None:
    others = ["q" + "x" * 180 + chr(97 + place % 20) * (place // 20 + 1) for place in range(160)]
    assert closest("q" + "y" * 190, ["q" + "y" * 189, *others]) == "q" + "y" * 189
    assert closest("q" + "y" * 190, [*others, "q" + "y" * 189]) is None
    assert closest("qyyy", [*others, "qyyyy"]) == "qyyyy"


def test_a_name_that_continues_after_a_separator_is_close_however_long_it_is() -> None:
    assert did_you_mean("A" * 5000, ["a" * 4999, "a" * 5000 + "_b"]) == f"; did you mean '{'a' * 5000}_b'?"
    assert did_you_mean("fc8", ["fc8flickr", "FC8-flickr"]) == "; did you mean 'FC8-flickr'?"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (100, "2 min"),
        (3600, "60 min"),
        (7500, "2 h 5 min"),
        (200_000, "2 d 8 h"),
        (10 * 86400, "10 d"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text
