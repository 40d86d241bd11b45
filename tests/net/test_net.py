"""From model files to a net: Splits, indices, phases, weights, values."""

import re
from pathlib import Path

import numpy as np
import oracle_walker
import pytest
from builders import (
    BY_WINOGRAD,
    DIRECTLY,
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    WORKSPACE,
    assert_close,
    build,
    deployed,
    messages,
    parse,
    random_blob,
    random_weights,
    write_caffemodel,
)

from caffe_lrp.compute.window_map import ConvolutionMap
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.reader import scan_caffemodel
from caffe_lrp.formats.spec import NetSpec
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Combination
from caffe_lrp.layers.convolution import Convolution
from caffe_lrp.net.build import build_net, weight_shapes
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.net.heads import head_notices
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

DATA = 'input: "data" input_shape { dim: 2 dim: 3 dim: 5 dim: 4 }\n'


def relu(name: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" {more} }}\n'


def convolution(name: str, bottom: str, top: str, outputs: int = 6) -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}" '
        f"convolution_param {{ num_output: {outputs} kernel_h: 3 kernel_w: 2 }} }}\n"
    )


def names(net: Net) -> list[str]:
    return [layer.name for layer in net.layers]


def bottoms(net: Net, name: str) -> list[str]:
    layer = next(layer for layer in net.layers if layer.name == name)
    return [net.value_names[value] for value in layer.inputs]


