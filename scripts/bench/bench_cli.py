"""Measures `caffe-lrp` as a process: seconds an image with all files written, and seconds to start."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_worker import Round, timed
from caffe_lrp.outputs.result import HeatmapResult

from caffe_lrp.model.explainer import Session
from caffe_lrp.outputs.kinds import default_kinds
from caffe_lrp.outputs.writers import write_outputs

BEST_SCORES = 10
"""Lines of the file with the best scores."""

RELEVANCE_SCALE = 1e5
"""Relevance of a pixel is about so much smaller than its grey level."""

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


def starts(config: Path, photo: Path, options: Sequence[str]) -> tuple[ProcessRun, ProcessRun]:
    """Return a run on one image with an empty cache of compiled kernels, and the next one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"CAFFE_LRP_CACHE_DIR": cache}
        cold, warm = (run_cli(config, [photo], options, environment) for _ in range(2))
    return cold, warm


def decode_milliseconds(session: Session, photos: Sequence[Path]) -> float:
    """Return the milliseconds in which one thread makes the input of the net from a file."""
    session.preprocessor(photos[0])
    return 1e3 * timed(lambda: [session.preprocessor(photo) for photo in photos]) / len(photos)


def write_milliseconds(session: Session, photos: Sequence[Path]) -> float:
    """Return the milliseconds in which one thread writes the four files of an image.

    The relevance written is the image itself less its mean, which has as many digits.
    """
    scores = np.linspace(1.0, 0.1, BEST_SCORES, dtype=np.float32)
    results = [
        HeatmapResult(
            relevance=image.blob / np.float32(RELEVANCE_SCALE),
            is_image=True,
            picture=image.picture,
            ranked_classes=np.arange(BEST_SCORES),
            ranked_scores=scores,
        )
        for image in map(session.preprocessor, photos)
    ]
    with tempfile.TemporaryDirectory() as folder:

        def write_all() -> None:
            for number, result in enumerate(results):
                write_outputs(f"{folder}/{number}", result, DEFAULT_KINDS)

        write_all()
        return 1e3 * timed(write_all) / len(results)
