"""Normalization that becomes part of linear layers: same outputs, same numbers of layers, other relevance."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    ENGINE,
    WORKSPACE,
    Weights,
    assert_close,
    build,
    from_scores,
    messages,
    parse,
    random_blob,
    random_weights,
)
from command_line import run
from oracle_walker import Options, Walker

from caffe_lrp.cli.commands.run_list import list_parser
from caffe_lrp.cli.wording import merges_line
from caffe_lrp.config.arguments import CANONIZATIONS
from caffe_lrp.engines.footprint import footprint_of
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers import REGISTRY
from caffe_lrp.layers.affine import FusedAffine, Merged
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

DATA = 'input: "data" input_shape { dim: 2 dim: 4 dim: 9 dim: 8 }\n'


def layer(name: str, kind: str, bottom: str, top: str, body: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {body} }}\n'


def conv(name: str, bottom: str, outputs: int, body: str = "pad: 1", bias: bool = False) -> str:
    parameters = f"num_output: {outputs} kernel_size: 3 bias_term: {str(bias).lower()} {body}"
    return layer(name, "Convolution", bottom, name, f"convolution_param {{ {parameters} }}")


def norm(blob: str, top: str | None = None, name: str | None = None) -> str:
    """BatchNorm and Scale, in place unless they write ``top``."""
    top, name = top or blob, name or top or blob
    text = layer(f"{name}_bn", "BatchNorm", blob, top)
    return text + layer(f"{name}_scale", "Scale", top, top, "scale_param { bias_term: true }")


def relu(blob: str, top: str | None = None) -> str:
    return layer(f"{top or blob}_relu", "ReLU", blob, top or blob)


def product(name: str, bottom: str, outputs: int = 5, bias: bool = True) -> str:
    body = f"inner_product_param {{ num_output: {outputs} bias_term: {str(bias).lower()} }}"
    return layer(name, "InnerProduct", bottom, name, body)


def total(name: str, first: str, second: str) -> str:
    return f'layer {{ name: "{name}" type: "Eltwise" bottom: "{first}" bottom: "{second}" top: "{name}" }}\n'


RESIDUAL = (
    DATA
    + conv("c1", "data", 6)
    + norm("c1")
    + relu("c1")
    + conv("c2", "c1", 6)
    + norm("c2")
    + relu("c2")
    + conv("c3", "c2", 7)
    + norm("c3")
    + conv("cut", "c1", 7)
    + norm("cut")
    + total("sum", "c3", "cut")
    + relu("sum")
    + layer("pool", "Pooling", "sum", "pool", "pooling_param { pool: AVE global_pooling: true }")
    + product("fc", "pool")
)

PRE_ACTIVATION = (
    DATA
    + conv("c0", "data", 6)
    + norm("c0", "n1")
    + relu("n1")
    + conv("c1", "n1", 6)
    + norm("c1")
    + relu("c1")
    + conv("c2", "c1", 6)
    + total("sum", "c2", "n1")
    + norm("sum", "n2")
    + relu("n2")
    + product("fc", "n2")
)

#: Net -> how many layers that scale and shift are merged, and how many are not.
NETS = {
    "residual": (RESIDUAL, 8, 0),
    "before activations": (PRE_ACTIVATION, 5, 1),
    "convolution with a bias": (DATA + conv("c", "data", 6, bias=True) + norm("c", "n"), 2, 0),
    "grouped convolution": (DATA + conv("c", "data", 6, "group: 2 stride: 2") + norm("c"), 2, 0),
    "convolution of every channel alone": (DATA + conv("c", "data", 8, "group: 4") + norm("c"), 2, 0),
    "inner product": (DATA + product("fc", "data", bias=False) + norm("fc"), 2, 0),
    "inner product with a bias": (DATA + product("fc", "data") + norm("fc", "n"), 2, 0),
    "image before a convolution": (DATA + norm("data") + conv("c", "data", 6, ""), 2, 0),
    "image before a grouped convolution": (
        DATA + norm("data", "n") + conv("c", "n", 6, "group: 2 stride: 2", bias=True),
        2,
        0,
    ),
    "image before a convolution that pads on one side": (
        DATA + norm("data") + conv("c", "data", 6, "group: 2 pad_h: 0 pad_w: 1"),
        1,
        1,
    ),
    "image before a convolution with padding": (DATA + norm("data") + conv("c", "data", 6), 1, 1),
    "image before a convolution padded at one side": (
        DATA + norm("data") + conv("c", "data", 6, "pad_r: 1"),
        1,
        1,
    ),
    "scale alone before a convolution with padding": (
        DATA + layer("s", "Scale", "data", "s") + conv("c", "s", 6),
        1,
        0,
    ),
    "image before an inner product": (DATA + norm("data") + product("fc", "data"), 2, 0),
    "both sides": (DATA + norm("data") + product("fc", "data") + norm("fc"), 4, 0),
    "bias": (DATA + conv("c", "data", 6) + layer("b", "Bias", "c", "b") + norm("b"), 3, 0),
    "one number for all": (
        DATA + conv("c", "data", 6) + layer("s", "Scale", "c", "s", "scale_param { num_axes: 0 }"),
        1,
        0,
    ),
    "numbers of rows": (
        DATA + conv("c", "data", 6) + layer("s", "Scale", "c", "s", "scale_param { axis: 2 }") + norm("s"),
        1,
        2,
    ),
    "numbers of rows at the end": (
        DATA + conv("c", "data", 6) + norm("c") + layer("s", "Scale", "c", "s", "scale_param { axis: 2 }"),
        2,
        1,
    ),
    "another reader of the convolution": (
        DATA + conv("c", "data", 6) + norm("c", "n") + total("sum", "n", "c"),
        1,
        1,
    ),
    "behind an activation": (DATA + conv("c", "data", 6) + relu("c", "r") + norm("r", "n"), 1, 1),
}
by_net = pytest.mark.parametrize(("text", "merged", "kept"), NETS.values(), ids=NETS)


def both(folder: Path, text: str, weights: Weights | None = None) -> tuple[Net, Net]:
    """The net with merged layers, and as it is written."""
    weights = weights or random_weights(parse(folder, text), 5)
    return build(folder, text, weights), build(folder, text, weights, canonize="off")


def outputs_of(net: Net, batch: Blob) -> Blob:
    return net.forward(batch, frozenset(), WORKSPACE)[net.output_value]


@by_net
def test_merged_layers_give_the_same_output(text: str, merged: int, kept: int, tmp_path: Path) -> None:
    ours, plain = both(tmp_path, text)
    batch = random_blob((3, *ours.input_shape), 6)
    assert_close(outputs_of(ours, batch), outputs_of(plain, batch).astype(np.float64), 1e-6)


@by_net
def test_the_report_says_what_was_merged_into_what(text: str, merged: int, kept: int, tmp_path: Path) -> None:
    ours, plain = both(tmp_path, text)
    assert plain.merges == ()
    assert [merge.into is not None for merge in ours.merges].count(True) == merged
    assert [merge.into is None for merge in ours.merges].count(True) == kept
    for merge in ours.merges:
        replaced = ours.layers[merge.index]
        assert merge.label == plain.layers[merge.index].label
        assert isinstance(replaced, Merged) == (merge.into is not None)
        assert bool(merge.reason) == (merge.into is None)
        assert merge.into is None or merge.into_label == plain.layers[merge.into].label
    scaling = [one.index for one in plain.layers if one.type in ("BatchNorm", "Scale", "Bias")]
    assert [merge.index for merge in ours.merges] == scaling


@by_net
def test_layers_keep_their_numbers_names_and_values(
    text: str, merged: int, kept: int, tmp_path: Path
) -> None:
    def places(net: Net) -> list[tuple[object, ...]]:
        return [
            (one.index, one.label, one.type, one.inputs, one.outputs, one.output_shapes, one.is_in_place)
            for one in net.layers
        ]

    ours, plain = both(tmp_path, text)
    assert places(ours) == places(plain)
    assert ours.value_names == plain.value_names


def reason(folder: Path, name: str, index: int) -> str:
    ours, _ = both(folder, NETS[name][0])
    return ours.merges[index].text


def test_reasons_are_given(tmp_path: Path) -> None:
    assert reason(tmp_path, "image before a convolution with padding", 0) == (
        "layer 0 'data_bn' (BatchNorm): not merged: the shift would be missing in the padding of layer 2 "
        "'c' (Convolution)"
    )
    assert reason(tmp_path, "behind an activation", 0) == (
        "layer 2 'n_bn' (BatchNorm): not merged: neither the layer before nor the layer after it is a "
        "linear layer that can absorb it"
    )
    assert reason(tmp_path, "numbers of rows", 0) == (
        "layer 1 's' (Scale): not merged: its numbers differ within a channel"
    )
    assert reason(tmp_path, "residual", 0) == (
        "layer 1 'c1_bn' (BatchNorm): merged into layer 0 'c1' (Convolution)"
    )


def test_layers_without_a_linear_one_beside_them_become_one(tmp_path: Path) -> None:
    ours, _ = both(tmp_path, NETS["behind an activation"][0])
    assert [type(one) for one in ours.layers[2:]] == [FusedAffine, Merged]
    assert ours.merges[1].text == "layer 3 'n_scale' (Scale): merged into layer 2 'n_bn' (BatchNorm)"


def test_weights_are_rounded_once(tmp_path: Path) -> None:
    text = DATA + conv("c", "data", 6, bias=True) + norm("c")
    weights = random_weights(parse(tmp_path, text), 5)
    ours, _ = both(tmp_path, text, weights)
    weight, bias = merged_by_hand(weights, "c")
    assert ours.layers[0].weights[0].tolist() == weight.astype(np.float32).tolist()
    assert ours.layers[0].weights[1].tolist() == pytest.approx(bias.tolist(), rel=1e-6)


def merged_by_hand(weights: Weights, name: str, after: str | None = None) -> list[Any]:
    """Weight and bias of a linear layer with the BatchNorm and Scale after it, by their definitions."""
    mean, variance, _ = (blob.astype(np.float64) for blob in weights[f"{after or name}_bn"])
    scale, shift = (blob.astype(np.float64) for blob in weights[f"{after or name}_scale"])
    weight, *biases = (blob.astype(np.float64) for blob in weights[name])
    bias = biases[0] if biases else np.zeros(len(weight))
    factor = scale / np.sqrt(variance + np.float32(1e-5))
    rows = factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return [weight * rows, (bias - mean) * factor + shift]


# --- Every linear layer -------------------------------------------------------------------------------------

#: Linear layer types with as many outputs as inputs, so that weights laid out otherwise show.
LINEAR = {
    "Convolution": [
        "convolution_param { num_output: 4 kernel_size: 3 pad: 1 group: 2 }",
        "convolution_param { num_output: 4 kernel_h: 2 kernel_w: 3 bias_term: false }",
    ],
    "InnerProduct": ["inner_product_param { num_output: 288 }"],
    "Deconvolution": [
        "convolution_param { num_output: 4 kernel_size: 3 stride: 2 group: 2 }",
        "convolution_param { num_output: 4 kernel_h: 2 kernel_w: 3 bias_term: false }",
    ],
    "DepthwiseConvolution": ["convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"],
    "ConvolutionDepthwise": ["convolution_param { num_output: 4 kernel_size: 2 }"],
}


def test_every_linear_layer_type_is_tested_here() -> None:
    """A new one whose weights are laid out in another way has to say so: see `Linear.along_outputs`."""
    assert set(LINEAR) == {name for name, kind in REGISTRY.items() if issubclass(kind, Linear)}


@pytest.mark.parametrize(
    ("kind", "body"), [(kind, body) for kind, bodies in LINEAR.items() for body in bodies]
)
def test_every_linear_layer_is_merged_right(kind: str, body: str, tmp_path: Path) -> None:
    linear = layer("linear", kind, "n", "linear", body)
    text = DATA + norm("data", "n") + linear + norm("linear")
    ours, plain = both(tmp_path, text)
    batch = random_blob((3, *ours.input_shape), 6)
    assert_close(outputs_of(ours, batch), outputs_of(plain, batch).astype(np.float64), 1e-6)
    assert [merge.into for merge in ours.merges[2:]] == [2, 2]


# --- Relevance ----------------------------------------------------------------------------------------------

CLASSES = [[3], [0, 4]]
#: A net with normalization, and the same one without it.
NORMALIZED = (
    DATA
    + conv("c1", "data", 6, "group: 2 pad: 1")
    + norm("c1")
    + relu("c1")
    + conv("c2", "c1", 7, "", bias=True)
    + norm("c2", "n2")
    + relu("n2")
    + product("fc", "n2", bias=False)
    + norm("fc")
)
PLAIN = (
    DATA
    + conv("c1", "data", 6, "group: 2 pad: 1", bias=True)
    + relu("c1")
    + conv("c2", "c1", 7, "", bias=True)
    + relu("c2")
    + product("fc", "c2")
)
INDICES = {"c1": 0, "c1_relu": 3, "c2": 4, "n2_relu": 7, "c2_relu": 7, "fc": 8}


def relevance(net: Net, code: int, options: Options, start: int, first: int, batch: Blob) -> Blob:
    parameters = RuleParameters(
        options.epsilon, options.beta, options.switch, CORRECTED if options.corrected else REFERENCE
    )
    plan = resolve_plan(net, code, parameters, start, first)
    return from_scores(plan, ENGINE.forward(net, [plan], batch), CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("corrected", [False, True], ids=["reference", "corrected"])
@pytest.mark.parametrize("code", (0, 2, 11, 26, 54, 56, 58, 60, 99, 100, 102, 104, 114, 166))
def test_relevance_is_that_of_a_net_with_merged_weights(code: int, corrected: bool, tmp_path: Path) -> None:
    weights = random_weights(parse(tmp_path, NORMALIZED), 7)
    ours, _ = both(tmp_path, NORMALIZED, weights)
    batch = random_blob((2, *ours.input_shape), 8)
    options = Options(epsilon=0.1, beta=1.0, switch=3, corrected=corrected)
    plain = {name: merged_by_hand(weights, name) for name in ("c1", "fc")}
    plain["c2"] = merged_by_hand(weights, "c2", after="n2")
    walker = Walker(messages(PLAIN), plain, INDICES)
    walker.forward(batch)
    expected = walker.relevance(code, options, "fc", CLASSES, first="c1")
    assert np.abs(expected).max() > 0
    assert_close(relevance(ours, code, options, 8, 0, batch), expected, 1e-4)


@pytest.mark.parametrize("start", [8, 9, 10])
def test_relevance_may_start_at_any_layer_of_a_merged_row(start: int, tmp_path: Path) -> None:
    """They all give what the last one gives."""
    ours, _ = both(tmp_path, NORMALIZED)
    batch, options = random_blob((2, *ours.input_shape), 8), Options(epsilon=0.1)
    expected = relevance(ours, 0, options, 10, 0, batch)
    assert relevance(ours, 0, options, start, 0, batch).tolist() == expected.tolist()


@pytest.mark.parametrize("first", [5, 6])
def test_relevance_may_end_at_any_layer_of_a_merged_row(first: int, tmp_path: Path) -> None:
    """Below them it is that of the linear layer's output."""
    ours, _ = both(tmp_path, NORMALIZED)
    batch, options = random_blob((2, *ours.input_shape), 8), Options(epsilon=0.1)
    expected = relevance(ours, 0, options, 8, 7, batch)
    assert relevance(ours, 0, options, 8, first, batch).tolist() == expected.tolist()


