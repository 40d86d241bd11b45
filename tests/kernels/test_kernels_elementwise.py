"""Element-wise kernels against the slow versions or by hand."""

import numpy as np
import oracle
import pytest
from builders import assert_close, blank, random_blob

from caffe_lrp.kernels import elementwise as kernels
from caffe_lrp.kernels.blobs import Blob

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


def test_guided_passes_positive_relevance_where_the_input_is_positive() -> None:
    out = blank((5,))
    kernels.positive_part_where_positive(blob([1, 1, -1, -1, 0]), blob([2, -2, 2, -2, 2]), out)
    assert out.tolist() == [2, 0, 0, 0, 0]


def test_guided_equals_loops(x: Blob, gradient: Blob) -> None:
    out = blank(x.shape)
    kernels.positive_part_where_positive(x, gradient, out)
    assert out.tolist() == oracle.guided(x, gradient).tolist()


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


def test_channel_norm_is_written_to_every_channel() -> None:
    gradient = random_blob((2, 3, 5), 16)
    out = blank(gradient.shape)
    kernels.channel_norm(gradient, out)
    assert_close(out, oracle.channel_l2(gradient), 1e-6)


def test_channel_norm_by_hand() -> None:
    out = blank((1, 3, 2))
    kernels.channel_norm(blob([2, 0, -3, 0, 6, -1]).reshape(1, 3, 2), out)
    assert out.tolist() == [[[7, 1], [7, 1], [7, 1]]]
