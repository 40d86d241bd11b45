"""How far a run is, for people who wait, and what it was when it is over."""

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
        How many maps say nothing, by the cause.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    dark: Counter[Cause] = field(default_factory=Counter)
    started: float = field(init=False)

    def __post_init__(self) -> None:
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
        """Since the run began."""
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


def duration(seconds: float) -> str:
    """Seconds for people: ``40 s``, ``5 min``, ``3 h 20 min``, ``2 d 4 h``."""
    minutes, hours, days = round(seconds / 60), seconds / 3600, seconds / 86400
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if hours < 36:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{days:.0f} d {round(hours) % 24} h" if days < 7 else f"{days:.0f} d"
