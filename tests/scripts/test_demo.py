"""The demo: its net knows the shapes, its heatmaps lie on them, and its scripts do what they say."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import make_demo_model
import numpy as np
import pytest
from builders import (
    ENGINE,
    WORKSPACE,
    assert_close,
    build,
    from_scores,
    random_blob,
    single_layer,
)
from demo_pictures import SHAPES, SIDE, Picture, draw_picture
from make_demo_model import (
    INPUT_SCALE,
    Adam,
    Examples,
    accuracy,
    examples_of,
    gradients,
    learned_weights,
    loss_and_gradient,
    trainable,
    weight_gradients,
)
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import caffe_lrp
from caffe_lrp.imaging.mean import load_mean
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.linear import Linear
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import REFERENCE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL_NET = """
input: "data" input_shape { dim: 1 dim: 3 dim: SIZE dim: SIZE }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "score" type: "InnerProduct" bottom: "pool" top: "score"
  inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""
CONFIG = ROOT / "configs" / "demo.txt"
LIST = ROOT / "filelists" / "demo.txt"

#: Pixels around a shape that see its outline through the lower layers.
MARGIN = 4


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    """The net, with a plan for the formula of the config."""
    model = caffe_lrp.load(CONFIG)
    return model.explainer((model.formula,))


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Pictures that the net was not trained on: training draws from children of its seed."""
    rng = np.random.default_rng(20_261_121)
    return [draw_picture(rng) for _ in range(120)]


def mean_colour(explainer: Explainer) -> NDArray[np.float32]:
    return explainer.preprocessor.mean[:, :1, :1]


def around(mask: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a shape is, and a few pixels around it."""
    image = Image.fromarray((mask > 0.1).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.MaxFilter(2 * MARGIN + 1))) > 0


def test_the_net_knows_the_shapes_of_pictures_it_has_not_seen(
    explainer: Explainer, pictures: list[Picture]
) -> None:
    assert accuracy(explainer.net, examples_of(pictures), mean_colour(explainer)) > 0.95


def test_heatmaps_highlight_the_explained_shape(explainer: Explainer, pictures: list[Picture]) -> None:
    chosen = pictures[:16]
    batch = examples_of(chosen).levels - mean_colour(explainer)
    forward = ENGINE.forward(explainer.net, tuple(explainer.plans.values()), batch)
    inside, elsewhere = [], []
    for which in (0, 1):
        classes = [(picture.classes[which],) for picture in chosen]
        found = from_scores(explainer.plan, forward, classes)
        for picture, relevance in zip(chosen, found, strict=True):
            positive = np.maximum(relevance.mean(axis=0), 0)
            inside.append(positive[around(picture.masks[which])].sum() / positive.sum())
            elsewhere.append(positive[around(picture.masks[1 - which])].sum() / positive.sum())
    assert np.mean(inside) > 0.85
    assert np.mean(elsewhere) < 0.05
    assert np.min(inside) > 0.5


def test_the_list_asks_for_shapes_that_the_names_of_the_pictures_say() -> None:
    lines = [line.split() for line in LIST.read_text().splitlines()]
    names = list(SHAPES)
    assert len({path for path, _ in lines}) == 8
    assert len({tuple(line) for line in lines}) == 16
    for path, code in lines:
        assert names[int(code)] in Path(path).stem.split("_")[1:]
        assert Image.open(ROOT / path).size == (SIDE, SIDE)


def test_the_labels_are_the_shapes(explainer: Explainer) -> None:
    assert explainer.labels == tuple(SHAPES)


