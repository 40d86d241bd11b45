"""The threads of a run: order, bounds, faults, and an end before its time."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_builders import jobs_for, opened, prepare, small_explainer
from numpy.typing import NDArray

from caffe_lrp.batch import delivery
from caffe_lrp.batch.delivery import Delivery
from caffe_lrp.batch.job import HeatmapJob, JobOutcome
from caffe_lrp.config import read_config
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.errors import OutputError
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.model import pipeline
from caffe_lrp.model.attempt import Attempt
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.model.pipeline import run_requests
from caffe_lrp.model.schedule import Schedule
from caffe_lrp.net.net import Net
from caffe_lrp.outputs.kinds import OUTPUTS, file_kinds, need_sums
from caffe_lrp.outputs.writers import write_outputs
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.filelist import read_filelist

ROOT = Path(__file__).parents[2]
DELIVERY = Delivery(tuple(kind for kind in file_kinds(OUTPUTS) if not need_sums([kind])))


@pytest.fixture(autouse=True)
def _heeded_interrupts() -> Iterator[None]:
    """Programs that a shell has started in the background ignore SIGINT, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


SCHEDULE = Schedule(batch_size=2, workers=2, threads=3)
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Any:
    before = set(threading.enumerate())
    yield
    wait_for(lambda: set(threading.enumerate()) <= before)


def images(count: int) -> list[tuple[str, int]]:
    return [(f"image{number}", 1) for number in range(count)]


def started(
    explainer: Explainer,
    jobs: Sequence[HeatmapJob],
    schedule: Schedule = SCHEDULE,
    *asked: Callable[[], bool],
) -> Generator[JobOutcome, None, None]:
    """A run that writes files, begun when the first outcome is asked for."""
    return run_requests(explainer, jobs, DELIVERY.finish, schedule, *asked)


def run(explainer: Explainer, jobs: Sequence[HeatmapJob], schedule: Schedule = SCHEDULE) -> list[JobOutcome]:
    return list(started(explainer, jobs, schedule))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name.endswith(("_rawhm.txt", ".tmp")))


def test_outcomes_come_in_the_order_of_the_list_whatever_is_done_first(tmp_path: Path) -> None:
    def uneven(path: Path) -> PreparedImage:
        time.sleep(0.02 * (int(path.name[-1]) % 3 == 0))
        return prepare(path)

    explainer = small_explainer(tmp_path, formulas=(0, 100), preprocessor=uneven)
    jobs = jobs_for(*images(9), formulas=(0, 100), folder=tmp_path)
    outcomes = run(explainer, jobs)
    assert [outcome.job for outcome in outcomes] == jobs
    assert all(outcome.is_done for outcome in outcomes)
    assert len(written(tmp_path)) == len(jobs)


@pytest.mark.parametrize("schedule", [Schedule(), SCHEDULE, Schedule(5, 1, 4), Schedule(1, 4, 4)])
def test_failures_are_reported_at_their_place(tmp_path: Path, schedule: Schedule) -> None:
    jobs = jobs_for(("bad1", 1), *images(3), ("image9", 7), ("bad2", 1), folder=tmp_path)
    errors = [outcome.error.split(":")[0] for outcome in run(small_explainer(tmp_path), jobs, schedule)]
    assert errors == ["bad1", "", "", "", "class 7 does not exist", "bad2"]


def test_an_empty_list_is_done_at_once(tmp_path: Path) -> None:
    assert run(small_explainer(tmp_path), []) == []


def test_no_more_images_are_loaded_than_batches_are_on_the_way(tmp_path: Path) -> None:
    ended, faults = 0, []
    loaded: list[str] = []

    def counted(path: Path) -> PreparedImage:
        loaded.append(path.name)
        if len(loaded) > ended + SCHEDULE.most_batches * SCHEDULE.batch_size:
            faults.append(path.name)
        return prepare(path)

    outcomes = run_requests(
        small_explainer(tmp_path, preprocessor=counted),
        jobs_for(*images(40), folder=tmp_path),
        Delivery(("top10",)).finish,
        SCHEDULE,
    )
    for _ in outcomes:
        ended += 1
        time.sleep(0.01 * (ended < 5))  # a slow reader: the rest has time to run ahead
    assert len(loaded) == 40
    assert faults == []


