"""How far a run is, in numbers and in words."""

from pathlib import Path

import pytest

from caffe_lrp.batch.job import HeatmapJob, JobOutcome
from caffe_lrp.batch.progress import Progress
from caffe_lrp.cli.wording import progress_line
from caffe_lrp.model.attempt import StageTimes
from caffe_lrp.relevance.target import Target


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def outcome(error: str = "", **times: float) -> JobOutcome:
    return JobOutcome(HeatmapJob(0, 1, Path("image"), Target(0), 0, "stem"), StageTimes(**times), error)


def test_counts_speed_and_time_left() -> None:
    clock = Clock()
    progress = Progress(1000, clock)
    clock.now = 10.0
    for _ in range(30):
        progress.add(outcome(decode=0.25, relevance=1.0))
    progress.add(outcome("broken", decode=2.0))
    assert (progress.done, progress.failed, progress.finished) == (30, 1, 31)
    assert progress.per_second == pytest.approx(3.1)
    assert progress_line(progress.advanced()) == "31 of 1,000 maps (3 %), 1 failed, 3.1 a second, 5 min left"


def test_the_slowest_stage_is_where_jobs_spend_most_of_their_time() -> None:
    progress = Progress(2)
    assert progress.slowest_stage == ""
    progress.add(outcome(decode=0.5, forward=0.25, relevance=0.25))
    assert progress.slowest_stage == "decode"
    progress.add(outcome(forward=0.5, write=0.125))
    assert progress.slowest_stage == "forward"
    assert progress.stages == {"decode": 0.5, "forward": 0.75, "relevance": 0.25, "write": 0.125}
