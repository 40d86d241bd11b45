"""Images that were explained, as pictures in their own size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe_lrp.errors import ImageError
from caffe_lrp.imaging.mean import constant_mean
from caffe_lrp.imaging.original import Original
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.quirks import REFERENCE

RNG = np.random.default_rng(5)
PICTURE = RNG.integers(0, 256, (30, 41, 3), np.uint8)


def preprocessor(height: int, width: int, channel_order: str = "BGR") -> Preprocessor:
    mean = constant_mean((0.0,), 3, height, width)
    return Preprocessor(41, height, width, mean, REFERENCE, resize_mode="none", channel_order=channel_order)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P"])
def test_it_has_the_colours_that_the_net_sees(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.fromarray(PICTURE).convert(mode).save(path)
    whole = preprocessor(30, 41)
    for image in (path, str(path), Image.open(path)):
        np.testing.assert_array_equal(Original(image).picture(), whole(path).picture)


def test_it_is_not_turned_by_its_orientation_tag(tmp_path: Path) -> None:
    path, tags = tmp_path / "image.jpg", Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(PICTURE).save(path, exif=tags)
    assert Original(path).picture().shape == (30, 41, 3)


def test_a_large_one_is_made_in_strips_and_deep_colours_are_rounded() -> None:
    deep = RNG.integers(0, 65536, (1100, 2000, 3), np.uint16)
    found = Original(deep).picture()
    np.testing.assert_array_equal(found, np.floor(deep / 257 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_a_numpy_file_has_its_channels_in_the_order_of_the_net(order: str, tmp_path: Path) -> None:
    path = tmp_path / "image.npy"
    np.save(path, PICTURE.transpose(2, 0, 1).astype(np.float32))
    prepared = preprocessor(20, 20, order)
    original = prepared(path).original
    expected = PICTURE[..., ::-1] if order == "BGR" else PICTURE
    np.testing.assert_array_equal(original.picture(), expected)


def test_of_a_finished_input_it_is_what_is_shown_of_it() -> None:
    blob = RNG.integers(0, 256, (3, 20, 21)).astype(np.float32)
    prepared = preprocessor(20, 21)
    image = prepared(blob)
    np.testing.assert_array_equal(image.original.picture(), image.picture)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such image"):
        Original(tmp_path / "gone.png").picture()
