"""Resizing: filters, sizes and passes, against slow loops and literals."""

import math

import numpy as np
import oracle_imaging as oracle
import pytest
from builders import resize_to_base
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.imaging import pixels
from caffe_lrp.imaging.pixels import ColourModel, DecodedImage
from caffe_lrp.imaging.resize import choose_filter, resize, target_size
from caffe_lrp.kernels.resize import LANCZOS, MITCHELL, contributions, filter_value, reciprocal, to_sample

PLANES = {ColourModel.GRAY: 1, ColourModel.RGB: 3, ColourModel.RGBA: 4, ColourModel.CMYK: 4}


def noise(*shape: int) -> NDArray[np.uint16]:
    """Hard edges and extremes: half of the samples are 0 or 65535, so that passes have to clamp."""
    rng = np.random.default_rng(sum(shape))
    samples = rng.integers(0, 65536, shape).astype(np.uint16)
    return np.where(rng.random(shape) < 0.5, np.where(samples > 32767, 65535, 0), samples).astype(np.uint16)


def image(
    height: int, width: int, colours: ColourModel = ColourModel.RGB, *, mitchell: bool = False
) -> DecodedImage:
    return DecodedImage(noise(height, width, PLANES[colours]), colours, mitchell)


@pytest.mark.parametrize("colours", list(ColourModel))
@pytest.mark.parametrize("size", [(11, 30), (30, 11), (60, 70)])
def test_pixels_do_not_depend_on_the_strips_they_are_resized_in(
    monkeypatch: pytest.MonkeyPatch, colours: ColourModel, size: tuple[int, int]
) -> None:
    source = image(50, 61, colours)
    whole = resize(source, size)
    monkeypatch.setattr(pixels, "STRIP_PIXELS", 20 * 61)
    assert len(list(pixels.strips(50, 61))) > 1
    np.testing.assert_array_equal(resize(source, size), whole)


def test_parts_of_a_picture_are_those_of_the_whole() -> None:
    levels = noise(20, 30, 3).astype(np.uint8)
    loaded = pixels.loaded_eight_bits(Image.fromarray(levels), "RGB")
    assert loaded.shape == (20, 30, 3)
    np.testing.assert_array_equal(loaded[3:9, 5:30], levels[3:9, 5:30].astype(np.uint16) * 257)


@pytest.mark.parametrize("x", [0.0, 0.3, 0.999, 1.0, 1.5, 1.999, 2.0, 2.5])
def test_mitchell_has_its_published_values(x: float) -> None:
    assert filter_value(-x, MITCHELL) == pytest.approx(oracle.mitchell(x), abs=1e-15)


@pytest.mark.parametrize("x", [0.0, 0.25, 0.5, 1.2, 1.9, 2.75, 3.0])
def test_lanczos_is_a_sinc_windowed_by_a_sinc(x: float) -> None:
    assert filter_value(-x, LANCZOS) == pytest.approx(float(np.sinc(x) * np.sinc(x / 3)), abs=1e-7)


@pytest.mark.parametrize("x", [1.0, 2.0, 3.0])
def test_lanczos_is_exactly_zero_at_whole_numbers(x: float) -> None:
    assert filter_value(x, LANCZOS) == 0.0


@pytest.mark.parametrize(
    ("value", "sample"),
    [(-3.0, 0), (0.49, 0), (0.5, 1), (1.5, 2), (65534.5, 65535), (65534.4, 65534), (70000.0, 65535)],
)
def test_samples_are_clamped_and_rounded_half_up(value: float, sample: int) -> None:
    assert to_sample(value) == sample


def test_reciprocals_are_guarded_and_keep_their_sign() -> None:
    assert [reciprocal(4.0), reciprocal(-4.0), reciprocal(0.0), reciprocal(-1e-20)] == [
        0.25,
        -0.25,
        1e12,
        -1e12,
    ]


@pytest.mark.parametrize("filter_code", [MITCHELL, LANCZOS])
@pytest.mark.parametrize(("inputs", "outputs"), [(23, 7), (7, 23), (5, 1), (1, 4), (640, 255)])
def test_contributions_of_every_pixel_sum_to_one(inputs: int, outputs: int, filter_code: int) -> None:
    scale = max(inputs / outputs + 1e-12, 1.0)
    support = scale * (2.0 if filter_code == MITCHELL else 3.0)
    starts, counts = np.empty(outputs, np.int64), np.empty(outputs, np.int64)
    weights = np.zeros((outputs, int(2 * support) + 3))
    contributions(inputs, filter_code, scale, support, starts, counts, weights)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert (starts >= 0).all()
    assert (starts + counts <= inputs).all()


