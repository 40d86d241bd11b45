"""The manual names everything a user can set, and every way a run can end, where one would look for it."""

import re
import shlex
import textwrap
from dataclasses import fields
from pathlib import Path

import manual_tables
import pytest
from bad_input import CATALOGUE
from chapters import MANUAL, chapter, section
from manual_tables import PARTS

import caffe_lrp
from caffe_lrp.cli.commands import COMMANDS, parser_of
from caffe_lrp.cli.commands.run_list import list_parser
from caffe_lrp.cli.composite_texts import composite_text, examples
from caffe_lrp.cli.options import BINARIES
from caffe_lrp.config import KEYS, Key, read_composite, read_config
from caffe_lrp.errors import ExitCode
from caffe_lrp.formats.caffe.reader import scan_caffemodel
from caffe_lrp.outputs.kinds import OUTPUTS, file_kinds, suffix_of
from caffe_lrp.quirks import QUIRK_MODES, Quirks
from caffe_lrp.relevance.formulas import FORMULAS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOPICS = sorted(path.stem for path in MANUAL.glob("*.md"))
SCRIPTS = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and path.name != "venv.sh"]
#: Lines of code, which are indented.
BLOCK = re.compile("^((?: {4}.*\n)(?: {4}.*\n|\n)*)", re.MULTILINE)


def quoted(topic: str) -> set[str]:
    """Everything between backticks in a chapter."""
    return set(re.findall("`([^`]+)`", chapter(topic)))


def code_in(text: str) -> list[str]:
    """The indented blocks of a text."""
    return [textwrap.dedent(block) for block in BLOCK.findall(text)]


@pytest.mark.parametrize(("topic", "name"), PARTS)
def test_parts_that_are_made_from_the_code_are_up_to_date(topic: str, name: str) -> None:
    stands = manual_tables.split(topic, name)[1]
    assert stands.strip() == PARTS[topic, name]().strip(), "run: python tests/manual_tables.py"


def test_the_catalogue_of_errors_knows_every_exit_code_that_bad_input_leads_to() -> None:
    codes = {kind.exit_code for group in CATALOGUE for kind in group.kinds}
    assert codes == set(manual_tables.ENDS)


@pytest.mark.parametrize("topic", TOPICS)
def test_chapters_begin_with_a_title_and_a_sentence(topic: str) -> None:
    """The sentence is a line in the list of topics."""
    title, sentence, *_ = chapter(topic).split("\n\n")
    assert re.fullmatch("# [^\n]+", title)
    assert re.fullmatch(r"[A-Z][^\n]{20,65}\.", sentence)


def test_the_readme_is_short_and_lists_all_topics() -> None:
    assert README.count("\n") <= 180
    listed = re.findall(r"^\| \[`([\w-]+)`\]\(caffe_lrp/manual/([\w-]+)\.md\) \|", README, re.MULTILINE)
    assert [link for _, link in listed] == [topic for topic, _ in listed]
    assert sorted(topic for topic, _ in listed) == TOPICS


@pytest.mark.parametrize("folder", [ROOT, *{MANUAL}], ids=["README", "manual"])
def test_link_targets_exist(folder: Path) -> None:
    texts = [README] if folder == ROOT else map(chapter, TOPICS)
    links = [link for text in texts for link in re.findall(r"\]\(([^)#]+)\)", text)]
    assert [link for link in links if ":" not in link and not (folder / link).exists()] == []


def test_chapters_that_are_referred_to_exist() -> None:
    referred = {
        topic
        for text in (README, *map(chapter, TOPICS))
        for topic in re.findall("`caffe-lrp help ([a-z-]+)`", text)
    }
    assert referred <= {*TOPICS, *COMMANDS}


def test_docstrings_cite_sections_that_exist() -> None:
    pattern = re.compile(r'manual: (\w+),\s+"([^"]+)"')
    cited = {
        (path, *found)
        for path in MANUAL.parent.rglob("*.py")
        for found in pattern.findall(path.read_text(encoding="utf-8"))
    }
    assert len(cited) > 15
    assert [cite for cite in cited if f"\n## {' '.join(cite[2].split())}\n" not in chapter(cite[1])] == []


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_options_are_documented(command: str | None) -> None:
    parser = parser_of(command) if command else list_parser()
    options = {option for action in parser._actions for option in action.option_strings}
    assert options <= quoted("options")


def test_programs_to_choose_are_documented() -> None:
    assert set(BINARIES) <= quoted("options")


@pytest.mark.parametrize("key", [key for key in KEYS if key.attribute != key.name])
def test_other_names_of_config_keys_are_documented(key: Key) -> None:
    assert key.attribute in quoted("config")


def test_the_config_in_yaml_is_one_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(code_in(section("config", "A config in YAML"))[0], encoding="utf-8")
    assert read_config(path).formula in FORMULAS


