"""Which of several outputs is ranked: what losses, names and start layers say."""

from pathlib import Path

import pytest
from builders import deployed, parse
from test_deploy import (
    ACCURACY,
    BODY,
    DEPLOY,
    LOSS,
    TEST_DATA,
    TRAIN_DATA,
    convolution,
    layer,
    scores,
)

from caffe_lrp.errors import ConfigError
from caffe_lrp.net.build import build_outline
from caffe_lrp.net.deploy.deployed import DeployedNet, deploy
from caffe_lrp.net.heads import are_probabilities, find_head, head_notices
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.start import LayerReference, find_start

TRAIN, TEST = "include { phase: TRAIN }", "include { phase: TEST }"


def names(net: Net) -> list[str]:
    """The heads of a net, the one to rank first."""
    assert net.output_value == net.outputs[0]
    return [net.value_names[value] for value in net.outputs]


def heads(folder: Path, text: str) -> list[str]:
    return names(build_outline(deployed(folder, text)))


def loss(name: str, bottom: str, more: str = "", kind: str = "SoftmaxWithLoss") -> str:
    return layer(name, kind, f"{bottom} label", more=more)


def accuracy(bottom: str, more: str = TEST) -> str:
    return layer(f"top_{bottom}", "Accuracy", f"{bottom} label", more=more)


# --- Where nothing is said ----------------------------------------------------------------------------------

#: Two heads on one trunk, and one that is deeper.
TRUNK = DEPLOY + convolution("conv", "data")
AGE = scores("fc_age", "conv", 3) + layer("s_age", "Softmax", "fc_age", "p_age")
SEX = scores("fc_sex", "conv", 2) + layer("s_sex", "Softmax", "fc_sex", "p_sex")
RACE = scores("fc_race", "conv2", 4) + layer("s_race", "Softmax", "fc_race", "p_race")
SUM = layer("r", "ReLU", "conv") + layer("z", "Eltwise", "r conv")
THREE = TRUNK + AGE + SEX + convolution("conv2", "conv") + RACE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (THREE, ["p_race", "p_age", "p_sex"]),
        (TRUNK + SEX + AGE, ["p_age", "p_sex"]),
        (TRUNK + scores("a", "conv") + convolution("z", "conv") + layer("zz", "ReLU", "z"), ["zz", "a"]),
        (TRUNK + scores("b", "conv") + scores("a", "conv") + layer("bb", "Flatten", "b"), ["a", "bb"]),
        # Probabilities come first, in whatever shape.
        (TRUNK + AGE + convolution("c", "conv") + scores("d", "c"), ["p_age", "d"]),
        (TRUNK + AGE + layer("flat", "Flatten", "p_age") + scores("z", "conv"), ["flat", "z"]),
        (TRUNK + AGE + scores("z", "conv") + layer("labels", "Sigmoid", "z"), ["p_age", "labels"]),
        # The deepest way counts, not the shortest.
        (TRUNK + SUM + layer("b", "ReLU", "r"), ["b", "z"]),
        (TRUNK + SUM + layer("b", "ReLU", "conv"), ["z", "b"]),
    ],
    ids=range(9),
)  # fmt: skip
def test_probabilities_come_first_then_the_deepest_then_names(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert heads(tmp_path, text) == expected


def test_the_other_heads_are_told_with_what_chooses_them(tmp_path: Path) -> None:
    net = build_outline(deployed(tmp_path, THREE))
    (notice,) = head_notices(net, find_head(net, "p_sex"))
    assert notice == (
        f"{tmp_path}/deploy.prototxt: has 3 heads; classes are those of 'p_sex', not of 'p_race', 'p_age'; "
        "head (--head) chooses another"
    )


# --- By name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p_sex", "s_sex", "fc_sex", "conv_conv_0_split_1"])
def test_a_head_is_known_by_its_name_its_layer_and_whatever_leads_to_it_alone(
    tmp_path: Path, name: str
) -> None:
    net = build_outline(deployed(tmp_path, THREE))
    assert net.value_names[find_head(net, name)] == "p_sex"


def test_the_name_of_a_head_comes_before_that_of_a_layer(tmp_path: Path) -> None:
    text = TRUNK + AGE + SEX.replace('"fc_sex"', '"p_age"', 1)
    net = build_outline(deployed(tmp_path, text))
    assert net.value_names[find_head(net, "p_age")] == "p_age"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "p_sx",
            "head p_sx (--head): X has no head with this name; did you mean 'p_sex'? Its heads are 'p_race', "
            "'p_age', 'p_sex'",
        ),
        (
            "label",
            "head label (--head): X has no head with this name. Its heads are 'p_race', 'p_age', 'p_sex'",
        ),
        ("conv2", ""),
        (
            "conv",
            "head conv (--head): X: 'conv' leads to several heads; give one of them: 'p_race', 'p_age', "
            "'p_sex'",
        ),
    ],
)
def test_a_name_that_stands_for_no_head_is_refused_with_those_there_are(
    tmp_path: Path, name: str, message: str
) -> None:
    net = build_outline(deployed(tmp_path, THREE))
    if not message:
        assert net.value_names[find_head(net, name)] == "p_race"
        return
    with pytest.raises(ConfigError) as caught:
        find_head(net, name)
    assert str(caught.value).replace(net.source, "X") == message


