"""What is said of options that are not followed and of fields of forks, with errors too."""

import json
from pathlib import Path

import pytest
from builders import build, deployed, parse

from caffe_lrp.cli.main import main
from caffe_lrp.errors import ConfigError, ModelError, UsageError, about, notices_of, noticing
from caffe_lrp.formats.caffe.foreign import EFFECTS, unknown_fields
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.net.build import build_graph
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.net.deploy.unfollowed import notices_on_options

Output = pytest.CaptureFixture[str]

DATA = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 9 }\n'
CONVOLUTION = 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 %s }'


def net(*bodies: str) -> str:
    """Layers named a, b, …, one after the other."""
    text, bottom = DATA, "data"
    for name, body in zip("abcdef", bodies, strict=False):
        text += f'layer {{ name: "{name}" bottom: "{bottom}" top: "{name}" {body} }}\n'
        bottom = name
    return text


def notes(folder: Path, text: str) -> list[str]:
    """What is noticed, without the name of the file."""
    spec = parse(folder, text)
    found = build_graph(deploy(spec)).notices
    assert all(notice.startswith(f"{spec.source}: ") for notice in found)
    return [notice.removeprefix(f"{spec.source}: ") for notice in found]


# --- Options that are not followed --------------------------------------------------------------------------

STOCHASTIC = 'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }'
STATISTICS = (
    "the stored mean and variance are used, so that the map of an image does not depend on the rest of its "
    "batch; Caffe uses those of the batch, so its scores differ"
)
#: What asks for something that is not done -> what is said.
UNFOLLOWED = {
    'type: "BatchNorm" batch_norm_param { use_global_stats: false }': (
        f"'use_global_stats: false' of 'a' (BatchNorm) is ignored: {STATISTICS}"
    ),
    'type: "BatchNorm" phase: TRAIN': f"'phase: TRAIN' of 'a' (BatchNorm) is ignored: {STATISTICS}",
    'type: "BN" phase: TRAIN': f"'phase: TRAIN' of 'a' (BN) is ignored: {STATISTICS}",
    'type: "Dropout" phase: TRAIN': (
        "'phase: TRAIN' of 'a' (Dropout) is ignored: nothing is dropped; Caffe drops units at random, "
        "even at test time"
    ),
    'type: "RReLU" rrelu_param { negative_slope_lower: 3 negative_slope_upper: 8 } phase: TRAIN': (
        "'phase: TRAIN' of 'a' (RReLU) is ignored: the mean of its bounds is used; Caffe draws a "
        "random number between them, even at test time"
    ),
    f"{STOCHASTIC} phase: TRAIN": (
        "'phase: TRAIN' of 'a' (Pooling) is ignored: STOCHASTIC pooling gives its expected "
        "value; Caffe chooses at random, even at test time"
    ),
}
#: What is done, or changes nothing.
FOLLOWED = (
    'type: "BatchNorm"',
    'type: "BatchNorm" batch_norm_param { use_global_stats: true moving_average_fraction: 0.9 } phase: TRAIN',
    'type: "BatchNorm" phase: TEST propagate_down: false',
    'type: "BN" bn_param { frozen: true momentum: 0.5 } phase: TRAIN',
    'type: "Dropout" dropout_param { scale_train: true }',
    'type: "Dropout" dropout_param { scale_train: false }',
    'type: "Dropout" phase: TEST',
    'type: "ReLU" phase: TRAIN loss_weight: 0',
    'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 } phase: TRAIN',
    STOCHASTIC,
    CONVOLUTION % "force_nd_im2col: true weight_filler { type: 'msra' }",
)


@pytest.mark.parametrize("body", UNFOLLOWED)
def test_options_that_are_not_followed_are_told_with_the_layer(body: str, tmp_path: Path) -> None:
    assert notes(tmp_path, net(body)) == [UNFOLLOWED[body]]


