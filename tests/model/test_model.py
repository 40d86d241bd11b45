"""The Python interface: what a model gives, by itself and beside the command, and what it refuses."""

import gc
import io
import json
import multiprocessing
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from batch_builders import CLASSES, NET, SIDE, small_settings
from builders import parse, random_blob, random_weights
from command_line import CONFIG, DATA
from numpy.typing import NDArray
from PIL import Image

import caffe_lrp
from caffe_lrp import (
    CaffeLrpError,
    ConfigError,
    Explanation,
    ImageError,
    Model,
    ModelError,
    PlanError,
    UsageError,
)
from caffe_lrp.cli.main import main
from caffe_lrp.imaging.place import Place
from caffe_lrp.model.schedule import BATCHES_PER_WORKER

PROTOTXT, CAFFEMODEL = "deploy.prototxt", "net.caffemodel"
PICTURE = "picture.png"
LABELS = ("cat", "dog", "sea", "car")
GIVEN: dict[str, Any] = {
    "mean_values": [104, 117, 123],
    "input_scale": 0.02,
    "labels": LABELS,
    "start_layer": -2,
    "formula": 100,
    "threads": 2,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small net, its weights, and a picture."""
    folder = tmp_path_factory.mktemp("model")
    small_settings(folder)
    Image.fromarray(pixels(0)).save(folder / PICTURE)
    return folder


@pytest.fixture(autouse=True)
def _here(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)


@pytest.fixture
def model() -> Iterator[Model]:
    with caffe_lrp.load(PROTOTXT, CAFFEMODEL, **GIVEN) as opened:
        yield opened


def pixels(seed: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3), RGB."""
    return np.random.default_rng(seed).integers(0, 256, (14, 18, 3), np.uint8)


def numbers_of(explanation: Explanation | CaffeLrpError) -> list[bytes]:
    """All numbers of an explanation."""
    assert isinstance(explanation, Explanation)
    return [array.tobytes() for array in arrays_of(explanation)]


def arrays_of(explanation: Explanation) -> list[NDArray[Any]]:
    ranking = explanation.ranking
    arrays: list[NDArray[Any]] = [explanation.relevance, explanation.input, explanation.scores]
    return [*arrays, ranking.classes, ranking.scores, *explanation.layers.values()]


# --- One image ----------------------------------------------------------------------------------------------


def test_explanations_are_what_the_command_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(DATA)
    images = {"images/set/square.jpg": 3, "images/set/tall.png": -1, "images/set/gray16.png": -2}
    names = {3: "c3", -1: "top1", -2: "top5"}
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path} {code}\n" for path, code in images.items()))
    options = ["--outputs", "npy,rawhm,top10,input", "--dump-layers", "fc7,pool3", "--conservation"]
    options += ["--suffix-target", "--threads", "2", "--quiet"]
    with caffe_lrp.load(CONFIG, threads=2) as model:
        noted: dict[str, Any] = {"layers": ["pool3", "fc7"], "conservation": True}
        alone = [model.explain(path, code, **noted) for path, code in images.items()]
        # What runs together decides on the last bits: formulas can share sums of the forward pass.
        together = list(model.explain_all(images, images.values(), [2, "epsilon-plus"], batch=2, **noted))
    for formulas, batch, explanations in (("2", "1", alone), ("2,epsilon-plus", "2", together)):
        out = f"{tmp_path}/{batch}"
        arguments = ["-c", str(CONFIG), "-f", str(listed), "-p", out, "--formula", formulas, "--batch", batch]
        assert main([*arguments, *options]) == 0
        asked = [(*each, formula) for each in images.items() for formula in formulas.split(",")]
        for (path, code, formula), found in zip(asked, explanations, strict=True):
            assert isinstance(found, Explanation)
            assert_written(f"{out}/out/{path}_f{formula}_{names[code]}", found)
    assert capsys.readouterr().err == ""


def assert_written(stem: str, found: Explanation) -> None:
    """Fail unless the files of a map hold all that an explanation does."""
    arrays = {"": found.relevance, **{f"_{name}": blob for name, blob in found.layers.items()}}
    assert len(arrays) == 3
    for end, array in arrays.items():
        assert npy(array) == Path(f"{stem}_relevance{end}.npy").read_bytes()
    lines = [f"{index} {score:g}\n" for index, _, score in found.top(10)]
    assert "".join(lines) == Path(f"{stem}_top10scores.txt").read_text()
    shown = np.asarray(Image.open(f"{stem}_as_inputted_into_the_dnn.png"))
    np.testing.assert_array_equal(found.input, shown)
    numbers = [f"{number:g}" for number in found.relevance.ravel()]
    assert numbers == Path(f"{stem}_rawhm.txt").read_text().split()[3:]
    assert found.conservation is not None
    account = {"formula": found.formula, "classes": list(found.target), **found.conservation.as_json()}
    assert account == json.loads(Path(f"{stem}_conservation.json").read_text())


