"""The kind of output `render` of a run over a list."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from PIL import Image
from run_builders import all_of, copies, finish, journal_of

from caffe_lrp.imaging.original import Original
from caffe_lrp.rendering.png import style_in
from caffe_lrp.rendering.style import PictureStyle


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return copies(tmp_path / "images", 2)


def test_a_run_draws_its_maps_in_the_size_of_the_photos(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--outputs", "render,heatmap", "--cmap", "jet", "--range", "max"]
    assert finish(all_of(images), out, *options).returncode == 0
    for image in images.iterdir():
        (path,) = out.rglob(f"{image.name}_render.png")
        with Image.open(path) as drawn, Image.open(image) as photo:
            times = drawn.width // photo.width
            assert drawn.size == (photo.width * times, photo.height * times)
            assert np.ptp(np.asarray(drawn)) > 100
        assert style_in(path) == PictureStyle(cmap="jet", range="max").as_json()


def test_pictures_of_another_style_are_those_of_another_run(images: Path, tmp_path: Path) -> None:
    path, out = all_of(images), tmp_path / "out"
    finish(path, out, "--outputs", "render", "--mode", "plain")
    described = json.loads(journal_of(out).read_text().splitlines()[0])["description"]
    assert described["picture"]["mode"] == "plain"
    other = finish(path, out, "--outputs", "render", "--mode", "side")
    assert other.returncode == 5
    assert "--overwrite" in other.stderr


def test_a_photo_that_is_another_when_it_is_drawn_costs_the_others_nothing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, read = sorted(images.iterdir())[0], Original.picture

    def replaced(original: Original) -> np.ndarray:
        if Path(str(original.image)).name == first.name:
            Image.new("RGB", (3, 5)).save(first)
        return read(original)

    monkeypatch.setattr(Original, "picture", replaced)
    result = finish(all_of(images), tmp_path / "out", "--outputs", "render")
    assert result.returncode == 4
    assert f"{first.name}: the photo is 5 x 3 pixels, but the one that was explained" in result.stderr
    assert len(list((tmp_path / "out").rglob("*_render.png"))) == 1


def test_a_photo_that_is_gone_is_an_image_that_failed(images: Path, tmp_path: Path) -> None:
    path = all_of(images)
    sorted(images.iterdir())[0].unlink()
    result = finish(path, tmp_path / "out", "--outputs", "render")
    assert result.returncode == 4
    assert len(list((tmp_path / "out").rglob("*_render.png"))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cmap", "jet"], "--cmap goes with the picture of --outputs render"),
        (["--bar", "--outputs", "npy"], "--bar goes with the picture of --outputs render"),
        (["--outputs", "render", "--cmap", "jett"], "'jett' is not a colour map; did you mean 'jet'?"),
        (["--outputs", "render", "--range", "most"], "'most' must be max, robust, percentile:P"),
    ],
)
def test_wrong_options_for_pictures_are_wrong_usage(options: list[str], message: str) -> None:
    result = run("-c", "config.txt", "-f", "list.txt", *options)
    assert result.returncode == 2
    assert message in result.stderr
