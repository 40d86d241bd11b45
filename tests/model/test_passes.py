"""One batch through the stages: what is shared, what stays apart, what becomes of failures."""

import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from batch_builders import CLASSES, jobs_for, prepare, small_session
from numpy.typing import NDArray

from caffe_lrp.batch import delivery
from caffe_lrp.batch.delivery import Delivery
from caffe_lrp.batch.job import HeatmapJob, StageTimes
from caffe_lrp.errors import LimitError
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.model import passes as runner
from caffe_lrp.model.batches import form_batches
from caffe_lrp.model.explainer import Session
from caffe_lrp.model.passes import Explanation, deliver, explain_batch, load_image
from caffe_lrp.outputs.kinds import OUTPUTS, file_kinds, paths_of
from caffe_lrp.relevance.target import Target


def explain_jobs(session: Session, jobs: Sequence[HeatmapJob]) -> list[Explanation]:
    """Explanations of jobs that make one batch, in their order."""
    (batch,) = form_batches(jobs, len(jobs))
    loaded = [load_image(session, [jobs[place] for place in places]) for places in batch.jobs_of]
    with CpuEngine() as engine:
        found = list(explain_batch(session, batch, loaded, engine))
    assert sorted(place for place, _ in found) == [*range(len(jobs))]
    return [explanation for _, explanation in sorted(found, key=lambda pair: pair[0])]


def map_of(explanation: Explanation) -> NDArray[np.float32]:
    assert explanation.error == ""
    assert explanation.result is not None
    return explanation.result.relevance


