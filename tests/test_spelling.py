"""Misspelt names in a prototxt: found where they are, and nowhere else."""

import re
from pathlib import Path

import pytest
from builders import INCEPTION
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.errors import ModelError
from caffe_lrp.proto import caffe_pb2
from caffe_lrp.proto.reader import read_prototxt
from caffe_lrp.proto.scan import blocks_of
from caffe_lrp.proto.spelling import ignored_fields, misspelt_fields, why_invalid

ROOT = Path(__file__).parents[1]
PROTOTXTS = sorted([*(ROOT / "configs").rglob("*.prototxt"), *(ROOT / "tests" / "data").rglob("*.prototxt")])

#: Fields of Caffe and its forks that the schema leaves out, by the message they stand in.
FOREIGN_FIELDS = {
    "LayerParameter": "accuracy_param contrastive_loss_param data_param embed_param hdf5_data_param "
    "hdf5_output_param hinge_loss_param image_data_param infogain_loss_param loss_param memory_data_param "
    "parameter_param python_param recurrent_param window_data_param bn_param upsample_param norm_param "
    "roi_pooling_param unpooling_param permute_param prior_box_param interp_param axpy_param "
    "expand_param mn_param resample_param",
    "V1LayerParameter": "blob_share_mode blobs_lr weight_decay data_param hinge_loss_param transform_param",
    "ConvolutionParameter": "engine hole winograd forward_type cudnn_math_override kernel_d kernel_l "
    "kernel_t stride_d stride_l dilation_h dilation_w pad_d",
    "PoolingParameter": "engine ceil_mode kernel_d kernel_l stride_l pad_l",
    "ReLUParameter": "engine",
    "LRNParameter": "engine",
    "FillerParameter": "diag_val",
}


@pytest.mark.parametrize(
    ("text", "slips"),
    [
        (
            "layer {\n convolution_param {\n  kernal_size: 3\n }\n}",
            ["3: kernal_size convolution_param kernel_size"],
        ),
        ('Layer < nme: "x" >', ["1: Layer net layer"]),
        ('layer < botom: "x"\nbotom: "y" >', ["1: botom layer bottom", "2: botom layer bottom"]),
        ("layer { pooling_param { pool: MAX, strides: [2]; } }", ["1: strides pooling_param stride"]),
        ("fork_param { kernal_size: 3 layer { botom: 'x' } } nam: 'x'", ["1: nam net name"]),
        ("pad: 1 layer { stride: 2 }", []),
        ("layer { convolution_param { kernal_h: 3 } }", ["1: kernal_h convolution_param kernel_h"]),
        ("layer { convoluton_param { pad: 1 } }", ["1: convoluton_param layer convolution_param"]),
        ("layer { convolution_parm { pad: 1 } }", ["1: convolution_parm layer convolution_param"]),
        ("# layr { botom: 1\nname: 'layr { botom: \\' # 1' \"kernal: 1\"", []),
    ],
)
def test_fields_that_are_nearly_known_are_found_where_they_are(text: str, slips: list[str]) -> None:
    """A slip here: line, field, block, what was meant."""
    words = r"line (\d+): there is no field '(\w+)' in (?:the )?'?(\w+)'?; did you mean '(\w+)'\?"
    found = [re.fullmatch(words, complaint) for complaint in misspelt_fields(text)]
    assert [match and "{}: {} {} {}".format(*match.groups()) for match in found] == slips


@pytest.mark.parametrize("message", FOREIGN_FIELDS)
def test_fields_of_caffe_and_its_forks_are_no_misspellings(message: str) -> None:
    wrapped = {
        "LayerParameter": "layer {{ {0} }}",
        "V1LayerParameter": "layers {{ {0} }}",
        "ConvolutionParameter": "layer {{ convolution_param {{ {0} }} }}",
        "PoolingParameter": "layer {{ pooling_param {{ {0} }} }}",
        "ReLUParameter": "layer {{ relu_param {{ {0} }} }}",
        "LRNParameter": "layer {{ lrn_param {{ {0} }} }}",
        "FillerParameter": "layer {{ convolution_param {{ weight_filler {{ {0} }} }} }}",
    }[message]
    fields = " ".join(f"{field}: 1" for field in FOREIGN_FIELDS[message].split())
    assert list(misspelt_fields(wrapped.format(fields))) == []


#: Fields of forks that change nothing at test time, by the block they stand in.
HARMLESS_FIELDS = {
    "layer": "accuracy_param contrastive_loss_param hdf5_data_param hdf5_output_param hinge_loss_param "
    "multibox_loss_param detection_evaluate_param annotated_data_param loss_param mn_param forward_type "
    "backward_type forward_math backward_math cudnn_math_override lr_mult need_backward debug",
    "convolution_param": "engine winograd conv_algo_seeker cudnn_convolution_algo cudnn_workspace_limit_mb "
    "extra_filler",
    "transform_param": "brightness noise_param force_size std",
    "data_param": "backend batch_size prefetch source label_map_file",
    "weight_filler": "diag_val file",
    "param": "lr decay",
}


