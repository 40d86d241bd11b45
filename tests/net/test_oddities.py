"""Oddities of real model files, of the kind issue trackers are full of, and what caffe-lrp makes of them.

What else can be wrong with files stands in `bad_input.py`.
``PYTHONPATH=tests python tests/net/test_oddities.py`` prints the table.
"""

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from builders import WORKSPACE, random_blob, random_weights, write_caffemodel

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import NetParameter
from caffe_lrp.formats.caffe.reader import read_prototxt, scan_caffemodel
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.build import build_net
from caffe_lrp.net.deploy.deployed import deploy

PROTOTXT = """\
name: "tiny"
input: "data"
input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool1" top: "fc1"
  inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc1" top: "prob" }
"""
DECLARED = 'input: "data"\ninput_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
DATA_LAYER = (
    'layer { name: "data" type: "Data" top: "data" top: "label" include { phase: %s } '
    "transform_param { crop_size: 8 } }\n"
)
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "fc1" top: "prob" }'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc1" bottom: "label" }'
SCORES = 'layer { name: "fc1"'
ACCURACY = 'layer { name: "accuracy" type: "Accuracy" bottom: "prob" bottom: "label" top: "accuracy" }'
SCORE_ACCURACY = ACCURACY.replace("prob", "fc1")


@dataclass(frozen=True)
class Oddity:
    """Something odd in the files of a small net.

    Attributes
    ----------
    title
        What is odd.
    prototxt
        Makes the odd prototxt of the good one.
    error
        What is said of the prototxt, or of another file that is named; empty if the net works. "…" stands
        for anything.
    notices
        What is noticed in a net that works.
    seen
        An issue of somebody who met it.
    is_same
        Whether the net, if it works, computes what it does without the oddity.
    caffemodel
        Makes the odd caffemodel of a good one.
    """

    title: str
    prototxt: Callable[[str], str] = str
    error: str = ""
    notices: tuple[str, ...] = ()
    seen: str = ""
    is_same: bool = True
    caffemodel: Callable[[Path], object] = Path