def assert_equal_maps(one: Explanation, other: Explanation) -> None:
    first, second = map_of(one), map_of(other)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-5 * np.abs(second).max())


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images in every forward pass."""
    sizes: list[int] = []
    real = CpuEngine.forward

    def counted(engine: Any, net: Any, plans: Any, batch: Any) -> Any:
        sizes.append(len(batch))
        return real(engine, net, plans, batch)

    monkeypatch.setattr(CpuEngine, "forward", counted)
    return sizes


def test_an_image_that_fails_changes_no_byte_of_the_others(tmp_path: Path) -> None:
    session = small_session(tmp_path, formulas=(100,))
    good = jobs_for(("a", 1), ("b", 2), ("c", -1), formulas=(100,))
    bad = jobs_for(("a", 1), ("bad", 2), ("c", -1), formulas=(100,))
    expected, found = explain_jobs(session, good), explain_jobs(session, bad)
    assert found[1].error == "bad: is no image"
    for place in (0, 2):
        assert map_of(found[place]).tobytes() == map_of(expected[place]).tobytes()


def test_all_formulas_and_targets_share_one_forward_pass(tmp_path: Path, passes: list[int]) -> None:
    formulas = (0, 100, 11)
    session = small_session(tmp_path, formulas)
    jobs = jobs_for(("a", 0), ("a", 3), ("b", -2), ("a", -1), formulas=formulas)
    together = explain_jobs(session, jobs)
    assert passes == [2]
    for job, explanation in zip(jobs, together, strict=True):
        place = formulas.index(job.formula)
        alone = replace(session, formulas=(job.formula,), plans=(session.plans[place],))
        assert_equal_maps(explanation, explain_jobs(alone, [job])[0])


def test_a_rank_is_the_class_that_the_net_ranks_there(tmp_path: Path) -> None:
    session = small_session(tmp_path)
    ranks = explain_jobs(session, jobs_for(*(("a", Target(0, rank + 1)) for rank in range(CLASSES))))
    classes = explain_jobs(session, jobs_for(*(("a", code) for code in range(CLASSES))))
    assert ranks[0].result is not None
    for explanation, code in zip(ranks, ranks[0].result.ranked_classes, strict=True):
        assert_equal_maps(explanation, classes[code])


def test_a_class_that_does_not_exist_fails_alone(tmp_path: Path) -> None:
    found = explain_jobs(small_session(tmp_path), jobs_for(("a", 1), ("a", CLASSES), ("b", 2)))
    assert [bool(explanation.error) for explanation in found] == [False, True, False]
    assert "class 5 does not exist" in found[1].error


def test_an_image_whose_jobs_have_all_failed_is_not_loaded(tmp_path: Path) -> None:
    jobs = [replace(job, fault="no place for it") for job in jobs_for(("bad", 1), ("bad", 2))]
    found = explain_jobs(small_session(tmp_path), [*jobs, *jobs_for(("a", 1))])
    assert [explanation.error for explanation in found] == ["no place for it", "no place for it", ""]


def test_nothing_is_computed_for_a_batch_without_images(tmp_path: Path, passes: list[int]) -> None:
    found = explain_jobs(small_session(tmp_path), jobs_for(("bad1", 1), ("bad2", 1)))
    assert passes == []
    assert all(explanation.error for explanation in found)


def lacking_memory(monkeypatch: pytest.MonkeyPatch, most_images: int, poison: float = np.inf) -> None:
    """A machine without memory for more than some images, or for one with so large a number."""
    real = CpuEngine.forward

    def forward(engine: Any, net: Any, plans: Any, batch: Any) -> Any:
        if len(batch) > most_images or batch.max() >= poison:
            raise MemoryError
        return real(engine, net, plans, batch)

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

    monkeypatch.setattr(runner, "memory_is_limited", lambda: is_limited)
    session, jobs = small_session(tmp_path), jobs_for(("a", 1), ("b", 1), folder=tmp_path)
    if stage == "load":
        session = replace(session, preprocessor=cast(Any, fail))
    if stage == "explain":
        monkeypatch.setattr(CpuEngine, "forward", fail)
    if stage == "write":
        monkeypatch.setattr(delivery, "write_outputs", fail)

    def outcomes() -> list[str]:
        found = explain_jobs(session, jobs)
        return [deliver(job, one, Delivery(("npy",))).error for job, one in zip(jobs, found, strict=True)]

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
    session = small_session(tmp_path)
    jobs = jobs_for(("a", 1), ("a", 2), ("bad", 2), ("b", -1))
    expected = explain_jobs(session, jobs)
    lacking_memory(monkeypatch, most_images=1)
    found = explain_jobs(session, jobs)
    assert [explanation.error for explanation in found] == ["", "", "bad: is no image", ""]
    for place in (0, 1, 3):
        assert_equal_maps(found[place], expected[place])


def test_only_what_lacks_memory_alone_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(path: Path) -> PreparedImage:
        image = prepare(path)
        image.blob[0, 0, 0] = 1e6 if path.name == "large" else 0
        return image

    lacking_memory(monkeypatch, most_images=9, poison=1e6)
    session = small_session(tmp_path, preprocessor=poisoned)
    found = explain_jobs(session, jobs_for(("a", 1), ("large", 1), ("large", 2), ("b", 1)))
    assert [explanation.error.split(";")[0] for explanation in found] == [
        "",
        "not enough memory",
        "not enough memory",
        "",
    ]


def test_what_is_explained_already_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    real, calls = CpuEngine.explain, []

    def explain(engine: Any, plan: Any, forward: Any, classes: Any, *others: Any) -> Any:
        calls.append(classes)
        if len(calls) == 2:
            raise MemoryError
        return real(engine, plan, forward, classes, *others)

    monkeypatch.setattr(CpuEngine, "explain", explain)
    found = explain_jobs(small_session(tmp_path), jobs_for(("a", 1), ("b", 2), ("b", 3)))
    assert passes == [2, 1]
    assert calls == [[(1,), (2,)], [(), (3,)], [(3,)]]
    assert all(explanation.result for explanation in found)


def test_a_fault_of_ours_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(CpuEngine, "forward", broken)
    found = explain_jobs(small_session(tmp_path), jobs_for(("a", 1), ("b", 2)))
    reason = "internal error, please report it: ZeroDivisionError: by nothing"
    assert [explanation.error for explanation in found] == [reason, reason]


def test_what_is_not_finite_is_refused_and_of_several_formulas_named(tmp_path: Path) -> None:
    def flat(path: Path) -> PreparedImage:
        return replace(prepare(path), blob=np.full_like(prepare(path).blob, 3e38))

    (scores,) = explain_jobs(small_session(tmp_path, preprocessor=flat), jobs_for(("a", 1)))
    assert "scores are not finite" in scores.error
    session = small_session(tmp_path, formulas=(0, 26))
    broken = replace(session.plans[1], finish=lambda relevance: relevance * np.float32("inf"))
    session = replace(session, plans=(session.plans[0], broken))
    good, bad = explain_jobs(session, jobs_for(("a", 1), formulas=(0, 26)))
    assert good.error == ""
    assert bad.error.startswith("the relevance by formula 26 is not finite")


def test_results_own_their_memory(tmp_path: Path) -> None:
    found = explain_jobs(small_session(tmp_path), jobs_for(("a", 1), ("b", 1)))
    for explanation in found:
        relevance = map_of(explanation)
        assert relevance.base is None
        assert relevance.flags.c_contiguous


def test_times_of_shared_stages_are_shared(tmp_path: Path) -> None:
    session = small_session(tmp_path, formulas=(0, 100))
    found = explain_jobs(session, jobs_for(("a", 1), ("a", 2), ("b", 1), formulas=(0, 100)))
    times = [explanation.times for explanation in found]
    assert len({time.forward for time in times}) == 1
    assert len({time.decode for time in times}) == 2
    assert all(min(time.decode, time.forward, time.relevance) > 0 for time in times)
    assert all(time.write == 0 for time in times)


def test_files_are_written_and_what_prevents_it_is_told(tmp_path: Path) -> None:
    session = small_session(tmp_path)
    job, blocked = jobs_for(("a", 1), ("b", 1), folder=tmp_path)
    found = explain_jobs(session, [job, blocked])
    outcome = deliver(job, found[0], Delivery(file_kinds(OUTPUTS)))
    assert outcome.is_done
    assert outcome.times.write > 0
    assert sorted(path.name for path in tmp_path.glob("1_a*")) == sorted(
        paths_of("1_a_0", file_kinds(OUTPUTS))
    )
    Path(f"{blocked.stem}_heatmap.png").mkdir()
    refused = deliver(blocked, found[1], Delivery(file_kinds(OUTPUTS)))
    assert "a folder has the name" in refused.error
    failed = deliver(job, Explanation(None, "why", StageTimes(decode=1)), Delivery(file_kinds(OUTPUTS)))
    assert (failed.error, failed.times.total, failed.best_class) == ("why", 1, None)