def test_of_many_heads_the_rest_is_counted(tmp_path: Path) -> None:
    text = TRUNK + "".join(scores(f"h{number:02}", "conv", 1) for number in range(13))
    net = build_outline(deployed(tmp_path, text))
    with pytest.raises(ConfigError, match=r"Its heads are 'h00', .*, 'h09', and 3 more$"):
        find_head(net, "none")


# --- By the start layer -------------------------------------------------------------------------------------

#: Both inner products stand before both Softmax layers.
MIXED = TRUNK + scores("fc_age", "conv", 3) + scores("fc_sex", "conv", 2)
MIXED += layer("p_age", "Softmax", "fc_age") + layer("p_sex", "Softmax", "fc_sex")


@pytest.mark.parametrize(
    ("text", "wanted", "head", "layer_name", "ranked", "count"),
    [
        (THREE, "auto", None, "fc_race", "p_race", 4),
        (THREE, "auto", "p_sex", "fc_sex", "p_sex", 2),
        (THREE, "fc_sex", None, "fc_sex", "p_sex", 2),
        (THREE, "s_age", None, "s_age", "p_age", 3),
        (THREE, "conv2", "p_race", "conv2", "p_race", 4),
        # A trunk leads to several: the first of them.
        (THREE, "conv", None, "conv", "p_race", 4),
        (THREE, "conv", "p_age", "conv", "p_age", 3),
        # Codes mean what they mean in the reference, unless a head is asked for.
        (THREE, -1, None, "fc_age", "p_age", 3),
        (THREE, -2, None, "fc_race", "p_race", 4),
        (THREE, -1, "p_sex", "fc_sex", "p_sex", 2),
        (THREE, -2, "p_sex", "fc_sex", "p_sex", 2),
        (MIXED, -1, None, "fc_sex", "p_sex", 2),
        (MIXED, -1, "p_age", "fc_age", "p_age", 3),
        (MIXED, -2, "p_age", "fc_age", "p_age", 3),
    ],
)
def test_the_head_that_the_start_leads_to_is_ranked(
    tmp_path: Path,
    text: str,
    wanted: LayerReference,
    head: str | None,
    layer_name: str,
    ranked: str,
    count: int,
) -> None:
    net = build_outline(deployed(tmp_path, text))
    start = find_start(net, wanted, None if head is None else find_head(net, head))
    assert (start.layer.name, net.value_names[start.output]) == (layer_name, ranked)
    assert start.output_count == count


def test_of_several_heads_above_the_start_one_that_it_leads_to_is_ranked(tmp_path: Path) -> None:
    """The first of all follows from another layer."""
    text = THREE + convolution("side", "conv") + scores("b", "side") + scores("a", "side")
    net = build_outline(deployed(tmp_path, text))
    assert net.value_names[find_start(net, "side").output] == "a"


def test_a_start_that_does_not_lead_to_the_head_is_refused(tmp_path: Path) -> None:
    net = build_outline(deployed(tmp_path, THREE))
    with pytest.raises(ConfigError) as caught:
        find_start(net, "fc_age", find_head(net, "p_sex"))
    assert str(caught.value) == (
        f"lastlayerindex fc_age (--start-layer): {net.source}: layer 2 'fc_age' (InnerProduct) does not lead "
        "to the head 'p_sex' (--head) but to 'p_age'; give a layer that does, or auto, or another head"
    )