@pytest.mark.parametrize("code", [11, 99])
def test_gradients_do_not_depend_on_merging(code: int, tmp_path: Path) -> None:
    ours, plain = both(tmp_path, RESIDUAL)
    batch, options = random_blob((2, *ours.input_shape), 8), Options(corrected=True)
    start = next(one.index for one in ours.layers if one.name == "fc")
    found, wanted = (relevance(net, code, options, start, 0, batch) for net in (ours, plain))
    assert_close(found, wanted.astype(np.float64), 1e-5)


@pytest.mark.parametrize("text", [RESIDUAL, PRE_ACTIVATION])
@pytest.mark.parametrize("code", [0, 2, 100])
def test_relevance_is_conserved_without_shifts(code: int, text: str, tmp_path: Path) -> None:
    text = text.replace("bias_term: true", "bias_term: false")
    weights = random_weights(parse(tmp_path, text), 5, bias_scale=0)
    for net in both(tmp_path, text, weights):
        batch = random_blob((2, *net.input_shape), 8)
        start = next(one.index for one in net.layers if one.name == "fc")
        found = relevance(net, code, Options(corrected=True), start, 0, batch)
        scores = outputs_of(net, batch)
        for item, chosen in enumerate(CLASSES):
            assert found[item].sum() == pytest.approx(scores[item, chosen].sum(), rel=1e-3)


