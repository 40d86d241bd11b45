"""Nets of the toolbox: training, files, and the same explanations by their Caffe files."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe_lrp
from caffe_lrp.errors import CaffeLrpError, ModelError, OutputError, UsageError
from caffe_lrp.toolbox import data_io, model_io, render
from caffe_lrp.toolbox.digits import make_digits
from caffe_lrp.toolbox.modules import (
    Convolution,
    Elu,
    Flatten,
    Linear,
    MaxPool,
    Rect,
    Sequential,
    SoftMax,
    SumPool,
    Tanh,
)
from caffe_lrp.toolbox.optimizers import SGD, Adam, Optimizer
from caffe_lrp.toolbox.quirks import ALL_QUIRKS

XOR = Path(__file__).parents[3] / "shared/real/toolbox/xor_net_small.txt"
POINTS = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])


def near(found: Any, wanted: Any, by: float = 1e-8) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=by, atol=by)


def seeded(seed: int = 1) -> Any:
    return np.random.RandomState(seed)


def dense(seed: int = 1) -> Sequential:
    random = seeded(seed)
    return Sequential([Linear(2, 8, random), Tanh(), Linear(8, 2, random), SoftMax()])


def xor_data(count: int = 400) -> tuple[Any, Any]:
    random = np.random.default_rng(2)
    corners = random.integers(0, 2, (count, 2))
    return corners + random.normal(0, 0.1, (count, 2)), np.eye(2)[corners.sum(axis=1) % 2]


# Training as the toolbox does it


def test_an_iteration_of_train_is_the_worked_one() -> None:
    net = Sequential([Linear(2, 2), SoftMax()])
    first = net.modules[0]
    assert isinstance(first, Linear)
    first.W = np.array([[0.1, -0.2], [0.3, 0.4]])
    said: list[str] = []
    net.report = said.append
    x, y = np.array([[1.0, 2], [0, 1]]), np.eye(2)
    net.train(x, y, batchsize=2, iters=1, lrate=0.1, status=5)
    near(first.dW, [[-0.47502081, 0.47502081]] * 2)
    near(first.dB, [0, 0], 1e-9)
    near(first.W, [[0.13358904, -0.23358904], [0.33358904, 0.36641096]])
    net.train(x, y, batchsize=2, iters=1, lrate=0, status=10)
    assert said[-1].startswith("batch# 1, lrate 0, l1-loss")


def test_train_learns_and_keeps_the_best_modules() -> None:
    net, (x, y) = dense(), xor_data()
    before = net.modules
    said: list[str] = []
    net.report = said.append
    net.train(x, y, x[:100], y[:100], 20, 1500, 0.1, "sublinear", status=250, random=seeded())
    assert net.modules is not before
    assert (net.forward(POINTS).argmax(axis=1) == [0, 1, 1, 0]).all()
    assert sum(line.startswith("Accuracy after") for line in said) == 6


@pytest.mark.parametrize(("quirks", "changed"), [({}, True), ({"quirks": ALL_QUIRKS}, False)])
def test_short_training_is_lost_only_if_that_is_asked_for(quirks: Any, changed: bool) -> None:
    net, (x, y) = dense(), xor_data()
    before = net.modules[0].W.copy()  # type: ignore[attr-defined]
    net.train(x, y, iters=20, silent=True, random=seeded(), **quirks)
    assert (before != net.modules[0].W).any() == changed  # type: ignore[attr-defined]


def test_train_ends_without_improvement_and_transforms_each_batch() -> None:
    net, (x, y) = dense(), xor_data()
    seen: list[int] = []

    def transform(batch: Any) -> Any:
        seen.append(len(batch))
        return batch

    options: dict[str, Any] = {"lrate": 0.1, "status": 50, "convergence": 3, "random": seeded()}
    net.train(x, y, x, 1 - y, 7, 2000, transform=transform, silent=True, **options)
    assert {*seen} == {7}
    assert 150 <= len(seen) < 2000


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UsageError, match="batchsize 25 does not fit 4 inputs"):
        dense().train(POINTS, np.eye(4), silent=True)


# Training by gradient descent


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [
        ("softmax_crossentropy", Adam(0.02)),
        ("softmax_crossentropy", SGD(0.2)),
        ("sigmoid_crossentropy", Adam(0.02)),
        ("mse", SGD(0.05)),
    ],
)
def test_fit_learns_by_every_loss(loss: Any, optimizer: Optimizer) -> None:
    net, (x, y) = dense(), xor_data()
    if loss != "softmax_crossentropy":
        net.drop_softmax_output_layer()
    steps: list[int] = []
    history = net.fit(
        x, y, loss, optimizer, epochs=40, batch_size=32, progress=lambda s: steps.append(s.batch)
    )
    assert history.loss[-1] < history.loss[0] / 2
    assert (net.forward(POINTS).argmax(axis=1) == [0, 1, 1, 0]).all()
    assert (len(steps), max(steps), history.best_epoch) == (40 * 13, 13, 40)


def test_early_stop_keeps_the_best_parameters() -> None:
    net, (x, y) = dense(), xor_data()
    wrong = 1 - y[:50]
    history = net.fit(x, y, epochs=30, validation=(x[:50], wrong), patience=3, optimizer=Adam(0.05))
    best = int(np.argmin(history.validation_loss)) + 1
    assert (history.best_epoch, len(history.loss)) == (best, best + 3)
    probabilities = net.forward(x[:50])
    near(-np.log((probabilities * wrong).sum(axis=1)).mean(), history.validation_loss[best - 1])


def test_fit_repeats_itself_and_keeps_float32() -> None:
    x, y = xor_data()
    nets = [dense().astype(np.float32) for _ in range(2)]
    curves = [net.fit(x, y.argmax(axis=1), epochs=2, seed=4).loss for net in nets]
    assert curves[0] == curves[1]
    assert nets[0].forward(x).dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "CE"}, "there is no loss 'CE'"),
        ({"epochs": 0}, "epochs 0 must be at least 1"),
        ({"patience": 2}, "patience needs validation"),
        ({"Y": np.array([0, 1, 2, 1])}, "classes must be whole numbers from 0 to 1"),
        ({"Y": np.eye(4)}, "do not fit the net's"),
        ({"Y": np.eye(2)}, "there are 4 inputs and 2 outputs"),
    ],
)
def test_fit_refuses_what_cannot_be_learnt(options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dense().fit(**{"X": POINTS, "Y": np.array([0, 1, 1, 0])} | options)


# Files


def test_a_net_is_written_as_the_toolbox_writes_it_and_read_again(tmp_path: Path) -> None:
    net = Sequential(
        [Linear(3, 2), Rect(), Flatten(), Convolution((2, 2, 1, 2), (1, 3)), MaxPool(), SumPool()]
    )
    first = net.modules[0]
    assert isinstance(first, Linear)
    first.W, first.B = np.array([[1, -1], [2, 0.5], [-1, 0.1]]), np.array([0.5, -1])
    path = tmp_path / "net.txt"
    model_io.write(net, path)
    text = path.read_text()
    assert text.startswith(
        "Linear 3 2\n1.0 -1.0 2.0 0.5 -1.0 0.1\n0.5 -1.0\nRect\nFlatten\nConvolution 2 2 1 2 1 3\n"
    )
    assert text.endswith("MaxPool 2 2 2 2\nSumPool 2 2 2 2\n")
    again = model_io.read(path)
    assert [type(module) for module in again.modules] == [type(module) for module in net.modules]
    assert (again.modules[3].W == net.modules[3].W).all()  # type: ignore[attr-defined]


def test_a_damaged_text_is_refused_with_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "net.txt"
    path.write_text("Rect\nLinear 2 1\n1 x\n0\n")
    with pytest.raises(ModelError, match=r"net.txt: line 3: .*x"):
        model_io.read(path)


def test_a_pickle_has_the_names_of_the_toolbox_and_of_all_releases_of_numpy(tmp_path: Path) -> None:
    net = Sequential([Convolution((2, 2, 1, 3), (1, 1)), SumPool(), Flatten(), Linear(3, 2), SoftMax()])
    model_io.write(net, tmp_path / "net.nn")
    asked: set[tuple[str, str]] = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            asked.add((module, name))
            return type(name, (), {}) if module.startswith("modules.") else super().find_class(module, name)

    read = Reader(io.BytesIO((tmp_path / "net.nn").read_bytes())).load()
    assert ("modules.sequential", "Sequential") in asked
    assert {module for module, _ in asked if "numpy" in module} == {"numpy.core.multiarray", "numpy"}
    again = model_io.read(tmp_path / "net.nn")
    assert [type(module) for module in again.modules] == [type(module) for module in net.modules]
    for found in (read.modules[0], again.modules[0]):
        assert (vars(found)["W"] == vars(net.modules[0])["W"]).all()
    assert (read.modules[3].m, read.modules[0].stride, read.modules[4].lrp_param) == (3, (1, 1), 1.0)


def test_what_the_toolbox_lacks_is_not_written(tmp_path: Path) -> None:
    for name in ("net.txt", "net.nn"):
        with pytest.raises(ModelError, match="Elu is not a module of the toolbox"):
            model_io.write(Sequential([Elu()]), tmp_path / name)


@pytest.mark.parametrize("ending", ["npy", "npz", "txt"])
def test_data_are_written_and_read_again(ending: str, tmp_path: Path) -> None:
    data = np.array([[1, 0.1], [2, -3e-5]])
    path = tmp_path / f"data.{ending}"
    data_io.write(data, path)
    assert path.is_file()
    near(data_io.read(path), data, 0)


SCRIPT = """
nn = model_io.read('net.txt')
nn.drop_softmax_output_layer()
X = data_io.read('images.npy')
Y = data_io.read('labels.npy')
X = X / 127.5 - 1
I = Y[:, 0].astype(int)
Y = np.zeros([X.shape[0], np.unique(Y).size])
Y[np.arange(Y.shape[0]), I] = 1
acc = np.mean(np.argmax(nn.forward(X), axis=1) == np.argmax(Y, axis=1))
for i in range(2):
    x = X[na, i, :]
    ypred = nn.forward(x)
    mask = np.zeros_like(ypred)
    mask[:, np.argmax(ypred)] = 1
    R = nn.lrp(ypred * mask, 'epsilon', 1.)
    R = nn.lrp(ypred * mask, 'alphabeta', 2)
    digit = render.digit_to_rgb((x + 1.) / 2., scaling=3)
    hm = render.hm_to_rgb(R, X=(x + 1.) / 2., scaling=3, sigma=2)
    render.save_image([digit, hm], 'heatmap.png')
    data_io.write(R, 'heatmap.npy')
