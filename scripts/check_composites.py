#!/usr/bin/env python3
"""Compares the composites that come with the manual with zennit's, and prints tables in Markdown.

Nets, with random weights: a small one with groups, average pooling and a sum; VGG16; VGG16 with average
instead of max pooling; ResNet-50. Numbers are the largest difference and the root mean square of all, both
relative to the largest value. `zennit` compares with zennit's composites in double precision, `adapted` with
the same where known differences are removed:

- zennit adds 1e-6 to every divisor, caffe-lrp nothing but the ε of the ε rule;
- zennit's flat shares among the pixels of a window, caffe-lrp's loses the share of padding;
- where z is 0, zennit's γ passes nothing;
- where a sum of branches or of average pooling is 0, caffe-lrp shares equally, and zennit not at all.

What is left on VGG16 comes from max pooling: rounding decides which of two nearly equal elements gets all.
With average pooling it is gone, but for guided backpropagation, where rounding decides as well whether an
activation is above 0.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from check_zoo import Row, image_for, numbers, table
from make_random_weights import replacing, write_net
from make_zoo import FOLDER, prototxt_path
from numpy.typing import NDArray
from zoo_shapes import read_sized
from zoo_table import ZOO
from zoo_worker import Job, JobError, ask

from caffe_lrp.cli.composite_texts import examples
from caffe_lrp.formats.caffe.reader import read_prototxt

SMALL = """
name: "small" input: "data" input_shape { dim: 1 dim: 3 dim: 23 dim: 21 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "pool1" bottom: "conv2" top: "sum" }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "pool2" type: "Pooling" bottom: "sum" top: "pool2"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool2" top: "fc1" inner_product_param { num_output: 12 } }
layer { name: "relu3" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""
NETS = {"small": 1e-4, "vgg16": 1e-3, "vgg16-average": 1e-4, "resnet50": 1e-4}
"""Net -> largest r.m.s. difference once known ones are removed."""

ONLY = {"montavon-2019-vgg16": ("vgg16", "vgg16-average")}
"""Composites that name the layers of a net."""


def prepared(net: str, folder: Path) -> Job:
    """Write a net with random weights and an image, and return a job for it."""
    name = "resnet50" if net == "resnet50" else "vgg16"
    entry, prototxt = ZOO[name], folder / "net.prototxt"
    image, text = image_for(entry), (FOLDER / prototxt_path(name, entry)).read_text(encoding="utf-8")
    if net == "small":
        image, text = np.ascontiguousarray(image[..., 100:123, 90:111]), SMALL
    elif net == "vgg16-average":
        text = text.replace("pool: MAX", "pool: AVE")
    prototxt.write_text(text, encoding="utf-8")
    np.save(folder / "image.npy", image)
    with replacing(folder / "net.caffemodel") as file:
        write_net(
            file,
            read_prototxt(prototxt),
            np.random.default_rng(0),
            input_rms=float(np.sqrt(np.mean(np.square(image)))),
            shapes_of={layer.message.name: layer.blobs for layer in read_sized(prototxt).layers},
        )
    mean = entry.preprocessing.mean
    return Job(
        prototxt=str(prototxt),
        caffemodel=str(folder / "net.caffemodel"),
        image=str(folder / "image.npy"),
        output=str(folder),
        switch="conv1" if net == "small" else entry.switch,
        composites=tuple(name for name in examples() if net in ONLY.get(name, (net,))),
        bounds=(tuple(-m for m in mean), tuple(255 - m for m in mean)),
    )


def differences(found: NDArray[np.float64], expected: NDArray[np.float64]) -> tuple[float, float]:
    """Return the largest difference and the root mean square, relative to the largest value."""
    far = np.abs(found - expected) / np.abs(expected).max()
    return float(far.max()), float(np.sqrt(np.mean(np.square(far))))


def compared(net: str, folder: Path, options: argparse.Namespace) -> list[Row]:
    """Return a row of the table for every composite."""
    job = prepared(net, folder)
    if options.composites:
        job = replace(job, composites=tuple(name for name in job.composites if name in options.composites))
    elements = ask(sys.executable, "zoo_engine.py", "composites", job)["elements"]
    ask(options.torch, "zoo_presets.py", "maps", replace(job, elements=tuple(elements)))
    return [row_of(net, name, folder) for name in job.composites]


def row_of(net: str, name: str, folder: Path) -> Row:
    """Return the row of a composite, from the maps in `folder`."""
    maps = {path.suffixes[0]: numbers(path) for path in folder.glob(f"{name}.*.npy")}
    row = {"net": net, "composite": name}
    for title, expected in (("zennit", maps[".theirs"]), ("adapted", maps.get(".as-ours", maps[".theirs"]))):
        largest, typical = differences(maps[".ours"], expected)
        row[f"{title}: largest, r.m.s."] = f"{largest:.1e}, {typical:.1e}"
    return row | {"verdict": "ok" if typical <= NETS[net] else "FAILED"}


def main() -> int:
    """Compare all, print a table for every net, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS), help="default: all")
    parser.add_argument("--composites", nargs="+", choices=list(examples()), help="default: all")
    parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="a Python with PyTorch and zennit"
    )
    options = parser.parse_args()
    failures = 0
    for net in options.nets:
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows = compared(net, Path(folder), options)
            except JobError as failure:
                rows = [{"net": net, "verdict": f"FAILED: {failure}"}]
        print(table(rows), flush=True)
        failures += sum(row["verdict"] != "ok" for row in rows)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