def changed(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """Pieces of the prototxt are replaced."""

    def change(text: str) -> str:
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        return text

    return change


def rewritten(change: Callable[[NetParameter], object]) -> Callable[[Path], object]:
    """The caffemodel is stored in another way."""

    def rewrite(path: Path) -> None:
        net = NetParameter()
        net.ParseFromString(path.read_bytes())
        change(net)
        path.write_bytes(net.SerializeToString())

    return rewrite


def replaced(content: bytes) -> Callable[[Path], object]:
    """Another file stands in the place of the caffemodel."""
    return lambda path: path.write_bytes(content)


def as_v0(net: NetParameter) -> None:
    """All layers in V0 style."""
    for layer in net.layer:
        old = net.layers.add().layer
        old.name = layer.name
        for blob in layer.blobs:
            old.blobs.add(num=1, channels=1, height=1, width=len(blob.data), data=blob.data)
            shape = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
            old.blobs[-1].num, old.blobs[-1].channels, old.blobs[-1].height, old.blobs[-1].width = shape
    del net.layer[:]


def one_in_v1(net: NetParameter) -> None:
    """The first layer in V1 style, the others in the current one."""
    first = net.layer.pop(0)
    net.layers.add(name=first.name).blobs.extend(first.blobs)


def in_double_precision(net: NetParameter) -> None:
    for layer in net.layer:
        for blob in layer.blobs:
            blob.double_data.extend(blob.data)
            del blob.data[:]


def with_gradients(net: NetParameter) -> None:
    for layer in net.layer:
        for blob in layer.blobs:
            blob.diff.extend([9.0] * len(blob.data))


def with_an_earlier_copy(net: NetParameter) -> None:
    copy = NetParameter()
    copy.CopyFrom(net)
    copy.layer[0].blobs[0].data[:] = [9.0] * len(copy.layer[0].blobs[0].data)
    copy.layer.extend(net.layer)
    net.CopyFrom(copy)


def in_raw_numbers(path: Path) -> None:
    """As NVIDIA's Caffe stores them: field 12, their type in field 10."""

    def field(number: int, payload: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(payload)) + payload

    net = NetParameter()
    net.ParseFromString(path.read_bytes())
    content = b""
    for layer in net.layer:
        blobs = b""
        for blob in layer.blobs:
            numbers = np.array(blob.data, "<f4").tobytes()
            shape = field(7, blob.shape.SerializeToString())
            blobs += field(7, shape + varint(10 << 3) + varint(1) + field(12, numbers))
        content += field(100, field(1, layer.name.encode()) + blobs)
    path.write_bytes(content)


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def in_legacy_shapes(net: NetParameter) -> None:
    """Four sizes for every blob, leading ones among them."""
    for layer in net.layer:
        for blob in layer.blobs:
            sizes = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
            blob.num, blob.channels, blob.height, blob.width = sizes
            blob.ClearField("shape")


def appended(text: str) -> Callable[[str], str]:
    """Something stands at the end of the prototxt."""
    return lambda prototxt: prototxt + text


def declared(new: str) -> Callable[[str], str]:
    """The input is declared in another way."""
    return changed((DECLARED, new))


SHAPE = "input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }"
CONVOLUTION = """\
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
"""
PADDED = """\
layers { layer { name: "pad1" type: "padding" pad: 1 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 3 } bottom: "pad1" top: "conv1" }
"""
FAST_RCNN = """\
layer { name: "roi" type: "ROIPooling" bottom: "conv1" bottom: "prob" top: "roi" }
layer { name: "cls" type: "InnerProduct" bottom: "roi" top: "cls" inner_product_param { num_output: 3 } }
layer { name: "cls_prob" type: "Softmax" bottom: "cls" top: "cls_prob" }
"""
LONG = "pool" * 200

MIXED = (
    "has both 'layer { … }' and 'layers { … }' entries; all are used, in file order (Caffe "
    "refuses such files, or ignores the 'layer' entries)"
)
LEFT_OUT = "left out, because they are for training or measure results: "
NOT_NEEDED = "left out, because the scores do not depend on "
BECAME_INPUT = "data layer 'data' (Data) became an input 'data' of 3×8×8"
INVALID = "not a valid prototxt: "

STYLES = (
    Oddity(
        "some layers are old (`layers`), others current (`layer`)",
        changed(('layer { name: "relu1" type: "ReLU"', 'layers { name: "relu1" type: RELU')),
        notices=(MIXED,),
        seen="BVLC/caffe#3381",
    ),
    Oddity(
        "some layers are in V0 style, nested",
        changed(('layer { name: "relu1" type: "ReLU"', 'layers { layer { name: "relu1" type: "relu" }')),
        notices=(MIXED,),
    ),
    Oddity(
        "a layer of V0 pads for the convolution behind it",
        changed((CONVOLUTION, PADDED)),
        notices=(MIXED,),
    ),
    Oddity(
        "a type in old capitals stands in quotes",
        changed(('"Convolution"', '"CONVOLUTION"')),
        "layer 0 'conv1' (CONVOLUTION): layer type 'CONVOLUTION' is not supported; in the "
        'current style it is written type: "Convolution"',
    ),
    Oddity(
        "a type in quotes stands in `layers`",
        changed(('layer { name: "relu1"', 'layers { name: "relu1"')),
        f"line 6: {INVALID}in 'layers {{ … }}' a type is written without quotes: type: RELU",
        seen="BVLC/caffe#5472",
    ),
    Oddity(
        "a type of a fork stands in `layers`",
        changed(('layer { name: "relu1" type: "ReLU"', 'layers { name: "relu1" type: PRELU')),
        f"line 6: {INVALID}there is no value 'PRELU'; for types that Caffe's old style 'layers "
        '{ … }\' lacks, use the current style: layer { type: "…" … }',
    ),
    Oddity(
        "commas and semicolons stand behind fields",
        changed(("num_output: 4 kernel_size: 3", "num_output: 4, kernel_size: 3;"), ("dim: 1", "dim: 1,")),
    ),
    Oddity(
        "a comma stands twice",
        changed(("num_output: 4 ", "num_output: 4,, ")),
        f"line 5: {INVALID}'  convolution_param {{ num_output: 4,, kernel_size: 3 pad: 1 }} "
        "}': Expected identifier or number, got ,; remove it",
    ),
    Oddity(
        "comments have braces and single quotes",
        lambda text: '# layer { "\n' + text.replace("pad: 1 } }", "pad: 1 } # } } '\n}"),
    ),
    Oddity(
        "comments begin with `//`",
        lambda text: f"// a tiny net\n{text}",
        f"line 1: {INVALID}'// a tiny net': Expected identifier or number, got /; comments begin with '#'",
    ),
    Oddity("lines end in CR alone", lambda text: f"# tiny\n{text}".replace("\n", "\r")),
    Oddity(
        "`include` has no braces",
        changed(('type: "ReLU"', 'type: "ReLU" include: TEST')),
        f'line 6: {INVALID}\'layer {{ name: "relu1" type: "ReLU" include: TEST bottom: '
        '"conv1" top: "conv1" }\': Expected "{"; write include { phase: TEST }',
    ),
    Oddity(
        "a phase is written small",
        changed(('type: "ReLU"', 'type: "ReLU" include { phase: test }')),
        f"line 6: {INVALID}there is no value 'test'; did you mean 'TEST'? (known values: TRAIN, TEST)",
    ),
    Oddity(
        "a choice stands in quotes",
        changed(("pool: MAX", 'pool: "MAX"')),
        f"line 8: {INVALID}the value 'MAX' is in quotes; remove them",
    ),
    Oddity(
        "a choice is one of a fork",
        changed(("pool: MAX", "pool: SUM")),
        f"line 8: {INVALID}there is no value 'SUM' (known values: MAX, AVE, STOCHASTIC, AVE_EXC_PAD, AVE_TF)",
    ),
    Oddity(
        "a number stands in quotes",
        changed(("num_output: 4", 'num_output: "4"')),
        f'line 5: {INVALID}\'  convolution_param {{ num_output: "4" kernel_size: 3 pad: 1 }} '
        "}': Couldn't parse integer: \"4\"; write numbers without quotes",
    ),
    Oddity(
        "a decimal has a comma",
        changed(("stride: 2 }", "stride: 2 } lrn_param { beta: 0,75 }")),
        f"line 8: {INVALID}'  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} lrn_param "
        '{ beta: 0,75 } }\': Expected "{"; write decimals with a point',
    ),
    Oddity(
        "quotes are curly",
        changed(('"relu1"', "“relu1”")),
        f'line 6: {INVALID}\'layer {{ name: “relu1” type: "ReLU" bottom: "conv1" top: '
        "\"conv1\" }': Expected string but found: '“'; write straight quotes",
    ),
    Oddity(
        "a field stands twice where it may stand once",
        changed(("stride: 2", "stride: 2 stride: 2")),
        f"line 8: {INVALID}'stride' appears twice in one block; keep one",
        seen="ShaoqingRen/faster_rcnn#105",
    ),
    Oddity("padding stands twice, once for each axis", changed(("pad: 1", "pad: 1 pad: 1"))),
    Oddity(
        "it is JSON",
        lambda text: '{"name": "tiny"}',
        f'line 1: {INVALID}\'{{"name": "tiny"}}\': Expected identifier or number, got {{; a '
        "block begins with its name, such as layer {",
    ),
    Oddity(
        "a layer has a field of a fork",
        changed(("pad: 1", "pad: 1 dilate: 2"), ('"ReLU"', '"ReLU" quantize_param { bits: 8 }')),
        notices=(
            "line 5: field 'dilate' in 'convolution_param' of 'conv1' (Convolution) is unknown and is "
            "ignored; if it changes the forward pass, scores will be wrong",
            "line 6: field 'quantize_param' of 'relu1' (ReLU) is unknown and is ignored; if it changes the "
            "forward pass, scores will be wrong",
        ),
        seen="xiamenwcy/ScleraSegNet#3",
    ),
    Oddity(
        "a layer has a field with which a fork pads in another way",
        changed(("pad: 1", "pad: 1 pad_type: SAME")),
        notices=(
            "line 5: 'pad_type: SAME' in 'convolution_param' of 'conv1' (Convolution) is ignored, so "
            "scores will be wrong if the net was trained with a fork of Caffe where it decides on the "
            "padding; write the padding as numbers",
        ),
    ),
    Oddity(
        "dilation has the name it has in DeepLab's Caffe",
        changed(("pad: 1", "pad: 2 hole: 2")),
        is_same=False,
    ),
)

INPUTS = (
    Oddity("the batch has 10 images", changed(("dim: 1 dim: 3", "dim: 10 dim: 3"))),
    Oddity("the input is declared at the end", lambda text: text.replace(DECLARED, "") + DECLARED),
    Oddity(
        "there are three `input_dim`",
        changed((SHAPE, "input_dim: 3 input_dim: 8 input_dim: 8")),
        "declares 1 input(s) with 3 input_dim; every 'input:' needs either four 'input_dim:' "
        "(images, channels, height, width) or an 'input_shape { dim: … }'",
    ),
    Oddity(
        "four numbers stand behind one `input_dim`",
        changed((SHAPE, "input_dim: 1 3 8 8")),
        f"line 3: {INVALID}'input_dim: 1 3 8 8': Expected \"{{\"; write 'input_dim:' before "
        "each of the four numbers",
    ),
    Oddity(
        "`input_dim` and `input_shape` differ",
        changed((SHAPE, f"{SHAPE} input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9")),
        "declares 1 input(s) with 1 input_shape and 4 input_dim; every 'input:' needs either "
        "four 'input_dim:' (images, channels, height, width) or an 'input_shape { dim: … }'",
    ),
    Oddity(
        "`input_shape` stands twice",
        changed((SHAPE, f"{SHAPE} {SHAPE}")),
        "declares 1 input(s) but 2 shape(s); every 'input:' needs an 'input_shape { dim: … }' "
        "or four 'input_dim:'",
    ),
    Oddity(
        "there is another input that nothing reads",
        declared(f'{DECLARED}input: "im_info" input_shape {{ dim: 1 dim: 3 }}\n'),
        notices=(f"{NOT_NEEDED}it: input 'im_info'",),
    ),
    Oddity(
        "there is an input for labels",
        lambda text: declared(f'{DECLARED}input: "label" input_shape {{ dim: 1 }}\n')(text) + ACCURACY,
        notices=(f"{NOT_NEEDED}it: input 'label'", f"{LEFT_OUT}'accuracy' (Accuracy)"),
    ),
    Oddity(
        "a deploy file measures accuracy",
        appended(ACCURACY),
        notices=(f"{LEFT_OUT}'accuracy' (Accuracy)",),
        seen="AlfredXiangWu/face_verification_experiment#46",
    ),
    Oddity(
        "a softmax was a loss and still reads the labels",
        changed(('"Softmax" bottom: "fc1"', '"Softmax" bottom: "fc1" bottom: "label"')),
        "layer 'prob' (Softmax) reads the blob 'label', which no input or layer before it "
        "writes; labels are for training: remove this bottom",
        seen="BestiVictory/ILGnet#2",
    ),
    Oddity(
        "it is the net for training",
        changed((DECLARED, DATA_LAYER % "TRAIN" + DATA_LAYER % "TEST"), (SOFTMAX, LOSS + SCORE_ACCURACY)),
        notices=(
            BECAME_INPUT,
            "loss layer 'loss' (SoftmaxWithLoss) became a layer of type Softmax",
            f"{LEFT_OUT}'accuracy' (Accuracy)",
        ),
        seen="amirgholami/SqueezeNext#1",
    ),
    Oddity(
        "it is the net of DIGITS for all stages",
        changed(
            (DECLARED, DATA_LAYER % 'TRAIN stage: "train"' + DATA_LAYER % 'TEST stage: "val"'),
            ('"Softmax"', '"Softmax" include { stage: "deploy" }'),
        ),
        notices=("its layers of stage 'deploy' are used", BECAME_INPUT),
        seen="NVIDIA/DIGITS#623",
    ),
)

LAYERS = (
    Oddity("two layers without weights have one name", changed(('name: "relu1"', 'name: "pool1"'))),
    Oddity("a layer has the name of one with weights", changed(('name: "relu1"', 'name: "conv1"'))),
    Oddity(
        "layers are out of order",
        lambda text: text.replace(SOFTMAX, "").replace(SCORES, f"{SOFTMAX}\n{SCORES}"),
        "layer 'prob' (Softmax) reads the blob 'fc1', which no input or layer before it writes; "
        "layer 'fc1' writes it, but later: put the layers in order, without a cycle",
    ),
    Oddity("blobs have names in Cyrillic", changed(('"pool1"', '"пул 1"'))),
    Oddity("a name has 800 letters", changed(('"pool1"', f'"{LONG}"'))),
    Oddity(
        "a layer that works in place has no bottom",
        changed(('"ReLU" bottom: "conv1"', '"ReLU"')),
        "layer 'relu1' (ReLU) writes the blob 'conv1' a second time; give its top another "
        'name, or add bottom: "conv1" if it works in place',
    ),
    Oddity(
        "a layer has no top",
        changed(('bottom: "conv1" top: "pool1"', 'bottom: "conv1"')),
        "layer 'fc1' (InnerProduct) reads the blob 'pool1', which no input or layer before it "
        "writes; layer 'pool1' (Pooling) before it has no top: is top: \"pool1\" missing there?",
    ),
    Oddity(
        "`kernel_h` stands without `kernel_w`",
        changed(("kernel_size: 3", "kernel_h: 3")),
        "layer 0 'conv1' (Convolution): gives kernel_h alone; give both kernel_h and kernel_w",
    ),
    Oddity(
        "channels do not divide into the groups",
        changed(("num_output: 4", "num_output: 4 group: 2")),
        "layer 0 'conv1' (Convolution): 3 input and 4 output channels do not divide into 2 "
        "groups; check num_output and group",
    ),
    Oddity(
        "a loss is written in Python",
        appended('layer { name: "triplet" type: "Python" bottom: "fc1" top: "t" loss_weight: 1 }'),
        notices=(f"{LEFT_OUT}'triplet' (Python)",),
    ),
    Oddity(
        "a side branch has a layer of an unknown type",
        appended('layer { name: "side" type: "Mystery" bottom: "pool1" top: "side" }'),
        notices=(f"{NOT_NEEDED}them: 'side' (Mystery)",),
    ),
    Oddity(
        "a layer is written in Python",
        changed(('"ReLU"', '"Python"')),
        "layer 1 'relu1' (Python): layer type 'Python' is not supported: it runs the "
        "author's own Python code, which is not read here; replace it by Caffe layers that compute the same, "
        "or cut the net off below it",
    ),
    Oddity(
        "the net is recurrent",
        changed(('"ReLU"', '"LSTM"')),
        "layer 1 'relu1' (LSTM): layer type 'LSTM' is not supported: it is recurrent: it reads "
        "sequences, not single images; give a classifier of images, or cut the net off below it",
    ),
    Oddity(
        "the net detects objects",
        appended(FAST_RCNN),
        "layer 6 'roi' (ROIPooling): layer type 'ROIPooling' is not supported: it belongs to "
        "an object detector, which has no scores for the image as a whole; give the classifier that the "
        "detector was made from, or cut the net off below the layer",
    ),
)

#: Of ONNX: version, producer, graph, versions of operators.
ONNX = b"\x08\x07\x12\x07pytorch\x3a\x05graph\x42\x02\x10\x09"

WEIGHTS = (
    Oddity("layers are in V0 style", caffemodel=rewritten(as_v0)),
    Oddity("one layer is in V1 style", caffemodel=rewritten(one_in_v1)),
    Oddity("numbers are in double precision", caffemodel=rewritten(in_double_precision)),
    Oddity("numbers are as NVIDIA's Caffe stores them", caffemodel=in_raw_numbers, seen="NVIDIA/caffe#376"),
    Oddity("all blobs have four axes", caffemodel=rewritten(in_legacy_shapes), seen="NVIDIA/DIGITS#1331"),
    Oddity("gradients are stored, too", caffemodel=rewritten(with_gradients)),
    Oddity("a layer is there twice: the later counts", caffemodel=rewritten(with_an_earlier_copy)),
    Oddity(
        "there is no layer in it",
        caffemodel=replaced(NetParameter(name="tiny").SerializeToString()),
        error="net.caffemodel: contains no layer with weights; give the caffemodel of the trained net",
    ),
    Oddity(
        "it is written as text",
        caffemodel=replaced(b'layer { name: "fc1" blobs { data: 1.5 } }\n'),
        error="net.caffemodel: is a caffemodel written as text; write it in the binary format, see "
        "'Converting weights' in caffe-lrp help nets",
    ),
    Oddity(
        "it is of Keras",
        caffemodel=replaced(b"\x89HDF\r\n\x1a\n" + bytes(2000) + b"keras_version"),
        error="net.caffemodel: is a Keras model, not a caffemodel; caffe-lrp runs only Caffe nets; export "
        "the net to ONNX for 'caffe-lrp import', see caffe-lrp help import, or use iNNvestigate",
    ),
    Oddity(
        "it is in ONNX format",
        caffemodel=replaced(ONNX),
        error="net.caffemodel: is an ONNX model, not a caffemodel; caffe-lrp runs only Caffe nets; "
        "'caffe-lrp import MODEL OUTDIR' makes Caffe files of it",
    ),
    Oddity(
        "it is of PyTorch",
        caffemodel=replaced(b"PK\x03\x04" + bytes(26) + b"archive/data.pkl"),
        error="net.caffemodel: is a PyTorch model, not a caffemodel; caffe-lrp runs only Caffe nets; export "
        "the net to ONNX for 'caffe-lrp import', see caffe-lrp help import, or use zennit or Captum",
    ),
    Oddity(
        "the net was finetuned to other classes",
        changed(("num_output: 5", "num_output: 20")),
        "layer 3 'fc1' (InnerProduct): needs weights of shapes 20×64 and 20, but the "
        "caffemodel has 5×64 and 5; …",
        seen="sfzhang15/RefineDet#25",
    ),
)

GROUPS = {
    "How the prototxt is written": STYLES,
    "Inputs and labels": INPUTS,
    "Layers": LAYERS,
    "The caffemodel": WEIGHTS,
}
ODDITIES = [oddity for group in GROUPS.values() for oddity in group]


def output_of(folder: Path, prototxt: str, change: Callable[[Path], object]) -> tuple[Blob, tuple[str, ...]]:
    """The scores of one image, and what is noticed."""
    path, weights = folder / "deploy.prototxt", folder / "net.caffemodel"
    path.write_text(PROTOTXT, encoding="utf-8")
    write_caffemodel(weights, random_weights(read_prototxt(path), seed=1))
    path.write_bytes(prototxt.encode())
    change(weights)
    stored = scan_caffemodel(weights)
    net = build_net(deploy(read_prototxt(path), stored), stored)
    batch = random_blob((1, *net.input_shape), 2)
    return net.forward(batch, set(), WORKSPACE)[net.output_value], net.notices


def without_place(message: str, folder: Path) -> str:
    return message.replace(f"{folder}/", "").removeprefix("deploy.prototxt: ")


@pytest.mark.slow
@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: oddity.title)
def test_odd_files_work_or_are_refused_with_what_to_do(oddity: Oddity, tmp_path: Path) -> None:
    expected, nothing = output_of(tmp_path, PROTOTXT, Path)
    assert nothing == ()
    try:
        output, notices = output_of(tmp_path, oddity.prototxt(PROTOTXT), oddity.caffemodel)
    except ModelError as error:
        said = without_place(str(error), tmp_path)
        assert re.fullmatch(".*".join(map(re.escape, oddity.error.split("…"))), said), said
    else:
        assert oddity.error == ""
        assert tuple(without_place(notice, tmp_path) for notice in notices) == oddity.notices
        assert np.array_equal(output, expected) == oddity.is_same


def test_there_are_many_oddities_and_none_stands_twice() -> None:
    titles = [oddity.title for oddity in ODDITIES]
    assert len(titles) == len(set(titles)) >= 30


def rendered() -> str:
    """The oddities as tables in Markdown."""
    return "\n".join(f"**{title}**\n\n{_table(group)}" for title, group in GROUPS.items())


def _table(oddities: Iterable[Oddity]) -> str:
    head = "| what is odd | what caffe-lrp says | seen |\n| --- | --- | --- |\n"
    return head + "".join(f"| {oddity.title} | {_said(oddity)} | {oddity.seen} |\n" for oddity in oddities)


def _said(oddity: Oddity) -> str:
    if oddity.error:
        return f"error: `{oddity.error}`"
    said = "".join(f"<br>`{notice}`" for notice in oddity.notices)
    return f"works, with a notice:{said}" if said else "works"


if __name__ == "__main__":
    sys.stdout.write(rendered())
