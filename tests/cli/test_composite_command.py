"""Composites on the command line: runs, dry runs, and the command that prints them."""

import json
from pathlib import Path

import numpy as np
import pytest
from batch_builders import SIDE, small_settings
from command_line import CONFIG, run
from run_builders import all_of, arguments, copies

import caffe_lrp
from caffe_lrp.cli.composite_texts import examples
from caffe_lrp.config import read_composite
from caffe_lrp.model.model import Model
from caffe_lrp.relevance.composite import Composite
from caffe_lrp.relevance.formulas import FORMULAS


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_by_a_formula_and_its_file_writes_the_same_bytes_under_both_names(tmp_path: Path) -> None:
    path, listed = tmp_path / "mine.yaml", all_of(copies(tmp_path / "images", 2))
    assert (
        run("composite", "100", path).stdout
        == f"{path} was written; to explain images by it: --composite {path}\n"
    )
    out = tmp_path / "out"
    options = ("--formula", 100, "--composite", path, "--outputs", "npy")
    assert run(*arguments(listed, out, *options)).returncode == 0
    by_name, by_file = (sorted(out.rglob(f"*_f{name}_*.npy")) for name in ("100", "mine"))
    assert len(by_name) == len(by_file) == 2
    for one, other in zip(by_name, by_file, strict=True):
        assert one.read_bytes() == other.read_bytes()
    (journal,) = out.rglob("*.jsonl")
    codes = [json.loads(line).get("formula") for line in journal.read_text().splitlines()]
    assert [code for code in codes if code is not None] == [100, "mine"] * 2


def test_a_composite_alone_replaces_the_formula_and_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    listed, out = all_of(copies(tmp_path / "images", 1)), tmp_path / "out"
    path = write(tmp_path, "base: 100\nrules: [{position: first, rule: flat}]\n")
    given = arguments(listed, out, "--outputs", "npy", "--composite", path)
    assert run(*given).returncode == 0
    assert [found.name for found in out.rglob("*.npy")] == ["00.jpg_relevance.npy"]
    assert "nothing left to do" in run(*given).stdout
    write(tmp_path, "# The same.\nbase: 100\nrules:\n  - rule: flat\n    position: first\n")
    assert "nothing left to do" in run(*given).stdout
    write(tmp_path, "base: 100\nrules: [{position: first, rule: w-square}]\n")
    refused = run(*given)
    assert refused.returncode == 5
    assert "different settings" in refused.stderr


def test_a_dry_run_and_inspect_say_which_line_won(tmp_path: Path) -> None:
    path = write(tmp_path, "base: 100\nrules:\n  - {position: first, rule: flat}\n")
    shown = run("-c", CONFIG, "--dry-run", "--composite", path).stdout
    (first,) = [line for line in shown.splitlines() if line.startswith("0 ")]
    assert first.endswith("flat, line 3")
    assert "ε, base" in shown
    prototxt = write(tmp_path, (small_settings(tmp_path).prototxt).read_text(), "net.prototxt")
    lines = run("inspect", prototxt, "--composite", path).stdout.splitlines()
    assert lines[1].endswith("flat, line 3")
    found = json.loads(run("inspect", prototxt, "--json", "--composite", path, "--formula", 0).stdout)
    assert found["layers"][3]["rules"] == {"0": "ε", "mine": "ε, base"}


def test_inspect_advises_on_layers_that_a_composite_gives_no_rule(tmp_path: Path) -> None:
    prototxt = write(tmp_path, (small_settings(tmp_path).prototxt).read_text(), "net.prototxt")
    path = write(tmp_path, "rules:\n  - {kind: convolution, rule: gamma}\n")
    said = run("inspect", prototxt, "--composite", path).stdout
    assert f"(InnerProduct) has no rule under {path}: begin the rules with one for all linear layers" in said
    write(tmp_path, "base: 0\nrules:\n  - {kind: linear, position: last, rule: z-box}\n")
    said = run("inspect", prototxt, "--composite", path).stdout
    assert f"(InnerProduct) has no rule under {path}: give the layer the rule z-box with bounds" in said


