"""Heatmap pictures."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from caffe_lrp.rendering.heatmap import heatmap_picture

EXPECTED = np.load(Path(__file__).parents[1] / "data" / "imaging" / "expected_heatmaps.npz")


def map_of(*values: float) -> NDArray[np.float32]:
    """One row of pixels, the same in three channels."""
    return np.broadcast_to(np.array(values, np.float32), (3, 1, len(values)))


@pytest.mark.parametrize("name", ["landscape.jpg", "portrait.png"])
def test_the_picture_is_the_references(name: str) -> None:
    picture = heatmap_picture(EXPECTED[f"{name}/rawhm"].astype(np.float32)).astype(int)
    assert np.abs(picture - EXPECTED[f"{name}/heatmap"]).max() <= 1  # the map has only six digits


def test_positive_relevance_is_yellow_and_negative_blue() -> None:
    picture = heatmap_picture(map_of(2.0, 1.0, 0.0, -0.5, -2.0))
    expected = [(255, 255, 0), (128, 128, 0), (0, 0, 0), (0, 0, 64), (0, 0, 255)]
    np.testing.assert_array_equal(picture, [expected])


def test_negative_relevance_beyond_the_peak_is_clamped() -> None:
    np.testing.assert_array_equal(heatmap_picture(map_of(1.0, -7.0))[0, 1], (0, 0, 255))


@pytest.mark.parametrize("values", [(0.0, 0.0), (-1.0, -2.0), (0.0, -3.0)])
def test_without_positive_relevance_all_is_black(values: tuple[float, ...]) -> None:
    assert not heatmap_picture(map_of(*values)).any()


def test_the_mean_over_the_channels_is_shown() -> None:
    relevance = np.array([[[4.0, 2.0]], [[-1.0, 0.0]]], np.float32)
    np.testing.assert_array_equal(heatmap_picture(relevance)[0, :, 0], [255, 170])


def test_nan_is_black() -> None:
    assert not heatmap_picture(map_of(1.0, float("nan"))).any()


def test_the_picture_has_the_size_of_the_map() -> None:
    picture = heatmap_picture(np.ones((5, 2, 7), np.float32))
    assert picture.shape == (2, 7, 3)
    assert picture.dtype == np.uint8