@pytest.mark.parametrize("code", [0, 2, 11, 26, 100])
def test_dropout_that_scales_is_merged_and_hands_on_all_relevance(code: int, tmp_path: Path) -> None:
    """As the scaling of the inner product's weights does, written by hand."""
    drop = layer("drop", "Dropout", "c", "c", "dropout_param { dropout_ratio: 0.75 scale_train: false }")
    text = DATA + conv("c", "data", 6) + relu("c") + drop + product("fc", "c")
    weights = random_weights(parse(tmp_path, text), 5)
    ours, plain = both(tmp_path, text, weights)
    scaled = {**weights, "fc": [weights["fc"][0] * np.float32(0.25), weights["fc"][1]]}
    by_hand = build(tmp_path, text.replace(drop, ""), scaled)
    batch, options = random_blob((2, *ours.input_shape), 8), Options(epsilon=0.1)
    assert [merge.into for merge in ours.merges] == [3]
    expected = relevance(by_hand, code, options, 2, 0, batch).astype(np.float64)
    for net in (ours, plain):
        assert_close(relevance(net, code, options, 3, 0, batch), expected, 1e-5)


def test_merged_layers_take_no_memory(tmp_path: Path) -> None:
    ours, plain = both(tmp_path, NETS["convolution with a bias"][0])
    pixels = 4 * 9 * 8
    assert footprint_of(plain, []).per_image == (6 + 6) * pixels
    assert footprint_of(ours, []).per_image == (4 + 6) * pixels