def test_no_more_maps_wait_for_a_slow_disk_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_is_free = threading.Event()
    explained: list[object] = []
    real_write, real_explain = Delivery.finish, CpuEngine.explain

    def write(*arguments: Any) -> JobOutcome:
        disk_is_free.wait(PATIENCE)
        return real_write(*arguments)

    def explain(*arguments: Any) -> Any:
        explained.append(arguments)
        return real_explain(*arguments)

    monkeypatch.setattr(Delivery, "finish", write)
    monkeypatch.setattr(CpuEngine, "explain", explain)
    jobs = jobs_for(*(("a", Target(0, 1 + number % 5)) for number in range(30)), folder=tmp_path)
    schedule = Schedule(batch_size=1, workers=1, threads=1)
    outcomes: list[JobOutcome] = []
    explainer = small_explainer(tmp_path)
    reader = threading.Thread(target=lambda: outcomes.extend(run(explainer, jobs, schedule)))
    reader.start()
    try:
        wait_for(lambda: len(explained) > schedule.most_results)
        time.sleep(0.1)
        assert len(explained) == schedule.most_results + 1  # the last one waits for its turn to wait
    finally:
        disk_is_free.set()
        reader.join(PATIENCE)
    assert [outcome.is_done for outcome in outcomes] == [True] * 30


@pytest.mark.parametrize("stage", ["load_image", "explain_batch", "finish"])
def test_a_fault_in_the_machinery_ends_the_run_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("in the machinery")

    monkeypatch.setattr(Delivery if stage == "finish" else pipeline, stage, broken)
    with pytest.raises(ZeroDivisionError, match="in the machinery"):
        run(small_explainer(tmp_path), jobs_for(*images(20), folder=tmp_path))


def test_a_thread_that_cannot_be_started_ends_the_run_before_its_first_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("finisher_1"):
            raise RuntimeError("can't start new thread")
        real(thread)

    def noted(path: Path) -> PreparedImage:
        loaded.append(path)
        return prepare(path)

    loaded: list[Path] = []
    monkeypatch.setattr(threading.Thread, "start", start)
    explainer = small_explainer(tmp_path, preprocessor=noted)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run(explainer, jobs_for(*images(20), folder=tmp_path))
    assert loaded == []


