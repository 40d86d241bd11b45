"""What enters and leaves products, row by row, and by hand."""

import numpy as np
import pytest
from builders import assert_close, blank, channels_first, channels_last, random_blob
from convolution_cases import SOURCES, chosen, make_input

from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.passes import (
    NO_BIAS,
    Source,
    add_sums,
    by_sign,
    choose_parts,
    copied,
    favouring_ratios,
    fill_rows,
    multiply_rows,
    ratio_to_positive,
    ratios_by_sign,
    stabilised_ratio,
)

ODD = [-3.0, -0.0, 0.0, 2.0]


def blob(values: list[float]) -> Blob:
    return np.array(values, np.float32)


def pixel(values: list[float]) -> Blob:
    return blob(values).reshape(1, 1, 1, -1)


def filled(source: Source, channels: int) -> list[float]:
    """The only pixel of a source."""
    out = blank((1, 1, channels))
    fill_rows(source, 0, 0, 0, out)
    numbers: list[float] = out.reshape(-1).tolist()
    return numbers


# --- Sources --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("top", "left", "rows", "columns"),
    [(0, 0, 4, 5), (-2, -3, 9, 11), (1, 2, 2, 2), (3, 4, 4, 3), (-5, 1, 3, 2), (9, 1, 2, 3), (1, -9, 2, 4),
     (1, 8, 2, 3), (-1, 0, 2, 5), (2, -1, 1, 2)],
)  # fmt: skip
def test_rows_are_filled_with_zeros_outside_the_image(
    kind: str, groups: int, top: int, left: int, rows: int, columns: int
) -> None:
    given = make_input(kind, 2, 6 * groups, groups, (4, 5))
    out = blank((rows, columns, 6 * groups))
    fill_rows(given.source, 1, top, left, out)
    expected = np.zeros(out.shape)
    for row, place in np.ndindex(rows, columns):
        if 0 <= top + row < 4 and 0 <= left + place < 5:
            expected[row, place] = given.expected[1, :, top + row, left + place]
    assert_close(out, expected, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("count", [1, LANES - 1, LANES, LANES + 1, 2 * LANES, 2 * LANES + 5])
@pytest.mark.parametrize("groups", [1, 2])
def test_rows_of_any_number_of_channels_are_filled(kind: str, count: int, groups: int) -> None:
    channels = groups * count * (2 if kind in {"by sign", "αβ", "γ"} else 1)
    given = make_input(kind, 2, channels, groups, (2, 3))
    out = blank((2, 3, channels))
    fill_rows(given.source, 1, 0, 0, out)
    assert_close(out, given.expected[1].transpose(1, 2, 0), 1e-6)


def test_signs_are_told_apart_and_zero_has_none() -> None:
    assert filled(by_sign(pixel(ODD), 1), 8) == [0, 0, 0, 2, -3, 0, 0, 0]
    assert filled(by_sign(pixel(ODD), 2), 8) == [0, 0, -3, 0, 0, 2, 0, 0]


def test_a_copy_is_a_copy() -> None:
    assert filled(copied(pixel(ODD)), 4) == ODD


def six_over(z: list[float], epsilon: float, undivided: bool) -> list[float]:
    """A relevance of 6 divided by every ``z``."""
    six = pixel([6.0] * len(z))
    source = stabilised_ratio(six, pixel(z), 1, epsilon, 1 if undivided else epsilon)
    return filled(source, len(z))


def test_stabiliser_has_the_sign_of_the_pre_activation() -> None:
    assert six_over([1.0, -1.0], 0.5, True) == [4, -4]


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_epsilon_leaves_relevance_undivided_where_z_is_zero(epsilon: float) -> None:
    assert six_over([0.0, -0.0], epsilon, True) == [6, 6]


def test_corrected_stabiliser_takes_the_sign_of_zero_as_positive() -> None:
    assert six_over([0.0, -0.0], 0.5, False) == [12, 12]


def test_corrected_stabiliser_of_zero_gives_zero_where_z_is_zero() -> None:
    assert six_over([0.0, -0.0, 2.0], 0.0, False) == [0, 0, 3]


def test_ratios_by_sign_divide_by_the_sums_with_bias() -> None:
    source = ratios_by_sign(
        pixel([6, 12]), pixel([2, 4, -1, -3]), 1, blob([1, 0]), blob([0, -2]), (1.5, -0.5)
    )
    expected = [1.5 * 6 / 3, 1.5 * 12 / 4, -0.5 * 6 / -1, -0.5 * 12 / -5]
    assert filled(source, 4) == pytest.approx(expected, rel=1e-6)


def test_ratios_to_positive_leave_the_negative_half_out() -> None:
    source = ratio_to_positive(pixel([6, 12]), pixel([2, 0, -1, -3]), 1, blob([1, 0]))
    assert filled(source, 2) == [2, 0]


def test_ratios_by_sign_skip_sums_of_zero() -> None:
    none = np.zeros(2, np.float32)
    source = ratios_by_sign(pixel([6, 12]), pixel([0, 4, -1, 0]), 1, none, none, (2, -1))
    assert filled(source, 4) == [0, 6, 6, 0]


def test_favouring_ratios_favour_products_of_the_sign_of_the_pre_activation() -> None:
    sums, p, n = pixel([4, 2, -2, -5]), blob([1, 0]), blob([0, -1])
    # z = 5 − 2 and z = 2 − 6; γ adds half of 5 and half of −6.
    expected = [1.5 * 11 / 5.5, 14 / -7, 11 / 5.5, 1.5 * 14 / -7]
    assert filled(favouring_ratios(pixel([11, 14]), sums, 1, p, n, 0.5), 4) == pytest.approx(
        expected, rel=1e-6
    )


def test_favouring_ratios_take_the_sign_of_zero_as_positive_and_skip_outputs_without_products() -> None:
    none = np.zeros(2, np.float32)
    source = favouring_ratios(pixel([6, 12]), pixel([4, 0, -4, 0]), 1, none, none, 0.5)
    assert filled(source, 4) == [1.5 * 6 / 2, 0, 6 / 2, 0]


# --- Sinks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_bias", [True, False])
def test_the_total_adds_both_sums_of_every_group_and_the_bias(has_bias: bool) -> None:
    sums, bias = random_blob((2, 3, 2 * 4 * 5), 1), random_blob((4 * 5,), 2)
    out = blank((2, 3, 4 * 5))
    add_sums(sums, bias if has_bias else NO_BIAS, 4, out)
    expected = sums.astype(np.float64).reshape(2, 3, 4, 2, 5).sum(axis=3).reshape(out.shape)
    assert_close(out, expected + (bias if has_bias else 0), 1e-6)


def test_rows_are_multiplied_in_place() -> None:
    factor, out = random_blob((2, 3, 5), 1), random_blob((2, 3, 5), 2)
    expected = (factor * out).tolist()
    multiply_rows(factor, out)
    assert out.tolist() == expected


@pytest.mark.parametrize("has_factor", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_the_sign_of_the_factor_chooses_between_two_parts(groups: int, has_factor: bool) -> None:
    products, factor = random_blob((4, groups * 2 * 7, 3, 5), 1), random_blob((4, groups * 7, 3, 5), 2)
    factor.reshape(-1)[::4] = 0
    out = channels_last(blank(factor.shape))
    for item in range(4):
        other = channels_last(factor)[item] if has_factor else out[item, :0]
        choose_parts(channels_last(products)[item], other, groups, out[item])
    expected = chosen(products, groups, factor if has_factor else None)
    assert_close(channels_first(out), expected, 1e-6)
