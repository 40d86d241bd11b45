"""Sheets: every picture is there, nothing lies over another, and little is white."""

import numpy as np
import pytest
from PIL import Image

from caffe_lrp.errors import UsageError
from caffe_lrp.rendering.sheet import TILE_HEIGHT, TILE_WIDTH, Block, Tile, fitted, sheet_of, sheet_of_blocks


def plain(number: int, width: int = 200, height: int = 150) -> Image.Image:
    """A picture of a colour of its own, never gray as text is."""
    return Image.new("RGB", (width, height), (10 + number, 0, 200))


def area(sheet: Image.Image, number: int) -> int:
    return int((np.asarray(sheet) == (10 + number, 0, 200)).all(axis=2).sum())


def test_every_picture_of_every_block_is_whole() -> None:
    blocks = [
        Block((f"photo {row}",), tuple(Tile(plain(8 * row + column), ("a",)) for column in range(1 + row)))
        for row in range(5)
    ]
    sheet = sheet_of_blocks(blocks)
    for row in range(5):
        for column in range(1 + row):
            assert area(sheet, 8 * row + column) == 200 * 150


@pytest.mark.parametrize("tiles", [1, 2, 7])
@pytest.mark.parametrize("size", [(200, 150), (20, 20), (600, 90), (90, 500)])
def test_there_is_no_white_desert(tiles: int, size: tuple[int, int]) -> None:
    blocks = [
        Block(("a photo",), tuple(Tile(plain(column, *size), ("x",)) for column in range(tiles)))
        for _ in range(12)
    ]
    sheet = sheet_of_blocks(blocks)
    covered = sum(area(sheet, column) for column in range(tiles))
    # Captions need room beside narrow pictures, and as much as a low one itself.
    least = {(200, 150): 0.6, (20, 20): 0.45, (600, 90): 0.3, (90, 500): 0.2}[size]
    assert covered / (sheet.width * sheet.height) > least
    assert 0.3 < sheet.width / sheet.height < 6


def test_pictures_fit_a_tile_in_proportion() -> None:
    sizes = {
        size: fitted(Image.new("P", size)).size for size in [(9, 6), (3000, 2000), (900, 30), (128, 128)]
    }
    assert sizes[9, 6] == (117, 78)
    assert sizes[3000, 2000] == (336, TILE_HEIGHT)
    assert sizes[900, 30] == (TILE_WIDTH, 17)
    assert sizes[128, 128] == (128, 128)
    assert fitted(Image.new("RGB", (100, 3000))).height == TILE_HEIGHT


def test_small_pixels_become_squares() -> None:
    small = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    assert np.array_equal(np.asarray(fitted(small))[::60, ::60, 0], [[0, 255], [255, 0]])


def test_captions_are_cut_where_they_do_not_fit() -> None:
    short, long = (sheet_of([plain(0)], [text]) for text in ("W" * 5, "W" * 500))
    assert short.size == long.size
    assert not np.array_equal(np.asarray(short), np.asarray(long))
    assert (np.asarray(long)[:, -6:] == 255).all()


@pytest.mark.parametrize(("count", "columns", "across"), [(6, 3, 3), (6, 4, 4), (2, 9, 2), (1, None, 1)])
def test_a_grid_has_as_many_columns_as_asked_for(count: int, columns: int | None, across: int) -> None:
    pictures = [plain(number, 96, 96) for number in range(count)]
    sheet = sheet_of(pictures, list("abcdef"[:count]), columns)
    assert sheet.width == across * (96 + 6) + 6
    assert [area(sheet, number) for number in range(count)] == [96 * 96] * count


def test_a_grid_of_many_is_a_little_wider_than_high() -> None:
    sheet = sheet_of([Image.new("L", (13, 13))] * 256, ["c"] * 256)
    assert 1 < sheet.width / sheet.height < 2


def test_sheets_without_pictures_or_too_large_ones_are_refused() -> None:
    for blocks in ([], [Block((), (Tile(plain(0)),) * 8000)]):
        with pytest.raises(UsageError):
            sheet_of_blocks(blocks)
    with pytest.raises(UsageError, match="as many captions as pictures, not 1 for 2"):
        sheet_of([plain(0), plain(1)], ["a"])
