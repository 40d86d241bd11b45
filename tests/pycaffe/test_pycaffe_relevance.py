"""The toolbox's extension: options and their composites, relevance of batches, and the raw interface."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    INCEPTION,
    INCEPTION_INDICES,
    Weights,
    assert_close,
    messages,
    parse,
    random_blob,
    random_weights,
    write_caffemodel,
)
from chapters import chapter
from numpy.typing import NDArray
from oracle_walker import Options, Walker

from caffe_lrp import CaffeLrpError
from caffe_lrp import pycaffe as caffe
from caffe_lrp.pycaffe.faults import REFUSED
from caffe_lrp.pycaffe.options import OPTIONS

FC2 = INCEPTION_INDICES["fc2"]
NUMBERS = Options(epsilon=0.125, beta=0.5, switch=8)
BATCH = random_blob((2, 3, 13, 11), 12)
CLASSES = [3, 0]

Net = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path) -> Net:
    """Opens a net of a text, with random weights unless some are given."""

    def opened_net(text: str = INCEPTION, weights: Weights | None = None) -> caffe.Net:
        found = random_weights(parse(tmp_path, text), 11) if weights is None else weights
        model = write_caffemodel(tmp_path / "net.caffemodel", found)
        (tmp_path / "deploy.prototxt").write_text(text)
        return caffe.Net(str(tmp_path / "deploy.prototxt"), str(model), caffe.TEST)

    return opened_net


def options(formula: int, **changes: Any) -> caffe.RelPropOpts:
    """As the toolbox's demo sets them."""
    found = caffe.RelPropOpts()
    settings = {
        "relpropformulatype": formula,
        "epsstab": NUMBERS.epsilon,
        "alphabeta_beta": NUMBERS.beta,
        "lastlayerindex": -2,
        "firstlayerindex": 0,
        "codeexectype": 0,
        "lrn_forward_type": 0,
        "lrn_backward_type": 1,
        "auxiliaryvariable_maxlayerindexforflatdistinconv": NUMBERS.switch,
    }
    for name, value in (settings | changes).items():
        setattr(found, name, value)
    return found


def walker(folder: Path) -> Walker:
    found = Walker(messages(INCEPTION), random_weights(parse(folder, INCEPTION), 11), INCEPTION_INDICES)
    found.forward(BATCH)
    return found


# --- Whole nets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", [0, 2, 26, 54, 56, 58, 60, 100, 102, 104, 114, 166])
def test_formulas_give_batches_the_relevance_of_loops(formula: int, opened: Net, tmp_path: Path) -> None:
    net = opened()
    net.blobs["data"].data[...] = BATCH
    found = net.lrp(np.array(CLASSES), options(formula))
    assert found.shape == (2, 3, 13, 11)
    assert found.dtype == np.float64
    expected = walker(tmp_path).relevance(formula, NUMBERS, "fc2", [[3], [0]], first="conv1")
    assert_close(found.astype(np.float32), expected, 5e-5)


@pytest.mark.parametrize("formula", [11, 99])
def test_gradients_never_become_norms(formula: int, opened: Net, tmp_path: Path) -> None:
    net = opened()
    net.blobs["data"].data[...] = BATCH
    expected = walker(tmp_path).relevance(11, NUMBERS, "fc2", [[3], [3]], first="conv1")
    assert_close(net.lrp_single(3, options(formula)).astype(np.float32), expected, 2e-4)
    corrected = net.lrp([3, 3], options(formula, quirks="corrected"))  # from 1, not the score
    scores = net.forward(end="fc2")["fc2"][:, 3].reshape(2, 1, 1, 1)
    assert_close((corrected * scores).astype(np.float32), expected, 2e-4)


