"""Element-wise kernels against the slow versions or by hand."""

import numpy as np
import oracle
import pytest
from builders import assert_close, blank, random_blob

from caffe_lrp.kernels import elementwise as kernels
from caffe_lrp.kernels.gemm import Blob

ODD = [-3.0, -0.0, 0.0, 2.0]


def blob(values: list[float]) -> Blob:
    return np.array(values, np.float32)


@pytest.fixture
def x() -> Blob:
    return np.concatenate([random_blob((53,), 8), blob(ODD)])


@pytest.fixture
def gradient() -> Blob:
    return random_blob((57,), 9)


@pytest.mark.parametrize("slope", [0.0, 0.1, 1.5])
def test_leaky_relu_equals_loops(x: Blob, slope: float) -> None:
    out = blank(x.shape)
    kernels.leaky_relu(x, slope, out)
    assert_close(out, oracle.relu(x, slope), 1e-6)


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_leaky_relu_gradient_equals_loops(x: Blob, gradient: Blob, slope: float) -> None:
    out = blank(x.shape)
    kernels.leaky_relu_gradient(x, gradient, slope, out)
    assert_close(out, oracle.relu_gradient(x, gradient, slope), 1e-6)


def test_gradient_of_relu_at_zero_is_zero() -> None:
    out = blank((2,))
    kernels.leaky_relu_gradient(blob([0.0, -0.0]), blob([5, 5]), 0.0, out)
    assert out.tolist() == [0, 0]


def test_positive_part_drops_negative_numbers() -> None:
    out = blank((4,))
    kernels.positive_part(blob(ODD), out)
    assert out.tolist() == [0, 0, 0, 2]


def test_negative_part_drops_positive_numbers() -> None:
    out = blank((4,))
    kernels.negative_part(blob(ODD), out)
    assert out.tolist() == [-3, 0, 0, 0]


def test_negative_zero_does_not_count_as_negative() -> None:
    assert not kernels.has_negative(blob([0.0, -0.0, 1.0]))


def test_a_single_negative_number_at_the_end_is_found() -> None:
    assert kernels.has_negative(blob([0.0, 1.0, -1e-38]))


def test_guided_passes_positive_relevance_where_the_input_is_positive() -> None:
    out = blank((5,))
    kernels.guided(blob([1, 1, -1, -1, 0]), blob([2, -2, 2, -2, 2]), out)
    assert out.tolist() == [2, 0, 0, 0, 0]


def test_guided_equals_loops(x: Blob, gradient: Blob) -> None:
    out = blank(x.shape)
    kernels.guided(x, gradient, out)
    assert out.tolist() == oracle.guided(x, gradient).tolist()


def test_multiply_may_write_over_an_operand() -> None:
    factor = blob([2, 3, -4])
    kernels.multiply(blob([5, -7, 0.5]), factor, factor)
    assert factor.tolist() == [10, -21, -2]


def test_sigmoid_equals_the_logistic_function(x: Blob) -> None:
    out = blank(x.shape)
    kernels.sigmoid(x, out)
    assert_close(out, oracle.sigmoid(x), 1e-6)


def test_sigmoid_does_not_overflow() -> None:
    out = blank((2,))
    kernels.sigmoid(blob([-1000, 1000]), out)
    assert out.tolist() == [0, 1]


def test_sigmoid_gradient_is_taken_from_the_output() -> None:
    out = blank((2,))
    kernels.sigmoid_gradient(blob([0.25, 0.5]), blob([8, -4]), out)
    assert out.tolist() == [1.5, -1]


def test_tanh_equals_the_hyperbolic_tangent(x: Blob) -> None:
    out = blank(x.shape)
    kernels.tanh(x, out)
    assert_close(out, np.tanh(x.astype(np.float64)), 1e-6)


def test_tanh_gradient_is_taken_from_the_output() -> None:
    out = blank((2,))
    kernels.tanh_gradient(blob([0.5, -0.5]), blob([4, -8]), out)
    assert out.tolist() == [3, -6]


def test_absolute_value_drops_the_sign() -> None:
    out = blank((4,))
    kernels.absolute(blob(ODD), out)
    assert out.tolist() == [3, 0, 0, 2]


def test_gradient_of_the_absolute_value_is_the_sign() -> None:
    out = blank((4,))
    kernels.absolute_gradient(blob(ODD), blob([5, 5, 5, 5]), out)
    assert out.tolist() == [-5, 0, 0, 5]


def test_softmax_works_over_the_middle_axis() -> None:
    x = 3 * random_blob((2, 5, 3), 10)
    out = blank(x.shape)
    kernels.softmax(x, out)
    assert_close(out, oracle.softmax(x), 1e-6)


def test_softmax_does_not_overflow() -> None:
    out = blank((1, 3, 1))
    kernels.softmax(blob([1000, 1000, -1000]).reshape(1, 3, 1), out)
    assert out.reshape(-1).tolist() == [0.5, 0.5, 0]


