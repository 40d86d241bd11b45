"""The README names everything a user can set, and every way a run can end."""

from pathlib import Path

import pytest

from caffe_lrp.arguments import list_parser
from caffe_lrp.config import KEYS
from caffe_lrp.errors import ExitCode
from caffe_lrp.outputs.writers import OUTPUTS
from caffe_lrp.relevance.formulas import FORMULAS

README = (Path(__file__).parents[1] / "README.md").read_text()
OPTIONS = [option for action in list_parser()._actions for option in action.option_strings]


@pytest.mark.parametrize("option", OPTIONS)
def test_options_are_documented(option: str) -> None:
    assert f"`{option}" in README or f", {option}`" in README or f" {option} " in README


@pytest.mark.parametrize("key", [key.name for key in KEYS])
def test_config_keys_are_documented(key: str) -> None:
    assert f"`{key}`" in README


@pytest.mark.parametrize("code", FORMULAS)
def test_formulas_are_documented(code: int) -> None:
    rows = [row.split("|")[1] for row in README.splitlines() if row.startswith("| ")]
    assert any(str(code) in row.replace(",", " ").split() for row in rows)


@pytest.mark.parametrize("code", ExitCode)
def test_exit_codes_are_documented(code: ExitCode) -> None:
    assert f"\n| {code.value} | " in README


@pytest.mark.parametrize("suffix", [output.suffix for output in OUTPUTS.values()])
def test_output_files_are_documented(suffix: str) -> None:
    assert f"`cat.jpg{suffix}`" in README