def test_relevance_stays_in_the_diffs_of_the_blobs_it_passes(opened: Net, tmp_path: Path) -> None:
    net = opened()
    scores = net.forward(data=BATCH, blobs=["fc2"])["fc2"].copy()
    net.lrp(np.array(CLASSES), options(100))
    start = np.zeros_like(scores)
    start[[0, 1], CLASSES] = scores[[0, 1], CLASSES]
    np.testing.assert_allclose(net.blobs["fc2"].diff, start, rtol=1e-5)
    expected = walker(tmp_path).relevance(100, NUMBERS, "fc2", [[3], [0]], stop_above="pool1")
    assert_close(net.blobs["pool1"].diff, expected, 5e-5)


def test_relevance_can_end_above_the_image(opened: Net) -> None:
    net = opened()
    net.blobs["data"].data[...] = BATCH
    first = INCEPTION_INDICES["pool2"]
    found = net.lrp(np.array(CLASSES), options(100, firstlayerindex=first))
    assert found.shape == net.blobs["joined"].shape
    assert not net.blobs["data"].diff.any()


def test_items_without_a_class_start_from_nothing_and_surplus_classes_are_ignored(opened: Net) -> None:
    net = opened()
    net.blobs["data"].data[...] = BATCH
    both = net.lrp(np.array(CLASSES), options(100))
    first = net.lrp(np.array(CLASSES[:1]), options(100))
    np.testing.assert_array_equal(first[0], both[0])
    assert not first[1].any()
    np.testing.assert_array_equal(net.lrp(np.array([*CLASSES, 2]), options(100)), both)


def test_batches_of_other_sizes_give_the_same_maps(opened: Net) -> None:
    net = opened()
    net.blobs["data"].reshape(19, 3, 13, 11)
    net.blobs["data"].data[...] = np.concatenate([BATCH, random_blob((17, 3, 13, 11), 3)])
    many = net.lrp(np.array([*CLASSES, *[1] * 17]), options(102))
    net.blobs["data"].reshape(1, 3, 13, 11)
    net.blobs["data"].data[...] = BATCH[1]
    np.testing.assert_array_equal(net.lrp_single(CLASSES[1], options(102)), many[1:2])


def test_edited_weights_and_merged_normalization_count(opened: Net) -> None:
    text = INCEPTION.replace(
        'layer { name: "relu1"',
        'layer { name: "bn" type: "BatchNorm" bottom: "conv1" top: "bn" }\n'
        'layer { name: "scale" type: "Scale" bottom: "bn" top: "conv1_out" '
        "scale_param { bias_term: true } }\n"
        'layer { name: "relu1"',
    )
    text = text.replace('"ReLU" bottom: "conv1" top: "conv1"', '"ReLU" bottom: "conv1_out" top: "conv1_out"')
    text = text.replace('"Pooling" bottom: "conv1"', '"Pooling" bottom: "conv1_out"')
    net = opened(text)
    net.blobs["data"].data[...] = BATCH
    before = net.lrp(np.array(CLASSES), options(100, alphabeta_beta=1))
    assert np.abs(before).max() > 0
    net.forward(end="conv1")
    unmerged = net.blobs["conv1"].data.copy()
    for number in (0, 1):  # a scale twice as large before a normalization that halves it
        net.params["conv1"][number].data[...] *= 2
    net.params["bn"][0].data[...] *= 2
    net.params["bn"][1].data[...] *= 4
    np.testing.assert_allclose(net.forward(end="conv1")["conv1"], 2 * unmerged, rtol=1e-4, atol=1e-5)
    after = net.lrp(np.array(CLASSES), options(100, alphabeta_beta=1))
    np.testing.assert_allclose(after, before, atol=1e-3 * np.abs(before).max())


# --- What options of the wrapper add ------------------------------------------------------------------------

INNER = """
input: "data" input_shape { dim: 1 dim: 2 }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 1 } }
"""
POOLED = """
input: "data" input_shape { dim: 1 dim: 1 dim: 2 dim: 2 }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: MAX kernel_size: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 1 } }
"""
NORMALIZED = """
input: "data" input_shape { dim: 1 dim: 2 dim: 1 dim: 1 }
layer { name: "lrn" type: "LRN" bottom: "data" top: "lrn" lrn_param { local_size: 3 alpha: 3 beta: 1 k: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "lrn" top: "fc" inner_product_param { num_output: 1 } }
"""