@pytest.mark.parametrize("body", FOLLOWED)
def test_options_that_are_followed_or_change_nothing_are_passed_in_silence(body: str, tmp_path: Path) -> None:
    assert notes(tmp_path, net(body)) == []


def test_statistics_of_the_training_are_used_whatever_the_file_asks_for(tmp_path: Path) -> None:
    asked = 'type: "BatchNorm" batch_norm_param { use_global_stats: %s }'
    first, second = (build(tmp_path, net(asked % truth), seed=3).layers[0] for truth in ("false", "true"))
    assert first.exact[0].tolist() == second.exact[0].tolist()  # type: ignore[attr-defined]


def test_one_note_names_three_layers_and_counts_the_others(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, net(*['type: "Dropout" phase: TRAIN'] * 5))
    assert " of 'a' (Dropout), 'b' (Dropout), 'c' (Dropout), and 2 more is ignored: " in note


def test_layers_for_training_alone_get_no_note(tmp_path: Path) -> None:
    """Many a file has every BatchNorm twice, under one name."""
    twice = "".join(
        f'layer {{ name: "n" type: "BatchNorm" bottom: "data" top: "n" include {{ phase: {phase} }} '
        f"batch_norm_param {{ use_global_stats: {truth} fancy: {truth} }} }}\n"
        for phase, truth in (("TRAIN", "false"), ("TEST", "true"))
    )
    (note,) = notes(tmp_path, DATA + twice)
    assert note.startswith("line 3: field 'fancy' in 'batch_norm_param' of 'n' (BatchNorm) is unknown")


# --- Fields of forks ----------------------------------------------------------------------------------------

#: Fields that change nothing at test time, by the block they stand in.
HARMLESS_FIELDS = {
    "layer": "accuracy_param contrastive_loss_param hdf5_data_param hdf5_output_param hinge_loss_param "
    "multibox_loss_param detection_evaluate_param annotated_data_param loss_param mn_param forward_type "
    "backward_type forward_math backward_math cudnn_math_override lr_mult need_backward debug multinode "
    "mn_activation_param mn_grad_compress_param quantization_param engine force_backward reshape_every_iter",
    "convolution_param": "engine winograd conv_algo_seeker cudnn_convolution_algo cudnn_workspace_limit_mb "
    "extra_filler conv_algorithm",
    "batch_norm_param": "filler bias_filler scale_filler moving_average momentum use_weight_bias bias_term "
    "stats_batch_size engine frozen",
    "eltwise_param": "eltwise_mem_sharing engine",
    "dropout_param": "drop_type drop_full_sample a b mu sigma",
    "transform_param": "brightness noise_param force_size std",
    "data_param": "backend batch_size prefetch source label_map_file",
    "weight_filler": "diag_val file",
    "param": "lr decay",
}


@pytest.mark.parametrize("block", HARMLESS_FIELDS)
def test_fields_that_change_nothing_are_ignored_without_a_word(block: str) -> None:
    fields = " ".join(f"{field}: 1" for field in HARMLESS_FIELDS[block].split())
    blocks = f"{block} {{ {fields} }}" if block != "layer" else fields
    assert unknown_fields(f'layer {{ name: "x" {blocks} }}') == {}


#: Block and field of a fork -> a value that changes scores, and one that does not.
FOREIGN = {
    ("convolution_param", "relu"): ("true", "false"),
    ("batch_norm_param", "relu"): ("1", "0"),
    ("inner_product_param", "combine_relu"): ("true", "False"),
    ("dropout_param", "sample_weights_test"): ("true", "f"),
    ("inner_product_param", "normalize"): ("true", "false"),
    ("eltwise_param", "coeff_blob"): ("true", "false"),
    ("convolution_param", "pad_type"): ("SAME", "0"),
    ("pooling_param", "pad_mode"): ("VALID", "CAFFE"),
    ("crop_param", "offset_height"): ("2", None),
    ("transform_param", "bgr2rgb"): ("true", "false"),
}


