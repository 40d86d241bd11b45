"""Good files of every kind for `fuzz_inputs.py`, and functions that let caffe-lrp read them."""

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import fuzz_mutations
import fuzz_pictures
import numpy as np
from fuzz_mutations import Damage
from numpy.typing import NDArray
from PIL import Image

import caffe_lrp
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.errors import PlanError
from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.formats.caffe.reader import StoredBlob, read_prototxt, scan_caffemodel
from caffe_lrp.imaging.mean import BLOB_BGR, TEXT_BGR, load_mean
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.build import build_net, weight_shapes
from caffe_lrp.net.deploy.deployed import DeployedNet, deploy
from caffe_lrp.net.net import Net
from caffe_lrp.outputs.maps import read_map
from caffe_lrp.outputs.text import raw_heatmap
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.formulas import FORMULAS
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.sources.filelist import read_filelist

#: A layer of every kind, in a net small enough for thousands of reads per minute.
PROTOTXT = """\
name: "fuzzed"
input: "data"
input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
# a comment
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1" lrn_param { local_size: 3 alpha: 0.1 } }
layer { name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "a" type: "Convolution" bottom: "pool1" top: "a"
  convolution_param { num_output: 4 kernel_h: 1 kernel_w: 3 pad_w: 1 group: 2 dilation: 1 } }
layer { name: "b" type: "Pooling" bottom: "pool1" top: "b"
  pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "joined" type: "Concat" bottom: "a" bottom: "b" top: "joined" concat_param { axis: 1 } }
layer { name: "drop" type: "Dropout" bottom: "joined" top: "joined" dropout_param { dropout_ratio: 0.5 } }
layer { name: "flat" type: "Flatten" bottom: "joined" top: "flat" }
layer { name: "fc" type: "InnerProduct" bottom: "flat" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include { phase: TEST } }
"""

OLD_PROTOTXT = """\
name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 2 kernel_size: 3 } }
layers { name: "sig" type: SIGMOID bottom: "conv1" top: "conv1" }
layers { name: "fc" type: INNER_PRODUCT bottom: "conv1" top: "fc" inner_product_param { num_output: 3 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""

#: All styles in one file, including layers for training.
TRAINING_PROTOTXT = """\
name: "mixed"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 9 } data_param { source: "train" batch_size: 8 backend: LMDB } }
layers { name: "data" type: IMAGE_DATA top: "data" top: "label" include: { phase: TEST }
  image_data_param { source: "list" crop_size: 12
    mean_file: "mean.binaryproto" new_height: 16 new_width: 16 } }
