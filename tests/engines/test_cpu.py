"""The CPU engine: what forward passes keep and plans share, and what results do not depend on."""

import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import (
    ENGINE,
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    EagerEngine,
    assert_close,
    build,
    from_scores,
    random_blob,
)
from oracle_walker import Options
from twins import CLASSES, CODES, FC2, WINOGRAD, WINOGRAD_INDICES, Twins

from caffe_lrp.engines.base import Engine
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.passage import Passage
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.rules.signed import SignedRule

OPTIONS = Options(epsilon=0.1, beta=1.0, switch=8)


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    return Twins(tmp_path, INCEPTION, INCEPTION_INDICES, INCEPTION_SHAPE)


# --- Forward and backward passes ----------------------------------------------------------------------------


def test_plans_share_a_forward_pass(twins: Twins) -> None:
    """What one of them has kept in place of the usual forward pass, all can use."""
    plans = [twins.plan(code, OPTIONS, FC2) for code in CODES]
    forward = ENGINE.forward(twins.net, plans, twins.batch)
    for code, plan in zip(CODES, plans, strict=True):
        expected = twins.walker.relevance(code, OPTIONS, "fc2", CLASSES, first="conv1")
        assert_close(from_scores(plan, forward, CLASSES), expected, 1e-4)


def test_a_forward_pass_can_be_explained_again(twins: Twins) -> None:
    """No rule uses up what others, or other classes, need."""
    for code in CODES:
        plan = twins.plan(code, OPTIONS, FC2)
        forward = ENGINE.forward(twins.net, [plan], twins.batch)
        first = from_scores(plan, forward, CLASSES).tolist()
        from_scores(plan, forward, [[1], [2]])
        assert from_scores(plan, forward, CLASSES).tolist() == first


def test_a_forward_pass_keeps_what_its_plans_look_at_and_no_more(twins: Twins) -> None:
    for code in CODES:
        plan = twins.plan(code, OPTIONS, FC2)
        forward = ENGINE.forward(twins.net, [plan], twins.batch)
        assert set(forward.activations) == plan.kept_values | {twins.net.output_value}
        assert set(forward.sums) == {
            step.layer.index for step in plan.steps if isinstance(step.rule, SignedRule)
        }


@pytest.mark.parametrize("code", [0, 11, 100])
def test_a_batch_equals_its_items_one_by_one(code: int, twins: Twins) -> None:
    plan = twins.plan(code, OPTIONS, FC2)
    forward = ENGINE.forward(twins.net, [plan], twins.batch)
    together = from_scores(plan, forward, CLASSES)
    for item in (0, 1):
        batch = twins.batch[item : item + 1]
        forward = ENGINE.forward(twins.net, [plan], batch)
        alone = from_scores(plan, forward, [CLASSES[item]])
        assert_close(together[item : item + 1], alone, 1e-5)


def test_an_observer_sees_every_step_and_changes_nothing(twins: Twins) -> None:
    passages: list[Passage] = []
    plan = twins.plan(100, OPTIONS, FC2)
    forward = ENGINE.forward(twins.net, [plan], twins.batch)
    observed = from_scores(plan, forward, CLASSES, passages.append)
    assert observed.tobytes() == from_scores(plan, forward, CLASSES).tobytes()
    assert [passage.step for passage in passages] == list(plan.steps)
    assert passages[-1].propagated[0] is observed


# --- What results do not depend on --------------------------------------------------------------------------


def scores_and_relevance(engine: Engine, twins: Twins, plan: Plan) -> list[Blob]:
    forward = engine.forward(twins.net, [plan], twins.batch)
    return [forward.activations[twins.net.output_value], from_scores(plan, forward, CLASSES, engine=engine)]


@pytest.mark.parametrize("code", [0, 2, 11, 102, 104, "gamma-all", "epsilon-gamma-box"])
def test_threads_and_past_batches_change_no_bit(code: int | str, tmp_path: Path) -> None:
    twins = Twins(tmp_path, WINOGRAD, WINOGRAD_INDICES, INCEPTION_SHAPE)
    options = Options(epsilon=0.1, beta=1.0, switch=2, lowest=(-6.0,) * 3, highest=(6.0,) * 3)
    plan = twins.plan(code, options, WINOGRAD_INDICES["fc"])
    with CpuEngine() as fresh:
        expected = [blob.tobytes() for blob in scores_and_relevance(fresh, twins, plan)]
    for engine in (CpuEngine(), EagerEngine(3)):
        with engine:
            for items in (5, 1):
                batch = random_blob((items, *INCEPTION_SHAPE), items)
                batch[0] = np.nan  # what is left of it in memory would show
                other = engine.forward(twins.net, [plan], batch)
                from_scores(plan, other, [[1]] * items, engine=engine)
            del other
            found = scores_and_relevance(engine, twins, plan)
        assert [blob.tobytes() for blob in found] == expected