def test_a_batch_that_fails_when_some_of_its_maps_are_written_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer may have settled what the worker takes for undone."""
    real = pipeline._Pipeline._hand_over

    def hand_over(self: pipeline._Pipeline[HeatmapJob, JobOutcome], job: HeatmapJob, *others: Any) -> None:
        real(self, job, *others)
        wait_for(lambda: others[-1].done() or self._stopping.is_set())  # another batch may have failed first
        raise MemoryError

    monkeypatch.setattr(pipeline._Pipeline, "_hand_over", hand_over)
    with pytest.raises(MemoryError):
        run(small_explainer(tmp_path), jobs_for(*images(20), folder=tmp_path))


def test_a_run_that_is_closed_early_leaves_whole_files_and_loads_no_more(tmp_path: Path) -> None:
    loaded: list[str] = []

    def counted(path: Path) -> PreparedImage:
        loaded.append(path.name)
        return prepare(path)

    explainer = small_explainer(tmp_path, preprocessor=counted)
    outcomes = run_requests(explainer, jobs_for(*images(100), folder=tmp_path), DELIVERY.finish, SCHEDULE)
    first = next(outcomes)
    outcomes.close()
    count = len(loaded)
    assert first.is_done
    assert count <= 1 + SCHEDULE.most_batches * SCHEDULE.batch_size
    assert f"{first.job.stem}_rawhm.txt" in {f"{tmp_path}/{name}" for name in written(tmp_path)}
    assert not [name for name in written(tmp_path) if name.endswith(".tmp")]


def test_a_run_that_was_never_read_starts_nothing(tmp_path: Path) -> None:
    outcomes = started(small_explainer(tmp_path), jobs_for(*images(3), folder=tmp_path))
    outcomes.close()
    assert written(tmp_path) == []


def test_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = itertools.count()

    def fill(stem: str, *rest: Any) -> None:
        if next(count) == 5:
            raise OutputError(f"{stem}: the disk is full")
        write_outputs(stem, *rest)

    monkeypatch.setattr(delivery, "write_outputs", fill)
    outcomes = started(small_explainer(tmp_path), jobs_for(*images(20), folder=tmp_path), Schedule(2))
    done: list[JobOutcome] = []
    with pytest.raises(OutputError, match="the disk is full"):
        done.extend(outcomes)
    assert len(done) <= 5
    assert len(written(tmp_path)) < 20


def test_a_run_that_is_to_end_finishes_the_batches_that_have_been_started(tmp_path: Path) -> None:
    asked = itertools.count()
    jobs = jobs_for(*images(20), folder=tmp_path)
    outcomes = list(started(small_explainer(tmp_path), jobs, Schedule(2), lambda: next(asked) == 4))
    assert [outcome.job for outcome in outcomes] == jobs[:8]
    assert len(written(tmp_path)) == 8


def test_finished_maps_are_reported_even_if_a_stop_ends_the_wait_for_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, others = Delivery.finish, threading.Semaphore(0)
    hanging, stopped = threading.Event(), threading.Event()

    def write(delivery: Delivery, job: HeatmapJob, attempt: Attempt) -> JobOutcome:
        if job.number == 0:
            for _ in range(3):
                assert others.acquire(timeout=PATIENCE)
            stopped.set()
            assert hanging.wait(PATIENCE)  # as a disk that answers no more
        outcome = real_write(delivery, job, attempt)
        others.release()
        return outcome

    monkeypatch.setattr(Delivery, "finish", write)
    jobs = jobs_for(*images(4), folder=tmp_path)
    schedule = Schedule(batch_size=4, workers=1, threads=2)
    outcomes = started(small_explainer(tmp_path), jobs, schedule, lambda: False, stopped.is_set)
    told = [next(outcomes).job.number for _ in range(3)]
    hanging.set()
    told += [outcome.job.number for outcome in outcomes]
    assert told == [1, 2, 3, 0]
    assert len(written(tmp_path)) == 4


@pytest.mark.parametrize("method", ["empty", "share"])
def test_an_interruption_ends_long_computations_between_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    computing = threading.Event()

    def endless(net: Any, batch: Any, kept: Any, workspace: Any, substitutes: Any) -> Any:
        while True:
            computing.set()
            workspace.empty((1,)) if method == "empty" else workspace.share(lambda first, last: None, 1)
            time.sleep(0.001)

    def interrupt() -> None:
        assert computing.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Net, "forward", endless)
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        run(small_explainer(tmp_path), jobs_for(*images(20), folder=tmp_path))
    interrupter.join()


def test_an_interruption_ends_workers_that_wait_for_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = Delivery.finish
    writing = threading.Event()

    def slow(*arguments: Any) -> JobOutcome:
        writing.set()
        time.sleep(0.2)
        return real_write(*arguments)

    monkeypatch.setattr(Delivery, "finish", slow)
    jobs = jobs_for(*(("a", Target(0, 1 + number % 5)) for number in range(100)), folder=tmp_path)
    outcomes = run_requests(small_explainer(tmp_path), jobs, DELIVERY.finish, Schedule(1, 1, 2))
    next(outcomes)
    outcomes.close()
    assert 1 <= len(written(tmp_path)) < 10


def test_the_last_line_wins_where_files_are_written_twice(tmp_path: Path) -> None:
    explainer = small_explainer(tmp_path)
    lines = [("a", 1), ("a", 2), ("b", 3), ("a", 0), ("a", 4), ("b", 2)]
    jobs = [replace(job, stem=f"{tmp_path}/same") for job in jobs_for(*lines)]
    expected = [replace(jobs[-1], stem=f"{tmp_path}/last")]
    run(explainer, expected)
    for _ in range(5):
        run(explainer, jobs, Schedule(batch_size=1, workers=1, threads=4, keeps_order=True))
        same, last = (tmp_path / f"{name}_rawhm.txt" for name in ("same", "last"))
        assert same.read_bytes() == last.read_bytes()


@pytest.fixture(scope="module")
def demo() -> Explainer:
    return opened(read_config(ROOT / "configs" / "demo.txt"), 0, 102)


def maps(explainer: Explainer, schedule: Schedule) -> list[NDArray[Any]]:
    """The demo's maps and scores, as they would be written."""
    entries = read_filelist(ROOT / "filelists" / "demo.txt")[:6]
    jobs = [
        HeatmapJob(entry.line, entry.line, ROOT / entry.path, entry.target, code, "nowhere")
        for entry in entries
        for code in explainer.formulas
    ]
    numbers = []
    for attempt in run_requests(explainer, jobs, lambda _, attempt: attempt, schedule):
        assert attempt.explanation is not None
        numbers.append(np.append(attempt.explanation.relevance, attempt.explanation.ranking.scores))
    return numbers


def test_maps_do_not_depend_on_batches_and_threads(demo: Explainer) -> None:
    expected = maps(demo, Schedule())
    for schedule in (Schedule(2, 1, 1), Schedule(16, 1, 3), Schedule(1, 3, 3)):
        for one, other in zip(maps(demo, schedule), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_second_run_computes_the_same_bytes(demo: Explainer) -> None:
    schedule = Schedule(2, 2, 3)
    first, second = (maps(demo, schedule) for _ in range(2))
    assert [one.tobytes() for one in first] == [other.tobytes() for other in second]