@pytest.mark.parametrize(("block", "field"), FOREIGN)
def test_fields_that_change_scores_are_told_where_their_values_do(block: str, field: str) -> None:
    value, harmless = FOREIGN[block, field]
    text = f'input: "x"\nlayer {{ name: "x"\n{block} {{ # here\n{field} : # and now\n{value} }} }}'
    ((found,),) = unknown_fields(text).values()
    assert (found.name, found.value, found.block, found.line) == (field, value, block, 4)
    if harmless is not None:
        assert unknown_fields(f"layer {{ {block} {{ {field}: {harmless} }} }}") == {}


def test_every_row_of_effects_is_tested_here() -> None:
    places = [f"{block}/{field}" for block, field in FOREIGN]
    assert all(any(effect.place.fullmatch(place) for place in places) for effect in EFFECTS)


def test_what_a_field_does_to_scores_is_told_for_all_its_layers(tmp_path: Path) -> None:
    text = net(CONVOLUTION % "relu: true", CONVOLUTION % "relu: false", CONVOLUTION % "relu: true")
    assert notes(tmp_path, text) == [
        "line 2: 'relu: true' in 'convolution_param' of 'a' (Convolution), 'c' (Convolution) is "
        "ignored, so scores will be wrong if the net was trained with a fork of Caffe where it applies a "
        "ReLU to the output of the layer; write the ReLU as a separate layer"
    ]


def test_colours_that_are_swapped_are_told_of_the_data_layer_that_is_used(tmp_path: Path) -> None:
    image = (
        'layer { name: "%s" type: "ImageData" top: "data" top: "label" include { phase: %s } '
        "transform_param { crop_size: 8 bgr2rgb: true } image_data_param { fancy: 1 } }\n"
    )
    text = "".join(image % pair for pair in (("train", "TRAIN"), ("test", "TEST")))
    (became, swapped) = notes(tmp_path, text + net('type: "ReLU"').removeprefix(DATA))
    assert became.startswith("data layer 'test' (ImageData) became an input")
    assert swapped.startswith("line 2: 'bgr2rgb: true' in 'transform_param' of 'test' (ImageData) is ignored")
    assert swapped.endswith("it swaps the colours of images; set channel_order to RGB in the config")


def test_fields_of_which_nothing_is_known_are_told_with_line_and_layer(tmp_path: Path) -> None:
    text = """
layer {
  # name: "no name"
  pooling_param { gap_type: SAME kernel_size: 3 }
  type: "Pooling" bottom: "x" name: "pool1"
  round: { name: "no name either" } # comes later
}
layers { type: POOLING name: 'pool2' pooling_param { gap_type: [VALID] gap_type: 3 } }
layers { layer { name: "v0" type: "conv" dilate: 2 } top: "y" }
layers { layer { name: "padding" type: "padding" } top: "z" }
layer { type: "Pooling" name: "pool3" pooling_param < gap_type: SAME > }
layer { type: "Mystery" name: "other" mystery_param < gap_type: SAME > }
unknown { unknown: 1 } other: 3 state { mood: 3 mood: 4 }
"""
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    spec = read_prototxt(path)
    ending = " is unknown and is ignored; if it changes the forward pass, scores will be wrong"
    pools = "'pool1' (Pooling), 'pool2' (Pooling), 'pool3' (Pooling)"
    assert list(notices_on_options(spec.layers, ())) == [
        f"line 4: field 'gap_type' in 'pooling_param' of {pools}{ending}",
        f"line 6: field 'round' of 'pool1' (Pooling){ending}",
        f"line 9: field 'dilate' of 'v0' (Convolution){ending}",
    ]
    assert spec.notices[1:] == (
        f"{path}: line 13: field 'unknown' is unknown and is ignored",
        f"{path}: line 13: field 'other' is unknown and is ignored",
        f"{path}: line 13: field 'mood' in 'state' is unknown and is ignored",
    )


