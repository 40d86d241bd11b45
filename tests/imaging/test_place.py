"""Where the input lay: what is at a known place of the picture is where the place says."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from caffe_lrp.imaging.crop import Crop
from caffe_lrp.imaging.place import Place
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.imaging.resize import RESIZE_MODES
from caffe_lrp.quirks import REFERENCE

INPUTS = (40, 44)

#: Pictures larger, wider, taller and smaller than the input.
SIDES = [(300, 400), (401, 297), (60, 600), (500, 45), (25, 30), (30, 200)]


def preprocessor(mode: str) -> Preprocessor:
    return Preprocessor(48, *INPUTS, np.zeros((3, 50, 51), np.float32), quirks=REFERENCE, resize_mode=mode)


def edges(levels: NDArray[np.float64]) -> tuple[float, float]:
    """Where the bright piece of a row begins and ends, in pixels: halfway between dark and bright."""
    share = levels / levels.max()
    first, last = np.flatnonzero(share >= 0.5)[[0, -1]]
    before, behind = share[first] - share[first - 1], share[last] - share[last + 1]
    return first + 0.5 - (share[first] - 0.5) / before, last + 0.5 + (share[last] - 0.5) / behind


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("sides", SIDES)
def test_a_bright_rectangle_is_where_the_place_says(mode: str, sides: tuple[int, int]) -> None:
    prepare = preprocessor(mode)
    place = prepare(np.zeros((*sides, 3), np.uint8)).place
    assert (place.height, place.width) == sides
    starts, ends = np.array([place.top, place.left]), np.array([place.bottom, place.right])
    steps = (ends - starts) / INPUTS
    # A rectangle off the centre, within what the input shows.
    visible_from, visible_to = np.maximum(starts, 0), np.minimum(ends, sides)
    tops = np.ceil(visible_from + 0.3 * (visible_to - visible_from)).astype(int)
    bottoms = np.floor(visible_from + 0.8 * (visible_to - visible_from)).astype(int)
    picture = np.zeros((*sides, 3), np.uint8)
    picture[tops[0] : bottoms[0], tops[1] : bottoms[1]] = 255
    shown = prepare(picture).picture[..., 0].astype(np.float64)
    for axis in (0, 1):
        found = edges(shown.max(axis=1 - axis))
        expected = ((tops - starts) / steps)[axis], ((bottoms - starts) / steps)[axis]
        np.testing.assert_allclose(found, expected, atol=0.5)


@pytest.mark.parametrize(
    ("mode", "sides", "expected"),
    [
        # 24 x 48: the rows are replicated, the columns cropped by 2; a pixel is 10 of the original's.
        ("reference", (240, 480), Place(240, 480, -80, 20, 320, 460)),
        ("stretch", (88, 96), Place(88, 96, 4, 4, 84, 92)),
        ("short-side", (88, 192), Place(88, 192, 4, 52, 84, 140)),
        ("none", (100, 30), Place(100, 30, 30, -7, 70, 37)),
    ],
)
def test_the_place_is_in_pixels_of_the_original(mode: str, sides: tuple[int, int], expected: Place) -> None:
    assert preprocessor(mode)(np.zeros((*sides, 3), np.uint8)).place == expected


def test_the_original_of_a_numpy_file_is_its_array(tmp_path: Path) -> None:
    path = tmp_path / "levels.npy"
    np.save(path, np.zeros((3, 50, 30), np.float32))
    assert preprocessor("reference")(path).place == Place(50, 30, 5, -7, 45, 37)


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("sides", [*SIDES, (48, 47), (301, 299)])
def test_the_place_follows_from_sizes_alone(mode: str, sides: tuple[int, int]) -> None:
    """As whoever looks at a finished run has it, where the mean and the picture are not read."""
    place = preprocessor(mode)(np.zeros((*sides, 3), np.uint8)).place
    assert Crop(mode, 48, INPUTS).place(sides) == place
