"""The sheet that puts heatmaps side by side."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import show_heatmaps
from numpy.typing import NDArray
from PIL import Image
from show_heatmaps import CAPTION_HEIGHT, GAP, Heatmap, draw_sheet, find_heatmaps

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 150, 130


def picture(
    path: Path, colour: tuple[int, int, int] = (9, 0, 0), size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Heatmaps of three images: three, one and one; the level in a picture tells which it is."""
    folder = tmp_path / "out"
    levels = {"a/x.png_f100_c10": 10, "a/x.png_f100_c9": 9, "a/x.png_f2_top5": 2, "b.jpg": 3, "my_f1.gif": 4}
    for stem, level in levels.items():
        picture(folder / f"{stem}_heatmap.png", (level, 0, 0))
        picture(folder / f"{stem}_as_inputted_into_the_dnn.png", (0, level, 0))
    (folder / "b.jpg_rawhm.txt").write_text("no picture")
    return folder


@pytest.fixture
def best(tmp_path: Path) -> Heatmap:
    """A heatmap of the best class."""
    path = picture(tmp_path / "best" / "x.png_f102_top1_heatmap.png")
    return Heatmap(path, path.with_name("x.png"), "102", None, 1)


def drawn(folder: Path, *labels: str) -> NDArray[np.uint8]:
    return np.asarray(draw_sheet(find_heatmaps(folder), labels))


def column_of(sheet: NDArray[np.uint8], column: int, width: int = WIDTH) -> NDArray[np.uint8]:
    x = GAP + column * (width + GAP)
    return sheet[GAP:, x : x + width]


def script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, show_heatmaps.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def assert_refused(result: subprocess.CompletedProcess[str], message: str) -> None:
    assert result.stderr == f"show_heatmaps.py: {message}\n"
    assert result.returncode == 3


# -- What is on the sheet -----------------------------------------------------------------------------


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


def test_what_is_no_file_is_no_heatmap(folder: Path) -> None:
    before = find_heatmaps(folder)
    (folder / "folder_heatmap.png").mkdir()
    (folder / "link_heatmap.png").symlink_to("nowhere")
    assert find_heatmaps(folder) == before


@pytest.mark.parametrize(
    ("scores", "caption"),
    [
        ("2 0.9\n0 0.1\n", "formula 102: best, star"),
        ("7 0.9\n0 0.1\n", "formula 102: best, class 7"),
        ("", "formula 102: best"),
        (None, "formula 102: best"),
    ],
    ids=["labelled", "not labelled", "empty file", "no file"],
)
def test_the_best_class_is_read_from_the_scores(scores: str | None, caption: str, best: Heatmap) -> None:
    if scores is not None:
        best.path.with_name("x.png_f102_top1_top10scores.txt").write_text(scores)
    assert best.caption(["circle", "ring", "star "]) == caption


@pytest.mark.parametrize(
    ("rank", "caption"), [(1, "best, class 7"), (2, "no. 2, ring"), (3, "no. 3")], ids=["1", "2", "beyond"]
)
def test_the_class_of_a_rank_is_read_from_the_scores(tmp_path: Path, rank: int, caption: str) -> None:
    picture(tmp_path / f"x.png_f102_rank{rank}_heatmap.png")
    (tmp_path / f"x.png_f102_rank{rank}_top10scores.txt").write_text("7 0.9\n1 0.1\n")
    ((heatmap,),) = find_heatmaps(tmp_path).values()
    assert heatmap.image.name == "x.png"
    assert heatmap.caption(["circle", "ring"]) == f"formula 102: {caption}"


def test_a_long_label_is_shortened() -> None:
    heatmap = Heatmap(Path("x"), Path("x"), "1", 0, None)
    assert heatmap.caption(["n02123045 tabby, tabby cat and all its relatives"]) == (
        "formula 1: n02123045 tabby, tabby cat and all its…"
    )


