"""Scripts for pycaffe, run as they are: they give the numbers of the command."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import DATA, run
from PIL import Image
from test_conformance import read_raw_heatmap

import caffe_lrp
from caffe_lrp.pycaffe.__main__ import run as run_script

SCRIPTS = Path(__file__).parent / "scripts"
PROTOTXT, CAFFEMODEL = DATA / "models/alex.prototxt", DATA / "models/alex.caffemodel"
MEAN = (104.0, 117.0, 123.0)
#: The side of the net's input; pictures of this size are not resized.
SIDE = 63

Script = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    found = []
    for name in ("square.jpg", "portrait.png"):
        path = folder / f"{Path(name).stem}.png"
        with Image.open(DATA / "images/set" / name) as image:
            image.convert("RGB").resize((SIDE, SIDE)).save(path)
        found.append(path)
    return found


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Runs a script in this process, and returns the arrays that it saves."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "caffe"]:
        monkeypatch.delitem(sys.modules, name)

    def run_it(name: str, *arguments: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", sys.argv)
        monkeypatch.setattr(sys, "path", [*sys.path])
        out = tmp_path / "found"
        before = {*sys.modules}
        run_script([str(SCRIPTS / name), *map(str, arguments), str(out)])
        for added in {*sys.modules} - before:
            if added.partition(".")[0] == "caffe":
                del sys.modules[added]
        with np.load(f"{out}.npz") as saved:
            return dict(saved)

    return run_it


def command(folder: Path, pictures: list[Path]) -> Path:
    """The folder of what the command makes of pictures, by the options of the scripts."""
    config = folder / "config.yaml"
    config.write_text(
        f"prototxt: {PROTOTXT}\ncaffemodel: {CAFFEMODEL}\nmean_values: {list(MEAN)}\nbase_size: {SIDE}\n"
        "start_layer: -2\nformula: 100\nepsilon: 1\nbeta: 1\n"
    )
    listing = folder / "list.txt"
    listing.write_text("".join(f"{picture} -1\n" for picture in pictures))
    result = run("-c", config, "-f", listing, "-p", folder / "out", "--outputs", "rawhm,top10")
    assert result.returncode == 0, result.stderr
    return folder / "out"


def test_classification_gives_the_scores_of_the_command(
    script: Script, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = script("classify.py", PROTOTXT, CAFFEMODEL, pictures[0])
    ranking = np.loadtxt(next(command(tmp_path, pictures[:1]).rglob("*scores.txt")))
    np.testing.assert_array_equal(found["best"], ranking[:5, 0])
    assert found["probabilities"].shape == (3, 12)
    np.testing.assert_allclose(found["probabilities"][1][found["best"]], ranking[:5, 1], rtol=1e-4)
    np.testing.assert_allclose(found["of_centre"][0], found["probabilities"][0], rtol=1e-5)
    assert len(capsys.readouterr().out.splitlines()) >= 5


def test_pictures_of_layers_show_the_values_of_the_model(
    script: Script, pictures: list[Path], tmp_path: Path
) -> None:
    found = script("look_inside.py", PROTOTXT, CAFFEMODEL, pictures[1])
    with caffe_lrp.load(PROTOTXT, CAFFEMODEL, mean_values=MEAN, base_size=SIDE) as model:
        values = model.forward(pictures[1], blobs=["conv1", "pool5", "fc6"])
    for name, expected in values.items():
        np.testing.assert_allclose(found[name][0], np.reshape(expected, found[name][0].shape), atol=1e-2)
    with Image.open(pictures[1]) as picture:
        np.testing.assert_allclose(found["seen"] * 255, np.asarray(picture), atol=1e-3)
    with Image.open(tmp_path / "found_filters.png") as filters:
        assert filters.size == (4 * 10, 4 * 10)  # twelve filters of 9 × 9, four a row, with lines between


def test_relevance_by_options_is_that_of_the_command(
    script: Script, pictures: list[Path], tmp_path: Path
) -> None:
    found = script("explain.py", PROTOTXT, CAFFEMODEL, *pictures)
    out = command(tmp_path, pictures)
    assert found["relevance"].shape == (2, 3, SIDE, SIDE)
    for picture, relevance in zip(pictures, found["relevance"], strict=True):
        expected = read_raw_heatmap(next(out.rglob(f"{picture.stem}*_rawhm.txt")))
        np.testing.assert_allclose(relevance, expected, atol=2e-4 * np.abs(expected).max())
    with caffe_lrp.load(
        PROTOTXT, CAFFEMODEL, mean_values=MEAN, base_size=SIDE, start_layer=-2, epsilon=1, beta=1
    ) as model:
        explanation = model.explain(pictures[1], formula=100, layers=["conv2"])
    conv2 = explanation.layers["conv2"]
    np.testing.assert_allclose(found["conv2"][1], conv2, atol=2e-4 * np.abs(conv2).max())


def test_help_and_the_import_alone_load_no_numpy() -> None:
    text = (
        "import sys, caffe_lrp.pycaffe as caffe, caffe_lrp.pycaffe.__main__ as main\n"
        "try: main.run(['--help'])\nexcept SystemExit: pass\n"
        "print('numpy' in sys.modules, 'Net' in dir(caffe))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: python -m caffe_lrp.pycaffe SCRIPT.py")
    assert done.stdout.endswith("False True\n")


def test_a_process_runs_text_and_scripts_and_says_what_is_missing(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "caffe_lrp.pycaffe"]
    (tmp_path / "beside.py").write_text("NAME = 'beside'\n")
    path = tmp_path / "script.py"
    path.write_text(
        "import sys, caffe, caffe.io, caffe.pycaffe, beside\nassert caffe.Net is caffe.pycaffe.Net\n"
        "from caffe.proto import caffe_pb2\n"
        "from caffe import layers as L\n"
        "print(sys.argv[1:], caffe.TEST, beside.NAME)\nL.Convolution()\n"
    )
    done = subprocess.run([*program, str(path), "a"], capture_output=True, text=True, check=False)
    assert done.stdout == "['a'] 1 beside\n"
    assert done.returncode == 1
    assert (
        "CaffeError: caffe.layers is not part of caffe_lrp.pycaffe; write the prototxt as text" in done.stderr
    )
    missing = subprocess.run([*program, "no.py"], capture_output=True, text=True, check=False)
    assert (missing.returncode, "there is no script no.py" in missing.stderr) == (1, True)
