"""Parts of object detectors are recognised, and classifiers are taken for none."""

from pathlib import Path

import pytest
from builders import INCEPTION, deployed, parse

from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.net.build import build_graph
from caffe_lrp.net.deploy.deployed import deploy

ROOT = Path(__file__).parents[2]
CLASSIFIERS = sorted(
    [*(ROOT / "configs").rglob("*.prototxt"), *(ROOT / "tests" / "data").rglob("*.prototxt")]
)

DATA = 'input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 40 }\n'


def layer(name: str, kind: str, bottom: str, body: str = "") -> str:
    bottoms = " ".join(f'bottom: "{one}"' for one in bottom.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{name}" {body} }}\n'


def conv(name: str, bottom: str, outputs: int, size: int = 1, stride: int = 1) -> str:
    numbers = f"num_output: {outputs} kernel_size: {size} stride: {stride}"
    return layer(name, "Convolution", bottom, f"convolution_param {{ {numbers} }}")


def leaky(name: str, bottom: str, slope: float = 0.1) -> str:
    return layer(name, "ReLU", bottom, f"relu_param {{ negative_slope: {slope} }}")


BODY = DATA + conv("c", "data", 5, 8, 8) + layer("r", "ReLU", "c")
DARKNET = DATA + conv("c", "data", 5, 8, 8) + leaky("l", "c")
DENSE = "inner_product_param { num_output: %s }"

#: Net -> what is said of why it looks like a detector's.
DETECTORS = {
    "SSD without what makes boxes of numbers": (
        BODY + conv("conv4_3_norm_mbox_loc", "r", 16) + conv("conv4_3_norm_mbox_conf", "r", 84),
        "layers have the names of detection heads: 'conv4_3_norm_mbox_loc', 'conv4_3_norm_mbox_conf'",
    ),
    "SSD with its boxes as a side branch": (
        BODY
        + conv("scores", "r", 12)
        + layer("priors", "PriorBox", "r data")
        + layer("loss", "MultiBoxLoss", "scores priors label"),
        "left out: 'priors' (PriorBox), 'loss' (MultiBoxLoss)",
    ),
    "region proposals written in Python": (
        BODY
        + layer("boxes", "Python", "r", "python_param { module: 'rpn.proposal_layer' layer: 'Boxes' }")
        + conv("scores", "r", 12),
        "left out: 'boxes' (Python)",
    ),
    "R-FCN": (
        BODY
        + conv("rfcn_cls", "r", 18)
        + layer("pooled", "PSROIPooling", "rfcn_cls rois")
        + conv("rfcn_bbox", "r", 8),
        "left out: 'pooled' (PSROIPooling); layers have the names of detection heads: 'rfcn_bbox'",
    ),
    "proposals of Faster R-CNN": (
        BODY + conv("rpn_conv/3x3", "r", 6) + conv("rpn_cls_score", "rpn_conv/3x3", 4),
        "layers have the names of detection heads: 'rpn_conv/3x3', 'rpn_cls_score'",
    ),
    "DetectNet": (
        BODY + conv("cvg/classifier", "r", 1) + conv("bbox/regressor", "r", 4),
        "layers have the names of detection heads: 'cvg/classifier', 'bbox/regressor'",
    ),
    "YOLO of version 2": (
        DARKNET + conv("conv22", "l", 125),
        "'conv22' gives 5×(5+20) numbers at each of 4×5 positions, as in YOLO",
    ),
    "YOLO of version 3, at two scales": (
        DARKNET + conv("fine", "l", 255) + conv("coarse", "l", 255, 2, 2),
        "'fine' gives 3×(5+80) numbers at each of 4×5 positions, as in YOLO; 'coarse' gives 3×(5+80) numbers "
        "at each of 2×2 positions, as in YOLO",
    ),
    "YOLO of version 1": (
        DARKNET + layer("connect2", "InnerProduct", "l", DENSE % 1470),
        "'connect2' gives 2×5+20 numbers at each of 49 positions, as in YOLO",
    ),
}
CLASSES = layer("prob", "Softmax", "fc")
#: Nets with something that detectors have as well.
OTHERS = {
    "a classifier": INCEPTION,
    "Darknet's classifier": DARKNET + conv("fc", "l", 1000) + CLASSES,
    "Darknet's classifier, cut off below its softmax": DARKNET + conv("fc", "l", 1000),
    "segmentation": BODY + conv("fc", "r", 21),
    "segmentation of as many classes as YOLO has numbers": BODY + conv("fc", "r", 255),
    "a net with leaky neurons": DATA
    + conv("c", "data", 5, 8, 8)
    + leaky("l", "c", 0.2)
    + conv("fc", "l", 125),
    "segmentation of VOC with leaky neurons": DARKNET + conv("fc", "l", 21) + conv("fine", "l", 30),
    "scores of a region": BODY + layer("cls_score", "InnerProduct", "r", DENSE % 21),
    "names with parts of words": BODY + conv("mboxing", "r", 4) + conv("fc_region", "mboxing", 7),
    "a loss written in Python": BODY
    + layer("fc", "InnerProduct", "r", DENSE % 7)
    + layer("triplet", "Python", "fc", "loss_weight: 1 python_param { module: 'losses' layer: 'Heroic' }"),
}


def said(folder: Path, text: str) -> list[str]:
    return [notice for notice in build_graph(deployed(folder, text)).notices if "object detector" in notice]


@pytest.mark.parametrize("name", DETECTORS)
def test_parts_of_detectors_are_recognised_by_what_is_told(name: str, tmp_path: Path) -> None:
    text, signs = DETECTORS[name]
    (note,) = said(tmp_path, text)
    assert f"deploy.prototxt: looks like part of an object detector: {signs}. Detectors score boxes" in note
    assert note.count("left out") <= 1


@pytest.mark.parametrize("name", OTHERS)
def test_other_nets_are_taken_for_none(name: str, tmp_path: Path) -> None:
    assert said(tmp_path, OTHERS[name]) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", CLASSIFIERS, ids=lambda path: path.stem)
def test_no_net_of_the_repository_is_taken_for_one(path: Path) -> None:
    assert build_graph(deploy(read_prototxt(path))).notices == ()


def test_of_many_heads_three_are_named(tmp_path: Path) -> None:
    heads = "".join(conv(f"mbox_{number}", "r", 4) for number in range(7))
    (note,) = said(tmp_path, BODY + heads)
    assert "'mbox_0', 'mbox_1', 'mbox_2' and 4 more. " in note


def test_what_was_left_out_is_remembered_if_the_input_gets_another_size(tmp_path: Path) -> None:
    spec = parse(tmp_path, DETECTORS["R-FCN"][0])
    assert build_graph(deploy(spec, input_size=(48, 64))).notices == build_graph(deploy(spec)).notices
