"""Products one by one: sums longer than a chunk, channels that do not fill vectors, and NaN."""

import numpy as np
from builders import WORKSPACE, assert_close, random_blob

from caffe_lrp.compute.products import Products
from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels.products import _CHUNK
from caffe_lrp.kernels.window import Window

INPUTS, OUTPUTS = 2 * _CHUNK + 3, LANES + 5


def matrix_products() -> Products:
    weight = random_blob((OUTPUTS, INPUTS, 1, 1), 3)
    return Products.of(weight, 1, Window(1, 1), (INPUTS, 1, 1), (OUTPUTS, 1, 1), spreads=False)


def test_long_sums_by_sign_equal_those_in_double_precision() -> None:
    products, x, bias = matrix_products(), random_blob((2, INPUTS), 1), random_blob((OUTPUTS,), 2)
    matrix = products.backward_weight.reshape(OUTPUTS, INPUTS).astype(np.float64)
    single = matrix * x[:, np.newaxis] + bias[:, np.newaxis] / INPUTS
    positive, negative = products.signed_sums(x, bias, WORKSPACE)
    assert_close(positive.reshape(2, -1), np.maximum(single, 0).sum(axis=2), 1e-6)
    assert_close(negative.reshape(2, -1), np.minimum(single, 0).sum(axis=2), 1e-6)
    up, down = random_blob((2, OUTPUTS, 1, 1), 4), random_blob((2, OUTPUTS, 1, 1), 5)
    factor = np.where(single < 0, *(each.reshape(2, OUTPUTS, 1) for each in (down, up)))
    assert_close(products.adjoint(x, bias, up, down, WORKSPACE), (single * factor).sum(axis=1), 1e-6)


def test_what_is_not_a_number_is_found_in_a_sum() -> None:
    products, x = matrix_products(), random_blob((1, INPUTS), 1)
    x[0, 7] = np.nan
    positive, _ = products.signed_sums(x, np.zeros(OUTPUTS, np.float32), WORKSPACE)
    assert np.isnan(positive).all()
