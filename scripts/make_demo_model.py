#!/usr/bin/env python3
"""Trains the net of the demo and writes all its files.

A small convolutional net learns which shapes are in a picture of scripts/demo/demo_pictures.py: softmax
cross-entropy, where every shape shown has an equal share of the target. Forward pass and gradients are
those of the package; only the gradients of the weights, which explanations do not need, are computed here.
The same seed gives the same net on the same machine with the same number of BLAS threads; the committed net
was trained with one thread (OPENBLAS_NUM_THREADS=1).
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "demo"))

import numpy as np
from demo_pictures import SHAPES, SIDE, Picture, draw_picture
from numpy.typing import NDArray
from PIL import Image

import caffe_lrp
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.convolution import Convolution
from caffe_lrp.layers.inner_product import InnerProduct
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.build import weight_shapes
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.net.net import Net

Weights = dict[str, tuple[Blob, ...]]

CHANNELS = (12, 24, 32, 48, 64)
"""Output channels of the convolutions. All are 3x3, with a ReLU and a pooling layer after them."""

SCORE_LAYER = "score"

TRAINING_PICTURES = 6000
HELD_OUT_PICTURES = 1000
DEMO_PICTURES = 8
TARGETS_A_PICTURE = 2
STEPS = 4000
BATCH_SIZE = 32

LEARNING_RATE = 3e-3
"""Reached after `WARM_UP` steps, then lowered along a cosine to 0."""

WARM_UP = 100
INPUT_SCALE = 1 / 64
"""Factor of grey levels in training; in the end it is moved into the weights of the first layer."""

MODEL_FOLDER = Path("configs/demo")
PICTURE_FOLDER = Path("filelists/demo")
FILE_LIST = Path("filelists/demo.txt")


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures as the net sees them.

    Attributes
    ----------
    levels
        (N, 3, SIDE, SIDE), BGR.
    shown
        (N, classes): 1 where the shape is in the picture, else 0.
    """

    levels: NDArray[np.uint8]
    shown: Blob


@dataclass
class Adam:
    """Adaptive moments of one blob of weights (Kingma and Ba 2015, algorithm 1)."""

    weight: Blob
    first: Blob = field(init=False)
    second: Blob = field(init=False)
    step: int = 0

    def __post_init__(self) -> None:
        self.first, self.second = np.zeros_like(self.weight), np.zeros_like(self.weight)

    def update(self, gradient: Blob, rate: float) -> None:
        """Change the weight in place by one step."""
        self.step += 1
        self.first += 0.1 * (gradient - self.first)
        self.second += 0.01 * (gradient**2 - self.second)
        first = self.first / (1 - 0.9**self.step)
        second = self.second / (1 - 0.99**self.step)
        self.weight -= np.float32(rate) * first / (np.sqrt(second) + 1e-8)


def prototxt() -> str:
    """The net as a deploy prototxt."""
    lines = ['name: "shapes"', 'input: "data"']
    lines.append(f"input_shape {{ dim: 1 dim: 3 dim: {SIDE} dim: {SIDE} }}")
    bottom = "data"
    for number, channels in enumerate(CHANNELS, start=1):
        # The last pooling takes the maximum over the picture, so the score depends on one position.
        size = "kernel_size: 2 stride: 2" if number < len(CHANNELS) else "global_pooling: true"
        lines += [
            _layer(f"conv{number}", "Convolution", bottom, f"conv{number}",
                   f"convolution_param {{ num_output: {channels} kernel_size: 3 pad: 1 }}"),
            _layer(f"relu{number}", "ReLU", f"conv{number}", f"conv{number}"),
            _layer(f"pool{number}", "Pooling", f"conv{number}", f"pool{number}",
                   f"pooling_param {{ pool: MAX {size} }}"),
        ]  # fmt: skip
        bottom = f"pool{number}"
    lines.append(_layer(SCORE_LAYER, "InnerProduct", bottom, SCORE_LAYER,
                        f"inner_product_param {{ num_output: {len(SHAPES)} }}"))  # fmt: skip
    lines.append(_layer("prob", "Softmax", SCORE_LAYER, "prob"))
    return "\n".join(lines) + "\n"


def _layer(name: str, kind: str, bottom: str, top: str, parameters: str = "") -> str:
    body = f'name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {parameters}'
    return f"layer {{ {body.strip()} }}"


def examples_of(pictures: Sequence[Picture]) -> Examples:
    """Pictures and their classes as arrays."""
    levels = np.stack([picture.pixels[..., ::-1].transpose(2, 0, 1) for picture in pictures])
    shown = np.zeros((len(pictures), len(SHAPES)), np.float32)
    for row, picture in zip(shown, pictures, strict=True):
        row[list(picture.classes)] = 1
    return Examples(np.ascontiguousarray(levels), shown)


