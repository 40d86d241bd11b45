"""The progress of a run while it works, and its totals at the end."""

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
    """Counts of one run, which outcomes are added to as they come.

    Attributes
    ----------
    total
        Jobs to do.
    done, failed
        Jobs that came out one way or the other.
    stages
        Seconds that all jobs together spent in each stage.
    dark
        Number of maps that show nothing, by the cause.
    seconds_loading, seconds_compiling
        What came before the first job: loading the net, and compiling kernels.
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
        """Start the clock: the first map comes next."""
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
        """Jobs that came out either way."""
        return self.done + self.failed

    @property
    def seconds(self) -> float:
        """Since the first map was begun."""
        return self.clock() - self.started

    @property
    def per_second(self) -> float:
        """Jobs a second so far."""
        return self.finished / max(self.seconds, 1e-9)

    @property
    def slowest_stage(self) -> str:
        """Where jobs spent most of their time; empty before any has."""
        slowest = max(STAGES, key=lambda stage: self.stages[stage])
        return slowest if self.stages[slowest] else ""

    def advanced(self) -> Advanced:
        """How far the run is, once a job has come out."""
        left = (self.total - self.finished) / self.per_second
        return Advanced(self.total, self.finished, self.failed, self.per_second, left)