@pytest.mark.parametrize("code", [-1, -2])
def test_a_code_for_a_layer_that_is_not_on_the_way_to_the_head_is_refused(tmp_path: Path, code: int) -> None:
    net = build_outline(deployed(tmp_path, THREE + layer("aside", "ReLU", "conv")))
    with pytest.raises(ConfigError, match=r"the way to the head 'aside' of .*prototxt has no (Soft|Inner)"):
        find_start(net, code, find_head(net, "aside"))


# --- By losses and measures ---------------------------------------------------------------------------------

HELPER, MAIN = scores("helper", "conv"), convolution("conv2", "conv") + scores("a_main", "conv2")
SHORT = TEST_DATA + convolution("conv", "data") + HELPER + scores("main", "conv")
LONG = TEST_DATA + convolution("conv", "data") + MAIN + convolution("conv3", "conv2")
LONG += scores("helper", "conv3")
FC = scores("fc", "conv3")
WEAK, HEAVY = "loss_weight: 0.3 ", f"loss_weight: 9 {TRAIN}"
HELPS, EQUAL = loss("l1", "helper", WEAK + TRAIN), loss("l1", "helper", TRAIN)
TRAINS = loss("l2", "a_main", TRAIN)


@pytest.mark.parametrize(
    "text",
    [
        # Whatever the phase of the losses is, and however it is said.
        LONG + HELPS + TRAINS,
        LONG + loss("l1", "helper", WEAK + "exclude { phase: TEST }") + TRAINS,
        LONG + loss("l1", "helper", WEAK + 'include { stage: "x" }') + TRAINS,
        LONG + loss("l1", "helper", WEAK + TRAIN, "EuclideanLoss") + TRAINS,
        # One head has a loss, or is measured.
        LONG + TRAINS,
        LONG + EQUAL + TRAINS + accuracy("a_main"),
        LONG + accuracy("a_main", TRAIN),
        LONG + accuracy("a_main") + accuracy("helper") + TRAINS,
        LONG + layer("best", "ArgMax", "a_main"),
        # By way of layers that are for training alone.
        LONG + HELPS + layer("d", "Dropout", "a_main", "d", TRAIN) + loss("l2", "d", TRAIN),
        LONG + HELPS + layer("d", "Dropout", "a_main", "a_main", TRAIN) + TRAINS,
        # A branch that is for training alone says nothing, however heavy its loss.
        LONG + scores("x", "conv3").replace("type", f"{TRAIN} type") + loss("l", "x", HEAVY) + HELPS + TRAINS,
        # Losses of features lie below all heads.
        LONG + loss("l", "conv", TRAIN, "CenterLoss") + HELPS + TRAINS,
        # The top of the loss with the probabilities is measured.
        LONG + layer("l2", "SoftmaxWithLoss", "a_main label", "l2 p", TRAIN) + accuracy("p", TRAIN) + EQUAL,
    ],
    ids=range(14),
)  # fmt: skip
def test_losses_and_measures_of_any_phase_say_which_head_is_the_main_one(tmp_path: Path, text: str) -> None:
    """Which is neither the deepest nor, behind its end, the first by name."""
    assert heads(tmp_path, text) == ["a_main", "helper"]


def test_a_loss_of_a_blob_that_others_read_counts_for_what_follows_from_it(tmp_path: Path) -> None:
    text = LONG + HELPS + TRAINS
    text += layer("warm", "Power", "a_main", more=f"power_param {{ scale: 0.5 }} {TEST}")
    assert heads(tmp_path, text + layer("prob", "Softmax", "warm", more=TEST)) == ["prob", "helper"]
    sharp = layer("prob", "Softmax", "helper", more=TEST) + layer("pos", "ReLU", "a_main", more=TEST)
    assert heads(tmp_path, LONG + TRAINS + sharp) == ["pos", "prob"]


def test_the_heads_of_a_net_with_losses_in_training_alone_all_stay(tmp_path: Path) -> None:
    """As in GoogLeNet, but for the phase."""
    text = TRAIN_DATA + LONG + FC
    for number, name in enumerate(("a_main", "helper", "fc")):
        weight = "loss_weight: 1 " if name == "fc" else WEAK
        text += loss(f"l{number}", name, weight + TRAIN) + accuracy(name)
        text += layer(f"top5_{name}", "Accuracy", f"{name} label", more=TEST + " accuracy_param { top_k: 5 }")
    assert heads(tmp_path, text) == ["fc", "helper", "a_main"]


