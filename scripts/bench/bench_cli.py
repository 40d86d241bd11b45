"""Measures `caffe-lrp` as a process: seconds an image with all files written, and seconds to start.

Also measures the Python interface, which explains the same images and writes nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_worker import Round, timed

from caffe_lrp.model.model import Model
from caffe_lrp.outputs.encoding import Encoding
from caffe_lrp.outputs.kinds import default_kinds
from caffe_lrp.outputs.writers import write_outputs
from caffe_lrp.relevance.composite import FormulaCode

DEFAULT_KINDS = default_kinds(text_only=False)
"""The files that a run writes by default."""


@dataclass(frozen=True)
class ProcessRun:
    """One process: wall time in seconds, largest resident memory in MB, and when its files were written.

    Attributes
    ----------
    seconds, peak_memory
        Time and memory of the whole process.
    written
        Times when the files were written, in seconds, sorted.
    """

    seconds: float
    peak_memory: float
    written: tuple[float, ...] = ()


def run_cli(
    config: Path, photos: Sequence[Path], options: Sequence[str], environment: Mapping[str, str] | None = None
) -> ProcessRun:
    """Run `caffe-lrp`, remove its files, and return its measurements.

    Parameters
    ----------
    config
        Config file.
    photos
        Images to explain.
    options
        Further options of `caffe-lrp`.
    environment
        Environment variables of the process; None: those of this process.

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
        names = tuple(f"{photo.name}_" for photo in photos)
        files = (file for file in Path(folder).rglob("*") if file.name.startswith(names))
        written = tuple(sorted(file.stat().st_mtime for file in files))
    if process.returncode:
        raise RuntimeError(f"caffe-lrp ended with exit code {process.returncode}")
    return ProcessRun(seconds, usage.ru_maxrss / 1024, written)


def end_to_end(
    config: Path, photos: Sequence[Path], apart: int, options: Sequence[str]
) -> tuple[Round, ProcessRun]:
    """Return the time per image in the steady state, and the whole run.

    The time counts from the last file of the first `apart` images to the last file before the final `apart`
    images: at both moments other images are being processed.
    """
    run = run_cli(config, photos, options)
    return _middle(run.written, len(photos), apart), run


def explain_all(
    model: Model, photos: Sequence[Path], apart: int, formula: FormulaCode, batch: int | None = None
) -> Round:
    """Return the time per image in Python in the steady state; counted as in `end_to_end`."""
    made = [time.perf_counter() for _ in model.explain_all(photos, formulas=[formula], batch=batch)]
    return _middle(made, len(photos), apart)


def _middle(moments: Sequence[float], images: int, apart: int) -> Round:
    """Return the round without the first and the last few images; each image has the same number of times."""
    each = len(moments) // images
    return Round(images - 2 * apart, moments[each * (images - apart) - 1] - moments[each * apart - 1])


def starts(config: Path, photo: Path, options: Sequence[str]) -> tuple[ProcessRun, ProcessRun]:
    """Return a run on one image with an empty cache of compiled kernels, and the next one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"CAFFE_LRP_CACHE_DIR": cache}
        cold, warm = (run_cli(config, [photo], options, environment) for _ in range(2))
    return cold, warm


def decode_milliseconds(model: Model, photos: Sequence[Path]) -> float:
    """Return the milliseconds that one thread takes to make the net's input from a file."""
    preprocessor = model.explainer(()).preprocessor
    preprocessor(photos[0])
    return 1e3 * timed(lambda: [preprocessor(photo) for photo in photos]) / len(photos)


def write_milliseconds(model: Model, photos: Sequence[Path], formula: FormulaCode) -> float:
    """Return the milliseconds that one thread takes to write the four files of an image."""
    explanations = [model.explain(photo, formula=formula) for photo in photos]
    with tempfile.TemporaryDirectory() as folder:

        def write_all() -> None:
            for number, explanation in enumerate(explanations):
                write_outputs(f"{folder}/{number}", explanation, DEFAULT_KINDS, Encoding())

        write_all()
        return 1e3 * timed(write_all) / len(explanations)
