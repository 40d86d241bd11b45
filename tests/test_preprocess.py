"""From file to input blob: the reference's own crops, the mean's place, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import oracle_imaging as oracle
import pytest
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import ConfigError, ImageError, ModelError
from caffe_lrp.imaging.decode import decode
from caffe_lrp.imaging.preprocess import LARGEST_BASE_SIZE, Preprocessor
from caffe_lrp.imaging.resize import resize_to_base
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks

DATA = Path(__file__).parent / "data" / "imaging"
IMAGES = Path(__file__).parent / "data" / "conformance" / "images" / "set"
PICTURES = np.load(DATA / "expected_pictures.npz")


def mean_of(height: int, width: int) -> NDArray[np.float32]:
    """A mean without two equal numbers."""
    return (np.arange(3 * height * width) / 64).astype(np.float32).reshape(3, height, width)


def preprocessor(
    base_size: int, height: int, width: int, *, mean: tuple[int, int] = (99, 98), quirks: Quirks = REFERENCE
) -> Preprocessor:
    return Preprocessor(base_size, height, width, mean_of(*mean), quirks)


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize("size", [(97, 64), (64, 97), (97, 30), (30, 97), (97, 97)])
def test_no_input_lies_outside_the_bounds_of_its_channel(
    size: tuple[int, int], quirks: Quirks, tmp_path: Path
) -> None:
    prepare = preprocessor(97, 60, 60, quirks=quirks)
    lowest, highest = (np.array(bounds)[:, np.newaxis, np.newaxis] for bounds in prepare.bounds)
    for level in (0, 255):
        Image.new("RGB", size, (level,) * 3).save(tmp_path / "one.png")
        blob = prepare(tmp_path / "one.png").blob
        assert (lowest <= blob).all()
        assert (blob <= highest).all()


def test_bounds_are_those_of_black_and_white_less_the_mean_of_the_channel() -> None:
    mean = np.array([[[10, 20], [15, 12]], [[100, 100], [100, 100]], [[0, 7], [3, 255]]], np.float32)
    bounds = Preprocessor(2, 2, 2, mean, REFERENCE).bounds
    assert bounds == ((-20, -100, -255), (245, 155, 255))


@pytest.mark.parametrize("key", PICTURES.files)
def test_the_crop_is_the_references(key: str) -> None:
    name, base_size = key.split("/")
    expected = PICTURES[key]
    prepare = preprocessor(int(base_size), *expected.shape[:2])
    np.testing.assert_array_equal(prepare(IMAGES / name).picture, expected)


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize(
    ("name", "base_size", "height", "width"),
    [
        ("landscape.jpg", 72, 40, 41),  # both sides long enough
        ("landscape.jpg", 72, 63, 70),  # replicated above and below, the input not square
        ("wide.png", 73, 63, 59),  # odd numbers of replicated rows
        ("tall.png", 72, 61, 63),  # replicated left and right, long side two short
        ("portrait.png", 72, 46, 45),
        ("square.jpg", 64, 57, 62),
        ("gray_small.png", 97, 83, 80),
    ],
)
def test_the_blob_equals_the_slow_loops(
    name: str, base_size: int, height: int, width: int, quirks: Quirks
) -> None:
    path = IMAGES / name
    prepare = preprocessor(base_size, height, width, quirks=quirks)
    expected = oracle.crop_less_mean(
        resize_to_base(decode(path), base_size),
        prepare.mean,
        base_size,
        (height, width),
        centre_mean=not quirks.Q1_mean_starts_at_zero,
    )
    np.testing.assert_allclose(prepare(path).blob, expected, atol=1e-4)


def test_the_blob_is_contiguous_float32(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.new("RGB", (12, 9), (10, 20, 30)).save(path)
    blob = preprocessor(12, 7, 8)(path).blob
    assert blob.shape == (3, 7, 8)
    assert blob.dtype == np.float32
    assert blob.flags.c_contiguous


def test_channels_become_blue_green_red(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.new("RGB", (12, 9), (10, 20, 30)).save(path)
    prepare = replace(preprocessor(12, 7, 8), mean=np.zeros((3, 7, 8), np.float32))
    np.testing.assert_array_equal(prepare(path).blob[:, 3, 4], [30, 20, 10])


def test_the_picture_keeps_red_green_blue_and_ignores_the_mean(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.new("RGB", (12, 9), (10, 20, 30)).save(path)
    picture = preprocessor(12, 7, 8)(path).picture
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.broadcast_to((10, 20, 30), (7, 8, 3)))


def test_sixteen_bit_levels_keep_their_fraction(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((9, 12), 1000, np.uint16)).save(path)
    prepare = replace(preprocessor(12, 7, 8), mean=np.zeros((3, 7, 8), np.float32))
    np.testing.assert_allclose(prepare(path).blob, 1000 * 255 / 65535, rtol=1e-7)


@pytest.mark.parametrize(
    ("quirks", "expected"), [(REFERENCE, [0, 0, 0, 1, 2, 2, 2]), (CORRECTED, [4, 4, 4, 5, 6, 6, 6])]
)
def test_q1_the_mean_of_a_replicated_axis_starts_at_zero_unless_corrected(
    quirks: Quirks, expected: list[int]
) -> None:
    rows, _ = preprocessor(9, 7, 7, mean=(11, 9), quirks=quirks).indices(3, 9)
    np.testing.assert_array_equal(rows.image, [0, 0, 0, 1, 2, 2, 2])
    np.testing.assert_array_equal(rows.mean, expected)


def test_the_odd_row_is_replicated_at_the_far_edge() -> None:
    rows, _ = preprocessor(9, 6, 6).indices(3, 9)
    np.testing.assert_array_equal(rows.image, [0, 0, 1, 2, 2, 2])


def test_an_edge_is_replicated_where_the_long_side_came_out_short() -> None:
    _, columns = preprocessor(9, 8, 9).indices(7, 8)
    np.testing.assert_array_equal(columns.image, [0, 1, 2, 3, 4, 5, 6, 7, 7])


def test_the_long_axis_uses_the_smaller_border_of_the_mean() -> None:
    rows, columns = preprocessor(20, 7, 8, mean=(31, 12)).indices(20, 15)
    assert rows.mean[0] == min((31 - 7) // 2, (12 - 8) // 2)
    assert columns.mean[0] == (12 - 8) // 2


def test_one_pixel_fills_the_input(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), (1, 2, 3)).save(path)
    np.testing.assert_array_equal(preprocessor(12, 7, 8)(path).picture, np.broadcast_to((1, 2, 3), (7, 8, 3)))


def test_a_very_thin_image_fills_the_input(tmp_path: Path) -> None:
    path = tmp_path / "thread.png"
    Image.new("RGB", (1, 4000), (1, 2, 3)).save(path)
    assert (preprocessor(12, 7, 8)(path).picture == (1, 2, 3)).all()


def test_a_base_size_below_the_input_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="set baseimgsize to 8 or more"):
        preprocessor(7, 6, 8)


def test_an_absurd_base_size_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="the largest possible is 8192"):
        preprocessor(LARGEST_BASE_SIZE + 1, 6, 8)


@pytest.mark.parametrize("size", [(6, 99), (99, 7)])
def test_a_mean_smaller_than_the_input_is_refused_at_once(size: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="fewer than the net's input of 7 x 8"):
        preprocessor(12, 7, 8, mean=size)


def test_a_mean_without_three_channels_is_refused_at_once() -> None:
    with pytest.raises(ModelError, match="three channels"):
        Preprocessor(12, 7, 8, np.zeros((1, 20, 20), np.float32), REFERENCE)


def test_a_missing_image_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such image"):
        preprocessor(12, 7, 8)(tmp_path / "nowhere.png")