def test_every_tile_has_its_place(folder: Path) -> None:
    sheet = drawn(folder)
    assert sheet.shape == (GAP + 3 * (HEIGHT + CAPTION_HEIGHT + GAP), GAP + 4 * (WIDTH + GAP), 3)
    expected = [[(0, 2, 0), (2, 0, 0), (9, 0, 0), (10, 0, 0)], [(0, 3, 0), (3, 0, 0)], [(0, 4, 0), (4, 0, 0)]]
    for row, colours in enumerate(expected):
        for column, colour in enumerate(colours):
            y = row * (HEIGHT + CAPTION_HEIGHT + GAP) + CAPTION_HEIGHT
            assert (column_of(sheet, column)[y : y + HEIGHT] == colour).all()


def test_a_caption_stands_above_every_picture_and_nowhere_else(folder: Path) -> None:
    sheet = drawn(folder)
    for row, count in enumerate([4, 2, 2]):
        y = row * (HEIGHT + CAPTION_HEIGHT + GAP)
        inked = [bool((column_of(sheet, column)[y : y + CAPTION_HEIGHT] < 128).any()) for column in range(4)]
        assert inked == [True] * count + [False] * (4 - count)


def test_a_picture_of_the_input_that_is_missing_leaves_its_tile_white(folder: Path) -> None:
    (folder / "b.jpg_as_inputted_into_the_dnn.png").unlink()
    sheet = drawn(folder)
    y = HEIGHT + CAPTION_HEIGHT + GAP + CAPTION_HEIGHT
    assert (column_of(sheet, 0)[y : y + HEIGHT] == 255).all()
    assert (column_of(sheet, 1)[y : y + HEIGHT] == (3, 0, 0)).all()