def test_the_first_composite_gives_the_rules_that_are_shown(tmp_path: Path) -> None:
    file, _, shown, *_ = code_in(section("composites", "A first composite"))
    path = tmp_path / "my.yaml"
    path.write_text(file, encoding="utf-8")
    with caffe_lrp.load(ROOT / "configs" / "demo.txt") as model:
        rows = [re.split(" {2,}", line) for line in repr(model.plan(read_composite(path))).splitlines()]
    found = [[*row[:3], row[-1]] for row in rows]
    listed = [re.split(" {2,}", line) for line in shown.splitlines()[1:] if line]
    assert len(listed) == 6
    assert [row for row in listed if row not in found] == []


def test_entries_in_the_manual_can_be_read(tmp_path: Path) -> None:
    entries = [words for words in quoted("composites") if re.match(r"\{.*rule: ", words)]
    assert len(entries) > 20
    path = tmp_path / "my.yaml"
    path.write_text("rules:\n" + "".join(f"  - {entry}\n" for entry in entries), encoding="utf-8")
    assert len(read_composite(path).entries) == len(entries)


def test_formulas_as_files_are_shown_as_they_are_printed() -> None:
    _, shown = code_in(section("composites", "Formulas as files"))
    assert shown.strip() == composite_text("102").strip()


def test_all_examples_of_composites_are_documented() -> None:
    assert {*examples()} <= {word for words in quoted("composites") for word in words.split()}


@pytest.mark.parametrize("code", ExitCode)
def test_exit_codes_are_documented(code: ExitCode) -> None:
    assert f"\n| {code.value} | " in section("errors", "How a run ends")


def test_output_files_are_documented() -> None:
    assert {f"cat.jpg{suffix_of(kind)}" for kind in file_kinds(OUTPUTS)} <= quoted("outputs")


def test_all_kinds_of_output_are_listed() -> None:
    (listed,) = (words.split(",") for words in quoted("outputs") if words.startswith("heatmap,input"))
    assert sorted(listed) == sorted(OUTPUTS)


def test_quirks_and_their_modes_are_documented() -> None:
    text = section("toolbox", "Quirks")
    assert all(f"\n| {field.name.split('_')[0]} | " in text for field in fields(Quirks))
    assert set(QUIRK_MODES) <= quoted("toolbox")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_documented(name: str) -> None:
    assert f"{name}`" in section("contributing", "Scripts")


def test_the_conversion_of_weights_in_text_gives_the_same_blobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = code_in(section("nets", "Converting weights"))[0]
    monkeypatch.chdir(tmp_path)
    text = 'layer { name: "fc" type: "Odd" blobs { shape { dim: 2 } data: [1.5, -2] } odd_field: 3 }'
    Path("net.caffemodel.txt").write_text(text)
    exec(block, {})
    (blob,) = scan_caffemodel(Path("net.caffemodel"))["fc"]
    assert blob.read().tolist() == [1.5, -2]


def test_the_python_of_the_manual_and_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("configs", "filelists"):
        Path(folder).symlink_to(ROOT / folder)
    of_readme = README.split("\n## Python\n")[1].split("\n## ")[0]
    for text in (chapter("python"), section("composites", "Python"), of_readme):
        exec(compile("\n".join(code_in(text)), "python.md", "exec"), {})
    said = capsys.readouterr().out
    assert "Explanation of class 4 (" in said
    assert "Convolution" in said
    assert "γ, entry 1" in said
    assert said.count("<Explanation of class") == 1 + 2 * 8 + 1
    assert {path.name for path in tmp_path.glob("*.png")} == {"overlay.png", "outline.png"}


def test_the_training_of_the_manual_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile("\n".join(code_in(section("teaching", "Training"))), "teaching.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 8 + 1


def commands_in(text: str) -> list[str]:
    """The commands of caffe-lrp among the indented lines of a text."""
    code = re.sub(r"[\\]\n +|(?<=\|)\n +", " ", "\n".join(re.findall("^ {4,}.*$", text, re.MULTILINE)))
    return re.findall(
        r"^ +(?:[^#\n]*\| +)?(?:\.venv/bin/)?caffe-lrp ([^#\n\[]+)(?: +#.*)?$", code, re.MULTILINE
    )


@pytest.mark.parametrize("topic", ["README", *TOPICS])
def test_commands_of_the_manual_and_of_the_readme_are_understood(topic: str) -> None:
    """Whether their files exist does not matter."""
    shown = commands_in(README if topic == "README" else chapter(topic))
    assert [command for command in shown if not is_understood(command)] == []


def is_understood(command: str) -> bool:
    name, *words = shlex.split(command)
    if not name.startswith("-") and name not in COMMANDS:
        return False
    parser = list_parser() if name.startswith("-") else parser_of(name)
    try:
        parser.parse([name, *words] if name.startswith("-") else words)
    except SystemExit:
        return False
    return True


def test_a_command_that_does_not_exist_is_not_understood() -> None:
    assert is_understood("-c config.txt -f list.txt")
    assert not is_understood("renders out")
    assert not is_understood("-c config.txt -f list.txt --colour jet")
