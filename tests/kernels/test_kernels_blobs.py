"""How blobs lie in memory: views where that is possible, and one order for all of a shape."""

import numpy as np
import pytest
from builders import channels_last, random_blob

from caffe_lrp.kernels.blobs import as_blob, flat, lines, pixels

IMAGES = (2, 5, 3, 4)


def test_pixels_of_an_image_are_a_view_where_channels_lie_last() -> None:
    blob = channels_last(random_blob(IMAGES, 1)).transpose(0, 3, 1, 2)
    numbers = pixels(blob)
    assert numbers.shape == (2, 3, 4, 5)
    assert numbers.flags.c_contiguous
    assert np.shares_memory(numbers, blob)
    assert numbers.tolist() == blob.transpose(0, 2, 3, 1).tolist()


@pytest.mark.parametrize("shape", [IMAGES, (1, 5, 3, 4), (2, 1, 3, 4)])
def test_pixels_of_an_image_in_another_order_are_a_copy(shape: tuple[int, ...]) -> None:
    blob = random_blob(shape, 1)
    numbers = pixels(blob)
    assert numbers.flags.c_contiguous
    assert numbers.tolist() == blob.transpose(0, 2, 3, 1).tolist()
    assert np.shares_memory(numbers, blob) == (shape[1] == 1)


@pytest.mark.parametrize("shape", [(2, 7), (3, 4, 5), (6,)])
def test_pixels_of_other_blobs_have_all_numbers_of_an_item_as_channels(shape: tuple[int, ...]) -> None:
    blob = random_blob(shape, 1)
    numbers = pixels(blob)
    assert numbers.shape == (shape[0], 1, 1, blob.size // shape[0])
    assert np.shares_memory(numbers, blob)
    assert numbers.reshape(-1).tolist() == blob.reshape(-1).tolist()


@pytest.mark.parametrize("shape", [IMAGES, (2, 7), (3, 4, 5)])
def test_blobs_of_one_shape_come_flat_in_one_order(shape: tuple[int, ...]) -> None:
    blob = random_blob(shape, 1)
    turned = channels_last(blob).transpose(0, 3, 1, 2) if len(shape) == 4 else blob
    assert flat(blob).tolist() == flat(turned).tolist()
    assert np.shares_memory(flat(turned), turned)
    assert sorted(flat(blob)) == sorted(blob.reshape(-1))


def test_lines_are_the_channels_of_every_pixel() -> None:
    blob = random_blob(IMAGES, 1)
    found = lines(blob)
    assert found.shape == (2 * 3 * 4, 5)
    for line, (item, y, x) in zip(found, np.ndindex(2, 3, 4), strict=True):
        assert line.tolist() == blob[item, :, y, x].tolist()
    turned = channels_last(blob).transpose(0, 3, 1, 2)
    assert np.shares_memory(lines(turned), turned)
    assert lines(turned).tolist() == found.tolist()


@pytest.mark.parametrize("shape", [IMAGES, (2, 7), (3, 4, 5)])
def test_as_blob_is_the_inverse_of_pixels(shape: tuple[int, ...]) -> None:
    blob = random_blob(shape, 1)
    numbers = pixels(blob)
    again = as_blob(numbers, shape)
    assert again.shape == shape
    assert again.tolist() == blob.tolist()
    assert np.shares_memory(again, numbers)
    assert np.shares_memory(pixels(again), numbers)
