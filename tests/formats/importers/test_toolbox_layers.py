"""Modules of the toolbox as layers of Caffe: scores, relevance, sizes and orders of axes."""

from pathlib import Path

import numpy as np
import pytest
from toolbox_builders import Array, scores_of

import caffe_lrp
from caffe_lrp import Composite
from caffe_lrp.formats.importers.caffe_files import caffemodel_of, prototxt_of
from caffe_lrp.formats.importers.toolbox import FlattenOrder, read, run

RANDOM = np.random.default_rng(3)
#: 1×1 convolution that changes nothing, so that what is behind it reads the image.
IDENTITY = "Convolution 1 1 1 1 1 1\n1\n0\n"


def numbers(count: int) -> str:
    return " ".join(map(repr, RANDOM.standard_normal(count).tolist()))


def weighted(header: str, count: int, outputs: int) -> str:
    return f"{header}\n{numbers(count)}\n{numbers(outputs)}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "net.txt"
    path.write_text(text)
    return path


def tail(inputs: int) -> str:
    return "Flatten\nRect\n" + weighted(f"Linear {inputs} 3", 3 * inputs, 3) + "SoftMax\n"


#: Convolutions and pooling with windows and strides that differ; 2 channels, 11×8 pixels give 2×2.
BODY = weighted("Convolution 3 2 2 5 2 1", 60, 5) + "Tanh\nSumPool 2 3 1 2\nRect\nMaxPool 3 2 1 1\n"
#: The end of a net -> the smallest input.
ENDS = {
    "flattened map": (tail(20), (2, 11, 8)),
    "map as output": ("Flatten\n", (2, 9, 6)),
    "bare map": ("", (2, 9, 6)),
}


def loops(text: str, x: Array, order: FlattenOrder) -> Array:
    """Scores of the net of ``BODY`` and an end, one number after the other, for an input (C, H, W)."""
    lines = text.splitlines()
    weights, bias = (np.array(line.split(), float) for line in lines[1:3])
    w, (channels, height, width) = weights.reshape(3, 2, 2, 5), x.shape
    rows, columns = (height - 3) // 2 + 1, width - 1
    y = np.zeros((rows, columns, 5))
    for i, j, n in np.ndindex(y.shape):
        y[i, j, n] = bias[n] + sum(
            x[c, 2 * i + a, j + b] * w[a, b, c, n] for a, b, c in np.ndindex(3, 2, channels)
        )
    y = np.tanh(y)
    pooled = np.zeros((rows - 1, (columns - 3) // 2 + 1, 5))
    for i, j, n in np.ndindex(pooled.shape):
        pooled[i, j, n] = max(0, y[i : i + 2, 2 * j : 2 * j + 3, n].sum() / 6**0.5)
    largest = np.zeros((pooled.shape[0] - 2, pooled.shape[1] - 1, 5))
    for i, j, n in np.ndindex(largest.shape):
        largest[i, j, n] = pooled[i : i + 3, j : j + 2, n].max()
    if "Flatten" not in lines:
        return largest.transpose(2, 0, 1)
    flat = (
        largest.ravel()
        if order == "python"
        else np.concatenate([m.T.ravel() for m in largest.T.swapaxes(1, 2)])
    )
    if "SoftMax" not in lines:
        return flat
    at = next(n for n, line in enumerate(lines) if line.startswith("Linear"))
    z = flat @ np.array(lines[at + 1].split(), float).reshape(-1, 3) + np.array(lines[at + 2].split(), float)
    probabilities: Array = np.exp(z) / np.exp(z).sum()
    return probabilities


@pytest.mark.parametrize("order", ["python", "matlab"])
@pytest.mark.parametrize("end", ENDS)
def test_scores_are_those_of_loops_in_both_orders_of_axes(
    tmp_path: Path, end: str, order: FlattenOrder
) -> None:
    text = BODY + ENDS[end][0]
    path = written(tmp_path, text)
    _, height, width = ENDS[end][1]
    size = height + 3, width + 4
    net = read(path, size if end == "map as output" else None, order)
    x = RANDOM.standard_normal((2, *net.input_shape[1:]))
    expected = np.stack([loops(text, image, order) for image in x])
    found = run(path, x, size if end == "map as output" else None, order)
    layout = found.transpose(0, 3, 1, 2) if found.ndim == 4 else found
    np.testing.assert_allclose(layout, expected, atol=1e-12)
    np.testing.assert_allclose(scores_of(net, tmp_path, x), expected, atol=1e-5)


@pytest.mark.parametrize("end", ENDS)
def test_the_smallest_size_that_the_net_needs_is_found(tmp_path: Path, end: str) -> None:
    text, shape = ENDS[end]
    net = read(written(tmp_path, BODY + text))
    assert net.input_shape == (1, *shape)
    assert any(f"{shape[1]}×{shape[2]} pixels" in note for note in net.notes)


@pytest.mark.parametrize(
    ("inputs", "size", "shape"),
    [(784, None, (1, 28, 28)), (48, (4, 4), (3, 4, 4)), (9, None, (9, 1, 1)), (64, (1, 1), (64, 1, 1))],
)
def test_vectors_are_images(
    tmp_path: Path, inputs: int, size: tuple[int, int] | None, shape: tuple[int, int, int]
) -> None:
    path = written(tmp_path, weighted(f"Linear {inputs} 2", 2 * inputs, 2))
    net = read(path, size)
    assert net.input_shape == (1, *shape)
    x = RANDOM.standard_normal((2, *shape))
    module = np.array(path.read_text().splitlines()[1].split(), float).reshape(-1, 2)
    bias = np.array(path.read_text().splitlines()[2].split(), float)
    expected = x.transpose(0, 2, 3, 1).reshape(2, -1) @ module + bias
    np.testing.assert_allclose(scores_of(net, tmp_path, x), expected, atol=1e-4)


#: Rule -> relevance that the toolbox's SumPool gives a window (1, 2; 3, 0), whose output, 3, is explained.
SUM_POOL: dict[str, list[float]] = {
    "{kind: linear, rule: epsilon, epsilon: 1}": [0.42857143, 0.85714286, 1.28571429, 0],
    "{kind: linear, rule: alpha-beta, beta: 1}": [1, 2, 3, 0],
    "{kind: linear, rule: flat}": [0.75, 0.75, 0.75, 0.75],
    "{kind: linear, rule: w-square}": [0.75, 0.75, 0.75, 0.75],
}


@pytest.mark.parametrize("rule", SUM_POOL)
def test_sum_pooling_has_the_toolboxs_relevance(tmp_path: Path, rule: str) -> None:
    net = read(written(tmp_path, IDENTITY + "SumPool 2 2 2 2\nFlatten\n"), (2, 4))
    (tmp_path / "deploy.prototxt").write_text(prototxt_of(net))
    (tmp_path / "net.caffemodel").write_bytes(b"".join(caffemodel_of(net)))
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules:\n  - {rule}\n  - {{layers: conv1, rule: flat}}\n")
    composite: Composite = caffe_lrp.read_composite(path)
    np.save(tmp_path / "x.npy", np.array([[[1, 2, -1, 0], [3, 0, 1, 0]]], np.float32))
    with caffe_lrp.load(
        tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel", mean_values=0, resize="none",
        formula=composite, quirks="corrected", start_layer="sumpool1",
    ) as model:  # fmt: skip
        relevance = model.explain(tmp_path / "x.npy", 0).relevance[0]
    np.testing.assert_allclose(relevance[:, :2].ravel(), SUM_POOL[rule], atol=1e-6)
    np.testing.assert_array_equal(relevance[:, 2:], 0)
