"""Images in memory: the same input as from a file, finished inputs, and what is refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import ImageError
from caffe_lrp.imaging.place import Place
from caffe_lrp.imaging.preprocess import PreparedImage, Preprocessor
from caffe_lrp.quirks import CORRECTED

RNG = np.random.default_rng(4)
COLOURS = RNG.integers(0, 256, (23, 31, 4), np.uint8)
DEEP = RNG.integers(0, 65536, (23, 31, 4), np.uint16)
MEAN = RNG.uniform(90, 130, (3, 17, 19)).astype(np.float32)
PREPARE = Preprocessor(
    base_size=20, input_height=13, input_width=14, mean=MEAN, quirks=CORRECTED, max_pixels=5000
)


def rgb() -> Image.Image:
    return Image.fromarray(COLOURS[..., :3])


def assert_same(found: PreparedImage, expected: PreparedImage) -> None:
    np.testing.assert_array_equal(found.blob, expected.blob)
    np.testing.assert_array_equal(found.picture, expected.picture)
    assert found.place == expected.place


def with_transparent_colour() -> Image.Image:
    picture = rgb().quantize(16)
    picture.info["transparency"] = 3
    return picture


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "L": lambda: rgb().convert("L"),
    "1": lambda: rgb().convert("1"),
    "LA": lambda: Image.fromarray(COLOURS[..., :2]),
    "P": lambda: rgb().quantize(16),
    "P with a transparent colour": with_transparent_colour,
    "RGB": rgb,
    "RGBA": lambda: Image.fromarray(COLOURS),
    "I;16": lambda: Image.fromarray(DEEP[..., 0]),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", PICTURES)
def test_a_picture_gives_the_input_of_the_png_it_was_saved_to_and_opened_from(
    mode: str, tmp_path: Path
) -> None:
    path, picture = tmp_path / "one.png", PICTURES[mode]()
    picture.save(path)
    expected = PREPARE(path)
    assert_same(PREPARE(str(path)), expected)
    assert_same(PREPARE(Image.open(path)), expected)
    assert_same(PREPARE(picture), expected)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("one.jpg", "RGB"),
        ("one.jpg", "L"),
        ("one.jpg", "CMYK"),
        ("one.jpg", "YCbCr"),
        ("one.tiff", "CMYK"),
        ("one.tiff", "L"),
        ("one.gif", "L"),
        ("one.ppm", "RGB"),
    ],
)
def test_an_opened_picture_gives_the_input_of_its_file(name: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / name
    rgb().convert(mode).save(path)
    opened = Image.open(path)
    assert_same(PREPARE(opened), PREPARE(path))
    assert_same(PREPARE(opened), PREPARE(path))  # which is loaded by now


def test_colours_of_other_kinds_are_converted() -> None:
    assert_same(PREPARE(rgb().convert("YCbCr")), PREPARE(rgb().convert("YCbCr").convert("RGB")))
    inks = rgb().convert("CMYK")
    assert_same(PREPARE(inks), PREPARE(COLOURS[..., :3]))


@pytest.mark.parametrize("name", ["turned.jpg", "turned.tiff", "turned.png"])
def test_orientation_is_ignored_as_that_of_files_is(name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / name
    rgb().save(path, exif=exif)
    found = PREPARE(Image.open(path))
    assert_same(found, PREPARE(path))
    assert (found.place.height, found.place.width) == (23, 31)


@pytest.mark.parametrize("planes", [0, 1, 3, 4])
def test_an_array_gives_the_input_of_a_png_of_it(planes: int, tmp_path: Path) -> None:
    array = COLOURS[..., :planes] if planes else COLOURS[..., 0]
    path = tmp_path / "one.png"
    Image.fromarray(array.squeeze()).save(path)
    assert_same(PREPARE(array), PREPARE(path))


@pytest.mark.parametrize("planes", [0, 3, 4])
@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_a_deep_array_gives_the_input_of_a_deep_png_of_it(
    planes: int, byte_order: str, tmp_path: Path
) -> None:
    array = DEEP[..., :planes] if planes else DEEP[..., 0]
    path = tmp_path / "deep.png"
    assert cv2.imwrite(str(path), array[..., [2, 1, 0, 3][:planes]] if planes else array)
    assert_same(PREPARE(array.astype(byte_order)), PREPARE(path))


def test_neither_order_nor_ownership_of_an_array_matters() -> None:
    array = COLOURS[..., :3].copy()
    before = array.copy()
    found = PREPARE(array[::-1, ::-1])
    assert_same(found, PREPARE(np.asfortranarray(array[::-1, ::-1])))
    np.testing.assert_array_equal(array, before)
    expected = found.blob.copy()
    array[:] = 0
    np.testing.assert_array_equal(found.blob, expected)


# --- Finished inputs ----------------------------------------------------------------------------------------


def finished() -> NDArray[np.float32]:
    return RNG.normal(0, 30, (3, 13, 14)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_floating_point_numbers_are_the_input_itself(dtype: Any) -> None:
    numbers = finished().astype(dtype)
    expected = numbers.astype(np.float32)
    found = PREPARE(numbers)
    numbers[:] = 0
    np.testing.assert_array_equal(found.blob, expected)
    assert found.blob.dtype == np.float32
    assert found.blob.flags.c_contiguous
    assert found.place == Place(height=13, width=14, top=0, left=0, bottom=13, right=14)


@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_the_picture_of_a_finished_input_is_what_the_net_sees(order: str) -> None:
    prepare = replace(PREPARE, channel_order=order, scale=0.017)
    prepared = prepare(rgb())
    np.testing.assert_array_equal(prepare(prepared.blob).picture, prepared.picture)


def test_the_picture_of_a_finished_input_has_the_centre_of_the_mean_and_is_clipped() -> None:
    mean = np.zeros((1, 6, 5), np.float32)
    mean[0, 2:4, 1:4] = [[10, 20, 30], [40, 50, 60]]
    prepare = Preprocessor(3, 2, 3, mean, CORRECTED, channels=1, scale=2)
    found = prepare(np.array([[[0, -100, 1], [3, 800, -80]]], np.float32))
    assert found.picture.shape == (2, 3, 3)
    np.testing.assert_array_equal(found.picture[..., 1], [[10, 0, 31], [42, 255, 20]])


def test_a_net_with_another_number_of_channels_takes_finished_inputs_only() -> None:
    prepare = Preprocessor(3, 2, 3, np.zeros((5, 2, 3), np.float32), CORRECTED, channels=5)
    assert prepare(np.ones((5, 2, 3))).picture.shape == (2, 3, 3)
    advice = (
        r"has 5 channels, which no image has; give its finished input as a float32 array of shape \(5, 2, 3\)"
    )
    with pytest.raises(ImageError, match=advice):
        prepare(rgb())


# --- What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"bytes", "the image given (of type bytes): is not an image; give a path, a PIL image or an array"),
        ([[1, 2]], "the image given (of type list): is not an image; give a path"),
        (
            np.zeros((23, 31, 3)),
            "the image given (an array of shape (23, 31, 3) and type float64): a floating-point array is "
            "taken as the finished input of the net, whose shape is (3, 13, 14) (channels, height, width); "
            "give a picture, which is resized and cropped, as an array (H, W), (H, W, 3) or (H, W, 4) of "
            "uint8",
        ),
        (np.zeros((13, 14, 3), np.float32), "put the channels first with .transpose(2, 0, 1)"),
        (np.zeros((1, 3, 13, 14), np.float32), "give one image at a time, without the batch axis"),
        (np.zeros((2, 13, 14, 3), np.uint8), "is a batch; give one image at a time"),
        (np.full((3, 13, 14), np.nan, np.float32), "holds numbers that are not finite in float32"),
        (np.full((3, 13, 14), 1e39), "holds numbers that are not finite in float32"),
        (
            np.zeros((13, 14, 3), np.int64),
            "type int64): the white level of numbers of this type is unknown; give an array (H, W), "
            "(H, W, 3) or (H, W, 4) of uint8 or uint16, or the finished input of the net as float32",
        ),
        (np.zeros((13, 14), bool), "the white level of numbers of this type is unknown"),
        (np.zeros((3, 13, 14), np.uint8), "its channels come first; put them last with .transpose(1, 2, 0)"),
        (np.zeros((13, 14, 2), np.uint8), "is not an image; give an array (H, W)"),
        (np.zeros(13, np.uint8), "is not an image; give an array (H, W)"),
        (np.zeros((0, 14, 3), np.uint8), "has no pixels"),
        (Image.new("RGB", (0, 4)), "(a PIL image of mode RGB, 0 x 4 pixels): has no pixels"),
        (
            np.zeros((101, 50), np.uint8),
            "50 x 101 pixels are more than the limit of 5000 pixels; make",
        ),
        (np.zeros((101, 50, 3), np.uint16), "50 x 101 pixels are more than the limit of 5000"),
        (Image.new("RGB", (101, 50)), "101 x 50 pixels are more than the limit of 5000 pixels; make"),
        (
            Image.new("F", (9, 6)),
            "the image given (a PIL image of mode F, 9 x 6 pixels): has floating-point or 32-bit samples, "
            "whose white level is unknown; convert it to the mode L, I;16 or RGB",
        ),
        (Image.new("I", (9, 6)), "whose white level is unknown"),
        (Image.new("LAB", (9, 6)), "colour mode LAB cannot be read; convert the image to RGB"),
        (Image.new("P", (9, 6)), "its palette is missing"),
    ],
)
def test_non_images_are_refused_with_a_message(given: Any, message: str) -> None:
    with pytest.raises(ImageError, match=re.escape(message)):
        PREPARE(given)


def test_a_picture_whose_file_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    rgb().save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ImageError, match=r"mode RGB, 31 x 23 pixels\): image is damaged or cut short"):
        PREPARE(Image.open(path))
