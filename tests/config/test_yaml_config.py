"""Configs in YAML: the same values as in text files, what is refused and where, and the conversion."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.cli.main import main
from caffe_lrp.config import KEYS, HeatmapConfig, as_yaml, read_config, read_entries
from caffe_lrp.errors import ConfigError

ROOT = Path(__file__).parents[2]
TEXTS = sorted((ROOT / "configs").glob("*.txt"))
CONFORMANCE = sorted((ROOT / "tests/data/conformance/configs").glob("*.txt"))

WHOLE = """\
prototxt: net.prototxt
caffemodel: net.caffemodel
synset_file: synset.txt
start_layer: auto
first_layer: 0
class_count: 12
output_root: ./out
path_root: images
formula: 100
epsilon: 0.01
beta: 1
switch_layer: conv2
quirks: corrected
preprocess:
  mean_values: [104, 117.5, 123]
  input_scale: 0.017
  channel_order: RGB
  resize: short-side
  base_size: 256
  crop: center
  input_size: 224x300
"""


def write(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> str:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert all(line.startswith(f"{path}: ") for line in message.split("\n"))
    return message


# --- What is read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.yaml", "config.yml", "CONFIG.YAML"])
def test_every_value_arrives_in_its_type(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, WHOLE, name)
    config = read_config(path)
    assert config == HeatmapConfig(
        prototxt=Path("net.prototxt"),
        caffemodel=Path("net.caffemodel"),
        mean_values=(104.0, 117.5, 123.0),
        input_scale=0.017,
        channel_order="RGB",
        resize="short-side",
        base_size=256,
        input_size=(224, 300),
        synset_file=Path("synset.txt"),
        start_layer="auto",
        first_layer=0,
        class_count=12,
        output_root="./out",
        path_root="images",
        formula=100,
        epsilon=0.01,
        beta=1.0,
        switch_layer="conv2",
        quirks="corrected",
    )
    assert config.location_of("start_layer") == f"{path}: line 4"
    assert config.location_of("mean_values") == f"{path}: line 15"


def test_missing_keys_have_their_defaults(tmp_path: Path) -> None:
    start = WHOLE.index("quirks")
    config = read_config(write(tmp_path, WHOLE[:start]))
    assert (config.mean_file, config.mean_values, config.mean_format) == (None, None, 1)
    assert (config.input_scale, config.channel_order, config.resize) == (None, "BGR", "reference")
    assert (config.base_size, config.input_size, config.crop, config.quirks) == (
        None,
        None,
        "center",
        "reference",
    )


def test_keys_may_be_called_as_in_text_files_and_stand_outside_the_block(tmp_path: Path) -> None:
    text, block = WHOLE.split("preprocess:\n")
    flat = text + block.replace("  ", "")
    for key in KEYS:
        flat = flat.replace(f"{key.attribute}: ", f"{key.name}: ")
    assert "lastlayerindex: auto" in flat
    assert read_config(write(tmp_path, flat)) == read_config(write(tmp_path, WHOLE, "other.yaml"))


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("start_layer: '-2'", "start_layer", -2),
        ("start_layer: conv5", "start_layer", "conv5"),
        ('start_layer: "a layer: # 5"', "start_layer", "a layer: # 5"),
        ("first_layer: 0012", "first_layer", 12),
        ("epsilon: 1e-2", "epsilon", 0.01),
        ("path_root: no", "path_root", "no"),
        ("path_root: 2015-01-01", "path_root", "2015-01-01"),
        ("path_root: 012", "path_root", "012"),
        ("prototxt: my net.prototxt", "prototxt", Path("my net.prototxt")),
        ("prototxt: grüße.prototxt", "prototxt", Path("grüße.prototxt")),
        ('prototxt: "caf\\udce9.prototxt"', "prototxt", Path("caf\udce9.prototxt")),
    ],
)
def test_values_are_what_their_text_says(tmp_path: Path, line: str, attribute: str, value: object) -> None:
    changed = [line if old.startswith(f"{attribute}:") else old for old in WHOLE.splitlines()]
    assert getattr(read_config(write(tmp_path, "\n".join(changed))), attribute) == value


@pytest.mark.parametrize("value", ["104, 117.5,123", "[104, 117.5, 123]", "\n  - 104\n  - 117.5\n  - 123"])
def test_lists_may_be_written_in_several_ways(tmp_path: Path, value: str) -> None:
    text = WHOLE.replace("[104, 117.5, 123]", value)
    assert read_config(write(tmp_path, text)).mean_values == (104.0, 117.5, 123.0)


def test_overrides_and_paths_are_those_of_text_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, here = tmp_path / "configs", tmp_path / "here"
    for folder in (beside, here):
        folder.mkdir()
        (folder / "net.prototxt").touch()
    (beside / "synset.txt").touch()
    monkeypatch.chdir(here)
    text = WHOLE.replace("class_count: 12", "class_count: many")
    config = read_config(write(beside, text), {"class_count": 7, "epsilon": 0.5})
    assert (config.prototxt, config.synset_file) == (Path("net.prototxt"), beside / "synset.txt")
    assert (config.class_count, config.epsilon) == (7, 0.5)
    assert config.location_of("epsilon") == "command line"


# --- What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("formula: 100", "formula: 1.5", "line 9: the value of 'formula' must be the number or the name"),
        ("formula: 100", "formula: [1, 2]", "line 9: the value of 'formula' must be a single value"),
        ("formula: 100", "formula: {a: b}", "line 9: the value of 'formula' must be a single value"),
        (
            "formula: 100",
            "formula:",
            r"line 9: the value of 'formula' is empty \(formula: its number or its name\); write one",
        ),
        ("formula: 100", "formula: ~", "line 9: the value of 'formula' is empty"),
        ("formula: 100", "formula: ''", "line 9: the value of 'formula' is empty"),
        ("formula: 100", "formula: !!python/none 1", "has the tag tag:yaml.org,2002:python/none, which"),
        ("formula: 100", "formula: !new 1", "has the tag !new, which means nothing here; remove it"),
        ("formula: 100", "formulas: 100", "line 9: there is no key 'formulas'; did you mean 'formula'?"),
        ("formula: 100", "[formula]: 100", "line 9: a key must be a word"),
        ("formula: 100\n", "", r"the key 'formula' is missing \(formula: its number or its name\); add it"),
        (
            "formula: 100",
            "formula: 1\nformula: 2",
            "line 10: 'formula' is given twice, first in line 9;",
        ),
        (
            "formula: 100",
            "formula: 1\nrelpropformulatype: 2",
            "line 10: 'relpropformulatype' is given twice, first in line 9, as 'formula'; keep one",
        ),
        ("class_count: 12", "base_size: 12", "line 19: 'base_size' is given twice, first in line 6;"),
        ("  crop: center", "  quirks: reference", "'quirks' does not belong in the block 'preprocess'"),
        ("  crop: center", "  crop: left", "line 20: the value of 'crop' must be one of center"),
        ("  crop: center", "  color: RGB", "line 20: there is no key 'color'"),
        ("RGB", "rgb", "line 17: the value of 'channel_order' must be one of BGR, RGB; did you mean 'RGB'"),
        ("0.017", "0", "line 16: the value of 'input_scale' must be more than 0"),
        ("0.017", "1/255", "line 16: the value of 'input_scale' must be a number"),
        ("0.017", "1e-40", "line 16: the value of 'input_scale' must be more than 0 and at most"),
        ("224x300", "224", "line 21: the value of 'input_size' must be a height and a width"),
        ("224x300", "0x300", "line 21: the value of 'input_size' must be a height and a width"),
        ("[104, 117.5, 123]", "[]", "line 15: the value of 'mean_values' must be a single value"),
        (
            "[104, 117.5, 123]",
            "[a, b]",
            "line 15: the value of 'mean_values' must be numbers separated by commas",
        ),
        ("[104, 117.5, 123]", "[1e31]", "line 15: the value of 'mean_values' must be at most 1e.30"),
        ("[104, 117.5, 123]", "[[1], 2]", "line 15: the value of .mean_values. must be a single value"),
        (
            "  mean_values:",
            "  mean_file: m\n  mean_values:",
            "line 16: mean_values is given together with mean_file",
        ),
        ("preprocess:\n", "preprocess: 3\nother:\n", "line 14: 'preprocess' is a block; write its keys"),
        ("formula: 100", "formula: 100: 5", "line 9: is not valid YAML"),
        ("formula: 100", "formula: 'a", "is not valid YAML"),
        ("formula: 100", "\tformula: 100", "line 9: is not valid YAML"),
        ("formula: 100", "formula: \x86", "has a character that YAML does not allow"),
        ("formula: 100", "---\nformula: 100", "is not valid YAML"),
        ("formula: 100", "<<: *other", r"is not valid YAML: the alias \*other is not allowed"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WHOLE
    assert re.search(message, refused(tmp_path, WHOLE.replace(old, new)))


def test_a_file_needs_a_net_a_start_and_a_formula_alone(tmp_path: Path) -> None:
    least = "".join(re.findall("(?:prototxt|caffemodel|start_layer|formula): .*\n", WHOLE))
    config = read_config(write(tmp_path, least))
    assert (config.output_root, config.path_root, config.class_count) == ("heatmaps", "", None)
    assert config.model_arguments()["labels"] == ()
    assert len(refused(tmp_path, "quirks: corrected").split("\n")) == 4


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = WHOLE.replace("formula: 100\n", "").replace("beta: 1", "beta: -1").replace("crop", "corp")
    message = refused(tmp_path, text)
    assert len(message.split("\n")) == 3
    for fault in ("'formula' is missing", "'beta' must be at least 0", "no key 'corp'; did you mean 'crop'?"):
        assert fault in message


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "prototxt", "- prototxt\n- caffemodel\n", "param_file\na\n"]
)
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    assert "has no keys; a config in YAML consists of lines 'key: value'" in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("prototxt: caf\xe9".encode("latin-1"), "is not in UTF-8; save it as UTF-8"),
        ("prototxt: a".encode("utf-16"), "is a text in UTF-16"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x0a\x04tiny\xa2\x06\x00", "is a binary file, not a config file"),
        (b"a: b\n" * 30_000, "is larger than 100 KB"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


LAUGHS = "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a: &a [ha]\n{LAUGHS}", r"line 2: is not valid YAML: the alias \*a is not allowed"),
        ("a: &a [*a]\n", "alias"),
        ("[" * 90_000, "nested too deeply"),
        ("- " * 40_000, "nested too deeply"),
        ("? " * 40_000, "nested too deeply|is not valid YAML"),
        ("{" * 90_000, "nested too deeply"),
        ("a: " * 30_000, "is not valid YAML"),
    ],
)
def test_files_made_to_take_memory_or_time_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(write(tmp_path, text))


@given(st.text(max_size=300))
def test_no_text_causes_anything_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(ConfigError):
        read_config(path)


# --- Conversion ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*TEXTS, *CONFORMANCE], ids=lambda path: path.stem)
@pytest.mark.parametrize("folder", ["beside", "elsewhere"])
def test_a_converted_config_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path, folder: str
) -> None:
    """The old file in a folder with an empty file for each that it names, and nothing in the current one."""
    for name in ("old", "new/far", "here"):
        (tmp_path / name).mkdir(parents=True)
    old = tmp_path / "old" / path.name
    old.write_bytes(path.read_bytes())
    for entry in read_entries(old).values():
        if isinstance(entry.value, Path):
            place = old.parent / entry.value
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    monkeypatch.chdir(tmp_path / "here")
    new = (tmp_path / "old" if folder == "beside" else tmp_path / "new/far") / "config.yaml"
    assert main(["convert-config", str(old), str(new)]) == 0
    expected, found = read_config(old), read_config(new)
    assert resolved(found) == resolved(expected)
    if folder == "beside":
        assert found == expected


def resolved(config: HeatmapConfig) -> Mapping[str, Any]:
    return {
        key.attribute: value.resolve() if isinstance(value := getattr(config, key.attribute), Path) else value
        for key in KEYS
    }


def test_a_converted_config_explains_every_key(tmp_path: Path) -> None:
    new = tmp_path / "demo.yaml"
    assert main(["convert-config", str(ROOT / "configs/demo.txt"), str(new)]) == 0
    text = new.read_text(encoding="utf-8")
    for key in KEYS:
        assert f"# {key.help}" in text
        assert f"{key.name_in_yaml}:" in text
    assert "  # resize: reference\n" in text
    assert "  mean_file: " in text
    assert "\nstart_layer: -1\n" in text


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("prototxt", Path("a b: c # d")),
        ("prototxt", Path("caf\udce9 \n\t'\"*&!|>%@`")),
        ("path_root", "null"),
        ("path_root", "- 012"),
        ("path_root", "x" * 3000),
        ("start_layer", "conv1/3x3, [2]"),
        ("start_layer", -1),
        ("head", "loss3/loss3: [2]"),
        ("epsilon", 1e-30),
        ("mean_values", (0.1, -2.0)),
        ("mean_values", (3.0,)),
        ("input_size", (224, 300)),
    ],
)
def test_any_value_survives_its_conversion(tmp_path: Path, attribute: str, value: object) -> None:
    values = {name: entry.value for name, entry in read_entries(write(tmp_path, WHOLE)).items()}
    values[attribute] = value
    found = read_entries(write(tmp_path, as_yaml(values), "new.yaml"))
    assert {name: entry.value for name, entry in found.items()} == values


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_any_text_survives_its_conversion(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("config")
    values = {name: entry.value for name, entry in read_entries(write(folder, WHOLE)).items()}
    values["path_root"] = text
    assert read_entries(write(folder, as_yaml(values), "new.yaml"))["path_root"].value == text


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = str(ROOT / "configs/demo.txt")
    new = write(tmp_path, "precious", "new.yaml")
    assert main(["convert-config", old, str(new)]) == 5
    assert "new.yaml: already exists" in capsys.readouterr().err
    assert new.read_text() == "precious"
    assert main(["convert-config", old, str(tmp_path / "none" / "new.yaml")]) == 5
    assert main(["convert-config", old, str(tmp_path / "new.txt")]) == 2
    assert "give it a name that ends with .yaml" in capsys.readouterr().err
    assert main(["convert-config", str(tmp_path / "none"), str(tmp_path / "other.yaml")]) == 3


# --- Pictures -----------------------------------------------------------------------------------------------

PICTURE = WHOLE + "picture:\n  cmap: 00f,80:fff,f00\n  range: percentile:99.5\n  bar: true\n"


def test_a_config_says_how_pictures_look(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, PICTURE))
    assert config.picture == {"cmap": "00f,80:fff,f00", "range": "percentile:99.5", "bar": True}
    assert "picture" not in config.model_arguments()
    assert read_config(write(tmp_path, WHOLE)).picture == {}


def test_a_conversion_keeps_the_picture_options_of_a_config(tmp_path: Path) -> None:
    entries = read_entries(write(tmp_path, PICTURE))
    again = read_entries(write(tmp_path, as_yaml({name: entry.value for name, entry in entries.items()})))
    assert again["picture"].value == entries["picture"].value


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("picture:\n  cmaps: jet", "line 23: 'cmaps' is not an option for pictures; did you mean 'cmap'?"),
        ("picture:\n  cmap: jett", "line 23: the value of 'cmap' is not a colour map; did you mean 'jet'?"),
        ("picture:\n  bar: true\n  bar: false", "line 24: 'bar' is given twice; keep one"),
        ("picture: jet", "line 22: 'picture' is a block; write its keys on the lines below, indented"),
        ("picture:\n  mode:", "line 23: the value of 'mode' is empty"),
        ("picture:\n  cmap: [jet, hot]", "line 23: the value of 'cmap' must be a single value"),
    ],
)
def test_faults_in_the_block_for_pictures_are_placed(tmp_path: Path, lines: str, message: str) -> None:
    assert message in refused(tmp_path, WHOLE + lines + "\n")
