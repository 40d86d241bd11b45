"""Images and messages as ``caffe.io`` handles them, and classifiers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import INCEPTION, parse, random_blob, random_weights, write_caffemodel
from command_line import DATA
from PIL import Image

from caffe_lrp import ImageError
from caffe_lrp import pycaffe as caffe
from caffe_lrp.formats.caffe.caffe_pb2 import BlobProto
from caffe_lrp.formats.caffe.reader import scan_blob

IMAGES = DATA / "images/set"
MEAN = (104.00699, 116.66877, 122.67891)

# --- Images -------------------------------------------------------------------------------------------------


def test_images_are_loaded_as_rgb_from_0_to_1() -> None:
    found = caffe.io.load_image(str(IMAGES / "portrait.png"))
    with Image.open(IMAGES / "portrait.png") as image:
        expected = np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_gray_deep_and_transparent_images_are_loaded_as_caffe_does() -> None:
    gray = caffe.io.load_image(IMAGES / "gray_small.png")
    assert gray.shape[2] == 3
    assert caffe.io.load_image(IMAGES / "gray_small.png", color=False).shape == (*gray.shape[:2], 1)
    assert (caffe.io.load_image(IMAGES / "rgba.png")).shape[2] == 3
    with Image.open(IMAGES / "gray16.png") as image:
        expected = np.asarray(image).astype(np.float32) / np.float32(65535)
    np.testing.assert_array_equal(caffe.io.load_image(IMAGES / "gray16.png", color=False)[..., 0], expected)
    assert caffe.io.load_image(IMAGES / "cmyk.jpg").shape[2] == 3
    colours = caffe.io.load_image(IMAGES / "portrait.png")
    luma = caffe.io.load_image(IMAGES / "portrait.png", color=False)
    np.testing.assert_allclose(luma[..., 0], colours @ (0.2125, 0.7154, 0.0721), rtol=1e-5)


def test_what_is_no_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no\.png"):
        caffe.io.load_image(tmp_path / "no.png")


def test_images_are_shrunk_bilinearly_without_smoothing() -> None:
    image = np.repeat(np.reshape(np.arange(8), (2, 4)) / 7, 2, axis=0)[..., np.newaxis]
    found = caffe.io.resize_image(image, (2, 2))
    np.testing.assert_allclose(found[..., 0], [[0.0714, 0.3571], [0.6429, 0.9286]], atol=1e-4)


def test_enlarged_images_blend_with_their_least_number_at_the_border() -> None:
    """As scikit-image did: outside there is 0, here the image's minimum."""
    found = caffe.io.resize_image(np.reshape([1.0, 5.0], (2, 1, 1)), (4, 1))
    np.testing.assert_allclose(found[:, 0, 0], [1, 2, 4, 4])


def test_other_images_are_resized_from_corner_to_corner() -> None:
    """As scipy.ndimage.zoom does; one of a single colour stays what it is."""
    ramp = np.zeros((3, 2, 2)) + np.reshape([0, 2, 4], (3, 1, 1))
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (5, 2))[:, 0, 1], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (2, 3), 0)[:, 2, 0], [0, 4])
    constant = caffe.io.resize_image(np.full((3, 4, 3), 7), (6, 5))
    assert (constant.shape, constant.min(), constant.max()) == ((6, 5, 3), 7, 7)


def test_ten_crops_are_corners_and_centre_and_the_same_mirrored() -> None:
    image = np.arange(6 * 9 * 2).reshape(6, 9, 2)
    crops = caffe.io.oversample([image, image + 1], (3, 4))
    assert crops.shape == (20, 3, 4, 2)
    assert crops.dtype == np.float32
    for number, (top, left) in enumerate([(0, 0), (0, 5), (3, 0), (3, 5), (1, 2)]):
        part = image[top : top + 3, left : left + 4]
        np.testing.assert_array_equal(crops[number], part)
        np.testing.assert_array_equal(crops[number + 5], part[:, ::-1])
        np.testing.assert_array_equal(crops[number + 10], part + 1)


# --- Transformers -------------------------------------------------------------------------------------------


def transformer(**changes: Any) -> caffe.io.Transformer:
    found = caffe.io.Transformer({"data": (1, 3, 5, 7)})
    settings = {"transpose": (2, 0, 1), "mean": MEAN, "raw_scale": 255, "channel_swap": (2, 1, 0)}
    for name, value in (settings | changes).items():
        getattr(found, f"set_{name}")("data", value)
    return found


def test_a_pixel_is_prepared_as_caffe_does() -> None:
    image = np.broadcast_to([1, 0.5, 0], (5, 7, 3))
    blob = transformer().preprocess("data", image)
    np.testing.assert_allclose(blob[:, 2, 3], [-104.00699, 10.83123, 132.32109], rtol=1e-6)
    assert blob.shape == (3, 5, 7)
    assert blob.dtype == np.float32


