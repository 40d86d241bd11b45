#!/usr/bin/env python3
"""Puts the heatmaps of an output folder side by side in one picture.

A row an image: what the net saw, then its heatmaps, by formula and class where --suffix-target has put
them into the names of the files.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HEATMAP = re.compile(r"(?P<image>.+?)(_f(?P<formula>\d+)_(c(?P<label>\d+)|top(?P<best>\d+)))?_heatmap\.png")
INPUT_SUFFIX = "_as_inputted_into_the_dnn.png"
CAPTION_HEIGHT = 18
FONT_SIZE = 12
GAP = 4


@dataclass(frozen=True)
class Heatmap:
    """A heatmap in a folder: its file, the image it explains, and what its name says of it."""

    path: Path
    image: Path
    formula: int | None
    class_index: int | None
    best_count: int | None

    @property
    def input_path(self) -> Path:
        """The picture of what the net saw, written beside it."""
        return self.path.with_name(self.path.name.removesuffix("_heatmap.png") + INPUT_SUFFIX)

    def caption(self, labels: Sequence[str]) -> str:
        """What to write above it: formula and class."""
        if self.formula is None:
            return "heatmap"
        if self.class_index is None:
            return f"formula {self.formula}: best {self.best_count}"
        known = self.class_index < len(labels)
        name = labels[self.class_index] if known else f"class {self.class_index}"
        return f"formula {self.formula}: {name}"


def find_heatmaps(folder: Path) -> dict[Path, list[Heatmap]]:
    """Heatmaps below a folder by the image they explain, both in order of their names and numbers."""
    rows: dict[Path, list[Heatmap]] = {}
    for path in folder.rglob("*_heatmap.png"):
        if found := HEATMAP.fullmatch(path.name):
            image = path.with_name(found["image"])
            numbers = (int(found[name]) if found[name] else None for name in ("formula", "label", "best"))
            rows.setdefault(image, []).append(Heatmap(path, image, *numbers))
    return {image: sorted(rows[image], key=_order) for image in sorted(rows)}


def _order(heatmap: Heatmap) -> tuple[int, ...]:
    return tuple(
        -1 if number is None else number
        for number in (heatmap.formula, heatmap.class_index, heatmap.best_count)
    )


def draw_sheet(rows: Mapping[Path, Sequence[Heatmap]], labels: Sequence[str]) -> Image.Image:
    """All rows in one picture; every tile is as large as the largest picture."""
    tiles = [
        [
            ("the net's input", row[0].input_path),
            *((heatmap.caption(labels), heatmap.path) for heatmap in row),
        ]
        for row in rows.values()
    ]
    sizes = [Image.open(path).size for row in tiles for _, path in row if path.exists()]
    width, height = (max(side) for side in zip(*sizes, strict=True))
    across, down = max(map(len, tiles)), len(tiles)
    size = (across * (width + GAP) + GAP, down * (height + CAPTION_HEIGHT + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    for row_number, row in enumerate(tiles):
        for column, (caption, path) in enumerate(row):
            x, y = GAP + column * (width + GAP), GAP + row_number * (height + CAPTION_HEIGHT + GAP)
            draw.text((x, y), caption, fill="black", font=font)
            if path.exists():
                sheet.paste(Image.open(path), (x, y + CAPTION_HEIGHT))
    return sheet


def main() -> int:
    """Draw the picture that the command line asks for and return the exit code."""
    parser = argparse.ArgumentParser(description="Put the heatmaps of a folder side by side in one picture.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="output folder of caffe-lrp")
    parser.add_argument("sheet", type=Path, metavar="PICTURE", help="the PNG to write")
    parser.add_argument("--synset", type=Path, metavar="FILE", help="class labels, one a line")
    parser.add_argument("--rows", type=int, metavar="N", help="show the first N images only")
    options = parser.parse_args()
    rows = find_heatmaps(options.folder)
    if not rows:
        print(f"show_heatmaps.py: {options.folder}: no *_heatmap.png below this folder", file=sys.stderr)
        return 3
    try:
        labels = options.synset.read_text().splitlines() if options.synset else []
        draw_sheet(dict(list(rows.items())[: options.rows]), labels).save(options.sheet, optimize=True)
    except OSError as error:
        print(f"show_heatmaps.py: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
