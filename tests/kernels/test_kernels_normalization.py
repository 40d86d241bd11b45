"""Normalisation kernels against the slow versions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest
from builders import assert_close, blank, random_blob
from oracle import Lrn

from caffe_lrp.kernels._kernel import kernel
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.normalization import (
    lrn_apply,
    lrn_forward,
    lrn_gradient,
    lrn_taylor,
    negative_power,
)


@kernel
def power_of(base: Blob, exponent: float, out: Blob) -> None:
    negative_power(base, exponent, out)


COEFFICIENTS = [
    Lrn(5, 0.7, 0.75, 1.0),
    Lrn(3, 0.4, 1.25, 2.0),
    Lrn(1, 0.9, 0.5, 1.5),
    Lrn(15, 1.1, 0.75, 1.0),
]
NAMES = ["five neighbours", "three neighbours", "one channel alone", "fifteen neighbours"]


@pytest.fixture(params=[7, 37], ids=["few channels", "many channels"])
def x(request: pytest.FixtureRequest) -> Blob:
    return 2 * random_blob((2, request.param, 4), 6)


@pytest.fixture
def relevance(x: Blob) -> Blob:
    return random_blob(x.shape, 7)


def lines_of(x: Blob) -> Blob:
    """``x`` (N, C, P) as kernels take it: a line (C,) for every position."""
    return np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(-1, x.shape[1])


def blob_of(lines: Blob, shape: tuple[int, ...]) -> Blob:
    """The inverse of `lines_of`."""
    items, channels, positions = shape
    return np.ascontiguousarray(lines.reshape(items, positions, channels).transpose(0, 2, 1))


def by_lines(kernel: Callable[..., None], *arguments: Any) -> Blob:
    """What a kernel makes of blobs (N, C, P) and coefficients; the result in the shape of the first blob."""
    shape = arguments[0].shape
    given = [lines_of(value) if isinstance(value, np.ndarray) else value for value in arguments]
    out = blank(given[0].shape)
    kernel(*given, out)
    return blob_of(out, shape)


def lrn_numbers(lrn: Lrn) -> tuple[int, float, float, float]:
    """Coefficients in the order of the kernels."""
    return lrn.size, lrn.alpha, lrn.beta, lrn.k


@pytest.mark.parametrize("exponent", [0.75, 0.5, 1.0, 1.25, 0.75001])
def test_negative_power_equals_the_power(exponent: float) -> None:
    base = np.exp(random_blob((37,), 8) * 3)
    out = blank(base.shape)
    power_of(base, exponent, out)
    np.testing.assert_allclose(out, base.astype(np.float64) ** -exponent, rtol=2e-6)


def test_the_fast_power_is_exact_over_the_whole_range() -> None:
    base = np.geomspace(1e-36, 1e38, 100_003).astype(np.float32)
    out = blank(base.shape)
    power_of(base, 0.75, out)
    np.testing.assert_allclose(out, base.astype(np.float64) ** -0.75, rtol=2.4e-7)


@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_scale_is_k_plus_the_weighted_sum_of_squares(x: Blob, lrn: Lrn) -> None:
    # With an exponent of 1 upside down, activations are multiplied by the scale.
    out = by_lines(lrn_forward, x, lrn.size, lrn.alpha, -1.0, lrn.k)
    assert_close(out, x * oracle.lrn_scale(x, lrn), 1e-6)


@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_normalisation_equals_loops(x: Blob, lrn: Lrn) -> None:
    scale = oracle.lrn_scale(x, lrn).astype(np.float32)
    out = by_lines(lrn_apply, x, scale, lrn.beta)
    assert_close(out, oracle.lrn_across(x, lrn), 1e-6)


@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_normalisation_in_one_pass_equals_loops(x: Blob, lrn: Lrn) -> None:
    out = by_lines(lrn_forward, x, *lrn_numbers(lrn))
    assert_close(out, oracle.lrn_across(x, lrn), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_gradient_equals_central_differences(x: Blob, relevance: Blob, lrn: Lrn) -> None:
    out = by_lines(lrn_gradient, x, relevance, *lrn_numbers(lrn))
    expected = oracle.central_difference(lambda varied: oracle.lrn_across(varied, lrn), x, relevance)
    assert_close(out, expected, 2e-6)


@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_taylor_rule_equals_loops(x: Blob, relevance: Blob, lrn: Lrn) -> None:
    out = by_lines(lrn_taylor, x, relevance, *lrn_numbers(lrn))
    assert_close(out, oracle.lrn_taylor(x, relevance, lrn), 2e-6)


def test_taylor_rule_by_hand_on_two_channels() -> None:
    x = np.array([[[2], [1]]], np.float32)
    relevance = np.array([[[3], [5]]], np.float32)
    # n = 3, α = 3, β = 1, k = 1: s = 1 + 4 + 1 = 6 for both channels.
    out = by_lines(lrn_taylor, x, relevance, 3, 3.0, 1.0, 1.0)
    first = 2 / (1 + 4) * 3 - 2 * 4 * (1 / 36) * 1 * 5
    second = 1 / (1 + 1) * 5 - 2 * 1 * (1 / 36) * 2 * 3
    assert out.reshape(-1).tolist() == pytest.approx([first, second], rel=1e-6)
