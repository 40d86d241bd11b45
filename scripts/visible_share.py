#!/usr/bin/env python3
"""Says how much of the heatmaps of an output folder can be seen, formula by formula.

A pixel can be seen if it reaches 20 % of the brightest value of its heatmap in any colour.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from show_heatmaps import DONE, FAILED, SheetError, find_heatmaps, read_picture

from caffe_lrp.rendering.heatmap import LEAST_BRIGHTNESS, LEAST_VISIBLE

PROGRAM = "visible_share.py"


def visible_share(path: Path) -> float:
    """The share of the pixels of a heatmap that can be seen.

    Raises SheetError if the file holds no picture.
    """
    picture = read_picture(path)
    assert picture is not None  # it was found a moment ago
    brightest_colours = np.asarray(picture).max(axis=2)
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
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Say how much of heatmaps can be seen.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="output folder of caffe-lrp")
    folder = parser.parse_args(arguments).folder
    shares: dict[str, list[float]] = {}
    try:
        for row in find_heatmaps(folder).values():
            for heatmap in row:
                shares.setdefault(heatmap.formula or "-", []).append(visible_share(heatmap.path))
    except SheetError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return FAILED
    if not shares:
        print(f"{PROGRAM}: {folder}: no *_heatmap.png below this folder", file=sys.stderr)
        return FAILED
    print("\n".join(table(shares)))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
