#!/usr/bin/env python3
"""Puts the heatmaps of an output folder side by side in one picture.

A row an image: what the net saw, then its heatmaps, by formula and class where --suffix-target has put
them into the names of the files.
"""

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "show_heatmaps.py"
DONE, FAILED, INTERRUPTED = 0, 3, 130
"""Exit codes, those of `caffe_lrp.errors.ExitCode`."""

try:
    from PIL import Image, ImageDraw, ImageFont
except ModuleNotFoundError:
    print(f"{PROGRAM}: needs Pillow, as caffe-lrp does: run it with .venv/bin/python", file=sys.stderr)
    sys.exit(FAILED)

NUMBERS = ("label", "best", "rank")
HEATMAP = re.compile(
    r"(?P<image>.+?)(_f(?P<formula>[a-z\d-]+)_(c(?P<label>\d+)|top(?P<best>\d+)|rank(?P<rank>\d+)))?_heatmap"
    r"\.png"
)
INPUT_SUFFIX = "_as_inputted_into_the_dnn.png"
SCORES_SUFFIX = "_top10scores.txt"

CAPTION_HEIGHT = 18
CAPTION_MARGIN = 6
"""Pixels that stay free right of a caption, at least."""
FONT_SIZE = 12
MOST_DIGITS = 18
"""Digits of a formula's number, at most."""
LONGEST_LABEL = 40
"""Characters of a class label that are shown, at most."""
GAP = 4
LEAST_SIDE = 128
"""A picture whose longer side has fewer pixels is enlarged."""

DECODING_FAULTS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no picture, or a damaged one."""


class SheetError(Exception):
    """The sheet cannot be made; the message says why."""


@dataclass(frozen=True)
class Heatmap:
    """A heatmap in a folder: its file, the image it explains, and what its name says of it."""

    path: Path
    image: Path
    formula: str | None
    class_index: int | None
    best_count: int | None
    rank: int | None = None

    @property
    def input_path(self) -> Path:
        """The picture of what the net saw, written beside it."""
        return self._beside(INPUT_SUFFIX)

    def class_at(self, rank: int) -> int | None:
        """The class that the net ranks there, from the scores written beside it; None if they do not say."""
        scores = self._beside(SCORES_SUFFIX)
        text = scores.read_text(encoding="ascii", errors="replace") if scores.is_file() else ""
        lines = text.splitlines()
        first = re.match(r"(\d{1,9}) ", lines[rank - 1]) if rank <= len(lines) else None
        return int(first[1]) if first else None

    def caption(self, labels: Sequence[str]) -> str:
        """What to write above it: formula and class."""
        if self.formula is None:
            return "heatmap"
        if self.class_index is not None:
            return f"formula {self.formula}: {class_name(self.class_index, labels)}"
        if self.rank is None and self.best_count != 1:
            return f"formula {self.formula}: best {self.best_count}"
        rank = self.rank or 1
        place = f"formula {self.formula}: " + ("best" if rank == 1 else f"no. {rank}")
        index = self.class_at(rank)
        return place if index is None else f"{place}, {class_name(index, labels)}"

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name.removesuffix("_heatmap.png") + suffix)


def class_name(index: int, labels: Sequence[str]) -> str:
    """The label of a class, shortened, or its number where there is no label."""
    label = labels[index].strip() if index < len(labels) else ""
    if len(label) > LONGEST_LABEL:
        label = f"{label[: LONGEST_LABEL - 1].rstrip()}…"
    return label or f"class {index}"


def find_heatmaps(folder: Path) -> dict[Path, list[Heatmap]]:
    """Heatmaps below a folder by the image they explain, both in order of their names and numbers."""
    rows: dict[Path, list[Heatmap]] = {}
    for path in folder.rglob("*_heatmap.png"):
        if path.is_file() and (found := HEATMAP.fullmatch(path.name)):
            image = path.with_name(found["image"])
            numbers = (int(found[name]) if found[name] else None for name in NUMBERS)
            rows.setdefault(image, []).append(Heatmap(path, image, found["formula"], *numbers))
    return {image: sorted(rows[image], key=_order) for image in sorted(rows)}


def _order(heatmap: Heatmap) -> tuple[int | str, ...]:
    formula = heatmap.formula or ""
    numbers = (heatmap.class_index, heatmap.best_count, heatmap.rank)
    return (
        formula.zfill(MOST_DIGITS) if formula.isdecimal() else formula,
        *(-1 if number is None else number for number in numbers),
    )


def read_picture(path: Path) -> Image.Image | None:
    """The picture in a file, in colour and large enough to look at; None if there is no file.

    Raises SheetError if the file holds no picture.
    """
    if not path.is_file():
        return None
    try:
        with Image.open(path) as stored:
            picture = stored.convert("RGB")
    except DECODING_FAULTS as error:
        raise SheetError(f"{path}: cannot be decoded as a picture; make it anew or move it away") from error
    zoom = math.ceil(LEAST_SIDE / max(picture.size))
    size = (picture.width * zoom, picture.height * zoom)
    return picture.resize(size, Image.Resampling.NEAREST) if zoom > 1 else picture


def draw_sheet(rows: Mapping[Path, Sequence[Heatmap]], labels: Sequence[str]) -> Image.Image:
    """All rows in one picture; every tile holds the largest picture and the widest caption.

    Raises SheetError if a file holds no picture.
    """
    tiles = [
        [
            ("the net's input", read_picture(row[0].input_path)),
            *((heatmap.caption(labels), read_picture(heatmap.path)) for heatmap in row),
        ]
        for row in rows.values()
    ]
    font = ImageFont.load_default(FONT_SIZE)
    captions = {caption for row in tiles for caption, _ in row}
    pictures = [picture for row in tiles for _, picture in row if picture]
    width = max(math.ceil(font.getlength(caption)) + CAPTION_MARGIN for caption in captions)
    width = max([width, *(picture.width for picture in pictures)])
    height = max(picture.height for picture in pictures)
    across, down = max(map(len, tiles)), len(tiles)
    size = (across * (width + GAP) + GAP, down * (height + CAPTION_HEIGHT + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row_number, row in enumerate(tiles):
        for column, (caption, picture) in enumerate(row):
            x, y = GAP + column * (width + GAP), GAP + row_number * (height + CAPTION_HEIGHT + GAP)
            draw.text((x, y), caption, fill="black", font=font)
            if picture:
                sheet.paste(picture, (x, y + CAPTION_HEIGHT))
    return sheet


def positive(text: str) -> int:
    """A positive whole number from the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def command_line() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Put the heatmaps of a folder side by side in one picture."
    )
    option = parser.add_argument
    option("folder", type=Path, metavar="FOLDER", help="output folder of caffe-lrp")
    option("sheet", type=Path, metavar="PICTURE", help="the PNG to write")
    option("--synset", type=Path, metavar="FILE", help="class labels, one a line")
    option("--rows", type=positive, metavar="N", help="show the first N images only")
    return parser