def npy(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_an_explanation_names_its_image_and_target(model: Model) -> None:
    found = model.explain(PICTURE, 2, layers=["pool", 0], conservation=True)
    assert (found.target, found.formula, found.labels) == ((2,), 100, LABELS)
    assert (found.relevance.shape, found.input.shape, found.scores.shape) == ((3, 9, 9), (9, 9, 3), (5,))
    assert found.place == Place(14, 18, top=-2.0, left=0.0, bottom=16.0, right=18.0)
    assert {name: blob.shape for name, blob in found.layers.items()} == {"conv": (4, 7, 7), "pool": (4, 4, 4)}
    order = np.argsort(-found.scores)
    assert found.ranking.classes.tolist() == order.tolist()
    assert (found.label_of(2), found.label_of(-1)) == (LABELS[2], "without a label")
    assert found.score == found.scores[2]
    assert found.rank == order.tolist().index(2) + 1
    names = dict(enumerate((*LABELS, "without a label")))
    assert found.top(9) == [(index, names[index], found.scores[index]) for index in order]
    assert [row.class_index for row in found.top(2)] == order[:2].tolist()
    np.testing.assert_array_equal(found.relevance_of_net, found.relevance[::-1])
    assert found.conservation is not None
    assert found.conservation.arrives == pytest.approx(float(found.relevance.sum()), rel=1e-4)
    assert found.darkness is None
    five = model.explain(PICTURE, -2)
    assert five.target == tuple(order)
    assert model.explain(PICTURE).target == (order[0],)


def test_every_form_of_an_image_gives_the_same(model: Model) -> None:
    expected = numbers_of(model.explain(PICTURE, 1))
    forms = (
        Path(PICTURE),
        Path(PICTURE).absolute(),
        Image.open(PICTURE),
        Image.fromarray(pixels(0)),
        pixels(0),
    )
    for form in forms:
        assert numbers_of(model.explain(form, 1)) == expected
    finished = model.forward(PICTURE, ["data"])["data"]
    mean = np.array([104, 117, 123], np.float32)[:, None, None]
    shown = model.explain(PICTURE).input.transpose(2, 0, 1)[::-1].astype(np.float32)
    np.testing.assert_allclose(finished, (shown - mean) * 0.02, rtol=0, atol=0.02)
    for array in (finished, finished.astype(float), np.asfortranarray(finished)):
        found = model.explain(array, 1)
        assert found.relevance.tobytes() == expected[0]
        assert found.place == Place(9, 9, 0.0, 0.0, 9.0, 9.0)
    assert not np.shares_memory(model.forward(finished, ["data"])["data"], finished)


def test_arrays_are_an_explanations_own(model: Model) -> None:
    """Also of those that one forward pass gave."""
    images: list[Any] = [PICTURE, PICTURE, pixels(1)]
    found = list(model.explain_all(images, [1, 2, 1], [0, 100], layers=["conv", "fc"], batch=2))
    found.append(model.explain(PICTURE, layers=["conv"]))
    explanations = [each for each in found if isinstance(each, Explanation)]
    assert len(explanations) == 7
    before = [numbers_of(each) for each in explanations]
    for place, explanation in enumerate(explanations):
        for array in arrays_of(explanation):
            assert array.flags.owndata
            assert array.flags.c_contiguous
            array.fill(7)
        assert [numbers_of(each) for each in explanations[place + 1 :]] == before[place + 1 :]
    assert numbers_of(model.explain(PICTURE, layers=["conv"])) == before[-1]


# --- Many images --------------------------------------------------------------------------------------------


def test_explanations_of_many_images_come_in_their_order_for_every_formula(model: Model) -> None:
    images, targets = [pixels(seed) for seed in range(7)], [0, 4, -1, -2, 3, 2, 1]
    alone = [numbers_of(model.explain(*each)) for each in zip(images, targets, strict=True)]
    assert list(map(numbers_of, model.explain_all(images, targets))) == alone
    assert list(map(numbers_of, model.explain_all(iter(images), iter(targets), batch=3))) == alone
    shared = list(model.explain_all(np.stack(images), 2))
    assert numbers_of(shared[6]) == numbers_of(model.explain(images[6], 2))
    found = list(model.explain_all(images, targets, [0, "gamma-all", 100]))
    explanations = [each for each in found if isinstance(each, Explanation)]
    assert [each.formula for each in explanations] == [0, "gamma-all", 100] * 7
    assert len({each.relevance.tobytes() for each in explanations}) == 21
    for image, target, each in zip(images, targets, explanations[::3], strict=True):
        expected = model.explain(image, target, 0)
        assert each.target == expected.target
        # Sums that other formulas take of the forward pass make other last bits.
        np.testing.assert_allclose(each.relevance, expected.relevance, rtol=0, atol=1e-5)
    assert list(model.explain_all([])) == []


def test_no_more_images_are_drawn_than_may_be_on_the_way(model: Model) -> None:
    drawn = []

    def many() -> Iterator[NDArray[np.uint8]]:
        for number in range(200):
            drawn.append(number)
            yield pixels(number)

    explanations = model.explain_all(many(), batch=2)
    assert drawn == []
    next(explanations)
    # Two batches for each of two workers, and the image that tells that a batch is full.
    assert len(drawn) <= 2 * 2 * 2 + 1
    assert sum(1 for _ in explanations) == 199
    assert len(drawn) == 200


def test_an_error_is_raised_or_takes_the_place_of_its_explanations(model: Model) -> None:
    images: list[Any] = [pixels(0), "gone.png", pixels(1), np.zeros((3, 4, 4), np.float32), pixels(2)]
    targets = [1, 1, CLASSES, 1, 1]
    found = list(model.explain_all(images, targets, [0, 11], on_error="return"))
    assert [isinstance(each, Explanation) for each in found] == [True] * 2 + [False] * 6 + [True] * 2
    assert numbers_of(found[8]) == numbers_of(model.explain(pixels(2), 1, 0))
    errors = [str(each) for each in found if isinstance(each, ImageError)]
    assert errors[:2] == ["gone.png: no such image; check the path and the folder it is relative to"] * 2
    assert errors[2:4] == ["class 5 does not exist: the net has 5 outputs, which count from 0 to 4"] * 2
    assert "the finished input of the net, whose shape is (3, 9, 9)" in errors[5]
    explanations = model.explain_all(images, targets)
    assert numbers_of(next(explanations)) == numbers_of(model.explain(pixels(0), 1))
    with pytest.raises(ImageError, match=r"gone\.png: no such image"):
        next(explanations)
    with pytest.raises(StopIteration):
        next(explanations)


def test_no_more_explanations_of_one_image_are_kept_than_of_several(model: Model) -> None:
    drawn = 0

    def images() -> Iterator[Path]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Path(PICTURE)

    with closing(model.explain_all(images(), batch=2)) as explanations:
        next(explanations)
    assert drawn <= 2 * BATCHES_PER_WORKER * 2 + 1  # threads, batches of each, images, and one not placed


def test_settings_of_opencv_are_restored(model: Model) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        first, second = (model.explain_all(map(pixels, range(20)), batch=1) for _ in "ab")
        next(first), next(second)
        assert cv2.getNumThreads() == 1
        first.close()
        assert cv2.getNumThreads() == 1
        second.close()
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_a_fault_of_whoever_gives_the_images_is_passed_on(model: Model) -> None:
    def failing() -> Iterator[str]:
        yield PICTURE
        raise ZeroDivisionError("no more images")

    with pytest.raises(ZeroDivisionError, match="no more images"):
        list(model.explain_all(failing(), on_error="return"))


def test_no_thread_outlives_a_loop_that_is_left_or_a_model_that_is_gone() -> None:
    before = set(threading.enumerate())
    model = caffe_lrp.load(PROTOTXT, CAFFEMODEL, **GIVEN)
    for _ in model.explain_all([PICTURE] * 100, batch=1):
        break
    left = model.explain_all(map(pixels, range(100)), batch=1)
    next(left)
    left.close()
    model.explain(PICTURE)
    del model
    gc.collect()
    deadline = time.monotonic() + 10
    while not set(threading.enumerate()) <= before:  # threads that nobody joins end a moment later
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- Several threads and processes --------------------------------------------------------------------------


def test_threads_that_explain_in_parallel_get_the_results_of_one_thread(model: Model) -> None:
    formulas: tuple[Any, ...] = (0, 100, "gamma-all")
    asked = [(seed, seed % CLASSES, formula) for seed in range(10) for formula in formulas]

    def explained(of: tuple[int, int, Any]) -> list[bytes]:
        seed, target, formula = of
        return numbers_of(model.explain(pixels(seed), target, formula, layers=["conv"]))

    expected = list(map(explained, asked))
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(explained, asked)) == expected
        batches = [
            threads.submit(lambda: list(map(numbers_of, model.explain_all([PICTURE] * 5)))) for _ in "ab"
        ]
    assert [batch.result() for batch in batches] == [[numbers_of(model.explain(PICTURE))] * 5] * 2


