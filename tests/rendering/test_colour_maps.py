"""Colour maps, against the numbers that the originals gave."""

import numpy as np
import pytest

from caffe_lrp.rendering.cmsl import compile_map
from caffe_lrp.rendering.colour_map import as_bytes
from caffe_lrp.rendering.colour_maps import COLOUR_MAPS, find_colour_map

Rows = list[tuple[float, float, float]]

#: Strengths, and the colours of each of the toolbox's own maps there.
STRENGTHS = (-1, -0.5, -0.25, -0.1, 0, 0.1, 0.25, 0.5, 1)
TOOLBOX: dict[str, Rows] = {
    "gray-red": [(0, 0, 1), (.4, .4, .9), (.6, .6, .85), (.72, .72, .82), (.8, .8, .8), (.82, .72, .72),
                 (.85, .6, .6), (.9, .4, .4), (1, 0, 0)],
    "black-firered": [(1, 1, 1), (0, 1, 1), (0, 0, 1), (0, 0, .4), (0, 0, 0), (.4, 0, 0), (1, 0, 0),
                      (1, 1, 0), (1, 1, 1)],
    "black-green": [(0, 0, 1), (0, 0, .5), (0, 0, .25), (0, 0, .1), (0, 0, 0), (0, .1, 0), (0, .25, 0),
                    (0, .5, 0), (0, 1, 0)],
    "blue-black-yellow": [(0, 0, 1), (0, 0, .5), (0, 0, .25), (0, 0, .1), (0, 0, 0), (.1, .1, 0),
                          (.25, .25, 0), (.5, .5, 0), (1, 1, 0)],
}  # fmt: skip
GRAY_RED_2: Rows = [
    (0.9, 0.9, 0.9),
    (0.9, 0.7333333, 0.7333333),
    (0.9, 0.4833333, 0.4833333),
    (0.757142857, 0.285714286, 0.285714286),
    (0.4, 0, 0),
]


@pytest.mark.parametrize("name", TOOLBOX)
def test_maps_of_the_toolbox_have_its_colours(name: str) -> None:
    positions = (np.array(STRENGTHS) + 1) / 2
    np.testing.assert_allclose(COLOUR_MAPS[name](positions), TOOLBOX[name], atol=1e-12)


def test_gray_red_2_has_the_colours_of_the_toolbox_and_its_mirror_below_zero() -> None:
    above = COLOUR_MAPS["gray-red2"]((np.array([0, 0.1, 0.25, 0.5, 1]) + 1) / 2)
    below = COLOUR_MAPS["gray-red2"]((1 - np.array([0, 0.1, 0.25, 0.5, 1])) / 2)
    np.testing.assert_allclose(above, GRAY_RED_2, atol=1e-8)
    np.testing.assert_allclose(below, np.array(GRAY_RED_2)[:, ::-1], atol=1e-8)


def test_bytes_are_rounded_down_but_not_for_the_last_digit_of_a_product() -> None:
    found = as_bytes(COLOUR_MAPS["gray-red"]((np.array(STRENGTHS) + 1) / 2))
    assert found[:4].tolist() == [[0, 0, 255], [102, 102, 229], [153, 153, 216], [183, 183, 209]]
    assert found[4:7].tolist() == [[204, 204, 204], [209, 183, 183], [216, 153, 153]]


