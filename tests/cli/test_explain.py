"""``caffe-lrp explain``: a first look at a net and at images, without a config."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import write_caffemodel
from command_line import Result, run
from PIL import Image, ImageChops

import caffe_lrp
from caffe_lrp.errors import ExitCode

ROOT = Path(__file__).parents[2]
NET = ("configs/demo/deploy.prototxt", "configs/demo/shapes.caffemodel")
MEAN = "--mean-file=configs/demo/mean.binaryproto"
LABELS = "--labels=configs/demo/synset.txt"
PICTURES = Path("filelists/demo")
CROSS, HEART = PICTURES / "1_cross_square_crescent.png", PICTURES / "2_heart_square_crescent.png"


def explain(folder: Path, *arguments: object) -> Result:
    """Run it in the root of the repository, for files in ``folder``."""
    return run("explain", *NET, *arguments, "-p", folder, cwd=ROOT)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_best_classes_are_told_and_a_picture_is_made_as_from_python(tmp_path: Path) -> None:
    result = explain(tmp_path, CROSS, LABELS, MEAN, "--bar")
    assert (result.returncode, result.stderr) == (ExitCode.DONE, "")
    path = tmp_path / f"{CROSS.name}_render.png"
    assert result.stdout.splitlines()[-8:] == [
        str(CROSS),
        "  rank  class  probability  label",
        "  1         6       61.9 %  cross",
        "  2         2       19.5 %  crescent",
        "  3         4       11.6 %  square",
        "  4         5        3.0 %  star",
        "  5         7        2.3 %  heart",
        f"  class 6 explained: {path}",
    ]
    files = [ROOT / part for part in NET]
    mean = ROOT / "configs/demo/mean.binaryproto"
    with caffe_lrp.load(*files, mean_file=mean, resize="stretch") as model:
        picture = model.explain(ROOT / CROSS).heatmap(bar=True)
    with Image.open(path) as written:
        assert ImageChops.difference(written, picture).getbbox() is None


def test_what_was_decided_is_told_with_the_option_that_says_otherwise(tmp_path: Path) -> None:
    lines = explain(tmp_path, CROSS, MEAN, "--top=2").stdout.splitlines()
    assert lines[0] == "assumed, because you did not say otherwise:"
    told = {line.split()[0]: line.split()[1] for line in lines[1:8]}
    assert told == {
        "--resize": "stretch",
        "--base-size": "128",
        "--channel-order": "BGR",
        "--input-scale": "1",
        "--start-layer": "score",
        "--formula": "epsilon-plus-flat",
        "--labels": "none",
    }
    assert lines[8].startswith("to change one, give its option")
    said = ("--resize=short-side", "--base-size=128", "--channel-order=BGR", "--input-scale=1", LABELS)
    whole = explain(tmp_path / "2", CROSS, MEAN, *said, "--start-layer=score", "--formula=0")
    assert whole.stdout.startswith(str(CROSS))


def test_a_mean_that_is_a_guess_is_told_loudly(tmp_path: Path) -> None:
    result = explain(tmp_path, CROSS)
    assert "--mean-values    104,117,123        a guess: the mean of ImageNet's photos\n" in result.stdout
    assert result.stderr.startswith(f"caffe-lrp: note: {NET[0]} does not say which mean")
    assert "104,117,123 is a guess" in result.stderr


def test_every_formula_and_every_rank_has_a_picture_of_its_own(tmp_path: Path) -> None:
    result = explain(tmp_path, CROSS, MEAN, "--top=2", "--formula=0,epsilon-plus", "--mode=plain")
    endings = ["f0_rank1", "f0_rank2", "fepsilon-plus_rank1", "fepsilon-plus_rank2"]
    assert names(tmp_path) == [f"{CROSS.name}_{ending}_render.png" for ending in endings]
    last = tmp_path / f"{CROSS.name}_{endings[-1]}_render.png"
    assert result.stdout.splitlines()[-1] == f"  class 2 explained by formula epsilon-plus: {last}"


def test_a_class_that_is_not_among_the_best_is_told_with_its_rank(tmp_path: Path) -> None:
    lines = explain(tmp_path, "--target=0", CROSS, LABELS).stdout.splitlines()
    assert [line.split()[:2] for line in lines[-3:]] == [["5", "7"], ["8", "0"], ["class", "0"]]


def test_an_image_that_cannot_be_read_costs_the_others_nothing(tmp_path: Path) -> None:
    result = explain(tmp_path / "made", "none.png", CROSS, "--level=2", PICTURES, MEAN, HEART)
    assert result.returncode == ExitCode.IMAGES_FAILED
    assert names(tmp_path / "made") == [f"{image.name}_render.png" for image in (CROSS, HEART)]
    assert result.stderr.splitlines() == [
        "caffe-lrp: failed: none.png: no such image; check the path and the folder it is relative to",
        f"caffe-lrp: failed: {PICTURES}: is a folder, not an image; list the files in it instead",
        "caffe-lrp: 2 of 4 images failed (reasons above)",
    ]


def test_relevance_that_is_no_map_is_an_image_that_failed(tmp_path: Path) -> None:
    layer = 'layer { name: "c" type: "Convolution" bottom: "x" top: "c" %s }'
    kernel = layer % "convolution_param { num_output: 2 kernel_size: 1 }"
    (tmp_path / "net.prototxt").write_text('input: "x" input_dim: [1, 3, 1, 1] ' + kernel)
    weights = [np.ones((2, 3, 1, 1), np.float32), np.zeros(2, np.float32)]
    write_caffemodel(tmp_path / "net.caffemodel", {"c": weights})
    net = (tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    result = run("explain", *net, CROSS, HEART, "-p", tmp_path, cwd=ROOT)
    assert result.returncode == ExitCode.IMAGES_FAILED
    assert f"failed: {CROSS}: relevance of shape (3, 1, 1) is not a map that can be drawn" in result.stderr
    assert "2 of 2 images failed" in result.stderr


def test_images_that_a_camera_stored_sideways_are_noted_as_in_a_run(tmp_path: Path) -> None:
    folder, exif = tmp_path / "photos", Image.Exif()
    folder.mkdir()
    turned, exif[274] = folder / "turned.png", 6
    with Image.open(ROOT / CROSS) as upright:
        upright.save(turned, exif=exif)
    note = (
        "caffe-lrp: note: 1 image was explained as stored, perhaps sideways: the EXIF orientation is "
        f"ignored; turn such images first (mogrify -auto-orient, see caffe-lrp help lists)\n  {turned}\n"
    )
    result = explain(tmp_path, CROSS, turned, MEAN, "--top=2")
    assert (result.returncode, result.stderr) == (ExitCode.DONE, note)
    result = run("-c", "configs/demo.txt", "--images", folder, "--top=2", "-p", tmp_path, cwd=ROOT)
    assert (result.returncode, result.stderr) == (ExitCode.DONE, note)


def test_a_picture_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / f"{CROSS.name}_render.png"
    path.write_text("mine")
    result = explain(tmp_path, CROSS, MEAN)
    assert (result.returncode, path.read_text()) == (ExitCode.OUTPUT, "mine")
    assert "add --overwrite" in result.stderr
    assert str(path) in result.stderr
    assert explain(tmp_path, CROSS, MEAN, "--overwrite").returncode == ExitCode.DONE
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_sheet_holds_photos_and_their_pictures(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    words = (CROSS, "none.png", HEART, MEAN, LABELS, "--formula=0,100", "--mode=plain", "--sheet", sheet)
    result = explain(tmp_path, *words)
    assert result.returncode == ExitCode.IMAGES_FAILED
    assert result.stdout.splitlines()[-1] == f"sheet of 4 pictures of 2 photos: {sheet}"
    with Image.open(sheet) as picture:
        assert picture.width * picture.height > 6 * 224 * 224
    assert explain(tmp_path / "again", *words).returncode == ExitCode.OUTPUT
    assert not (tmp_path / "again").exists()
    assert explain(tmp_path / "again", *words, "--overwrite").returncode == ExitCode.IMAGES_FAILED
    result = explain(tmp_path, "none.png", "--sheet", tmp_path / "other.png")
    assert "other.png was not written: there are no pictures to put on it" in result.stderr


def test_images_of_one_name_are_refused(tmp_path: Path) -> None:
    other = tmp_path / CROSS.name
    shutil.copy(ROOT / CROSS, other)
    result = explain(tmp_path / "made", CROSS, other)
    assert result.returncode == ExitCode.USAGE
    assert f"{CROSS} and {other} would both be written to" in result.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ((*NET,), ExitCode.USAGE, "IMAGE is missing: write PROTOTXT CAFFEMODEL IMAGE"),
        ((NET[0],), ExitCode.USAGE, "required: CAFFEMODEL"),
        (("configs/demo.txt", CROSS), ExitCode.USAGE, "configs/demo.txt is a config"),
        (("configs/zoo/nin.yaml", *NET[1:], CROSS), ExitCode.USAGE, "configs/zoo/nin.yaml is a config"),
        ((*NET[::-1], CROSS), ExitCode.BAD_INPUT, "were two paths swapped?"),
        ((NET[0], CROSS, CROSS), ExitCode.BAD_INPUT, "is a picture, not a caffemodel"),
        ((*NET, CROSS, "--mean-values=1", MEAN), ExitCode.USAGE, "cannot be combined"),
        ((*NET, CROSS, "--top=2", "--target=1"), ExitCode.USAGE, "cannot be combined"),
        ((*NET, CROSS, "--top=9"), ExitCode.USAGE, "--top: 9 is more than the 8 classes"),
        ((*NET, CROSS, "--target=8"), ExitCode.IMAGES_FAILED, "--target: class 8 does not exist"),
        ((*NET, CROSS, "--base-size=9"), ExitCode.BAD_INPUT, "--base-size: baseimgsize is 9"),
        ((*NET, CROSS, "--sheet=sheet.jpg"), ExitCode.USAGE, "sheet.jpg will be a PNG file"),
        ((*NET, CROSS, "--cmap=sesmic"), ExitCode.USAGE, "--cmap"),
        ((*NET, CROSS, "-p", "README.md"), ExitCode.OUTPUT, "README.md: cannot be made"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_made(
    arguments: tuple[object, ...], code: ExitCode, complaint: str
) -> None:
    result = run("explain", *arguments, cwd=ROOT)
    assert (result.returncode, result.stdout) == (code, "")
    assert complaint in result.stderr