def test_preprocessing_resizes_and_can_be_undone_and_leaves_the_image_alone() -> None:
    image = np.random.default_rng(0).random((10, 14, 3), np.float32)
    kept = image.copy()
    found = transformer(input_scale=0.017)
    blob = found.preprocess("data", image)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_allclose(
        found.deprocess("data", blob[np.newaxis]), caffe.io.resize_image(image, (5, 7)), atol=1e-5
    )


def test_orders_of_channels_and_axes_that_are_not_their_own_inverse_are_undone() -> None:
    image = np.random.default_rng(0).random((5, 7, 3), np.float32)
    found = transformer(channel_swap=(1, 2, 0))
    np.testing.assert_allclose(found.deprocess("data", found.preprocess("data", image)), image, atol=1e-5)


def test_wrong_settings_are_refused() -> None:
    found = transformer()
    for call, text in (
        (
            lambda: found.set_mean("date", MEAN),
            "date is not one of the net inputs: data; did you mean 'data'",
        ),
        (
            lambda: found.set_mean("data", np.zeros((3, 256, 256))),
            r"Mean shape incompatible.*mean\(1\)\.mean\(1\)",
        ),
        (lambda: found.set_mean("data", [1.0, 2.0]), "Mean shape incompatible"),
        (lambda: found.set_transpose("data", (2, 1)), "each of the axes 0 to 2 once"),
        (lambda: found.set_channel_swap("data", (2, 1)), "same number of dimensions"),
        (lambda: caffe.io.resize_image(np.zeros((3, 3)), (2, 2)), "needs an image"),
        (lambda: caffe.io.resize_image(np.zeros((3, 3, 3)), (2, 2), 3), "interp_order"),
        (lambda: caffe.io.oversample([np.zeros((3, 3, 3))], (4, 2)), "do not fit"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_a_mean_image_of_the_right_size_is_subtracted() -> None:
    mean = random_blob((3, 5, 7), 1)
    blob = transformer(mean=mean).preprocess("data", np.zeros((5, 7, 3)))
    np.testing.assert_array_equal(blob, -mean)


# --- Messages -----------------------------------------------------------------------------------------------


def test_arrays_become_messages_and_come_back(tmp_path: Path) -> None:
    array, diff = random_blob((2, 3, 5), 1), random_blob((2, 3, 5), 2)
    message = caffe.io.array_to_blobproto(array, diff)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(message), array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(message, return_diff=True), diff)
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(message.SerializeToString())
    np.testing.assert_array_equal(scan_blob(path).read(), array)


def test_a_mean_file_is_read_in_its_old_shape() -> None:
    message = caffe.proto.caffe_pb2.BlobProto()
    message.ParseFromString((DATA / "models/mean.binaryproto").read_bytes())
    assert caffe.io.blobproto_to_array(message).shape[:2] == (1, 3)
    broken = BlobProto(num=2, channels=3, height=1, width=1, data=[1])
    with pytest.raises(ValueError, match=r"1 numbers for the shape \(2, 3, 1, 1\)"):
        caffe.io.blobproto_to_array(broken)


# --- Classifiers --------------------------------------------------------------------------------------------


def test_classifiers_average_ten_crops_or_take_the_centre(tmp_path: Path) -> None:
    weights = random_weights(parse(tmp_path, INCEPTION), 11)
    model = write_caffemodel(tmp_path / "net.caffemodel", weights)
    found = caffe.Classifier(
        tmp_path / "deploy.prototxt",
        model,
        image_dims=(20, 18),
        mean=[1, 2, 3],
        channel_swap=(2, 1, 0),
    )
    images = [np.random.default_rng(n).random((20, 18, 3), np.float32) for n in range(3)]

    def scores(crop: Any) -> Any:
        blob = crop.transpose(2, 0, 1)[::-1] - np.reshape([1, 2, 3], (3, 1, 1))
        return found.forward_all(data=blob[np.newaxis])["prob"][0]

    centred = np.stack([scores(image[3:16, 3:14]) for image in images])
    np.testing.assert_allclose(found.predict(images, oversample=False), centred, rtol=1e-5)
    ten = np.mean([scores(crop) for crop in caffe.io.oversample(images[1:2], (13, 11))], axis=0)
    averaged = found.predict(images)
    assert averaged.shape == (3, 5)
    np.testing.assert_allclose(averaged[1], ten, rtol=1e-5)
    with pytest.raises(ValueError, match="takes no phase"):
        caffe.Classifier(tmp_path / "deploy.prototxt", model, caffe.TEST)  # type: ignore[arg-type]