def test_what_is_committed_for_the_demo_is_small() -> None:
    files = [CONFIG, LIST, *(ROOT / "configs/demo").iterdir(), *(ROOT / "filelists/demo").iterdir()]
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_the_same_state_of_the_generator_draws_the_same_picture() -> None:
    first, second = (draw_picture(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels)
    assert first.classes == second.classes


def test_shapes_of_a_picture_differ_and_do_not_touch(pictures: list[Picture]) -> None:
    for picture in pictures:
        assert len(set(picture.classes)) == len(picture.classes) in (2, 3)
        assert (np.count_nonzero(picture.masks, axis=0) <= 1).all()
        assert (picture.masks.sum(axis=(1, 2)) > 100).all()


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ('type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 pad: 1 }', (2, 4, 6)),
        ('type: "InnerProduct" inner_product_param { num_output: 5 }', (2, 3, 4)),
    ],
)
def test_weight_gradients_equal_differences(tmp_path: Path, body: str, shape: tuple[int, ...]) -> None:
    layer = single_layer(tmp_path, body, shape)
    assert isinstance(layer, Linear)
    inputs = random_blob((3, *shape), 1)
    gradient = random_blob((3, *layer.output_shapes[0]), 2)
    # The layer is linear in each weight, so a difference over any step is the derivative.
    for blob, found in zip(layer.weights, weight_gradients(layer, inputs, gradient), strict=True):
        before = weighted_outputs(layer, inputs, gradient)
        expected = np.empty(blob.shape)
        for index in np.ndindex(blob.shape):
            old = blob[index]
            blob.flags.writeable = True
            blob[index] = old + 1
            expected[index] = weighted_outputs(layer, inputs, gradient) - before
            blob[index] = old
        assert_close(found, expected, 1e-4)


def weighted_outputs(layer: Layer, inputs: Blob, factors: Blob) -> float:
    """Sum of the outputs times ``factors``, by a copy of the layer that derives anew from its weights."""
    (outputs,) = replace(layer).forward([inputs], WORKSPACE)
    return float((outputs.astype(np.float64) * factors).sum())


def patterns(rng: np.random.Generator, count: int) -> Examples:
    """Flat, striped and chequered pictures: what turning, mirroring and other colours do not change."""
    kinds = rng.integers(3, size=count)
    y, x = np.mgrid[0:12, 0:12]
    shapes = np.stack([np.zeros_like(x), x % 2, (x + y) % 2])
    levels = rng.integers(0, 100, (count, 3, 1, 1)) + 120 * shapes[kinds][:, np.newaxis]
    return Examples(levels.astype(np.uint8), np.eye(3, dtype=np.float32)[kinds])


def small_net(folder: Path, size: int = 12) -> Net:
    return trainable(build(folder, SMALL_NET.replace("SIZE", str(size))))


def test_training_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_demo_model, "BATCH_SIZE", 16)
    monkeypatch.setattr(make_demo_model, "WARM_UP", 1)
    net, rng = small_net(tmp_path), np.random.default_rng(1)
    examples = patterns(rng, 60)
    mean = np.full((3, 1, 1), 100, np.float32)
    batch = (examples.levels - mean) * np.float32(INPUT_SCALE)
    before, _ = gradients(net, batch, examples.shown, WORKSPACE)
    make_demo_model.train(net, examples, mean, 600, rng)
    after, _ = gradients(net, batch, examples.shown, WORKSPACE)
    assert after < 0.3 * before
    seen_whole = replace(
        net, layers=tuple(replace(one, weights=learned_weights(net).get(one.name, ())) for one in net.layers)
    )
    assert accuracy(seen_whole, patterns(rng, 60), mean) > 0.9


def test_gradients_of_a_net_equal_differences_of_its_loss(tmp_path: Path) -> None:
    net = small_net(tmp_path, size=6)
    batch = random_blob((4, 3, 6, 6), 3)
    shown = np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]
    _, found = gradients(net, batch, shown, WORKSPACE)
    assert set(found) == {"conv", "score"}
    for layer in net.layers:
        for weight, gradient in zip(layer.weights, found.get(layer.name, ()), strict=True):
            index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
            old, losses = weight[index], []
            for step in (0.01, -0.01):
                weight[index] = old + step
                losses.append(gradients(net, batch, shown, WORKSPACE)[0])
            weight[index] = old
            assert gradient[index] == pytest.approx((losses[0] - losses[1]) / 0.02, rel=0.02)


