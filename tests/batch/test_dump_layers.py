"""Relevance at layers: that it is what arrives there, what the files are called, and what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batch_builders import explain_jobs, jobs_for, small_explainer, small_settings
from builders import (
    ENGINE,
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    from_scores,
    random_blob,
)
from command_line import CONFIG, files_below, listing, run
from database_builders import explanation_of
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.batch.observing import layer_kinds, observing
from caffe_lrp.errors import ImageError, UsageError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.model.explainer import Explainer, open_explainer
from caffe_lrp.model.schedule import whole_footprint
from caffe_lrp.outputs.encoding import Encoding
from caffe_lrp.outputs.layers import layer_kind, layer_labels, layer_suffix
from caffe_lrp.outputs.writers import write_outputs
from caffe_lrp.relevance.target import Target

FC2 = INCEPTION_INDICES["fc2"]
CLASSES = [[3], [0]]


def inception(folder: Path, code: int = 100, first: int = 0, text: str = INCEPTION) -> Explainer:
    settings = small_settings(
        folder, text, epsilon=0.1, switch_layer=5, start_layer=FC2, first_layer=first, quirks="reference"
    )
    return open_explainer(settings).explaining([code])


def dumped(explainer: Explainer, batch: Blob, names: Sequence[str]) -> list[dict[str, Blob]]:
    """Relevance at layers, for every item of a batch."""
    plan = explainer.plan
    forward = ENGINE.forward(plan.net, [plan], batch)
    record = observing(explainer, layer_kinds(explainer, names)).observation.observer(plan)
    assert record is not None
    from_scores(plan, forward, CLASSES, record)
    return [record.layers(item) for item in range(len(batch))]


@pytest.mark.parametrize("code", [0, 11, 99, 102])
@pytest.mark.parametrize("name", ["conv1", "pool1", "a", "c_pool", "joined", "drop", "fc1"])
def test_a_dump_is_the_relevance_that_arrives_at_the_output(name: str, code: int, tmp_path: Path) -> None:
    explainer, batch = inception(tmp_path, code), random_blob((2, *INCEPTION_SHAPE), 3)
    plan = explainer.plan
    above = [step for step in plan.steps if step.layer.index > INCEPTION_INDICES[name]]
    (value,) = plan.net.layers[INCEPTION_INDICES[name]].outputs
    partial = replace(plan, steps=tuple(above), target=value, finish=None)
    wanted = from_scores(partial, ENGINE.forward(plan.net, [plan], batch), CLASSES)
    for item, found in enumerate(dumped(explainer, batch, [name])):
        (blob,) = found.values()
        assert list(found) == [f"layer:{name}"]
        assert blob.dtype == np.float32
        assert blob.flags.c_contiguous
        assert blob.shape == plan.net.shape_of(value)
        assert np.array_equal(blob, wanted[item])
        assert np.abs(blob).max() > 0


def test_at_the_start_layer_a_dump_is_what_relevance_starts_from(tmp_path: Path) -> None:
    explainer, batch = inception(tmp_path), random_blob((2, *INCEPTION_SHAPE), 3)
    plan = explainer.plan
    scores = ENGINE.forward(plan.net, [plan], batch).activations[plan.start.outputs[0]]
    for item, found in enumerate(dumped(explainer, batch, ["fc2"])):
        expected = np.zeros(5)
        expected[CLASSES[item]] = scores[item, CLASSES[item]]
        np.testing.assert_allclose(found["layer:fc2"], expected, rtol=1e-6)


def test_every_output_of_a_layer_has_a_file(tmp_path: Path) -> None:
    explainer, batch = inception(tmp_path), random_blob((2, *INCEPTION_SHAPE), 3)
    for found in dumped(explainer, batch, ["4", "norm1"]):
        assert list(found) == ["layer:norm1", *(f"layer:norm1_norm1_0_split@{n}" for n in range(3))]
        together = sum(found[f"layer:norm1_norm1_0_split@{n}"] for n in range(3))
        np.testing.assert_allclose(found["layer:norm1"], together, rtol=0, atol=1e-6)


def test_layers_come_in_the_order_of_the_net_and_once(tmp_path: Path) -> None:
    kinds = layer_kinds(inception(tmp_path), ["fc1", "conv1", "17", "0", "pool1"])
    assert kinds == ("layer:conv1", "layer:pool1", "layer:fc1")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("conv7", "has no layer 'conv7'; give names, or indices from 0 to 20"),
        ("joned", "has no layer 'joned'; did you mean 'joined'?; give names, or indices from 0 to 20"),
        ("21", "has no layer '21'"),
        ("-1", "has no layer '-1'"),
        (
            "prob",
            "the backward pass does not reach layer 20 'prob' (Softmax): it starts at layer 19 'fc2' "
            "(InnerProduct) and ends below layer 2 'pool1' (Pooling); give a layer between them, or another",
        ),
        ("conv1", "the backward pass does not reach layer 0 'conv1' (Convolution)"),
    ],
)
def test_layers_that_relevance_does_not_pass_are_refused(name: str, complaint: str, tmp_path: Path) -> None:
    explainer = inception(tmp_path, first=2)
    with pytest.raises(UsageError) as caught:
        layer_kinds(explainer, [name])
    assert complaint in caught.value.message
    assert caught.value.setting == "layers"


def test_a_name_of_several_layers_is_refused_and_their_indices_are_not(tmp_path: Path) -> None:
    text = INCEPTION.replace('name: "relu_a"', 'name: "relu"').replace('name: "relu_b"', 'name: "relu"')
    explainer = inception(tmp_path, 0, text=text)
    with pytest.raises(UsageError, match=r"'relu' stands for several layers of .*: 6, 10; give the index"):
        layer_kinds(explainer, ["relu"])
    assert layer_kinds(explainer, ["10", "6"]) == ("layer:6-relu", "layer:10-relu")


def test_several_formulas_and_targets_have_dumps_of_their_own(tmp_path: Path) -> None:
    explainer = small_explainer(tmp_path, (0, 2))
    explainer = observing(explainer, layer_kinds(explainer, ["pool", "conv"]))
    jobs = jobs_for(("a", 0), ("a", 3), ("b", Target(-2)), ("bad", 1), formulas=(0, 2))
    together = explain_jobs(explainer, jobs)
    seen = []
    for job, attempt in zip(jobs, together, strict=True):
        if job.image.name == "bad":
            assert attempt.explanation is None
            continue
        (alone,) = explain_jobs(explainer, [job])
        assert attempt.explanation is not None
        assert alone.explanation is not None
        assert list(attempt.explanation.layers) == ["layer:conv", "layer:pool"]
        for kind, blob in attempt.explanation.layers.items():
            np.testing.assert_allclose(blob, alone.explanation.layers[kind], rtol=0, atol=1e-6)
        seen.append(attempt.explanation.layers["layer:pool"].tobytes())
    assert len(set(seen)) == len(seen) == 6


def test_what_is_kept_counts_as_memory(tmp_path: Path) -> None:
    explainer = small_explainer(tmp_path)
    plain = whole_footprint(explainer).per_image
    dumping = whole_footprint(observing(explainer, ["layer:conv"])).per_image
    assert dumping == plain + 3 * 4 * (4 * 7 * 7)  # in the engine, and in two results
    assert whole_footprint(observing(explainer, ["conservation"])).per_image > plain
    assert whole_footprint(observing(explainer, ["heatmap"])).per_image == plain


# --- Names of files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["conv5", "pool2"], ["conv5", "pool2"]),
        (["inception_3a/3x3", "loss1 fc", "fé"], ["inception_3a_3x3", "loss1_fc", "f_"]),
        (["relu", "conv", "relu"], ["0-relu", "conv", "2-relu"]),
        (["a/b", "a_b", ""], ["0-a_b", "1-a_b", "2-"]),
        (["1-x", "x", "x"], ["0-1-x", "1-x", "2-x"]),
        (["n" * 300], ["n" * 80]),
    ],
)
def test_labels_are_names_made_fit_for_files(names: list[str], labels: list[str]) -> None:
    assert layer_labels(names) == labels


@given(st.lists(st.text("ab/_-.0123456789@", max_size=5), max_size=12))
def test_no_two_layers_share_a_label(names: list[str]) -> None:
    labels = layer_labels(names)
    assert len(set(labels)) == len(names)
    assert not any("/" in label or "@" in label for label in labels)


def test_suffixes_begin_as_those_of_the_whole_map_do() -> None:
    assert layer_suffix(layer_kind("conv5")) == "_relevance_conv5.npy"
    assert layer_suffix(layer_kind("slice", 1)) == "_relevance_slice@1.npy"


# --- The command line -------------------------------------------------------------------------------------


def read(path: Path) -> Blob:
    return np.asarray(np.load(path, allow_pickle=False), np.float32)


def test_dumps_are_written_beside_the_other_files(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/tall.png 5")
    plain = run("-c", CONFIG, "-f", path, "-p", tmp_path / "plain")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path / "o", "--dump-layers", "fc7,conv1_1, 12")
    assert (plain.returncode, result.returncode, result.stderr) == (0, 0, "")
    common = files_below(tmp_path / "plain")
    for name in common:
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    added = sorted(set(files_below(tmp_path / "o")) - set(common))
    assert added == sorted(
        f"out/images/set/{image}_relevance_{layer}.npy"
        for image in ("square.jpg", "tall.png")
        for layer in ("conv1_1", "pool3", "fc7")
    )
    stem = f"{tmp_path}/o/out/images/set/square.jpg_relevance_"
    assert read(Path(f"{stem}conv1_1.npy")).shape == (10, 40, 40)
    seed = read(Path(f"{stem}fc7.npy"))
    assert np.flatnonzero(seed).tolist() == [3]
    assert "_relevance_conv1_1.npy, _relevance_pool3.npy, _relevance_fc7.npy, _heatmap.png" in result.stdout


def test_dumps_can_be_of_half_precision_and_need_no_other_file(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    options = ("--outputs", "npy", "--dump-layers", "conv2_1", "--dtype", "float16")
    assert run("-c", CONFIG, "-f", path, "-p", tmp_path / "half", *options).returncode == 0
    assert run("-c", CONFIG, "-f", path, "-p", tmp_path / "full", *options[:-2]).returncode == 0
    name = "out/images/set/square.jpg_relevance_conv2_1.npy"
    half, full = (np.load(tmp_path / folder / name) for folder in ("half", "full"))
    assert (half.dtype, full.dtype) == (np.float16, np.float32)
    assert np.array_equal(half, full.astype(np.float16))


def test_what_does_not_fit_into_half_precision_is_refused(tmp_path: Path) -> None:
    layers = {"layer:conv": np.full((2, 3), 7e4, np.float32)}
    with pytest.raises(ImageError, match="relevance of 70000 is too large for float16"):
        write_outputs(
            f"{tmp_path}/a.jpg",
            replace(explanation_of(0), layers=layers),
            ["layer:conv"],
            Encoding("float16"),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("conv1_2,nonsense", "caffe-lrp: error: --dump-layers: models/vgg.prototxt has no layer 'nonsense'"),
        ("prob", "the backward pass does not reach layer 17 'prob' (Softmax)"),
        ("conv1_1,,2", "'conv1_1,,2' must be names or indices of layers, such as conv5,12"),
    ],
)
def test_wrong_layers_are_refused_before_anything_is_written(
    tmp_path: Path, option: str, complaint: str
) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path / "o", "--dump-layers", option)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert not (tmp_path / "o").exists()


def test_a_run_goes_on_where_dumps_are_missing(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/tall.png 5")
    command = ("-c", CONFIG, "-f", path, "-p", tmp_path, "--dump-layers", "conv1_1,fc7", "--outputs", "h5")
    pytest.importorskip("h5py")
    assert run(*command).returncode == 0
    written = tmp_path / "out/images/set/tall.png_relevance_fc7.npy"
    before = written.read_bytes()
    written.unlink()
    leftover = written.with_name(f".{written.name}.01234567.tmp")
    leftover.touch()
    again = run(*command)
    assert again.returncode == 0
    assert "1 of 2 maps are done, the files of 1 are gone; 1 left" in again.stderr
    assert written.read_bytes() == before
    assert not leftover.exists()


def test_other_dumps_are_another_run_and_overwrite_none(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    first = ("-c", CONFIG, "-f", path, "-p", tmp_path, "--outputs", "top10", "--dump-layers", "conv1_1,fc7")
    assert run(*first).returncode == 0
    second = ("-c", CONFIG, "-f", path, "-p", tmp_path, "--outputs", "npy", "--dump-layers", "fc7")
    refused = run(*second)
    assert refused.returncode == 5
    assert "such as " in refused.stderr
    assert "square.jpg_relevance_fc7.npy; choose another output folder" in refused.stderr
    assert run(*second[:-1], "conv2_1").returncode == 0
