"""``caffe-lrp inspect``: the table, the JSON, the pictures, and what it says of nets that lack something."""

import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    INCEPTION,
    INCEPTION_INDICES,
    build,
    deployed,
    parse,
    random_blob,
    random_weights,
    without_biases,
    write_caffemodel,
)
from command_line import run

from caffe_lrp.cli.main import main
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.inspection.dot import dot_text
from caffe_lrp.inspection.facts import NetFacts, facts_of
from caffe_lrp.inspection.layout import Arrangement, arrange
from caffe_lrp.inspection.svg import svg_text
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers import REGISTRY, Layer
from caffe_lrp.layers.base import Blobs
from caffe_lrp.net.build import build_outline
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE
from caffe_lrp.relevance import assignment
from caffe_lrp.relevance.rules.base import AnyRule, RuleParameters
from caffe_lrp.relevance.rules.routing import Pass

Output = pytest.CaptureFixture[str]
PARAMETERS = RuleParameters(0.0, 0.0, -1, REFERENCE)


@pytest.fixture
def prototxt(tmp_path: Path) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(INCEPTION)
    return path


def inspect(capsys: Output, *arguments: object) -> list[str]:
    """What the command prints, line by line."""
    assert main(["inspect", *map(str, arguments)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out.splitlines()


def refusal(capsys: Output, code: int, *arguments: object) -> str:
    """What the command complains of, when it ends with an exit code."""
    assert main(["inspect", *map(str, arguments)]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def facts_for(folder: Path, text: str, *formulas: int, **places: int) -> NetFacts:
    return facts_of(build_outline(deployed(folder, text)), formulas or (100,), PARAMETERS, **places)


# --- The table ----------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_every_layer(prototxt: Path, capsys: Output) -> None:
    rows = [re.split("  +", line.strip()) for line in inspect(capsys, prototxt)]
    assert rows[0] == ["index", "name", "type", "output", "parameters", "mult-adds", "rule"]
    assert rows[1] == ["0", "conv1", "Convolution", "2×6×13×10", "114", "14,040", "αβ"]
    assert rows[2] == ["1", "relu1", "ReLU", "2×6×13×10", "-", "-", "pass"]
    assert rows[5] == ["4", "norm1_norm1_0_split", "Split", "2×6×6×5", "-", "-", "route"]
    assert rows[10] == ["9", "b", "Convolution", "2×6×6×5", "114", "3,240", "αβ"]
    assert rows[18] == ["17", "fc1", "InnerProduct", "2×8", "632", "624", "ε"]
    assert rows[21] == ["20", "prob", "Softmax", "2×5", "-", "-", "-"]


def test_totals_and_starts_follow(prototxt: Path, capsys: Output) -> None:
    assert inspect(capsys, prototxt)[22:] == [
        "input 'data' 2×3×13×11; 21 layers",
        "982 parameters (0 MB), 19,924 multiply-adds per image in convolutions and fully connected layers",
        "weights are not checked: no caffemodel was given",
        "relevance starts at layer 19 'fc2' (InnerProduct) and ends below layer 0 'conv1' (Convolution)",
        "lastlayerindex auto, the layer of the class scores: layer 19 'fc2' (InnerProduct)",
        "lastlayerindex -1, the layer before the lowest Softmax: layer 19 'fc2' (InnerProduct)",
        "lastlayerindex -2, the highest InnerProduct: layer 19 'fc2' (InnerProduct)",
        "recommended formula: epsilon-plus (z⁺ does not concentrate relevance in single pixels; flat "
        "would blur the picture, because a window of the lowest layer covers 4 % of it)",
    ]


def test_multiply_adds_and_parameters_are_those_of_loops(tmp_path: Path) -> None:
    facts = facts_for(tmp_path, INCEPTION)
    weights = random_weights(parse(tmp_path, INCEPTION), 0)
    for layer in facts.layers:
        blobs = weights.get(layer.name, [])
        assert layer.parameters == sum(blob.size for blob in blobs)
        positions = int(np.prod(layer.output_shapes[0][2:]))
        assert layer.multiply_adds == (blobs[0].size * positions if blobs else 0)
    assert facts.parameters == sum(blob.size for blobs in weights.values() for blob in blobs)


def test_every_formula_has_a_column(prototxt: Path, capsys: Output) -> None:
    lines = inspect(capsys, prototxt, "--formula", "0,102", "--switch-layer", 7)
    rows = [re.split("  +", line.strip()) for line in lines[:22]]
    assert rows[0][-2:] == ["rule of 0", "rule of 102"]
    assert rows[1][-2:] == ["ε", "flat"]
    assert rows[10][-2:] == ["ε", "αβ"]


def test_rules_are_those_of_a_run(tmp_path: Path) -> None:
    """The same as --dry-run prints, for a net of its own kind."""
    data = Path(__file__).parents[1] / "data/conformance"
    dry = run("-c", data / "configs/vgg_2_eps1_beta1_aux4.txt", "--dry-run", "--formula", "0,102")
    switch = ("--switch-layer", 4, "--start-layer", -2)
    shown = run("inspect", data / "models/vgg.prototxt", "--formula", "0,102", *switch)
    assert (shown.returncode, shown.stderr) == (0, "")
    for ours, its in zip(shown.stdout.splitlines()[1:19], dry.stdout.splitlines()[1:], strict=True):
        assert ours.split()[:4] == its.split()[:4]
        assert ours.split()[-2:] == its.split()[-2:]


def test_relevance_can_start_and_end_elsewhere(prototxt: Path, capsys: Output) -> None:
    lines = inspect(capsys, prototxt, "--start-layer", 14, "--first-layer", 9)
    rules = [line.split()[-1] for line in lines[1:22]]
    assert rules == [*["-"] * 9, "αβ", "pass", "R·x/Σx", "αβ", "pass", "route", *["-"] * 6]
    assert "relevance starts at layer 14 'joined' (Concat) and ends below layer 9 'b' (Convolution)" in lines


NIN = """
name: "nin" input: "data" input_shape { dim: 1 dim: 3 dim: 6 dim: 6 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 5 kernel_size: 3 } }
layer { name: "scores" type: "Convolution" bottom: "conv" top: "scores"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "pool" type: "Pooling" bottom: "scores" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
"""


def test_nets_without_classifier_layers_start_at_the_scores(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "nin.prototxt"
    path.write_text(NIN)
    lines = inspect(capsys, path)
    assert lines[-6:-1] == [
        "relevance starts at layer 1 'scores' (Convolution) and ends below layer 0 'conv' (Convolution)",
        "class c stands for its scores at all 16 positions",
        "lastlayerindex auto, the layer of the class scores: layer 1 'scores' (Convolution)",
        "lastlayerindex -1, the layer before the lowest Softmax: not in this net",
        "lastlayerindex -2, the highest InnerProduct: not in this net",
    ]


HEADS = (
    NIN.replace('"pool"', '"prob"')
    + """
layer { name: "aside" type: "Convolution" bottom: "conv" top: "aside"
  convolution_param { num_output: 2 kernel_size: 3 } }
"""
)


def test_heads_are_listed_and_the_one_that_is_chosen_is_ranked(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "heads.prototxt"
    path.write_text(HEADS)
    assert main(["inspect", str(path)]) == 0
    printed = capsys.readouterr()
    expected = ["classes are those of the head 'prob' 1×4×1×1; the others (--head):", "  'aside' 1×2×2×2"]
    assert printed.out.splitlines()[-7:-5] == expected
    assert printed.err == (
        f"caffe-lrp: note: {path}: has 2 heads; classes are those of 'prob', not of 'aside'; head (--head) "
        "chooses another\n"
    )
    lines = inspect(capsys, path, "--head", "aside")
    assert (
        "relevance starts at layer 4 'aside' (Convolution) and ends below layer 0 'conv' (Convolution)"
        in lines
    )
    found = json.loads("\n".join(inspect(capsys, path, "--json", "--head", "aside")))
    assert (found["head"], found["starts"]["auto"], found["notices"]) == ("aside", 4, [])
    assert found["heads"] == [
        {"name": "aside", "shape": [1, 2, 2, 2]},
        {"name": "prob", "shape": [1, 4, 1, 1]},
    ]
    refused = refusal(capsys, 3, path, "--head", "aside", "--start-layer", "scores")
    assert "does not lead to the head 'aside' (--head) but to 'prob'" in refused


def test_an_auxiliary_head_is_shown_if_it_is_asked_for(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "train.prototxt"
    losses = "".join(
        f'layer {{ name: "loss_{blob}" type: "SoftmaxWithLoss" bottom: "{blob}" bottom: "label" {weight} }}\n'
        for blob, weight in (("prob", ""), ("aside", "loss_weight: 0.3"))
    )
    path.write_text(HEADS + losses)
    assert main(["inspect", str(path), "--json", "--input-size", "8x7"]) == 0
    assert [head["name"] for head in json.loads(capsys.readouterr().out)["heads"]] == ["loss_prob"]
    assert main(["inspect", str(path), "--json", "--input-size", "8x7", "--head", "aside"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [head["name"] for head in found["heads"]] == ["loss_aside", "loss_prob"]
    assert found["layers"][found["start"]]["name"] == "aside"


class Odd(Layer):
    """A layer that no rule is for."""

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        raise NotImplementedError

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        raise NotImplementedError


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> str:
    """A net with such a layer."""
    monkeypatch.setitem(REGISTRY, "Odd", Odd)
    return INCEPTION.replace('type: "LRN"', 'type: "Odd"')


def test_layers_without_a_rule_are_named_with_what_to_do(odd: str, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "odd.prototxt"
    path.write_text(odd)
    lines = inspect(capsys, path, "--formula", "0,11")
    assert lines[4].split()[-2:] == ["none", "gradient"]
    assert lines[-1] == (
        "layer 3 'norm1' (Odd) has no rule under formula 0: choose formula 11 or 99, or start below the "
        "layer (--start-layer), or stop above it (--first-layer)"
    )
    assert "has no rule" not in "\n".join(inspect(capsys, path, "--formula", "99"))
    assert "has no rule" not in "\n".join(inspect(capsys, path, "--first-layer", 5))


def test_quirks_that_would_help_are_told(odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = assignment.default_rule

    def default_rule(layer: Layer, parameters: RuleParameters) -> AnyRule | None:
        """As if the layer had a rule where Q8 is corrected, and none elsewhere."""
        is_corrected = not parameters.quirks.Q8_normalization_taylor
        return Pass() if isinstance(layer, Odd) and is_corrected else real(layer, parameters)

    monkeypatch.setattr(assignment, "default_rule", default_rule)
    (gap,) = facts_for(tmp_path, odd, 0).gaps
    assert gap.advice.startswith(
        "choose formula 11 or 99, or set --quirks corrected, under which every formula has one, or start"
    )


# --- Weights ------------------------------------------------------------------------------------------------


def test_a_caffemodel_that_fits_is_said_to(tmp_path: Path, prototxt: Path, capsys: Output) -> None:
    weights = random_weights(parse(tmp_path, INCEPTION), 0)
    path = write_caffemodel(tmp_path / "net.caffemodel", weights)
    lines = inspect(capsys, prototxt, path)
    assert lines[24] == f"{path}: fits; every layer has its weights, in the right shapes"
    assert lines[25].startswith("relevance starts")
    more = {f"aux{number}": [np.zeros((2, 2), np.float32)] for number in range(7)}
    path = write_caffemodel(tmp_path / "net.caffemodel", weights | more)
    assert inspect(capsys, prototxt, path)[25:32] == [
        f"{path}: also has weights of layers that the net does not have:",
        *(f"  'aux{number}'" for number in range(5)),
        "  … and 2 more",
    ]
    assert json.loads("\n".join(inspect(capsys, prototxt, path, "--json")))["weights"] == {
        "caffemodel": str(path),
        "unused": [f"aux{number}" for number in range(7)],
        "merges": [],
    }


def test_a_caffemodel_shows_what_is_merged(tmp_path: Path, capsys: Output) -> None:
    text = NIN.replace('bottom: "scores" top: "pool"', 'bottom: "norm" top: "pool"') + (
        'layer { name: "after" type: "ReLU" bottom: "pool" top: "after" }\n'
        'layer { name: "shift" type: "Bias" bottom: "after" top: "shift" }'
    )
    text = text.replace(
        'layer { name: "pool"',
        'layer { name: "norm" type: "BatchNorm" bottom: "scores" top: "norm" }\nlayer { name: "pool"',
    )
    path = tmp_path / "normal.prototxt"
    path.write_text(text)
    model = write_caffemodel(tmp_path / "normal.caffemodel", random_weights(parse(tmp_path, text), 0))
    lines = inspect(capsys, path, model)
    place = lines.index("canonized: 1 of 2 layers that scale and shift merged into others")
    assert lines[place + 1].startswith("  layer 5 'shift' (Bias): not merged: ")
    found = json.loads("\n".join(inspect(capsys, path, model, "--json")))
    assert found["weights"]["merges"][0] == (
        "layer 2 'norm' (BatchNorm): merged into layer 1 'scores' (Convolution)"
    )
    assert found["layers"][2]["parameters"] == 4 + 4 + 1


def test_a_caffemodel_that_does_not_fit_is_refused(tmp_path: Path, prototxt: Path, capsys: Output) -> None:
    weights = random_weights(parse(tmp_path, INCEPTION), 0)
    weights["b"][0] = weights["b"][0][:, :1]
    path = write_caffemodel(tmp_path / "net.caffemodel", weights)
    complaint = refusal(capsys, 3, prototxt, path)
    assert (
        "layer 9 'b' (Convolution): needs weights of shapes 6×2×3×3 and 6, but the caffemodel has"
        in complaint
    )
    assert "cannot be read" in refusal(capsys, 3, prototxt, tmp_path / "none.caffemodel")


def test_facts_do_not_depend_on_weights(tmp_path: Path) -> None:
    with_weights = facts_of(build(tmp_path, INCEPTION), (100,), PARAMETERS)
    assert with_weights == facts_for(tmp_path, INCEPTION)


# --- Complaints ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (
            ("--formula", "102"),
            2,
            "formula 102 depends on the switch layer; give its index or name with --switch-layer",
        ),
        (("--formula", "7"), 3, "formula 7 is not supported"),
        (("--start-layer", "21"), 3, "lastlayerindex 21 (--start-layer)"),
        (("--first-layer", "19"), 3, "firstlayerindex 19 (--first-layer) must be at least 0 and below"),
        (("--first-layer", "20", "--start-layer", "20"), 3, "must be at least 0 and below"),
        (("--dot", "none/graph.dot"), 5, "none/graph.dot: cannot be written: No such file or directory"),
    ],
)
def test_wrong_choices_are_refused(
    prototxt: Path, capsys: Output, options: tuple[str, ...], code: int, complaint: str
) -> None:
    assert complaint in refusal(capsys, code, prototxt, *options)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("ReLU", "RRelu"), "layer 1 'relu1' (RRelu): layer type 'RRelu' is not supported"),
        (("num_output: 6 kernel_h: 3", "num_output: 6 kernel_h: 30"), "does not fit into the input"),
    ],
)
def test_nets_that_cannot_be_loaded_are_refused_as_elsewhere(
    tmp_path: Path, capsys: Output, change: tuple[str, str], complaint: str
) -> None:
    path = tmp_path / "bad.prototxt"
    path.write_text(INCEPTION.replace(*change))
    assert complaint in refusal(capsys, 3, path)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ("dim: 64 dim: 100", "the input must be images (N×C×H×W), but it is 64×100; only nets for images"),
        ("dim: 2 dim: 3 dim: 4 dim: 5 dim: 6", "the input must be images (N×C×H×W), but it is 2×3×4×5×6"),
        ("dim: 64", "input 'data' has the impossible shape (64,)"),
    ],
)
def test_inputs_that_a_run_refuses_are_refused(
    tmp_path: Path, capsys: Output, sizes: str, complaint: str
) -> None:
    text = f'input: "data" input_shape {{ {sizes} }} layer {{ name: "fc" type: "InnerProduct" bottom: "data"'
    parse(tmp_path, text + ' top: "fc" inner_product_param { num_output: 3 } }')
    assert complaint in refusal(capsys, 3, tmp_path / "deploy.prototxt")
    weights = write_caffemodel(tmp_path / "net.caffemodel", {"fc": [random_blob((3, 100), 1)]})
    assert complaint in refusal(capsys, 3, tmp_path / "deploy.prototxt", weights)


def test_a_size_that_the_file_lacks_is_asked_for_and_can_be_given(tmp_path: Path, capsys: Output) -> None:
    data = 'layer { name: "data" type: "Data" top: "data" transform_param { scale: 0.1 } }'
    _, layers = INCEPTION.split("}", 1)
    path = tmp_path / "train_val.prototxt"
    path.write_text(data + layers)
    assert "set height and width (input_size in the config, --input-size)" in refusal(capsys, 3, path)
    assert main(["inspect", str(path), "--input-size", "13x11"]) == 0
    printed = capsys.readouterr()
    assert "input 'data' 1×3×13×11; 21 layers" in printed.out
    assert "3 channel(s) are a guess" in printed.err


def test_the_command_explains_itself(capsys: Output) -> None:
    for options, code in ((["--help"], 0), ([], 2), (["a", "b", "c"], 2), (["a", "--josn"], 2)):
        assert main(["inspect", *options]) == code
    printed = capsys.readouterr()
    assert "caffe-lrp inspect" in printed.out
    assert "--switch-layer" in printed.out
    assert "there is no option --josn; did you mean '--json'?" in printed.err


# --- JSON ---------------------------------------------------------------------------------------------------


def test_json_has_the_layers_and_the_totals(prototxt: Path, capsys: Output) -> None:
    found = json.loads("\n".join(inspect(capsys, prototxt, "--json", "--formula", "0,100")))
    assert found.keys() == {
        "prototxt", "input", "layers", "totals", "starts", "start", "first", "positions", "without_rule",
        "suitable_formula", "head", "heads", "weights", "notices",
    }  # fmt: skip
    assert found["prototxt"] == str(prototxt)
    assert found["input"] == {"name": "data", "shape": [2, 3, 13, 11]}
    assert found["totals"] == {"layers": 21, "parameters": 982, "multiply_adds": 19924}
    assert (found["start"], found["first"], found["weights"]) == (19, 0, None)
    assert found["starts"] == {"auto": 19, "-1": 19, "-2": 19}
    assert found["suitable_formula"]["formula"] == "epsilon-plus"
    assert found["layers"][14] == {
        "index": 14,
        "name": "joined",
        "type": "Concat",
        "bottoms": ["a", "b", "c"],
        "tops": ["joined"],
        "output_shapes": [[2, 13, 6, 5]],
        "parameters": 0,
        "multiply_adds": 0,
        "rules": {"0": "route", "100": "route"},
    }
    assert len(found["layers"][4]["output_shapes"]) == 3
    assert found["layers"][20]["rules"] == {}


def test_json_says_which_layers_have_no_rule_and_what_is_not_there(
    odd: str, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "odd.prototxt"
    path.write_text(odd.replace("Softmax", "Sigmoid"))
    found = json.loads("\n".join(inspect(capsys, path, "--json")))
    (gap,) = found["without_rule"]
    assert (gap["index"], gap["formula"], found["layers"][3]["rules"]) == (3, 100, {"100": None})
    assert found["starts"]["-2"] == 19
    assert "has no Softmax" in found["starts"]["-1"]


# --- Graphviz -----------------------------------------------------------------------------------------------


def test_dot_has_every_layer_and_every_blob(prototxt: Path, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "net.dot"
    inspect(capsys, prototxt, "--dot", path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "digraph net {"
    assert lines[-1] == "}"
    assert '  input [shape=oval, label="data\\n2×3×13×11"];' in lines
    assert '  layer0 [label="0 conv1\\nConvolution\\n2×6×13×10"];' in lines
    assert '  layer19 [label="19 fc2\\nInnerProduct\\n2×5", penwidth=3];' in lines
    edges = [line for line in lines if "->" in line]
    assert edges[0] == '  input -> layer0 [label="data"];'
    assert '  layer8 -> layer9 [label="b_reduce"];' in edges
    assert [edge for edge in edges if "-> layer14 " in edge] == [
        f'  layer{index} -> layer14 [label="{name}"];' for index, name in ((6, "a"), (10, "b"), (13, "c"))
    ]
    assert len(edges) == 20 + 3


@pytest.mark.parametrize("option", ["--dot", "--svg"])
def test_no_file_is_overwritten_by_a_picture(option: str, prototxt: Path, capsys: Output) -> None:
    before = prototxt.read_bytes()
    assert "net.prototxt: already exists" in refusal(capsys, 5, prototxt, option, prototxt)
    assert prototxt.read_bytes() == before


HOSTILE = 'a"\\\\b<c>&\\001é'


def hostile(folder: Path) -> NetFacts:
    """A net whose names have what Graphviz and XML would take for their own."""
    return facts_for(folder, INCEPTION.replace('name: "conv1"', f"name: '{HOSTILE}'"))


def test_names_cannot_break_the_graph(tmp_path: Path) -> None:
    assert '[label="0 a\\"\\\\b<c>&\\\\x01é\\nConvolution' in dot_text(hostile(tmp_path))


# --- The picture --------------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def texts(root: ET.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def test_svg_is_valid_and_names_every_layer(prototxt: Path, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "net.svg"
    inspect(capsys, prototxt, "--svg", path, "--formula", "0")
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    words = texts(root)
    for name, index in INCEPTION_INDICES.items():
        assert name in words
        assert str(index) in words
    assert f"{prototxt}" in words
    assert "21 layers, 982 parameters, 19,924 multiply-adds" in words
    assert "relevance starts at layer 19 'fc2', formula 0" in words
    assert {"linear", "neuron", "router", "winner", "average", "normalization", "other"} <= set(words)
    assert "combination" not in words
    assert words.count("ε") == 7
    assert len(list(root.iter(f"{SVG}path"))) == 7  # to the first box, to three branches, and from them


def test_what_is_said_to_be_odd_is_coloured(odd: str, tmp_path: Path) -> None:
    root = ET.fromstring(svg_text(facts_for(tmp_path, odd, 0)))
    inks = {text.text: text.get("fill") for text in root.iter(f"{SVG}text")}
    assert inks["none"] == "#c00"
    assert inks["prob"] == "#999"
    assert inks["pass"] == "#06c"
    framed = [
        group for group in root.iter(f"{SVG}g") if group.find(f"{SVG}rect[@stroke-width='2']") is not None
    ]
    assert [title.text for group in framed for title in group.findall(f"{SVG}title")] == [
        "layer 19 'fc2' (InnerProduct) writes fc2; 45 parameters, 40 multiply-adds"
    ]


def test_long_and_hostile_names_are_cut_and_escaped(tmp_path: Path) -> None:
    root = ET.fromstring(svg_text(hostile(tmp_path)))
    assert 'a"\\b<c>&\\x01é' in texts(root)
    long = facts_for(tmp_path, INCEPTION.replace('name: "fc1"', f'name: "{"n" * 50}{"m" * 50}"'))
    assert f"{'n' * 15}…{'m' * 16}" in texts(ET.fromstring(svg_text(long)))


def test_paths_in_other_encodings_can_be_drawn(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.prototxt")
    path.write_text(INCEPTION)
    inspect(capsys, path, "--svg", tmp_path / "net.svg")
    assert f"{tmp_path}/caf\\udce9.prototxt" in texts(ET.parse(tmp_path / "net.svg").getroot())


def rectangles(facts: NetFacts) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of every box."""
    root = ET.fromstring(svg_text(facts))
    boxes = [rect for rect in root.iter(f"{SVG}rect") if rect.get("rx")]
    numbers = [tuple(float(str(box.get(name))) for name in ("x", "y", "width", "height")) for box in boxes]
    return [(x, y, x + width, y + height) for x, y, width, height in numbers]


def residual(blocks: int) -> str:
    """Blocks with a branch of two convolutions and an identity beside it."""
    text = 'name: "residual" input: "data" input_shape { dim: 1 dim: 4 dim: 8 dim: 8 }\n'
    bottom = "data"
    convolution = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"
    for n in range(blocks):
        for name, below in ((f"a{n}", bottom), (f"b{n}", f"a{n}")):
            ends = f'name: "{name}" bottom: "{below}" top: "{name}"'
            text += f'layer {{ {ends} type: "Convolution" {convolution} }}\n'
        text += f'layer {{ name: "s{n}" type: "Eltwise" bottom: "b{n}" bottom: "{bottom}" top: "s{n}" }}\n'
        bottom = f"s{n}"
    return text


@pytest.mark.parametrize("text", [INCEPTION, residual(6), without_biases(INCEPTION)])
def test_boxes_do_not_overlap_and_follow_from_top_to_bottom(text: str, tmp_path: Path) -> None:
    boxes = rectangles(facts_for(tmp_path, text))
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert left >= -0.1
        for other_left, other_top, other_right, other_bottom in boxes[number + 1 :]:
            apart = other_left >= right or other_right <= left or other_top >= bottom or other_bottom <= top
            assert apart


def test_a_residual_net_stays_narrow(tmp_path: Path) -> None:
    few, many = (rectangles(facts_for(tmp_path, residual(blocks))) for blocks in (2, 30))
    widths = [max(box[2] for box in boxes) - min(box[0] for box in boxes) for boxes in (few, many)]
    assert widths[1] <= widths[0] * 1.1


def places(drawing: Arrangement) -> list[tuple[float, float]]:
    return list(zip(drawing.lefts, drawing.tops, strict=True))


def test_ranks_follow_from_longest_paths() -> None:
    drawing = arrange([(10, 5)] * 5, [(0, 1), (1, 2), (0, 3), (2, 4), (3, 4)])
    tops = drawing.tops
    assert tops[0] < tops[1] < tops[2] < tops[4]
    assert tops[3] == tops[1]


def test_an_edge_over_several_ranks_passes_beside_the_boxes_between() -> None:
    sizes: list[tuple[float, float]] = [(40, 10)] * 4
    drawing = arrange(sizes, [(0, 1), (1, 2), (2, 3), (0, 3)])
    route = drawing.routes[3]
    for box in (1, 2):
        left, top = drawing.lefts[box], drawing.tops[box]
        inside = [x for x, y in route if top <= y <= top + 10]
        assert inside
        assert all(x < left or x > left + 40 for x in inside)
    assert drawing.width > 40


def test_boxes_of_one_way_stand_below_each_other() -> None:
    drawing = arrange([(10, 5), (30, 5), (20, 5)], [(0, 1), (1, 2)])
    centres = [left + width / 2 for left, width in zip(drawing.lefts, (10, 30, 20), strict=True)]
    assert centres == pytest.approx([15, 15, 15])
    assert (drawing.width, drawing.height) == (30, drawing.tops[2] + 5)


def test_nothing_and_a_single_box_can_be_arranged() -> None:
    assert arrange([], []) == Arrangement((), (), (), 0.0, 0.0)
    assert places(arrange([(4, 3)], [])) == [(0.0, 0.0)]


def test_crossings_are_avoided() -> None:
    # Two branches whose ends are named in the other order.
    drawing = arrange([(10, 5)] * 6, [(0, 1), (0, 2), (1, 4), (2, 3), (3, 5), (4, 5)])
    left, _ = zip(*places(drawing), strict=True)
    assert (left[1] < left[2]) == (left[4] < left[3])


def test_nets_too_tangled_for_a_picture_are_refused() -> None:
    chain = [(number, number + 1) for number in range(1000)]
    with pytest.raises(ModelError, match="too tangled for a picture"):
        arrange([(1, 1)] * 1001, [*chain, *((0, number) for number in range(600, 1001))])


def test_pictures_do_not_change_from_call_to_call(tmp_path: Path) -> None:
    draw: Callable[[NetFacts], Any]
    for draw in (svg_text, dot_text):
        assert draw(facts_for(tmp_path, INCEPTION)) == draw(facts_for(tmp_path, INCEPTION))


def test_an_outline_is_the_net_without_its_weights(tmp_path: Path) -> None:
    outline, net = build_outline(deployed(tmp_path, INCEPTION)), build(tmp_path, INCEPTION)
    assert isinstance(outline, Net)
    assert [layer.label for layer in outline.layers] == [layer.label for layer in net.layers]
    assert not any(layer.weights for layer in outline.layers)
    assert (outline.input_shape, outline.output_value) == (net.input_shape, net.output_value)


def test_corrected_quirks_show_in_the_rules(tmp_path: Path) -> None:
    net = build_outline(deployed(tmp_path, INCEPTION))
    corrected = facts_of(net, (0,), RuleParameters(0.0, 0.0, -1, CORRECTED))
    assert corrected.layers[3].rules == {0: "pass"}
    assert facts_of(net, (0,), PARAMETERS).layers[3].rules == {0: "Taylor"}


def test_a_layer_without_outputs_ends_its_branch(tmp_path: Path) -> None:
    facts = facts_for(tmp_path, INCEPTION)
    silence = replace(facts.layers[20], name="silence", outputs=(), output_shapes=())
    changed = replace(facts, layers=(*facts.layers[:20], silence))
    assert silence.shape_text == "-"
    assert '[label="20 silence\\nSoftmax\\n-"]' in dot_text(changed)
    assert "silence" in texts(ET.fromstring(svg_text(changed)))
