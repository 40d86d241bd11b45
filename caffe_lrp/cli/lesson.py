"""The work of ``caffe-lrp classroom``: digits, a net, Caffe files, explanations, a sheet."""

import argparse
import io
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import caffe_lrp
from caffe_lrp.errors import ExitCode, OutputError
from caffe_lrp.files.atomic import why_unwritable, write_new_bytes
from caffe_lrp.messages import duration
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.rendering.sheet import Block, Tile, photo_tile, sheet_of_blocks
from caffe_lrp.toolbox.digits import Pixels, as_maps, as_vectors, make_digits
from caffe_lrp.toolbox.fitting import History, Step
from caffe_lrp.toolbox.modules import Sequential
from caffe_lrp.toolbox.optimizers import Adam
from caffe_lrp.toolbox.presets import new_lenet, new_mlp

from .terminal import say

#: Formula -> its caption on the sheet, whose font has no Greek letters.
RULES: dict[FormulaCode, str] = {
    0: "formula 0: epsilon",
    "epsilon-alpha2-beta1": "epsilon-alpha2-beta1",
    "epsilon-plus-flat": "epsilon-plus-flat",
    "gamma-all": "gamma-all",
}

_EPOCHS, _BATCH = 3, 32
_RATES = {"lenet": 0.002, "mlp": 0.001}
#: Digits that are not learnt, and show how well the net does.
_HELD_BACK = 1000
#: Seconds between lines about the training.
_SECONDS_BETWEEN_LINES = 5.0
_STYLE: dict[str, Any] = {"mode": "plain", "size": "net", "cmap": "bwr"}


def teach(options: argparse.Namespace) -> ExitCode:
    """Do all steps, and say each before it is done."""
    folder: Path = options.folder
    _make_empty(folder)
    began = time.monotonic()
    net, history = _trained(options)
    wrong = 100 * (1 - history.validation_accuracy[-1])
    say(f"of {_HELD_BACK:,} digits that it has not seen, it gets {wrong:.1f} % wrong", sys.stdout)
    config = net.to_caffe(folder, name="digits", labels=[*map(str, range(10))])
    say(f"the net as Caffe files, and a config for it: {config}", sys.stdout)
    pictures = _write_digits(folder / "digits", options.seed)
    say(f"ten new digits: {folder / 'digits'}; explaining them by {len(RULES)} formulas ...", sys.stdout)
    sheet = folder / "sheet.png"
    _write_png(sheet, sheet_of_blocks(_explained(config, pictures)))
    say(f"sheet of all maps: {sheet}", sys.stdout)
    say("red pixels speak for the class, blue ones against it", sys.stdout)
    say(f"done in {duration(time.monotonic() - began)}; next:", sys.stdout)
    words = ["caffe-lrp", "-c", config, "--images", folder / "digits", "-p", folder / "out"]
    say(f"  {shlex.join(map(str, words))}", sys.stdout)
    say("  caffe-lrp help teaching", sys.stdout)
    return ExitCode.DONE


def _make_empty(folder: Path) -> None:
    """Make the folder; OutputError if something is in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as fault:
        raise OutputError(f"{folder}: cannot be written: {why_unwritable(fault)}") from fault
    if not is_empty:
        raise OutputError(f"{folder}: is not empty; give another folder, or remove what is in it")


def _trained(options: argparse.Namespace) -> tuple[Sequential, History]:
    """The net, and its learning curves."""
    say(f"drawing and distorting {options.digits:,} digits ...", sys.stdout)
    pictures, digits = make_digits(options.digits, options.seed)
    held_pictures, held_digits = make_digits(_HELD_BACK, options.seed + 1)
    is_lenet = options.net == "lenet"
    net = new_lenet(options.seed) if is_lenet else new_mlp(options.seed)
    prepared = _as_lenet_has_them if is_lenet else as_vectors
    say(f"training a net ({options.net}) on them, {_EPOCHS} times ...", sys.stdout)
    reporter = _Reporter()
    history = net.fit(
        prepared(pictures),
        digits,
        optimizer=Adam(_RATES[options.net]),
        epochs=_EPOCHS,
        batch_size=_BATCH,
        validation=(prepared(held_pictures), held_digits),
        seed=options.seed,
        progress=reporter.show,
    )
    return net, history


def _as_lenet_has_them(pictures: Pixels) -> NDArray[np.float32]:
    return as_maps(pictures, border=0)


class _Reporter:
    """Prints a line about the training every few seconds."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._recent: list[Step] = []

    def show(self, step: Step) -> None:
        """Print a line if the last one is a while ago, or the training ends."""
        self._recent.append(step)
        now = time.monotonic()
        done = (step.epoch - 1) * step.batches + step.batch
        total = step.epochs * step.batches
        if now - self._told < _SECONDS_BETWEEN_LINES and done < total:
            return
        loss, accuracy = (
            float(np.mean([getattr(each, name) for each in self._recent])) for name in ("loss", "accuracy")
        )
        left = duration((now - self._began) / done * (total - done))
        rest = f", {left} left" if done < total else ""
        say(f"  {100 * done // total:3} %: loss {loss:.3f}, {100 * accuracy:.1f} % right{rest}", sys.stdout)
        self._told, self._recent = now, []


def _write_digits(folder: Path, seed: int) -> list[Path]:
    """Ten new digits as picture files, from 0 to 9."""
    folder.mkdir()
    pictures, digits = make_digits(10, seed + 2)
    paths = [folder / f"{digit}.png" for digit in range(10)]
    for path, place in zip(paths, np.argsort(digits), strict=True):
        _write_png(path, Image.fromarray(pictures[place]))
    return paths


def _write_png(path: Path, picture: Image.Image) -> None:
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_new_bytes(path, [content.getvalue()])


def _explained(config: Path, pictures: Sequence[Path]) -> list[Block]:
    """A block for each picture: the digit, and a map by each formula."""
    with caffe_lrp.load(config, quirks="corrected") as model:
        found = [*model.explain_all(pictures, formulas=[*RULES])]
    count = len(RULES)
    return [_block(path, found[count * n : count * (n + 1)]) for n, path in enumerate(pictures)]


def _block(path: Path, maps: Sequence[Explanation]) -> Block:
    (best,) = maps[0].top(1)
    tiles = [
        Tile(explanation.heatmap(**_STYLE), (caption,))
        for explanation, caption in zip(maps, RULES.values(), strict=True)
    ]
    title = f"{path.stem}: the net says {best.label}, {maps[0].score_text(best.score)}"
    return Block((title,), (photo_tile(maps[0].input, path.name), *tiles))
