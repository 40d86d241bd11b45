"""Measures `caffe-lrp` as a process: seconds an image with all files written, and seconds to start.

Beside it the Python interface, which explains the same images and writes nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_worker import Round, timed

from caffe_lrp.model.model import Model
from caffe_lrp.outputs.encoding import Encoding
from caffe_lrp.outputs.kinds import default_kinds
from caffe_lrp.outputs.writers import write_outputs
from caffe_lrp.relevance.formulas import FormulaCode

DEFAULT_KINDS = default_kinds(text_only=False)
"""What a run writes unless told otherwise."""


@dataclass(frozen=True)
class ProcessRun:
    """Wall time in seconds and largest resident memory in MB of one process."""

    seconds: float
    peak_memory: float


def run_cli(
    config: Path, photos: Sequence[Path], options: Sequence[str], environment: Mapping[str, str] | None = None
) -> ProcessRun:
    """Return what a run of `caffe-lrp` took; its files are removed.

    Parameters
    ----------
    config
        Config file.
    photos
        Images to explain.
    options
        Further options of `caffe-lrp`.
    environment
        All environment variables of the process, None for those of this one.

    Raises
    ------
    RuntimeError
        The run failed; it has printed why.
    """
    with tempfile.TemporaryDirectory() as folder:
        filelist = Path(folder) / "list.txt"
        filelist.write_text("".join(f"{photo} -1\n" for photo in photos), encoding="utf-8")
        command = [sys.executable, "-m", "caffe_lrp", "-c", str(config), "-f", str(filelist), "-p", folder]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--quiet", *options], env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"caffe-lrp ended with exit code {process.returncode}")
    return ProcessRun(seconds, usage.ru_maxrss / 1024)


def end_to_end(
    config: Path, photos: Sequence[Path], few: int, options: Sequence[str]
) -> tuple[Round, ProcessRun]:
    """Return how long images take once everything is running, and the longer of two runs.

    The images are those a run with all photos has more than one with the first `few`, and so is the time.
    """
    short = run_cli(config, photos[:few], options)
    full = run_cli(config, photos, options)
    return Round(len(photos) - few, full.seconds - short.seconds), full


def explain_all(
    model: Model, photos: Sequence[Path], few: int, formula: FormulaCode, batch: int | None = None
) -> Round:
    """Return how long images take in Python once everything is running; counted as in `end_to_end`."""

    def seconds(paths: Sequence[Path]) -> float:
        return timed(lambda: deque(model.explain_all(paths, formulas=[formula], batch=batch), maxlen=0))

    short = seconds(photos[:few])
    return Round(len(photos) - few, seconds(photos) - short)


def starts(config: Path, photo: Path, options: Sequence[str]) -> tuple[ProcessRun, ProcessRun]:
    """Return a run on one image with an empty cache of compiled kernels, and the next one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"CAFFE_LRP_CACHE_DIR": cache}
        cold, warm = (run_cli(config, [photo], options, environment) for _ in range(2))
    return cold, warm


def decode_milliseconds(model: Model, photos: Sequence[Path]) -> float:
    """Return the milliseconds in which one thread makes the input of the net from a file."""
    preprocessor = model.explainer(()).preprocessor
    preprocessor(photos[0])
    return 1e3 * timed(lambda: [preprocessor(photo) for photo in photos]) / len(photos)


def write_milliseconds(model: Model, photos: Sequence[Path], formula: FormulaCode) -> float:
    """Return the milliseconds in which one thread writes the four files of an image."""
    explanations = [model.explain(photo, formula=formula) for photo in photos]
    with tempfile.TemporaryDirectory() as folder:

        def write_all() -> None:
            for number, explanation in enumerate(explanations):
                write_outputs(f"{folder}/{number}", explanation, DEFAULT_KINDS, Encoding())

        write_all()
        return 1e3 * timed(write_all) / len(explanations)
