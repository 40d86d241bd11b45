"""Identities of pixels: equal exactly where everything they follow from is equal."""

import numpy as np
import pytest
from builders import channels_last, random_blob, window_of
from oracle import Geometry

from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.identity import (
    ABSENT,
    ZERO,
    Identities,
    identities_of,
    join_identities,
    make_equal,
    mark_zeros,
    window_identities,
)


def few_colours(shape: tuple[int, ...], seed: int) -> Blob:
    """Images (N, C, H, W) in which equal pixels and equal windows abound."""
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)


def behind(identities: Identities, geometry: Geometry, size: tuple[int, int]) -> Identities:
    out = np.zeros((len(identities), *size), np.uint64)
    window_identities(identities, window_of(geometry), ABSENT, out)
    return out


def assert_same_classes(identities: Identities, keys: list[bytes]) -> None:
    """Two pixels have one identity exactly if they have one key."""
    pairs = set(zip(identities.reshape(-1).tolist(), keys, strict=True))
    assert len(pairs) == len(set(keys)) == len(set(identities.reshape(-1).tolist()))


def test_pixels_are_identical_whose_channels_all_are() -> None:
    image = few_colours((2, 3, 5, 4), 1)
    lines = channels_last(image).reshape(-1, 3)
    assert_same_classes(identities_of(channels_last(image)), [line.tobytes() for line in lines])


def test_the_order_of_channels_matters() -> None:
    image = np.array([[1, 2], [2, 1], [1, 2]], np.float32).reshape(1, 3, 1, 2)
    first, second, third = identities_of(image).reshape(-1).tolist()
    assert first == third != second


def test_a_difference_of_one_bit_counts() -> None:
    image = np.full((1, 1, 2, 3), 0.1, np.float32)
    image[0, 0, 1, 2] = np.nextafter(np.float32(0.1), np.float32(1))
    first, second = identities_of(image).reshape(-1).tolist()
    assert first != second


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry((3, 2)),
        Geometry((2, 3), (2, 1), (1, 2)),
        Geometry((2, 2), (1, 3), (0, 1), (2, 1)),
        Geometry((1, 1)),
        Geometry((3, 3), (3, 2), (2, 2)),
    ],
)
def test_windows_are_identical_whose_pixels_and_padding_are(geometry: Geometry) -> None:
    image = few_colours((2, 2, 7, 6), 1)
    # Padding is no colour of the image.
    pad_h, pad_w = geometry.pad
    padded = np.pad(image, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)), constant_values=9)
    extent = [(k - 1) * d + 1 for k, d in zip(geometry.kernel, geometry.dilation, strict=True)]
    size = tuple((padded.shape[2 + a] - extent[a]) // geometry.stride[a] + 1 for a in (0, 1))
    found = behind(identities_of(channels_last(image)), geometry, (size[0], size[1]))
    keys = []
    for item, row, column in np.ndindex(2, *size):
        y, x = row * geometry.stride[0], column * geometry.stride[1]
        window = padded[
            item, :, y : y + extent[0] : geometry.dilation[0], x : x + extent[1] : geometry.dilation[1]
        ]
        keys.append(np.ascontiguousarray(window).tobytes())
    assert_same_classes(found, keys)


def test_joined_pixels_are_identical_if_all_their_parts_are() -> None:
    first, second = (identities_of(channels_last(few_colours((2, 2, 5, 4), seed))) for seed in (1, 2))
    keys = [bytes(str(pair), "ascii") for pair in zip(first.reshape(-1), second.reshape(-1), strict=True)]
    joined = first.copy()
    join_identities(joined, second)
    assert_same_classes(joined, keys)


def test_the_order_of_joined_parts_matters() -> None:
    one, other = np.full((1, 1, 1), 3, np.uint64), np.full((1, 1, 1), 5, np.uint64)
    joined, turned = one.copy(), other.copy()
    join_identities(joined, other)
    join_identities(turned, one)
    assert joined[0, 0, 0] != turned[0, 0, 0]


def test_the_first_pixel_of_an_identity_gives_its_numbers_to_the_others_of_its_image() -> None:
    identities = identities_of(channels_last(few_colours((3, 2, 7, 6), 1)))
    blob = channels_last(random_blob((3, 5, 7, 6), 2))
    expected = blob.copy()
    for item in range(3):
        first: dict[int, tuple[int, int]] = {}
        for y, x in np.ndindex(7, 6):
            source = first.setdefault(int(identities[item, y, x]), (y, x))
            expected[item, y, x] = blob[item, source[0], source[1]]
    make_equal(identities, blob)
    assert blob.tolist() == expected.tolist()


def test_pixels_that_are_all_different_stay_as_they_are() -> None:
    identities = np.arange(2 * 7 * 6, dtype=np.uint64).reshape(2, 7, 6) * np.uint64(64)
    blob = channels_last(random_blob((2, 5, 7, 6), 2))
    before = blob.tolist()
    make_equal(identities, blob)
    assert blob.tolist() == before


def test_pixels_that_are_zero_in_every_channel_are_identical_and_those_of_a_convolutions_padding() -> None:
    image = random_blob((2, 5, 4, 3), 1)
    image[0, :, 1, 2] = image[1, :, 3, 0] = 0
    image[1, :4, 0, 0] = 0
    blob = channels_last(image)
    before = identities_of(blob)
    marked = before.copy()
    mark_zeros(blob, marked)
    assert np.argwhere(marked != before).tolist() == [[0, 1, 2], [1, 3, 0]]
    assert (marked[marked != before] == ZERO).all()
    found = np.zeros((2, 6, 5), np.uint64)
    window_identities(marked, window_of(Geometry((1, 1), (1, 1), (1, 1))), ZERO, found)
    assert found[0, 0, 0] == found[0, 2, 3] == found[1, 4, 1]
    assert len(set(found.reshape(-1).tolist())) == 1 + 2 * 12 - 2
