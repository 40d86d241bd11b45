"""The progress of runs in an output root, from their journals; other files are not checked."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffe_lrp.errors import OutputError, presentable
from caffe_lrp.messages import counted, duration, listed

from .lease import running
from .records import DONE, FAILED, REPLACED, STATES, JournalReader, find_journals

#: The speed is measured over this many seconds.
_RECENT_SECONDS = 600.0


@dataclass
class RunStatus:
    """The state of a run, all its shards together.

    Attributes
    ----------
    fingerprint
        Fingerprint of the run.
    jobs
        Maps in the whole list.
    shards
        Shards that have a journal, and the number of all shards.
    done, failed
        Maps that are done, and maps that failed.
    replaced
        Maps whose files another run has overwritten.
    reasons
        Number of failures for each reason.
    running
        Shards that are running now.
    damaged
        Lines of journals that are not records and were skipped.
    per_second
        Maps per second, for all running shards together.
    """

    fingerprint: str
    jobs: int
    shard_count: int
    shards: list[int] = field(default_factory=list)
    done: int = 0
    failed: int = 0
    replaced: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    running: int = 0
    per_second: float = 0.0
    damaged: int = 0

    @property
    def missing(self) -> int:
        """Maps that are neither done nor failed yet."""
        return self.jobs - self.done - self.failed - self.replaced

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the present speed; None if there was no recent outcome."""
        return self.missing / self.per_second if self.per_second else None

    def as_json(self) -> dict[str, Any]:
        """Return the status for other programs."""
        return {
            "fingerprint": self.fingerprint,
            "maps": self.jobs,
            "shards": {"begun": self.shards, "of": self.shard_count},
            "done": self.done,
            "failed": self.failed,
            "missing": self.missing,
            "replaced": self.replaced,
            "running": self.running,
            "damaged_lines": self.damaged,
            "maps_per_second": round(self.per_second, 3),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
            "reasons": dict(self.reasons.most_common()),
        }

    def as_text(self) -> str:
        """Return the status as text for people."""
        text = f"run {self.fingerprint}: {self.done:,} of {self.jobs:,} maps done, {self.failed:,} failed, "
        text += f"{self.missing:,} missing"
        if self.replaced:
            text += f", {self.replaced:,} overwritten by another run"
        if self.shard_count > 1:
            text += f"; {len(self.shards)} of {self.shard_count} shards begun"
        if self.missing:
            text += (
                f"; {counted(self.running, 'process')} running" if self.running else "; nothing is running"
            )
            if self.seconds_left is not None:
                text += f", {self.per_second:.3g} a second, {duration(self.seconds_left)} left"
        if self.damaged:
            text += f"\n{counted(self.damaged, 'damaged line')} of its journal skipped"
        if self.reasons:
            reasons = [f"{count:,} × {reason}" for reason, count in self.reasons.most_common()]
            text += f"\nfailed:\n{listed(reasons)}"
        return text


def read_status(root: Path, now: float | None = None) -> list[RunStatus]:
    """Return the runs with journals in ``root`` or its direct subfolders.

    Raises
    ------
    OutputError
        There is no journal, or one cannot be read.
    """
    paths = find_journals(root) or [path for folder in _folders_of(root) for path in find_journals(folder)]
    runs: dict[tuple[Path, str], RunStatus] = {}
    alive = {folder: running(folder) for folder in {path.parent for path in paths}}
    for path in paths:
        with JournalReader(path) as reader:
            if (header := reader.header) is not None:
                empty = RunStatus(header.fingerprint, header.jobs, header.shard.count)
                run = runs.setdefault((path.parent, header.fingerprint), empty)
                is_running = (header.fingerprint, header.shard.label) in alive[path.parent]
                _add(run, reader, time.time() if now is None else now, is_running=is_running)
    if not runs:
        raise OutputError(
            f"{root}: contains no journal of a run; give the output folder of the run (-p joined with "
            "standalone_outpath)"
        )
    return list(runs.values())


def _folders_of(root: Path) -> list[Path]:
    """Return the folders in ``root``; none if it is not a folder."""
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _add(run: RunStatus, reader: JournalReader, now: float, *, is_running: bool) -> None:
    """Add the counts of one shard."""
    assert reader.header is not None
    run.shards.append(reader.header.shard.index)
    states: dict[int, int] = {}  # a dictionary, as a header can claim any number of jobs
    reasons: dict[int, str] = {}
    recent: list[float] = []
    for record in reader.records():
        states[record.job] = STATES[record.status]
        if record.status == "failed":
            reasons[record.job] = presentable(record.error.removeprefix(f"{record.image}: "))
        if now - record.time <= _RECENT_SECONDS:
            recent.append(record.time)
    counts = Counter(states.values())
    run.done += counts[DONE]
    run.failed += counts[FAILED]
    run.replaced += counts[REPLACED]
    run.damaged += reader.passed_over
    run.reasons.update(reason for job, reason in reasons.items() if states[job] == FAILED)
    if is_running:
        run.running += 1
        if len(recent) > 1:
            run.per_second += len(recent) / max(now - min(recent), 1e-3)
