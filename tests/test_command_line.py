"""Runs of the command line in the process of the tests: they see all that is printed, and leave no trace."""

import os
import signal
import sys
import threading
import warnings
from pathlib import Path

import cv2
import pytest
from command_line import CONFIG, files_below, listing, run, run_demo, run_process
from PIL import Image

from caffe_lrp.batch.delivery import Delivery
from caffe_lrp.cli.halt import Halt
from caffe_lrp.errors import ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def state() -> dict[str, object]:
    """What belongs to the whole process, and a run might leave changed."""
    umask = os.umask(0o22)
    os.umask(umask)
    return {
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "streams": (sys.stdout, sys.stderr),
        "descriptors": [Path(f"/proc/self/fd/{number}").readlink() for number in range(3)],
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "hooks": (sys.excepthook, sys.unraisablehook),
        "warnings": list(warnings.filters),
        "umask": umask,
        "threads of OpenCV": cv2.getNumThreads(),
        "largest image of Pillow": Image.MAX_IMAGE_PIXELS,
    }


def test_a_run_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/none.jpg 3")
    run("-c", CONFIG, "-f", path, "-p", tmp_path / "first")  # loads libraries
    before, threads = state(), set(threading.enumerate())
    assert run("-c", CONFIG, "-f", path, "-p", tmp_path / "o").returncode == ExitCode.IMAGES_FAILED
    assert run("--nonsense").returncode == ExitCode.USAGE
    assert run_demo(tmp_path / "none.txt", path, "images").returncode == ExitCode.BAD_INPUT
    assert state() == before
    assert set(threading.enumerate()) <= threads


def test_a_run_that_breaks_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = listing(tmp_path, "images/set/square.jpg 3"), state()

    def fail(*_: object) -> None:
        os.environ["LEFT"] = "behind"
        warnings.simplefilter("error")
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Delivery, "settle", fail)
        with pytest.raises(ZeroDivisionError):
            run("-v", "-c", CONFIG, "-f", path, "-p", tmp_path / "o")
    assert state() == before


def test_output_of_libraries_that_bypasses_python_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    conclude = Halt.conclude

    def print_and_conclude(halt: Halt) -> None:
        os.write(1, b"one\n")
        os.write(2, b"two\n")
        conclude(halt)

    monkeypatch.setattr(Halt, "conclude", print_and_conclude)
    result = run("--version")
    assert sorted(result.stdout.splitlines()) == sorted(
        ["one", *run_process("--version").stdout.splitlines()]
    )
    assert result.stderr == "two\n"


@pytest.mark.slow
def test_a_run_here_is_that_of_a_process(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/none.jpg 3")
    here = run("-c", CONFIG, "-f", path, "-p", tmp_path / "here", "--quiet")
    there = run_process("-c", CONFIG, "-f", path, "-p", tmp_path / "there", "--quiet")
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)
    assert here.returncode == ExitCode.IMAGES_FAILED
    names = files_below(tmp_path / "here")
    assert names == files_below(tmp_path / "there")
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