def test_softmax_gradient_is_that_of_its_jacobian() -> None:
    x, gradient = random_blob((2, 5, 3), 11), random_blob((2, 5, 3), 12)
    out = blank(x.shape)
    kernels.softmax_gradient(oracle.softmax(x).astype(np.float32), gradient, out)
    assert_close(out, oracle.softmax_gradient(x, gradient), 1e-6)


def test_oracle_of_the_softmax_gradient_agrees_with_central_differences() -> None:
    x, gradient = random_blob((2, 5, 3), 11), random_blob((2, 5, 3), 12)
    expected = oracle.central_difference(oracle.softmax, x, gradient)
    np.testing.assert_allclose(oracle.softmax_gradient(x, gradient), expected, atol=1e-8)


def epsilon_quotient(z: list[float], epsilon: float, undivided: bool) -> list[float]:
    out = blank((len(z),))
    kernels.epsilon_quotient(np.full(len(z), 6, np.float32), blob(z), epsilon, undivided, out)
    quotients: list[float] = out.tolist()
    return quotients


def test_stabiliser_has_the_sign_of_the_pre_activation() -> None:
    assert epsilon_quotient([1.0, -1.0], 0.5, True) == [4, -4]


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_epsilon_leaves_relevance_undivided_where_z_is_zero(epsilon: float) -> None:
    assert epsilon_quotient([0.0, -0.0], epsilon, True) == [6, 6]


def test_corrected_stabiliser_takes_the_sign_of_zero_as_positive() -> None:
    assert epsilon_quotient([0.0, -0.0], 0.5, False) == [12, 12]


def test_corrected_stabiliser_of_zero_gives_zero_where_z_is_zero() -> None:
    assert epsilon_quotient([0.0, -0.0, 2.0], 0.0, False) == [0, 0, 3]


def test_alpha_beta_quotients_divide_by_the_sums_with_bias() -> None:
    relevance = blob([6, 12]).reshape(1, 1, 1, 2)
    sums = blob([2, 4, -1, -3]).reshape(1, 1, 2, 1, 2)
    bias_positive, bias_negative = blob([1]).reshape(1, 1), blob([-2]).reshape(1, 1)
    kernels.alpha_beta_quotients(relevance, bias_positive, bias_negative, 0.5, sums)
    positive = [1.5 * 6 / 3, 1.5 * 12 / 5]
    negative = [-0.5 * 6 / -3, -0.5 * 12 / -5]
    assert sums.reshape(-1).tolist() == pytest.approx(positive + negative, rel=1e-6)


def test_alpha_beta_quotients_skip_sums_of_zero() -> None:
    relevance = blob([6, 12]).reshape(1, 1, 1, 2)
    sums = blob([0, 4, -1, 0]).reshape(1, 1, 2, 1, 2)
    none = np.zeros((1, 1), np.float32)
    kernels.alpha_beta_quotients(relevance, none, none, 1.0, sums)
    assert sums.reshape(-1).tolist() == [0, 6, 6, 0]


def test_alpha_beta_quotients_of_every_item_group_and_output_use_their_own_bias() -> None:
    relevance = random_blob((2, 3, 4, 5), 13)
    bias = random_blob((3, 4), 14)
    p, n = np.maximum(bias, 0), np.minimum(bias, 0)
    sums = random_blob((2, 3, 2, 4, 5), 15)
    sums[:, :, 0], sums[:, :, 1] = np.abs(sums[:, :, 0]), -np.abs(sums[:, :, 1])
    expected = np.zeros(sums.shape)
    for item, g, o, i in np.ndindex(*relevance.shape):
        received = float(relevance[item, g, o, i])
        expected[item, g, 0, o, i] = 3 * received / (float(sums[item, g, 0, o, i]) + float(p[g, o]))
        expected[item, g, 1, o, i] = -2 * received / (float(sums[item, g, 1, o, i]) + float(n[g, o]))
    kernels.alpha_beta_quotients(relevance, p, n, 2.0, sums)
    assert_close(sums, expected, 1e-6)


def test_factor_is_chosen_by_sign_and_zero_stays_zero() -> None:
    out = blank((4,))
    kernels.by_sign(blob(ODD), blob([1, 2, 3, 4]), blob([10, 20, 30, 40]), out)
    assert out.tolist() == [-30, 0, 0, 8]


def test_channel_norm_is_written_to_every_channel() -> None:
    gradient = random_blob((2, 3, 5), 16)
    out = blank(gradient.shape)
    kernels.channel_norm(gradient, out)
    assert_close(out, oracle.channel_l2(gradient), 1e-6)


def test_channel_norm_by_hand() -> None:
    out = blank((1, 3, 2))
    kernels.channel_norm(blob([2, 0, -3, 0, 6, -1]).reshape(1, 3, 2), out)
    assert out.tolist() == [[[7, 1], [7, 1], [7, 1]]]