@pytest.mark.parametrize("block", HARMLESS_FIELDS)
def test_fields_that_do_not_matter_are_ignored_without_a_word(block: str) -> None:
    fields = " ".join(f"{field}: 1" for field in HARMLESS_FIELDS[block].split())
    blocks = f"{block} {{ {fields} }}" if block != "layer" else fields
    assert list(ignored_fields(f'layer {{ name: "x" {blocks} }}')) == []


def test_fields_of_forks_that_may_matter_are_told_with_line_and_layer() -> None:
    text = """
layer {
  # name: "no name"
  pooling_param { pad_type: SAME kernel_size: 3 }
  bottom: "x" name: "pool1"
  round: { name: "no name either" } # comes later
}
layers { type: POOLING name: 'pool2' pooling_param { pad_type: [VALID] pad_type: 3 } }
layers { layer { name: "v0" type: "conv" dilate: 2 } top: "y" }
layer { pooling_param < pad_type: SAME > }
unknown { unknown: 1 } [my.extension]: 3
"""
    assert list(ignored_fields(text)) == [
        "line 4: field 'pad_type' in 'pooling_param' of layer 'pool1' is not known and is ignored (and so in "
        "2 more layers)",
        "line 6: field 'round' of layer 'pool1' is not known and is ignored",
        "line 9: field 'dilate' of layer 'v0' is not known and is ignored",
        "line 11: field 'unknown' is not known and is ignored",
        "line 11: field '[my.extension]' is not known and is ignored",
    ]


def test_of_many_ignored_fields_twenty_are_told(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(f"layer {{ {' '.join(f'zz{number}zz: 1' for number in range(23))} }}")
    notices = read_prototxt(path).notices
    assert len(notices) == 21
    assert notices[0] == f"{path}: line 1: field 'zz0zz' of layer '' is not known and is ignored"
    assert notices[-1] == f"{path}: 3 more fields are not known and are ignored"


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("layer { a { b < > } } layers: < >", ["layer", "layers"]),
        ("layer: [{}, { name: 'layers {' }] name: 'x' layers {}", ["layer", "layer", "layers"]),
        ("layer # {\n {} layers # layer {\n# layer\n: {}", ["layer", "layers"]),
        ("state { } [layers.x] { } layer { }", ["state", "[layers.x]", "layer"]),
        ("name: 'x'", []),
    ],
)
def test_blocks_of_a_net_are_found_in_order(text: str, blocks: list[str]) -> None:
    assert list(blocks_of(text)) == blocks


@pytest.mark.parametrize("path", PROTOTXTS, ids=lambda path: path.name)
def test_the_prototxts_of_the_repository_have_none(path: Path) -> None:
    text = path.read_text()
    assert [*misspelt_fields(text), *ignored_fields(text)] == []


@given(st.data())
def test_every_change_of_a_letter_leaves_a_net_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(INCEPTION) - 1))
    letter = data.draw(st.sampled_from('aZ_0{}<>":#,\n '))
    path = tmp_path_factory.mktemp("net") / "net.prototxt"
    path.write_text(INCEPTION[:place] + letter + INCEPTION[place + 1 :])
    try:
        read_prototxt(path)
    except ModelError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("layer {\n name: 'x'", "it ends before the last '}'"),
        ("layers { type: CONVOLUTOIN }", "there is no value 'CONVOLUTOIN'; did you mean 'CONVOLUTION'?"),
        ("layer { type: ReLU }", "put the text in quotes"),
        ("layer { type: RELU }", 'put the text in quotes, as the current style has it: type: "ReLU"'),
        ("layers { type: 'ReLU' }", "a type is written without quotes: type: RELU"),
        ("layers { type: 'Input' }", "there is no value 'Input'; types that Caffe's old style"),
        ("layer { pooling_param { pool: 'MAX' } }", "the value 'MAX' stands in quotes"),
        ("layer { name: 'x' name: 'y' }", "'name' stands twice in one block; keep one"),
        ("layer { include: TRAIN }", "write include { phase: TEST }"),
        ("layer { exclude phase: TRAIN }", "write include { phase: TEST }"),
        ("layer { name: ‘x’ }", "write straight quotes"),
        ("layer { power_param { scale: 0,5 } }", "write decimals with a point"),
        ("layer {{ name: 'x' }}", "a block begins with its name"),
    ],
)
def test_what_cannot_be_parsed_is_explained(text: str, reason: str) -> None:
    with pytest.raises(text_format.ParseError) as caught:
        text_format.Parse(text, caffe_pb2.NetParameter(), allow_unknown_field=True)
    assert reason in why_invalid(caught.value)


def test_of_many_slips_twenty_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text("layer { botom: 'x' }\n" * 21)
    with pytest.raises(ModelError) as caught:
        read_prototxt(path)
    assert str(caught.value).count("did you mean 'bottom'") == 20
    assert "line 20: " in str(caught.value)


def test_short_lists_of_values_are_shown_in_full_and_long_ones_not() -> None:
    for text, shown in (
        ("layer { pooling_param { pool: MXA } }", "(there are MAX, AVE, STOCHASTIC, AVE_EXC_PAD, AVE_TF)"),
        ("layers { type: CONVOLUTOIN }", None),
    ):
        with pytest.raises(text_format.ParseError) as caught:
            text_format.Parse(text, caffe_pb2.NetParameter())
        reason = why_invalid(caught.value)
        assert reason.endswith(shown) if shown else "there are" not in reason
