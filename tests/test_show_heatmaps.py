"""The sheet that puts heatmaps side by side."""

from pathlib import Path

import numpy as np
import pytest
import show_heatmaps
from PIL import Image
from show_heatmaps import CAPTION_HEIGHT, GAP, draw_sheet, find_heatmaps

WIDTH, HEIGHT = 80, 60


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    levels = {"a/x.png_f100_c10": 10, "a/x.png_f100_c9": 9, "a/x.png_f2_top5": 2, "b.jpg": 3, "my_f1.gif": 4}
    for stem, level in levels.items():
        picture(tmp_path / f"{stem}_heatmap.png", (level, 0, 0))
        picture(tmp_path / f"{stem}_as_inputted_into_the_dnn.png", (0, level, 0))
    (tmp_path / "b.jpg_rawhm.txt").write_text("no picture")
    return tmp_path


def test_heatmaps_are_found_by_image_and_sorted_by_formula_and_class(folder: Path) -> None:
    rows = find_heatmaps(folder)
    captions = {
        str(image.relative_to(folder)): [one.caption(["zero"] * 10) for one in row]
        for image, row in rows.items()
    }
    assert captions == {
        "a/x.png": ["formula 2: best 5", "formula 100: zero", "formula 100: class 10"],
        "b.jpg": ["heatmap"],
        "my_f1.gif": ["heatmap"],
    }


def test_every_tile_has_its_place(folder: Path) -> None:
    sheet = np.asarray(draw_sheet(find_heatmaps(folder), []))
    assert sheet.shape == (GAP + 3 * (HEIGHT + CAPTION_HEIGHT + GAP), GAP + 4 * (WIDTH + GAP), 3)
    expected = [[(0, 2, 0), (2, 0, 0), (9, 0, 0), (10, 0, 0)], [(0, 3, 0), (3, 0, 0)], [(0, 4, 0), (4, 0, 0)]]
    for row, colours in enumerate(expected):
        for column, colour in enumerate(colours):
            y = GAP + row * (HEIGHT + CAPTION_HEIGHT + GAP) + CAPTION_HEIGHT
            x = GAP + column * (WIDTH + GAP)
            assert (sheet[y : y + HEIGHT, x : x + WIDTH] == colour).all()


def test_the_command_writes_the_sheet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["show_heatmaps.py", str(folder), str(folder / "sheet.png"), "--rows", "2"]
    )
    assert show_heatmaps.main() == 0
    assert Image.open(folder / "sheet.png").height == GAP + 2 * (HEIGHT + CAPTION_HEIGHT + GAP)


def test_a_folder_without_heatmaps_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["show_heatmaps.py", str(tmp_path), str(tmp_path / "sheet.png")])
    assert show_heatmaps.main() == 3
    assert "no *_heatmap.png below this folder" in capsys.readouterr().err