@pytest.mark.parametrize("code", [0, 2, 11, 104, "epsilon-gamma-box"])
def test_engines_of_all_methods_of_convolution_share_a_net(code: int | str, tmp_path: Path) -> None:
    """Each gives the bits that it gives with a net of its own, whichever was there before."""
    options = Options(epsilon=0.1, beta=1.0, switch=2, lowest=(-6.0,) * 3, highest=(6.0,) * 3)

    def explained(twins: Twins, plan: Plan, method: str) -> list[bytes]:
        with CpuEngine(convolution=method) as engine:
            return [blob.tobytes() for blob in scores_and_relevance(engine, twins, plan)]

    def fresh() -> tuple[Twins, Plan]:
        twins = Twins(tmp_path, WINOGRAD, WINOGRAD_INDICES, INCEPTION_SHAPE)
        return twins, twins.plan(code, options, WINOGRAD_INDICES["fc"])

    alone = {method: explained(*fresh(), method) for method in ("direct", "winograd")}
    assert alone["direct"] != alone["winograd"]
    shared = fresh()
    for method in ("winograd", "direct", "winograd"):
        assert explained(*shared, method) == alone[method]


#: Max pooling compares what a convolution of two groups gives. With the few channels of a group Winograd's
#: algorithm pays for sums by sign, which αβ keeps, but not for the convolution alone.
COMPARED = """
input: "data" input_shape { dim: 1 dim: 34 dim: 9 dim: 35 }
layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }
layer { name: "conv" type: "Convolution" bottom: "relu" top: "conv"
  convolution_param { num_output: 52 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5 } }
"""


@pytest.mark.parametrize(
    ("code", "method", "is_exact"),
    [
        (0, "auto", True),
        (0, "winograd", False),
        (2, "auto", False),
        (2, "winograd", False),
        (2, "direct", True),
    ],
)
def test_ties_stay_ties_for_max_pooling_whoever_computes_the_layer_below(
    code: int, method: str, is_exact: bool, tmp_path: Path
) -> None:
    """Columns of the image repeat themselves, but not with the tiles."""
    net = build(tmp_path, COMPARED, seed=1)
    plan = resolve_plan(net, code, RuleParameters(0.1, 1.0, -1, REFERENCE), 3, 0)
    (compared,) = net.layers[2].inputs
    batch = np.tile(random_blob((1, 34, 9, 7), 1), (1, 1, 1, 5))
    with CpuEngine(convolution=method) as engine:
        found = engine.forward(net, [plan], batch, frozenset({compared})).activations[compared]
    with CpuEngine(convolution="direct") as engine:
        exact = engine.forward(net, [plan], batch, frozenset({compared})).activations[compared]
    inside = found[..., 3:-3]
    assert (inside[..., 7:] == inside[..., :-7]).all()
    assert (found.tobytes() == exact.tobytes()) == is_exact


def test_what_an_engine_returns_stays_as_it_is(twins: Twins) -> None:
    plan = twins.plan(100, OPTIONS, FC2)
    with CpuEngine() as engine:
        found = scores_and_relevance(engine, twins, plan)
        before = [blob.copy() for blob in found]
        twins.batch *= -2
        scores_and_relevance(engine, twins, plan)
        engine.forget()
        scores_and_relevance(engine, twins, plan)
    for blob, copy in zip(found, before, strict=True):
        np.testing.assert_array_equal(blob, copy)


# --- Memory, threads, and an early end ----------------------------------------------------------------------


def test_an_engine_forgets_the_memory_of_past_batches(twins: Twins) -> None:
    plan, batch = twins.plan(100, OPTIONS, FC2), random_blob((64, *INCEPTION_SHAPE), 1)
    with CpuEngine() as engine:
        tracemalloc.start()
        try:
            from_scores(plan, engine.forward(twins.net, [plan], batch), [[0]] * len(batch), engine=engine)
            kept = tracemalloc.get_traced_memory()[0]
            engine.forget()
            left = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert kept - left > batch.nbytes


def test_threads_end_with_the_engine(twins: Twins) -> None:
    plan, before = twins.plan(100, OPTIONS, FC2), threading.active_count()
    with EagerEngine(3) as engine:
        scores_and_relevance(engine, twins, plan)
        assert threading.active_count() > before
    assert threading.active_count() == before


def failing_at(number: int) -> tuple[list[int], Callable[[], None]]:
    """The calls so far, and a checkpoint that ends what runs at one of them."""
    calls: list[int] = []

    def checkpoint() -> None:
        calls.append(len(calls))
        if len(calls) == number:
            raise InterruptedError

    return calls, checkpoint


def test_a_checkpoint_ends_a_pass_and_the_engine_goes_on(twins: Twins) -> None:
    plan = twins.plan(100, OPTIONS, FC2)
    with CpuEngine() as engine:
        expected = [blob.tobytes() for blob in scores_and_relevance(engine, twins, plan)]
    calls, checkpoint = failing_at(-1)
    with CpuEngine(1, checkpoint) as engine:
        engine.forward(twins.net, [plan], twins.batch)
        of_forward = len(calls)
        scores_and_relevance(engine, twins, plan)
    of_backward_pass = len(calls) - 2 * of_forward
    assert of_forward > len(twins.net.layers) // 2
    assert of_backward_pass > len(plan.steps) // 2
    for number in (1, of_forward, of_forward + 1, of_forward + of_backward_pass):
        calls, checkpoint = failing_at(number)
        with CpuEngine(1, checkpoint) as engine:
            with pytest.raises(InterruptedError):
                scores_and_relevance(engine, twins, plan)
            assert len(calls) == number
            found = scores_and_relevance(engine, twins, plan)
        assert [blob.tobytes() for blob in found] == expected
