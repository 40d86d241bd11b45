"""One batch through the stages: what is shared, what stays apart, what becomes of failures."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from batch_builders import CLASSES, explain_jobs, fault_of, jobs_for, prepare, small_explainer
from builders import (
    ENGINE,
    from_scores,
)
from numpy.typing import NDArray

from caffe_lrp.batch import delivery
from caffe_lrp.batch.delivery import Delivery
from caffe_lrp.batch.observing import observing
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.errors import ImageError, LimitError
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.model import stages
from caffe_lrp.model.attempt import Attempt, StageTimes
from caffe_lrp.model.explainer import open_explainer
from caffe_lrp.outputs.kinds import OUTPUTS, file_kinds, paths_of
from caffe_lrp.relevance.target import Target

DELIVERY = Delivery(file_kinds(OUTPUTS))


def map_of(attempt: Attempt) -> NDArray[np.float32]:
    assert fault_of(attempt) == ""
    assert attempt.explanation is not None
    return attempt.explanation.relevance


def assert_equal_maps(one: Attempt, other: Attempt) -> None:
    first, second = map_of(one), map_of(other)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-5 * np.abs(second).max())


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images in every forward pass."""
    sizes: list[int] = []
    real = CpuEngine.forward

    def counted(engine: Any, net: Any, plans: Any, batch: Any, *others: Any) -> Any:
        sizes.append(len(batch))
        return real(engine, net, plans, batch, *others)

    monkeypatch.setattr(CpuEngine, "forward", counted)
    return sizes


def test_an_image_that_fails_changes_no_byte_of_the_others(tmp_path: Path) -> None:
    explainer = small_explainer(tmp_path, formulas=(100,))
    good = jobs_for(("a", 1), ("b", 2), ("c", -1), formulas=(100,))
    bad = jobs_for(("a", 1), ("bad", 2), ("c", -1), formulas=(100,))
    expected, found = explain_jobs(explainer, good), explain_jobs(explainer, bad)
    assert fault_of(found[1]) == "bad: is no image"
    for place in (0, 2):
        assert map_of(found[place]).tobytes() == map_of(expected[place]).tobytes()


def test_all_formulas_and_targets_share_one_forward_pass(tmp_path: Path, passes: list[int]) -> None:
    formulas = (0, 100, 11)
    explainer = small_explainer(tmp_path, formulas)
    jobs = jobs_for(("a", 0), ("a", 3), ("b", -2), ("a", -1), formulas=formulas)
    together = explain_jobs(explainer, jobs)
    assert passes == [2]
    for job, attempt in zip(jobs, together, strict=True):
        alone = explainer.explaining([job.formula])
        assert alone.plan is explainer.plans[job.formula]
        assert_equal_maps(attempt, explain_jobs(alone, [job])[0])


def test_a_rank_is_the_class_that_the_net_ranks_there(tmp_path: Path) -> None:
    explainer = small_explainer(tmp_path)
    ranks = explain_jobs(explainer, jobs_for(*(("a", Target(0, rank + 1)) for rank in range(CLASSES))))
    classes = explain_jobs(explainer, jobs_for(*(("a", code) for code in range(CLASSES))))
    assert ranks[0].explanation is not None
    for attempt, code in zip(ranks, ranks[0].explanation.ranking.classes, strict=True):
        assert_equal_maps(attempt, classes[code])


def test_a_class_that_does_not_exist_fails_alone(tmp_path: Path) -> None:
    found = explain_jobs(small_explainer(tmp_path), jobs_for(("a", 1), ("a", CLASSES), ("b", 2)))
    assert [bool(attempt.error) for attempt in found] == [False, True, False]
    assert "class 5 does not exist" in fault_of(found[1])


def test_an_image_whose_jobs_have_all_failed_is_not_loaded(tmp_path: Path) -> None:
    jobs = [replace(job, fault="no place for it") for job in jobs_for(("bad", 1), ("bad", 2))]
    found = explain_jobs(small_explainer(tmp_path), [*jobs, *jobs_for(("a", 1))])
    assert [fault_of(attempt) for attempt in found] == ["no place for it", "no place for it", ""]