layers { layer { name: "pad1" type: "padding" pad: 1 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 3 } bottom: "pad1" top: "conv1" }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layer { name: "side" type: "Mystery" bottom: "conv1" top: "side" mystery_param { gain: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "conv1" top: "fc1" inner_product_param { num_output: 5 } }
layer { name: "loss1" type: "SoftmaxWithLoss" bottom: "fc1" bottom: "label" top: "loss1" loss_weight: 0.3 }
layer { name: "fc" type: "InnerProduct" bottom: "conv1" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "l" top: "p" loss_weight: 1 }
layer { name: "top1" type: "Accuracy" bottom: "p" bottom: "label" top: "top1" exclude { stage: "deploy" } }
layer { name: "quiet" type: "Silence" bottom: "label" }
"""

#: Blobs besides the image, and layers that share a name and weights.
CONSTANTS_PROTOTXT = """\
name: "beside" input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }
input: "size" input_shape { dim: 1 dim: 1 dim: 7 dim: 7 }
layer { name: "fixed" type: "DummyData" top: "fixed" top: "half" dummy_data_param {
  data_filler { value: 2 } data_filler { type: "constant" value: 0.5 } shape { dim: 3 }
  shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "power" type: "Power" bottom: "data" top: "power" power_param { scale: 0.1 shift: 1 } }
layer { name: "mul" type: "Eltwise" bottom: "power" bottom: "half" top: "mul"
  eltwise_param { operation: PROD } }
layer { name: "bias" type: "Bias" bottom: "mul" bottom: "fixed" top: "bias" bias_param { axis: 1 } }
layer { name: "crop" type: "Crop" bottom: "bias" bottom: "size" top: "crop" crop_param { axis: 2 offset: 1 } }
layer { name: "conv" type: "Convolution" bottom: "crop" top: "conv" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layer { name: "conv" type: "Convolution" bottom: "conv" top: "again" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "again" top: "fc" inner_product_param { num_output: 4 } }
"""

CONFIG = """\
a comment
param_file
deploy.prototxt
model_file
net.caffemodel
mean_file
mean.binaryproto
use_mean_file_asbinaryprotoblob
1
synsetfile
synset.txt
lastlayerindex
-2
firstlayerindex
0
numclasses
5
baseimgsize
20
standalone_outpath
out
standalone_rootpath
images
relpropformulatype
102
epsstab
0.01
alphabeta_beta
1.5
auxiliaryvariable_maxlayerindexforflatdistinconv
1
quirks
corrected
"""

YAML_CONFIG = """\
# a comment
prototxt: deploy.prototxt
caffemodel: net.caffemodel
synsetfile: 'synset.txt'
start_layer: auto
first_layer: "conv1"
class_count: 5
output_root: out
path_root: images
formula: 102
epsilon: 1e-2
beta: 1.5
switch_layer: relu1
preprocess:
  mean_values: [104, 117.5, 123]
  input_scale: 0.017
  channel_order: RGB
  resize: short-side
  base_size: 20
  input_size: 16x16
"""

LIST = "images/ant.png 1\nimages/bee.jpg -1\r\n\nimages/cow.png -2\n/absolute/dog.tiff +4\n"

_MEAN_SIDE = 18
#: Nets with more weights than this are tested without weights.
_MOST_WEIGHTS = 10**6


@dataclass(frozen=True)
class Parser:
    """A kind of file.

    Attributes
    ----------
    name
        Its name for ``--parser``.
    seeds
        Good files.
    damages
        Functions that damage them.
    read
        Lets caffe-lrp read a file of this kind; raises CaffeLrpError if it is refused.
    """

    name: str
    seeds: tuple[bytes, ...]
    damages: Sequence[Damage]
    read: Callable[[Path], object]


@dataclass(frozen=True)
class MadeUpBlob(StoredBlob):
    """Weights that are not in a file."""

    def read(self) -> NDArray[np.float32]:
        """Return small numbers of both signs."""
        return np.resize(np.array([0.5, -0.25, 0.125], np.float32), self.shape)


def fitting_weights(net: DeployedNet) -> dict[str, tuple[StoredBlob, ...]]:
    """Return made-up weights for a net, none if it needs too many."""
    shapes = weight_shapes(net)
    if sum(math.prod(shape) for blobs in shapes.values() for shape in blobs) > _MOST_WEIGHTS:
        return {}
    return {
        name: tuple(MadeUpBlob(Path("made up"), shape, ()) for shape in blobs)
        for name, blobs in shapes.items()
    }


def resolve_plans(net: Net) -> None:
    """Prepare a net up to the point where its images would be read."""
    for code in FORMULAS:
        ends = ((number,) * net.input_shape[0] for number in (-100.0, 155.0))
        parameters = RuleParameters(0.01, 1.0, 2, REFERENCE, 0.25, *ends)
        with contextlib.suppress(PlanError):  # not every formula has a rule for every layer
            CpuEngine.footprint(net, [resolve_plan(net, code, parameters, len(net.layers) - 1, 0)])


def read_net(path: Path) -> None:
    """Go as far as possible with a prototxt."""
    net = deploy(read_prototxt(path))
    resolve_plans(build_net(net, fitting_weights(net), memory=2**30))


def read_weights(good: DeployedNet, path: Path) -> None:
    """Go as far as possible with a caffemodel."""
    stored = scan_caffemodel(path)
    resolve_plans(build_net(good, stored, memory=2**30))


def read_model(path: Path) -> None:
    """Go as far as possible with a config."""
    with caffe_lrp.load(path) as model:
        model.explainer((model.formula,))


def _layer_of(model: caffe_pb2.NetParameter, style: str) -> Any:
    """Add a layer."""
    if style == "nested":
        return model.layers.add().layer
    return model.layers.add() if style == "old" else model.layer.add(type="?")


def read_as(suffix: str, read: Callable[[Path], object], path: Path) -> None:
    """Go as far as possible with a file whose kind depends on its name."""
    named = path.with_suffix(suffix)
    named.write_bytes(path.read_bytes())
    read(named)


def caffemodel_of(net: DeployedNet, style: str) -> bytes:
    """Return a caffemodel in one of the historical styles."""
    model = caffe_pb2.NetParameter(name="fuzzed")
    for name, blobs in fitting_weights(net).items():
        layer = _layer_of(model, style)
        layer.name = name
        for blob in blobs:
            stored = layer.blobs.add()
            numbers = blob.read().ravel().tolist()
            (stored.double_data if style == "double" else stored.data).extend(numbers)
            if style in ("old", "nested"):
                padded = (1,) * (4 - len(blob.shape)) + blob.shape
                stored.num, stored.channels, stored.height, stored.width = padded
            else:
                stored.shape.dim.extend(blob.shape)
    return bytes(model.SerializeToString())


def mean_blobs() -> tuple[bytes, ...]:
    """Return binary means: with old and new shapes, and one number after the other."""
    count = 3 * _MEAN_SIDE**2
    old = caffe_pb2.BlobProto(num=1, channels=3, height=_MEAN_SIDE, width=_MEAN_SIDE, data=[100.0] * count)
    new = caffe_pb2.BlobProto(
        shape=caffe_pb2.BlobShape(dim=[3, _MEAN_SIDE, _MEAN_SIDE]), double_data=[9.5] * count
    )
    single = b"\x08\x01\x10\x03\x18\x02\x20\x02" + b"\x2d\x00\x00\xc8\x42" * 12
    return bytes(old.SerializeToString()), bytes(new.SerializeToString()), single


def mean_text() -> bytes:
    """Return a mean as text."""
    return f"3\n{_MEAN_SIDE} {_MEAN_SIDE}\n{'104.5 ' * 3 * _MEAN_SIDE**2}\n".encode()


def write_good_files(folder: Path) -> DeployedNet:
    """Write the files that a config names, and return the net."""
    (folder / "deploy.prototxt").write_text(PROTOTXT)
    net = deploy(read_prototxt(folder / "deploy.prototxt"))
    (folder / "net.caffemodel").write_bytes(caffemodel_of(net, "new"))
    (folder / "mean.binaryproto").write_bytes(mean_blobs()[0])
    (folder / "synset.txt").write_text("ant\nbee\ncow\ndog\neel\n")
    return net


def _pixels() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:20, 0:24]
    return np.stack([rows * 12, columns * 10, (rows * columns) % 256], axis=2).astype(np.uint8)


def _saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(_pixels())
    if mode == "I;16":  # older Pillows make it of one channel only
        image = image.convert("I")
    image.convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _deep(ending: str, channels: int) -> bytes:
    """Return an image of 16 bits a sample."""
    pixels = np.resize(_pixels().astype(np.uint16) * 257, (20, 24, channels))
    return cv2.imencode(ending, pixels)[1].tobytes()


def image_seeds() -> dict[str, tuple[bytes, ...]]:
    """Return small images of every format, in its variants."""
    frames = [Image.fromarray(np.roll(_pixels(), shift, axis=0)) for shift in (3, 6)]
    return {
        "jpeg": (
            _saved("JPEG"), _saved("JPEG", progressive=True), _saved("JPEG", "CMYK"), _saved("JPEG", "L"),
            _saved("JPEG", subsampling="4:2:0", restart_marker_rows=1),
            _saved("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
        ),
        "png": (
            _saved("PNG"), _saved("PNG", "RGBA"), _saved("PNG", "P", transparency=3), _saved("PNG", "LA"),
            _saved("PNG", "1"), _saved("PNG", save_all=True, append_images=frames), _saved("PNG", "P"),
            _saved("PNG", "P", bits=4), _saved("PNG", "L", transparency=3),
            _saved("PNG", transparency=(0, 0, 0)),
        ),
        "png16": (_deep(".png", 1), _deep(".png", 3), _deep(".png", 4)),
        "bmp": (_saved("BMP"), _saved("BMP", "P"), _saved("BMP", "1"), _saved("DIB")),
        "gif": (_saved("GIF", "P"), _saved("GIF", "P", transparency=3, interlace=0),
            _saved("GIF", "L"), _saved("GIF", "P", save_all=True, append_images=frames)),
        "tiff": (
            _saved("TIFF"), _saved("TIFF", "LA"), _saved("TIFF", "YCbCr", compression="jpeg"),
            _saved("TIFF", compression="packbits", big_tiff=True),
            _saved("TIFF", "I;16"), _saved("TIFF", tiffinfo={284: 2}),
            _saved("TIFF", "CMYK"), _saved("TIFF", "P"),
            _saved("TIFF", "1", compression="group4"), _saved("TIFF", compression="tiff_lzw"),
            _saved("TIFF", compression="jpeg"),
            _saved("TIFF", compression="tiff_deflate", save_all=True, append_images=frames),
            _deep(".tiff", 1), _deep(".tiff", 3), _deep(".tiff", 4),
        ),
        "other": (
            _saved("PPM"), _saved("PPM", "L"),
            b"P3 2 2 255 1 2 3 4 5 6 7 8 9 10 11 12\n", b"P2 2 1 65535 1 65000\n", b"P1 3 2 1 0 1 0 1 0\n",
            b"P4 9 1\n\x55\x80", b"P5 2 1 65535\n\1\2\3\4",
        ),
        "webp": (_saved("WEBP"), _saved("WEBP", "RGBA", lossless=True), _saved("WEBP", save_all=True,
            append_images=frames)),
        "tga": (
            _saved("TGA"), _saved("TGA", "RGBA", compression="tga_rle"), _saved("TGA", "P"),
            _saved("TGA", "L", orientation=1), _saved("TGA", "LA"), _saved("TGA", "1"),
        ),
        "pcx": (_saved("PCX"), _saved("PCX", "P"), _saved("PCX", "L"), _saved("PCX", "1")),
        "jp2": (
            _saved("JPEG2000"), _saved("JPEG2000", "L", no_jp2=True), _saved("JPEG2000", "RGBA"),
            _saved("JPEG2000", "LA"), _saved("JPEG2000", "I;16"), _saved("JPEG2000", "YCbCr"),
            _saved("JPEG2000", irreversible=True, tile_size=(16, 16)),
        ),
    }  # fmt: skip


def numpy_seeds() -> tuple[bytes, ...]:
    """Return small NumPy files of several types."""
    seeds = []
    for dtype in ("<f4", ">f8", "|u1"):
        buffer = io.BytesIO()
        np.save(buffer, _pixels().transpose(2, 0, 1).astype(dtype))
        seeds.append(buffer.getvalue())
    return tuple(seeds)


def map_parsers() -> list[Parser]:
    """Return the files from which maps are read again."""
    relevance = _pixels().transpose(2, 0, 1).astype(np.float32) / np.float32(3)
    archive = io.BytesIO()
    np.savez_compressed(archive, relevance=relevance, scores=np.ones(3), classes=[3, 1, 2], target=[3])
    return [
        Parser(
            "map-text", (raw_heatmap(relevance),), fuzz_mutations.TEXT, partial(read_as, ".txt", read_map)
        ),
        Parser("map-npz", (archive.getvalue(),), fuzz_mutations.BYTES, partial(read_as, ".npz", read_map)),
    ]


def parsers(folder: Path) -> list[Parser]:
    """Return all kinds of files; good ones are written to ``folder``."""
    net = write_good_files(folder)
    mean: Blob = np.zeros((3, _MEAN_SIDE, _MEAN_SIDE), np.float32)
    decode = Preprocessor(20, 16, 16, mean, REFERENCE)
    models = tuple(caffemodel_of(net, style) for style in ("new", "old", "nested", "double"))
    read_mean = partial(load_mean, mode=BLOB_BGR, quirks=REFERENCE)
    text, message = fuzz_mutations.TEXT, fuzz_mutations.MESSAGE
    prototxts = (PROTOTXT, OLD_PROTOTXT, TRAINING_PROTOTXT, CONSTANTS_PROTOTXT)
    texts = [
        Parser("prototxt", tuple(map(str.encode, prototxts)), text, read_net),
        Parser("caffemodel", models, message, partial(read_weights, net)),
        Parser("mean", mean_blobs(), message, read_mean),
        Parser("mean-text", (mean_text(),), text, partial(load_mean, mode=TEXT_BGR, quirks=REFERENCE)),
        Parser("mean-npy", numpy_seeds(), fuzz_mutations.BYTES, read_mean),
        Parser("config", (CONFIG.encode(),), text, read_model),
        Parser("yaml", (YAML_CONFIG.encode(),), text, partial(read_as, ".yaml", read_model)),
        Parser("list", (LIST.encode(),), text, read_filelist),
    ]
    images = [Parser(name, seeds, fuzz_pictures.PICTURES, decode) for name, seeds in image_seeds().items()]
    arrays = Parser("npy", numpy_seeds(), fuzz_mutations.BYTES, partial(read_as, ".npy", decode))
    return [*texts, *images, arrays, *map_parsers()]
