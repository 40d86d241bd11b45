"""Pooling kernels against the slow versions, and what ties, borders and zero sums do."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import oracle
import pytest
from builders import assert_close, blank, channels_first, channels_last, random_blob, window_of
from oracle import Geometry

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.pooling import (
    average_pool,
    average_pool_gradient,
    average_pool_redistribute,
    max_pool,
    max_pool_route,
)
from caffe_lrp.kernels.window import Window


@dataclass(frozen=True)
class Case:
    name: str
    geometry: Geometry
    size: tuple[int, int] = (11, 8)

    @property
    def window(self) -> Window:
        return window_of(self.geometry)

    @property
    def x(self) -> Blob:
        return random_blob((2, 19, *self.size), 4)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (2, 19, *oracle.pooled_size(self.size, self.geometry))

    @property
    def relevance(self) -> Blob:
        return random_blob(self.output_shape, 5)


CASES = [
    Case("rectangular", Geometry((3, 2), (2, 1))),
    Case("last windows hang over", Geometry((3, 4), (3, 5)), size=(10, 11)),
    Case("padded", Geometry((3, 4), (2, 3), (1, 2))),
    Case("padded and hanging over", Geometry((4, 3), (3, 2), (2, 1)), size=(7, 6)),
    Case("dropped last window", Geometry((2, 3), (3, 2), (1, 0)), size=(5, 8)),
    Case("gaps between windows", Geometry((2, 1), (3, 2)), size=(11, 9)),
    Case("whole image", Geometry((11, 8))),
    Case("one pixel", Geometry((1, 1))),
    Case("three by three", Geometry((3, 3), (1, 1), (1, 1)), size=(6, 7)),
    Case("three by three hanging over", Geometry((3, 3), (2, 2)), size=(8, 10)),
    Case("three by three with gaps", Geometry((3, 3), (4, 5), (1, 2)), size=(9, 12)),
    Case("three by three larger than the image", Geometry((3, 3), (1, 1), (1, 1)), size=(1, 2)),
    Case("two by two", Geometry((2, 2), (2, 2)), size=(6, 10)),
    Case("two by two padded and hanging over", Geometry((2, 2), (2, 1), (1, 1)), size=(5, 8)),
]


def pooled(pool: Callable[..., None], x: Blob, window: Window, output_shape: tuple[int, ...]) -> Blob:
    """What a forward kernel makes of all rows of ``x`` (N, C, H, W)."""
    out = channels_last(blank(output_shape))
    pool(0, out.shape[0] * out.shape[1], channels_last(x), window, out)
    return channels_first(out)


def averaging(geometry: Geometry, size: tuple[int, int]) -> Callable[..., None]:
    """`average_pool` over an image of ``size``, with Caffe's divisors."""
    areas = divisors(geometry, size)
    return lambda first, last, x, window, out: average_pool(first, last, x, window, areas, out)


def divisors(geometry: Geometry, size: tuple[int, int]) -> Blob:
    """What the sums over all windows of an image of ``size`` are divided by."""
    found = [window.divisor for window in oracle.pool_windows(size, geometry)]
    return np.array(found, np.float32).reshape(oracle.pooled_size(size, geometry))


def routed(x: Blob, relevance: Blob, window: Window) -> Blob:
    out = channels_last(blank(x.shape))
    max_pool_route(0, x.shape[1], channels_last(x), channels_last(relevance), window, out)
    return channels_first(out)