def initial_weights(shapes: Mapping[str, Sequence[tuple[int, ...]]], rng: np.random.Generator) -> Weights:
    """He-normal weights, biases 0; training starts with scores near 0, so with equal probabilities."""
    weights: Weights = {}
    for name, (kernel, bias) in shapes.items():
        deviation = 0.05 if name == SCORE_LAYER else np.sqrt(2 / np.prod(kernel[1:]))
        weight = rng.standard_normal(kernel, dtype=np.float32) * np.float32(deviation)
        weights[name] = (weight, np.zeros(bias, np.float32))
    return weights


def weight_gradients(layer: Linear, inputs: Blob, gradient: Blob) -> tuple[Blob, Blob]:
    """Gradients of the weight and the bias of a layer, summed over the batch.

    Parameters
    ----------
    layer
        A Convolution with one group, or an InnerProduct.
    inputs
        (N, C, H, W) or (N, K).
    gradient
        At the output, (N, M, H_out, W_out) or (N, M).
    """
    per_output = gradient.reshape(len(gradient), gradient.shape[1], -1)
    bias = per_output.sum((0, 2))
    if isinstance(layer, InnerProduct):
        return per_output[..., 0].T @ inputs.reshape(len(inputs), -1), bias
    assert isinstance(layer, Convolution)
    window, weight = layer.window, np.empty_like(layer.weight)
    padded = np.pad(inputs, ((0, 0), (0, 0), (window.pad_h,) * 2, (window.pad_w,) * 2))
    for ky, kx in np.ndindex(window.kernel_h, window.kernel_w):
        rows = ky * window.dilation_h + window.stride_h * np.arange(gradient.shape[2])
        columns = kx * window.dilation_w + window.stride_w * np.arange(gradient.shape[3])
        seen = padded[:, :, rows[:, np.newaxis], columns]
        weight[:, :, ky, kx] = np.tensordot(gradient, seen, axes=((0, 2, 3), (0, 2, 3)))
    return weight, bias


def loss_and_gradient(probabilities: Blob, shown: Blob) -> tuple[float, Blob]:
    """Mean cross-entropy above its least value, and its gradient at the scores; both (N, classes)."""
    target = (shown / shown.sum(axis=1, keepdims=True)).astype(np.float32, copy=False)
    tiny = np.finfo(np.float32).tiny
    ratio = np.log(np.maximum(target, tiny)) - np.log(np.maximum(probabilities, tiny))
    return float((target * ratio).sum() / len(target)), (probabilities - target) / np.float32(len(target))


def gradients(
    net: Net, batch: Blob, shown: Blob, workspace: Workspace
) -> tuple[float, dict[str, tuple[Blob, Blob]]]:
    """The loss of a batch, and the gradients of all weights by layer name.

    Layers cache values derived from their weights, so copies without cached values are used.
    """
    net = replace(net, layers=tuple(map(replace, net.layers)))
    values = net.forward(batch, set(range(len(net.value_names))), workspace)
    *layers, softmax = net.layers
    loss, gradient = loss_and_gradient(values[softmax.outputs[0]], shown)
    found = {}
    for layer in reversed(layers):
        inputs, outputs = values[layer.inputs[0]], values[layer.outputs[0]]
        if isinstance(layer, Linear):
            found[layer.name] = weight_gradients(layer, inputs, gradient)
        if layer.index > 0:
            (gradient,) = layer.gradient([inputs], [outputs], [gradient], workspace)
    return loss, found