# --- Asking for it ------------------------------------------------------------------------------------------


def test_it_can_be_switched_off() -> None:
    assert CANONIZATIONS == ("auto", "off")
    assert list_parser().parse_args([]).canonize == "auto"
    assert list_parser().parse_args(["--canonize", "off"]).canonize == "off"


def test_other_words_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        list_parser().parse_args(["--canonize", "of"])
    assert "'of' is not one of auto, off; did you mean 'off'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("residual", "canonized: 8 of 8 layers that scale and shift merged into others"),
        ("before activations", "canonized: 5 of 6 layers that scale and shift merged into others"),
    ],
)
def test_a_line_says_how_many_were_merged(name: str, line: str, tmp_path: Path) -> None:
    net, _ = both(tmp_path, NETS[name][0])
    assert merges_line(net.merges) == line


CONFORMANCE = Path(__file__).parents[1] / "data" / "conformance"


@pytest.mark.slow
def test_the_command_merges_unless_told_otherwise(tmp_path: Path) -> None:
    """And it takes runs with the one and with the other choice for two."""
    text = DATA.replace("dim: 4 dim: 9 dim: 8", "dim: 3 dim: 48 dim: 48")
    text += conv("c", "data", 6, "stride: 8") + norm("c") + relu("c") + product("fc", "c")
    weights = random_weights(parse(tmp_path, text), 5)
    build(tmp_path, text, weights)
    lines = (CONFORMANCE / "configs" / "vgg_2_eps1_beta1_aux4.txt").read_text().split("\n")
    values = {"param_file": "deploy.prototxt", "model_file": "net.caffemodel", "numclasses": 5}
    for key, value in values.items():
        lines[lines.index(key) + 1] = str(value if key == "numclasses" else tmp_path / str(value))
    (tmp_path / "config.txt").write_text("\n".join(lines))
    (tmp_path / "list.txt").write_text("images/set/square.jpg 3\n")
    options = ["-v", "-c", tmp_path / "config.txt", "-f", tmp_path / "list.txt", "-p", tmp_path]
    maps: list[str] = []
    for choice in ("auto", "off"):
        assert (run(*options, "--canonize", choice).returncode == 5) == bool(maps)
        done = run(*options, "--canonize", choice, "--overwrite")
        assert done.returncode == 0, done.stderr
        assert ("canonized: 2 of 2 layers that scale and shift merged" in done.stdout) == (choice == "auto")
        maps.append((tmp_path / "out/images/set/square.jpg_rawhm.txt").read_text())
    assert maps[0] != maps[1]
