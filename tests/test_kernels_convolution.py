"""Convolution kernels and matrix products against the slow versions."""

from dataclasses import dataclass

import numpy as np
import oracle
import pytest
from builders import assert_close, blank, random_blob, window_of
from oracle import Geometry

from caffe_lrp.kernels import convolution
from caffe_lrp.kernels.convolution import Precision, col2im, convolve, convolve_adjoint, im2col
from caffe_lrp.kernels.elementwise import add_bias
from caffe_lrp.kernels.gemm import Blob, product
from caffe_lrp.kernels.window import Window


@dataclass(frozen=True)
class Case:
    name: str
    channels: int
    outputs: int
    groups: int
    geometry: Geometry
    size: tuple[int, int] = (11, 8)
    items: int = 2

    @property
    def image(self) -> Blob:
        return random_blob((self.items, self.channels, *self.size), 1)

    @property
    def weight(self) -> Blob:
        return random_blob((self.outputs, self.channels // self.groups, *self.geometry.kernel), 2)

    @property
    def edges(self) -> oracle.Edges:
        return oracle.convolution_edges(
            (self.channels, *self.size), self.weight.shape, self.geometry, self.groups
        )

    @property
    def relevance(self) -> Blob:
        return random_blob((self.items, *self.edges.output_shape), 3)

    def convolved(self, precision: Precision = np.float32) -> Blob:
        out = blank((self.items, *self.edges.output_shape))
        convolve(self.image, self.weight, self.groups, window_of(self.geometry), precision, out)
        return out

    def adjoint(self) -> Blob:
        out = blank(self.image.shape)
        convolve_adjoint(self.relevance, self.weight, self.groups, window_of(self.geometry), out)
        return out


RECTANGULAR = Geometry((3, 2), (2, 3), (1, 0))
BLOCKED = Case("blocked", 3, 5, 1, Geometry((3, 2), (1, 2), (2, 1)))
CASES = [
    Case("rectangular", 3, 5, 1, RECTANGULAR),
    Case("stride one across", 3, 4, 1, Geometry((2, 4), (3, 1), (0, 2))),
    Case("three groups", 6, 9, 3, Geometry((2, 3), (1, 2), (0, 1))),
    Case("one output a group", 4, 4, 4, Geometry((3, 2), (2, 1), (1, 0))),
    Case("dilated", 3, 4, 1, Geometry((3, 2), (2, 1), (3, 1), (2, 3))),
    Case("dilated groups", 4, 6, 2, Geometry((2, 3), (1, 2), (0, 2), (3, 2))),
    Case("taps that lie in the padding only", 3, 4, 1, Geometry((2, 1), (2, 3), (1, 5)), size=(7, 4)),
    Case("kernel as large as the input", 3, 4, 1, Geometry((11, 8))),
    Case("pointwise", 6, 4, 2, Geometry((1, 1))),
    Case("one pixel kernel with stride", 3, 4, 1, Geometry((1, 1), (2, 3))),
    Case("one pixel kernel with padding", 3, 4, 1, Geometry((1, 1), (1, 1), (1, 0))),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_convolution_equals_loops(case: Case) -> None:
    expected = oracle.linear(case.image, case.weight, None, case.edges)
    assert_close(case.convolved(), expected, 2e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_convolution_in_float64_is_rounded_once(case: Case) -> None:
    expected = oracle.linear(case.image, case.weight, None, case.edges).astype(np.float32)
    np.testing.assert_array_max_ulp(case.convolved(np.float64), expected, maxulp=1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_adjoint_equals_loops(case: Case) -> None:
    expected = oracle.adjoint(case.relevance, case.weight, case.edges)
    assert_close(case.adjoint(), expected, 2e-6)


def test_only_a_window_of_one_pixel_on_every_pixel_is_pointwise() -> None:
    assert Window(1, 1).is_pointwise
    assert Window(1, 1, dilation_h=2, dilation_w=3).is_pointwise
    others = [Window(1, 2), Window(2, 1), Window(1, 1, 2, 1), Window(1, 1, 1, 2), Window(1, 1, pad_w=1)]
    assert not any(window.is_pointwise for window in others)


# An output row of BLOCKED takes 3 channels · 6 taps · 5 columns = 90 elements; it has 13 rows.
@pytest.mark.parametrize("limit", [1, 90, 4 * 90 + 7, 13 * 90], ids=["below a row", "1", "4", "all"])
def test_convolution_in_row_blocks_equals_loops(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "BLOCK_ELEMENTS", limit)
    expected = oracle.linear(BLOCKED.image, BLOCKED.weight, None, BLOCKED.edges)
    assert expected.shape == (2, 5, 13, 5)
    assert_close(BLOCKED.convolved(), expected, 2e-6)


@pytest.mark.parametrize("limit", [1, 90, 4 * 90 + 7, 13 * 90], ids=["below a row", "1", "4", "all"])
def test_adjoint_in_row_blocks_equals_loops(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "BLOCK_ELEMENTS", limit)
    expected = oracle.adjoint(BLOCKED.relevance, BLOCKED.weight, BLOCKED.edges)
    assert_close(BLOCKED.adjoint(), expected, 2e-6)


def test_grouped_convolution_in_row_blocks_equals_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[2]
    monkeypatch.setattr(convolution, "BLOCK_ELEMENTS", 3 * 6 * 6 * case.edges.output_shape[2])
    assert_close(case.convolved(), oracle.linear(case.image, case.weight, None, case.edges), 2e-6)


def test_row_blocks_stay_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watch(image: Blob, window: Window, first_row: int, columns: Blob) -> None:
        seen.append((first_row, columns.size))
        im2col(image, window, first_row, columns)

    monkeypatch.setattr(convolution, "BLOCK_ELEMENTS", 4 * 90 + 7)
    monkeypatch.setattr(convolution, "im2col", watch)
    BLOCKED.convolved()
    assert sorted(set(seen)) == [(0, 360), (4, 360), (8, 360), (12, 90)]


def test_unfolding_orders_rows_by_channel_then_kernel_row_then_kernel_column() -> None:
    image = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    columns = blank((4, 2, 2))
    im2col(image, Window(1, 2, pad_w=1, dilation_w=2), 0, columns)
    expected = [
        [[0, 0], [0, 2]],
        [[1, 0], [3, 0]],
        [[0, 4], [0, 6]],
        [[5, 0], [7, 0]],
    ]
    # Two taps two apart over a padded width of 4: columns start at −1 and 0.
    assert columns.tolist() == expected


def test_unfolding_starts_at_the_given_output_row() -> None:
    image = np.arange(15, dtype=np.float32).reshape(1, 5, 3)
    columns = blank((2, 1, 2))
    im2col(image, Window(2, 1, 2, 2), 1, columns)
    assert columns.tolist() == [[[6, 8]], [[9, 11]]]


def test_folding_adds_onto_what_is_there_and_drops_the_padding() -> None:
    image = np.full((1, 1, 3), 10, np.float32)
    columns = np.array([[[1, 2, 3, 4]], [[5, 6, 7, 8]]], np.float32)
    col2im(columns, Window(1, 2, pad_w=1), 0, image)
    assert image.tolist() == [[[10 + 5 + 2, 10 + 6 + 3, 10 + 7 + 4]]]


def test_bias_is_added_per_channel() -> None:
    blob = np.zeros((2, 3, 4), np.float32)
    add_bias(blob, np.array([1, -2, 3], np.float32))
    assert blob.tolist() == [[[1] * 4, [-2] * 4, [3] * 4]] * 2


def test_product_multiplies_stacks_of_transposed_matrices() -> None:
    left, right = random_blob((2, 5, 3), 1).transpose(0, 2, 1), random_blob((2, 5, 4), 2)
    expected = np.zeros((2, 3, 4))
    for g, m, p, k in np.ndindex(2, 3, 4, 5):
        expected[g, m, p] += float(left[g, m, k]) * float(right[g, k, p])
    assert_close(product(left, right), expected, 2e-6)


def test_product_keeps_float64() -> None:
    result = product(np.array([[1.0, 1e-12]]), np.array([[1.0], [1.0]]))
    assert result.tolist() == [[1.0 + 1e-12]]
