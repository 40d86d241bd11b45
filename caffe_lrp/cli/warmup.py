"""Explanations that need every kernel: of small nets with a layer of every kind, by every formula.

Kernels are compiled for the types of the arrays they are given, which nobody can list but the program
itself; so models explain images as a user's would, from files made for the purpose. A kernel or a case that
nothing here reaches is compiled when it is first needed; the tests tell.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.model.model import Model
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.net.build import weight_shapes
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.outputs.encoding import Encoding
from caffe_lrp.outputs.kinds import default_kinds
from caffe_lrp.outputs.writers import write_outputs
from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.formulas import FORMULAS, FormulaCode

#: Side of the nets' input and of the mean image.
SIDE = 67

#: What photo nets are made of, with as many channels as have kernels of their own; for every formula.
_PHOTO_NET = """
name: "photo" input: "data" input_shape { dim: 2 dim: 3 dim: 67 dim: 67 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 32 kernel_size: 7 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { local_size: 5 alpha: 1e-4 } }
layer { name: "wide" type: "Convolution" bottom: "norm1" top: "wide"
  convolution_param { num_output: 64 kernel_size: 3 pad: 1 } }
layer { name: "relu_wide" type: "ReLU" bottom: "wide" top: "wide" }
layer { name: "deep" type: "Convolution" bottom: "wide" top: "deep"
  convolution_param { num_output: 64 kernel_size: 3 pad: 1 } }
layer { name: "relu_deep" type: "ReLU" bottom: "deep" top: "deep" }
layer { name: "a" type: "Convolution" bottom: "deep" top: "a"
  convolution_param { num_output: 16 kernel_size: 1 } }
layer { name: "relu_a" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Convolution" bottom: "deep" top: "b"
  convolution_param { num_output: 32 kernel_size: 5 pad: 2 group: 2 } }
layer { name: "relu_b" type: "ReLU" bottom: "b" top: "b" }
layer { name: "c_pool" type: "Pooling" bottom: "deep" top: "c_pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "c" type: "Convolution" bottom: "c_pool" top: "c"
  convolution_param { num_output: 16 kernel_size: 1 bias_term: false } }