"""


def test_a_script_of_the_toolbox_runs_with_its_imports_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures, classes = make_digits(20)
    model_io.write(
        Sequential([Linear(784, 9, seeded()), Tanh(), Linear(9, 10, seeded()), SoftMax()]), "net.txt"
    )
    data_io.write(pictures.reshape(20, 784), "images.npy")
    data_io.write(classes[:, np.newaxis].astype(np.float64), "labels.npy")
    names = {"np": np, "na": np.newaxis, "model_io": model_io, "data_io": data_io, "render": render}
    exec(SCRIPT, names)
    assert data_io.read("heatmap.npy").shape == (1, 784)
    with Image.open("heatmap.png") as picture:
        assert picture.size == (2 * 84 + 2, 84)


def test_data_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UsageError, match=r"a.npy: cannot be read as npy"):
        data_io.read(tmp_path / "a.npy")
    with pytest.raises(UsageError, match="there is no format 'csv'"):
        data_io.write(POINTS, tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        data_io.read(tmp_path / "b.npy")
    with pytest.raises(ModelError, match=r"a.npy: "):
        model_io.read(tmp_path / "a.npy", "nn")


@pytest.mark.skipif(not XOR.is_file(), reason="needs the toolbox's files")
def test_the_published_xor_net_has_the_worked_numbers() -> None:
    net = model_io.read(XOR)
    near(net.forward(POINTS)[:, 0], [0.98123796, 0.01722871, 0.03848652, 0.96430361])
    net.drop_softmax_output_layer()
    start = net.forward(POINTS[2:3]) * [0, 1]
    near(start, [[0, 1.71096934]])
    rules = {
        ("simple", None): [2.21525607, 0],
        ("epsilon", 0.01): [2.15976225, 0],
        ("alphabeta", 2): [-4.3051887, 0],
        ("flat", None): [0.85548467, 0.85548467],
        ("ww", None): [0.83221546, 0.87875388],
    }
    for rule, wanted in rules.items():
        near(net.lrp(start, *rule), [wanted])


LENET: list[tuple[str, Any, float, list[float]]] = [
    ("simple", None, 0.228892280, [27.304996, 31.177056, 17.128007]),
    ("epsilon", 1.0, 0.0932122467, [10.781059, 14.258157, 4.269749]),
    ("alphabeta", 2.0, 2.28638614, [247.452714, 281.33193, 130.078542]),
    ("flat", None, 0.0666944923, [23.54356, 28.137971, 14.062606]),
    ("ww", None, 0.0654758002, [23.54356, 28.137971, 14.062606]),
]


@pytest.mark.skipif(not XOR.is_file(), reason="needs the toolbox's files")
def test_the_published_lenet_has_the_worked_numbers() -> None:
    pytest.importorskip("scipy")
    net = model_io.read(XOR.with_name("LeNet-5.txt"))
    x = data_io.read(XOR.with_name("test_images.mat"))[:3].reshape(3, 28, 28, 1) / 127.5 - 1
    y = net.forward(np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=-1))
    near(y[0, [0, 7, 9]], [0.13702, 23.54356, 6.20056], 1e-5)
    start = y * (y == y.max(axis=1, keepdims=True))
    for rule, parameter, single, sums in LENET:
        relevance = net.lrp(start, rule, parameter)
        near(relevance[0, 10, 16, 0], single)
        near(relevance.sum(axis=(1, 2, 3)), sums, 1e-6)
    net.set_lrp_parameters("alpha", 1.0)
    net.modules[0].set_lrp_parameters("ww")
    near(net.lrp(start)[0, 10, 16, 0], 0.231353291)


# Caffe files


def lenet(seed: int = 1) -> Sequential:
    """Shapes that differ everywhere, a pool that leaves out a row, and a Flatten of maps larger than 1×1."""
    random = seeded(seed)
    modules = [
        Convolution((3, 2, 1, 4), (1, 2), random), Rect(), SumPool((2, 3), (2, 2)),
        Flatten(), Linear(4 * 4 * 2, 7, random), Tanh(), Linear(7, 5, random), SoftMax(),
    ]  # fmt: skip
    return Sequential(modules)


RULES: list[tuple[str, float, dict[str, Any]]] = [
    ("epsilon", 0.5, {"rule": "epsilon", "epsilon": 0.5}),
    ("alphabeta", 2, {"rule": "alpha-beta", "alpha": 2}),
    ("alphabeta", 1, {"rule": "z-plus"}),
    ("flat", 0, {"rule": "flat"}),
    ("ww", 0, {"rule": "w-square"}),
]


def test_caffe_files_give_the_same_outputs_and_relevance(tmp_path: Path) -> None:
    net, x = lenet(), np.random.default_rng(5).normal(size=(1, 11, 12, 1))
    probabilities = net.forward(x)
    config = net.to_caffe(tmp_path / "net", labels=list("abcde"))
    net.drop_softmax_output_layer()
    start = net.forward(x) * np.eye(5)[3]
    blob = x.transpose(0, 3, 1, 2)[0].astype(np.float32)
    with caffe_lrp.load(config, threads=1) as model:
        assert (model.input_shape, model.labels) == ((1, 11, 12), tuple("abcde"))
        (outputs,) = model.forward(blob).values()
        near(outputs, probabilities[0], 1e-6)
        for rule, parameter, entry in RULES:
            net.set_lrp_parameters(rule, parameter)
            net.modules[2].set_lrp_parameters("simple")  # as our rules have it: in proportion
            wanted = net.lrp(start)[0, :, :, 0]
            composite = caffe_lrp.Composite.of([entry], quirks="corrected")
            found = model.explain(blob, 3, composite).relevance[0]
            near(found / np.abs(wanted).max(), wanted / np.abs(wanted).max(), 1e-5)


def test_a_net_on_vectors_sees_square_pictures_and_other_vectors_as_columns(tmp_path: Path) -> None:
    for count, shape in ((9, (1, 3, 3)), (2, (1, 2, 1))):
        config = Sequential([Linear(count, 3)]).to_caffe(tmp_path / str(count))
        assert caffe_lrp.load(config, threads=1).input_shape == shape


def test_no_file_is_replaced_and_what_has_no_layer_is_refused(tmp_path: Path) -> None:
    net = dense()
    net.to_caffe(tmp_path)
    with pytest.raises(OutputError, match=r"deploy.prototxt: already exists"):
        net.to_caffe(tmp_path)
    faults: list[tuple[Sequential, str]] = [
        (Sequential([Convolution()]), "the size of the net's input is not known"),
        (Sequential([Sequential([Rect()]), Linear(2, 3)]), "module 0, Sequential, has no layer"),
        (Sequential([Linear(4, 3), Linear(4, 2)]), "module 1, Linear needs 4 inputs, but gets 3"),
    ]
    for wrong, message in faults:
        with pytest.raises(CaffeLrpError, match=message):
            wrong.to_caffe(tmp_path / "other")
    assert not (tmp_path / "other").exists()
