"""The progress of a run, and its totals at the end."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields

from caffe_lrp.model.attempt import StageTimes
from caffe_lrp.model.darkness import Cause

from .events import Advanced
from .job import JobOutcome

#: Stages of a job, by the attributes of `StageTimes`.
STAGES = tuple(stage.name for stage in fields(StageTimes))


@dataclass
class Progress:
    """Counts of one run, updated with each outcome.

    Attributes
    ----------
    total
        Jobs to do.
    done, failed
        Jobs that are done, and jobs that failed.
    stages
        Total seconds of all jobs in each stage.
    dark
        Number of maps that show nothing, by cause.
    seconds_loading, seconds_compiling
        Time before the first job: for loading the net, and for compiling kernels.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    dark: Counter[Cause] = field(default_factory=Counter)
    seconds_loading: float = 0.0
    seconds_compiling: float = 0.0
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start the clock, just before the first map."""
        self.started = self.clock()

    def add(self, outcome: JobOutcome) -> None:
        """Count one outcome."""
        if outcome.is_done:
            self.done += 1
            if outcome.darkness:
                self.dark[outcome.darkness.cause] += 1
        else:
            self.failed += 1
        for stage in STAGES:
            self.stages[stage] += getattr(outcome.times, stage)

    @property
    def finished(self) -> int:
        """Jobs that are done or have failed."""
        return self.done + self.failed

    @property
    def seconds(self) -> float:
        """Seconds since the first map was begun."""
        return self.clock() - self.started

    @property
    def per_second(self) -> float:
        """Jobs per second so far."""
        return self.finished / max(self.seconds, 1e-9)

    @property
    def slowest_stage(self) -> str:
        """The stage that took most of the jobs' time; empty before the first job."""
        slowest = max(STAGES, key=lambda stage: self.stages[stage])
        return slowest if self.stages[slowest] else ""

    def advanced(self) -> Advanced:
        """Return the progress of the run, after at least one job."""
        left = (self.total - self.finished) / self.per_second
        return Advanced(self.total, self.finished, self.failed, self.per_second, left)
