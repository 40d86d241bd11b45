"""Identities of windows: equal exactly where all their numbers are."""

import numpy as np
import pytest
from builders import EagerWorkspace, channels_last, random_blob, window_of
from oracle import Geometry

from caffe_lrp.compute.ties import restore_ties
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.identity import (
    Identities,
    identity_keys,
    make_equal,
    pixel_identities,
    window_identities,
)


def few_colours(shape: tuple[int, ...], seed: int) -> Blob:
    """Images (N, C, H, W) in which equal pixels and equal windows abound."""
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)


def of_pixels(image: Blob, groups: int = 1) -> Identities:
    """(groups, N, H, W) for an image (N, C, H, W)."""
    blob = channels_last(image)
    out = np.zeros((groups, *blob.shape[:3]), np.uint64)
    lines = len(blob) * blob.shape[1]
    keys = identity_keys(image.shape[1] // groups)
    for first, last in ((lines // 2, lines), (0, lines // 2)):
        pixel_identities(first, last, blob.view(np.uint32), keys, out)
    return out


def assert_same_classes(identities: Identities, keys: list[bytes]) -> None:
    """Two pixels have one identity exactly if they have one key."""
    pairs = set(zip(identities.reshape(-1).tolist(), keys, strict=True))
    assert len(pairs) == len(set(keys)) == len(set(identities.reshape(-1).tolist()))


def test_pixels_are_identical_whose_channels_all_are() -> None:
    image = few_colours((2, 3, 5, 4), 1)
    lines = channels_last(image).reshape(-1, 3)
    assert_same_classes(of_pixels(image), [line.tobytes() for line in lines])


def test_groups_of_channels_are_told_apart() -> None:
    image = few_colours((2, 6, 5, 4), 1)
    found = of_pixels(image, groups=2)
    for group in (0, 1):
        lines = channels_last(image)[..., 3 * group : 3 * group + 3].reshape(-1, 3)
        assert_same_classes(found[group], [line.tobytes() for line in lines])


def test_the_order_of_channels_matters() -> None:
    image = np.array([[1, 2, 1], [2, 1, 2]], np.float32).reshape(1, 2, 1, 3)
    first, second, third = of_pixels(image).reshape(-1).tolist()
    assert first == third != second


def test_a_difference_of_one_bit_counts() -> None:
    image = np.full((1, 3, 1, 2), 0.1, np.float32)
    image[0, 2, 0, 1] = np.nextafter(np.float32(0.1), np.float32(1))
    first, second = of_pixels(image).reshape(-1).tolist()
    assert first != second


def test_signs_count_but_not_that_of_zero() -> None:
    image = np.array([0.0, -0.0, 1.0, -1.0], np.float32).reshape(1, 1, 1, 4)
    zero, negative_zero, one, minus_one = of_pixels(image).reshape(-1).tolist()
    assert zero == negative_zero == 0
    assert len({zero, one, minus_one}) == 3


def test_small_integers_rarely_share_the_low_bits_of_their_identities() -> None:
    """Their own low bits are all 0."""
    image = np.arange(4096, dtype=np.float32).reshape(1, 1, 64, 64)
    assert len({number & 0xFFFF for number in of_pixels(image).reshape(-1).tolist()}) > 3000


def test_keys_are_odd_and_differ() -> None:
    keys = identity_keys(512)
    assert (keys & np.uint64(1)).all()
    assert len(set(keys.tolist())) == 512


@pytest.mark.parametrize(
    "geometry",
    [Geometry((3, 2)), Geometry((2, 5), pad=(1, 2)), Geometry((1, 1)), Geometry((4, 3), pad=(5, 4))],
)
def test_windows_are_identical_whose_pixels_are_and_padding_is_zero(geometry: Geometry) -> None:
    image = few_colours((2, 2, 7, 6), 1)
    pad_h, pad_w = geometry.pad
    padded = np.pad(image, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    size = tuple(padded.shape[2 + axis] - geometry.kernel[axis] + 1 for axis in (0, 1))
    found = np.full((1, 2, *size), 7, np.uint64)
    keys = identity_keys(geometry.kernel[0] * geometry.kernel[1]).reshape(geometry.kernel)
    window_identities(of_pixels(image), -pad_h, -pad_w, keys, found)
    windows = [
        padded[item, :, y : y + geometry.kernel[0], x : x + geometry.kernel[1]].tobytes()
        for item, y, x in np.ndindex(2, *size)
    ]
    assert_same_classes(found, windows)


def test_the_first_pixel_of_an_identity_gives_its_numbers_to_the_others_of_its_image() -> None:
    identities = of_pixels(few_colours((3, 4, 7, 6), 1), groups=2)
    blob = channels_last(random_blob((3, 10, 7, 6), 2))
    expected = blob.copy()
    for item, group in np.ndindex(3, 2):
        first: dict[int, tuple[int, int]] = {}
        for y, x in np.ndindex(7, 6):
            source = first.setdefault(int(identities[group, item, y, x]), (y, x))
            mine = slice(5 * group, 5 * group + 5)
            expected[item, y, x, mine] = blob[item, source[0], source[1], mine]
    assert expected.tolist() != blob.tolist()
    make_equal(1, 3, identities, blob)
    make_equal(0, 1, identities, blob)
    assert blob.tolist() == expected.tolist()


def test_pixels_that_are_all_different_stay_as_they_are() -> None:
    identities = np.arange(2 * 7 * 6, dtype=np.uint64).reshape(1, 2, 7, 6) << np.uint64(56)
    blob = channels_last(random_blob((2, 5, 7, 6), 2))
    before = blob.tolist()
    make_equal(0, 2, identities, blob)
    assert blob.tolist() == before


@pytest.mark.parametrize("threads", [1, 3])
def test_ties_are_restored_within_every_image_and_group(threads: int) -> None:
    geometry = Geometry((3, 3), pad=(1, 0))
    image, blob = few_colours((3, 4, 7, 8), 1), channels_last(random_blob((3, 6, 7, 6), 2))
    image[:, :2, 2:6, 2:7] = 1
    image[:, 2:, 1:6, 1:6] = 0
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (0, 0)))
    expected = blob.copy()
    for item, group in np.ndindex(3, 2):
        first: dict[bytes, tuple[int, int]] = {}
        for y, x in np.ndindex(7, 6):
            window = padded[item, 2 * group : 2 * group + 2, y : y + 3, x : x + 3]
            source = first.setdefault(window.tobytes(), (y, x))
            mine = slice(3 * group, 3 * group + 3)
            expected[item, y, x, mine] = blob[item, source[0], source[1], mine]
    with EagerWorkspace(threads) as workspace:
        restore_ties(channels_last(image), window_of(geometry), 2, blob, workspace)
    assert blob.tolist() == expected.tolist()
