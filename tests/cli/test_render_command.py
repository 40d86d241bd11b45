"""``caffe-lrp render``: pictures of finished runs, whatever their maps are in, without the model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from command_line import CONFIG, DATA, Result, files_below, listing, run
from numpy.typing import NDArray
from PIL import Image
from run_builders import journal_of

from caffe_lrp.batch import sheets
from caffe_lrp.batch.finished import crop_of, find_runs
from caffe_lrp.cli.halt import Halt
from caffe_lrp.outputs.maps import read_map
from caffe_lrp.rendering.png import style_in
from caffe_lrp.rendering.strength import reach_of
from caffe_lrp.rendering.style import picture_style

LINES = ("images/set/tall.png 3", "images/set/square.jpg 4", "images/set/wide.png -1")
STEMS = ["square.jpg", "tall.png", "wide.png"]
PLAIN = ("--mode", "plain", "--size", "net")


def explained(folder: Path, *options: object) -> Path:
    """A run over three photos; its output root."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["-c", CONFIG, "-f", listing(folder, *LINES), "-p", folder, "--threads", 1, *options]
    assert run(*words).returncode == 0
    return folder / "out"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that wrote maps of all kinds of files, and pictures of its own; not to be changed."""
    kinds = "npy,npz,rawhm,input,top10,render"
    return explained(tmp_path_factory.mktemp("finished"), "--outputs", kinds)


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy of it without its pictures."""
    copy = tmp_path / "run" / "out"
    shutil.copytree(finished, copy)
    for picture in copy.rglob("*_render.png"):
        picture.unlink()
    return copy


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that wrote a database alone; not to be changed."""
    return explained(tmp_path_factory.mktemp("database"), "--outputs", "h5", "--input-dataset")


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def pictures_below(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*_render.png"))}


def render(*words: object, cwd: Path = DATA) -> Result:
    return run("render", *words, cwd=cwd)


# -- Sources ------------------------------------------------------------------------------------------


def test_a_run_is_drawn_as_it_draws_itself_photos_and_places_included(finished: Path, root: Path) -> None:
    result = render(root)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("3 of 3 pictures drawn in ")
    assert list(pictures_below(root)) == [f"{stem}_render.png" for stem in STEMS]
    assert pictures_below(root) == pictures_below(finished)


@pytest.mark.parametrize("suffix", ["_relevance.npy", "_relevance.npz", "_rawhm.txt"])
@pytest.mark.parametrize("has_journal", [True, False])
def test_every_kind_of_file_gives_the_same_picture(
    suffix: str, has_journal: bool, finished: Path, tmp_path: Path
) -> None:
    """With six digits, a pixel may round to the next shade."""
    source = next(finished.rglob(f"square.jpg{suffix}"))
    style: tuple[str, ...] = ()
    if not has_journal:
        for name in (source.name, "square.jpg_as_inputted_into_the_dnn.png"):
            shutil.copy(source.with_name(name), tmp_path / name)
        source, style = tmp_path / source.name, ("--size", "net")
    result = render(source, "-p", tmp_path / "made", *style)
    assert (result.returncode, result.stderr) == (0, "")
    made = pixels(tmp_path / "made" / "square.jpg_render.png").astype(int)
    if style:
        render(finished, "-p", tmp_path / "net", *style)
        expected = pixels(next((tmp_path / "net").rglob("square.jpg_render.png")))
    else:
        expected = pixels(next(finished.rglob("square.jpg_render.png")))
    assert np.abs(made - expected).max() <= (1 if suffix == "_rawhm.txt" else 0)


@pytest.mark.parametrize("names_file", [True, False])
def test_a_database_gives_the_same_pictures_as_files(
    names_file: bool, finished: Path, database: Path, tmp_path: Path
) -> None:
    source = database / "maps.h5" if names_file else database
    assert render(source, "-p", tmp_path / "made").returncode == 0
    assert pictures_below(tmp_path / "made") == pictures_below(finished)
    assert render(source, "-p", tmp_path / "net", "--size", "net").returncode == 0
    render(finished, "-p", tmp_path / "files", "--size", "net")
    assert pictures_below(tmp_path / "net") == pictures_below(tmp_path / "files")


def test_a_database_far_from_its_journal_is_drawn_by_number(database: Path, tmp_path: Path) -> None:
    shutil.copy(database / "maps.h5", tmp_path)
    assert render(tmp_path / "maps.h5", *PLAIN).returncode == 0
    assert list(pictures_below(tmp_path)) == [f"maps_{index}_render.png" for index in range(3)]


def test_a_folder_without_journal_is_drawn_from_its_files(root: Path) -> None:
    journal_of(root.parent).unlink()
    assert render(root, *PLAIN).returncode == 0
    assert list(pictures_below(root)) == [f"{stem}_render.png" for stem in STEMS]


def test_photos_that_moved_are_found_by_the_end_of_their_paths(
    finished: Path, root: Path, tmp_path: Path
) -> None:
    shutil.copytree(DATA / "images" / "set", tmp_path / "photos" / "set")
    result = render(root, cwd=tmp_path)
    assert result.returncode == 4
    assert result.stderr.splitlines()[0] == "images/set/tall.png: the photo is missing"
    assert "caffe-lrp: what to do: give the folder of the photos with --image-root" in result.stderr
    assert result.stdout.startswith("0 of 3 pictures drawn")
    assert render(root, "--image-root", tmp_path / "photos", cwd=tmp_path).returncode == 0
    assert pictures_below(root) == pictures_below(finished)


def test_photos_in_an_archive_are_found(tmp_path: Path) -> None:
    subprocess.run(["tar", "-cf", tmp_path / "set.tar", "-C", DATA / "images", "set/tall.png"], check=True)
    words = ["-c", CONFIG, "--images", tmp_path / "set.tar", "-p", tmp_path, "--outputs", "npy,render"]
    assert run(*words).returncode == 0
    assert render(tmp_path / "out", "-p", tmp_path / "made").returncode == 0
    assert pictures_below(tmp_path / "made") == pictures_below(tmp_path / "out")
    assert len(pictures_below(tmp_path / "made")) == 1


def test_what_a_journal_says_of_crops_is_read_and_nothing_absurd(finished: Path) -> None:
    (found,) = find_runs(finished)
    said = found.header.preprocessing
    assert found.crop == crop_of(said)
    assert found.crop is not None
    changes: list[dict[str, object]] = [
        {"resize": "x"},
        {"resize": []},
        {"base_size": 0},
        {"base_size": True},
        {"input_size": 3},
        {"input_size": [2**40, 4]},
    ]
    for change in changes:
        assert crop_of({**said, **change}) is None
    assert crop_of({}) is None


# -- Ranges -------------------------------------------------------------------------------------------


def test_one_range_for_a_run_is_that_of_its_strongest_map(root: Path, tmp_path: Path) -> None:
    result = render(root, "--range", "run", "-p", tmp_path / "made", *PLAIN)
    assert result.returncode == 0
    style = picture_style({"range": "percentile:99"})
    reaches = [reach_of(read_map(path), style) for path in root.rglob("*_relevance.npy")]
    assert f"range shared by 3 maps: relevance up to {max(reaches):.6g} (percentile:99)" in result.stderr
    ranges = {(style_in(path) or {})["range"] for path in (tmp_path / "made").rglob("*_render.png")}
    assert ranges == {max(reaches)}
    again = render(root, "--range", "run", "-p", tmp_path / "made", *PLAIN)
    assert again.stdout == "nothing left to do: 3 of 3 pictures already exist\n"


def test_one_range_for_maps_of_several_formulas_warns_of_pictures_that_look_empty(tmp_path: Path) -> None:
    root = explained(tmp_path, "--formula", "0,epsilon-plus", "--outputs", "npy")
    result = render(root, "--range", "run", *PLAIN)
    assert "note: these maps come from 2 formulas" in result.stderr
    one = render(*root.rglob("*_f0_*.npy"), "--range", "run", "-p", tmp_path / "made", *PLAIN)
    assert "formulas" not in one.stderr


# -- Going on, and what is there already --------------------------------------------------------------


def test_what_is_there_in_the_same_style_is_done_unless_its_map_is_newer(root: Path) -> None:
    journal_of(root.parent).unlink()  # that of a run that draws: its pictures belong to its maps
    assert render(root, *PLAIN).returncode == 0
    before = pictures_below(root)
    assert render(root, *PLAIN).stdout == "nothing left to do: 3 of 3 pictures already exist\n"
    picture, (source, *_) = next(root.rglob("tall*_render.png")), [*root.rglob("tall*_relevance.npy")]
    picture.write_bytes(before["square.jpg_render.png"])
    os.utime(picture, ns=(0, source.stat().st_mtime_ns - 1))
    result = render(root, *PLAIN)
    assert result.stderr == "caffe-lrp: note: 2 of 3 pictures already exist; 1 left\n"
    assert pictures_below(root) == before


@pytest.mark.parametrize("kinds", ["npz,npy,render", "rawhm,render", "h5,render"])
def test_what_the_run_drew_is_not_drawn_again(tmp_path: Path, kinds: str) -> None:
    out = explained(tmp_path, "--outputs", kinds)
    assert render(out).stdout == "nothing left to do: 3 of 3 pictures already exist\n"


def test_pictures_of_another_style_are_kept_unless_they_may_be_replaced(root: Path) -> None:
    assert render(root, *PLAIN).returncode == 0
    before = pictures_below(root)
    result = render(root, *PLAIN, "--cmap", "seismic")
    assert result.returncode == 5
    assert (
        "_render.png: already exists, drawn in another style, as are 2 more; add --overwrite, or write"
        in result.stderr
    )
    assert pictures_below(root) == before
    assert render(root, *PLAIN, "--cmap", "seismic", "--overwrite").returncode == 0
    assert not {*before.values()} & {*pictures_below(root).values()}


def test_a_foreign_picture_is_not_taken_for_one_of_ours(root: Path) -> None:
    path = next(root.rglob("tall.png_relevance.npy")).with_name("tall.png_render.png")
    path.write_bytes(b"precious")
    assert render(root, *PLAIN).returncode == 5
    assert path.read_bytes() == b"precious"


def test_what_is_no_file_in_the_place_of_a_picture_is_not_opened(root: Path) -> None:
    os.mkfifo(next(root.rglob("tall.png_relevance.npy")).with_name("tall.png_render.png"))
    result = render(root, *PLAIN)
    assert result.returncode == 5
    assert "tall.png_render.png: already exists, drawn in another style; add --overwrite" in result.stderr


def test_what_a_killed_command_left_half_written_is_removed_later(tmp_path: Path) -> None:
    np.save(tmp_path / "a_relevance.npy", np.ones((3, 4, 4)))
    names = [".a_render.png.0123abcd.tmp", ".a_render.png.4567abcd.tmp", ".a_heatmap.png.0123abcd.tmp"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, time.time() - (10 if name == names[1] else 100)))
    assert render(tmp_path, *PLAIN).returncode == 0
    assert [name for name in names if (tmp_path / name).exists()] == names[1:]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_leaves_whole_pictures_and_goes_on(number: int, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    np.save(tmp_path / "map.npy", np.random.default_rng(0).standard_normal((3, 227, 227), np.float32))
    for index in range(400):
        os.link(tmp_path / "map.npy", maps / f"{index}.jpg_relevance.npy")
    words = [sys.executable, "-m", "caffe_lrp", "render", str(maps), *PLAIN, "--threads", "2"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while len(pictures_below(maps)) < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, complaints = process.communicate(timeout=60)
    made = pictures_below(maps)
    assert 10 <= len(made) < 400
    assert len({*made.values()}) == 1
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "left; run the same command again to continue" in complaints
    before = {path: path.stat().st_mtime_ns for path in maps.glob("*_render.png")}
    result = render(maps, *PLAIN)
    assert result.stdout.startswith("400 of 400 pictures drawn in ")
    assert f", {len(before):,} of them before" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


# -- Damage, and what cannot be meant -----------------------------------------------------------------


def test_a_damaged_map_is_named_and_the_others_are_drawn(root: Path) -> None:
    damaged = next(root.rglob("tall.png_relevance.npy"))
    damaged.write_bytes(damaged.read_bytes()[:500])
    gone = next(root.rglob("wide.png_relevance.npy"))
    for suffix in ("_relevance.npy", "_relevance.npz", "_rawhm.txt"):
        gone.with_name(f"wide.png{suffix}").unlink()
    result = render(root, *PLAIN)
    assert result.returncode == 4
    assert f"{damaged}: is cut short" in result.stderr
    assert f"{gone}: the map cannot be read: No such file or directory" in result.stderr
    assert result.stdout.startswith("1 of 3 pictures drawn in ")
    assert "2 failed (reasons above)" in result.stdout


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda record: {**record, "stem": "../../tall.png"}, 2),
        (lambda record: {**record, "stem": "/tmp/tall.png"}, 2),
        (lambda record: {**record, "status": "failed"}, 2),
        (lambda record: {**record, "formula": {}}, 2),
        (lambda record: {**record, "image": "x" * 300}, 3),
        (lambda record: {**record, "classes": [10**6], "score": -1.5}, 3),
    ],
)
def test_of_a_changed_journal_only_what_makes_sense_is_drawn(
    change: Callable[[dict[str, object]], dict[str, object]], left: int, root: Path, tmp_path: Path
) -> None:
    path = journal_of(root.parent)
    header, *lines = path.read_text().splitlines()
    records = [json.loads(line) for line in lines]
    changed = [change(record) if "tall" in record["image"] else record for record in records]
    path.write_text("\n".join([header, *map(json.dumps, changed), ""]))
    before = files_below(tmp_path)
    result = render(root, *PLAIN, "-p", tmp_path / "made")
    assert result.stdout.startswith(f"{left} of {left} pictures")
    made = {name for name in files_below(tmp_path) if name not in before}
    assert len(made) == left
    assert all(name.startswith("made/") for name in made)


def test_a_link_out_of_the_folder_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "elsewhere").mkdir()
    inner = next(root.rglob("tall.png_relevance.npy")).relative_to(root).parts[0]
    (tmp_path / "made" / inner).symlink_to(tmp_path / "elsewhere")
    result = render(root, *PLAIN, "-p", tmp_path / "made")
    assert result.returncode == 4
    assert "leads out of the output folder" in result.stderr
    assert not [*(tmp_path / "elsewhere").rglob("*")]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "the following arguments are required: SOURCE"),
        (["nothing"], 2, "nothing: there is no such file or folder"),
        (["{folder}/list.txt", "--cmap", "sesmic"], 2, "sesmic"),
        (["{folder}/cat.jpg"], 2, "cat.jpg: contains no maps; give a folder, maps.h5, *_relevance"),
        (["{folder}/empty"], 5, "empty: contains neither the journal of a run nor files *_relevance.npy"),
        (["{folder}/explained"], 5, "caffe-lrp explain writes pictures alone; explain --sheet FILE"),
        (["{folder}/pictures"], 5, "no relevance, only heatmap, and pictures are drawn from relevance; run"),
        (["{folder}/pictures"], 5, "run it again with --outputs heatmap,npy --overwrite"),
        (["{folder}/wrong.h5"], 3, "wrong.h5: cannot be opened as a database"),
        (["{folder}/net.pt"], 3, "net.pt: is a PyTorch model, not a file of maps; caffe-lrp runs only"),
        (["{folder}/net.h5"], 3, "net.h5: is a Keras model, not a file of maps; caffe-lrp runs only"),
        (["{folder}/a", "{folder}/b", "-p", "{folder}/made"], 2, "would both be written to this picture"),
        (["{folder}/a", "--sheet", "{folder}/cat.png"], 5, "cat.png: already exists; add --overwrite"),
        (["{folder}/a", "--sheet", "{folder}/sheet.jpg"], 2, "sheet.jpg will be a PNG file; use a name"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_anything_is(
    words: list[str], code: int, message: str, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat.jpg").touch()
    (tmp_path / "cat.png").touch()
    (tmp_path / "wrong.h5").touch()
    (tmp_path / "net.pt").write_bytes(b"\x80\x02ctorch")
    with h5py.File(tmp_path / "net.h5", "w") as model:
        model.attrs["keras_version"] = "2.15"
    for name in ("a", "b", "explained"):
        (tmp_path / name).mkdir()
    (tmp_path / "explained" / "cat.jpg_render.png").touch()
    for name in ("a", "b"):
        np.save(tmp_path / name / "x_relevance.npy", np.ones((3, 4, 4)))
    shutil.copytree(finished, tmp_path / "pictures")
    journal = next((tmp_path / "pictures").glob("*.jsonl"))
    header, *lines = journal.read_text().splitlines()
    journal.write_text("\n".join([json.dumps(json.loads(header) | {"outputs": ["heatmap"]}), *lines, ""]))
    before = files_below(tmp_path)
    result = render(*(word.format(folder=tmp_path) for word in words))
    assert result.returncode == code
    assert message in result.stderr
    assert files_below(tmp_path) == before


# -- Sheets -------------------------------------------------------------------------------------------


def test_a_sheet_holds_photos_and_the_maps_of_all_formulas(tmp_path: Path) -> None:
    out = explained(tmp_path, "--outputs", "npy,input", "--formula", "100,2", "--suffix-target")
    result = render(out, "--sheet", tmp_path / "sheet.png")
    assert result.returncode == 0
    assert f"sheet of 6 pictures of 3 photos: {tmp_path}/sheet.png" in result.stdout
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width * sheet.height > 9 * 150 * 100


def test_maps_of_several_runs_of_a_photo_stand_side_by_side(tmp_path: Path) -> None:
    folders = [explained(tmp_path / formula, "--outputs", "npy", "--formula", formula) for formula in "20"]
    result = render(*folders, "--sheet", tmp_path / "sheet.png")
    assert "sheet of 6 pictures of 3 photos" in result.stdout


def test_a_sheet_replaces_another_one_and_nothing_else(tmp_path: Path) -> None:
    source, sheet = tmp_path / "a_relevance.npy", tmp_path / "sheet.png"
    np.save(source, np.ones((3, 4, 4)))
    foreign, pipe, folder = (tmp_path / f"{name}.png" for name in ("foreign", "pipe", "folder"))
    os.mkfifo(pipe)
    folder.mkdir()
    foreign.write_bytes(b"precious")
    for _ in range(2):
        assert render(source, *PLAIN, "--sheet", sheet, "--overwrite").returncode == 0
    for path in (foreign, pipe, folder):
        result = render(source, *PLAIN, "--sheet", path, "--overwrite")
        assert result.returncode == 5
        assert f"{path}: is not a picture made by caffe-lrp, so it is not replaced" in result.stderr
    assert foreign.read_bytes() == b"precious"
    assert pipe.is_fifo()


def test_a_sheet_that_nobody_waits_for_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a_relevance.npy", np.ones((3, 4, 4)))
    monkeypatch.setattr(Halt, "is_requested", lambda halt: True)
    result = render(tmp_path, *PLAIN, "--sheet", tmp_path / "sheet.png")
    assert result.returncode == 130
    assert "sheet.png was not drawn; run the same command again to continue" in result.stderr
    assert not (tmp_path / "sheet.png").exists()


def test_a_sheet_does_not_wait_for_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a_rawhm.txt").touch()
    os.mkfifo(tmp_path / "a_render.png")
    result = render(tmp_path, "--overwrite", "--sheet", tmp_path / "sheet.png")
    assert result.returncode == 4


def test_without_a_picture_there_is_no_sheet(tmp_path: Path) -> None:
    (tmp_path / "a_rawhm.txt").touch()
    result = render(tmp_path, "--sheet", tmp_path / "sheet.png")
    assert result.returncode == 4
    assert f"{tmp_path}/sheet.png was not written: there are no pictures to put on it" in result.stderr
    assert not (tmp_path / "sheet.png").exists()


def test_a_sheet_that_is_full_says_what_is_not_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_PICTURES", 3)
    for number in range(5):
        np.save(tmp_path / f"{number}_relevance.npy", np.full((3, 4, 4), number))
    result = render(tmp_path, *PLAIN, "--sheet", tmp_path / "sheet.png")
    assert "sheet of 3 pictures of 3 photos" in result.stdout
    assert "note: 2 photos did not fit on the sheet" in result.stderr


def test_more_failures_than_anyone_reads_are_counted(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"{number}_rawhm.txt").touch()
    result = render(tmp_path)
    assert result.returncode == 4
    assert result.stderr.count("is not a raw heatmap") == 20
    assert "… and 5 failures more\n" in result.stderr


def test_what_to_do_about_many_missing_photos_is_said_once(tmp_path: Path) -> None:
    for number in range(8):
        np.save(tmp_path / f"{number}_relevance.npy", np.ones((3, 4, 4)))
    result = render(tmp_path, "--image-root", tmp_path)
    assert result.returncode == 4
    assert result.stderr.count(": the photo is missing\n") == 5
    assert "… and 3 failures more\n" in result.stderr
    assert result.stderr.count("--image-root DIR") == 1