def expect_error(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        build(folder, text)
    assert str(folder / "deploy.prototxt") in str(caught.value)


# --- Splits and indices -------------------------------------------------------------------------------


def test_layers_count_in_file_order_with_splits_between(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    assert {layer.name: layer.index for layer in net.layers} == INCEPTION_INDICES
    assert [layer.index for layer in net.layers] == list(range(21))


def test_a_blob_with_one_reader_gets_no_split(tmp_path: Path) -> None:
    assert names(build(tmp_path, DATA + relu("a", "data", "a") + relu("b", "a", "b"))) == ["a", "b"]


def test_branches_of_a_split_are_numbered_in_order_of_the_readers(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    assert bottoms(net, "a") == ["norm1_norm1_0_split_0"]
    assert bottoms(net, "b_reduce") == ["norm1_norm1_0_split_1"]
    assert bottoms(net, "c_pool") == ["norm1_norm1_0_split_2"]


def test_a_split_stands_after_the_last_in_place_layer_and_bears_its_name(tmp_path: Path) -> None:
    text = DATA + relu("a", "data", "a") + relu("b", "a", "a") + relu("c", "a", "a")
    net = build(tmp_path, text + relu("d", "a", "d") + relu("e", "a", "e"))
    assert names(net) == ["a", "b", "c", "a_c_0_split", "d", "e"]
    assert bottoms(net, "d") == ["a_c_0_split_0"]
    assert bottoms(net, "e") == ["a_c_0_split_1"]


def test_an_in_place_reader_counts_as_one_of_several_readers(tmp_path: Path) -> None:
    text = DATA + relu("a", "data", "a") + relu("b", "a", "b") + relu("c", "a", "a") + relu("d", "a", "d")
    net = build(tmp_path, text)
    assert names(net) == ["a", "a_a_0_split", "b", "c", "d"]


def test_an_input_with_several_readers_gets_its_split_at_index_0(tmp_path: Path) -> None:
    net = build(tmp_path, DATA + relu("a", "data", "a") + relu("b", "data", "b"))
    assert names(net) == ["data_input_0_split", "a", "b"]
    assert net.layers[0].inputs == (net.input_value,)
    assert net.layers[1].index == 1


def test_a_layer_that_reads_one_blob_twice_makes_a_split(tmp_path: Path) -> None:
    joined = 'layer { name: "joined" type: "Concat" bottom: "a" bottom: "a" top: "joined" }'
    net = build(tmp_path, DATA + relu("a", "data", "a") + joined)
    assert names(net) == ["a", "a_a_0_split", "joined"]
    assert bottoms(net, "joined") == ["a_a_0_split_0", "a_a_0_split_1"]


def test_every_top_of_a_layer_has_its_own_split(tmp_path: Path) -> None:
    split = 'layer { name: "two" type: "Split" bottom: "data" top: "u" top: "v" }\n'
    readers = "".join(relu(f"r{i}", blob, f"r{i}") for i, blob in enumerate(["v", "u", "v"]))
    net = build(tmp_path, DATA + split + readers)
    assert names(net) == ["two", "v_two_1_split", "r0", "r1", "r2"]


def test_q2_an_input_layer_is_not_counted(tmp_path: Path) -> None:
    modern = (
        'layer { name: "data" type: "Input" top: "data" '
        "input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }\n"
    )
    layers = convolution("c", "data", "c") + relu("r", "c", "c")
    old, new = build(tmp_path, DATA + layers), build(tmp_path, modern + layers)
    assert names(new) == names(old) == ["c", "r"]
    assert [layer.index for layer in new.layers] == [0, 1]
    assert (new.batch_size, new.input_shape) == (2, (3, 5, 4))


def test_an_input_may_be_given_by_four_numbers(tmp_path: Path) -> None:
    text = 'input: "data" input_dim: 7 input_dim: 3 input_dim: 5 input_dim: 4\n' + relu("r", "data", "r")
    net = build(tmp_path, text)
    assert (net.batch_size, net.input_shape) == (7, (3, 5, 4))


# --- Values -----------------------------------------------------------------------------------------


def test_pre_activations_survive_layers_in_place(tmp_path: Path) -> None:
    net = build(tmp_path, DATA + convolution("c", "data", "c") + relu("r", "c", "c"), seed=1)
    conv, rectifier = net.layers
    assert conv.outputs != rectifier.outputs
    assert rectifier.inputs == conv.outputs
    assert rectifier.is_in_place
    values = net.forward(
        random_blob((2, 3, 5, 4), 2), keep={*conv.outputs, *rectifier.outputs}, workspace=WORKSPACE
    )
    before, after = values[conv.outputs[0]], values[rectifier.outputs[0]]
    assert before.min() < 0
    assert after.tolist() == np.maximum(before, 0).tolist()


def test_values_are_freed_unless_kept(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    kept = net.layers[INCEPTION_INDICES["norm1"]].outputs[0]
    values = net.forward(random_blob((1, *INCEPTION_SHAPE), 1), keep={kept}, workspace=WORKSPACE)
    assert set(values) == {kept, net.output_value}


def test_nothing_but_the_output_is_kept_when_nothing_is_asked_for(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    assert set(net.forward(random_blob((1, *INCEPTION_SHAPE), 1), keep=set(), workspace=WORKSPACE)) == {
        net.output_value
    }


def test_the_input_can_be_kept(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    batch = random_blob((1, *INCEPTION_SHAPE), 1)
    assert net.forward(batch, keep={net.input_value}, workspace=WORKSPACE)[net.input_value] is batch


def test_whole_net_equals_the_oracle(tmp_path: Path) -> None:
    weights = random_weights(parse(tmp_path, INCEPTION), 5)
    net = build(tmp_path, INCEPTION, weights)
    batch = random_blob((4, *INCEPTION_SHAPE), 6)
    walker = oracle_walker.Walker(messages(INCEPTION), weights, INCEPTION_INDICES)
    walker.forward(batch)
    keep = {value for layer in net.layers for value in layer.outputs}
    values = net.forward(batch, keep=keep, workspace=WORKSPACE)
    for layer in net.layers:
        if layer.type != "Split":
            expected = walker.values[walker.writes[layer.name][0]]
            assert_close(values[layer.outputs[0]], expected, 2e-6)


def test_any_batch_size_runs(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    batch = random_blob((3, *INCEPTION_SHAPE), 6)
    together = net.forward(batch, keep=set(), workspace=WORKSPACE)[net.output_value]
    alone = [
        net.forward(batch[i : i + 1], keep=set(), workspace=WORKSPACE)[net.output_value] for i in range(3)
    ]
    assert net.batch_size == 2
    assert_close(together, np.concatenate(alone), 1e-6)


def test_shape_of_every_value_is_that_of_its_blob(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    keep = set(range(len(net.value_names)))
    values = net.forward(random_blob((2, *INCEPTION_SHAPE), 1), keep=keep, workspace=WORKSPACE)
    assert {value: net.shape_of(value) for value in keep} == {v: blob.shape[1:] for v, blob in values.items()}


def test_stored_value_is_the_one_after_all_in_place_layers(tmp_path: Path) -> None:
    text = DATA + relu("a", "data", "a") + relu("b", "a", "a") + relu("c", "a", "a") + relu("d", "a", "d")
    net = build(tmp_path, text)
    first, second, third, other = (layer.outputs[0] for layer in net.layers)
    assert net.stored_value(first) == third
    assert net.stored_value(second) == third
    assert net.stored_value(third) == third
    assert net.stored_value(other) == other


def test_the_output_is_the_blob_nobody_reads(tmp_path: Path) -> None:
    net = build(tmp_path, DATA + relu("a", "data", "a") + relu("b", "a", "b") + relu("c", "b", "b"))
    assert net.output_value == net.layers[2].outputs[0]


def test_a_softmax_is_the_output_among_several_blobs_nobody_reads(tmp_path: Path) -> None:
    softmax = 'layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }\n'
    net = build(tmp_path, DATA + softmax + relu("a", "data", "a"))
    assert net.value_names[net.output_value] == "prob"


def test_of_several_outputs_the_one_that_is_ranked_is_told(tmp_path: Path) -> None:
    net = build(tmp_path, DATA + relu("b", "data", "b") + relu("a", "data", "a"))
    assert head_notices(net, net.output_value) == (
        f"{tmp_path}/deploy.prototxt: has 2 heads; classes are those of 'a', not of 'b'; head (--head) "
        "chooses another",
    )
    assert head_notices(build(tmp_path, DATA + relu("a", "data", "a")), 1) == ()


# --- What a graph tells about its values ----------------------------------------------------------------


def over(name: str, kind: str, bottom: str, parameters: str = "") -> str:
    """A layer that writes a blob of its own name."""
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" {parameters} }}\n'


#: Layers over the image, which has numbers of either sign, and over a ReLU; whether each is nonnegative.
SIGNS = {
    "Convolution": ("convolution_param { num_output: 4 kernel_size: 1 }", False, False),
    "InnerProduct": ("inner_product_param { num_output: 4 }", False, False),
    "ReLU": ("", True, True),
    "Sigmoid": ("", True, True),
    "TanH": ("", False, False),
    "AbsVal": ("", True, True),
    "Dropout": ("", False, True),
    "Softmax": ("", True, True),
    "Pooling": ("pooling_param { pool: MAX kernel_size: 2 }", False, True),
    "LRN": ("lrn_param { local_size: 3 }", False, True),
    "Flatten": ("", False, True),
    "Concat": ('bottom: "data"', False, False),
    "Split": ("", False, True),
}
VARIANTS = {
    "leaky ReLU": ("ReLU", "relu_param { negative_slope: 0.1 }", False, True),
    "ReLU that turns signs": ("ReLU", "relu_param { negative_slope: -0.5 }", False, False),
    "average pooling": ("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", False, True),
    "LRN within channels": (
        "LRN", "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }", False, True
    ),
    "Concat of nonnegative blobs": ("Concat", 'bottom: "sure"', False, True),
}  # fmt: skip
ALL_SIGNS = {kind: (kind, *rest) for kind, rest in SIGNS.items()} | VARIANTS


@pytest.mark.parametrize(
    ("kind", "parameters", "of_any", "of_nonnegative"), ALL_SIGNS.values(), ids=ALL_SIGNS
)
def test_values_without_negative_elements_are_known(
    kind: str, parameters: str, of_any: bool, of_nonnegative: bool, tmp_path: Path
) -> None:
    text = DATA + relu("sure", "data", "sure") + over("a", kind, "data", parameters)
    net = build(tmp_path, text + over("b", kind, "sure", parameters))
    names = {net.value_names[value] for value in net.nonnegative_values}
    assert ("a" in names) == of_any
    assert ("b" in names) == of_nonnegative
    assert net.input_value not in net.nonnegative_values
    values = net.forward(
        random_blob((3, 3, 5, 4), 1), keep=set(range(len(net.value_names))), workspace=WORKSPACE
    )
    for value in net.nonnegative_values:
        assert values[value].min() >= 0


def test_nonnegative_values_of_a_whole_net_have_no_negative_elements(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION, seed=5)
    keep = set(range(len(net.value_names)))
    values = net.forward(random_blob((4, *INCEPTION_SHAPE), 6), keep=keep, workspace=WORKSPACE)
    names = {net.value_names[value].split("_split")[0] for value in net.nonnegative_values}
    assert {"pool1", "norm1", "a", "b", "b_reduce", "c_pool", "joined", "pool2", "prob"} <= names
    for value in keep:
        assert value not in net.nonnegative_values or values[value].min() >= 0
    before_relu = net.layers[INCEPTION_INDICES["conv1"]].outputs[0]
    assert before_relu not in net.nonnegative_values


#: A gate by its own nature, by way of layers that keep one, and none; products of them.
GATES = (
    DATA
    + over("gate", "Sigmoid", "data")
    + over("moved", "Flatten", "gate", "flatten_param { end_axis: 1 }")
    + over("scaled", "Power", "data", "power_param { scale: 2 }")
    + over("both", "Eltwise", "gate", 'bottom: "moved" eltwise_param { operation: PROD }')
    + over("one", "Eltwise", "scaled", 'bottom: "both" eltwise_param { operation: PROD }')
    + over("none", "Eltwise", "one", 'bottom: "data" eltwise_param { operation: PROD }')
    + over("sum", "Eltwise", "gate", 'bottom: "none"')
    + 'layer { name: "fixed" type: "DummyData" top: "fixed" dummy_data_param { shape { dim: 2 dim: 3 } } }'
    + over("weighed", "Scale", "both", 'bottom: "fixed" scale_param { axis: 0 }')
    + over("together", "Eltwise", "weighed", 'bottom: "sum" eltwise_param { operation: PROD }')
)


def test_gates_of_a_net_are_known(tmp_path: Path) -> None:
    """A constant is one beside other gates, too, which then are what it gates."""
    net = build(tmp_path, GATES)
    found = {layer.name: net.gates_of(layer) for layer in net.layers if len(layer.inputs) > 1}
    assert found == {
        "both": (True, True),
        "one": (False, True),
        "none": (False, False),
        "sum": (True, False),
        "weighed": (False, True),
        "together": (True, False),
    }
    assert net.input_value not in net.gate_values
    assert net.gate_values >= net.fixed_values != frozenset()


def test_the_gates_of_a_net_reach_the_rules_of_its_products(tmp_path: Path) -> None:
    net = build(
        tmp_path, GATES + over("fc", "InnerProduct", "together", "inner_product_param { num_output: 5 }")
    )
    plan = resolve_plan(net, 0, RuleParameters(0.1, 1.0, -1, REFERENCE), "fc", 0)
    products = [step for step in plan.steps if isinstance(step.layer, Combination)]
    assert {step.layer.name for step in products} >= {"both", "one", "none", "weighed", "together"}
    for step in products:
        assert step.prepared == step.conditions.gates == net.gates_of(step.layer)


#: Max pooling compares what relu2, conv2, norm and conv1 give it; what conv3 and fc give comes later.
COMPARED = (
    DATA
    + over("conv1", "Convolution", "data", "convolution_param { num_output: 40 kernel_size: 3 pad: 1 }")
    + over("norm", "LRN", "conv1")
    + over("conv2", "Convolution", "norm", "convolution_param { num_output: 36 kernel_size: 3 pad: 1 }")
    + relu("relu2", "conv2", "conv2")
    + over("side", "Convolution", "norm", "convolution_param { num_output: 36 kernel_size: 3 pad: 1 }")
    + over("pool", "Pooling", "conv2", "pooling_param { pool: MAX kernel_size: 2 }")
    + over("conv3", "Convolution", "pool", "convolution_param { num_output: 34 kernel_size: 3 pad: 1 }")
    + over("mean", "Pooling", "conv3", "pooling_param { pool: AVE kernel_size: 2 }")
    + over("fc", "InnerProduct", "mean", "inner_product_param { num_output: 6 }")
)


def convolutions(net: Net) -> dict[str, Convolution]:
    return {layer.name: layer for layer in net.layers if isinstance(layer, Convolution)}


def test_what_max_pooling_compares_is_known(tmp_path: Path) -> None:
    net = build(tmp_path, COMPARED)
    compared = {name: net.is_compared(layer) for name, layer in convolutions(net).items()}
    assert compared == {"conv1": True, "conv2": True, "side": False, "conv3": False}


@pytest.mark.parametrize(
    ("method", "chosen"),
    [
        ("auto", {"conv2", "side", "conv3"}),
        ("direct", set()),
        ("winograd", {"conv1", "conv2", "side", "conv3"}),
    ],
)
def test_the_method_of_convolution_is_one_of_each_map(method: str, chosen: set[str], tmp_path: Path) -> None:
    """The automatic choice is Winograd's method where there are many channels: not for conv1."""
    maps = {name: layer.own_map for name, layer in convolutions(build(tmp_path, COMPARED)).items()}
    found = {name: one for name, one in maps.items() if isinstance(one, ConvolutionMap)}
    assert set(found) == {"conv1", "conv2", "side", "conv3"}
    assert {name for name, one in found.items() if one.forward_product(method).uses_winograd} == chosen
    # How so few channels as those of the image are handed back is left open.
    backwards = {name for name, one in found.items() if one.adjoint_product(method).uses_winograd}
    assert backwards - {"conv1"} == chosen - {"conv1"}


@pytest.mark.parametrize("method", ["auto", "direct", "winograd"])
def test_ties_of_max_pooling_stay_ties(method: str, tmp_path: Path) -> None:
    """Equal rows, equal columns, flat images, and images with nothing equal."""
    text = COMPARED.replace("dim: 5 dim: 4", "dim: 23 dim: 19")
    net = build(tmp_path, text, seed=3)
    (compared,) = next(layer for layer in net.layers if layer.name == "pool").inputs
    batch = random_blob((4, 3, 23, 19), 1)
    batch[0, :, 5:] = batch[0, :, 5:6]
    batch[1, :, :, :14] = batch[1, :, :, 14:15]
    batch[2] = batch[2, :, :1, :1]
    found, wanted = (
        net.forward(batch, keep={compared}, workspace=workspace)[compared]
        for workspace in (Workspace(convolution=method), DIRECTLY)
    )
    ties = 0
    for item in range(4):
        lines, exact_lines = (
            blob[item].reshape(blob.shape[1], -1).T.round(30).tolist() for blob in (found, wanted)
        )
        groups: dict[tuple[float, ...], set[tuple[float, ...]]] = {}
        for line, exact_line in zip(lines, exact_lines, strict=True):
            groups.setdefault(tuple(exact_line), set()).add(tuple(line))
        assert all(len(group) == 1 for group in groups.values())
        ties += len(lines) - len(groups)
    assert ties > 500
    assert_close(found, wanted, 1e-5)


def test_pixels_that_follow_from_different_windows_are_left_different(tmp_path: Path) -> None:
    """Above two branches of the same depth, whose pixels follow from the same ones of the image."""
    text = (
        DATA
        + over("a", "Convolution", "data", "convolution_param { num_output: 4 kernel_size: 1 }")
        + over("b", "Convolution", "data", "convolution_param { num_output: 5 kernel_size: 1 }")
        + over("joined", "Concat", "a", 'bottom: "b"')
        + over("conv", "Convolution", "joined", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 }")
        + over("pool", "Pooling", "conv", "pooling_param { pool: MAX kernel_size: 2 }")
    )
    net, batch = build(tmp_path, text, seed=3), random_blob((3, 3, 5, 4), 1)
    results = [
        net.forward(batch, set(), workspace)[net.output_value] for workspace in (BY_WINOGRAD, DIRECTLY)
    ]
    assert_close(results[0], results[1], 1e-5)


def test_substitutes_stand_in_for_the_forward_pass_of_their_layers(tmp_path: Path) -> None:
    net = build(tmp_path, DATA + relu("a", "data", "a") + relu("b", "a", "b"))
    batch = random_blob((2, 3, 5, 4), 1)
    seen = []

    def instead(inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        seen.append((len(inputs), workspace))
        return (inputs[0] - 1,)

    values = net.forward(batch, keep=set(), workspace=WORKSPACE, substitutes={0: instead})
    assert seen == [(1, WORKSPACE)]
    assert values[net.output_value].tolist() == np.maximum(batch - 1, 0).tolist()


# --- Phases, levels, stages ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "takes_part"),
    [
        ("", True),
        ("include { phase: TEST }", True),
        ("include { phase: TRAIN }", False),
        ("exclude { phase: TEST }", False),
        ("exclude { phase: TRAIN }", True),
        ("include { phase: TRAIN } include { phase: TEST }", True),
        ("exclude { phase: TRAIN } exclude { phase: TEST }", False),
        ("include { min_level: 2 }", True),
        ("include { min_level: 3 }", False),
        ("include { max_level: 2 }", True),
        ("include { max_level: 1 }", False),
        ("exclude { min_level: 1 max_level: 3 }", False),
        ('include { stage: "deploy" }', True),
        ('include { stage: "deploy" stage: "fast" }', True),
        ('include { stage: "deploy" stage: "other" }', False),
        ('include { stage: "other" } include { stage: "fast" }', True),
        ('include { not_stage: "other" }', True),
        ('include { not_stage: "fast" }', False),
        ('exclude { stage: "fast" }', False),
        ('include { phase: TEST min_level: 3 stage: "fast" }', False),
    ],
)
def test_include_and_exclude_rules(rules: str, takes_part: bool, tmp_path: Path) -> None:
    state = 'state { phase: TRAIN level: 2 stage: "deploy" stage: "fast" }\n'
    net = build(tmp_path, state + DATA + relu("a", "data", "a") + relu("b", "a", "a", rules))
    assert names(net) == (["a", "b"] if takes_part else ["a"])


def test_layers_left_out_are_not_counted(tmp_path: Path) -> None:
    training = relu("b", "a", "b", "include { phase: TRAIN }")
    net = build(tmp_path, DATA + relu("a", "data", "a") + training + relu("c", "a", "c"))
    assert [(layer.index, layer.name) for layer in net.layers] == [(0, "a"), (1, "c")]


def test_include_together_with_exclude_is_an_error(tmp_path: Path) -> None:
    both = relu("b", "a", "b", "include { phase: TEST } exclude { phase: TRAIN }")
    expect_error(tmp_path, DATA + relu("a", "data", "a") + both, "'b' has both include and exclude rules")


def test_a_net_without_layers_at_test_time_is_an_error(tmp_path: Path) -> None:
    text = DATA + relu("a", "data", "a", "include { phase: TRAIN }")
    expect_error(tmp_path, text, "none of its layers is used at test time")


# --- Faults in the graph --------------------------------------------------------------------------------


def test_a_dangling_bottom_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    text = DATA + convolution("conv1", "data", "conv1") + relu("relu1", "conv_1", "relu1")
    expect_error(tmp_path, text, r"'relu1' \(ReLU\) reads the blob 'conv_1'.*; did you mean 'conv1'\?")


def test_a_bottom_that_is_written_only_later_is_an_error(tmp_path: Path) -> None:
    expect_error(tmp_path, DATA + relu("a", "b", "a") + relu("b", "data", "b"), "reads the blob 'b'")


def test_a_blob_written_twice_is_an_error(tmp_path: Path) -> None:
    text = DATA + relu("a", "data", "x") + relu("b", "data", "x")
    expect_error(tmp_path, text, r"'b' \(ReLU\) writes the blob 'x' a second time")


def test_writing_over_the_input_blob_is_an_error_unless_in_place(tmp_path: Path) -> None:
    expect_error(tmp_path, DATA + relu("a", "data", "x") + relu("b", "x", "data"), "'data' a second time")


def test_two_inputs_are_an_error(tmp_path: Path) -> None:
    text = 'input: "data" input: "more" ' + 2 * "input_shape { dim: 2 dim: 3 dim: 5 dim: 4 } "
    layers = relu("a", "data", "a") + relu("b", "more", "b")
    expect_error(tmp_path, text + layers, "one input blob, but declares 'data', 'more'")


def test_an_input_layer_without_shape_is_an_error_that_shows_how_to_write_it(tmp_path: Path) -> None:
    text = 'layer { name: "data" type: "Input" top: "data" }\n' + relu("a", "data", "a")
    message = "write input_param { shape { dim: 1 dim: 3 dim: H dim: W } }"
    expect_error(tmp_path, text, re.escape(message))


@pytest.mark.parametrize(
    "shape", ["dim: 2", "dim: 2 dim: 0 dim: 4", "dim: -1 dim: 3", "dim: 1 dim: 9999999999"]
)
def test_an_impossible_input_shape_is_an_error(shape: str, tmp_path: Path) -> None:
    text = f'input: "data" input_shape {{ {shape} }}\n' + relu("a", "data", "a")
    expect_error(tmp_path, text, "input 'data' has the impossible s(hape|ize) ")


# --- Weights ----------------------------------------------------------------------------------------------

WEIGHTED = (
    DATA
    + convolution("conv", "data", "conv", outputs=7)
    + 'layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" '
    + "inner_product_param { num_output: 6 } }\n"
)


def weighted_spec(folder: Path) -> NetSpec:
    return parse(folder, WEIGHTED)


def test_weight_shapes_are_those_of_caffe(tmp_path: Path) -> None:
    assert weight_shapes(deploy(weighted_spec(tmp_path))) == {
        "conv": ((7, 3, 3, 2), (7,)),
        "fc": ((6, 7 * 3 * 3), (6,)),
    }


def test_weights_of_a_grouped_convolution_see_the_channels_of_one_group(tmp_path: Path) -> None:
    assert weight_shapes(deployed(tmp_path, INCEPTION))["b"] == ((6, 2, 3, 3), (6,))


@pytest.mark.parametrize("v1", [False, True], ids=["layer", "layers"])
@pytest.mark.parametrize("legacy", [False, True], ids=["shape", "num channels height width"])
def test_weights_arrive_whatever_style_the_caffemodel_has(legacy: bool, v1: bool, tmp_path: Path) -> None:
    spec = weighted_spec(tmp_path)
    weights = random_weights(spec, 3)
    path = write_caffemodel(tmp_path / "net.caffemodel", weights, legacy_shapes=legacy, v1=v1)
    net = build_net(deploy(spec), scan_caffemodel(path))
    for layer in net.layers:
        assert [blob.shape for blob in layer.weights] == [blob.shape for blob in weights[layer.name]]
        for loaded, stored in zip(layer.weights, weights[layer.name], strict=True):
            assert loaded.tolist() == stored.tolist()


def test_missing_weights_are_an_error_with_a_suggestion(tmp_path: Path) -> None:
    weights = random_weights(weighted_spec(tmp_path), 3)
    weights["conv_1"] = weights.pop("conv")
    with pytest.raises(
        ModelError, match=r"layer 0 'conv' \(Convolution\).*no weights.*did you mean 'conv_1'\?"
    ):
        build(tmp_path, WEIGHTED, weights)


def test_of_many_layers_without_weights_five_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DATA.replace("dim: 5 dim: 4", "") + "".join(
        f'layer {{ name: "fc_of_a_net_{i}" type: "InnerProduct" bottom: "data" top: "fc{i}" '
        "inner_product_param { num_output: 1 } }\n"
        for i in range(300)
    )
    weights = {f"another_fc_of_a_net_{i}": [random_blob((1, 1), 1)] for i in range(300)}
    searches = []

    def search(name: str, _: object) -> str:
        searches.append(name)
        return ""

    monkeypatch.setattr("caffe_lrp.net.build.did_you_mean", search)
    with pytest.raises(ModelError) as caught:
        build(tmp_path, text, weights)
    assert len(searches) == 5  # each is slow where there are many names
    lines = str(caught.value).split("\n")
    assert [line.count("has no weights for it") for line in lines] == [1, 1, 1, 1, 1, 0, 0]
    assert lines[5] == "… and 295 more"


def test_five_layers_without_weights_are_all_named(tmp_path: Path) -> None:
    text = DATA + "".join(convolution(f"conv{i}", "data", f"conv{i}") for i in range(5))
    with pytest.raises(ModelError) as caught:
        build(tmp_path, text, {"other": [random_blob((1, 1), 1)]})
    assert str(caught.value).count("has no weights for it") == 5
    assert "more" not in str(caught.value)


def test_wrong_weight_shapes_are_an_error_that_shows_both(tmp_path: Path) -> None:
    weights = random_weights(weighted_spec(tmp_path), 3)
    weights["fc"][0] = random_blob((6, 62), 1)
    with pytest.raises(ModelError, match=r"layer 1 'fc' .*: needs .*6×63 and 6.*has 6×62 and 6"):
        build(tmp_path, WEIGHTED, weights)


def test_a_transposed_kernel_is_an_error(tmp_path: Path) -> None:
    weights = random_weights(weighted_spec(tmp_path), 3)
    weights["conv"][0] = random_blob((7, 3, 2, 3), 1)
    with pytest.raises(ModelError, match="needs weights of shapes 7×3×3×2 and 7"):
        build(tmp_path, WEIGHTED, weights)


def test_a_missing_bias_is_an_error(tmp_path: Path) -> None:
    weights = random_weights(weighted_spec(tmp_path), 3)
    weights["fc"].pop()
    with pytest.raises(ModelError, match="needs weights of shapes 6×63 and 6, but the caffemodel has 6×63"):
        build(tmp_path, WEIGHTED, weights)


def test_weights_of_layers_the_net_does_not_have_are_ignored(tmp_path: Path) -> None:
    weights = random_weights(weighted_spec(tmp_path), 3)
    weights["loss"] = [random_blob((4, 5), 1)]
    assert names(build(tmp_path, WEIGHTED, weights)) == ["conv", "fc"]


# --- V1 -----------------------------------------------------------------------------------------------------

V1 = """
input: "data" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride: 2 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "only_in_training" type: TANH bottom: "conv" top: "conv" include: { phase: TRAIN } }
layers { name: "norm" type: LRN bottom: "conv" top: "norm" lrn_param { local_size: 3 alpha: 0.5 } }
layers { name: "pool" type: POOLING bottom: "norm" top: "pool" pooling_param { pool: AVE kernel_size: 2 } }
layers { name: "other" type: POOLING bottom: "norm" top: "other" pooling_param { kernel_size: 2 } }
layers { name: "joined" type: CONCAT bottom: "pool" bottom: "other" top: "joined"
  concat_param { concat_dim: 1 } }
layers { name: "drop" type: DROPOUT bottom: "joined" top: "joined" dropout_param { dropout_ratio: 0.3 } }
layers { name: "flat" type: FLATTEN bottom: "joined" top: "flat" }
layers { name: "fc" type: INNER_PRODUCT bottom: "flat" top: "fc" inner_product_param { num_output: 5 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""


def test_v1_layers_are_upgraded_with_their_parameters(tmp_path: Path) -> None:
    net = build(tmp_path, V1)
    assert [(layer.name, layer.type) for layer in net.layers] == [
        ("conv", "Convolution"),
        ("relu", "ReLU"),
        ("norm", "LRN"),
        ("norm_norm_0_split", "Split"),
        ("pool", "Pooling"),
        ("other", "Pooling"),
        ("joined", "Concat"),
        ("drop", "Dropout"),
        ("flat", "Flatten"),
        ("fc", "InnerProduct"),
        ("prob", "Softmax"),
    ]
    assert net.layers[0].weight_shapes == ((4, 3, 3, 2), (4,))
    assert [layer.output_shapes[0] for layer in net.layers[-6:]] == [
        (4, 3, 3),
        (8, 3, 3),
        (8, 3, 3),
        (72,),
        (5,),
        (5,),
    ]


def test_a_v1_net_computes_what_its_modern_twin_does(tmp_path: Path) -> None:
    kinds = {
        "CONVOLUTION": "Convolution",
        "RELU": "ReLU",
        "TANH": "TanH",
        "POOLING": "Pooling",
        "CONCAT": "Concat",
        "DROPOUT": "Dropout",
        "FLATTEN": "Flatten",
        "INNER_PRODUCT": "InnerProduct",
        "SOFTMAX": "Softmax",
    }
    modern = re.sub(r"blobs_lr: \d", "", V1.replace("layers {", "layer {"))
    modern = re.sub(r"type: (\w+)", lambda match: f'type: "{kinds.get(match[1], match[1])}"', modern)
    batch = random_blob((2, 3, 9, 8), 1)
    nets = [build(tmp_path, text, seed=4) for text in (V1, modern)]
    old, new = (net.forward(batch, keep=set(), workspace=WORKSPACE)[net.output_value] for net in nets)
    assert old.tolist() == new.tolist()


def test_blobs_that_nobody_reads_are_freed_too(tmp_path: Path) -> None:
    text = 'input: "data" input_shape { dim: 1 dim: 3 dim: 4 dim: 5 } ' + "".join(
        f'layer {{ name: "{name}" type: "{kind}" bottom: "data" top: "{name}" }} '
        for name, kind in (("aux", "ReLU"), ("prob", "Softmax"))
    )
    net = build(tmp_path, text)
    assert set(net.forward(random_blob((2, 3, 4, 5), 1), keep=set(), workspace=WORKSPACE)) == {
        net.output_value
    }


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_an_error(value: float, tmp_path: Path) -> None:
    weights = random_weights(weighted_spec(tmp_path), 3)
    weights["fc"][0][2, 3] = value
    with pytest.raises(ModelError, match=r"layer 1 'fc' \(InnerProduct\).*NaN or infinite"):
        build(tmp_path, WEIGHTED, weights)


def test_two_layers_with_weights_cannot_share_a_name(tmp_path: Path) -> None:
    body = "inner_product_param { num_output: 3 }"
    text = 'input: "data" input_shape { dim: 1 dim: 3 }' + "".join(
        f'layer {{ name: "fc" type: "InnerProduct" bottom: "{bottom}" top: "{top}" {body} }}'
        for bottom, top in (("data", "a"), ("a", "b"))
    )
    with pytest.raises(ModelError, match="layers 0 and 1 are both named 'fc'"):
        weight_shapes(deployed(tmp_path, text))


def test_a_layer_that_changes_the_shape_cannot_work_in_place(tmp_path: Path) -> None:
    text = (
        'input: "data" input_shape { dim: 1 dim: 3 } layer { name: "fc" type: "InnerProduct" bottom: "data" '
        'top: "data" inner_product_param { num_output: 4 } }'
    )
    with pytest.raises(ModelError, match=r"layer 0 'fc' .*cannot work in place.*; give its top another name"):
        weight_shapes(deployed(tmp_path, text))


def test_long_chains_of_layers_in_place_are_followed_to_the_end(tmp_path: Path) -> None:
    relu = 'layer { name: "r" type: "ReLU" bottom: "data" top: "data" }'
    net = build(tmp_path, f'input: "data" input_shape {{ dim: 1 dim: 3 }} {relu * 1500}')
    assert net.stored_value(net.input_value) == 1500


#: Layers between the image and a 3×3 convolution that max pooling compares.
BETWEEN = {
    "zeros become something else": """
layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }
layer { name: "m" type: "Sigmoid" bottom: "relu" top: "m" }""",
    "zeros become shares": """
layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }
layer { name: "m" type: "Softmax" bottom: "relu" top: "m" }""",
    "pixels follow from their whole column": """
layer { name: "m" type: "Softmax" bottom: "data" top: "m" softmax_param { axis: 2 } }""",
    "zeros are joined": """
layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }
layer { name: "tanh" type: "TanH" bottom: "relu" top: "tanh" }
layer { name: "m" type: "Concat" bottom: "relu" bottom: "tanh" top: "m" }""",
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_only_equal_pixels_are_made_equal_and_all_behind_zeros_are(between: str, tmp_path: Path) -> None:
    text = f"""
input: "data" input_shape {{ dim: 2 dim: 16 dim: 11 dim: 9 }} {between}
layer {{ name: "conv" type: "Convolution" bottom: "m" top: "conv"
  convolution_param {{ num_output: 34 kernel_size: 3 pad: 1 }} }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param {{ kernel_size: 1 }} }}"""
    batch = random_blob((2, 16, 11, 9), 4)
    batch[0, :, 3:] = -np.abs(batch[0, :, 3:])
    batch[1, :, 0, 4:] = 7
    net = build(tmp_path, text, seed=5)
    found, wanted = (
        net.forward(batch, frozenset(), workspace)[net.output_value] for workspace in (BY_WINOGRAD, DIRECTLY)
    )
    assert_close(found, wanted, 1e-5)
    for blob, exact in zip(found, wanted, strict=True):
        lines, exact_lines = (one.reshape(17, -1).T for one in (blob, exact))
        assert len(np.unique(lines, axis=0)) <= len(np.unique(exact_lines, axis=0))
