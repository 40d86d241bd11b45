"""Generated digits, and pictures under the toolbox's names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe_lrp.errors import UsageError
from caffe_lrp.toolbox import digits, presets, render


def near(found: Any, wanted: Any, by: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=by, atol=by)


def test_digits_come_equally_often_and_again_with_the_same_seed() -> None:
    pictures, classes = digits.make_digits(50, seed=3)
    again, _ = digits.make_digits(50, seed=3)
    other, _ = digits.make_digits(50, seed=4)
    assert (pictures == again).all()
    assert (pictures != other).any()
    assert (np.bincount(classes) == 5).all()
    assert len({picture.tobytes() for picture in pictures}) == 50
    shares = (pictures > 128).mean(axis=(1, 2))
    assert 0.03 < shares.min() < shares.max() < 0.45
    with pytest.raises(UsageError, match="0 digits cannot be made"):
        digits.make_digits(0)


def test_inputs_go_from_the_background_to_the_brightest() -> None:
    pictures, _ = digits.make_digits(3)
    maps, vectors = digits.as_maps(pictures), digits.as_vectors(pictures)
    assert (maps.shape, vectors.shape) == ((3, 32, 32, 1), (3, 784))
    assert (maps[:, :2].min(), maps[:, :2].max(), maps.max()) == (-1, -1, 1)
    near(maps[:, 2:30, 2:30, 0].reshape(3, -1), vectors)


def test_a_lenet_learns_digits() -> None:
    pictures, classes = digits.make_digits(600)
    net = presets.new_lenet()
    history = net.fit(digits.as_maps(pictures, 0), classes, epochs=1, batch_size=20)
    assert history.accuracy[0] > 0.25
    assert presets.new_mlp().forward(digits.as_vectors(pictures[:2])).shape == (2, 10)


def test_heatmaps_have_the_worked_colours() -> None:
    relevance = np.array([2.0, -1, 0, 1])
    wanted = [[[0.5, 0, 0], [0, 0.503922, 1]], [[0.490196, 1, 0.477546], [1, 0.581699, 0]]]
    near(render.hm_to_rgb(relevance, scaling=1), wanted)
    wanted = [[[0.5, 0, 0], [0, 0, 0.5]], [[0, 0, 0.5], [0.5, 0, 0]]]
    near(render.hm_to_rgb(relevance, scaling=1, normalize=False), wanted)
    assert render.hm_to_rgb(np.zeros(4), scaling=2, cmap="gray-red").shape == (4, 4, 3)
    near(render.digit_to_rgb(np.array([0, 0.25, 0.5, 1]), scaling=1)[..., 0], [[1, 0.74902], [0.498039, 0]])


def test_edges_of_the_input_are_black() -> None:
    x = np.zeros((12, 12))
    x[4:8, 4:8] = 1
    picture = render.hm_to_rgb(np.ones((12, 12)), x, scaling=1, sigma=1)
    edges = (picture == 0).all(axis=2)
    assert edges[4:8, 4:8].sum() == 12 == edges.sum()
    assert (render.hm_to_rgb(np.ones((12, 12)), x) == 0).all(axis=2).sum() == 44
    said: list[str] = []
    render.hm_to_rgb(np.ones(4), x, report=said.append)
    assert said == ["no edges are drawn: X has (36, 36) pixels, the heatmap (6, 6)"]


def test_pictures_are_saved_side_by_side(tmp_path: Path) -> None:
    parts = [np.full((2, 2, 3), 0.5), np.ones((1, 1, 3))]
    pixels = render.save_image(parts, tmp_path / "a.png")
    assert pixels[..., 0].tolist() == [[127, 127, 0, 0, 255], [127, 127, 0, 0, 0]]
    assert (tmp_path / "a.png").is_file()


def test_corners_get_the_mean_colour_of_their_neighbours() -> None:
    picture = np.arange(27.0).reshape(3, 3, 3)
    painted = render.repaint_corner_pixels(picture.copy(), 1)
    near(painted[0, 0], picture[[0, 1, 1], [1, 0, 1]].mean(axis=0))
    near(painted[-1, -1], picture[[2, 1, 1], [1, 2, 1]].mean(axis=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: render.vec2im(np.zeros(5)), "5 numbers do not fill a map of 2×2"),
        (lambda: render.enlarge_image(np.zeros((2, 2)), 0), "scaling 0 must be a whole number"),
        (lambda: render.hm_to_rgb(np.ones(4), cmap="jett"), "jett is not a colour map"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
