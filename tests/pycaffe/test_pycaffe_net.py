"""The lookalike's nets: views, passes over some layers, sizes, edited weights, and what is refused."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    INCEPTION,
    INCEPTION_INDICES,
    assert_close,
    messages,
    parse,
    random_blob,
    random_weights,
    write_caffemodel,
)
from oracle_walker import Options, Walker

from caffe_lrp import pycaffe as caffe
from caffe_lrp.errors import CaffeLrpError, ModelError
from caffe_lrp.pycaffe.blob import Blob

#: The same net with an output that depends on no size.
FULLY_CONVOLUTIONAL = INCEPTION[: INCEPTION.index('layer { name: "drop"')]
CONV = """
name: "conv" input: "data" input_shape { dim: 1 dim: 1 dim: 6 dim: 5 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 3
  kernel_size: 2 weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" value: 2 } } }
"""


def files(folder: Path, text: str = INCEPTION) -> tuple[str, str]:
    weights = random_weights(parse(folder, text), 11)
    model = write_caffemodel(folder / "net.caffemodel", weights)
    return str(folder / "deploy.prototxt"), str(model)


@pytest.fixture
def net(tmp_path: Path) -> caffe.Net:
    return caffe.Net(*files(tmp_path), caffe.TEST)


def walker(folder: Path, batch: Any, text: str = INCEPTION) -> Walker:
    found = Walker(messages(text), random_weights(parse(folder, text), 11), INCEPTION_INDICES)
    found.forward(batch)
    return found


# --- Names and views ----------------------------------------------------------------------------------------


def test_nets_open_in_every_order_of_arguments(tmp_path: Path) -> None:
    prototxt, caffemodel = files(tmp_path)
    for given, named in (
        ((prototxt, caffemodel, caffe.TEST), {}),
        ((prototxt, 1), {"weights": caffemodel}),
        ((Path(prototxt),), {"phase": caffe.TEST, "weights": Path(caffemodel)}),
        ((prototxt, caffe.TEST, 0, None, caffemodel.encode()), {}),
    ):
        opened = caffe.Net(*given, **named)
        assert opened.params["fc2"][0].data.any()


def test_blobs_are_listed_as_caffe_lists_them(net: Any) -> None:
    names = list(net.blobs)
    assert names[:6] == [
        "data", "conv1", "pool1", "norm1", "norm1_norm1_0_split_0", "norm1_norm1_0_split_1",
    ]  # fmt: skip
    assert (net.inputs, net.outputs) == (["data"], ["prob"])
    assert net.blobs["conv1"].data.shape == (2, 6, 13, 10)
    assert net._layer_names == list(INCEPTION_INDICES)
    assert net.top_names["relu1"] == net.bottom_names["relu1"] == ["conv1"]
    assert net.layer_dict["b"].type == "Convolution"
    assert [blob.shape for blob in net.params["b"]] == [(6, 2, 3, 3), (6,)]
    assert "Convolution" in caffe.layer_type_list()
    blob = net.blobs["fc1"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 8, 1, 1, 16)
    assert list(blob.shape) == [2, 8]
    assert [name for name, _ in net.params.iteritems()] == list(net.params.iterkeys())


def test_a_misspelt_name_is_answered_with_a_suggestion(net: Any) -> None:
    for mapping, name in ((net.blobs, "con1"), (net.params, "con1"), (net.forward(), "prop")):
        with pytest.raises(KeyError, match=r"did you mean '(conv1|prob)'"):
            mapping[name]


def test_a_forward_pass_gives_views_of_all_blobs(net: Any, tmp_path: Path) -> None:
    batch = random_blob((2, 3, 13, 11), 12)
    net.blobs["data"].data[...] = batch
    outputs = net.forward(blobs=["conv1"])
    expected = walker(tmp_path, batch)
    for name in ("conv1", "norm1", "joined", "fc1", "prob"):
        assert_close(
            net.blobs[name].data, expected.values[expected.last[name]].reshape(net.blobs[name].shape)
        )
    assert list(outputs) == ["prob", "conv1"]
    assert np.shares_memory(outputs["prob"], net.blobs["prob"].data)
    first = net.blobs["prob"].data.copy()
    changed = net.forward(data=batch[::-1])["prob"]
    assert changed is not outputs["prob"]
    np.testing.assert_array_equal(outputs["prob"], first[::-1])


def test_one_image_fills_the_batch(net: Any) -> None:
    net.blobs["data"].data[...] = random_blob((3, 13, 11), 1)
    prob = net.forward()["prob"]
    np.testing.assert_array_equal(prob[0], prob[1])


# --- Some of the layers -------------------------------------------------------------------------------------


def test_passes_in_two_parts_give_the_same(net: Any) -> None:
    batch = random_blob((2, 3, 13, 11), 12)
    whole = net.forward(data=batch)["prob"].copy()
    net.blobs["prob"].data[...] = 0
    assert list(net.forward(end="conv1")) == ["conv1"]
    assert net.blobs["conv1"].data.min() < 0  # ReLU, in place, has not been run
    assert net.forward(start="relu1", end="fc1")["fc1"].shape == (2, 8)
    np.testing.assert_array_equal(net.forward(start="relu_fc1")["prob"], whole)


def test_what_a_script_writes_between_two_parts_counts(net: Any) -> None:
    net.forward(end="fc1")
    net.blobs["fc1"].data[...] = 0
    net.params["fc2"][1].data[...] = [0, 0, 9, 0, 0]
    assert net.forward(start="relu_fc1")["prob"][0].argmax() == 2


def test_callbacks_get_the_indices_of_layers(net: Any) -> None:
    heard: list[tuple[str, int]] = []
    net.before_forward(lambda index: heard.append(("before", index)))
    net.after_forward(lambda index: heard.append(("after", index)))
    net.after_backward(lambda index: heard.append(("back", index)))
    net.forward(end="relu1")
    net.backward(start="relu1")
    assert heard == [("before", 0), ("after", 0), ("before", 1), ("after", 1), ("back", 1), ("back", 0)]


# --- Gradients ----------------------------------------------------------------------------------------------


def test_backward_gives_the_gradient_of_loops(net: Any, tmp_path: Path) -> None:
    batch = random_blob((2, 3, 13, 11), 12)
    net.forward(data=batch)
    scores = net.blobs["fc2"]
    scores.diff[...] = 0
    for item, label in enumerate((3, 0)):
        scores.diff[item, label] = scores.data[item, label]  # from where the oracle starts
    found = net.backward(start="fc2", diffs=["conv1"])
    slow = walker(tmp_path, batch)
    assert list(found) == ["data", "conv1"]
    for name, first, above in (("data", "conv1", None), ("conv1", None, "conv1")):
        assert_close(found[name], slow.relevance(11, Options(), "fc2", [[3], [0]], first, above), 2e-4)
        assert np.shares_memory(found[name], net.blobs[name].diff)


def test_backward_takes_the_gradients_of_outputs_by_name(net: Any) -> None:
    net.forward(data=random_blob((2, 3, 13, 11), 12))
    wanted = np.array([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    gradient = net.backward(prob=wanted)["data"]
    assert gradient[0].any()
    assert not gradient[1].any()
    with pytest.raises(Exception, match="Top diff arguments do not match net outputs"):
        net.backward(fc2=wanted)


def test_backward_wants_a_forward_pass_of_the_same_size(net: Any) -> None:
    net.forward()
    net.blobs["data"].reshape(3, 3, 13, 11)
    refuse(r"shape \(2, 5\) in place of \(3, 5\); run net.forward\(\) before", net.backward)
    net.forward()
    net.backward()


# --- Sizes --------------------------------------------------------------------------------------------------


def test_any_number_of_items_is_computed_in_batches(net: Any) -> None:
    images = random_blob((5, 3, 13, 11), 3)
    found = net.forward_all(blobs=["fc1"], data=images)
    assert {name: blob.shape for name, blob in found.items()} == {"prob": (5, 5), "fc1": (5, 8)}
    net.blobs["data"].reshape(5, 3, 13, 11)
    np.testing.assert_array_equal(net.forward(data=images)["prob"], found["prob"])
    outs, gradients = net.forward_backward_all(data=images, prob=np.eye(5, dtype=np.float32))
    np.testing.assert_array_equal(outs["prob"], found["prob"])
    assert gradients["data"].shape == images.shape


def test_height_and_width_can_change(tmp_path: Path) -> None:
    net = caffe.Net(*files(tmp_path, FULLY_CONVOLUTIONAL), caffe.TEST)
    net.blobs["data"].reshape(1, 3, 20, 17)
    net.reshape()
    shape = net.blobs["pool2"].data.shape
    assert shape[:2] == (1, 13)
    batch = random_blob((1, 3, 20, 17), 4)
    slow = walker(tmp_path, batch, FULLY_CONVOLUTIONAL)
    assert_close(net.forward(data=batch)["pool2"], slow.values[slow.last["pool2"]])
    assert net.blobs["pool2"].data.shape == shape


def test_old_views_stay_while_a_blob_does_not_grow() -> None:
    blob = Blob((2, 3))
    view = blob.data
    blob.reshape(3, 2)
    assert np.shares_memory(view, blob.data)
    blob.reshape(4, 2)
    assert not np.shares_memory(view, blob.data)


# --- Weights ------------------------------------------------------------------------------------------------


def test_edited_weights_count_in_the_next_pass(net: Any) -> None:
    batch = random_blob((2, 3, 13, 11), 12)
    before = net.forward(data=batch)["prob"].copy()
    weight = net.params["conv1"][0]
    assert np.array_equal(net.forward()["prob"], before)
    weight.data[...] = weight.data[:, ::-1].copy()
    after = net.forward(data=batch[:, ::-1])["prob"]
    np.testing.assert_allclose(after, before, rtol=1e-4)  # swapped channels of both
    net.params["fc2"][1].data[1] += 100
    assert net.forward()["prob"].argmax(1).tolist() == [1, 1]


def test_weights_survive_a_file(net: Any, tmp_path: Path) -> None:
    net.params["fc2"][0].data.flat = np.arange(40)
    expected = net.forward(data=random_blob((2, 3, 13, 11), 12))["prob"].copy()
    net.save(tmp_path / "edited.caffemodel")
    other = caffe.Net(str(tmp_path / "deploy.prototxt"), caffe.TEST)
    other.copy_from(str(tmp_path / "edited.caffemodel"))
    batch = net.blobs["data"].data
    np.testing.assert_array_equal(other.forward(data=batch)["prob"], expected)


def test_fully_connected_layers_become_convolutions(tmp_path: Path) -> None:
    """Net surgery: weights are copied into a net whose layers have other names and shapes."""
    fully = INCEPTION.replace(
        '"fc1" inner_product_param { num_output: 8 }',
        '"fc1" convolution_param { num_output: 8 kernel_h: 3 kernel_w: 2 }',
    ).replace('name: "fc1" type: "InnerProduct"', 'name: "fc1-conv" type: "Convolution"')
    files(tmp_path)
    (tmp_path / "surgery.prototxt").write_text(fully)
    source: Any = caffe.Net(str(tmp_path / "deploy.prototxt"), str(tmp_path / "net.caffemodel"), caffe.TEST)
    kernel = source.blobs["pool2"].data.shape[2:]
    (tmp_path / "surgery.prototxt").write_text(
        fully.replace("kernel_h: 3 kernel_w: 2 } }", f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} }} }}")
    )
    with pytest.warns(UserWarning, match="has no weights for fc1-conv"):
        net: Any = caffe.Net(str(tmp_path / "surgery.prototxt"), str(tmp_path / "net.caffemodel"), caffe.TEST)
    for new, old in zip(net.params["fc1-conv"], source.params["fc1"], strict=True):
        new.data.flat = old.data.flat
    batch = random_blob((2, 3, 13, 11), 12)
    np.testing.assert_allclose(net.forward(data=batch)["prob"], source.forward(data=batch)["prob"], rtol=1e-4)


def test_without_a_caffemodel_weights_are_filled_as_the_prototxt_says(tmp_path: Path) -> None:
    path = tmp_path / "conv.prototxt"
    path.write_text(CONV)
    caffe.set_random_seed(7)
    net = caffe.Net(str(path), caffe.TEST)
    weight, bias = net.params["conv"]
    assert weight.data.shape == (3, 1, 2, 2)
    assert 0 < np.abs(weight.data).max() < 0.1
    assert bias.data.tolist() == [2, 2, 2]
    net.blobs["data"].data[...] = 0
    assert (net.forward()["conv"] == 2).all()
    weight.data[:, 0] = [[0, 1], [0, 0]]
    shown = random_blob((1, 1, 6, 5), 1)
    np.testing.assert_allclose(net.forward(data=shown)["conv"][0, 1], shown[0, 0, :-1, 1:] + 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("filler", "shape", "check"),
    [
        ('type: "uniform" min: 2 max: 3', (4, 2, 3, 3), lambda w: 2 <= w.min() < w.max() <= 3),
        ('type: "xavier"', (50, 2, 3, 3), lambda w: 0.9 * (3 / 18) ** 0.5 < w.max() <= (3 / 18) ** 0.5),
        ('type: "msra"', (90, 5, 3, 3), lambda w: abs(w.std() / (2 / 45) ** 0.5 - 1) < 0.1),
        (
            'type: "bilinear"',
            (2, 2, 3, 3),
            lambda w: np.allclose(w[1, 0], np.outer([0.25, 0.75, 0.75], [0.25, 0.75, 0.75])),
        ),
    ],
    ids=["uniform", "xavier", "msra", "bilinear"],
)
def test_fillers_fill_as_caffes(filler: str, shape: Sequence[int], check: Any, tmp_path: Path) -> None:
    path = tmp_path / "conv.prototxt"
    path.write_text(
        CONV.replace('type: "gaussian" std: 0.01', filler)
        .replace("num_output: 3", f"num_output: {shape[0]}")
        .replace("kernel_size: 2", "kernel_size: 3")
        .replace("dim: 1 dim: 1 dim: 6", f"dim: 1 dim: {shape[1]} dim: 6")
    )
    weight = caffe.Net(str(path), caffe.TEST).params["conv"][0].data
    assert weight.shape == tuple(shape)
    assert check(weight)


# --- What is refused ----------------------------------------------------------------------------------------


def refuse(text: str, call: Any, kind: type[Exception] = caffe.CaffeError) -> None:
    with pytest.raises(kind, match=text) as caught:
        call()
    assert isinstance(caught.value, CaffeLrpError)


def test_wrong_calls_are_python_errors_that_say_what_to_do(net: Any, tmp_path: Path) -> None:
    prototxt = str(tmp_path / "deploy.prototxt")
    data = net.blobs["data"]
    wrong = np.zeros((2, 3, 13, 12), np.float32)
    refuse("Could not open file no.prototxt", lambda: caffe.Net("no.prototxt", caffe.TEST), RuntimeError)
    refuse("needs a phase", lambda: caffe.Net(prototxt, str(tmp_path / "net.caffemodel")))
    refuse("give caffe.TEST", lambda: caffe.Net(prototxt, caffe.TRAIN))
    refuse("write state", lambda: caffe.Net(prototxt, caffe.TEST, stages=["deploy"]))
    refuse("Input blob arguments do not match net inputs: given are image", lambda: net.forward(image=wrong))
    refuse("Input is not batch sized", lambda: net.forward(data=wrong[:1]), ValueError)
    refuse("must have the shape", lambda: net.forward(data=wrong), ValueError)
    refuse("must be an array of numbers", lambda: net.forward(data="x"), ValueError)
    refuse("no layer 'conf1'; did you mean 'conv1'", lambda: net.forward(start="conf1"))
    refuse("the pass would begin at 'fc2'", lambda: net.forward(start="fc2", end="conv1"))
    refuse("the pass would begin at 'conv1'", lambda: net.backward(start="conv1", end="fc2"))
    refuse("given as a list", lambda: net.forward(blobs="conv1"))
    refuse("write into it: blob.data", lambda: setattr(data, "data", wrong))
    refuse("no 'conf1' here", lambda: net.forward(blobs=["conf1"]), KeyError)
    refuse("whole numbers", lambda: data.reshape(1.5, 3))
    refuse("must be positive", lambda: data.reshape(0, 3, 13, 11))
    refuse("at most", lambda: data.reshape(10**6, 10**6))
    refuse("gradients of weights", lambda: net.params["conv1"][0].diff)
    refuse("cannot be reshaped", lambda: net.params["conv1"][0].reshape(3))
    refuse("copy them", lambda: net.share_with(net))
    refuse("must be an array of items", lambda: net.forward_all(data=wrong[0]))
    refuse("binary format", lambda: net.save_hdf5("x"))


def test_an_input_that_layers_cannot_have_is_refused_and_can_be_taken_back(net: Any) -> None:
    data = net.blobs["data"]
    net.params["fc2"][1].data[...] = [0, 99, 0, 0, 0]
    data.reshape(2, 3, 40, 40)
    refuse("cannot be reshaped to inputs of .*fc1", net.reshape)
    data.reshape(2, 4, 13, 11)
    refuse("the net is for items of 3 × 13 × 11", net.forward)
    data.reshape(2, 3, 13, 11)
    assert net.forward()["prob"].argmax(1).tolist() == [1, 1]  # what was edited before is not forgotten


def test_weights_that_do_not_fit_are_refused(net: Any, tmp_path: Path) -> None:
    other = write_caffemodel(tmp_path / "other.caffemodel", {"fc2": [np.ones((5, 9), np.float32)]})
    refuse("layer 'fc2' has weights of the shapes", lambda: net.copy_from(other))
    net.params["fc2"][0].data[0, 0] = np.nan
    refuse("fc2.*NaN or infinite", net.forward, ModelError)


@pytest.mark.parametrize(
    "name", ["SGDSolver", "get_solver", "NetSpec", "layers", "params", "Detector", "Layer"]
)
def test_what_is_not_there_is_refused_by_name(name: str) -> None:
    stand_in = getattr(caffe, name)
    for use in (lambda: stand_in("file"), lambda: stand_in.Convolution):
        refuse(f"caffe.{name} is not part of caffe_lrp.pycaffe; .+", use)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nett'"):
        caffe.Nett  # noqa: B018


def test_threads_of_a_net_end_with_it(tmp_path: Path) -> None:
    net = caffe.Net(*files(tmp_path), caffe.TEST)
    net.forward()
    workspace = net._workspace
    del net
    gc.collect()
    assert not workspace._blocks


def test_the_mode_changes_nothing() -> None:
    caffe.set_mode_cpu()
    caffe.set_device(0)
    with pytest.warns(UserWarning, match="computes on the CPU"):
        caffe.set_mode_gpu()