@pytest.mark.parametrize(
    ("height", "width", "base_size", "expected"),
    [
        (426, 640, 256, (170, 255)),
        (375, 500, 256, (192, 256)),
        (120, 180, 72, (48, 72)),
        (170, 110, 72, (72, 47)),
        (54, 200, 72, (19, 70)),
        (47, 61, 72, (55, 71)),
        (1, 1, 72, (72, 72)),
        (3000, 1, 72, (1, 1)),
        (5, 8, 4, (3, 4)),
        (256, 256, 256, (256, 256)),
    ],
)
def test_the_aspect_is_kept_inside_the_rounded_box(
    height: int, width: int, base_size: int, expected: tuple[int, int]
) -> None:
    assert target_size(height, width, base_size) == expected


@pytest.mark.parametrize(
    ("source", "size", "filter_code"),
    [
        (image(20, 30), (10, 15), LANCZOS),
        (image(20, 30), (40, 60), MITCHELL),
        (image(20, 30), (20, 29), LANCZOS),
        (image(20, 30, mitchell=True), (10, 15), MITCHELL),
        (image(20, 30, ColourModel.GRAY), (10, 15), LANCZOS),
    ],
)
def test_palettes_and_enlarging_take_mitchell_and_the_rest_lanczos(
    source: DecodedImage, size: tuple[int, int], filter_code: int
) -> None:
    assert choose_filter(source, *size) == filter_code


@pytest.mark.parametrize("mitchell", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "base_size"),
    [
        (23, 37, 11),  # smaller, horizontal factor larger
        (37, 23, 11),  # smaller, vertical factor larger
        (24, 36, 12),  # equal factors
        (9, 13, 29),  # larger
        (19, 351, 90),  # rows longer than one block of samples
        (1, 17, 5),
    ],
)
def test_rgb_equals_the_slow_loops(height: int, width: int, base_size: int, mitchell: bool) -> None:
    source = image(height, width, mitchell=mitchell)
    size = target_size(height, width, base_size)
    chosen = choose_filter(source, *size) == MITCHELL
    expected = oracle.resize(source.samples, *size, use_mitchell=chosen, has_alpha=False)
    np.testing.assert_array_equal(resize_to_base(source, base_size), expected)


def test_gray_is_resized_once_and_replicated() -> None:
    source = image(23, 37, ColourModel.GRAY)
    expected = oracle.resize(source.samples, *target_size(23, 37, 11), use_mitchell=False, has_alpha=False)
    np.testing.assert_array_equal(resize_to_base(source, 11), np.repeat(expected, 3, axis=2))


@pytest.mark.parametrize(("height", "width", "base_size"), [(23, 37, 11), (37, 23, 12), (9, 13, 29)])
def test_alpha_weights_the_colours_and_is_dropped(height: int, width: int, base_size: int) -> None:
    source = image(height, width, ColourModel.RGBA, mitchell=True)
    size = target_size(height, width, base_size)
    expected = oracle.resize(source.samples, *size, use_mitchell=True, has_alpha=True)
    difference = resize_to_base(source, base_size).astype(int) - expected[..., :3]
    assert np.abs(difference).max() <= 1  # products with 1/65535 and divisions by 65535 round differently


def test_wholly_transparent_pixels_do_not_colour_their_neighbours() -> None:
    samples = np.full((8, 12, 4), 65535, np.uint16)
    samples[:, :6] = (1000, 2000, 3000, 0)
    samples[:, 6:, :3] = (40000, 50000, 60000)
    resized = resize_to_base(DecodedImage(samples, ColourModel.RGBA, uses_mitchell=True), 6)
    np.testing.assert_array_equal(resized[:, 3:], np.broadcast_to((40000, 50000, 60000), (4, 3, 3)))


def test_inks_are_resized_first_and_mixed_afterwards() -> None:
    source = image(23, 37, ColourModel.CMYK)
    inks = oracle.resize(source.samples, *target_size(23, 37, 11), use_mitchell=False, has_alpha=False)
    light = 65535 - inks.astype(object)
    expected = [
        [[math.floor(int(c) * int(pixel[3]) / 65535 + 0.5) for c in pixel[:3]] for pixel in row]
        for row in light
    ]
    np.testing.assert_array_equal(resize_to_base(source, 11), expected)


def test_an_image_of_the_right_size_is_not_filtered() -> None:
    source = image(23, 37)
    np.testing.assert_array_equal(resize_to_base(source, 37), source.samples)


def test_alpha_of_an_image_of_the_right_size_is_just_dropped() -> None:
    source = image(23, 37, ColourModel.RGBA, mitchell=True)
    np.testing.assert_array_equal(resize_to_base(source, 37), source.samples[..., :3])


def test_one_pixel_becomes_an_image_of_that_colour() -> None:
    pixel = DecodedImage(np.array([[[1, 2000, 65535]]], np.uint16), ColourModel.RGB, uses_mitchell=False)
    np.testing.assert_array_equal(resize_to_base(pixel, 5), np.broadcast_to((1, 2000, 65535), (5, 5, 3)))
