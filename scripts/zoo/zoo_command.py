"""The part of the zoo's check that runs the command with a net's config on a photo."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_nets import photo
from make_random_weights import labels
from PIL import Image
from zoo_entry import ZooNet
from zoo_worker import ROOT, JobError

PHOTO_SIZE = (500, 375)


def run_command(
    folder: Path, config: str, prototxt: Path, entry: ZooNet, formulas: Sequence[int], quirks: Sequence[str]
) -> float:
    """Return the seconds that the command takes for all formulas with both kinds of quirks.

    Parameters
    ----------
    folder
        Folder of the net's weights, ``net.caffemodel``; all other files are written there.
    config
        Text of the net's config.
    prototxt, entry
        The net.
    formulas, quirks
        Codes and kinds.

    Raises
    ------
    JobError
        The command fails, or writes a map that is zero or not finite.
    """
    values = {"param_file": prototxt, "model_file": "net.caffemodel", "synsetfile": "labels.txt"}
    lines = [f"{key}: {value}" for key, value in values.items()]
    lines += [line for line in config.splitlines() if line.split(":")[0] not in values]
    (folder / "net.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "labels.txt").write_text(labels(entry.classes), encoding="utf-8")
    (folder / "images").mkdir()
    Image.fromarray(photo(1, *PHOTO_SIZE)).save(folder / "images" / "photo.png")
    (folder / "list.txt").write_text("images/photo.png -1\n", encoding="utf-8")
    started = time.perf_counter()
    for kind in quirks:
        _run(folder, kind, formulas)
        maps = sorted((folder / kind).rglob("*_relevance.npy"))
        if len(maps) != len(formulas):
            raise JobError(f"{len(maps)} maps were written, not {len(formulas)}")
        for path in maps:
            found = np.load(path)
            if not (np.isfinite(found).all() and found.any()):
                raise JobError(f"{path.name} ({kind}) is zero or not finite")
    return time.perf_counter() - started


def _run(folder: Path, quirks: str, formulas: Sequence[int]) -> None:
    options = ["-c", "net.yaml", "-f", "list.txt", "-p", quirks, "--outputs", "npy", "--quirks", quirks]
    done = subprocess.run(
        [sys.executable, "-m", "caffe_lrp", *options, "--formula", ",".join(map(str, formulas))],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise JobError((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1])
