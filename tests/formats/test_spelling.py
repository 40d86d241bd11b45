"""Misspelt names in a prototxt: found where they are, and nowhere else."""

import re
from pathlib import Path

import pytest
from builders import INCEPTION
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.formats.caffe.foreign import unknown_fields
from caffe_lrp.formats.caffe.parsing import UnreadableError, parsed
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.formats.caffe.scan import blocks_of
from caffe_lrp.formats.caffe.spelling import misspelt_fields, why_invalid

ROOT = Path(__file__).parents[2]
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
    assert list(misspelt_fields(text)) == []
    assert unknown_fields(text) == {}


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
        ("layer { type: RELU }", 'the current style needs quotes: type: "ReLU"'),
        ("layers { type: 'ReLU' }", "a type is written without quotes: type: RELU"),
        ("layers { type: 'Input' }", "there is no value 'Input'; for types that Caffe's old style"),
        ("layer { pooling_param { pool: 'MAX' } }", "the value 'MAX' is in quotes"),
        ("layer { name: 'x' name: 'y' }", "'name' appears twice in one block; keep one"),
        ("layer { include: TRAIN }", "write include { phase: TEST }"),
        ("layer { exclude phase: TRAIN }", "write include { phase: TEST }"),
        ("layer { name: ‘x’ }", "write straight quotes"),
        ("layer { power_param { scale: 0,5 } }", "write decimals with a point"),
        ("layer {{ name: 'x' }}", "a block begins with its name"),
    ],
)
def test_parser_errors_are_explained(text: str, reason: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        parsed(text)
    assert reason in str(caught.value)


def test_of_many_slips_twenty_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text("layer { botom: 'x' }\n" * 21)
    with pytest.raises(ModelError) as caught:
        read_prototxt(path)
    assert str(caught.value).count("did you mean 'bottom'") == 20
    assert "line 20: " in str(caught.value)


def test_short_lists_of_values_are_shown_in_full_and_long_ones_not() -> None:
    for text, shown in (
        (
            "layer { pooling_param { pool: MXA } }",
            "(known values: MAX, AVE, STOCHASTIC, AVE_EXC_PAD, AVE_TF)",
        ),
        ("layers { type: CONVOLUTOIN }", None),
    ):
        with pytest.raises(text_format.ParseError) as caught:
            text_format.Parse(text, caffe_pb2.NetParameter())
        reason = why_invalid(caught.value, range(1, 2 + text.count("\n")))
        assert reason.endswith(shown) if shown else "there are" not in reason


# ---- Texts that once took minutes ------------------------------------------------------------------


LAYER = 'layer { name: "a" type: "ReLU" bottom: "x" top: "x" }'


def prototxt(folder: Path, text: str) -> Path:
    path = folder / "net.prototxt"
    path.write_text(text, newline="")
    return path


def test_a_long_line_is_read_as_many_short_ones_are(tmp_path: Path) -> None:
    fields = 'zz: [1, 2] ; yy { a: "#\'\\"" } layer { name: \'{ "\' type: "ReLU" } # end'
    apart = read_prototxt(prototxt(tmp_path, f"{LAYER}\n" + f"{fields}\n" * 200))
    joined = f"{LAYER}\n" + f"{fields} ".replace("# end", "") * 200 + "# end { \n"
    together = read_prototxt(prototxt(tmp_path, joined))
    assert [layer.name for layer in together.layers] == ["a", *['{ "'] * 200]
    assert [layer.parameters for layer in together.layers] == [layer.parameters for layer in apart.layers]
    assert [notice.split(": ", 1)[1] for notice in together.notices] == [
        "line 2: field 'zz' is unknown and is ignored",
        "line 2: field 'yy' is unknown and is ignored",
    ]


def test_a_fault_in_a_long_line_is_named_by_the_number_of_the_line(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"net\.prototxt: line 3: not a valid prototxt: .*Expected identifier"
    ):
        read_prototxt(
            prototxt(tmp_path, f"{LAYER}\n" + "zz: 1 " * 1000 + "\n" + "yy: 1 " * 1000 + "= 5\nzz: 1")
        )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f'{LAYER}\nname: "' + "\\\\" * 60_000 + '"', "line 2: has more than 100 backslashes in a row"),
        (f"{LAYER}\n" + "zz: [" + "1," * 100_000 + "1]", "has 100,006 fields, the limit is 100,000"),
        (f"{LAYER}\n" + 'zz { "" }' * 60_000, "has 120,005 fields, the limit is 100,000"),
        (
            LAYER.replace('"a"', f'"{"a" * 1001}"'),
            "the name 'a{50}…' has 1,001 characters, the limit is 1,000",
        ),
        (LAYER.replace("ReLU", "R" * 1001), "the name 'R{50}…' has 1,001 characters"),
        (LAYER.replace('"x" }', f'"{"x" * 1001}" }}'), "the name 'x{50}…' has 1,001 characters"),
    ],
)
def test_texts_that_would_keep_the_parser_busy_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        read_prototxt(prototxt(tmp_path, text))


def test_backslashes_in_comments_and_few_in_texts_are_let_pass(tmp_path: Path) -> None:
    slashes = "\\" * 100
    net = read_prototxt(prototxt(tmp_path, f"# {slashes * 20}\nname: '{slashes}'\n{LAYER} # '{slashes * 20}"))
    assert net.name == "\\" * 50


@pytest.mark.parametrize("name", ["loss" * 50_000, "_" * 200_000, "a" + "_param" * 30_000])
def test_long_names_of_unknown_fields_are_matched_in_one_go(tmp_path: Path, name: str) -> None:
    assert len(read_prototxt(prototxt(tmp_path, f"{LAYER}\n{name}: 1")).notices) <= 1


def test_training_fields_are_harmless_wherever_their_words_stand() -> None:
    text = "layer { my_loss_of_x_param { a: 1 } accuracy_param_param: 2 lossy_para: 3 }"
    assert [field.name for fields in unknown_fields(text).values() for field in fields] == ["lossy_para"]
