"""Sheets: many pictures in one, as a block for each photo with its heatmaps, or as a grid of small maps."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from caffe_lrp.errors import UsageError

from .placing import enlarged, enlargement

#: Pictures are enlarged or reduced to fit a box of this size, in pixels.
TILE_WIDTH, TILE_HEIGHT = 520, 224
#: Small maps of a grid are enlarged until their longer side has at least this many pixels.
_LEAST_SIDE = 96
#: Narrower tiles would be too narrow for a caption.
_LEAST_WIDTH = 110

_GAP, _BLOCK_GAP = 6, 16
_TITLE_SIZE, _CAPTION_SIZE = 14, 12
_LINE = 1.4
#: Width of a sheet divided by its height, as far as its blocks allow.
_PROPORTION = 1.5
#: Sheets with more pixels are refused: image viewers cannot show them.
MOST_PIXELS = 200_000_000

_BACKGROUND, _INK, _PALE = "white", "black", "#555555"
_MORE = "…"


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture with its caption.

    Attributes
    ----------
    picture
        The picture, in any mode and size.
    caption
        Its lines; long lines are cut.
    """

    picture: Image.Image
    caption: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Block:
    """The tiles of one photo, side by side.

    Attributes
    ----------
    title
        Lines above the tiles.
    tiles
        The tiles, from left to right.
    """

    title: tuple[str, ...]
    tiles: tuple[Tile, ...]


def photo_tile(picture: NDArray[np.uint8], name: str) -> Tile:
    """A photo (H, W, 3), enlarged as pictures of maps are."""
    return Tile(fitted(Image.fromarray(enlarged(picture, enlargement(*picture.shape[:2])))), (name,))


def photo_block(name: str, photo: Tile | None, maps: Sequence[Tile]) -> Block:
    """A photo and its maps, of whose captions the first line tells them apart.

    The other lines stand above the maps if they are the same for all, and else below each.
    """
    texts = [tile.caption[1:] for tile in maps]
    title: tuple[str, ...] = (name,)
    if len({*texts}) == 1:
        maps = [Tile(tile.picture, tile.caption[:1]) for tile in maps]
        # The score first: labels can be long, and text that does not fit is cut off.
        title += (" · ".join(reversed(texts[0])),) * bool(texts[0])
    return Block(title, (*([photo] if photo else []), *maps))


def sheet_of_blocks(blocks: Sequence[Block]) -> Image.Image:
    """All blocks in one RGB picture, close together, from left to right and from top to bottom.

    Raises
    ------
    UsageError
        There are no blocks, or too many for one picture.
    """
    if not blocks:
        raise UsageError("there are no pictures for the sheet")
    laid_out = [_LaidOut.of(block) for block in blocks]
    width = _width_for(laid_out)
    shelves = list(_shelves(laid_out, width))
    size = (
        max(sum(block.width + _BLOCK_GAP for block in shelf) for shelf in shelves) + _BLOCK_GAP,
        sum(max(block.height for block in shelf) + _BLOCK_GAP for shelf in shelves) + _BLOCK_GAP,
    )
    sheet = _canvas(size)
    y = _BLOCK_GAP
    for shelf in shelves:
        x = _BLOCK_GAP
        for block in shelf:
            block.draw(sheet, x, y)
            x += block.width + _BLOCK_GAP
        y += max(block.height for block in shelf) + _BLOCK_GAP
    return sheet


def sheet_of(
    pictures: Sequence[Image.Image], captions: Sequence[str], columns: int | None = None
) -> Image.Image:
    """A grid of small pictures with captions below them, as one RGB picture.

    Parameters
    ----------
    pictures
        Pictures in any mode; small ones are enlarged: every pixel becomes a square.
    captions
        One for each picture.
    columns
        Pictures per row; None: the number that makes the sheet slightly wider than high.

    Raises
    ------
    UsageError
        There are no pictures, too many for one sheet, or not as many captions.
    """
    if not pictures or len(pictures) != len(captions):
        raise UsageError(
            f"a sheet needs as many captions as pictures, not {len(captions)} for {len(pictures)}"
        )
    shown = [_enlarged(picture, _LEAST_SIDE) for picture in pictures]
    width, height = (max(picture.size[axis] for picture in shown) for axis in (0, 1))
    font = ImageFont.load_default(_CAPTION_SIZE)
    step = (width + _GAP, height + _lines_height(1, _CAPTION_SIZE) + _GAP)
    across = columns or math.ceil(math.sqrt(len(shown) * _PROPORTION * step[1] / step[0]))
    across = min(across, len(shown))
    sheet = _canvas((across * step[0] + _GAP, math.ceil(len(shown) / across) * step[1] + _GAP))
    draw = ImageDraw.Draw(sheet)
    for number, (picture, caption) in enumerate(zip(shown, captions, strict=True)):
        row, column = divmod(number, across)
        x, y = _GAP + column * step[0], _GAP + row * step[1]
        sheet.paste(picture, (x, y))
        draw.text((x, y + height), _cut(caption, font, width), fill=_INK, font=font)
    return sheet


