"""Outputs and inputs of those who have many images, through the command line."""

import json
import shutil
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from command_line import CONFIG, DATA, files_below, listing, run

PICTURES = ("square.jpg", "tall.png", "landscape.jpg")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in PICTURES[:2]:
        shutil.copy(DATA / "images/set" / name, folder)
    shutil.copy(DATA / "images/set" / PICTURES[2], folder / "deep/a b.jpg")
    return folder


def test_a_folder_and_an_archive_of_it_make_the_same_maps(images: Path, tmp_path: Path) -> None:
    archive = tmp_path / "photos.tar"
    with tarfile.open(archive, "w") as file:
        for name in ("deep/a b.jpg", *PICTURES[:2]):
            file.add(images / name, name)
    written = []
    for source in (images, archive):
        out = tmp_path / f"of_{source.name}"
        result = run("-c", CONFIG, "--images", source, "--target", 3, "-p", out)
        assert (result.returncode, result.stderr) == (0, "")
        written.append({name: (out / name).read_bytes() for name in files_below(out)})
    assert written[0] == written[1]
    assert "out/deep/a b.jpg_rawhm.txt" in written[0]
    assert len(written[0]) == 12


def test_without_a_target_the_best_class_is_explained(images: Path, tmp_path: Path) -> None:
    run("-c", CONFIG, "--images", images, "-p", tmp_path / "o", "--suffix-target", "--outputs", "top10")
    assert len(list((tmp_path / "o").rglob("*_top1_top10scores.txt"))) == 3


def test_a_bad_image_of_a_folder_is_named_by_its_place(images: Path, tmp_path: Path) -> None:
    (images / "square.jpg").write_bytes(b"no picture")
    result = run("-c", CONFIG, "--images", images, "-p", tmp_path / "o", "--outputs", "top10")
    assert result.returncode == 4
    assert result.stderr.startswith(f"{images}: image 2: {images}/square.jpg: ")


def test_only_what_is_asked_for_is_written(images: Path, tmp_path: Path) -> None:
    result = run(
        "-c", CONFIG, "--images", images, "-p", tmp_path, "--outputs", "npz,npy", "--dtype", "float16"
    )
    assert result.returncode == 0
    names = [path.name for path in (tmp_path / "out/deep").iterdir()]
    assert sorted(names) == ["a b.jpg_relevance.npy", "a b.jpg_relevance.npz"]
    relevance = np.load(tmp_path / "out/deep/a b.jpg_relevance.npy", allow_pickle=False)
    assert relevance.dtype == np.float16
    with np.load(tmp_path / "out/deep/a b.jpg_relevance.npz", allow_pickle=False) as stored:
        assert stored["relevance"].tolist() == relevance.tolist()
        assert json.loads(str(stored["config"]))["formulas"] == [2]


def test_shards_of_a_database_are_merged_into_what_one_run_makes(images: Path, tmp_path: Path) -> None:
    path = listing(
        tmp_path, *(f'"{image}" {place}' for place, image in enumerate(sorted(images.rglob("*.*g"))))
    )
    common = ["-c", CONFIG, "-f", path, "--outputs", "h5", "--input-dataset"]
    changed = tmp_path / "config.txt"
    changed.write_text(CONFIG.read_text().replace("images", "photos"))
    common[1] = changed
    shutil.copytree(DATA / "models", tmp_path / "models")
    whole = run(*common, "-p", tmp_path / "whole", cwd=tmp_path)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert "project for ViRelAy: " in whole.stdout
    for index in (0, 1):
        assert run(*common, "-p", tmp_path / "parts", "--shard", f"{index}/2", cwd=tmp_path).returncode == 0
    parts = tmp_path / "parts/out"
    joined = run("merge", tmp_path / "joined.h5", parts / "maps-0of2.h5", parts / "maps-1of2.h5")
    assert (joined.returncode, joined.stderr) == (0, "")
    assert (tmp_path / "project.yaml").is_file()
    with h5py.File(tmp_path / "joined.h5") as found, h5py.File(tmp_path / "whole/out/maps.h5") as expected:
        for name in ("attribution", "prediction", "label", "index"):
            assert found[name][:].tolist() == expected[name][:].tolist()
        assert found["attribution"].shape[0] == 3
        assert found["label"][:].tolist() == [0, 1, 2]
    again = run(*common, "-p", tmp_path / "whole", cwd=tmp_path)
    assert again.stdout.startswith("nothing left to do: 3 of 3 heatmaps are already in ")


def test_a_class_for_all_images_has_to_exist(images: Path) -> None:
    result = run("-c", CONFIG, "--images", images, "--target", "9999")
    assert (result.returncode, "--target: class 9999 does not exist" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-f", "list", "--images", "photos"], "cannot be combined"),
        (["-f", "list", "--target", "3"], "--target is only for --images"),
        (["-f", "list", "--input-dataset"], "needs --outputs h5"),
        (["-f", "list", "--outputs", "npy,hdf5"], "'hdf5' is not one of heatmap, input"),
        (["--images", "photos", "--target", "-3"], "must be a class number, -1"),
        (["-f", "list", "--dtype", "float64"], "'float64' is not one of float32, float16"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], complaint: str) -> None:
    result = run("-c", CONFIG, *arguments)
    assert result.returncode == 2
    assert complaint in result.stderr


def test_a_database_takes_one_formula(images: Path, tmp_path: Path) -> None:
    result = run(
        "-c", CONFIG, "--images", images, "-p", tmp_path / "o", "--outputs", "h5", "--formula", "0,2"
    )
    assert (result.returncode, "maps of one formula" in result.stderr) == (2, True)