def test_a_fork_of_the_process_has_a_model_of_its_own(model: Model) -> None:
    expected = numbers_of(model.explain(PICTURE))
    forking = multiprocessing.get_context("fork")
    receiver, sender = forking.Pipe(duplex=False)
    child = forking.Process(target=lambda: sender.send(numbers_of(model.explain(PICTURE))))
    child.start()
    try:
        assert receiver.poll(60)
        assert receiver.recv() == expected
    finally:
        child.kill()
        child.join()


@pytest.mark.slow
def test_a_model_goes_to_another_process_and_an_explanation_comes_back(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model.explain(PICTURE, 3, layers=["conv"])
    pickled, path = pickle.dumps(model), Path(PICTURE).absolute()
    assert len(pickled) < 5000  # no weights
    monkeypatch.chdir(tmp_path)
    with pickle.loads(pickled) as opened:
        assert (opened.labels, opened.formula) == (LABELS, 100)
        assert numbers_of(opened.explain(path, 3, layers=["conv"])) == numbers_of(expected)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        found = process.submit(Model.explain, model, path, 3, layers=["conv"]).result()
    assert numbers_of(found) == numbers_of(expected)
    assert (found.place, found.target, repr(found)) == (expected.place, expected.target, repr(expected))


# --- The forward pass ---------------------------------------------------------------------------------------


def test_forward_gives_blobs_by_name_as_they_are_in_the_end(model: Model) -> None:
    names = ["prob", "conv", "pool", "fc", "data"]
    one = model.forward(PICTURE, names)
    assert {name: blob.shape for name, blob in one.items()} == {
        "prob": (5,), "conv": (4, 7, 7), "pool": (4, 4, 4), "fc": (5,), "data": (3, 9, 9),
    }  # fmt: skip
    weights = random_weights(parse(Path(), NET), 0)
    (kernel, shift), (matrix, bias) = weights["conv"], weights["fc"]
    windows = np.lib.stride_tricks.sliding_window_view(one["data"], (3, 3), axis=(1, 2))
    conv = np.maximum(np.einsum("cyxij,kcij->kyx", windows, kernel) + shift[:, None, None], 0)
    np.testing.assert_allclose(one["conv"], conv, rtol=0, atol=1e-5)  # after the ReLU, which works in place
    padded = np.pad(one["conv"], ((0, 0), (0, 1), (0, 1)))
    np.testing.assert_array_equal(one["pool"], padded.reshape(4, 4, 2, 4, 2).max(axis=(2, 4)))
    np.testing.assert_allclose(one["fc"], matrix @ one["pool"].ravel() + bias, rtol=0, atol=1e-5)
    powers = np.exp(one["fc"] - one["fc"].max())
    np.testing.assert_allclose(one["prob"], powers / powers.sum(), rtol=1e-5)
    np.testing.assert_array_equal(model.forward(PICTURE)["prob"], one["prob"])
    np.testing.assert_array_equal(model.explain(PICTURE, formula=0).scores, one["prob"])


def test_forward_takes_any_number_of_inputs(model: Model) -> None:
    inputs = random_blob((37, 3, SIDE, SIDE), 5)
    found = model.forward(inputs, ["conv", "prob"])
    assert {name: blob.shape for name, blob in found.items()} == {"conv": (37, 4, 7, 7), "prob": (37, 5)}
    for place in (0, 16, 36):
        for name, blob in model.forward(inputs[place], ["conv", "prob"]).items():
            np.testing.assert_allclose(found[name][place], blob, rtol=0, atol=1e-6)
            assert blob.flags.owndata or blob.base is not None
    before = found["conv"].copy()
    model.forward(np.ones_like(inputs))
    np.testing.assert_array_equal(found["conv"], before)
    assert list(model.forward(inputs)) == ["prob"]


# --- What there is to know ----------------------------------------------------------------------------------


def test_models_plans_and_explanations_have_readable_texts(model: Model) -> None:
    assert repr(model) == "<Model of deploy.prototxt: 5 layers, input 3×9×9, 5 classes, formula 100>"
    assert (model.input_shape, model.output_count, model.labels) == ((3, 9, 9), 5, LABELS)
    assert repr(model.plan()) == (
        "index  name  type          output   parameters  mult-adds  rule\n"
        "0      conv  Convolution   1×4×7×7         112      5,292  αβ\n"
        "1      relu  ReLU          1×4×7×7           -          -  pass\n"
        "2      pool  Pooling       1×4×4×4           -          -  route\n"
        "3      fc    InnerProduct  1×5             325        320  ε\n"
        "4      prob  Softmax       1×5               -          -  -"
    )
    assert model.plan("epsilon-plus").layers[0].rules == {"epsilon-plus": "z⁺"}
    assert [layer.name for layer in model.layers] == ["conv", "relu", "pool", "fc", "prob"]
    assert model.notices == ()
    found = replace(
        model.explain(PICTURE, 1),
        relevance=np.full((3, 9, 9), 0.5, np.float32),
        scores=np.array([0.5, 0.25, 0, 0, 0.25], np.float32),
    )
    text = "score 0.25, rank %s; formula 100; relevance (3, 9, 9), sum 121.5>"
    assert repr(found) == f"<Explanation of class 1 (dog): {text % found.rank}"
    both = replace(found, target=(1, 4), ranking=replace(found.ranking, classes=np.array([0, 2])))
    assert repr(both) == (
        "<Explanation of classes 1 (dog), 4 (without a label): score 0.25, not ranked; formula 100; "
        "relevance (3, 9, 9), sum 121.5>"
    )


def test_a_model_has_the_formula_that_suits_its_net_and_notices_of_its_settings() -> None:
    given = {name: value for name, value in GIVEN.items() if name != "formula"} | {"class_count": 3}
    with caffe_lrp.load(PROTOTXT, CAFFEMODEL, **given) as model:
        assert model.formula == model.explain(PICTURE).formula == "epsilon-plus"
        assert len(model.explain(PICTURE).top(9)) == 3
        assert model.notices == (
            "class_count: numclasses is 3, but the net has 5 outputs; outputs from 3 on are not ranked, and "
            "-1 and -2 never choose them",
        )
        assert repr(model).endswith("formula epsilon-plus, 1 notice>")


def test_a_closed_model_explains_nothing() -> None:
    with caffe_lrp.load(PROTOTXT, CAFFEMODEL, **GIVEN) as model:
        model.explain(PICTURE)
    model.close()
    calls: list[Callable[[], object]] = [
        lambda: model.explain(PICTURE),
        lambda: model.explain_all([PICTURE]),
        lambda: model.forward(PICTURE),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=r"^the model is closed; load it again$"):
            call()
    assert repr(model).endswith(", formula 100, closed>")
    assert model.layers[0].name == "conv"


# --- What is refused ----------------------------------------------------------------------------------------

Call = Callable[[Model], object]
FINISHED = np.zeros((3, 9, 8), np.float32)


@pytest.mark.parametrize(
    ("call", "kind", "setting", "message"),
    [
        (
            lambda model: model.explain("pictur.png"),
            ImageError,
            "",
            "pictur.png: no such image; did you mean",
        ),
        (
            lambda model: model.explain(5),
            ImageError,
            "",
            "the image given (of type int): is not an image; give",
        ),
        (
            lambda model: model.explain(FINISHED),
            ImageError,
            "",
            "(an array of shape (3, 9, 8) and type float32)",
        ),
        (lambda model: model.explain(FINISHED.astype(np.uint8)), ImageError, "", "its channels come first"),
        (
            lambda model: model.explain(PICTURE, 7),
            ImageError,
            "target",
            "target: class 7 does not exist: the net",
        ),
        (
            lambda model: model.explain(PICTURE, -3),
            UsageError,
            "target",
            "target: -3 must be a class number, -1",
        ),
        (lambda model: model.explain(PICTURE, "cat"), UsageError, "target", "target: 'cat' must be a class"),
        (lambda model: model.explain(PICTURE, True), UsageError, "target", "target: True must be a class"),
        (
            lambda model: model.explain(PICTURE, 1, "epsilon-plu"),
            ConfigError,
            "formula",
            "formula: formula epsilon-plu is not supported; ",
        ),
        (
            lambda model: model.explain(PICTURE, 1, 102),
            ConfigError,
            "switch_layer",
            "switch_layer: formula 102 needs a switch layer; set",
        ),
        (
            lambda model: model.explain(PICTURE, layers=["pol"]),
            UsageError,
            "layers",
            "layers: deploy.prototxt has no layer 'pol'; did you mean 'pool'?; give names, or indices from 0",
        ),
        (
            lambda model: model.explain(PICTURE, layers=["prob"]),
            UsageError,
            "layers",
            "layers: the backward pass does not reach layer 4 'prob' (Softmax): it starts at layer 3 'fc'",
        ),
        (
            lambda model: model.explain(PICTURE, layers="pool"),
            UsageError,
            "layers",
            "layers: 'pool' is not a list; give a list of names or indices",
        ),
        (
            lambda model: model.plan("best"),
            ConfigError,
            "formula",
            "formula: formula best is not supported; ",
        ),
        (
            lambda model: model.forward(PICTURE, ["pol"]),
            UsageError,
            "blobs",
            "blobs: deploy.prototxt has no blob 'pol'; did you mean 'pool'?; blobs are named after the tops",
        ),
        (
            lambda model: model.forward(PICTURE, "pool"),
            UsageError,
            "blobs",
            "blobs: 'pool' is not a list; give a",
        ),
        (lambda model: model.forward(PICTURE, 5), UsageError, "blobs", "blobs: 5 is not a list; give a list"),
        (
            lambda model: model.forward(FINISHED[np.newaxis]),
            ImageError,
            "",
            "inputs of shape (1, 3, 9, 8) and type float32 were given, but the net takes (N, 3, 9, 9) of",
        ),
        (
            lambda model: model.forward("pictur.png"),
            ImageError,
            "",
            "pictur.png: no such image; did you mean",
        ),
        (
            lambda model: model.explain_all(PICTURE),
            UsageError,
            "images",
            "images: one image was given; give a list",
        ),
        (
            lambda model: model.explain_all(pixels(0)),
            UsageError,
            "images",
            "images: one image was given; give",
        ),
        (
            lambda model: model.explain_all([PICTURE], on_error="skip"),
            UsageError,
            "on_error",
            "on_error: 'skip' is neither 'raise' nor 'return'",
        ),
        (
            lambda model: model.explain_all([PICTURE], batch=1.5),
            UsageError,
            "batch",
            "batch: 1.5 must be a whole number, at least 1",
        ),
        (
            lambda model: model.explain_all([PICTURE], [1, 2]),
            UsageError,
            "targets",
            "targets: 2 were given for 1 image; give one for each",
        ),
        (
            lambda model: list(model.explain_all(iter([PICTURE] * 3), iter([1, 2]))),
            UsageError,
            "targets",
            "targets: must have one entry per image",
        ),
        (
            lambda model: model.explain_all([], 5),
            ImageError,
            "targets",
            "targets: class 5 does not exist: the net",
        ),
        (
            lambda model: list(model.explain_all([PICTURE], ["cat"], on_error="return")),
            UsageError,
            "targets",
            "targets: 'cat' must be a class number, -1 for",
        ),
        (
            lambda model: model.explain_all([PICTURE], None),
            UsageError,
            "targets",
            "targets: None must be a class number, -1 for",
        ),
        (
            lambda model: model.explain_all([], formulas="epsilon-plus"),
            UsageError,
            "formulas",
            "formulas: 'epsilon-plus' is not a list; give a list of numbers and names",
        ),
        (
            lambda model: model.plan([]),
            UsageError,
            "formula",
            "formula: [] must be the number or the name of a formula",
        ),
        (
            lambda model: model.explain(PICTURE, formula=[100]),
            UsageError,
            "formula",
            "formula: [100] must be the number or the name of a formula",
        ),
        (
            lambda model: model.explain_all([], formulas=[0, 0]),
            UsageError,
            "formulas",
            "formulas: must name at least one formula, and none twice",
        ),
    ],
)
def test_invalid_arguments_are_refused_by_name(
    call: Call, kind: type[CaffeLrpError], setting: str, message: str, model: Model
) -> None:
    with pytest.raises(CaffeLrpError) as caught:
        call(model)
    assert (type(caught.value), caught.value.setting) == (kind, setting)
    assert message in str(caught.value)


def test_an_error_of_a_file_names_it(model: Model, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(PICTURE).read_bytes()[:300])
    calls: list[Callable[[], object]] = [
        lambda: model.explain(str(broken)),
        lambda: model.forward(broken),
        lambda: list(model.explain_all([broken])),
    ]
    for call in calls:
        with pytest.raises(ImageError, match=r"broken\.png: image is damaged or cut short") as caught:
            call()
        assert caught.value.file == broken
    for given, kind in (
        ({"source": "gone.prototxt"}, ModelError),
        ({"caffemodel": "gone.caffemodel"}, ModelError),
        ({"labels": "gone.txt"}, ConfigError),
        ({"mean_file": "gone.binaryproto", "mean_values": None}, ModelError),
        ({"source": "gone.yaml", "caffemodel": None}, ConfigError),
    ):
        gone = next(str(name) for name in given.values())
        arguments: dict[str, Any] = {"source": PROTOTXT, "caffemodel": CAFFEMODEL, **GIVEN, **given}
        with pytest.raises(CaffeLrpError, match=r"^gone\..*cannot be read") as failed:
            caffe_lrp.load(**arguments)
        assert type(failed.value) is kind
        assert failed.value.file == Path(gone)


@pytest.mark.parametrize(
    ("given", "kind", "setting", "message"),
    [
        (
            {"caffemodel": None},
            UsageError,
            "caffemodel",
            "deploy.prototxt was given alone; give a prototxt and",
        ),
        ({"formula": "epsilon-plu"}, ConfigError, "formula", "formula epsilon-plu is not supported; "),
        ({"formula": 102}, ConfigError, "switch_layer", "formula 102 needs a switch layer; "),
        ({"epsilon": "many"}, ConfigError, "epsilon", "the value 'many' must be a number, such as 0.01"),
        ({"beta": -1}, ConfigError, "beta", "the value -1 must be at least 0"),
        ({"gamma": np.float32("nan")}, ConfigError, "gamma", "the value "),
        ({"channel_order": "GBR"}, ConfigError, "channel_order", "the value 'GBR' must be one of BGR, RGB"),
        ({"resize": "large"}, ConfigError, "resize", "the value 'large' must be one of reference"),
        ({"quirks": "none"}, ConfigError, "quirks", "the value 'none' must be one of reference, corrected"),
        ({"convolution": "fast"}, ConfigError, "convolution", "the value 'fast' must be one of auto, direct"),
        ({"canonize": True}, ConfigError, "canonize", "the value True must be one of auto, off"),
        ({"max_pixels": 0}, ConfigError, "max_pixels", "the value 0 must be at least 1"),
        ({"threads": 0}, ConfigError, "threads", "the value 0 must be at least 1"),
        ({"memory": "lots"}, ConfigError, "memory", "the value 'lots' must be a number and a unit"),
        ({"input_size": (9,)}, ConfigError, "input_size", "the value (9,) must be a height and a width"),
        (
            {"mean_values": [1, 2]},
            ConfigError,
            "mean_values",
            "mean_values has 2 numbers, but the net's input",
        ),
        (
            {"mean_file": "m"},
            ConfigError,
            "mean_values",
            "is given together with mean_file; keep only one of the two",
        ),
        ({"std_values": 2}, ConfigError, "std_values", "is given together with input_scale; keep only one"),
        ({"labels": [1]}, ConfigError, "labels", "must be a file, or a list of strings"),
        ({"class_count": 9}, ConfigError, "class_count", "numclasses 9 is more than the 5 outputs of deploy"),
        ({"epsilon": [1]}, ConfigError, "epsilon", "epsilon: the value [1] must be a number, such as 0.01"),
        (
            {"start_layer": "fcc"},
            ConfigError,
            "start_layer",
            "deploy.prototxt has no layer with this name; did",
        ),
        (
            {"switch_layer": "fcc"},
            ConfigError,
            "switch_layer",
            "deploy.prototxt has no layer with this name; did",
        ),
        (
            {"head": "fcc"},
            ConfigError,
            "head",
            "head fcc (--head): deploy.prototxt has no head with this name",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_setting(
    given: dict[str, Any], kind: type[CaffeLrpError], setting: str, message: str
) -> None:
    with pytest.raises(CaffeLrpError) as caught:
        caffe_lrp.load(PROTOTXT, **{"caffemodel": CAFFEMODEL, **GIVEN, **given})
    assert (type(caught.value), caught.value.setting) == (kind, setting)
    assert str(caught.value).startswith(f"{setting}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "kind", "layer", "is_of_prototxt", "message"),
    [
        (
            ("Pooling", "Poling"),
            ModelError,
            "pool",
            True,
            "layer 2 'pool' (Poling): layer type 'Poling' is not",
        ),
        (
            ("kernel_size: 2", "kernel_size: 20"),
            ModelError,
            "pool",
            True,
            "the kernel does not fit into the input",
        ),
        (
            ('bottom: "pool"', 'bottom: "pol"'),
            ModelError,
            "fc",
            True,
            "reads the blob 'pol', which no input or",
        ),
        (
            ("num_output: 4", "num_output: 3"),
            ModelError,
            "conv",
            False,
            "needs weights of shapes 3×3×3×3 and 3",
        ),
        (
            ('name: "fc"', 'name: "fx"'),
            ModelError,
            "fx",
            False,
            "layer 3 'fx' (InnerProduct): the caffemodel has",
        ),
    ],
)
def test_an_error_of_a_layer_names_it(
    change: tuple[str, str],
    kind: type[CaffeLrpError],
    layer: str,
    is_of_prototxt: bool,
    message: str,
    tmp_path: Path,
) -> None:
    prototxt = tmp_path / "other.prototxt"
    prototxt.write_text(NET.replace(*change))
    with pytest.raises(kind) as caught:
        caffe_lrp.load(prototxt, CAFFEMODEL, **GIVEN)
    assert message in str(caught.value)
    assert (caught.value.layer, caught.value.setting) == (layer, "")
    assert caught.value.file == (prototxt if is_of_prototxt else None)


def test_a_layer_without_a_rule_is_shown_by_the_plan_and_refused_by_name(tmp_path: Path) -> None:
    first = 'layer { name: "log" type: "Log" bottom: "data" top: "log" }\nlayer { name: "conv"'
    text = NET.replace('layer { name: "conv"', first).replace(
        'bottom: "data" top: "conv"', 'bottom: "log" top: "conv"'
    )
    with Model(small_settings(tmp_path, text)) as model:
        assert [layer.rules.get(0) for layer in model.plan(0).layers if layer.name == "conv"] == ["ε"]
        plan = model.plan("epsilon-gamma-box")
        assert [layer.name for layer in plan.layers if "none" in layer.rules.values()] == ["conv"]
        with pytest.raises(PlanError) as caught:
            model.explain(PICTURE, formula="epsilon-gamma-box")
        assert (caught.value.setting, caught.value.layer) == ("formula", "conv")
        assert str(caught.value).startswith("formula epsilon-gamma-box: ")
        assert model.explain(pixels(0), 1, 0).formula == 0


# --- Config files -------------------------------------------------------------------------------------------

YAML = f"""\
prototxt: {PROTOTXT}
caffemodel: {CAFFEMODEL}
synset_file: labels.txt
start_layer: -2
first_layer: 0
class_count: 5
output_root: out
path_root: images
formula: 100
epsilon: 0.01
beta: 1
switch_layer: 0
mean_values: [104, 117, 123]
input_scale: 0.02
"""


def config(folder: Path, old: str = "", new: str = "") -> Path:
    """A config of the same model, with something replaced."""
    Path("labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    path = folder / "config.yaml"
    path.write_text(YAML.replace(old, new))
    return path


def test_a_config_gives_the_same_model_and_arguments_replace_its_values(model: Model, tmp_path: Path) -> None:
    path = config(tmp_path)
    with caffe_lrp.load(str(path), threads=2) as other:
        assert repr(other) == repr(model)
        assert numbers_of(other.explain(PICTURE, 1)) == numbers_of(model.explain(PICTURE, 1))
    with caffe_lrp.load(config(tmp_path, "synset_file:", "labels:")) as other:
        assert other.labels == LABELS
    changes: dict[str, Any] = {"formula": 0, "class_count": 3, "mean_values": 0}
    with caffe_lrp.load(path, labels=list("abcde"), **changes) as other:
        assert (other.formula, other.labels, other.notices[0][:12]) == (0, tuple("abcde"), "class_count:")
        assert other.forward(PICTURE, ["data"])["data"].min() >= 0


@pytest.mark.parametrize(
    ("change", "setting", "line", "message"),
    [
        (
            ("start_layer: -2", "start_layer: fcc"),
            "start_layer",
            4,
            "lastlayerindex fcc (--start-layer): deploy",
        ),
        (("class_count: 5", "class_count: 9"), "class_count", 6, "numclasses 9 is more than the 5 outputs"),
        (("formula: 100", "formula: best"), "formula", 9, "formula best is not supported; set"),
        (
            ("[104, 117, 123]", "[104, 117]"),
            "mean_values",
            13,
            "mean_values has 2 numbers, but the net's input",
        ),
        (("epsilon: 0.01", "epsilon: many"), "", 10, "the value of 'epsilon' must be a number, such as 0.01"),
    ],
)
def test_an_error_in_a_config_names_file_and_line(
    change: tuple[str, str], setting: str, line: int, message: str, tmp_path: Path
) -> None:
    path = config(tmp_path, *change)
    with pytest.raises(ConfigError) as caught:
        caffe_lrp.load(path)
    assert str(caught.value).startswith(f"{path}: line {line}: {message}")
    assert caught.value.setting == setting


def test_an_explanation_names_its_image(model: Model) -> None:
    names = [found.source for found in model.explain_all([PICTURE, pixels(1)])]
    assert names == [PICTURE, "the image given (an array of shape (14, 18, 3) and type uint8)"]


def test_weights_take_the_place_of_those_that_a_config_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(DATA)
    config = tmp_path / "config.txt"
    config.write_text(CONFIG.read_text().replace("models/vgg.caffemodel", "gone.caffemodel"))
    with pytest.raises(ModelError, match=r"gone\.caffemodel"):
        caffe_lrp.load(config)
    with caffe_lrp.load(config, "models/vgg.caffemodel") as model:
        assert model.settings.caffemodel.name == "vgg.caffemodel"
        assert model.formula == 2