def shared(x: Blob, relevance: Blob, window: Window, add_activations: bool) -> Blob:
    out = channels_last(blank(x.shape))
    average_pool_redistribute(channels_last(x), channels_last(relevance), window, add_activations, out)
    return channels_first(out)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_max_pooling_equals_loops(case: Case) -> None:
    out = pooled(max_pool, case.x, case.window, case.output_shape)
    assert out.tolist() == oracle.max_pool(case.x, case.geometry).tolist()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_max_pooling_routes_to_the_winners(case: Case) -> None:
    assert_close(
        routed(case.x, case.relevance, case.window),
        oracle.max_pool_route(case.x, case.relevance, case.geometry),
        1e-6,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_max_pooling_routes_to_the_first_of_equal_winners(case: Case) -> None:
    x = np.round(case.x)
    assert_close(
        routed(x, case.relevance, case.window),
        oracle.max_pool_route(x, case.relevance, case.geometry),
        1e-6,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_average_pooling_equals_loops(case: Case) -> None:
    out = pooled(averaging(case.geometry, case.size), case.x, case.window, case.output_shape)
    assert_close(out, oracle.average_pool(case.x, case.geometry), 1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_average_pooling_gradient_equals_loops(case: Case) -> None:
    out = channels_last(blank(case.x.shape))
    areas = divisors(case.geometry, case.size)
    average_pool_gradient(channels_last(case.relevance), case.window, areas, out)
    expected = oracle.average_pool_gradient(case.relevance, case.size, case.geometry)
    assert_close(channels_first(out), expected, 1e-6)


@pytest.mark.parametrize("add_activations", [True, False])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_average_pooling_relevance_equals_loops(case: Case, add_activations: bool) -> None:
    x = case.x
    x[:, 1] = np.maximum(x[:, 1], 0)
    x[:, 2] = 0
    # Sums of more channels of either sign would be near 0 here and there, and quotients inexact.
    x[:, 3:] = np.abs(x[:, 3:])
    out = shared(x, case.relevance, case.window, add_activations)
    expected = oracle.average_pool_relevance(x, case.relevance, case.geometry, add_activations)
    assert_close(out, expected, 1e-4)


@pytest.mark.parametrize("is_average", [False, True], ids=["max", "average"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pooling_of_ranges_of_rows_makes_up_the_whole(is_average: bool, case: Case) -> None:
    pool = averaging(case.geometry, case.size) if is_average else max_pool
    out, x = channels_last(blank(case.output_shape)), channels_last(case.x)
    rows = out.shape[0] * out.shape[1]
    whole = pooled(pool, case.x, case.window, case.output_shape)
    for first in range(0, rows, 3):
        pool(first, min(first + 3, rows), x, case.window, out)
        assert np.isnan(out.reshape(rows, -1)[first + 3 :]).all()
    assert channels_first(out).tolist() == whole.tolist()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_routing_of_ranges_of_channels_makes_up_the_whole(case: Case) -> None:
    out, x, relevance = (
        channels_last(blank(case.x.shape)),
        channels_last(case.x),
        channels_last(case.relevance),
    )
    for first, last in ((0, 1), (1, 8), (8, 19)):
        max_pool_route(first, last, x, relevance, case.window, out)
        assert np.isnan(out[..., last:]).all()
    assert channels_first(out).tolist() == routed(case.x, case.relevance, case.window).tolist()


def route(plane: list[list[float]], relevance: list[list[float]], window: Window) -> list[list[float]]:
    """Three channels share the work; their relevance is once, twice and three times what is given."""
    x = np.array([[plane]], np.float32).repeat(3, axis=1)
    received = np.array([[relevance]], np.float32) * np.arange(1, 4, dtype=np.float32).reshape(1, 3, 1, 1)
    out = routed(x, received, window)
    assert out[0, 1].tolist() == (2 * out[0, 0]).tolist()
    assert out[0, 2].tolist() == (3 * out[0, 0]).tolist()
    found: list[list[float]] = out[0, 0].tolist()
    return found


def test_first_maximum_in_scan_order_wins_an_exact_tie() -> None:
    plane: list[list[float]] = [[1, 7, 7], [7, 7, 2]]
    assert route(plane, [[5]], Window(2, 3)) == [[0, 5, 0], [0, 0, 0]]


def test_upper_row_wins_over_a_column_further_left_in_a_tie() -> None:
    plane: list[list[float]] = [[1, 2, 7], [7, 3, 2]]
    assert route(plane, [[5]], Window(2, 3)) == [[0, 0, 5], [0, 0, 0]]


def test_a_flat_window_gives_everything_to_its_first_pixel_in_the_image() -> None:
    plane: list[list[float]] = [[4, 4], [4, 4], [4, 4]]
    found = route(plane, [[1, 2], [3, 4]], Window(2, 2, 2, 1, 1, 0))
    # Windows start at row −1 (clipped to 0) and row 1; columns at 0 and 1.
    assert found == [[1, 2], [3, 4], [0, 0]]


def test_an_element_larger_by_one_bit_wins_over_an_earlier_one() -> None:
    larger = float(np.nextafter(np.float32(3), np.float32(4)))
    assert route([[3, larger, 3]], [[5]], Window(1, 3)) == [[0, 5, 0]]


def test_windows_that_overlap_add_up_at_a_common_winner() -> None:
    plane: list[list[float]] = [[0, 9, 0, 1]]
    assert route(plane, [[1, 2, 4]], Window(1, 2)) == [[0, 3, 0, 4]]


@pytest.mark.parametrize("size", [3, 5])
def test_windows_add_up_in_scan_order(size: int) -> None:
    """In another order the small numbers would not be lost in the large ones, or others would."""
    x = np.zeros((1, 19, size, size), np.float32)
    x[:, :, size // 2, size // 2] = 1
    received = random_blob(x.shape, 9) * np.float32(10) ** random_blob(x.shape, 10)
    out = routed(x, received, Window(size, size, 1, 1, size // 2, size // 2))
    total = np.zeros(19, np.float32)
    for number in received.reshape(19, -1).T:
        total += number
    assert out[0, :, size // 2, size // 2].tolist() == total.tolist()


def test_largest_of_negative_numbers_wins_over_the_padding() -> None:
    x = np.array([[[[-5, -2, -3]]]], np.float32)
    out = pooled(max_pool, x, Window(1, 3, 1, 2, 0, 1), (1, 1, 1, 2))
    assert out.tolist() == [[[[-2, -2]]]]


def test_negative_only_windows_route_to_their_maximum() -> None:
    assert route([[-5, -2, -3]], [[1, 2]], Window(1, 3, 1, 2, 0, 1)) == [[0, 3, 0]]


def redistribute(plane: list[list[float]], received: float, add_activations: bool) -> list[float]:
    x = np.array([[plane]], np.float32)
    window = Window(x.shape[2], x.shape[3])
    relevance = np.full((1, 1, 1, 1), received, np.float32)
    shares: list[float] = shared(x, relevance, window, add_activations).reshape(-1).tolist()
    return shares


def test_average_pooling_shares_in_proportion_to_the_activations() -> None:
    assert redistribute([[1, 3, -2]], 10, True) == [5, 15, -10]


def test_a_window_that_sums_to_zero_gets_its_activations() -> None:
    assert redistribute([[1, -3, 2]], 10, True) == [1, -3, 2]


def test_a_window_that_sums_to_zero_shares_equally_when_corrected() -> None:
    assert redistribute([[1, -3, 2, 0]], 10, False) == [2.5, 2.5, 2.5, 2.5]


def test_sums_below_a_millionth_count_as_zero_and_others_do_not() -> None:
    assert redistribute([[9e-7, 0]], 8, False) == [4, 4]
    assert redistribute([[-9e-7, 0]], 8, False) == [4, 4]
    assert redistribute([[1.1e-6, 0]], 8, False) == [8, 0]
    assert redistribute([[-1.1e-6, 0]], 8, False) == [8, 0]
