"""Start vectors: what relevance starts as, the words for it, and how two passes become one map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    ENGINE,
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    assert_close,
    build,
    from_scores,
    random_blob,
)
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, ImageError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks
from caffe_lrp.relevance.beginning import begin, contrasted
from caffe_lrp.relevance.conservation import Ledger
from caffe_lrp.relevance.passage import ForwardPass
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.ranking import Ranking
from caffe_lrp.relevance.rules.accounts import Constants
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.start import LayerReference, find_start
from caffe_lrp.relevance.start_amounts import Scored, Subject
from caffe_lrp.relevance.start_vector import ARRAY, StartVector, parse_start_vector, refuse_misfit

FC2 = INCEPTION_INDICES["fc2"]
ALL = Ranking(np.arange(5), np.arange(5, 0, -1).astype(np.float32))

#: Five classes at two positions. The fourth is not ranked; averaged, the others are 2, 1, 0 and -1.
SCORES = np.array([[1, 1], [3, 1], [-4, 4], [9, 9], [-1, -1]], np.float32)
RANKED = Ranking(np.array([1, 0, 2, 4]), np.array([0.7, 0.3, 0, 0], np.float32))
POWERS = {0: np.e, 1: np.e**2, 2: 1.0, 4: 1 / np.e}
#: Of the second class, by its scores.
SHARES = np.array([1.5, 0.5])
Y = {index: power / sum(POWERS.values()) for index, power in POWERS.items()}


def amounts(text: str, targets: Sequence[int] = (0,), *, contrast: bool = False) -> NDArray[np.float64]:
    """(5, 2): what relevance starts as in the first or the second pass."""
    vector = parse_start_vector(text)
    function = vector.kind.contrast if contrast else vector.kind.start
    assert function is not None
    found = function(Scored(SCORES, (5, 2), Subject(tuple(targets), RANKED)), vector.argument)
    assert found.dtype == np.float32
    return found.astype(np.float64)


def rows(**given: Any) -> NDArray[np.float64]:
    """(5, 2): numbers of classes ``c0`` to ``c4``, at both positions or one for both."""
    expected = np.zeros((5, 2))
    for name, numbers in given.items():
        expected[int(name[1:])] = numbers
    return expected


@pytest.mark.parametrize(
    ("text", "targets", "expected"),
    [
        ("score", (0,), rows(c0=1)),
        ("score", (2, 1), rows(c1=[3, 1], c2=[-4, 4])),
        ("one", (2, 1), rows(c1=[1.5, 0.5], c2=1)),
        ("difference:2", (1,), rows(c1=[3, 1], c2=[4, -4])),
        ("weights:2=0.5,3=-1", (1,), rows(c2=[-2, 2], c3=-9)),
        ("unit:5", (1,), rows(c2=[0, 4])),
        ("channel:2", (1,), rows(c2=[-4, 4])),
        (
            "softmax-gradient",
            (0,),
            rows(c0=Y[0] * (1 - Y[0]), c1=-Y[0] * Y[1] * SHARES, c2=-Y[0] * Y[2], c4=-Y[0] * Y[4]),
        ),
        ("sglrp", (1,), rows(c1=Y[1] * (1 - Y[1]) * SHARES)),
    ],
)
def test_relevance_starts_as_the_kind_says(
    text: str, targets: Sequence[int], expected: NDArray[np.float64]
) -> None:
    np.testing.assert_allclose(amounts(text, targets), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "targets", "expected"),
    [
        ("contrast:others", (0,), rows(c1=[3, 1], c2=[-4, 4], c4=-1)),
        ("contrast:runner-up", (1, 0), rows(c2=[-4, 4])),
        ("contrast:3", (0,), rows(c3=9)),
        ("clrp", (1,), rows(c0=2 / 3, c2=2 / 3, c4=2 / 3)),
        ("sglrp", (1,), rows(c0=Y[1] * Y[0], c2=Y[1] * Y[2], c4=Y[1] * Y[4])),
    ],
)
def test_the_second_pass_starts_at_other_classes(
    text: str, targets: Sequence[int], expected: NDArray[np.float64]
) -> None:
    np.testing.assert_allclose(amounts(text, targets, contrast=True), expected, rtol=1e-6)


def test_the_softmax_gradient_of_several_classes_is_the_sum_of_theirs() -> None:
    together = amounts("softmax-gradient", (0, 2))
    alone = [amounts("softmax-gradient", (target,)) for target in (0, 2)]
    np.testing.assert_allclose(together, sum(alone), rtol=1e-6)
    assert abs(together.sum()) < 1e-7


def test_a_class_that_is_certain_has_no_gradient() -> None:
    scores, ranking = (
        np.array([[900], [10]], np.float32),
        Ranking(np.array([0, 1]), np.array([1, 0], np.float32)),
    )
    for text in ("softmax-gradient", "sglrp"):
        with pytest.raises(ImageError, match="the probability of class 0 is 0 or 1 but for rounding"):
            parse_start_vector(text).kind.start(Scored(scores, (2,), Subject((0,), ranking)), None)


def test_of_runners_up_with_one_probability_the_start_layer_decides() -> None:
    scores = np.array([[900], [10], [30], [20]], np.float32)
    ranking = Ranking(np.arange(4), np.array([1, 0, 0, 0], np.float32))
    vector = parse_start_vector("contrast:runner-up")
    assert vector.kind.contrast is not None
    found = vector.kind.contrast(Scored(scores, (4,), Subject((0,), ranking)), vector.argument)
    assert found[:, 0].tolist() == [0, 0, 30, 0]


def test_of_a_class_that_is_nearly_certain_a_gradient_is_left() -> None:
    scores = np.array([[90], [10]], np.float32)
    kind = parse_start_vector("softmax-gradient").kind
    ranking = Ranking(np.array([0, 1]), np.array([1, 0], np.float32))
    found = kind.start(Scored(scores, (2,), Subject((0,), ranking)), None)
    np.testing.assert_allclose(found[:, 0], [np.exp(-80), -np.exp(-80)], rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "targets", "message"),
    [
        ("difference:1", (1,), "class 1 is compared with itself"),
        ("contrast:0", (1, 0), "class 0 is compared with itself"),
        ("contrast:runner-up", (0, 1, 2, 4), "there is no class besides the explained ones"),
        ("softmax-gradient", (3,), "class 3 is not ranked"),
    ],
)
def test_an_image_without_the_start_vector_is_told_why(
    text: str, targets: Sequence[int], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        amounts(text, targets, contrast=text.startswith("contrast"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scores", "there is no start vector 'scores'; did you mean 'score'.; give score, one, diff"),
        ("", "there is no start vector ''; give score"),
        ("score:3", "must have nothing after 'score'"),
        ("difference", "is incomplete; write difference:CLASS"),
        ("difference:-1", "'-1' must be a whole number, at least 0; write difference:CLASS"),
        ("contrast:runnerup", "must be others, runner-up or a class number; did you mean 'runner-up'"),
        ("weights:1=2,1=3", "has a weight for class 1 twice"),
        ("weights:1=nan", "must be classes and their weights, such as 281=1,285=-0.5"),
        ("weights:1=1e31", r"must have weights of at most 1e\+30"),
        ("unit:x", "must be a whole number"),
    ],
)
def test_words_that_mean_no_start_vector_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_start_vector(text)


# --- In nets ------------------------------------------------------------------------------------------------


def plan_of(
    folder: Path, code: int | str, quirks: Quirks = CORRECTED, start: LayerReference = FC2
) -> tuple[Plan, ForwardPass]:
    net = build(folder, INCEPTION)
    plan = resolve_plan(net, code, RuleParameters(0.1, 1.0, 8, quirks), start, 0)
    return plan, ENGINE.forward(net, [plan], random_blob((2, *INCEPTION_SHAPE), 3))


def explain(plan: Plan, forward: ForwardPass, text: str, targets: Sequence[int] = (3,)) -> Blob:
    """The map of the first pass alone."""
    subjects = [Subject(tuple(targets), ALL)] * 2
    return ENGINE.explain(plan, forward, begin(plan, forward, subjects, parse_start_vector(text)).relevance)


@pytest.mark.parametrize("code", [0, 2, 11, "gamma-all"])
def test_maps_of_start_vectors_add_up(code: int | str, tmp_path: Path) -> None:
    plan, forward = plan_of(tmp_path, code)
    one, other = (explain(plan, forward, f"weights:{index}=1") for index in (3, 1))
    assert_close(explain(plan, forward, "weights:3=1,1=1"), one + other, 1e-5)
    assert_close(explain(plan, forward, "difference:1"), one - other, 1e-5)
    assert_close(explain(plan, forward, "score", (3, 1)), one + other, 1e-5)


def test_the_score_is_what_relevance_starts_as_unless_told_otherwise(tmp_path: Path) -> None:
    for code, quirks, text in ((0, CORRECTED, "score"), (11, REFERENCE, "score"), (11, CORRECTED, "one")):
        plan, forward = plan_of(tmp_path, code, quirks)
        expected = from_scores(plan, forward, [[3], [3]])
        assert explain(plan, forward, text).tobytes() == expected.tobytes()
    assert explain(plan, forward, "score").tobytes() != expected.tobytes()


AVERAGED = """
input: "data" input_shape { dim: 2 dim: 3 dim: 9 dim: 7 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 5 kernel_size: 3 stride: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
"""


@pytest.mark.parametrize(
    ("text", "code"), [("one", 0), ("one", 11), ("softmax-gradient", 0), ("difference:1", 0), ("clrp", 0)]
)
def test_below_an_average_relevance_starts_as_if_it_had_passed_it(
    text: str, code: int, tmp_path: Path
) -> None:
    net = build(tmp_path, AVERAGED)
    parameters = RuleParameters(0.1, 1.0, 8, CORRECTED)
    below, at = (resolve_plan(net, code, parameters, start, 0) for start in ("auto", "pool"))
    forward = ENGINE.forward(net, [below, at], random_blob((2, 3, 9, 7), 3))
    positions = below.origin.class_size
    assert positions == 12
    assert_close(explain(below, forward, text), positions * explain(at, forward, text), 1e-5)


def test_a_channel_is_the_sum_of_its_units(tmp_path: Path) -> None:
    start = INCEPTION_INDICES["norm1"]
    plan, forward = plan_of(tmp_path, 0, start=start)
    _, height, width = plan.start.output_shapes[0]
    units = [explain(plan, forward, f"unit:{2 * height * width + at}") for at in range(height * width)]
    assert_close(explain(plan, forward, "channel:2"), np.sum(units, axis=0), 1e-5)


@pytest.mark.parametrize("code", [0, 2, "gamma-all"])
def test_what_starts_with_either_sign_is_accounted_for(code: int | str, tmp_path: Path) -> None:
    plan, forward = plan_of(tmp_path, code, REFERENCE)
    ledger = Ledger(plan, Constants())
    beginning = begin(plan, forward, [Subject((3,), ALL)] * 2, parse_start_vector("softmax-gradient"))
    ENGINE.explain(plan, forward, beginning.relevance, ledger)
    for item in range(2):
        report = ledger.report(item)
        assert (report.starts, report.amount) == pytest.approx(beginning.sums(item), abs=1e-7)
        assert abs(report.starts) < 1e-6 * report.amount
        assert report.starts == pytest.approx(report.arrives + sum(report.lost.values()), abs=1e-9)
        for layer in report.layers:
            assert abs(layer.lost.get("rest", 0)) < 1e-5 * max(layer.absolute, abs(layer.leaves)), layer


def test_an_item_at_fault_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    plan, forward = plan_of(tmp_path, 0)
    subjects = [Subject((1,), ALL), Subject((3,), ALL)]
    beginning = begin(plan, forward, subjects, parse_start_vector("difference:1"))
    assert [*beginning.faults] == [0]
    found = ENGINE.explain(plan, forward, beginning.relevance)[1]
    assert found.tobytes() == explain(plan, forward, "difference:1")[1].tobytes()


# --- Two maps into one --------------------------------------------------------------------------------------


def test_a_contrast_is_scaled_to_the_same_sum_and_subtracted() -> None:
    one, other = random_blob((3, 5, 4), 1), random_blob((3, 5, 4), 2) + np.float32(0.5)
    exact, against = one.astype(np.float64), other.astype(np.float64)
    expected = exact - against * exact.sum() / against.sum()
    assert_close(contrasted(one, other, is_clamped=False), expected, 1e-6)
    assert_close(contrasted(one, other, is_clamped=True), np.where(expected > 0, expected, 0), 1e-6)


def test_a_contrast_that_sums_to_0_cannot_be_scaled() -> None:
    one = random_blob((1, 2, 3), 1)
    for other in (np.zeros_like(one), np.array([1e6, -1e6, 0.1, 0, 0, 0], np.float32).reshape(1, 2, 3)):
        with pytest.raises(ImageError, match=r"the relevance of the contrast sums to .*use difference:CLASS"):
            contrasted(one, other, is_clamped=False)


# --- What no image can have ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "ranked", "message"),
    [
        ("difference:5", FC2, 5, r"class 5 does not exist; layer .* 'fc2' .* has 5 classes, 0 to 4"),
        ("weights:1=1,7=1", FC2, 5, "class 7 does not exist"),
        ("unit:5", FC2, 5, r"'fc2' .* has 5 units, 0 to 4"),
        ("channel:6", "norm1", 5, r"'norm1' .* has 6 channels, 0 to 5"),
        ("clrp", FC2, 1, "compares classes, but there is only one"),
        ("sglrp", "prob", 5, r"gives probabilities already; start below it \(--start-layer\)"),
    ],
)
def test_a_start_vector_that_does_not_fit_the_net_is_refused(
    text: str, start: LayerReference, ranked: int, message: str, tmp_path: Path
) -> None:
    net = build(tmp_path, INCEPTION)
    with pytest.raises(ConfigError, match=message):
        refuse_misfit(parse_start_vector(text), find_start(net, start), net, ranked)


def test_an_array_of_another_size_is_refused(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    vector = StartVector("my.npy", ARRAY, np.zeros((2, 4), np.float32))
    with pytest.raises(ConfigError, match=r"my.npy: holds 2×4 numbers, but .* which has 5 classes"):
        refuse_misfit(vector, find_start(net, FC2), net, 5)
