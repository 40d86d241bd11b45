"""Nets for training read as nets for images, and what data layers tell about images."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import WORKSPACE, build, deployed, parse, random_blob, random_weights, write_caffemodel
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import BlobProto
from caffe_lrp.formats.caffe.reader import scan_caffemodel
from caffe_lrp.formats.spec import Transform
from caffe_lrp.layers import REGISTRY, unsupported_type
from caffe_lrp.net.build import Graph, build_graph, build_net, build_outline
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.net.deploy.remains import what_remains

ROOT = Path(__file__).parents[2]

DATA = 'layer {{ name: "data" type: "Data" top: "data" top: "label" {} transform_param {{ {} }} }}\n'
TRAIN_DATA = DATA.format("include { phase: TRAIN }", "mirror: true crop_size: 9")
TEST_DATA = DATA.format("include { phase: TEST }", "crop_size: 11")
DEPLOY = 'input: "data" input_shape { dim: 1 dim: 3 dim: 11 dim: 11 }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }\n'
ACCURACY = 'layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" }\n'


def layer(name: str, kind: str, bottoms: str, tops: str | None = None, more: str = "") -> str:
    """A layer that reads and writes blobs named between blanks."""
    reads = "".join(f'bottom: "{blob}" ' for blob in bottoms.split())
    writes = "".join(f'top: "{blob}" ' for blob in (name if tops is None else tops).split())
    return f'layer {{ name: "{name}" type: "{kind}" {reads}{writes}{more} }}\n'


def scores(name: str, bottom: str, count: int = 5) -> str:
    return layer(name, "InnerProduct", bottom, more=f"inner_product_param {{ num_output: {count} }}")


def convolution(name: str, bottom: str) -> str:
    return layer(name, "Convolution", bottom, more="convolution_param { num_output: 4 kernel_size: 3 }")


BODY = convolution("conv", "data") + layer("relu", "ReLU", "conv", "conv") + scores("fc", "conv")


def graph_of(folder: Path, text: str) -> Graph:
    return build_graph(deployed(folder, text))


def labels(graph: Graph) -> list[str]:
    return [f"{layer.index} {layer.name} {layer.type}" for layer in graph.layers]


def notices(folder: Path, text: str) -> list[str]:
    """What is said about the net, without the name of the file in front."""
    prefix = f"{folder / 'deploy.prototxt'}: "
    found = graph_of(folder, text).notices
    assert all(notice.startswith(prefix) for notice in found)
    return [notice.removeprefix(prefix) for notice in found]


# --- The usual net for training -----------------------------------------------------------------------------


def test_a_net_for_training_becomes_one_for_images(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, TRAIN_DATA + TEST_DATA + BODY + LOSS + ACCURACY)
    assert labels(graph) == ["0 conv Convolution", "1 relu ReLU", "2 fc InnerProduct", "3 loss Softmax"]
    net = deployed(tmp_path, TRAIN_DATA + TEST_DATA + BODY + LOSS + ACCURACY)
    assert [(declared.name, declared.shape) for declared in net.inputs] == [("data", (1, 3, 11, 11))]
    assert graph.value_names == ("data", "conv", "conv", "fc", "loss")


def test_what_was_done_is_told(tmp_path: Path) -> None:
    assert notices(tmp_path, TRAIN_DATA + TEST_DATA + BODY + LOSS + ACCURACY) == [
        "data layer 'data' (Data) became an input 'data' of 3×11×11; its 3 channel(s) are a guess: neither "
        "prototxt nor weights say",
        "loss layer 'loss' (SoftmaxWithLoss) became a layer of type Softmax",
        "left out, because they are for training or measure results: 'accuracy' (Accuracy)",
    ]


def test_notices_reach_the_net(tmp_path: Path) -> None:
    text = TEST_DATA + BODY.replace("num_output: 4", "num_output: 4 fancy: 3") + LOSS
    net = build(tmp_path, text)
    assert len(net.notices) == 3
    field = "field 'fancy' in 'convolution_param' of 'conv' (Convolution)"
    assert net.notices[-1].startswith(f"{tmp_path / 'deploy.prototxt'}: line 2: {field} is unknown and is")


def test_a_net_for_images_stays_as_it_is(tmp_path: Path) -> None:
    by_hand = 'input: "data" input_shape { dim: 1 dim: 3 dim: 11 dim: 11 }\n'
    unread = layer("aside", "ReLU", "conv")
    text = by_hand + BODY + unread + layer("prob", "Softmax", "fc")
    assert [line.split()[1] for line in labels(graph_of(tmp_path, text))] == [
        "conv", "relu", "conv_relu_0_split", "fc", "aside", "prob"
    ]  # fmt: skip
    assert notices(tmp_path, text) == []


def for_training(by_hand: str) -> str:
    """A deploy prototxt of configs/ as it may have looked in training."""
    text, inputs = re.subn(
        r"input: .*\n(input_(dim|shape).*\n)+", TRAIN_DATA + DATA.format("", "crop_size: 32"), by_hand
    )
    text, probabilities = re.subn(r'(?s)layers? \{[^{]*?name: "prob"\s[^{]*?bottom: "(.*?)".*', "", text)
    scores = re.findall('bottom: "(.*?)"', by_hand)[-1]
    assert (inputs, probabilities) == (1, 1)
    loss = LOSS.replace("fc", scores).replace("layer {", "layer { include { phase: TEST } ")
    return text + loss + ACCURACY.replace("fc", scores)


@pytest.mark.parametrize("name", ["caffenet", "googlenet", "vgg16"])
def test_published_nets_are_numbered_as_in_their_deploy_files(tmp_path: Path, name: str) -> None:
    by_hand = (ROOT / "configs" / name / "deploy.prototxt").read_text()
    expected = graph_of(tmp_path, by_hand)
    (given,) = deployed(tmp_path, by_hand).inputs
    (side,) = set(given.shape[2:])
    trained = for_training(by_hand).replace("crop_size: 32", f"crop_size: {side}")
    graph = graph_of(tmp_path, trained)
    assert [(layer.name, layer.type) for layer in graph.layers[:-1]] == [
        (layer.name, layer.type) for layer in expected.layers[:-1]
    ]
    assert [layer.output_shapes for layer in graph.layers] == [
        layer.output_shapes for layer in expected.layers
    ]
    assert [layer.inputs for layer in graph.layers] == [layer.inputs for layer in expected.layers]
    assert graph.layers[-1].type == "Softmax"
    assert deployed(tmp_path, trained).inputs[0].shape[1:] == given.shape[1:]


def test_the_net_computes_what_its_deploy_net_does(tmp_path: Path) -> None:
    by_hand = 'input: "data" input_shape { dim: 1 dim: 3 dim: 11 dim: 11 }\n'
    by_hand += BODY + layer("prob", "Softmax", "fc")
    weights = random_weights(parse(tmp_path, by_hand), 3)
    image = random_blob((2, 3, 11, 11), 4)
    outputs = []
    for text in (by_hand, TRAIN_DATA + TEST_DATA + BODY + LOSS + ACCURACY):
        net = build(tmp_path, text, weights)
        outputs.append(net.forward(image, set(), WORKSPACE)[net.output_value])
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert outputs[0].shape == (2, 5)


# --- Losses and labels --------------------------------------------------------------------------------------


def test_a_loss_of_several_labels_becomes_a_sigmoid(tmp_path: Path) -> None:
    loss = layer("loss", "SigmoidCrossEntropyLoss", "fc label")
    assert labels(graph_of(tmp_path, TEST_DATA + BODY + loss))[-1] == "3 loss Sigmoid"


@pytest.mark.parametrize(
    "kind", ["EuclideanLoss", "HingeLoss", "InfogainLoss", "CenterLoss", "FocalLossOHEM"]
)
def test_other_losses_are_left_out_and_their_scores_stay(tmp_path: Path, kind: str) -> None:
    graph = graph_of(tmp_path, TEST_DATA + BODY + layer("loss", kind, "fc label"))
    assert labels(graph)[-1] == "2 fc InnerProduct"


def test_a_loss_of_probabilities_leaves_the_softmax(tmp_path: Path) -> None:
    text = TEST_DATA + BODY + layer("prob", "Softmax", "fc")
    graph = graph_of(tmp_path, text + layer("loss", "MultinomialLogisticLoss", "prob label"))
    assert labels(graph)[-1] == "3 prob Softmax"


def test_no_second_softmax_is_made(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, TEST_DATA + BODY + LOSS + layer("prob", "Softmax", "fc"))
    assert labels(graph)[2:] == ["2 fc InnerProduct", "3 prob Softmax"]


@pytest.mark.parametrize(
    ("tops", "name"),
    [("", "loss"), ("l", "l"), ("l p", "p"), ("l p q", "p"), ("fc", "loss")],
)
def test_the_softmax_writes_the_blob_of_the_probabilities(tmp_path: Path, tops: str, name: str) -> None:
    graph = graph_of(tmp_path, TEST_DATA + BODY + layer("loss", "SoftmaxWithLoss", "fc label", tops))
    assert graph.value_names[-1] == name


def test_the_name_of_the_softmax_s_blob_is_a_new_one(tmp_path: Path) -> None:
    loss = layer("conv", "SoftmaxWithLoss", "fc label", "")
    assert graph_of(tmp_path, TEST_DATA + BODY + loss).value_names[-1] == "conv_fc"


def test_the_axis_of_the_loss_stays(tmp_path: Path) -> None:
    body = convolution("conv", "data")
    loss = layer("loss", "SoftmaxWithLoss", "conv label", more="softmax_param { axis: 2 }")
    (softmax,) = graph_of(tmp_path, TEST_DATA + body + loss).layers[1:]
    assert softmax.axis == 1  # type: ignore[attr-defined]


def test_the_second_top_of_a_loss_may_be_read(tmp_path: Path) -> None:
    loss = layer("loss", "SoftmaxWithLoss", "fc label", "l p", "loss_weight: 0.1")
    other = layer("main", "EuclideanLoss", "fc label")
    graph = graph_of(tmp_path, TEST_DATA + BODY + loss + other + layer("scaled", "ReLU", "p"))
    assert labels(graph)[3:] == ["3 loss Softmax", "4 scaled ReLU"]


def test_layers_that_read_labels_go_with_them(tmp_path: Path) -> None:
    more = layer("cut", "Flatten", "label") + layer("loss", "EuclideanLoss", "fc cut")
    left = layer("unread", "ReLU", "label")
    assert len(graph_of(tmp_path, TEST_DATA + BODY + more + left).layers) == 3


def test_targets_made_from_the_image_go_as_well(tmp_path: Path) -> None:
    """An autoencoder compares its output with the image."""
    text = TEST_DATA + layer("flat", "Flatten", "data") + BODY + layer("loss", "EuclideanLoss", "fc flat")
    graph = graph_of(tmp_path, text)
    assert labels(graph) == ["0 conv Convolution", "1 relu ReLU", "2 fc InnerProduct"]


def test_sums_of_losses_go_with_them(tmp_path: Path) -> None:
    more = layer("both", "Concat", "loss loss") + layer("mean", "ReLU", "both")
    assert labels(graph_of(tmp_path, TEST_DATA + BODY + LOSS + more))[-1] == "3 loss Softmax"


def test_only_measured_scores_stay(tmp_path: Path) -> None:
    aside = scores("aside", "conv")
    graph = graph_of(tmp_path, TEST_DATA + BODY + aside + ACCURACY)
    assert [layer.name for layer in graph.layers] == ["conv", "relu", "conv_relu_0_split", "fc", "aside"]


def test_the_best_class_and_files_are_no_part_of_the_net(tmp_path: Path) -> None:
    text = TEST_DATA + BODY + layer("best", "ArgMax", "fc") + layer("after", "ReLU", "best")
    text += layer("file", "HDF5Output", "fc label", "")
    assert labels(graph_of(tmp_path, text))[-1] == "2 fc InnerProduct"


def test_what_is_silenced_is_left_out(tmp_path: Path) -> None:
    text = TEST_DATA + BODY + LOSS + scores("aside", "conv") + layer("quiet", "Silence", "aside label", "")
    assert labels(graph_of(tmp_path, text)) == [
        "0 conv Convolution", "1 relu ReLU", "2 fc InnerProduct", "3 loss Softmax"
    ]  # fmt: skip


def test_silenced_blobs_are_no_outputs_of_the_net(tmp_path: Path) -> None:
    text = DEPLOY + layer("cut", "Split", "data", "a b") + scores("fc", "b")
    loud, silent = build(tmp_path, text), build(tmp_path, text + layer("quiet", "Silence", "a", ""))
    assert [loud.value_names[value] for value in loud.outputs] == ["fc", "a"]
    assert [silent.value_names[value] for value in silent.outputs] == ["fc"]
    assert [remaining.name for remaining in silent.layers] == ["cut", "fc"]


def test_silenced_scores_of_a_loss_are_the_output(tmp_path: Path) -> None:
    text = TEST_DATA + BODY + layer("loss", "EuclideanLoss", "fc label") + layer("quiet", "Silence", "fc", "")
    net = build(tmp_path, text)
    assert net.value_names[net.output_value] == "fc"


def test_a_net_that_is_silent_altogether_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has only layers for training"):
        graph_of(tmp_path, DEPLOY + BODY + layer("quiet", "Silence", "fc", ""))


def test_a_net_whose_only_output_is_silenced_is_refused(tmp_path: Path) -> None:
    text = TEST_DATA + BODY + layer("loss", "SoftmaxWithLoss", "fc label", "loss prob")
    text += layer("quiet", "Silence", "prob", "")
    with pytest.raises(ModelError, match=r"has no output: .*; remove the Silence layer"):
        build_outline(deployed(tmp_path, text))


def test_labels_from_another_data_layer_are_no_second_input(tmp_path: Path) -> None:
    text = DATA.replace('top: "label" ', "").format("", "crop_size: 11")
    text += layer("marks", "HDF5Data", "", "label weight") + BODY
    net = deployed(tmp_path, text + layer("loss", "SoftmaxWithLoss", "fc label weight"))
    assert [declared.name for declared in net.inputs] == ["data"]


def test_a_label_among_the_inputs_of_a_deploy_net_is_left_out(tmp_path: Path) -> None:
    shapes = "input_shape { dim: 1 dim: 3 dim: 11 dim: 11 } input_shape { dim: 1 dim: 1 dim: 1 dim: 1 }\n"
    text = 'input: "data" input: "label" ' + shapes + BODY + LOSS
    assert [declared.name for declared in deployed(tmp_path, text).inputs] == ["data"]
    assert labels(graph_of(tmp_path, text))[-1] == "3 loss Softmax"
    assert "left out, because the scores do not depend on it: input 'label'" in notices(tmp_path, text)


def test_a_label_that_nothing_writes_does_not_matter(tmp_path: Path) -> None:
    text = DEPLOY + BODY + ACCURACY + LOSS
    assert labels(graph_of(tmp_path, text))[-1] == "3 loss Softmax"


def test_a_misspelt_bottom_of_a_loss_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'loss' \(Softmax\) reads the blob 'fcc', .* did you mean 'fc'\?"):
        graph_of(tmp_path, TEST_DATA + BODY + LOSS.replace('"fc"', '"fcc"'))


# --- Heads --------------------------------------------------------------------------------------------------

HEAD = scores("fc1", "conv") + layer("loss1", "SoftmaxWithLoss", "fc1 label", more="loss_weight: 0.3")
HEAD += layer("top1", "Accuracy", "fc1 label")


@pytest.mark.parametrize("weight", ["", "loss_weight: 1"])
def test_auxiliary_heads_are_left_out(tmp_path: Path, weight: str) -> None:
    main = LOSS.replace('top: "loss"', f'top: "loss" {weight}')
    text = TEST_DATA + BODY.replace(scores("fc", "conv"), "") + HEAD + scores("fc", "conv") + main + ACCURACY
    assert labels(graph_of(tmp_path, text)) == [
        "0 conv Convolution", "1 relu ReLU", "2 fc InnerProduct", "3 loss Softmax"
    ]  # fmt: skip
    assert notices(tmp_path, text)[-1] == (
        "left out, because they belong to auxiliary heads, with a lower loss_weight than the others: 'fc1' "
        "(InnerProduct), 'loss1' (SoftmaxWithLoss)"
    )


def test_heads_of_equal_weight_all_stay(tmp_path: Path) -> None:
    text = TEST_DATA + BODY + HEAD.replace("loss_weight: 0.3", "") + LOSS
    names = [layer.name for layer in graph_of(tmp_path, text).layers]
    assert names == ["conv", "relu", "conv_relu_0_split", "fc", "fc1", "loss1", "loss"]


# --- Layers of unknown types --------------------------------------------------------------------------------


def test_unknown_layers_that_scores_do_not_need_are_left_out(tmp_path: Path) -> None:
    probes = (
        layer("probe", "Python", "conv")
        + layer("after", "ReLU", "probe")
        + layer("sink", "Mystery", "fc", "")
    )
    text = DEPLOY + BODY + probes
    text += layer("prob", "Softmax", "fc")
    assert labels(graph_of(tmp_path, text)) == [
        "0 conv Convolution", "1 relu ReLU", "2 fc InnerProduct", "3 prob Softmax"
    ]  # fmt: skip
    assert notices(tmp_path, text) == [
        "left out, because the scores do not depend on them: 'probe' (Python), "
        "'after' (ReLU), 'sink' (Mystery)"
    ]


def test_losses_in_python_are_left_out(tmp_path: Path) -> None:
    loss = layer("loss", "Python", "fc label", more="loss_weight: 1 python_param { module: 'm' layer: 'L' }")
    graph = graph_of(tmp_path, TEST_DATA + BODY + loss)
    assert labels(graph)[-1] == "2 fc InnerProduct"


BLOCKED = BODY.replace("ReLU", "Mystery")
ASIDE = layer("aside", "ReLU", "data")
PROB = layer("prob", "Softmax", "fc")


@pytest.mark.parametrize(
    "text",
    [
        BLOCKED + PROB,
        BLOCKED + PROB + ASIDE,
        BLOCKED + LOSS,
        BLOCKED + ASIDE + LOSS,
        BLOCKED + ASIDE + ACCURACY,
        ASIDE + BLOCKED,
        BODY + layer("relu", "Mystery", "fc", "x"),
    ],
    ids=range(7),
)
def test_unknown_layers_on_the_way_to_the_scores_are_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        ModelError, match=r"layer \d 'relu' \(Mystery\): layer type 'Mystery' is not supported"
    ):
        graph_of(tmp_path, DEPLOY + text)


def test_of_several_ends_without_probabilities_the_last_has_the_scores(tmp_path: Path) -> None:
    assert labels(graph_of(tmp_path, DEPLOY + BLOCKED + ASIDE)) == ["0 aside ReLU"]


@pytest.mark.parametrize("kind", ["Convolutoin", "CONVOLUTION", ""])
def test_misspelt_types_are_an_error_wherever_they_stand(tmp_path: Path, kind: str) -> None:
    text = DEPLOY + BODY
    text += layer("aside", kind, "conv") + layer("prob", "Softmax", "fc")
    with pytest.raises(
        ModelError, match=rf"'aside' \({kind}\): (layer type '{kind}' is not supp|has no type)"
    ):
        graph_of(tmp_path, text)


def test_a_layer_without_tops_is_an_error(tmp_path: Path) -> None:
    text = TEST_DATA + BODY + LOSS + layer("aside", "ReLU", "conv", "")
    with pytest.raises(ModelError, match=r"'aside' \(ReLU\): has 0 top\(s\), needs 1"):
        graph_of(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("LSTM", "it is recurrent: it reads sequences, not single images; give a classifier of images"),
        ("ROIPooling", "belongs to an object detector"),
        ("DetectionOutput", "give the classifier that the detector was made from"),
        ("SpatialTransformer", "reads at positions that depend on the image"),
        ("Convolution3D", "only nets for single images"),
        ("BatchReindex", "changes the number of images in a batch"),
        ("Embed", "looks up words or other indices"),
        ("Python", "replace it by Caffe layers that compute the same"),
        ("Im2col", "as one Convolution layer"),
        ("Parameter", "a learned blob without an input"),
        ("DenseCRF", "cut the net off below it"),
        ("INNER_PRODUCT", 'in the current style it is written type: "InnerProduct"'),
    ],
)
def test_what_unsupported_types_are_for_is_said(name: str, advice: str) -> None:
    assert name not in REGISTRY
    message = unsupported_type(name)
    assert message.startswith(f"layer type '{name}' is not supported")
    assert advice in message


def test_nothing_but_training_is_an_error(tmp_path: Path) -> None:
    text = TEST_DATA + layer("mix", "Concat", "data label") + scores("fc", "mix") + LOSS
    with pytest.raises(ModelError, match="has only layers for training, or layers that depend"):
        graph_of(tmp_path, text)


#: Types of layers with the numbers of their bottoms and tops.
KINDS = {
    "ReLU": (1, 1),
    "Dropout": (1, 1),
    "Concat": (2, 1),
    "Split": (1, 2),
    "Softmax": (1, 1),
    "SoftmaxWithLoss": (2, 2),
    "EuclideanLoss": (2, 1),
    "Accuracy": (2, 1),
    "ArgMax": (1, 1),
    "Silence": (1, 0),
    "Mystery": (2, 1),
}


@st.composite
def training_nets(draw: st.DrawFn) -> str:
    """Layers that read any blobs there are, in place now and then."""
    blobs, text = ["data", "label"], TEST_DATA
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        bottom_count, top_count = KINDS[kind]
        bottoms = [draw(st.sampled_from(blobs)) for _ in range(bottom_count)]
        tops = [f"b{number}_{top}" for top in range(top_count)]
        if kind in ("ReLU", "Dropout") and draw(st.booleans()):
            tops = bottoms
        text += layer(f"n{number}", kind, " ".join(bottoms), " ".join(tops))
        blobs += [top for top in tops if top not in blobs]
    return text


@given(training_nets())
def test_what_remains_is_a_net(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    spec = parse(tmp_path_factory.mktemp("net"), text)
    try:
        net = what_remains(spec, {}, None, None)
    except ModelError as error:
        assert "has only layers for training" in str(error)
        return
    assert deploy(spec).inputs == net.inputs
    assert [declared.name for declared in net.inputs] in (["data"], [])
    assert all("label" not in remaining.bottoms for remaining in net.layers)
    names = [remaining.name for remaining in net.layers]
    assert names == [original.name for original in spec.layers if original.name in names]
    assert {remaining.type for remaining in net.layers} <= {*REGISTRY, "Mystery"}
    if all(remaining.type in REGISTRY for remaining in net.layers):
        again = what_remains(replace(spec, inputs=net.inputs, layers=net.layers), {}, None, None)
        assert (again.inputs, again.layers, again.notices) == (net.inputs, net.layers, ())


# --- Phases and stages --------------------------------------------------------------------------------------


def test_a_net_with_data_for_training_alone_takes_its_size(tmp_path: Path) -> None:
    assert deployed(tmp_path, TRAIN_DATA + BODY + LOSS).inputs[0].shape == (1, 3, 9, 9)


def test_the_phase_of_a_layer_itself_counts_for_data_layers(tmp_path: Path) -> None:
    text = TRAIN_DATA.replace("include { phase: TRAIN }", "phase: TRAIN")
    assert deployed(tmp_path, text + TEST_DATA + BODY + LOSS).inputs[0].shape == (1, 3, 11, 11)
    dropout = layer("drop", "Dropout", "fc", "fc", "phase: TRAIN")
    assert len(graph_of(tmp_path, text + BODY + dropout + LOSS).layers) == 5


def test_the_stage_deploy_is_taken_where_there_is_one(tmp_path: Path) -> None:
    text = DATA.format('include { stage: "train" }', "crop_size: 9")
    text += DATA.format('include { stage: "val" }', "crop_size: 11") + BODY
    text += LOSS.replace("bottom", 'exclude { stage: "deploy" } bottom', 1)
    text += layer("softmax", "Softmax", "fc", more='include { stage: "deploy" }')
    graph = graph_of(tmp_path, text)
    assert labels(graph)[-1] == "3 softmax Softmax"
    assert deployed(tmp_path, text).inputs[0].shape == (1, 3, 11, 11)
    assert "its layers of stage 'deploy' are used" in notices(tmp_path, text)
    graph = graph_of(tmp_path, 'state { stage: "val" }\n' + text)
    assert labels(graph)[-1] == "3 loss Softmax"


# --- What data layers tell ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ('"Data" transform_param { crop_size: 7 }', (3, 7, 7)),
        ('"Data" transform_param { crop_size: 7 force_gray: true }', (1, 7, 7)),
        ('"Data" transform_param { crop_size: 7 mean_value: 100 }', (1, 7, 7)),
        ('"Data" transform_param { crop_size: 7 mean_value: 100 force_color: true }', (3, 7, 7)),
        ('"Data" transform_param { crop_size: 7 mean_value: [1, 2, 3] }', (3, 7, 7)),
        ('"Data" transform_param { crop_size: 7 mean_value: [1, 2, 3, 4] }', (4, 7, 7)),
        ('"Data" data_param { crop_size: 7 }', (3, 7, 7)),
        ('"AnnotatedData" transform_param { resize_param { height: 7 width: 8 } }', (3, 7, 8)),
        (
            '"AnnotatedData" transform_param { resize_param { prob: 0 } '
            "resize_param { height: 7 width: 8 } }",
            (3, 7, 8),
        ),
        ('"Data" transform_param { crop_h: 7 crop_w: 8 }', (3, 7, 8)),
        ('"ImageData" image_data_param { new_height: 7 new_width: 8 }', (3, 7, 8)),
        ('"ImageData" image_data_param { new_height: 7 new_width: 8 is_color: false }', (1, 7, 8)),
        (
            '"ImageData" image_data_param { new_height: 7 new_width: 8 } transform_param { crop_size: 6 }',
            (3, 6, 6),
        ),
        ('"WindowData" window_data_param { crop_size: 7 crop_mode: "square" }', (3, 7, 7)),
        ('"MemoryData" memory_data_param { batch_size: 9 channels: 2 height: 7 width: 8 }', (2, 7, 8)),
        ('"DummyData" dummy_data_param { shape { dim: [9, 2, 7, 8] } shape { dim: 9 } }', (2, 7, 8)),
        ('"DummyData" dummy_data_param { shape { dim: [9, 2, 7, 8] } }', (2, 7, 8)),
        ('"DummyData" dummy_data_param { num: 9 channels: 2 height: 7 width: 8 num: 9 }', (2, 7, 8)),
        ('"MyImageData" transform_param { crop_size: 7 }', (3, 7, 7)),
        ("\"Python\" python_param { param_str: \"{'split': 'val', 'im_shape': [7, 8]}\" }", (3, 7, 8)),
        ("\"Python\" python_param { param_str: 'batch_size=9, crop_size=7' }", (3, 7, 7)),
        ("\"Python\" python_param { param_str: '{\"img_size\": (7, 8, 3)}' }", (3, 7, 8)),
    ],
)  # fmt: skip
def test_the_shape_of_images_is_found(tmp_path: Path, data: str, shape: tuple[int, ...]) -> None:
    text = f'layer {{ name: "d" type: {data} top: "data" top: "label" }}\n' + BODY + LOSS
    assert deployed(tmp_path, text).inputs[0].shape == (1, *shape)


@pytest.mark.parametrize(
    "data",
    [
        '"Data"',
        '"Data" transform_param { scale: 0.1 mean_file: "nowhere.binaryproto" }',
        '"ImageData" image_data_param { new_height: 7 }',
        '"HDF5Data" hdf5_data_param { source: "list.txt" }',
        '"DummyData"',
        "\"Python\" python_param { param_str: \"{'im_shapes': 7, 'my_crop_size': 9}\" }",
    ],
)
def test_without_a_shape_of_images_there_is_an_error_that_shows_what_to_write(
    tmp_path: Path, data: str
) -> None:
    text = f'layer {{ name: "d" type: {data} top: "data" top: "label" }}\n' + BODY + LOSS
    shown = 'replace the layer by: input: "data" input_shape { dim: 1 dim: 3 dim: H dim: W }'
    with pytest.raises(
        ModelError,
        match=r"data layer 'd' \(\w+\): the prototxt does not give the size of 'data'; .*--input-size",
    ) as caught:
        graph_of(tmp_path, text)
    assert str(caught.value).endswith(shown)


def test_a_data_layer_of_numbers_without_axes_is_refused_as_an_input(tmp_path: Path) -> None:
    data = 'layer { name: "d" type: "DummyData" top: "data" dummy_data_param { shape { dim: 4 } } }\n'
    with pytest.raises(ModelError, match=r"input 'data' has the impossible shape \(1,\)"):
        graph_of(tmp_path, data + BODY)


def test_several_blobs_from_data_layers_are_an_error(tmp_path: Path) -> None:
    text = layer("d", "DummyData", "", "data more", "dummy_data_param { shape { dim: [1, 3, 7, 8] } }")
    text += layer("both", "Concat", "data more") + scores("fc", "both")
    with pytest.raises(ModelError, match="exactly one input blob, but declares 'data', 'more'"):
        build_net(deployed(tmp_path, text), {})
    with pytest.raises(ModelError, match=r"\(HDF5Data\): the prototxt does not give the size of 'data'"):
        graph_of(tmp_path, text.replace("DummyData", "HDF5Data"))


@pytest.mark.parametrize("place", ["means/mean.binaryproto", "mean.binaryproto", "/gone/mean.binaryproto"])
def test_the_mean_image_tells_the_shape(tmp_path: Path, place: str) -> None:
    (tmp_path / "means").mkdir()
    blob = BlobProto(num=1, channels=2, height=7, width=8, data=[0.5] * 112)
    (tmp_path / place.replace("/gone/", "")).write_bytes(blob.SerializeToString())
    text = DATA.format("", f'mean_file: "{place}"') + BODY + LOSS
    assert deployed(tmp_path, text).inputs[0].shape == (1, 2, 7, 8)
    text = DATA.format("", f'crop_size: 5 mean_file: "{place}"') + BODY + LOSS
    assert deployed(tmp_path, text).inputs[0].shape == (1, 2, 5, 5)


@pytest.mark.parametrize("mean", ["mean_value: 128", ""])
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_weights_tell_the_number_of_channels(tmp_path: Path, channels: int, mean: str) -> None:
    group = 3 if channels == 6 else 1
    body = BODY.replace("num_output: 4", f"num_output: 9 group: {group}")
    by_hand = f'input: "data" input_shape {{ dim: 1 dim: {channels} dim: 7 dim: 7 }}\n' + body
    weights = random_weights(parse(tmp_path, by_hand), 1)
    stored = scan_caffemodel(write_caffemodel(tmp_path / "net.caffemodel", weights))
    text = DATA.format("", f"crop_size: 7 {mean}") + body + LOSS
    net = build_net(deployed(tmp_path, text, stored), stored)
    assert net.input_shape == (channels, 7, 7)


CONV = "convolution_param { num_output: 6 kernel_size: 3 }"
#: Layers that read ``data`` first and write ``low``, for an image of 5×7×9 or of as many channels as stated.
FIRST_READERS = {
    "convolution": (5, layer("c", "Convolution", "data", "low", CONV)),
    "groups": (6, layer("c", "Convolution", "data", "low", CONV.replace("{", "{ group: 3"))),
    "depthwise": (6, layer("c", "DepthwiseConvolution", "data", "low", CONV)),
    "deconvolution": (5, layer("d", "Deconvolution", "data", "low", CONV)),
    "inner product": (5, scores("low", "data")),
    "transposed inner product": (
        5,
        layer("f", "Flatten", "data")
        + layer("low", "InnerProduct", "f", more="inner_product_param { num_output: 5 transpose: true }"),
    ),
    "batch normalization": (5, layer("n", "BatchNorm", "data", "low")),
    "scale": (5, layer("s", "Scale", "data", "low")),
    "PReLU": (5, layer("p", "PReLU", "data", "low")),
    "behind others": (
        5,
        layer("r", "Power", "data")
        + layer("a", "Pooling", "r", more="pooling_param { pool: AVE kernel_size: 3 }")
        + layer("l", "LRN", "a")
        + layer("c", "Convolution", "l", "low", CONV),
    ),
}


@pytest.mark.parametrize("title", FIRST_READERS)
@pytest.mark.parametrize("data", ['"Data"', '"HDF5Data"', '"MemoryData" memory_data_param { batch_size: 2 }'])
def test_a_size_that_the_file_lacks_can_be_given(tmp_path: Path, title: str, data: str) -> None:
    channels, body = FIRST_READERS[title]
    body += scores("fc", "low")
    by_hand = f'input: "data" input_shape {{ dim: 1 dim: {channels} dim: 7 dim: 9 }}\n'
    weights = random_weights(parse(tmp_path, by_hand + body), 1)
    stored = scan_caffemodel(write_caffemodel(tmp_path / "net.caffemodel", weights))
    text = f'layer {{ name: "d" type: {data} top: "data" top: "label" transform_param {{ scale: 0.5 }} }}\n'
    net = build_net(deploy(parse(tmp_path, text + body + LOSS), stored, input_size=(7, 9)), stored)
    assert net.input_shape == (channels, 7, 9)
    assert not any("guess" in notice for notice in net.notices)


def test_channels_that_nothing_tells_are_said_to_be_a_guess(tmp_path: Path) -> None:
    spec = parse(tmp_path, DATA.format("", "scale: 0.5") + BODY + LOSS)
    net = deploy(spec, input_size=(7, 9))
    assert net.inputs[0].shape == (1, 3, 7, 9)
    assert net.notices[0].endswith("of 3×7×9; its 3 channel(s) are a guess: neither prototxt nor weights say")


@pytest.mark.parametrize("kind", ["HDF5Data", "Python"])
def test_images_may_come_second_from_layers_of_any_order(tmp_path: Path, kind: str) -> None:
    text = layer("d", kind, "", "label data") + BODY + LOSS
    assert deploy(parse(tmp_path, text), input_size=(7, 9)).inputs[0].shape == (1, 3, 7, 9)


def test_a_mean_of_one_pixel_tells_the_channels_but_no_size(tmp_path: Path) -> None:
    blob = BlobProto(num=1, channels=2, height=1, width=1, data=[0.5, 0.25])
    (tmp_path / "mean").write_bytes(blob.SerializeToString())
    spec = parse(tmp_path, DATA.format("", 'mean_file: "mean"') + BODY + LOSS)
    with pytest.raises(ModelError, match="does not give the size of 'data'"):
        deploy(spec)
    assert deploy(spec, input_size=(7, 9)).inputs[0].shape == (1, 2, 7, 9)


@pytest.mark.parametrize(
    ("data", "transform"),
    [
        (
            '"Data" transform_param { crop_size: 7 mirror: true mean_value: [1, 2, 3] scale: 0.25 }',
            Transform("d", crop_size=7, mean_values=(1, 2, 3), scale=0.25),
        ),
        (
            '"Data" transform_param { mean_file: "m" force_gray: true }',
            Transform("d", mean_file="m", is_gray=True),
        ),
        (
            '"ImageData" image_data_param { new_height: 7 new_width: 8 is_color: false scale: 0.5 }',
            Transform("d", resize=(7, 8), is_gray=True, scale=0.5),
        ),
        ('"Data" transform_param { resize_param { height: 7 width: 8 } }', Transform("d", resize=(7, 8))),
        ('"Data" transform_param { mirror: true }', None),
        ('"Data"', None),
    ],
)
def test_how_images_are_prepared_is_offered(tmp_path: Path, data: str, transform: Transform | None) -> None:
    other = TRAIN_DATA.replace("crop_size: 9", "")
    text = other + f'layer {{ name: "d" type: {data} top: "data" top: "label" }}\n' + BODY + LOSS
    assert parse(tmp_path, text).transform == transform


def test_data_for_training_tells_how_images_are_prepared_if_nothing_else_does(tmp_path: Path) -> None:
    assert parse(tmp_path, TRAIN_DATA + BODY + LOSS).transform == Transform("data", crop_size=9)
    assert parse(tmp_path, TRAIN_DATA + TEST_DATA + BODY).transform == Transform("data", crop_size=11)


# --- Shared weights -----------------------------------------------------------------------------------------


def test_shared_weights_that_are_stored_once_serve_all_their_layers(tmp_path: Path) -> None:
    names = 'param { name: "w" } param { name: "b" }'
    shape = "inner_product_param { num_output: 4 }"
    text = 'input: "data" input_shape { dim: 1 dim: 4 }\n'
    text += layer("one", "InnerProduct", "data", more=f"{names} {shape}")
    text += layer("two", "InnerProduct", "one", more=f"{names} {shape}")
    weights = random_weights(parse(tmp_path, text), 1)
    path = write_caffemodel(tmp_path / "net.caffemodel", {"one": weights["one"]})
    first, second = build_net(deployed(tmp_path, text), scan_caffemodel(path)).layers
    for blob, shared in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(blob, shared)
    path = write_caffemodel(tmp_path / "net.caffemodel", weights)
    own = build_net(deployed(tmp_path, text), scan_caffemodel(path)).layers[1]
    np.testing.assert_array_equal(own.weights[0], weights["two"][0])
    with pytest.raises(ModelError, match=r"'two' .*has no weights for it"):
        other = text.replace('{ name: "b" }', '{ name: "c" }', 1)
        path = write_caffemodel(tmp_path / "net.caffemodel", {"one": weights["one"]})
        build_net(deployed(tmp_path, other), scan_caffemodel(path))


def twice(first: str, second: str, more: str = "", other: str | None = None) -> str:
    """Two inner products of 4 numbers, one after the other, and what else they say of themselves."""
    text = 'input: "data" input_shape { dim: 1 dim: 4 }\n'
    body = "inner_product_param {{ num_output: 4 {} }} "
    text += layer(first, "InnerProduct", "data", "one", body.format("") + more)
    return text + layer(
        second, "InnerProduct", "one", "two", body.format("") + (more if other is None else other)
    )


SHARED = 'param { name: "w" } param { name: "b" }'


def test_layers_of_one_name_that_share_all_weights_have_one_set(tmp_path: Path) -> None:
    spec = parse(tmp_path, twice("same", "same", SHARED))
    weights = {"same": [random_blob((4, 4), 1), random_blob((4,), 2)]}
    path = write_caffemodel(tmp_path / "net.caffemodel", weights)
    path.write_bytes(path.read_bytes() * 2)  # Caffe stores them once for each layer
    for copy in (path, write_caffemodel(tmp_path / "once.caffemodel", weights)):
        for built in build_net(deploy(spec), scan_caffemodel(copy)).layers:
            np.testing.assert_array_equal(built.weights[0], weights["same"][0])
            np.testing.assert_array_equal(built.weights[1], weights["same"][1])


@pytest.mark.parametrize(
    ("more", "other"),
    [
        ("", ""),
        (SHARED, ""),
        (SHARED, 'param { name: "w" } param { name: "c" }'),
        (SHARED, 'param { name: "w" }'),
        ('param { name: "w" }', 'param { name: "w" }'),
        ('param { name: "w" } param { }', 'param { name: "w" } param { }'),
    ],
)
def test_layers_of_one_name_with_weights_of_their_own_are_refused(
    tmp_path: Path, more: str, other: str
) -> None:
    with pytest.raises(ModelError, match=r"0 and 1 are both named 'same'.*give every blob the same param"):
        build_graph(deployed(tmp_path, twice("same", "same", more, other)))


def test_layers_of_one_name_must_have_weights_of_one_shape(tmp_path: Path) -> None:
    text = 'input: "data" input_shape { dim: 1 dim: 4 }\n'
    for top, bottom, count in (("a", "data", 4), ("b", "a", 2)):
        body = f"{SHARED} inner_product_param {{ num_output: {count} }}"
        text += layer("same", "InnerProduct", bottom, top, body)
    with pytest.raises(ModelError, match="both named 'same'"):
        build_graph(deployed(tmp_path, text))


def test_a_layer_without_weights_may_have_the_name_of_one_with_weights(tmp_path: Path) -> None:
    text = 'input: "data" input_shape { dim: 1 dim: 4 }\n' + scores("fc", "data") + layer("fc", "ReLU", "fc")
    weights = {"fc": [random_blob((5, 4), 1), random_blob((5,), 2)]}
    np.testing.assert_array_equal(build(tmp_path, text, weights).layers[0].weights[0], weights["fc"][0])


def test_it_does_not_matter_which_layer_shared_weights_are_stored_for(tmp_path: Path) -> None:
    weights = {"two": [random_blob((4, 4), 1), random_blob((4,), 2)]}
    net = build(tmp_path, twice("one", "two", SHARED), weights)
    for number in (0, 1):
        for built in net.layers:
            np.testing.assert_array_equal(built.weights[number], weights["two"][number])


@pytest.mark.parametrize("style", ["current", "V1"])
def test_shared_weights_may_have_another_shape_where_that_is_permitted(tmp_path: Path, style: str) -> None:
    is_old = style == "V1"
    one, kinds = ("layers", "CONVOLUTION POOLING INNER_PRODUCT") if is_old else (
        "layer", '"Convolution" "Pooling" "InnerProduct"'
    )  # fmt: skip
    names = 'param: "w" param: "b" blob_share_mode: PERMISSIVE' if is_old else (
        'param { name: "w" share_mode: PERMISSIVE } param { name: "b" }'
    )  # fmt: skip
    conv, pool, product = kinds.split()
    text = f"""
    input: "data" input_dim: 1 input_dim: 2 input_dim: 4 input_dim: 3
    {one} {{ name: "conv" type: {conv} bottom: "data" top: "conv" {names}
      convolution_param {{ num_output: 8 kernel_size: 2 }} }}
    {one} {{ name: "pool" type: {pool} bottom: "conv" top: "pool"
      pooling_param {{ pool: AVE kernel_h: 3 kernel_w: 2 }} }}
    {one} {{ name: "fc" type: {product} bottom: "pool" top: "fc" {names}
      inner_product_param {{ num_output: 8 }} }}
    """
    weights = {"conv": [random_blob((8, 2, 2, 2), 1), random_blob((8,), 2)]}
    layers = build(tmp_path, text, weights).layers
    np.testing.assert_array_equal(layers[2].weights[0], weights["conv"][0].reshape(8, 8))
    with pytest.raises(ModelError, match=r"'fc' .* needs weights of shapes 8×8 and 8"):
        build(tmp_path, text.replace("PERMISSIVE", "STRICT"), weights)


# ---- Nets of thousands of layers -------------------------------------------------------------------


@pytest.mark.slow
def test_thousands_of_losses_are_converted(tmp_path: Path) -> None:
    heads = "".join(
        layer(f"h{place}", "ReLU", "fc") + layer(f"l{place}", "SoftmaxWithLoss", f"h{place} label", "")
        for place in range(2000)
    )
    net = deployed(tmp_path, TEST_DATA + BODY + heads)
    assert [layer.tops for layer in net.layers[-2:]] == [("h1999",), ("l1999",)]
    assert sum(layer.type == "Softmax" for layer in net.layers) == 2000
    assert len(net.notices) == 201
    assert net.notices[-1].endswith("deploy.prototxt: 1801 more remarks")


@pytest.mark.slow
def test_thousands_of_data_layers_and_constants_are_read(tmp_path: Path) -> None:
    data = "".join(
        DATA.format("", "crop_size: 9").replace('"data"', f'"d{place}"').replace('"label"', f'"y{place}"')
        + layer(f"r{place}", "ReLU", f"d{place}")
        for place in range(1500)
    )
    net = deployed(tmp_path, data)
    assert [declared.shape for declared in net.inputs] == [(1, 3, 9, 9)] * 1500
    constants = "".join(
        layer(f"k{place}", "DummyData", "", more="dummy_data_param { shape { dim: 5 } }")
        + layer(f"s{place}", "Scale", f"fc k{place}", "fc")
        for place in range(1500)
    )
    net = deployed(tmp_path, DEPLOY + BODY + constants)
    assert [constant.shape for constant in net.constants] == [(1, 5)] * 1500
    assert {layer.parameters.scale_param.axis for layer in net.layers if layer.type == "Scale"} == {0}


def test_thousands_of_stages_and_rules_are_compared(tmp_path: Path) -> None:
    rules = 'include { stage: "b" } ' * 8000 + 'include { stage: "a" }'
    state = 'state { stage: "a" ' + 'stage: "c" ' * 8000 + "}"
    net = deployed(tmp_path, DEPLOY + state + layer("r", "ReLU", "data", more=rules))
    assert [layer.name for layer in net.layers] == ["r"]