def numbers(*rows: Any) -> list[NDArray[np.float32]]:
    return [np.array(row, np.float32) for row in rows]


@pytest.mark.parametrize(("treatment", "expected"), [(0, (1.25, -1)), (1, (2, -1))])
def test_the_bias_is_left_or_shared(treatment: int, expected: tuple[float, float], opened: Net) -> None:
    """Products 1 and −2, a bias of 0.6, β = 1: as the toolbox's wrapper gives."""
    net = opened(INNER, {"fc": numbers([[1, -2]], [0.6])})
    net.blobs["data"].data[...] = 1
    found = net.lrp(np.array([0]), options(2, alphabeta_beta=1, biastreatmenttype=treatment))
    np.testing.assert_allclose(found[0] / -0.4, expected, rtol=1e-5)


@pytest.mark.parametrize(("kind", "expected"), [(0, [0, 0, 0, 5]), (1, [0.5, 1, 1, 2.5])])
def test_max_pooling_gives_all_to_the_winner_or_shares(kind: int, expected: list[float], opened: Net) -> None:
    net = opened(POOLED, {"fc": numbers([[1]], [0])})
    net.blobs["data"].data[...] = np.reshape([1, 2, 2, 5], (1, 1, 2, 2))
    found = net.lrp(np.array([0]), options(0, epsstab=0, maxpoolingtoavgpoolinginbackwardpass=kind))
    np.testing.assert_allclose(found.reshape(-1), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [-1, 0, 1])
def test_lrn_passes_relevance_unless_it_is_told_to_use_the_taylor_rule(kind: int, opened: Net) -> None:
    net = opened(NORMALIZED, {"fc": numbers([[1, 2]], [0])})
    net.blobs["data"].data[...] = np.reshape([1, 2], (1, 2, 1, 1))
    found = net.lrp(np.array([0]), options(0, epsstab=0, lrn_backward_type=kind)).reshape(-1)
    normalized = net.forward(end="lrn")["lrn"].reshape(-1)
    is_passed = np.allclose(found, normalized * [1, 2])
    assert is_passed == (kind != 1)


# --- Options ------------------------------------------------------------------------------------------------


def test_options_begin_as_in_the_toolbox_and_take_other_names() -> None:
    found = caffe.RelPropOpts()
    assert (found.relpropformulatype, found.epsstab, found.firstlayerindex) == (-1, 1.0, -1)
    assert found.alphabeta_beta == np.float32(0.1)
    found.lrptype_pool = 5
    found.epsstab = 1e-10
    assert found.epsstab == np.float32(1e-10)
    assert "alphabeta_beta=0.1" in repr(found)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"relpropformulatype": -1}, "relpropformulatype is not set; it must be one of 0, 2, 11"),
        ({"relpropformulatype": 31}, "relpropformulatype is 31"),
        ({"firstlayerindex": -1}, "firstlayerindex is not set; 0 leads down to the image"),
        ({"relpropformulatype": 54, "auxiliaryvariable_maxlayerindexforflatdistinconv": -1}, "54 needs aux"),
        ({"numclasses": 1000}, "numclasses is 1000, but .*fc2.* 5 outputs per item; set it to 5"),
        ({"codeexectype": 2}, "codeexectype is 2"),
        ({"codeexectype": 1}, "nets without pooling"),
        ({"lrn_backward_type": 2}, "lrn_backward_type is 2; it must be one of -1, 0, 1"),
        ({"epsstab": -1.0}, "epsstab must not be negative"),
        ({"quirks": "none"}, "quirks must be one of reference, corrected"),
        ({"lastlayerindex": 99}, "has layers 0 to 20"),
        ({"lastlayerindex": 0, "firstlayerindex": 5}, "below the start layer"),
    ],
)
def test_options_with_which_the_toolbox_ends_the_process_are_errors(
    changes: dict[str, Any], text: str, opened: Net
) -> None:
    given = {"relpropformulatype": 100} | changes
    wrong = options(given.pop("relpropformulatype"), **given)
    with pytest.raises(CaffeLrpError, match=text):
        opened().lrp(np.array(CLASSES), wrong)


