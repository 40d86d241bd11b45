"""Communication of the zoo's check with its processes: jobs and answers are JSON.

Every net runs in separate processes, with several interpreters: so a net that cannot run, or takes all
memory, does not end the check, and OpenCV and PyTorch can have any version.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).resolve().parent
ROOT = PROGRAMS.parents[1]

Answer = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A job for one net.

    Attributes
    ----------
    prototxt, caffemodel, image
        Paths; the image is an array in the shape of the net's input.
    output
        Path of the array to write; of a folder, if there are several.
    formulas, quirks
        Codes and kinds.
    epsilon, beta, switch
        Parameters of the rules; the switch layer by name.
    elements
        Elements of the scores that are explained.
    composites
        Names of the composites of the manual.
    bounds
        Least and greatest number of a pixel, for every channel.
    """

    prototxt: str
    caffemodel: str
    image: str
    output: str = ""
    formulas: tuple[int, ...] = ()
    quirks: tuple[str, ...] = ("reference", "corrected")
    epsilon: float = 0.01
    beta: float = 1.0
    switch: str = ""
    elements: tuple[int, ...] = ()
    composites: tuple[str, ...] = ()
    bounds: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())


class JobError(Exception):
    """A process could not do its job; the text is the last line of its output."""


def ask(python: str, script: str, what: str, job: Job) -> Answer:
    """Return the answer of a process.

    Raises
    ------
    JobError
        There is no answer.
    """
    done = subprocess.run(
        [python, str(PROGRAMS / script), what, json.dumps(asdict(job))],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise JobError(lines[-1])
    answer: Answer = json.loads(done.stdout.splitlines()[-1])
    return answer


def serve(tasks: Mapping[str, Callable[[Job], Answer]]) -> None:
    """Do the task on the command line and print the answer."""
    what, job = sys.argv[1], Job(**json.loads(sys.argv[2]))
    print(json.dumps(tasks[what](job)))
