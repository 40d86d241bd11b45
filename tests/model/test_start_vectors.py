"""Start vectors of a model: words, files and arrays; two passes for one map; what a run says of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_builders import CLASSES, small_settings
from builders import assert_close
from PIL import Image

import caffe_lrp
from caffe_lrp import ConfigError, ImageError, Model, UsageError
from caffe_lrp.cli.main import main
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.model.explainer import open_explainer
from caffe_lrp.model.schedule import whole_footprint

NAMES = ("ant.png", "bee.png", "cow.png")
GIVEN: dict[str, Any] = {
    "mean_values": [104, 117, 123],
    "input_scale": 0.02,
    "start_layer": -2,
    "formula": 0,
    "threads": 1,
}
CONFIG = """\
prototxt: deploy.prototxt
caffemodel: net.caffemodel
start_layer: -2
formula: 0
quirks: corrected
preprocess: {mean_values: [104, 117, 123], input_scale: 0.02}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small net, three pictures, and a list of them."""
    monkeypatch.chdir(tmp_path)
    small_settings(tmp_path)
    for seed, name in enumerate(NAMES):
        pixels = np.random.default_rng(seed).integers(0, 256, (14, 18, 3), np.uint8)
        Image.fromarray(pixels).save(name)
    Path("config.yaml").write_text(CONFIG)
    Path("list.txt").write_text("".join(f"{name} {target}\n\n" for target, name in enumerate(NAMES, 1)))


@pytest.fixture
def model() -> Iterator[Model]:
    with caffe_lrp.load("deploy.prototxt", "net.caffemodel", **GIVEN) as opened:
        yield opened


def run(*options: str, name: str = "out") -> int:
    words = "-c", "config.yaml", "-f", "list.txt", "-p", name, "--outputs", "npy", "--threads", "1"
    return main([*words, *options])


def map_of(name: str, folder: str = "out") -> Blob:
    found: Blob = np.load(f"{folder}/heatmaps/{name}_relevance.npy")
    return found


def scores_of(model: Model, name: str) -> Blob:
    return model.forward(name, ["fc"])["fc"].reshape(-1)


def test_a_contrast_is_two_maps_combined_at_the_image(model: Model) -> None:
    best, second = (each.class_index for each in model.explain(NAMES[0]).top(2))
    one, other = (model.explain(NAMES[0], each).relevance.astype(np.float64) for each in (best, second))
    expected = one - other * one.sum() / other.sum()
    for text in ("contrast:runner-up", f"contrast:{second}"):
        found = model.explain(NAMES[0], start_vector=text)
        assert_close(found.relevance, expected, 1e-5)
        assert found.start_vector == text


def test_clrp_keeps_what_speaks_for_the_class_alone(model: Model) -> None:
    scores = scores_of(model, NAMES[0])
    other = [0 if index == 2 else scores[2] / (CLASSES - 1) for index in range(CLASSES)]
    one = model.explain(NAMES[0], 2).relevance.astype(np.float64)
    against = model.explain(NAMES[0], 2, start_vector=np.array(other)).relevance.astype(np.float64)
    expected = np.maximum(one - against * one.sum() / against.sum(), 0)
    assert_close(model.explain(NAMES[0], 2, start_vector="clrp").relevance, expected, 1e-5)


@pytest.mark.parametrize("text", ["contrast:others", "sglrp", "difference:4"])
def test_maps_do_not_depend_on_the_batch(text: str, model: Model) -> None:
    alone = [
        each.relevance.tobytes() for each in model.explain_all(NAMES, [0, 1, 2], start_vector=text, batch=1)
    ]
    together = model.explain_all(NAMES, [0, 1, 2], start_vector=text, batch=3)
    assert [each.relevance.tobytes() for each in together] == alone


def test_an_array_may_have_a_row_for_each_image(model: Model) -> None:
    vectors = np.zeros((3, CLASSES))
    for row, name in enumerate(NAMES):
        vectors[row, row] = scores_of(model, name)[row]
    np.save("rows.npy", vectors)
    expected = [model.explain(name, target).relevance.tobytes() for target, name in enumerate(NAMES)]
    for given in (vectors, "rows.npy", Path("rows.npy"), vectors.astype(np.float32)):
        found = model.explain_all(NAMES, start_vector=given, batch=2)
        assert [each.relevance.tobytes() for each in found] == expected
    one = model.explain(NAMES[0], start_vector=vectors[0]).relevance
    assert one.tobytes() == expected[0]


def test_a_file_that_changes_is_read_again(model: Model) -> None:
    for index in (1, 3):
        np.save("one.npy", np.eye(CLASSES)[index])
        expected = model.explain(NAMES[0], index, start_vector="one").relevance
        assert model.explain(NAMES[0], start_vector="one.npy").relevance.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(4), "holds 4 numbers, but relevance starts at"),
        (np.zeros((2, CLASSES)), "has 2 rows for 3 images"),
        (np.zeros(CLASSES, np.int64), "holds 5 of the type int64, not start vectors"),
        (np.zeros((3, CLASSES, 1)), "holds 3×5×1 of the type float64, not start vectors"),
        (np.array([0, 1, np.nan, 0, 0]), "the number of class 2 is not finite in float32"),
        (np.full((3, CLASSES), 1e39), "the number of row 0, class 0 is not finite in float32"),
        ("missing.npy", "missing.npy: the start vector cannot be read"),
        ("list.npy", "list.npy: cannot be read as a NumPy file"),
        ("objects.npy", "objects.npy: holds 5 of the type object, not start vectors"),
    ],
)
def test_numbers_that_are_no_start_vectors_are_refused(given: Any, message: str, model: Model) -> None:
    Path("list.npy").write_text("1, 2, 3")
    np.save("objects.npy", np.array([None] * CLASSES), allow_pickle=True)
    with pytest.raises(ConfigError, match=message) as caught:
        model.explain_all(NAMES, start_vector=given)
    assert caught.value.setting == "start_vector"


def test_what_is_neither_words_nor_numbers_is_refused(model: Model) -> None:
    with pytest.raises(UsageError, match=r"start_vector: 3 must be a text, a file or an array"):
        model.explain(NAMES[0], start_vector=3)  # type: ignore[arg-type]


def test_an_image_whose_class_is_compared_with_itself_fails_alone(model: Model) -> None:
    found = list(model.explain_all(NAMES, [0, 4, 2], start_vector="difference:4", on_error="return"))
    assert [isinstance(each, ImageError) for each in found] == [False, True, False]
    assert "class 4 is compared with itself" in str(found[1])


@pytest.mark.parametrize("wanted", [{"conservation": True}, {"layers": ["conv"]}])
def test_two_passes_have_nothing_to_observe(wanted: dict[str, Any], model: Model) -> None:
    with pytest.raises(UsageError, match=r"'sglrp' takes two backward passes, .* such as difference:CLASS"):
        model.explain(NAMES[0], start_vector="sglrp", **wanted)
    assert model.explain(NAMES[0], 1, start_vector="difference:2", **wanted)


def test_two_passes_take_more_memory() -> None:
    one, two = (
        whole_footprint(open_explainer(small_settings(Path.cwd(), start_vector=text)).explaining([0]))
        for text in ("difference:2", "contrast:2")
    )
    assert (two.fixed, two.per_image) == (one.fixed, one.per_image + 4 * (3 * 9 * 9 + CLASSES))


def test_targets_only_name_files_where_the_vector_does_not_depend_on_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The start layer has fewer elements than the net has classes, and that does not matter then."""
    assert run("--start-vector", "channel:3", "--start-layer", "relu", "--suffix-target") == 0
    assert (
        "does not depend on the class that is explained; targets only name files" in capsys.readouterr().err
    )
    assert map_of("cow.png_f0_c3").any()