layer { name: "relu_c" type: "ReLU" bottom: "c" top: "c" }
layer { name: "joined" type: "Concat" bottom: "a" bottom: "b" bottom: "c" top: "joined" }
layer { name: "last" type: "Convolution" bottom: "joined" top: "last"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 } }
layer { name: "relu_last" type: "ReLU" bottom: "last" top: "last" }
layer { name: "last_pool" type: "Pooling" bottom: "last" top: "last_pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 1 } }
layer { name: "pool2" type: "Pooling" bottom: "last_pool" top: "pool2"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "odd" type: "Convolution" bottom: "pool2" top: "odd" convolution_param {
  num_output: 6 kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 0 pad_w: 1 bias_term: false } }
layer { name: "fc1" type: "InnerProduct" bottom: "odd" top: "fc1" inner_product_param { num_output: 48 } }
layer { name: "relu_fc1" type: "ReLU" bottom: "fc1" top: "fc1" relu_param { negative_slope: 0.1 } }
layer { name: "drop" type: "Dropout" bottom: "fc1" top: "fc1" }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2"
  inner_product_param { num_output: 10 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""

#: All other layers, and convolutions in the place of inner products; for formulas that pass them.
_OTHER_NET = """
name: "other" input: "data" input_shape { dim: 2 dim: 3 dim: 67 dim: 67 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 11 stride: 4 dilation: 2 } }
layer { name: "tanh" type: "TanH" bottom: "conv1" top: "tanh" }
layer { name: "pool1" type: "Pooling" bottom: "tanh" top: "pool1"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "spread" type: "Convolution" bottom: "pool1" top: "spread"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 4 } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "spread" top: "spread" }
layer { name: "absolute" type: "AbsVal" bottom: "spread" top: "absolute" }
layer { name: "drop" type: "Dropout" bottom: "absolute" top: "drop" }
layer { name: "mixed" type: "Softmax" bottom: "drop" top: "mixed" }
layer { name: "whole" type: "Convolution" bottom: "mixed" top: "whole"
  convolution_param { num_output: 24 kernel_size: 6 } }
layer { name: "relu" type: "ReLU" bottom: "whole" top: "whole" }
layer { name: "twice" type: "Eltwise" bottom: "whole" bottom: "whole" top: "twice" }
layer { name: "scores" type: "Convolution" bottom: "twice" top: "scores"
  convolution_param { num_output: 10 kernel_size: 1 } }
layer { name: "global" type: "Pooling" bottom: "scores" top: "global"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "flat" type: "Flatten" bottom: "global" top: "flat" }
layer { name: "prob" type: "Softmax" bottom: "flat" top: "prob" }
"""

#: Normalisation within channels.
_WITHIN_NET = """
name: "within" input: "data" input_shape { dim: 2 dim: 3 dim: 67 dim: 67 }
layer { name: "norm" type: "LRN" bottom: "data" top: "norm"
  lrn_param { local_size: 3 alpha: 1e-4 norm_region: WITHIN_CHANNEL } }
layer { name: "fc" type: "InnerProduct" bottom: "norm" top: "fc" inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""

_NETS = {"photo": _PHOTO_NET, "other": _OTHER_NET, "within": _WITHIN_NET}
_CLASSES = 10

#: Layers of `_PHOTO_NET`, counted with its Split, and of `_OTHER_NET`.
_DEEP, _SCORES, _PROB = 6, 22, 23
_OTHER_SCORES = 14

#: Images in a batch, threads, and how convolutions are computed.
_WAYS = ((1, 1, "direct"), (1, 2, "winograd"), (2, 1, "winograd"))

_FEW_IMAGES = {"wide.jpg": 3, "tall.jpg": -2}


@dataclass(frozen=True)
class WarmUp:
    """A part of what needs every kernel: one model explains a few images, and files are written.

    Attributes
    ----------
    folder
        Where all files lie.
    settings
        Of the model.
    formulas
        What images are explained by.
    targets
        Name of an image -> what it is explained for.
    batch
        Images that run together.
    threads
        Threads that compute.
    """

    folder: Path
    settings: ModelSettings
    formulas: tuple[FormulaCode, ...]
    targets: dict[str, int]
    batch: int
    threads: int

    def run(self) -> None:
        """Explain the images."""
        images = [self.folder / "images" / name for name in self.targets]
        targets, kinds = list(self.targets.values()), default_kinds(text_only=False)
        with (
            Model(self.settings, threads=self.threads) as model,
            closing(model.explain_all(images, targets, self.formulas, batch=self.batch)) as explanations,
        ):
            for explanation in explanations:
                write_outputs(f"{self.folder}/map", explanation, kinds, Encoding())


def prepare_warm_up(folder: Path) -> list[WarmUp]:
    """All parts of a warm-up; the files they need are written to ``folder``."""
    _write_models(folder)
    _write_means(folder)
    targets = {name: number % _CLASSES for number, name in enumerate(_write_images(folder / "images"))}
    return [
        WarmUp(
            folder,
            case.settings(folder, convolution),
            case.formulas,
            targets if case.all_images else _FEW_IMAGES,
            batch,
            threads,
        )
        for case in _cases()
        for batch, threads, convolution in _WAYS
    ]


@dataclass(frozen=True)
class _Case:
    """What a model is opened from, by what it explains, and whether it reads images of all kinds."""

    formulas: tuple[FormulaCode, ...]
    quirks: str
    net: str = "photo"
    start_layer: int = _SCORES
    first_layer: int = 0
    switch_layer: int = _DEEP
    mean_format: int = 1
    all_images: bool = False

    def settings(self, folder: Path, convolution: str) -> ModelSettings:
        return ModelSettings(
            prototxt=folder / f"{self.net}.prototxt",
            caffemodel=folder / f"{self.net}.caffemodel",
            mean_file=folder / f"mean{self.mean_format}",
            mean_format=self.mean_format,
            base_size=80,
            start_layer=self.start_layer,
            first_layer=self.first_layer,
            switch_layer=self.switch_layer,
            quirks=self.quirks,
            convolution=convolution,
        )


def _cases() -> Iterator[_Case]:
    """Every formula by every mode of quirks, and what else makes a difference."""
    gradients = tuple(code for code, row in FORMULAS.items() if row.is_gradient)
    general = (0, 2, "gamma-all", *gradients)
    switched = tuple(code for code, row in FORMULAS.items() if row.needs_switch_layer)
    for quirks in QUIRK_MODES:
        yield _Case(tuple(FORMULAS), quirks, all_images=quirks == "reference")
        yield _Case(switched, quirks, switch_layer=_SCORES)
        yield _Case(general, quirks, start_layer=_PROB, mean_format=0)
        yield _Case(general, quirks, first_layer=2, mean_format=2)
        yield _Case(general, quirks, "other", _OTHER_SCORES)
        yield _Case(general, quirks, "within", -2)


def _write_models(folder: Path) -> None:
    """Prototxts, and caffemodels with random weights."""
    random = np.random.default_rng(0)
    for name, text in _NETS.items():
        path = folder / f"{name}.prototxt"
        path.write_text(text)
        model = caffe_pb2.NetParameter()
        for layer, shapes in weight_shapes(deploy(read_prototxt(path))).items():
            stored = model.layer.add(name=layer)
            for shape in shapes:
                weights = random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), np.prod(shape))
                stored.blobs.add(shape=caffe_pb2.BlobShape(dim=shape), data=weights)
        path.with_suffix(".caffemodel").write_bytes(model.SerializeToString())


def _write_means(folder: Path) -> None:
    """The same mean in all formats: text and BlobProto."""
    levels = np.full(3 * SIDE * SIDE, 100.0)
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=SIDE, width=SIDE, data=levels)
    (folder / "mean0").write_text(f"3\n{SIDE} {SIDE}\n" + "100 " * len(levels))
    for mean_format in (1, 2):
        (folder / f"mean{mean_format}").write_bytes(blob.SerializeToString())


def _write_images(folder: Path) -> list[str]:
    """Images that are decoded and resized in different ways; returns their names."""
    folder.mkdir()
    levels = np.random.default_rng(0).integers(0, 256, (90, 120, 4), np.uint8)
    wide = Image.fromarray(levels)
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    small = wide.resize((40, 30))
    deep = Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
    pictures = {"deep.png": deep, "palette.gif": wide.convert("P")}
    for shape, picture in (
        ("wide", wide),
        ("tall", tall),
        ("small", small),
        ("narrow", small.transpose(Image.Transpose.ROTATE_90)),
    ):
        pictures[f"{shape}.jpg"] = picture.convert("RGB")
        pictures[f"{shape}_gray.png"] = picture.convert("L")
        pictures[f"{shape}_alpha.png"] = picture
        pictures[f"{shape}_inks.jpg"] = picture.convert("CMYK")
    for name, picture in pictures.items():
        picture.save(folder / name)
    return list(pictures)