def make_sheet(folder: Path, sheet: Path, synset: Path | None, row_count: int | None) -> str:
    """Write the sheet of a folder and return what to tell the user.

    Raises SheetError or OSError if that cannot be done.
    """
    for needed in (folder, sheet.parent):
        if not needed.is_dir():
            raise SheetError(f"{needed}: {'is no folder' if needed.exists() else 'there is no such folder'}")
    # Labels may be in any encoding: a character that is lost does less harm than no sheet.
    labels = synset.read_text(encoding="utf-8-sig", errors="replace").splitlines() if synset else []
    rows = dict(list(find_heatmaps(folder).items())[:row_count])
    if not rows:
        raise SheetError(f"{folder}: no *_heatmap.png below this folder")
    draw_sheet(rows, labels).save(sheet, format="PNG", optimize=True)
    return f"wrote {sheet}: {counted(len(rows), 'image')}, {counted(sum(map(len, rows.values())), 'heatmap')}"


def counted(count: int, thing: str) -> str:
    """A number of things in words."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def main() -> int:
    """Draw the picture that the command line asks for and return the exit code."""
    options = command_line().parse_args()
    try:
        print(make_sheet(options.folder, options.sheet, options.synset, options.rows))
    except SheetError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
    except OSError as error:
        # One of writing does not name the file.
        print(f"{PROGRAM}: {error.filename or options.sheet}: {error.strerror or error}", file=sys.stderr)
    except MemoryError:
        print(f"{PROGRAM}: not enough memory for all images: show fewer with --rows N", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return INTERRUPTED
    else:
        return DONE
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