@dataclass(frozen=True, eq=False)
class _LaidOut:
    """A block and its size on the sheet."""

    block: Block
    pictures: tuple[Image.Image, ...]
    widths: tuple[int, ...]
    title_height: int
    picture_height: int
    caption_height: int

    @classmethod
    def of(cls, block: Block) -> "_LaidOut":
        pictures = tuple(fitted(tile.picture) for tile in block.tiles)
        return cls(
            block,
            pictures,
            tuple(max(_LEAST_WIDTH, picture.width) for picture in pictures),
            _lines_height(len(block.title), _TITLE_SIZE),
            max(picture.height for picture in pictures),
            _lines_height(max(len(tile.caption) for tile in block.tiles), _CAPTION_SIZE),
        )

    @property
    def width(self) -> int:
        return sum(self.widths) + _GAP * (len(self.widths) - 1)

    @property
    def height(self) -> int:
        return self.title_height + self.picture_height + self.caption_height

    def draw(self, sheet: Image.Image, x: int, y: int) -> None:
        draw = ImageDraw.Draw(sheet)
        _write(draw, self.block.title, (x, y), self.width, _TITLE_SIZE)
        top = y + self.title_height
        for tile, picture, width in zip(self.block.tiles, self.pictures, self.widths, strict=True):
            sheet.paste(picture, (x, top))
            _write(draw, tile.caption, (x, top + self.picture_height), width, _CAPTION_SIZE)
            x += width + _GAP


def fitted(picture: Image.Image) -> Image.Image:
    """A picture as RGB, enlarged or reduced to fit a tile."""
    small = _enlarged(picture, min(TILE_WIDTH, TILE_HEIGHT) // 2 + 1)
    share = min(TILE_WIDTH / small.width, TILE_HEIGHT / small.height)
    if share >= 1:
        return small
    size = (max(1, round(small.width * share)), max(1, round(small.height * share)))
    return small.resize(size, Image.Resampling.LANCZOS)


def _enlarged(picture: Image.Image, least: int) -> Image.Image:
    """A picture as RGB, enlarged by a whole factor until its longer side has at least ``least`` pixels."""
    coloured = picture.convert("RGB")
    times = enlargement(*coloured.size, least)
    size = (coloured.width * times, coloured.height * times)
    return coloured.resize(size, Image.Resampling.NEAREST) if times > 1 else coloured


def _width_for(blocks: Sequence[_LaidOut]) -> int:
    """The width of a sheet without the gap at its left."""
    area = sum((block.width + _BLOCK_GAP) * (block.height + _BLOCK_GAP) for block in blocks)
    widest = max(block.width + _BLOCK_GAP for block in blocks)
    # A whole number of the widest blocks leaves the least empty space at the right.
    return widest * max(1, round(math.sqrt(area * _PROPORTION) / widest))


def _shelves(blocks: Sequence[_LaidOut], width: int) -> Iterator[list[_LaidOut]]:
    """Blocks split into rows that fit ``width``."""
    shelf: list[_LaidOut] = []
    taken = 0
    for block in blocks:
        if shelf and taken + block.width + _BLOCK_GAP > width:
            yield shelf
            shelf, taken = [], 0
        shelf.append(block)
        taken += block.width + _BLOCK_GAP
    yield shelf


def _canvas(size: tuple[int, int]) -> Image.Image:
    if size[0] * size[1] > MOST_PIXELS:
        raise UsageError(
            f"a sheet of {size[0]:,} x {size[1]:,} pixels is too large to look at; show fewer pictures"
        )
    return Image.new("RGB", size, _BACKGROUND)


def _lines_height(count: int, size: int) -> int:
    return math.ceil(count * size * _LINE)


def _write(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], place: tuple[int, int], width: int, size: int
) -> None:
    font = ImageFont.load_default(size)
    for number, line in enumerate(lines):
        y = place[1] + _lines_height(number, size)
        draw.text((place[0], y), _cut(line, font, width), fill=_PALE if number else _INK, font=font)


def _cut(text: str, font: "ImageFont.ImageFont | ImageFont.FreeTypeFont", width: int) -> str:
    """As much of a line as fits."""
    line = " ".join(text.split())[:500]
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + _MORE) > width:
        line = line[:-1]
    return line.rstrip() + _MORE