def test_small_pictures_are_enlarged_by_a_whole_number(tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png_f2_c3_heatmap.png", (9, 0, 0), (60, 60))
    with Image.open(path) as small:
        small.putpixel((59, 0), (200, 0, 0))
        small.save(path)
    sheet = drawn(tmp_path)
    assert sheet.shape == (GAP + 180 + CAPTION_HEIGHT + GAP, GAP + 2 * (180 + GAP), 3)
    shown = column_of(sheet, 1, 180)[CAPTION_HEIGHT:, :, 0]
    assert (shown[:3, -3:] == 200).all()
    assert (shown == 200).sum() == 9
    assert (shown[:180] == 9).sum() == 180 * 180 - 9


def test_pictures_of_128_pixels_stay_as_they_are(tmp_path: Path) -> None:
    picture(tmp_path / "x.png_f100_c3_heatmap.png", (9, 0, 0), (128, 128))
    sheet = drawn(tmp_path, *["triangle"] * 4)
    assert sheet.shape == (GAP + 128 + CAPTION_HEIGHT + GAP, GAP + 2 * (128 + GAP), 3)


def test_tiles_are_as_wide_as_the_widest_caption(tmp_path: Path) -> None:
    picture(tmp_path / "x.png_f100_c0_heatmap.png", (9, 0, 0), (128, 128))
    picture(tmp_path / "x.png_f100_c1_heatmap.png", (9, 0, 0), (128, 128))
    sheet = drawn(tmp_path, "W" * 30, "W")
    width = (sheet.shape[1] - GAP) // 3 - GAP
    inked = np.flatnonzero(np.min(column_of(sheet, 1, width)[:CAPTION_HEIGHT], axis=(0, 2)) < 128)
    assert 128 < inked.max() < width
    between = GAP + 2 * (width + GAP) - GAP
    assert (sheet[:, between : between + GAP] == 255).all()


# -- The command --------------------------------------------------------------------------------------


def test_the_command_writes_the_sheet_and_says_what_is_on_it(folder: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = script(folder, sheet, "--rows", "2")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"wrote {sheet}: 2 images, 4 heatmaps\n"
    assert Image.open(sheet).height == GAP + 2 * (HEIGHT + CAPTION_HEIGHT + GAP)


@pytest.mark.parametrize("name", ["sheet", "sheet.jpg"])
def test_the_sheet_is_a_png_whatever_its_name(name: str, folder: Path, tmp_path: Path) -> None:
    assert script(folder, tmp_path / name).returncode == 0
    assert Image.open(tmp_path / name).format == "PNG"


@pytest.mark.parametrize(
    ("content", "label"),
    [(b"\xef\xbb\xbfstar\n", "star"), (b"\xe9toile\n", "\N{REPLACEMENT CHARACTER}toile")],
    ids=["byte order mark", "Latin-1"],
)
def test_labels_of_the_synset_are_written(content: bytes, label: str, tmp_path: Path) -> None:
    picture(tmp_path / "out" / "x.png_f2_c0_heatmap.png")
    (tmp_path / "synset.txt").write_bytes(content)
    sheet = tmp_path / "sheet.png"
    assert script(tmp_path / "out", sheet, "--synset", tmp_path / "synset.txt").returncode == 0
    assert np.array_equal(np.asarray(Image.open(sheet)), drawn(tmp_path / "out", label))
    assert not np.array_equal(np.asarray(Image.open(sheet)), drawn(tmp_path / "out"))


# -- Refusals -----------------------------------------------------------------------------------------


def test_a_folder_without_heatmaps_is_refused(tmp_path: Path) -> None:
    result = script(tmp_path, tmp_path / "sheet.png")
    assert_refused(result, f"{tmp_path}: no *_heatmap.png below this folder")


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    result = script(tmp_path / "out", tmp_path / "sheet.png")
    assert_refused(result, f"{tmp_path}/out: there is no such folder")


def test_a_file_is_no_folder(folder: Path, tmp_path: Path) -> None:
    file = folder / "b.jpg_rawhm.txt"
    assert_refused(script(file, tmp_path / "sheet.png"), f"{file}: is no folder")


def test_a_sheet_for_a_folder_that_is_missing_is_refused(folder: Path, tmp_path: Path) -> None:
    result = script(folder, tmp_path / "no" / "sheet.png")
    assert_refused(result, f"{tmp_path}/no: there is no such folder")


def test_a_sheet_that_cannot_be_written_is_named(folder: Path) -> None:
    assert_refused(script(folder, folder), f"{folder}: Is a directory")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_with_the_file(folder: Path) -> None:
    assert_refused(script(folder, "/dev/full"), "/dev/full: No space left on device")


def test_a_synset_that_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    synset = tmp_path / "no.txt"
    result = script(folder, tmp_path / "sheet.png", "--synset", synset)
    assert_refused(result, f"{synset}: No such file or directory")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no picture",
        lambda content: content[:60],
        lambda content: content[:8] + b"\0\0\0\3" + content[12:],
        lambda content: content[:33] + b"\0\0\0\3" + content[37:],
    ],
    ids=["empty", "text", "cut", "short header", "short data"],
)
def test_a_damaged_heatmap_is_named(damage: Callable[[bytes], bytes], folder: Path, tmp_path: Path) -> None:
    path = folder / "b.jpg_heatmap.png"
    path.write_bytes(damage(path.read_bytes()))
    result = script(folder, tmp_path / "sheet.png")
    assert_refused(result, f"{path}: cannot be decoded as a picture; make it anew or move it away")
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5"])
def test_the_number_of_rows_must_be_positive(count: str, folder: Path, tmp_path: Path) -> None:
    result = script(folder, tmp_path / "sheet.png", "--rows", count)
    assert result.returncode == 2
    assert f"{count!r} is no positive whole number" in result.stderr


def test_a_python_without_pillow_is_told_from_a_fault() -> None:
    alone = [sys.executable, "-I", "-S", show_heatmaps.__file__, "out", "sheet.png"]
    result = subprocess.run(alone, capture_output=True, text=True, timeout=60, check=False)
    assert_refused(result, "needs Pillow, as caffe-lrp does: run it with .venv/bin/python")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 3, "not enough memory for all images: show fewer with --rows N"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=["memory", "interrupt"],
)
def test_what_ends_a_large_sheet_is_said_in_words(
    error: BaseException,
    code: int,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(show_heatmaps, "draw_sheet", fail)
    monkeypatch.setattr("sys.argv", ["show_heatmaps.py", str(folder), str(folder / "sheet.png")])
    assert show_heatmaps.main() == code
    assert capsys.readouterr().err == f"show_heatmaps.py: {message}\n"
