"""Normalisation kernels against the slow versions."""

import numpy as np
import oracle
import pytest
from builders import assert_close, blank, random_blob
from oracle import Lrn

from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.normalization import lrn_apply, lrn_gradient, lrn_scale, lrn_taylor

COEFFICIENTS = [
    Lrn(5, 0.7, 0.75, 1.0),
    Lrn(3, 0.4, 1.25, 2.0),
    Lrn(1, 0.9, 0.5, 1.5),
    Lrn(15, 1.1, 0.75, 1.0),
]
NAMES = ["five neighbours", "three neighbours", "one channel alone", "more than all channels"]


@pytest.fixture
def x() -> Blob:
    return 2 * random_blob((2, 7, 4), 6)


@pytest.fixture
def relevance() -> Blob:
    return random_blob((2, 7, 4), 7)


def scale_of(x: Blob, lrn: Lrn) -> Blob:
    scale = blank(x.shape)
    lrn_scale(x, lrn.size, lrn.alpha, lrn.k, scale)
    return scale


@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_scale_is_k_plus_the_weighted_sum_of_squares(x: Blob, lrn: Lrn) -> None:
    assert_close(scale_of(x, lrn), oracle.lrn_scale(x, lrn), 1e-6)


@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_normalisation_equals_loops(x: Blob, lrn: Lrn) -> None:
    out = blank(x.shape)
    lrn_apply(x, scale_of(x, lrn), lrn.beta, out)
    assert_close(out, oracle.lrn_across(x, lrn), 1e-6)


@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_gradient_equals_central_differences(x: Blob, relevance: Blob, lrn: Lrn) -> None:
    out = blank(x.shape)
    lrn_gradient(x, scale_of(x, lrn), relevance, lrn.size, lrn.alpha, lrn.beta, out)
    expected = oracle.central_difference(lambda varied: oracle.lrn_across(varied, lrn), x, relevance)
    assert_close(out, expected, 2e-6)


@pytest.mark.parametrize("lrn", COEFFICIENTS, ids=NAMES)
def test_taylor_rule_equals_loops(x: Blob, relevance: Blob, lrn: Lrn) -> None:
    out = blank(x.shape)
    lrn_taylor(x, scale_of(x, lrn), relevance, lrn.size, lrn.alpha, lrn.beta, lrn.k, out)
    assert_close(out, oracle.lrn_taylor(x, relevance, lrn), 2e-6)


def test_taylor_rule_by_hand_on_two_channels() -> None:
    x = np.array([[[2], [1]]], np.float32)
    relevance = np.array([[[3], [5]]], np.float32)
    out = blank(x.shape)
    # n = 3, α = 3, β = 1, k = 1: s = 1 + 4 + 1 = 6 for both channels.
    lrn_taylor(x, np.full_like(x, 6), relevance, 3, 3.0, 1.0, 1.0, out)
    first = 2 / (1 + 4) * 3 - 2 * 4 * (1 / 36) * 1 * 5
    second = 1 / (1 + 1) * 5 - 2 * 1 * (1 / 36) * 2 * 3
    assert out.reshape(-1).tolist() == pytest.approx([first, second], rel=1e-6)
