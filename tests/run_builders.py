"""Runs over copies of two pictures, ended or killed, and what they leave: shared by tests of such runs."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from command_line import CONFIG, DATA, Result, files_below, run

PICTURES = ("square.jpg", "tall.png")


def copies(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        name = PICTURES[number % 2]
        shutil.copy(DATA / "images/set" / name, folder / f"{number:02}{Path(name).suffix}")
    return folder


def all_of(images: Path) -> Path:
    path = images.parent / "all.txt"
    path.write_text(
        "".join(f"{image} {3 + number % 4}\n" for number, image in enumerate(sorted(images.iterdir())))
    )
    return path


def arguments(path: Path, out: Path, *options: object) -> list[str]:
    words = ["-c", CONFIG, "-f", path, "-p", out, "--threads", 1, "--batch", 2, *options]
    return list(map(str, words))


def command(path: Path, out: Path, *options: object) -> list[str]:
    """The same as a process."""
    return [sys.executable, "-m", "caffe_lrp", *arguments(path, out, *options)]


def finish(path: Path, out: Path, *options: object) -> Result:
    """Run to the end, in this process."""
    return run(*arguments(path, out, *options))


def journal_of(out: Path) -> Path:
    (path,) = (out / "out").glob("caffe-lrp-*.jsonl")
    return path


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in files_below(out)}


def wait_for_maps(out: Path, count: int) -> None:
    """Until so many maps are done; in the journal they are a little later, when a fast run may be over."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        if len(list(out.rglob("*_rawhm.txt"))) >= count:
            return
        time.sleep(0.005)
    raise AssertionError("the run does not come forward")