def test_wrong_classes_and_missing_options_are_errors(opened: Net) -> None:
    net, right = opened(), options(100)
    for call, text in (
        (lambda: net.lrp(3, right), r"an array of the shape \(N,\)"),
        (lambda: net.lrp(np.array([1.0, 2.0]), right), "whole numbers"),
        (lambda: net.lrp(np.array([5]), right), "class 5 does not exist: .*count from 0 to 4"),
        (lambda: net.lrp_single(-1, right), "class -1 does not exist"),
        (lambda: net.lrp_single([1], right), "needs one class"),
        (lambda: net.lrp(np.array([1])), "needs options: opts = caffe.RelPropOpts()"),
        (lambda: net.lrp(np.array([1]), {"epsstab": 1}), "must be of caffe.RelPropOpts"),
        (lambda: setattr(right, "numclasses", 2.5), "numclasses must be a whole number, not 2.5"),
        (lambda: setattr(right, "epsstab", "x"), "epsstab must be a number"),
    ):
        with pytest.raises(caffe.CaffeValueError, match=text):
            call()


# --- The raw interface --------------------------------------------------------------------------------------


def test_raw_maps_are_lists_column_by_column_with_red_first(opened: Net) -> None:
    net = opened()
    net.blobs["data"].data[...] = BATCH
    expected = net.lrp(np.array(CLASSES), options(100))
    classes = caffe._caffe.IntVecVec(caffe._caffe.IntVec([index]) for index in CLASSES)
    found = caffe._caffe.DoubleVecVecVec()
    net._backward_relevance_multi(classes, found, options(100))
    for item in (0, 1):
        assert len(found[item]) == 3
        assert found[item][0][2 + 13 * 7] == expected[item, 2, 2, 7]
        assert found[item][2][5 + 13 * 1] == expected[item, 0, 5, 1]
    one = caffe._caffe.DoubleVecVec()
    with pytest.raises(caffe.CaffeError, match="is for one item"):
        net._backward_relevance(classes[0], one, options(100))
    net.blobs["data"].reshape(1, 3, 13, 11)
    net.blobs["data"].data[...] = BATCH[0]
    net._backward_gradient(classes[0], one, options(100))
    np.testing.assert_array_equal(one[1][3], net.lrp_single(3, options(11))[0, 1, 3, 0])


def test_several_classes_of_an_item_start_together(opened: Net, tmp_path: Path) -> None:
    net = opened()
    net.blobs["data"].data[...] = BATCH
    found = caffe._caffe.DoubleVecVecVec()
    net._backward_relevance_multi([[3], [0, 4]], found, options(100))
    expected = walker(tmp_path).relevance(100, NUMBERS, "fc2", [[3], [0, 4]], first="conv1")
    np.testing.assert_allclose(found[1][0][4], expected[1, 2, 4, 0], rtol=1e-3)


# --- The manual ---------------------------------------------------------------------------------------------


def test_options_and_refused_names_are_documented() -> None:
    quoted = set(re.findall("`([^`]+)`", chapter("pycaffe")))
    assert {*OPTIONS, "quirks"} <= quoted
    others = {"NesterovSolver", "AdaGradSolver", "RMSPropSolver", "AdaDeltaSolver", "AdamSolver", "Solver"}
    rare = {"NCCL", "Timer", "to_proto", "net_spec", "detector", "coord_map"}
    assert {*REFUSED} - others - rare <= quoted
    words = {word.partition("(")[0].rpartition(".")[2] for word in quoted}
    assert {name for name in caffe.__all__ if name.startswith("set_")} <= words
