"""The worked numbers of the toolbox's modules, in float64; what its faults become, and how they come back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caffe_lrp.errors import UsageError
from caffe_lrp.toolbox.modules import (
    Convolution,
    Elu,
    Flatten,
    LeakyRect,
    Linear,
    MaxPool,
    Module,
    Rect,
    Sequential,
    Sigmoid,
    SoftMax,
    SumPool,
    Tanh,
)
from caffe_lrp.toolbox.quirks import ALL_QUIRKS

Array = Any


def near(found: Array, wanted: Array, by: float = 1e-8) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted, np.float64), rtol=by, atol=by)


def linear() -> Linear:
    module = Linear(3, 2)
    module.W, module.B = np.array([[1.0, -1], [2, 0.5], [-1, 3]]), np.array([0.5, -1])
    return module


def convolution() -> Convolution:
    module = Convolution((2, 2, 1, 2), (1, 1))
    module.W, module.B = np.arange(-3.0, 5).reshape(2, 2, 1, 2), np.array([0.0, 1])
    return module


LINEAR_X = np.array([[1.0, 2, -1]])
MAP_X = np.array([[1.0, 2, 0], [0, -1, 3], [2, 1, 1]]).reshape(1, 3, 3, 1)


@pytest.mark.parametrize("is_aware", [False, True])
@pytest.mark.parametrize(
    ("rule", "param", "wanted"),
    [
        (None, None, [0, 5, -2]),
        ("Epsilon", 0.5, [0.03968254, 4.6031746, -1.73809524]),
        ("eps", 0.01, [0.00095767, 4.99136184, -1.9940548]),
        ("alpha", 2, [2.8, 0, 4.4]),
        ("alphabeta", 1, [1, 0, 1]),
        ("alpha", 0, [-0.8, 0, -2.4]),
        ("alphabeta", 0.5, [0.1, 0, -0.7]),
        ("flat", None, [2.5 / 3] * 3),
        ("w^2", None, [0.69308943, 4.23577236, -2.42886179]),
        ("slow", None, [0, 5, -2]),
        ("epsilon_slow", 0.5, [0.03968254, 4.6031746, -1.73809524]),
        ("alpha_slow", 1, [1, 0, 1]),
    ],
)
def test_linear_has_the_worked_numbers(rule: str | None, param: Any, wanted: Array, is_aware: bool) -> None:
    module = linear()
    y = module.forward(LINEAR_X, lrp_aware=is_aware)
    near(y, [[6.5, -4]])
    near(module.lrp(y, rule, param), [wanted])


@pytest.mark.parametrize("is_aware", [False, True])
@pytest.mark.parametrize(
    ("rule", "param", "wanted"),
    [
        ("simple", None, [0, -10, 0, 0, 3, 18, 6, 10, 7]),
        ("epsilon", 1, [0, -7.5, 0, 0, 2.64047619, 14.1, 5.31428571, 8.77142857, 6]),
        ("alpha", 2, [0, -6.38095238, 0, 0, 6.80952381, 12.92307692, 12, 19.14285714, 11.42857143]),
        ("alpha", 0, [0, 6.38095238, 0, 0, 2.61904762, 4, 0, 0, 0]),
        ("flat", None, [0, 2.25, 2.25, 3.75, 9.25, 5.5, 3.75, 7, 3.25]),
        ("ww", None, [0, 2.06666667, 0.1, 4.2, 4.86666667, 5.76666667, 1.8, 10.4, 7.8]),
        ("simple_slow", None, [0, -10, 0, 0, 3, 18, 6, 10, 7]),
        ("alphabeta_slow", 0, [0, 6.38095238, 0, 0, 2.61904762, 4, 0, 0, 0]),
    ],
)
def test_convolution_has_the_worked_numbers(rule: str, param: Any, wanted: Array, is_aware: bool) -> None:
    module = convolution()
    y = module.forward(MAP_X, lrp_aware=is_aware)
    near(y[..., 0].ravel(), [-8, 2, 6, 4])
    near(y[..., 1].ravel(), [-5, 7, 9, 9])
    near(module.lrp(np.maximum(y, 0), rule, param).ravel(), wanted)


POOLED_X = np.array([[1.0, 2, -1, 0], [3, 0, 1, 0]]).reshape(1, 2, 4, 1)


@pytest.mark.parametrize(
    ("rule", "param", "wanted"),
    [
        ("simple", None, [0.5, 1, -1e12, 0, 1.5, 0, 1e12, 0]),
        ("epsilon", 1, [0.42857143, 0.85714286, -1, 0, 1.28571429, 0, 1, 0]),
        ("alpha", 2, [1, 2, -1, 0, 3, 0, 2, 0]),
        ("alpha", 1, [0.5, 1, 0, 0, 1.5, 0, 1, 0]),
        ("alpha", 0, [0, 0, 1, 0, 0, 0, 0, 0]),
        ("flat", None, [0.75, 0.75, 0.25, 0.25] * 2),
        ("ww", None, [0.75, 0.75, 0.25, 0.25] * 2),
    ],
)
def test_sum_pool_has_the_worked_numbers(rule: str, param: Any, wanted: Array) -> None:
    module = SumPool()
    near(module.forward(POOLED_X).ravel(), [3, 0])
    relevance = np.array([3.0, 1]).reshape(1, 1, 2, 1)
    near(module.lrp(relevance, rule, param).ravel(), wanted)
    near(module.backward(relevance).ravel(), [1.5, 1.5, 0.5, 0.5] * 2)


@pytest.mark.parametrize(("quirks", "negative"), [({}, -3), ({"quirks": ALL_QUIRKS}, -9)])
def test_sum_pool_counts_relevance_twice_only_if_that_is_asked_for(quirks: Any, negative: float) -> None:
    module = SumPool(**quirks)
    module.forward(np.array([2.0, -1, 0, 1]).reshape(1, 2, 2, 1))
    relevance = np.full((1, 1, 1, 1), 3.0)
    near(module.lrp(relevance, "alphabeta", 2).ravel(), [4, negative, 0, 2])
    near(module.lrp(relevance, "alphabeta_slow", 2).ravel(), [4, -3, 0, 2])


def test_max_pool_shares_relevance_among_equal_maxima() -> None:
    module = MaxPool()
    y = module.forward(np.array([[1.0, 2, -1, 0], [2, 0, -1, 0]]).reshape(1, 2, 4, 1))
    near(y.ravel(), [2, 0])
    relevance = np.array([3.0, 1]).reshape(1, 1, 2, 1)
    for rule in ("simple", "epsilon", "alpha", "epsilon_slow"):
        near(module.lrp(relevance, rule, 1).ravel(), [0, 1.5, 0, 0.5, 1.5, 0, 0, 0.5])
    near(module.lrp(relevance, "flat").ravel(), [0.75, 0.75, 0.25, 0.25] * 2)
    near(module.backward(relevance).ravel(), [0, 3, 0, 1, 3, 0, 0, 1])


def test_layers_without_parameters_pass_relevance() -> None:
    x = np.array([[1.0, 2, 3]])
    for module in (Rect(), Tanh(), SoftMax(), Sigmoid(), Elu(), LeakyRect()):
        module.forward(x)
        assert module.lrp(x, "alpha", 2) is x
    near(SoftMax().forward(x), [[0.09003057, 0.24472847, 0.66524096]])
    flatten = Flatten()
    assert flatten.forward(MAP_X).shape == (1, 9)
    assert flatten.lrp(np.ones((1, 9)), "ww").shape == MAP_X.shape


def test_softmax_overflows_only_if_that_is_asked_for() -> None:
    large = np.array([[1000.0, 0]])
    near(SoftMax().forward(large), [[1, 0]])
    assert np.isnan(SoftMax(ALL_QUIRKS).forward(large)[0, 0])


def test_without_input_relevance_is_zero_but_by_the_slow_rule_not_a_number() -> None:
    module = linear()
    module.B[:] = 0
    module.forward(np.zeros((1, 3)))
    ones = np.ones((1, 2))
    for rule in ("simple", "alphabeta"):
        near(module.lrp(ones, rule, 2), np.zeros((1, 3)))
    assert np.isnan(module.lrp(ones, "alphabeta_slow", 2)).all()


def test_linear_trains_as_the_toolbox_does() -> None:
    module = linear()
    module.forward(LINEAR_X)
    near(module.backward(np.array([[1.0, -2]])), [[3.67423461, 1.22474487, -8.5732141]])
    near(module.dW, [[1, -2], [2, -4], [-1, 2]])
    near(module.dB, [1, -2])
    module.update(0.1)
    near(module.W, [[0.94226497, -0.88452995], [1.88452995, 0.73094011], [-0.94226497, 2.88452995]])
    near(module.B, [0.41591036, -0.83182072])


def test_convolution_trains_as_the_toolbox_does() -> None:
    module = Convolution((2, 2, 1, 1), (1, 1))
    module.W = np.eye(2).reshape(2, 2, 1, 1)
    near(module.forward(np.arange(9.0).reshape(1, 3, 3, 1)).ravel(), [4, 6, 10, 12])
    near(module.backward(np.ones((1, 2, 2, 1))).ravel(), [1, 1, 0, 1, 2, 1, 0, 1, 1])
    module.update(0.1)
    near(module.W.ravel(), [0.8, -0.3, -0.5, 0.4])
    near(module.B, [-0.2])


GRADIENTS: list[tuple[Callable[[], Module], tuple[int, ...]]] = [
    (lambda: Linear(3, 2), (4, 3)),
    (lambda: Convolution((2, 3, 2, 4), (2, 1)), (2, 5, 4, 2)),
    (lambda: SumPool((2, 3), (1, 2)), (2, 4, 5, 3)),
    (lambda: MaxPool((3, 2), (2, 1)), (2, 5, 4, 3)),
    (Tanh, (3, 4)),
    (Sigmoid, (3, 4)),
    (lambda: Elu(0.7), (3, 4)),
    (LeakyRect, (3, 4)),
    (SoftMax, (3, 4)),
]


@pytest.mark.parametrize(("make", "shape"), GRADIENTS)
def test_gradients_are_those_of_finite_differences(
    make: Callable[[], Module], shape: tuple[int, ...]
) -> None:
    random = np.random.default_rng(3)
    module, x = make(), random.normal(size=shape)
    wanted = random.normal(size=module.forward(x).shape)
    found = module.gradient(wanted)
    step = random.normal(size=shape)
    ends = [float((module.forward(x + h * step) * wanted).sum()) for h in (1e-6, -1e-6)]
    near((ends[0] - ends[1]) / 2e-6, (found * step).sum(), 1e-6)


def test_a_preset_is_used_only_if_nothing_is_given() -> None:
    net = Sequential([linear(), Rect()])
    net.set_lrp_parameters("alpha", 1.0)
    net.modules[0].set_lrp_parameters("ww")
    y = net.forward(LINEAR_X)
    near(net.lrp(np.array([[6.5, -4]])), [[0.69308943, 4.23577236, -2.42886179]])
    near(net.lrp(y, None, 0.1), net.lrp(y, "simple"))


def test_products_are_forgotten_with_the_pass() -> None:
    net = Sequential([convolution()])
    net.forward(MAP_X, lrp_aware=True)
    assert net.modules[0].Z.size == 4 * 4 * 2  # type: ignore[attr-defined]
    net.clean()
    with pytest.raises(UsageError, match="needs a forward pass before it"):
        net.lrp(np.ones((1, 2, 2, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.lrp(np.ones((1, 2)), "epsilom", 1), "lrp variant epsilom; did you mean 'epsilon'"),
        (
            lambda m: m.lrp(np.ones((1, 2)), "alpha"),
            r"alpha needs its parameter, such as lrp\(R, 'alpha', 1.0",
        ),
        (lambda m: m.forward(np.ones((1, 4))), r"Linear\(3, 2\) got an input of shape \(1, 4\)"),
        (lambda _: MaxPool().forward(np.ones((2, 2))), "is not a batch of maps"),
        (lambda _: MaxPool().forward(np.ones((1, 1, 5, 1))), "maps of 1×5 are smaller than a window"),
        (lambda _: Convolution((2, 2, 3, 1)).forward(np.ones((1, 4, 4, 1))), "3 input channels got maps"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call: Callable[[Linear], Any], message: str) -> None:
    module = linear()
    module.forward(LINEAR_X)
    with pytest.raises(UsageError, match=message):
        call(module)


def test_the_last_softmax_is_dropped_and_that_is_said() -> None:
    said: list[str] = []
    net = Sequential([linear(), SoftMax()], report=said.append)
    net.drop_softmax_output_layer()
    net.drop_softmax_output_layer()
    assert said == ["removing softmax output mapping", "output layer is not softmax. nothing to do"]
    assert len(net.modules) == 1


def test_relevance_of_one_module_is_that_of_the_whole_backward_pass() -> None:
    net = Sequential([linear(), Tanh(), Linear(2, 4)])
    relevance = net.forward(LINEAR_X)
    whole = net.lrp(relevance, "epsilon", 0.1)
    for module in reversed(net.modules):
        relevance = net.lrp_layerwise(module, relevance, "epsilon", 0.1)
    near(relevance, whole)