def test_the_input_scale_moves_into_the_first_layer(tmp_path: Path) -> None:
    net, batch = small_net(tmp_path), random_blob((2, 3, 12, 12), 4) * 100
    weights = learned_weights(net)
    raw = replace(net, layers=tuple(replace(one, weights=weights.get(one.name, ())) for one in net.layers))
    scaled = net.forward(batch * np.float32(INPUT_SCALE), set(), WORKSPACE)[net.output_value]
    assert_close(raw.forward(batch, set(), WORKSPACE)[net.output_value], scaled)


def test_pictures_become_blue_green_red(pictures: list[Picture]) -> None:
    levels = examples_of(pictures[:2]).levels
    for channel in range(3):
        assert np.array_equal(levels[1, channel], pictures[1].pixels[..., 2 - channel])


def test_variations_keep_the_order_of_the_batch() -> None:
    batch = np.broadcast_to(np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1), (5, 3, 4, 4))
    for seed in range(8):
        levels = make_demo_model.varied(batch, np.random.default_rng(seed))
        assert (levels == levels[:, :1, :1, :1]).all()
        assert levels[:, 0, 0, 0].tolist() in ([0, 1, 2, 3, 4], [255, 254, 253, 252, 251])


def test_the_mean_is_written_as_it_is_read(tmp_path: Path) -> None:
    mean = np.array([10, 20, 30], np.float32).reshape(3, 1, 1)
    make_demo_model.write_mean(tmp_path / "mean", mean)
    loaded = load_mean(tmp_path / "mean", 1, REFERENCE)
    assert np.array_equal(loaded, np.broadcast_to(mean, (3, SIDE, SIDE)))


def test_the_loss_is_least_where_every_shape_shown_has_its_share() -> None:
    shown = np.array([[1, 0, 1, 0], [0, 1, 0, 0]], np.float32)
    share = shown / shown.sum(axis=1, keepdims=True)
    loss, gradient = loss_and_gradient(share, shown)
    assert loss == pytest.approx(0)
    assert not gradient.any()
    other = np.array([[0.4, 0.1, 0.3, 0.2], [0.1, 0.7, 0.1, 0.1]], np.float32)
    expected = (0.5 * np.log(0.5 / 0.4) + 0.5 * np.log(0.5 / 0.3) + np.log(1 / 0.7)) / 2
    assert loss_and_gradient(other, shown)[0] == pytest.approx(expected, rel=1e-5)
    assert_close(loss_and_gradient(other, shown)[1], (other - share) / 2)


def test_adam_walks_downhill_by_its_rate() -> None:
    weight = np.array([3.0, -2.0], np.float32)
    optimizer = Adam(weight)
    optimizer.update(np.array([10.0, -0.1], np.float32), 0.5)
    assert_close(weight, np.array([2.5, -1.5]))


def test_training_writes_everything_and_the_same_seed_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_demo_model, "BATCH_SIZE", 2)
    monkeypatch.setattr(make_demo_model, "HELD_OUT_PICTURES", 2)
    for name in ("one", "two"):
        make_demo_model.make_demo(tmp_path / name, seed=3, steps=2, picture_count=4)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == 4 + 8 + 1
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    shutil.copy(CONFIG, tmp_path / "one" / "configs")
    assert len(caffe_lrp.load(tmp_path / "one/configs/demo.txt").labels) == 8


def test_accuracy_counts_pictures_all_of_whose_shapes_come_first(explainer: Explainer) -> None:
    """A blank picture that claims to show what the net thinks of it is right, one that does not wrong."""
    blank = np.zeros((2, 3, SIDE, SIDE), np.uint8)
    net = explainer.net
    scores = net.forward(blank - mean_colour(explainer), set(), WORKSPACE)[net.output_value][0]
    order = np.argsort(-scores)
    shown = np.zeros((2, len(SHAPES)), np.float32)
    shown[0, order[:2]] = 1
    shown[1, order[[0, 2]]] = 1
    assert accuracy(net, Examples(blank, shown), mean_colour(explainer)) == 0.5


