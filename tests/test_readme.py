"""The README names everything a user can set, and every way a run can end, where one would look for it."""

import re
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest
from supported_layers import part_of_readme, rendered

from caffe_lrp.cli.commands import parser_of
from caffe_lrp.cli.commands.run_list import list_parser
from caffe_lrp.cli.options import BINARIES
from caffe_lrp.config import KEYS, Key, read_config
from caffe_lrp.errors import ExitCode
from caffe_lrp.formats.caffe.reader import scan_caffemodel
from caffe_lrp.outputs.kinds import OUTPUTS, file_kinds, suffix_of
from caffe_lrp.quirks import QUIRK_MODES, Quirks
from caffe_lrp.relevance.formulas import FORMULAS
from caffe_lrp.relevance.rules.accounts import CAUSES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Heading -> text below it.
SECTIONS = dict(section.split("\n", 1) for section in README.split("\n## ")[1:])
OPTIONS = [option for action in list_parser()._actions for option in action.option_strings]
SCRIPTS = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and path.name != "venv.sh"]


def quoted(section: str) -> set[str]:
    """Everything between backticks in a section."""
    return set(re.findall("`([^`]+)`", SECTIONS[section]))


@pytest.mark.parametrize("option", OPTIONS)
def test_options_are_documented(option: str) -> None:
    assert option in quoted("Options")


@pytest.mark.parametrize("value", BINARIES)
def test_programs_to_choose_are_documented(value: str) -> None:
    assert value in quoted("Options")


@pytest.mark.parametrize("key", [key.name for key in KEYS])
def test_config_keys_are_documented(key: str) -> None:
    assert key in quoted("The config file")


@pytest.mark.parametrize("key", [key for key in KEYS if key.attribute != key.name])
def test_other_names_of_config_keys_are_documented(key: Key) -> None:
    assert key.attribute in quoted("The config file")


def test_the_config_in_yaml_is_one_that_can_be_read(tmp_path: Path) -> None:
    section = SECTIONS["The config file"].split("### Configs in YAML")[1]
    block = re.findall("\n((?: {4}.*\n|\n)+)", section)[0]
    path = tmp_path / "config.yaml"
    path.write_text(textwrap.dedent(block), encoding="utf-8")
    assert read_config(path).formula in FORMULAS


@pytest.mark.parametrize("code", FORMULAS)
def test_formulas_are_documented_with_their_use(code: int | str) -> None:
    text = SECTIONS["Formulas"].split("\n### ")[0]
    rows = [row.split("|")[1:-1] for row in text.splitlines() if row.startswith("| ")]
    found = [row for row in rows if str(code) in re.split("[, ]+", row[0])]
    assert len(found) == 1, f"formula {code} needs one row in the README's table of formulas"
    (row,) = found
    assert len(row) == 5
    assert all(cell.strip() for cell in row)


def test_the_table_of_layers_is_that_of_the_registry() -> None:
    assert part_of_readme() == rendered(), "run: python tests/supported_layers.py"


@pytest.mark.parametrize(
    "option", [option for action in parser_of("inspect")._actions for option in action.option_strings[-1:]]
)
def test_options_of_inspect_are_documented(option: str) -> None:
    assert option in quoted("Supported layers and rules") | {"--help"}


@pytest.mark.parametrize("cause", CAUSES)
def test_causes_of_losses_are_documented(cause: str) -> None:
    named = quoted("Supported layers and rules")
    assert cause in named | {f"Q{number}" for number in range(4, 10)}


@pytest.mark.parametrize("code", ExitCode)
def test_exit_codes_are_documented(code: ExitCode) -> None:
    assert f"\n| {code.value} | " in SECTIONS["What comes out"]


@pytest.mark.parametrize("suffix", [*map(suffix_of, file_kinds(OUTPUTS))])
def test_output_files_are_documented(suffix: str) -> None:
    assert f"cat.jpg{suffix}" in quoted("What comes out")


def test_all_kinds_of_output_are_listed() -> None:
    (listed,) = (words.split(",") for words in quoted("What comes out") if words.startswith("heatmap,input"))
    assert sorted(listed) == sorted(OUTPUTS)


@pytest.mark.parametrize("quirk", [field.name.split("_")[0] for field in fields(Quirks)])
def test_quirks_are_documented(quirk: str) -> None:
    assert f"\n| {quirk} | " in SECTIONS["Quirks, and how to switch them off"]


@pytest.mark.parametrize("mode", QUIRK_MODES)
def test_modes_of_quirks_are_documented(mode: str) -> None:
    assert mode in quoted("The config file")
    assert mode in quoted("Quirks, and how to switch them off")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_documented(name: str) -> None:
    assert f"{name}`" in SECTIONS["Scripts"]


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_what_is_linked_exists(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_conversion_of_weights_in_text_gives_the_same_blobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = SECTIONS["Nets"].split("**Converting weights.**")[1]
    block = re.findall("\n((?: {4}.*\n|\n)+)", section)[0]
    monkeypatch.chdir(tmp_path)
    text = 'layer { name: "fc" type: "Odd" blobs { shape { dim: 2 } data: [1.5, -2] } odd_field: 3 }'
    Path("net.caffemodel.txt").write_text(text)
    exec(textwrap.dedent(block), {})
    (blob,) = scan_caffemodel(Path("net.caffemodel"))["fc"]
    assert blob.read().tolist() == [1.5, -2]


def test_the_python_of_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"\n\n((?: {4}.*\n|\n)+)", SECTIONS["From Python"])
    code = "\n".join(textwrap.dedent(block) for block in blocks)
    exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "Explanation of class 4 (" in said
    assert "Convolution" in said
    assert said.count("<Explanation of class") == 1 + 2 * 8
