#!/usr/bin/env python3
"""Measures how much of the heatmaps in an output folder is visible, for each formula.

A pixel is visible if it reaches 20 % of the brightest value of its heatmap in any colour.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from caffe_lrp.errors import ExitCode
from caffe_lrp.rendering.heatmap import LEAST_BRIGHTNESS, LEAST_VISIBLE

PROGRAM = "visible_share.py"

#: A heatmap's name; --suffix-target puts the formula into it.
HEATMAP = re.compile(r".+?(_f(?P<formula>[a-z\d-]+)_(c|top|rank)\d+)?_heatmap\.png")
#: Errors of Pillow for files that are not pictures, or are damaged.
FAULTS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def visible_share(path: Path) -> float:
    """The share of visible pixels of a heatmap; raises one of `FAULTS` if the file is not a picture."""
    with Image.open(path) as picture:
        brightest_colours = np.asarray(picture.convert("RGB")).max(axis=2)
    peak = brightest_colours.max()
    return float(np.mean(brightest_colours >= LEAST_BRIGHTNESS * peak)) if peak else 0.0


def table(shares: dict[str, list[float]]) -> list[str]:
    """Lines in Markdown: a row for every formula and its shares."""
    lines = ["| formula | heatmaps | visible, mean | least | most | dark |", "| --- " + "| ---: " * 5 + "|"]
    for formula, found in shares.items():
        numbers = (f"{100 * number:.2f} %" for number in (fmean(found), min(found), max(found)))
        dark = sum(share < LEAST_VISIBLE for share in found)
        lines.append(f"| {formula} | {len(found)} | {' | '.join(numbers)} | {dark} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Measure how much of heatmaps is visible.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="output folder of caffe-lrp")
    folder = parser.parse_args(arguments).folder
    shares: dict[str, list[float]] = {}
    for path in sorted(folder.rglob("*_heatmap.png")):
        if match := HEATMAP.fullmatch(path.name):
            try:
                shares.setdefault(match["formula"] or "-", []).append(visible_share(path))
            except FAULTS as error:
                print(f"{PROGRAM}: {path}: cannot be decoded as a picture: {error}", file=sys.stderr)
                return ExitCode.BAD_INPUT
    if not shares:
        print(f"{PROGRAM}: {folder}: no *_heatmap.png below this folder", file=sys.stderr)
        return ExitCode.BAD_INPUT
    print("\n".join(table(shares)))
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