def test_nothing_is_computed_for_a_batch_without_images(tmp_path: Path, passes: list[int]) -> None:
    found = explain_jobs(small_explainer(tmp_path), jobs_for(("bad1", 1), ("bad2", 1)))
    assert passes == []
    assert all(attempt.error for attempt in found)


def lacking_memory(monkeypatch: pytest.MonkeyPatch, most_images: int, poison: float = np.inf) -> None:
    """A machine without memory for more than some images, or for one with so large a number."""
    real = CpuEngine.forward

    def forward(engine: Any, net: Any, plans: Any, batch: Any, *others: Any) -> Any:
        if len(batch) > most_images or batch.max() >= poison:
            raise MemoryError
        return real(engine, net, plans, batch, *others)

    monkeypatch.setattr(CpuEngine, "forward", forward)


@pytest.mark.parametrize(
    ("fault", "is_limited"),
    [
        (MemoryError(), True),
        (MemoryError(), False),
        (RuntimeError("can't start new thread"), False),
        (OSError(errno.EMFILE, "Too many open files"), False),
    ],
)
@pytest.mark.parametrize("stage", ["load", "explain", "write"])
def test_no_image_is_blamed_for_a_limit(
    stage: str, fault: Exception, is_limited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the machine has no memory for is the image's fault; a limit ends the run."""

    def fail(*_: Any) -> Any:
        raise fault

    monkeypatch.setattr(stages, "memory_is_limited", lambda: is_limited)
    explainer, jobs = small_explainer(tmp_path), jobs_for(("a", 1), ("b", 1), folder=tmp_path)
    if stage == "load":
        explainer = replace(explainer, preprocessor=cast(Any, fail))
    if stage == "explain":
        monkeypatch.setattr(CpuEngine, "forward", fail)
    if stage == "write":
        monkeypatch.setattr(delivery, "write_outputs", fail)

    def outcomes() -> list[str]:
        found = explain_jobs(explainer, jobs)
        return [Delivery(("npy",)).finish(job, one).error for job, one in zip(jobs, found, strict=True)]

    if isinstance(fault, MemoryError) and not is_limited:
        assert all(error.startswith("not enough memory") for error in outcomes())
    else:
        with pytest.raises(
            LimitError, match=r"not enough memory|raise (that limit|the limits of this process)"
        ):
            outcomes()


def test_images_that_lack_memory_together_are_tried_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = small_explainer(tmp_path)
    jobs = jobs_for(("a", 1), ("a", 2), ("bad", 2), ("b", -1))
    expected = explain_jobs(explainer, jobs)
    lacking_memory(monkeypatch, most_images=1)
    found = explain_jobs(explainer, jobs)
    assert [fault_of(attempt) for attempt in found] == ["", "", "bad: is no image", ""]
    for place in (0, 1, 3):
        assert_equal_maps(found[place], expected[place])


def test_only_images_that_lack_memory_alone_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(path: Path) -> PreparedImage:
        image = prepare(path)
        image.blob[0, 0, 0] = 1e6 if path.name == "large" else 0
        return image

    lacking_memory(monkeypatch, most_images=9, poison=1e6)
    explainer = small_explainer(tmp_path, preprocessor=poisoned)
    found = explain_jobs(explainer, jobs_for(("a", 1), ("large", 1), ("large", 2), ("b", 1)))
    assert [fault_of(attempt).split(";")[0] for attempt in found] == [
        "",
        "not enough memory",
        "not enough memory",
        "",
    ]


def test_explained_images_are_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    real, calls = CpuEngine.explain, []

    def explain(engine: Any, plan: Any, forward: Any, start: Any, *others: Any) -> Any:
        (blob,) = start.values()
        calls.append([tuple(np.flatnonzero(item)) for item in blob])
        if len(calls) == 2:
            raise MemoryError
        return real(engine, plan, forward, start, *others)

    monkeypatch.setattr(CpuEngine, "explain", explain)
    found = explain_jobs(small_explainer(tmp_path), jobs_for(("a", 1), ("b", 2), ("b", 3)))
    assert passes == [2, 1]
    assert calls == [[(1,), (2,)], [(), (3,)], [(3,)]]
    assert all(attempt.explanation for attempt in found)


def test_a_fault_of_ours_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(CpuEngine, "forward", broken)
    found = explain_jobs(small_explainer(tmp_path), jobs_for(("a", 1), ("b", 2)))
    reason = "internal error, please report it: ZeroDivisionError: by nothing"
    assert [fault_of(attempt) for attempt in found] == [reason, reason]


def test_results_that_are_not_finite_are_refused_and_name_the_formula_if_there_are_several(
    tmp_path: Path,
) -> None:
    def flat(path: Path) -> PreparedImage:
        return replace(prepare(path), blob=np.full_like(prepare(path).blob, 3e38))

    (scores,) = explain_jobs(small_explainer(tmp_path, preprocessor=flat), jobs_for(("a", 1)))
    assert "scores are not finite" in fault_of(scores)
    explainer = small_explainer(tmp_path, formulas=(0, 26))
    broken = replace(explainer.plans[26], finish=lambda relevance: relevance * np.float32("inf"))
    explainer = replace(explainer, plans={0: explainer.plans[0], 26: broken})
    good, bad = explain_jobs(explainer, jobs_for(("a", 1), formulas=(0, 26)))
    assert fault_of(good) == ""
    assert fault_of(bad).startswith("the relevance by formula 26 is not finite")


def test_relevance_of_a_picture_is_red_first_and_that_of_an_inner_blob_as_it_is(tmp_path: Path) -> None:
    explainer, job = small_explainer(tmp_path), jobs_for(("a", 1))
    plan, batch = explainer.plan, prepare(Path("a")).blob[np.newaxis]
    of_net = from_scores(plan, ENGINE.forward(explainer.net, [plan], batch), [(1,)])[0]
    (picture,) = explain_jobs(explainer, job)
    assert picture.explanation is not None
    np.testing.assert_array_equal(map_of(picture), of_net[::-1])
    np.testing.assert_array_equal(picture.explanation.relevance_of_net, of_net)
    settings = replace(explainer.settings, first_layer="relu")
    inner = replace(open_explainer(settings).explaining([0]), preprocessor=explainer.preprocessor)
    of_blob = from_scores(inner.plan, ENGINE.forward(inner.net, [inner.plan], batch), [(1,)])[0]
    np.testing.assert_array_equal(map_of(explain_jobs(inner, job)[0]), of_blob)


def test_results_own_their_memory(tmp_path: Path) -> None:
    found = explain_jobs(small_explainer(tmp_path), jobs_for(("a", 1), ("b", 1)))
    for attempt in found:
        relevance = map_of(attempt)
        assert relevance.base is None
        assert relevance.flags.c_contiguous


def test_times_of_shared_stages_are_shared(tmp_path: Path) -> None:
    explainer = small_explainer(tmp_path, formulas=(0, 100))
    found = explain_jobs(explainer, jobs_for(("a", 1), ("a", 2), ("b", 1), formulas=(0, 100)))
    times = [attempt.times for attempt in found]
    assert len({time.forward for time in times}) == 1
    assert len({time.decode for time in times}) == 2
    assert all(min(time.decode, time.forward, time.relevance) > 0 for time in times)
    assert all(time.write == 0 for time in times)


def test_files_are_written_and_errors_are_reported(tmp_path: Path) -> None:
    explainer = observing(small_explainer(tmp_path), DELIVERY.kinds)
    job, blocked = jobs_for(("a", 1), ("b", 1), folder=tmp_path)
    found = explain_jobs(explainer, [job, blocked])
    outcome = DELIVERY.finish(job, found[0])
    assert outcome.is_done
    assert outcome.times.write > 0
    assert sorted(path.name for path in tmp_path.glob("1_a*")) == sorted(paths_of("1_a_0", DELIVERY.kinds))
    Path(f"{blocked.stem}_heatmap.png").mkdir()
    refused = DELIVERY.finish(blocked, found[1])
    assert "a folder has the name" in refused.error
    failed = DELIVERY.finish(job, Attempt(None, ImageError("why"), StageTimes(decode=1)))
    assert (failed.error, failed.times.total, failed.best_class) == ("why", 1, None)