def test_a_head_whose_loss_is_for_training_alone_stays_beside_one_with_a_loss_in_testing(
    tmp_path: Path,
) -> None:
    text = SHORT + loss("l1", "helper", WEAK) + loss("l2", "main", TRAIN) + accuracy("main")
    assert heads(tmp_path, text) == ["main", "l1"]
    both = SHORT + loss("l1", "helper") + loss("l2", "main", TRAIN) + accuracy("main")
    assert heads(tmp_path, both) == ["main", "l1"]


def test_tasks_of_equal_weight_are_told_apart_as_other_heads(tmp_path: Path) -> None:
    text = SHORT + loss("l1", "helper", kind="SigmoidCrossEntropyLoss") + loss("l2", "main")
    assert heads(tmp_path, text) == ["l2", "l1"]
    assert heads(tmp_path, SHORT + loss("l1", "helper") + loss("l2", "main") + accuracy("main")) == [
        "l2",
        "l1",
    ]
    deeper = LONG + loss("l1", "helper") + loss("l2", "a_main")
    assert heads(tmp_path, deeper) == ["l1", "l2"]


def test_a_loss_in_its_own_right_is_no_head_to_rank(tmp_path: Path) -> None:
    penalty = "reduction_param { operation: SUMSQ axis: 1 } loss_weight: 0.01"
    text = LONG + layer("a_penalty", "Reduction", "helper", more=penalty) + accuracy("a_main")
    assert heads(tmp_path, text) == ["a_main", "a_penalty"]


def test_a_net_of_another_size_has_the_same_heads(tmp_path: Path) -> None:
    """The layers that say so are gone by then."""
    text = LONG + HELPS + TRAINS
    text = text.replace("InnerProduct", "Convolution").replace(
        "inner_product_param { ", "convolution_param { kernel_size: 1 "
    )
    text += layer("cut", "Slice", "conv2", "aside used") + layer("quiet", "Silence", "aside", "")
    text += layer("more", "ReLU", "used") + accuracy("more")
    resized = deploy(parse(tmp_path, text), input_size=(13, 12))
    assert names(build_outline(resized)) == ["a_main", "helper", "more"]


# --- Auxiliary heads that are asked for ---------------------------------------------------------------------


def wanting(folder: Path, text: str, head: str) -> DeployedNet:
    return deploy(parse(folder, text), head=head)


@pytest.mark.parametrize("name", ["helper", "l1"])
def test_an_auxiliary_head_stays_if_it_is_asked_for(tmp_path: Path, name: str) -> None:
    text = SHORT + loss("l1", "helper", WEAK) + loss("l2", "main")
    assert heads(tmp_path, text) == ["l2"]
    net = build_outline(wanting(tmp_path, text, name))
    assert names(net) == ["l2", "l1"]
    assert net.value_names[find_head(net, name)] == "l1"
    assert [notice for notice in net.notices if "auxiliary heads" in notice] == []


def test_a_head_that_is_only_measured_stays_if_it_is_asked_for(tmp_path: Path) -> None:
    text = SHORT + accuracy("helper") + loss("l1", "helper", WEAK + TRAIN) + loss("l2", "main")
    assert heads(tmp_path, text) == ["l2"]
    assert names(build_outline(wanting(tmp_path, text, "helper"))) == ["l2", "helper"]


def test_asking_for_the_main_head_changes_nothing(tmp_path: Path) -> None:
    text = TEST_DATA + BODY + LOSS + ACCURACY
    plain, asked = map(build_outline, (deployed(tmp_path, text), wanting(tmp_path, text, "fc")))
    assert [each.name for each in asked.layers] == [each.name for each in plain.layers]
    assert asked.notices == plain.notices


# --- Probabilities ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (AGE, True),
        (AGE + layer("flat", "Flatten", "p_age"), True),
        (scores("fc_age", "conv", 3), False),
        (AGE + layer("scaled", "Power", "p_age"), False),
    ],
)
def test_scores_are_probabilities_where_a_softmax_computes_them(
    text: str, expected: bool, tmp_path: Path
) -> None:
    net = build_outline(deployed(tmp_path, TRUNK + text))
    assert are_probabilities(net, net.output_value) is expected
