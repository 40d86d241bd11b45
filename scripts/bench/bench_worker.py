"""Worker processes of the benchmark, and the communication with them.

Every measured program runs in its own process and is idle until it is asked for a round. So several programs
can alternate on the same machine without sharing threads or memory, and the largest memory of each is known.
Requests and answers are lines: the name of the program to run, and JSON.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes
    ----------
    config
        Path of the config file.
    photos
        Paths of the images to explain; they are read before anything is measured.
    formula
        Formula, None for a forward pass alone.
    batch
        Images in a batch.
    threads
        Threads that compute.
    together
        Whether all threads work on the same batch, for the lowest latency; otherwise, if the program can do
        so, each thread works on its own batches, for the highest throughput.
    convolution
        How caffe-lrp computes convolutions, as its option of this name.
    round_seconds
        Approximate length of a round; at least one call.
    """

    config: str
    photos: tuple[str, ...]
    formula: int | str | None
    batch: int
    threads: int
    together: bool
    convolution: str
    round_seconds: float


@dataclass(frozen=True)
class Round:
    """The time of a round: images, seconds of wall time, and the shares of forward and backward pass."""

    images: int
    seconds: float
    forward_seconds: float = math.nan
    relevance_seconds: float = math.nan

    @property
    def milliseconds(self) -> float:
        """Wall time of an image."""
        return 1e3 * self.seconds / self.images


#: Runs something a given number of times and returns the total time.
Runner = Callable[[int], Round]


class Worker:
    """A process that runs `serve`; a context manager that ends the process.

    Parameters
    ----------
    script
        Name of the program in this file's folder.
    case
        The case to measure.
    environment
        Environment variables of the process; None: those of this process.
    """

    def __init__(self, script: str, case: Case, environment: Mapping[str, str] | None = None) -> None:
        self._name = script
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / script), json.dumps(asdict(case))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        #: Largest resident memory of the process in MB, known at its end.
        self.peak_memory = math.nan

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.peak_memory = float(self._ask("end")["peak_memory"])
        else:
            self._process.kill()
        self._process.communicate()

    def run(self, what: str) -> Round:
        """Return how long a round took.

        Raises
        ------
        RuntimeError
            The process has ended; it has printed why.
        """
        return Round(**self._ask(what))

    def _ask(self, question: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(question, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            answer = ""
        else:
            answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._name} ended with exit code {self._process.wait()}")
        return dict(json.loads(answer))


def read_case(text: str) -> Case:
    """Return the case that a process was started with."""
    values = json.loads(text)
    return Case(**values | {"photos": tuple(values["photos"])})


def serve(runners: Mapping[str, Runner], round_seconds: float) -> None:
    """Answer requests until the end; the first request for a program also finds its number of repetitions."""
    counts: dict[str, int] = {}
    for line in sys.stdin:
        what = line.strip()
        if what == "end":
            break
        if what not in counts:
            counts[what] = repetitions(runners[what], round_seconds)
        print(json.dumps(asdict(runners[what](counts[what]))), flush=True)
    print(json.dumps({"peak_memory": peak_memory()}), flush=True)


def repetitions(runner: Runner, round_seconds: float) -> int:
    """Return the repetitions for a round, after two runs: one to warm up and one that is timed."""
    runner(1)
    return max(1, round(round_seconds / runner(1).seconds))


def peak_memory() -> float:
    """Return the largest resident memory of this process so far in MB, NaN where it is not known."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return math.nan


def timed(call: Callable[[], object]) -> float:
    """Return the seconds a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