def test_a_run_says_what_relevance_started_as(model: Model) -> None:
    assert run("--start-vector", "contrast:runner-up") == 0
    for path in (*Path("out").rglob("*.jsonl"), *Path("out").rglob("summary.json")):
        first = path.read_text() if path.name == "summary.json" else path.read_text().splitlines()[0]
        assert json.loads(first)["description"]["start_vector"] == "contrast:runner-up"
    assert run() == 5
    assert run("--overwrite", "--start-vector", "contrast:runner-up") == 0
    with caffe_lrp.load("config.yaml", start_vector="contrast:runner-up") as same:
        assert same.explain("bee.png", 2).relevance.tobytes() == map_of("bee.png").tobytes()


def test_a_row_is_that_of_the_line_whatever_the_shard_and_the_formulas() -> None:
    """Lines without an image do not count."""
    np.save("rows.npy", np.eye(CLASSES)[1:4])
    Path("config.yaml").write_text(CONFIG + "start_vector: rows.npy\n")
    assert run("--formula", "0,2") == 0
    for index in range(3):
        assert run("--formula", "0,2", "--shard", f"{index}/3", name="parts") == 0
    for target, name in enumerate(NAMES, 1):
        with caffe_lrp.load("config.yaml", start_vector="one") as model:
            for formula in (0, 2):
                found = map_of(f"{name}_f{formula}_c{target}")
                assert found.tobytes() == map_of(f"{name}_f{formula}_c{target}", "parts").tobytes()
                assert_close(found, model.explain(name, target, formula).relevance, 1e-5)


def test_ranks_of_one_map_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--top", "2", "--start-vector", "weights:1=1"
    assert run(*options) == 2
    assert main(["explain", "deploy.prototxt", "net.caffemodel", NAMES[0], *options]) == 2
    complaint = "--top: the start vector 'weights:1=1' does not depend on the class"
    assert capsys.readouterr().err.count(complaint) == 2


def test_explain_says_what_was_explained(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "deploy.prototxt", "net.caffemodel", NAMES[0], "--overwrite", "--start-vector"]
    assert main([*words, "difference:4", "--target", "1"]) == 0
    assert "class 1 explained with difference:4: " in capsys.readouterr().out
    assert main([*words, "weights:1=2"]) == 0
    assert "  weights:1=2 explained: " in capsys.readouterr().out


def test_relevance_of_both_signs_is_no_loss_in_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--conservation", "--start-vector", "softmax-gradient") == 0
    out = capsys.readouterr().out
    assert out.count("a sum near 0 is no loss") == 3
    assert json.loads(next(Path("out").rglob("ant*.json")).read_text())["start_vector"] == "softmax-gradient"