@pytest.mark.parametrize(
    ("name", "position", "colour"),
    [
        ("jet", 0, (0, 0, 0.5)), ("jet", 0.125, (0, 0.001961, 1)), ("jet", 0.25, (0, 0.503922, 1)),
        ("jet", 0.375, (0.085389, 1, 0.882353)), ("jet", 0.5, (0.490196, 1, 0.477546)),
        ("jet", 0.625, (0.895003, 1, 0.072739)), ("jet", 0.75, (1, 0.581699, 0)),
        ("jet", 0.875, (1, 0.116921, 0)), ("jet", 1, (0.5, 0, 0)),
        ("seismic", 0.5, (1, 0.992157, 0.992157)), ("bwr", 0.5, (1, 0.996078, 0.996078)),
        ("afmhot", 0.5, (1, 0.503922, 0.003922)), ("binary", 0.25, (0.74902, 0.74902, 0.74902)),
        ("gray", 1, (1, 1, 1)), ("hot", 0, (0.0416, 0, 0)),
    ],
)  # fmt: skip
def test_maps_of_matplotlib_are_its_tables(
    name: str, position: float, colour: tuple[float, float, float]
) -> None:
    np.testing.assert_allclose(COLOUR_MAPS[name](np.array(position)), colour, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "at_64", "at_127", "at_192"),
    [
        ("gray", (64, 64, 64), (127, 127, 127), (192, 192, 192)),
        ("wred", (255, 191, 191), (255, 128, 128), (255, 63, 63)),
        ("hot", (192, 0, 0), (255, 126, 0), (255, 255, 66)),
        ("cold", (0, 0, 128), (0, 0, 255), (0, 129, 255)),
        ("coldnhot", (0, 0, 255), (0, 0, 3), (255, 133, 0)),
        ("bwr", (127, 127, 255), (253, 253, 255), (255, 126, 126)),
        ("france", (127, 170, 209), (253, 253, 254), (246, 159, 153)),
        ("seismic", (104, 104, 208), (206, 206, 208), (208, 103, 103)),
        ("coleus", (104, 208, 104), (206, 208, 206), (208, 103, 208)),
    ],
)
def test_maps_of_zennit_have_its_bytes(
    name: str, at_64: tuple[int, ...], at_127: tuple[int, ...], at_192: tuple[int, ...]
) -> None:
    found = as_bytes(find_colour_map(f"zennit-{name}")(np.array([64, 127, 192]) / 255))
    assert found.tolist() == [list(at_64), list(at_127), list(at_192)]


def test_colours_as_text_stand_where_they_are_placed() -> None:
    edges = compile_map(" 55:00f, 55:ddd,aa:ddd , aa:f00,")
    found = as_bytes(edges(np.array([84, 85, 169, 170]) / 255))
    assert found.tolist() == [[0, 0, 255], [221, 221, 221], [221, 221, 221], [255, 0, 0]]
    inside = as_bytes(compile_map("40:f00,c0:00f")(np.array([0, 64, 128, 192, 255]) / 255))
    assert inside.tolist() == [[255, 0, 0], [255, 0, 0], [127, 0, 127], [0, 0, 255], [0, 0, 255]]
    assert as_bytes(compile_map("f00,8:0f0,00f")(np.array([136 / 255])))[0].tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("000 fff", "no comma after '000'"),
        ("fff;000", "';', which is not part of a colour"),
        ("0:1:000,fff", "'1' where a colour"),
        ("00,fff", "'00' where a colour"),
        ("fff,", "fewer than two colours"),
        (",", "',' where a colour"),
        ("80:", "nothing where a colour"),
        ("abc:fff,000", "the position 'abc'"),
        ("80:fff,40:000", "the position 40 after 80"),
    ],
)
def test_the_error_for_an_invalid_colour_map_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compile_map(text)


def test_names_are_looked_up_and_reversed() -> None:
    positions = np.linspace(0, 1, 7)
    forwards, backwards = find_colour_map("jet"), find_colour_map("jet_r")
    np.testing.assert_allclose(backwards(positions), forwards(1 - positions), atol=0.02)  # steps of 1/256
    assert backwards(np.array([0.0, 1.0])).tolist() == forwards(np.array([1.0, 0.0])).tolist()
    with pytest.raises(ValueError, match="did you mean 'seismic'"):
        find_colour_map("seismik")
    with pytest.raises(ValueError, match="there are gray-red, "):
        find_colour_map("os")


def test_colour_maps_with_a_middle_are_known() -> None:
    without = {name for name, each in COLOUR_MAPS.items() if not each.has_middle}
    assert without == {"hot", "afmhot", "gray", "binary"} | {
        f"zennit-{name}" for name in ("gray", "wred", "wblue", "hot", "cold")
    }