def varied(levels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A batch with random rotations, reflections, and exchanged and inverted colours."""
    levels = np.rot90(levels, int(rng.integers(4)), axes=(2, 3))
    levels = levels[..., :: rng.choice([-1, 1])]
    levels = levels[:, rng.permutation(3)]
    return 255 - levels if rng.integers(2) else levels


def train(net: Net, examples: Examples, mean: Blob, steps: int, rng: np.random.Generator) -> None:
    """Change the weights of ``net`` in place, in ``steps`` batches; prints the loss now and then."""
    optimizers = {layer.name: [Adam(weight) for weight in layer.weights] for layer in net.layers}
    workspace, started, total = Workspace(), time.monotonic(), 0.0
    for step in range(1, steps + 1):
        chosen = rng.integers(len(examples.levels), size=BATCH_SIZE)
        batch = (varied(examples.levels[chosen], rng) - mean) * np.float32(INPUT_SCALE)
        loss, found = gradients(net, np.ascontiguousarray(batch), examples.shown[chosen], workspace)
        rate = LEARNING_RATE * min(step / WARM_UP, (1 + np.cos(np.pi * step / steps)) / 2)
        for name, blobs in found.items():
            for optimizer, gradient in zip(optimizers[name], blobs, strict=True):
                optimizer.update(gradient, rate)
        total += loss
        if step % 100 == 0:
            seconds = time.monotonic() - started
            print(f"step {step} of {steps}: loss {total / 100:.4f}, {seconds:.0f} s", flush=True)
            total = 0.0


def accuracy(net: Net, examples: Examples, mean: Blob) -> float:
    """Share of pictures whose k best classes are exactly the k shapes shown."""
    right, workspace = 0, Workspace()
    for first in range(0, len(examples.levels), BATCH_SIZE):
        part = slice(first, first + BATCH_SIZE)
        batch = examples.levels[part] - mean
        scores = net.forward(batch, set(), workspace)[net.output_value]
        for row, shown in zip(scores, examples.shown[part], strict=True):
            best = np.argsort(-row)[: int(shown.sum())]
            right += bool(shown[best].all())
    return right / len(examples.levels)


def write_net(folder: Path, weights: Weights) -> Net:
    """Write the caffemodel next to the prototxt, and load the net from both."""
    model = caffe_pb2.NetParameter(name="shapes")
    for name, blobs in weights.items():
        layer = model.layer.add(name=name)
        for blob in blobs:
            layer.blobs.add(data=blob.ravel().tolist(), shape=caffe_pb2.BlobShape(dim=blob.shape))
    (folder / "shapes.caffemodel").write_bytes(model.SerializeToString())
    loaded = caffe_lrp.load(folder / "deploy.prototxt", folder / "shapes.caffemodel", mean_values=0)
    return loaded.explainer(()).net


def trainable(net: Net) -> Net:
    """The net with weights that can be changed in place."""
    return replace(net, layers=tuple(_with_own_weights(layer) for layer in net.layers))


def _with_own_weights(layer: Layer) -> Layer:
    return replace(layer, weights=tuple(weight.copy() for weight in layer.weights))


def learned_weights(net: Net) -> Weights:
    """Weights by layer name, with the input scale of training moved into the first layer."""
    weights = {layer.name: layer.weights for layer in net.layers if layer.weights}
    first = net.layers[0]
    weights[first.name] = (first.weights[0] * np.float32(INPUT_SCALE), *first.weights[1:])
    return weights


def write_mean(path: Path, mean: Blob) -> None:
    """A mean image of one colour, (3, 1, 1) in BGR: shapes are equally frequent everywhere."""
    image = np.broadcast_to(mean, (3, SIDE, SIDE))
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=SIDE, width=SIDE, data=image.ravel().tolist())
    path.write_bytes(blob.SerializeToString())


def write_pictures(root: Path, pictures: Sequence[Picture]) -> None:
    """Pictures named after their shapes, and a list with `TARGETS_A_PICTURE` of the shapes of each."""
    names, lines = list(SHAPES), []
    for number, picture in enumerate(pictures, start=1):
        shown = "_".join(names[index] for index in picture.classes)
        path = PICTURE_FOLDER / f"{number}_{shown}.png"
        Image.fromarray(picture.pixels).save(root / path, optimize=True)
        lines += [f"{path.as_posix()} {index}" for index in picture.classes[:TARGETS_A_PICTURE]]
    (root / FILE_LIST).write_text("".join(f"{line}\n" for line in lines))


def make_demo(root: Path, seed: int, steps: int, picture_count: int) -> float:
    """Draw, train, write everything below ``root``, and return the accuracy on held-out pictures."""
    for folder in (MODEL_FOLDER, PICTURE_FOLDER):
        (root / folder).mkdir(parents=True, exist_ok=True)
    model_folder = root / MODEL_FOLDER
    drawing, training, holding_out, demo = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(4))
    examples = examples_of([draw_picture(drawing) for _ in range(picture_count)])
    mean = examples.levels.mean(axis=(0, 2, 3), dtype=np.float64).astype(np.float32).reshape(3, 1, 1)
    (model_folder / "deploy.prototxt").write_text(prototxt())
    shapes = weight_shapes(deploy(read_prototxt(model_folder / "deploy.prototxt")))
    net = trainable(write_net(model_folder, initial_weights(shapes, training)))
    train(net, examples, mean, steps, training)
    net = write_net(model_folder, learned_weights(net))
    write_mean(model_folder / "mean.binaryproto", mean)
    (model_folder / "synset.txt").write_text("".join(f"{name}\n" for name in SHAPES))
    write_pictures(root, [draw_picture(demo) for _ in range(DEMO_PICTURES)])
    held_out = examples_of([draw_picture(holding_out) for _ in range(HELD_OUT_PICTURES)])
    return accuracy(net, held_out, mean)


def main() -> int:
    """Make the demo's files and return the exit code."""
    parser = argparse.ArgumentParser(description="Train the net of the demo and write all its files.")
    root = Path(__file__).resolve().parents[1]
    parser.add_argument(
        "--folder", type=Path, default=root, help="root of the files (default: the repository)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"batches of training (default: {STEPS})")
    parser.add_argument(
        "--pictures", type=int, default=TRAINING_PICTURES, help="number of different pictures to learn from"
    )
    options = parser.parse_args()
    share = make_demo(options.folder, options.seed, options.steps, options.pictures)
    print(
        f"{share:.1%} of {HELD_OUT_PICTURES} held-out pictures: the best classes are exactly the shapes shown"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
