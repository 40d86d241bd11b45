"""Pictures of explanations, by a net whose map is known: the relevance of a pixel is its brightness."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import write_caffemodel
from PIL import Image

import caffe_lrp
from caffe_lrp import ImageError, Model, PictureStyle, UsageError

SIDE = 48
NET = f"""
name: "sum"
input: "data" input_dim: 1 input_dim: 3 input_dim: {SIDE} input_dim: {SIDE}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {{ num_output: 2 }} }}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sum")
    (folder / "net.prototxt").write_text(NET)
    weights = np.full((2, 3 * SIDE * SIDE), 1e-3, np.float32)
    weights[1] = 0
    write_caffemodel(folder / "net.caffemodel", {"fc": [weights, np.zeros(2, np.float32)]})
    return folder


def opened(folder: Path, **settings: Any) -> Model:
    given = {"mean_values": 0, "formula": 0, "epsilon": 0, "threads": 1} | settings
    return caffe_lrp.load(folder / "net.prototxt", folder / "net.caffemodel", **given)


@pytest.fixture
def model(folder: Path) -> Iterator[Model]:
    with opened(folder) as model:
        yield model


def photo(height: int, width: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """A black photo with a white square right of and above its middle, and where that is."""
    size = min(height, width) // 6
    top, left = height // 2 - 2 * size, width // 2 + size // 2
    square = slice(top, top + size), slice(left, left + size)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[square] = 255
    return pixels, square


@pytest.mark.parametrize("size", [(240, 320), (400, 230), (150, 600), (30, 36)])
@pytest.mark.parametrize(
    "settings",
    [
        {"base_size": 64},
        {"base_size": 48},
        {"base_size": 64, "resize": "short-side"},
        {"base_size": 64, "resize": "stretch"},
    ],
)
def test_the_map_is_at_the_position_of_the_crop(
    folder: Path, size: tuple[int, int], settings: dict[str, Any], tmp_path: Path
) -> None:
    pixels, square = photo(*size)
    path, tags = tmp_path / "photo.png", Image.Exif()
    tags[0x0112] = 8  # a camera that was held upright; the net does not look at that
    Image.fromarray(pixels).save(path, exif=tags)
    with opened(folder, **settings) as model:
        explanation = model.explain(path, target=0)
    picture = explanation.heatmap(mode="plain", cmap="gray", range="max")
    times = picture.width // size[1]
    found = np.asarray(picture.convert("L")).astype(float)[::times, ::times]
    assert found.shape == size
    rows, columns = (np.arange(side) + 0.5 for side in size)
    assert found.sum(axis=1) @ rows / found.sum() == pytest.approx(_middle(square[0]), abs=0.02 * max(size))
    assert found.sum(axis=0) @ columns / found.sum() == pytest.approx(
        _middle(square[1]), abs=0.02 * max(size)
    )
    assert found.sum() / 255 == pytest.approx((square[0].stop - square[0].start) ** 2, rel=0.35)


def _middle(part: slice) -> float:
    return float(part.start + part.stop) / 2


def test_a_picture_has_the_size_of_the_photo_or_of_the_input(model: Model) -> None:
    explanation = model.explain(photo(250, 300)[0], target=0)
    assert explanation.heatmap().size == (300, 250)
    assert explanation.heatmap(size="net").size == (5 * SIDE, 5 * SIDE)
    assert explanation.heatmap(size="net", mode="plain").mode == "P"


def test_an_overlay_shows_the_photo_whatever_its_type(model: Model, tmp_path: Path) -> None:
    pixels, _ = photo(250, 300)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    drawn = [
        np.asarray(model.explain(image, target=0).heatmap(mode="overlay"))
        for image in (path, str(path), Image.open(path), pixels)
    ]
    for other in drawn[1:]:
        np.testing.assert_array_equal(other, drawn[0])


def test_a_style_can_be_given_as_a_whole(model: Model) -> None:
    explanation = model.explain(photo(60, 70)[0], target=0)
    style = caffe_lrp.PictureStyle(mode="plain", cmap="jet")
    wanted = explanation.heatmap(mode="plain", cmap="jet", sign="positive")
    assert explanation.heatmap(style, sign="positive").tobytes() == wanted.tobytes()


def test_the_error_for_undrawable_relevance_says_why(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo(60, 70)[0]).save(path)
    explanation = model.explain(path, target=0)
    path.unlink()
    with pytest.raises(ImageError, match="no such image"):
        explanation.heatmap()
    assert explanation.heatmap(size="net").width == 5 * SIDE
    with pytest.raises(UsageError, match="did you mean 'cmap'"):
        explanation.heatmap(cmaps="jet")


@pytest.mark.parametrize("style", [PictureStyle(mode="normal"), PictureStyle(cmap="jot"), "jet"])
def test_a_style_that_means_nothing_is_refused(style: Any, model: Model) -> None:
    explanation = model.explain(photo(60, 70)[0], target=0)
    with pytest.raises(UsageError):
        explanation.heatmap(style)