@pytest.mark.parametrize("place", ["layer", "net"])
def test_of_many_unknown_fields_twenty_are_told(place: str, tmp_path: Path) -> None:
    fields = " ".join(f"zz{number}zz: 1" for number in range(23))
    text = net(f'type: "ReLU" {fields}') if place == "layer" else net('type: "ReLU"') + fields
    found = notes(tmp_path, text)
    assert len(found) == 21
    assert found[-1] == "3 more fields are unknown and are ignored"


def test_notes_are_told_once_if_the_input_gets_another_size(tmp_path: Path) -> None:
    text = (
        net(CONVOLUTION % "fancy: 3", 'type: "BatchNorm" phase: TRAIN')
        + "layer { name: 's' type: 'Silence' }"
    )
    plain = parse(tmp_path, text)
    assert build_graph(deploy(plain, input_size=(10, 12))).notices == build_graph(deploy(plain)).notices


# --- Notes come with errors ---------------------------------------------------------------------------------

#: A field that would make shapes fit, if it were known, and one of the net.
MISFIT = (
    DATA
    + 'layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 3 '
    + "kernel_size: 3 rim: 1 } }\n"
    + 'layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "a" top: "sum" }\nmood: 3\n'
)
RIM, MOOD = "line 2: field 'rim' in 'convolution_param' of 'a'", "line 4: field 'mood' is unknown"


def test_notes_come_before_the_error_that_they_explain(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(MISFIT)
    for options in ((), ("--json",), ("--input-size", "10x12")):
        assert main(["inspect", str(path), *options]) == 3
        printed = capsys.readouterr()
        assert printed.out == ""
        mood, rim, error = printed.err.splitlines()
        assert mood.startswith(f"caffe-lrp: note: {path}: {MOOD}")
        assert rim.startswith(f"caffe-lrp: note: {path}: {RIM}")
        assert error.startswith(f"caffe-lrp: error: {path}: layer 2 'sum' (Eltwise): bottoms of shapes")


def test_json_of_a_net_has_its_notes_as_before(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(net('type: "Dropout" phase: TRAIN'))
    assert main(["inspect", str(path), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert len(json.loads(printed.out)["notices"]) == 1
    assert main(["inspect", str(path), "--start-layer", "nowhere"]) == 3
    assert "note: " in capsys.readouterr().err.splitlines()[0]


def test_notes_outlive_the_errors_that_are_made_of_others() -> None:
    def fail() -> None:
        with noticing(["first", "second"]), about(ModelError, place="place"), noticing(["second", "third"]):
            raise ModelError("fault")

    with pytest.raises(ModelError, match="place: fault") as caught:
        fail()
    assert set(notices_of(caught.value)) == {"first", "second", "third"}
    assert len(notices_of(caught.value)) == 3


def test_errors_without_notes_have_none() -> None:
    assert notices_of(UsageError("fault")) == ()
    with pytest.raises(ValueError, match="fault") as caught, noticing(["first"]):
        raise ValueError("fault")
    assert notices_of(caught.value) == ()
    assert notices_of(ConfigError("fault")) == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            DATA + "layer { name: 'a' type: 'ReLU' bottom: 'nowhere' top: 'a' } mood: 3",
            "reads the blob 'nowhere'",
        ),
        ("mood: 3 layer { name: 'a' type: 'ReLU' bottom: 'a' top: 'a' }", "reads the blob 'a'"),
        ("mood: 3 layers { layer { name: 'f' type: 'cnv' } }", "has no type 'cnv'"),
        (DATA + "mood: 3 layer { type: 'ReLU' include { phase: TRAIN } }", "is used at test time"),
    ],
)
def test_notes_of_the_file_come_with_every_error_of_its_net(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=fault) as caught:
        build_graph(deployed(tmp_path, text))
    assert any("field 'mood' is unknown" in notice for notice in notices_of(caught.value))
