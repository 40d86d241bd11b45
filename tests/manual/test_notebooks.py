"""The notebooks of the manual: their cells run from first to last, without Jupyter."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import caffe_lrp

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((Path(caffe_lrp.__file__).parent / "manual/notebooks").glob("*.ipynb"))


def cells_of(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; what a notebook would show below it, as it would show it."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        statements, last = [*statements, last], ast.parse("None").body[0]
        assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(statements, []), "cell", "exec"), names)
    shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    as_html = getattr(shown, "_repr_html_", None)
    return as_html() if as_html else shown


def test_there_are_four() -> None:
    assert [path.name for path in NOTEBOOKS] == [
        "1_first_heatmaps.ipynb",
        "2_formulas_and_layers.ipynb",
        "3_conservation.ipynb",
        "4_classroom.ipynb",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_was_saved_without_its_results(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    for cell in code:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        run_cell("".join(cell["source"]), names)
        names["clone"] = ROOT
    assert not [*tmp_path.iterdir()]
    assert capsys.readouterr().out