def scripts_in(folder: Path) -> Path:
    """A copy of the scripts, so that a .venv is made or missed in ``folder``."""
    (folder / "scripts").mkdir()
    for path in (ROOT / "scripts").iterdir():
        if path.is_file():
            shutil.copy(path, folder / "scripts")
    return folder / "scripts"


def program(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def environment(folder: Path) -> None:
    """A .venv in ``folder`` with our own Python; pip does nothing but take notes."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    note = f'[ "$1 $2" = "-m pip" ] && echo "$@" >> "{folder}/pip.log" && exit'
    program(programs / "python", f'{note}\nexec "{sys.executable}" "$@"')
    program(programs / "caffe-lrp", f'exec "{sys.executable}" -m caffe_lrp "$@"')


def installable(folder: Path) -> Path:
    """A clone with a .venv in ``folder``, its package empty; returns its scripts."""
    environment(folder)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "caffe_lrp").mkdir()
    return scripts_in(folder)


def bash(script: Path, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), *map(str, arguments)],
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["demo.sh", "test.sh"])
@pytest.mark.parametrize(
    ("python", "complaint"),
    [
        (None, "install Python 3.10 or newer, or set PYTHON to where it is"),
        (
            '[ "$1" = --version ] && echo Python 3.8.10; exit 1',
            "is Python 3.8.10, Python 3.10 or newer is needed",
        ),
        ('[ "$1" = -c ]', "cannot make .venv; on Debian or Ubuntu: apt install python3-venv"),
    ],
    ids=["missing", "too old", "without venv"],
)
def test_missing_requirements_are_named(
    tmp_path: Path, name: str, python: str | None, complaint: str
) -> None:
    path = tmp_path / "python"
    if python:
        program(path, python)
    result = bash(scripts_in(tmp_path) / name, cwd=tmp_path, PYTHON=str(path))
    assert result.returncode == 1
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("python", "complaint"),
    [
        ('[ "$1" = --version ] && echo Python 3.8.10; exit 1', "the Python of .venv is Python 3.8.10"),
        (None, "the Python of .venv is gone; remove .venv"),
    ],
)
def test_an_environment_that_cannot_be_used_is_left_to_its_owner(
    tmp_path: Path, python: str | None, complaint: str
) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "mine").touch()
    if python:
        program(programs / "python", python)
    else:
        (programs / "python").symlink_to("nowhere")
    result = bash(scripts_in(tmp_path) / "demo.sh", cwd=tmp_path, PYTHON="")
    assert result.returncode == 1
    assert complaint in result.stderr
    assert (programs / "mine").exists()


def test_another_python_than_that_of_the_environment_is_not_silently_ignored(tmp_path: Path) -> None:
    environment(tmp_path)
    other = program(tmp_path / "python", "echo Python 3.99.0")
    result = bash(scripts_in(tmp_path) / "demo.sh", cwd=tmp_path, PYTHON=str(other))
    assert result.returncode == 1
    assert "PYTHON is Python 3.99.0, but .venv has Python 3." in result.stderr


def test_half_an_environment_is_completed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    scripts = scripts_in(tmp_path)
    (scripts / "setup.sh").write_text('set -euo pipefail\nsource "$(dirname "$0")/venv.sh"\n')
    result = bash(scripts / "setup.sh", cwd=tmp_path, PYTHON="")
    assert (result.returncode, result.stderr) == (0, "")
    subprocess.run([tmp_path / ".venv/bin/python", "-c", "import pip"], check=True)


def test_packages_are_installed_again_only_after_a_change(tmp_path: Path) -> None:
    """From the folder of another clone that CDPATH names, which must be left alone."""
    folder = tmp_path / "clone"
    scripts = installable(folder)
    (scripts / "setup.sh").write_text("set -euo pipefail\nsource scripts/venv.sh\ninstall demo .\n")
    (tmp_path / "other" / "scripts").mkdir(parents=True)
    for change, count in (("1", 1), ("1", 1), ("2", 2)):
        (folder / "caffe_lrp" / "one.py").write_text(change)
        result = bash(scripts / "setup.sh", cwd=folder, PYTHON="", CDPATH=str(tmp_path / "other"))
        assert (result.returncode, result.stderr) == (0, "")
        assert (folder / "pip.log").read_text().count("install") == count
    assert list((tmp_path / "other").rglob("*")) == [tmp_path / "other" / "scripts"]


def test_files_that_change_back_are_installed_again(tmp_path: Path) -> None:
    """The demo's stamp fits the files once more, but the tests have installed others since."""
    scripts = installable(tmp_path)
    runs = [("demo", 1, 1), ("tests", 1, 2), ("demo", 1, 2), ("tests", 2, 3), ("demo", 1, 4), ("tests", 1, 5)]
    for purpose, version, count in runs:
        (tmp_path / "caffe_lrp" / "one.py").write_text(str(version))
        (scripts / "setup.sh").write_text(f"set -euo pipefail\nsource scripts/venv.sh\ninstall {purpose} .\n")
        result = bash(scripts / "setup.sh", cwd=tmp_path, PYTHON="")
        assert (result.returncode, result.stderr) == (0, "")
        assert (tmp_path / "pip.log").read_text().count("install") == count


def try_as_suggested(line: str, folder: Path) -> None:
    """Run a command that the demo suggests, with files of the demo in place of a user's own."""
    for word, ours in (
        ("FOLDER", "filelists/demo"),
        ("deploy.prototxt net.caffemodel", "configs/demo/deploy.prototxt configs/demo/shapes.caffemodel"),
        ("photo.jpg", "filelists/demo/1_cross_square_crescent.png"),
    ):
        line = line.replace(word, ours)
    tried = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr


def test_the_demo_script_makes_all_heatmaps_and_says_where(tmp_path: Path) -> None:
    """Everything but the installation, which needs a network, is real."""
    scripts = scripts_in(tmp_path)
    for name in ("caffe_lrp", "configs", "filelists", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    result = bash(scripts / "demo.sh", "my pictures", cwd=tmp_path / "elsewhere", PYTHON="")
    assert result.returncode == 0
    # Where kernels are compiled on a busy machine, a line says after a minute how far the run is.
    notes = [line for line in result.stderr.splitlines() if line.startswith("caffe-lrp: note")]
    assert [note.partition(" (")[0] for note in notes] == [
        "caffe-lrp: note: maps that show little or nothing: 8 of 16"  # by formula 0
    ]
    output = tmp_path / "elsewhere" / "my pictures"
    assert f"{output}/overview.png" in result.stdout
    assert result.stdout.count("16 of 16 heatmaps made") == 3
    assert len(list((output / "heatmaps/demo").glob("*_heatmap.png"))) == 48
    suggested = [line for line in result.stdout.splitlines() if line.startswith("    .venv/bin/")]
    assert len(suggested) == 4
    for line in suggested:
        try_as_suggested(line, tmp_path)
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"map.png", "1_cross_square_crescent.png_render.png"}
    sheet = np.asarray(Image.open(output / "overview.png"))
    assert sheet.shape[0] > 8 * SIDE
    assert sheet.shape[1] > 7 * SIDE


def test_the_fast_tests_are_those_without_the_mark_and_other_arguments_go_to_pytest(tmp_path: Path) -> None:
    scripts = installable(tmp_path)
    program(tmp_path / ".venv/bin/python", f'echo "$@" >> "{tmp_path}/calls"')
    common = "-m pytest -n auto --dist worksteal"
    for arguments, command in (
        ([], common),
        (["-k", "a or b"], f"{common} -k a or b"),
        (["--fast", "tests/cli"], f"{common} -m not slow tests/cli"),
    ):
        result = bash(scripts / "test.sh", *arguments, cwd=tmp_path, PYTHON="")
        assert (result.returncode, result.stderr) == (0, "")
        checks = [line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("-m")]
        assert checks[-4:] == ["-m ruff check .", "-m ruff format --check .", "-m mypy", command]
