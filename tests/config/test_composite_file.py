"""Composites in files: what is read, what is refused with its line, and what is written."""

from pathlib import Path

import numpy as np
import pytest

import caffe_lrp
from caffe_lrp.config import as_yaml, composite_as_yaml, read_composite, read_config
from caffe_lrp.config.arguments import read_settings
from caffe_lrp.errors import ConfigError
from caffe_lrp.relevance.composite import Composite, Entry

WHOLE = """\
# Mine.
base: epsilon-plus
epsilon: 1e-6
quirks: corrected
rules:
  - {type: Convolution, rule: gamma, gamma: 0.5}
  - layers: [conv1..conv3, "fire*", 7]
    rule: epsilon
    epsilon: {rms: 0.25}
    bias: ignore
  - {kind: linear, position: first, rule: z-box, low: -1, high: [1, 2, 3], optional: true}
"""
READ = Composite(
    "mine",
    (
        Entry("gamma", (("gamma", 0.5),), types=("Convolution",)),
        Entry(
            "epsilon",
            (("epsilon", ("rms", 0.25)), ("bias", "ignore")),
            layers=("conv1..conv3", "fire*", 7),
        ),
        Entry(
            "z-box",
            (("low", (-1.0,)), ("high", (1.0, 2.0, 3.0))),
            kinds=("linear",),
            position="first",
            is_optional=True,
        ),
    ),
    base="epsilon-plus",
    settings=(("epsilon", 1e-6), ("quirks", "corrected")),
)


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_arrives_with_its_line(tmp_path: Path) -> None:
    composite = read_composite(write(tmp_path, WHOLE))
    assert composite == READ
    assert [entry.place for entry in composite.entries] == ["line 6", "line 7", "line 11"]
    assert str(composite) == "mine"


def test_a_name_of_its_own_comes_before_that_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a_b-1.5\nbase: 100\n")
    assert read_composite(str(path)).name == "a_b-1.5"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    names = Entry("flat", layers=("a b", "ü", "x{1}", "#3", 'q"', "no"))
    odd = Composite("mine", (*READ.entries, names), base=100, channel_norm=True)
    assert read_composite(write(tmp_path, composite_as_yaml(odd, ("A comment.",)))) == odd


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no keys; a composite has lines such as 'base: epsilon-plus' and a list 'rules'"),
        ("- {rule: flat}", "has no keys"),
        ("{}", "has no keys; a composite has a list 'rules', or a 'base', or both"),
        ("epsilon: 1", "gives no layer a rule; add a list 'rules', or a 'base'"),
        ("rule: [{rule: flat}]", "line 1: there is no key 'rule'; did you mean 'rules'?"),
        ("base: 100\nbase: 0", "line 2: 'base' is given twice; keep one"),
        ("base: 100\nepsilon: -1", "line 2: the value of 'epsilon' must be at least 0"),
        ("base: 100\nquirks: fixed", "line 2: the value of 'quirks' must be one of reference, corrected"),
        ("base: 100\nswitch_layer: [a, b]", "line 2: the value of 'switch_layer' must be one layer"),
        ("base: 100\nchannel_norm: 3", "line 2: the value of 'channel_norm' must be true or false"),
        ("base: 100\nname: a/b", "'a/b' cannot be the name of a composite, which has at most"),
        ("rules: flat", "line 1: 'rules' must be a list of entries, such as - {type: Convolution"),
        ("rules:\n  - flat", "line 2: an entry must have keys"),
        ("rules:\n  - {type: Convolution}", "line 2: the entry has no rule; add one, such as rule: epsilon"),
        ("rules:\n  - {rule: flatt}", "line 2: there is no rule 'flatt'; did you mean 'flat'?"),
        ("rules:\n  - {rule: 9}", "line 2: there is no rule '9'; the rules are epsilon, gamma, gamma-2019,"),
        ("rules:\n  - {rule: [flat]}", "line 2: there is no rule"),
        ("rules:\n  - {rule: flat, gamma: 1}", "'gamma' is no parameter of the rule 'flat'; it has none"),
        ("rules:\n  - {rule: gamma, alpha: 1}", "of the rule 'gamma'; it has gamma, bias"),
        ("rules:\n  - {rule: flat, tpye: x}", "line 2: there is no key 'tpye'; did you mean 'type'?"),
        ("rules:\n  - {rule: flat, kind: conv}", "line 2: the value of 'kind' must be one of linear,"),
        ("rules:\n  - {rule: flat, position: top}", "line 2: the value of 'position' must be one of first"),
        ("rules:\n  - {rule: flat, first: 0}", "the value of 'first' must be a whole number, at least 1"),
        ("rules:\n  - {rule: flat, layers: []}", "the value of 'layers' must be a name, an index, or a list"),
        ("rules:\n  - {rule: flat, type: {a: b}}", "the value of 'type' must be a word, or a list of words"),
        ("rules:\n  - {rule: flat, optional: maybe}", "the value of 'optional' must be true or false"),
        ("rules:\n  - {rule: epsilon, epsilon: x}", "the value of 'epsilon' must be a number, such as 0.25"),
        ("rules:\n  - {rule: epsilon, epsilon: {max: 1}}", "must be a number, or {rms: number}"),
        ("rules:\n  - {rule: epsilon, epsilon: {rms: -1}}", "the value of 'epsilon' must be at least 0"),
        ("rules:\n  - {rule: epsilon, epsilon: 1e31}", "must be at least 0 and at most 1e+30"),
        ("rules:\n  - {rule: gamma, bias: share}", "the value of 'bias' must be one of count, ignore"),
        ("rules:\n  - {rule: gamma, gamma: nan}", "the value of 'gamma' must be a number"),
        ("rules:\n  - {rule: alpha-beta, alpha: 2, beta: 2}", "α − β must be 1, but alpha is 2 and beta"),
        ("rules:\n  - {rule: z-box, low: 0}", "z-box has only one of its bounds; give 'high' too"),
        ("rules:\n  - {rule: z-box, low: [0, 2], high: 1}", "a lower bound of z-box is above the upper one"),
        ("rules:\n  - {rule: softplus, sharpness: 0}", "must be at least 1e-06 and at most 1e+30"),
        ("rules:\n  - {rule: z-box, low: [], high: 1}", "must be a number, or one for every channel"),
        ("rules:\n  - {rule: flat\n", "is not valid YAML"),
        ("rules: &a\n  - *a\n", "the alias *a is not allowed"),
        ("rules: [[[[[[[[1]]]]]]]]", "nested too deeply"),
        ("base: 100\nx: 1\ny: 2", "line 3: there is no key 'y'; the keys are name, base, channel_norm,"),
        ("rules:\n  - {rule: Gamma}", "line 2: there is no rule 'Gamma'; did you mean 'gamma'?"),
        ("epsilon: 1\nbase: 101", "line 2: the value of 'base' is '101', which is no formula; caffe-lrp --f"),
        ("base: epsilon-plsu", "line 1: the value of 'base' is 'epsilon-plsu', which is no formula; did you"),
        ("base: 0\nname: ../x", "line 2: '../x' cannot be the name of a composite"),
        ("base: 0\nname: [x]", "line 2: the value of 'name' must be a word"),
        ("epsilon: 1\nrules: []", "gives no layer a rule; add a list 'rules', or a 'base'"),
        ("base: 102\nswitch_layer: [a, b]", "line 2: the value of 'switch_layer' must be one layer, by name"),
    ],
    ids=lambda text: text.replace("\n", " ")[-40:],
)  # fmt: skip
def test_faults_are_named_with_their_line(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_composite(path)
    found = str(caught.value)
    assert message in found
    assert all(line.startswith(f"{path}: ") for line in found.split("\n"))


def test_a_file_whose_name_cannot_be_one_says_how_to_give_one(tmp_path: Path) -> None:
    path = write(tmp_path, "base: 100", "my rules.yaml")
    with pytest.raises(ConfigError, match=r"cannot be the name .* give it one, such as name: my-rules"):
        read_composite(path)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(99), b"\xff\xfe"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)):
        read_composite(path)