def test_the_same_fault_is_said_in_the_same_words(tmp_path: Path) -> None:
    path = write(tmp_path, "base: 100\nrules:\n  - {layers: konv, rule: flat}\n")
    messages = [
        run("-c", CONFIG, "--dry-run", "--composite", path),
        run(*arguments(all_of(copies(tmp_path / "images", 1)), tmp_path / "out", "--composite", path)),
    ]
    assert [found.returncode for found in messages] == [3, 3]
    assert messages[0].stderr == messages[1].stderr
    assert f"{path}: line 3: no layer of the net is called 'konv'" in messages[0].stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--composite", "none.yaml"), 3, "none.yaml"),
        (("--composite", "epsilon-plus"), 2, "no file epsilon-plus; a formula is given with --formula"),
        (("--formula", "mine.yaml"), 2, "such as 100 or epsilon-plus; for a file, use --composite"),
        (("--composite", "a,,b"), 2, "'a,,b' must be files, separated by commas, such as a.yaml,b.yaml"),
        (("--composite", "{path},{path}"), 2, "'mine' is the name of two formulas or composites; rename a"),
        (("--composite", "{path}", "--switch-layer", -1), 3, "composite mine needs a switch layer; set"),
        (("--composite", "{negative}"), 3, "negative.yaml: 'switch_layer' must be the name or the index of"),
        (("--composite", "{other}"), 3, "'102' is the name of a formula; rename the file, or add a"),
        (("--composite", "{other}", "--formula", 102), 2, "'102' is the name of two formulas or composites"),
    ],
    ids=str,
)
def test_wrong_uses_are_refused(options: tuple[object, ...], code: int, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "base: 0\nrules: [{position: up-to-switch-layer, rule: flat}]")
    other = write(tmp_path, "base: 102\nrules: [{position: first, rule: w-square}]", "102.yaml")
    negative = write(tmp_path, "base: 102\nswitch_layer: -3", "negative.yaml")
    files = {"path": path, "other": other, "negative": negative}
    found = run("-c", CONFIG, "--dry-run", *(str(option).format(**files) for option in options))
    assert found.returncode == code
    assert message in found.stderr


def test_every_formula_and_example_is_printed_and_read_back(tmp_path: Path) -> None:
    listed = run("composite", "help").stdout
    for name in (*map(str, FORMULAS), *examples()):
        assert f"\n{name} " in listed
        text = run("composite", name).stdout
        assert read_composite(write(tmp_path, text)).entries, name
    unknown = run("composite", "zennit-epsilon-pluss")
    assert unknown.returncode == 2
    assert "did you mean 'zennit-epsilon-plus'?" in unknown.stderr


def test_a_new_file_replaces_none(tmp_path: Path) -> None:
    path = write(tmp_path, "mine")
    assert run("composite", "100", path).returncode == 5
    assert path.read_text() == "mine"


def test_python_explains_by_composites(tmp_path: Path) -> None:
    mine = Composite.of([{"type": "Convolution", "rule": "alpha-beta", "alpha": 2}], base=0, name="mine")
    x = np.random.default_rng(0).standard_normal((3, SIDE, SIDE), np.float32)
    with Model(small_settings(tmp_path)) as model:
        found = model.explain(x, 2, mine)
        assert found.formula == "mine"
        assert found.relevance.tobytes() == model.explain(x, 2, 100).relevance.tobytes()
        assert [each.formula for each in model.explain_all([x], 2, [mine, 0])] == ["mine", 0]
        assert "αβ, entry 1" in repr(model.plan(mine))
        with pytest.raises(caffe_lrp.UsageError, match="none twice"):
            model.explain_all([x], 2, [mine, Composite.of(base=0, name="mine")])


def test_a_model_keeps_few_of_many_composites(tmp_path: Path) -> None:
    """Or trying a hundred values of γ would keep what each derives from the weights."""
    x = np.ones((3, SIDE, SIDE), np.float32)
    with Model(small_settings(tmp_path)) as model:
        for number in range(9):
            model.explain(x, 2, Composite.of([{"kind": "linear", "rule": "gamma", "gamma": number}]))
        model.explain(x, 2, 0)
        assert len(model._explainer.formulas) == 5
        assert len(model._for_one) == 5
