"""Maps that say nothing: how much of a heatmap can be seen, why it cannot be, and what a run says of it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import (
    ENGINE,
    build,
    write_caffemodel,
)
from numpy.typing import NDArray

from caffe_lrp.cli.main import main
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.model.darkness import Cause, Darkness, darkness_of
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks
from caffe_lrp.relevance.beginning import begin
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.start_amounts import Subject
from caffe_lrp.rendering.heatmap import heatmap_picture, visible_share

SIDE = 20
NET = f"""
input: "data" input_shape {{ dim: 1 dim: 1 dim: {SIDE} dim: {SIDE} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 1 kernel_size: 1 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param {{ num_output: 5 }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""
PLAIN, ZERO, AGAINST, SHIFTED, ALSO_ZERO = range(5)
"""Classes: every pixel speaks for it, none does, every one speaks against it, for it beside a large negative
bias, none does."""

WEIGHTS: dict[str, list[Blob]] = {
    "conv": [np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)],
    "fc": [
        np.repeat(np.array([[0.01], [0], [-0.01], [0.01], [0]], np.float32), SIDE * SIDE, axis=1),
        np.array([0, 0, 0, -100, 0], np.float32),
    ],
}
FULL = np.arange(1, SIDE * SIDE + 1, dtype=np.float32).reshape(1, SIDE, SIDE)
FAINT = FULL / np.float32(100)
SPOT = np.where(FULL == 27, np.float32(200), np.float32(0))


def painted_share(relevance: NDArray[np.float32]) -> float:
    """The share of visible pixels, as somebody counts them who looks at the picture."""
    picture = heatmap_picture(relevance).astype(float)
    peak = picture.max()
    count = 0
    for at in np.ndindex(*picture.shape[:2]):
        count += bool(peak > 0 and max(picture[at]) >= 0.2 * peak)
    return count / np.prod(picture.shape[:2])


@pytest.mark.parametrize("shape", [(3, 23, 17), (1, 28, 29), (64, 5, 6), (7, 1, 1)])
@pytest.mark.parametrize("power", [1, 5])
def test_visible_pixels_are_those_of_the_picture(shape: tuple[int, int, int], power: int) -> None:
    relevance = np.random.default_rng(power).standard_normal(shape).astype(np.float32) ** power
    for values in (relevance, -relevance, np.abs(relevance), -np.abs(relevance)):
        assert visible_share(values, enough=1.0) == painted_share(values)


def test_a_fifth_of_the_brightest_is_visible_in_either_colour() -> None:
    values = np.array([10, 2, 1.9, -1.9, -2, -50, 0, 0], np.float32).reshape(1, 2, 4)
    assert visible_share(values, enough=1.0) == 4 / 8
    assert visible_share(-np.abs(values)) == visible_share(0 * values) == 0


def test_counting_ends_where_a_map_is_not_dark() -> None:
    values = np.zeros((1, 10, 40), np.float32)
    values[0, 3, 5:7] = 1
    assert visible_share(values) == 0.005
    values[0, 3, 7:] = 1
    assert visible_share(values) == 0.005
    assert visible_share(values[:, :, :6]) == 1 / 60


def plan_of(folder: Path, formula: FormulaCode, quirks: Quirks = REFERENCE, first_layer: int = 0) -> Plan:
    net = build(folder, NET, WEIGHTS)
    return resolve_plan(net, formula, RuleParameters(0.01, 0.0, 0, quirks), "auto", first_layer)


def darkness(plan: Plan, image: Blob, classes: Sequence[int], item: int = 1) -> Darkness | None:
    """What is dark about the map of one item of a batch."""
    batch = np.stack([FULL, FULL, FULL])
    batch[item] = image
    forward = ENGINE.forward(plan.net, (plan,), batch)
    beginning = begin(plan, forward, [Subject(tuple(classes))] * len(batch))
    relevance = ENGINE.explain(plan, forward, beginning.relevance)[item]
    return darkness_of(beginning, item, classes, relevance)


@pytest.mark.parametrize("classes", [(ZERO,), (ZERO, ALSO_ZERO)])
def test_scores_of_0_are_where_relevance_starts_at_0(classes: tuple[int, ...], tmp_path: Path) -> None:
    assert darkness(plan_of(tmp_path, 0), FULL, classes) == Darkness(Cause.STARTS_AT_ZERO, classes, 0.0)
    assert darkness(plan_of(tmp_path, 0), FULL, (ZERO, PLAIN)) is None


def test_a_map_that_shows_something_is_not_dark_whatever_it_starts_at(tmp_path: Path) -> None:
    """Quirks can add relevance on the way: Q9 that of the softmax, Q7 activations."""
    plan = plan_of(tmp_path, 0)
    forward = ENGINE.forward(plan.net, (plan,), FULL[None])
    assert darkness_of(begin(plan, forward, [Subject((ZERO,))]), 0, (ZERO,), FULL) is None


def test_a_gradient_that_starts_from_1_does_not_start_at_0(tmp_path: Path) -> None:
    from_score, from_one = (plan_of(tmp_path, 11, quirks) for quirks in (REFERENCE, CORRECTED))
    assert darkness(from_score, FULL, (ZERO,)) == Darkness(Cause.STARTS_AT_ZERO, (ZERO,), 0.0)
    assert darkness(from_one, FULL, (ZERO,)) == Darkness(Cause.LOST, (ZERO,), 1.0, amount=1.0)
    assert darkness(from_one, FULL, (PLAIN,)) is None


def test_relevance_that_a_rule_takes_away_is_lost(tmp_path: Path) -> None:
    found = darkness(plan_of(tmp_path, 26), FAINT, (SHIFTED,))
    assert found is not None
    assert (found.cause, found.visible) == (Cause.LOST, 0.0)
    assert found.starts == pytest.approx(0.01 * FULL.sum() / 100 - 100)
    assert darkness(plan_of(tmp_path, 0), FAINT, (SHIFTED,)) is None


@pytest.mark.parametrize(("formula", "first_layer"), [("epsilon-plus", 0), (0, 0), (0, 1)])
def test_relevance_that_is_only_negative_is_black(
    formula: FormulaCode, first_layer: int, tmp_path: Path
) -> None:
    found = darkness(plan_of(tmp_path, formula, first_layer=first_layer), FULL, (AGAINST,), item=2)
    assert found is not None
    assert found.cause is Cause.NOTHING_POSITIVE
    assert found.starts == pytest.approx(-0.01 * FULL.sum())


def test_few_pixels_are_dark_and_a_few_more_are_not(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 0)
    found = darkness(plan, SPOT, (PLAIN,))
    assert found is not None
    assert (found.cause, found.visible) == (Cause.FEW_PIXELS, 1 / SIDE**2)
    assert darkness(plan, np.where(FULL <= 2, FULL, np.float32(0)), (PLAIN,)) is None


CONFIG = """
prototxt: deploy.prototxt
caffemodel: net.caffemodel
synset_file: labels.txt
start_layer: auto
first_layer: 0
class_count: 5
formula: epsilon-plus
epsilon: 0.01
beta: 0
switch_layer: 0
output_root: out
path_root: img
mean_values: 0
"""


@pytest.fixture
def _field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config, a net and two images in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("img").mkdir()
    Path("config.yaml").write_text(CONFIG)
    Path("deploy.prototxt").write_text(NET)
    Path("labels.txt").write_text("a class\n" * 5)
    write_caffemodel(Path("net.caffemodel"), WEIGHTS)
    np.save("img/full.npy", FAINT)
    np.save("img/spot.npy", SPOT)


def run(*lines: str, options: Sequence[str] = ()) -> int:
    Path("list.txt").write_text("".join(f"{line}\n" for line in lines))
    return main(["-c", "config.yaml", "-f", "list.txt", "--outputs", "npy", "--suffix-target", *options])


@pytest.mark.usefixtures("_field")
def test_one_note_lists_dark_maps_and_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"img/full.npy {code}" for code in (PLAIN, ZERO, AGAINST, SHIFTED)]
    assert run(*lines, "img/spot.npy 0", options=("--formula", "epsilon-plus,26")) == 0
    assert capsys.readouterr().err == (
        "caffe-lrp: note: maps that show little or nothing: 5 of 10 (under 0.5 % of the pixels "
        "reach 20 % of the brightest colour)\n"
        "  list.txt: line 2: img/full.npy: relevance starts at 0: the score of class 1 is 0 at layer 2 'fc' "
        "(InnerProduct) (formula epsilon-plus)\n"
        "  list.txt: line 2: img/full.npy: relevance starts at 0: the score of class 1 is 0 at layer 2 'fc' "
        "(InnerProduct) (formula 26)\n"
        "  list.txt: line 3: img/full.npy: no pixel has positive relevance; "
        "relevance starts at -8.02 (formula epsilon-plus)\n"
        "  list.txt: line 4: img/full.npy: relevance is lost on the way: it starts at -92, but the whole "
        "map is 0 (formula 26)\n"
        "  list.txt: line 5: img/spot.npy: 0.25 % of the pixels are visible (formula epsilon-plus)\n"
        "what to try:\n"
        "  relevance that starts at 0: explain another class, or start at another layer (--start-layer)\n"
        "  relevance that is lost: find the layer with --conservation, and try another formula\n"
        "  no positive relevance: _heatmap.png is scaled by the largest positive value, and there is none, "
        "so it is black; explain another class, or draw both signs (--outputs render)\n"
        "  few visible pixels: --formula epsilon-plus-flat: flat spreads relevance over the windows of the "
        "lowest layer, and z⁺ does not concentrate it in single pixels\n"
    )
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["this_run"]["dark"] == {
        "starts_at_zero": 2,
        "nothing_positive": 1,
        "lost_on_the_way": 1,
        "few_visible_pixels": 1,
    }
    (journal,) = Path("out").glob("*.jsonl")
    records = map(json.loads, journal.read_text().splitlines()[1:])
    causes = ["lost_on_the_way", "nothing_positive", "starts_at_zero", "starts_at_zero"]
    assert sorted(record["dark"] for record in records if "dark" in record) == ["few_visible_pixels", *causes]


@pytest.mark.usefixtures("_field")
def test_maps_beyond_the_first_are_counted_and_verbose_runs_tell_of_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("img/spots").mkdir()
    for name in range(7):
        np.save(f"img/spots/{name}.npy", SPOT)
    lines = [f"img/spots/{name}.npy {PLAIN}" for name in range(7)]
    assert run(*lines, options=("--formula", "epsilon-plus-flat", "-v")) == 0
    printed = capsys.readouterr()
    assert printed.out.count("0.25 % of the pixels are visible") == 7
    assert printed.err.count("0.25 % of the pixels are visible") == 5
    assert '  … and 2 more (marked "dark" in the journal)\n' in printed.err
    assert "few visible pixels: look at the map of a higher layer (--first-layer), or" in printed.err


@pytest.mark.usefixtures("_field")
def test_nothing_is_said_of_maps_that_show_something_or_of_a_quiet_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("img/full.npy 0") == 0
    assert capsys.readouterr().err == ""
    assert run("img/full.npy 1", options=("--quiet",)) == 0
    assert capsys.readouterr().err == ""