# --- In a config --------------------------------------------------------------------------------------------

CONFIG = "prototxt: net.prototxt\ncaffemodel: net.caffemodel\nstart_layer: auto\n"


def test_a_config_has_a_composite_in_place_of_a_formula(tmp_path: Path) -> None:
    block = "composite:\n  base: 100\n  rules:\n    - {layers: conv1, rule: flat}\n"
    config = read_config(write(tmp_path, CONFIG + block, "config.yaml"))
    expected = Composite("composite", (Entry("flat", layers=("conv1",)),), base=100)
    assert config.formula == expected
    assert isinstance(config.formula, Composite)
    assert config.formula.entries[0].place == "line 7"
    assert config.location_of("formula") == f"{tmp_path / 'config.yaml'}: line 4"


def test_a_config_names_the_file_of_a_composite(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    path = write(tmp_path, CONFIG + "composite: mine.yaml\n", "config.yaml")
    assert read_config(path).formula == READ
    assert read_config(path, {"formula": 0}).formula == 0
    assert read_settings(path, {"formula": READ}).of_model["formula"] == READ


def test_a_config_that_is_written_has_the_composite_as_a_block(tmp_path: Path) -> None:
    values = {"prototxt": "n.prototxt", "caffemodel": "n.caffemodel", "start_layer": "auto", "base_size": 8}
    for composite in (READ, Composite("composite", base=100)):
        path = write(tmp_path, as_yaml({**values, "formula": composite}), "config.yaml")
        assert read_config(path).formula == composite


@pytest.mark.parametrize("key", ["formula", "relpropformulatype"])
def test_a_config_has_a_formula_or_a_composite(key: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{CONFIG}{key}: 100\ncomposite: mine.yaml\n", "config.yaml")
    with pytest.raises(ConfigError, match=r"line 5: a composite is given together with a formula \(line 4\)"):
        read_config(path)


def test_python_says_what_is_wrong_with_an_entry_by_its_number() -> None:
    with pytest.raises(caffe_lrp.ConfigError, match=r"^entry 2: there is no rule 'flatt'"):
        caffe_lrp.Composite.of([{"rule": "flat"}, {"rule": "flatt"}])
    with pytest.raises(caffe_lrp.ConfigError, match="'rules' must be a list of entries"):
        caffe_lrp.Composite.of(None, base=0)  # type: ignore[arg-type]
    with pytest.raises(caffe_lrp.ConfigError, match="must be at least 0 and at most 1e"):
        caffe_lrp.Composite.of(base=0, epsilon=10**400)
    with pytest.raises(caffe_lrp.ConfigError, match="'base' must be the number or the name of a formula"):
        caffe_lrp.Composite.of(base=1.0)  # type: ignore[arg-type]
    with pytest.raises(caffe_lrp.ConfigError, match="there is no key 'gama'; did you mean 'gamma'"):
        caffe_lrp.Composite.of(base=0, gama=3)


def test_python_takes_numbers_of_numpy_as_its_own() -> None:
    given = {"rule": "gamma", "layers": [np.int64(3), "a"], "first": np.int64(2), "gamma": np.float32(0.5)}
    written = {"rule": "gamma", "layers": [3, "a"], "first": 2, "gamma": 0.5}
    of = caffe_lrp.Composite.of
    assert of((each for each in [given]), base=100) == of([written], base=100)
