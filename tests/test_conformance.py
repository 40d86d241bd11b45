"""The reference's own outputs: every formula, every kind of net and image, through the command line."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from caffe_lrp.cli.main import main

ROOT = Path(__file__).parent / "data" / "conformance"
CASES = [line.split() for line in (ROOT / "cases.txt").read_text().splitlines()]
TOLERANCE = 1e-4
NUMBER = re.compile(r"-?(\d+\.?\d*(e[+-]\d\d)?|nan|inf)")


def read_raw_heatmap(path: Path) -> NDArray[np.float64]:
    lines = path.read_text().split("\n")
    channels, (height, width) = int(lines[0]), map(int, lines[1].split())
    assert len(lines) == channels * height + 3
    assert lines[-1] == ""
    rows = [line.split(" ") for line in lines[2:-1]]
    assert all(len(row) == width + 1 and row[-1] == "" for row in rows)
    assert all(NUMBER.fullmatch(number) for row in rows for number in row[:-1])
    return np.array([row[:-1] for row in rows], dtype=np.float64).reshape(channels, height, width)


def read_picture(path: Path) -> NDArray[np.int32]:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture.dtype == np.uint8
    return picture[..., ::-1].astype(np.int32)


def check_image(stem: Path, name: str, expected: dict[str, NDArray[np.float64]]) -> None:
    reference = expected[f"{name}/rawhm"].astype(np.float64)
    ours = read_raw_heatmap(Path(f"{stem}_rawhm.txt"))
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= TOLERANCE * np.abs(reference).max()
    if f"{name}/top10" in expected:
        ranking = np.loadtxt(f"{stem}_top10scores.txt")
        np.testing.assert_array_equal(ranking[:, 0], expected[f"{name}/top10"][:, 0])
        np.testing.assert_allclose(ranking[:, 1], expected[f"{name}/top10"][:, 1], rtol=1e-4, atol=1e-7)
    for kind in ("heatmap", "as_inputted_into_the_dnn"):
        if f"{name}/{kind}" in expected:
            picture = expected[f"{name}/{kind}"].astype(np.int32)
            mean = reference.mean(axis=0)
            if kind == "heatmap" and mean.max() > 0:
                # The reference lets values below −max wrap around; ours are clamped.
                picture[mean < -mean.max()] = (0, 0, 255)
            off = np.abs(read_picture(Path(f"{stem}_{kind}.png")) - picture) > 1
            assert off.mean() <= 0.001


@pytest.mark.parametrize(("name", "listing"), CASES, ids=[name for name, _ in CASES])
def test_outputs_equal_the_references(
    name: str, listing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    options = ["-c", f"configs/{name}.txt", "-f", f"filelists/{listing}.txt", "-p", str(tmp_path)]
    assert main([*options, "--quiet"]) == 0
    with np.load(ROOT / "expected" / f"{name}.npz") as stored:
        expected = dict(stored)
    images = {key.split("/")[0] for key in expected}
    assert images == {path.name.removesuffix("_rawhm.txt") for path in tmp_path.rglob("*_rawhm.txt")}
    for image in images:
        check_image(tmp_path / "out" / "images" / "set" / image, image, expected)
