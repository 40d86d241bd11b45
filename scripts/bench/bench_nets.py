"""Makes the benchmark's data: nets with random weights, their configs, and photos.

Everything is made once and kept in one folder.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from make_random_weights import class_count, labels, mean_image, replacing, write_net
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.config import read_config
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.net.build import build_outline
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.start import layer_index

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NETS = ("caffenet", "googlenet", "vgg16")
"""Nets that are measured by default."""

MORE_NETS = {"resnet50": ("zoo/resnet50.prototxt", "vgg16")}
"""Name -> prototxt in ``configs/``, and a net with the same kind of input and scores for its config."""

PHOTO_SIZE = (500, 375)
"""Width and height of a photo in pixels, as most of ImageNet's."""

PHOTO_FOLDER = "images"
"""The text that the configs look for in the paths of images."""

JPEG_QUALITY = 90
NOISE = 6.0
"""Standard deviation of a photo's noise, in grey levels: files are as large as a camera's."""

COARSE_CELLS = 6
"""Number of random colours along a photo's longer side, with smooth transitions."""


def prepare_net(name: str, folder: Path) -> Path:
    """Return the config of a net in `folder`, made with its random weights unless it is there.

    Parameters
    ----------
    name
        Name of a net; everything except weights, mean and class labels is taken from ``configs/``.
    folder
        Folder for all files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prototxt, config_of = files_of(name)
    text = config_of.read_text(encoding="utf-8")
    made = {
        "param_file": prototxt,
        "model_file": folder / f"{name}.caffemodel",
        "mean_file": folder / "mean.binaryproto",
        "synsetfile": folder / "synset.txt",
    }
    _make_files({key: path.resolve() for key, path in made.items()})
    config = folder / f"{name}.txt"
    config.write_text(_with_values(text, made), encoding="utf-8")
    return config


def files_of(name: str) -> tuple[Path, Path]:
    """Return prototxt and config of a net."""
    prototxt, net = MORE_NETS.get(name, (f"{name}/deploy.prototxt", name))
    return CONFIGS / prototxt, CONFIGS / f"{net}.txt"


def _make_files(made: Mapping[str, Path]) -> None:
    """Write the missing files of a net."""
    net = read_prototxt(made["param_file"])
    if not made["mean_file"].exists():
        with replacing(made["mean_file"]) as file:
            file.write(mean_image().SerializeToString())
    if not made["synsetfile"].exists():
        with replacing(made["synsetfile"]) as file:
            file.write(labels(class_count(net)).encode())
    if not made["model_file"].exists():
        with replacing(made["model_file"]) as file:
            write_net(file, net, np.random.default_rng(0))


def _with_values(config: str, values: Mapping[str, Path]) -> str:
    """Return the text of a config with the values of some keys replaced."""
    lines = config.splitlines()
    for key, path in values.items():
        lines[lines.index(key) + 1] = str(path.resolve())
    return "\n".join(lines) + "\n"


def unloaded_plan(name: str, formula: FormulaCode) -> Plan:
    """Return the plan of a net in ``configs/`` under a formula, without any weights."""
    prototxt, config_of = files_of(name)
    config = read_config(config_of)
    net = build_outline(deploy(read_prototxt(prototxt)))
    switch = layer_index(net, config.switch_layer, "the switch layer", "--switch-layer")
    quirks = QUIRK_MODES[config.quirks]
    parameters = RuleParameters(config.epsilon, config.beta, switch, quirks, config.gamma)
    return resolve_plan(net, formula, parameters, config.start_layer, config.first_layer)


def prepare_photos(folder: Path, count: int) -> list[Path]:
    """Return the paths of `count` different JPEG photos below `folder`, made unless they are there."""
    place = folder / PHOTO_FOLDER
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"photo{number:04d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            Image.fromarray(photo(number, *PHOTO_SIZE)).save(path, quality=JPEG_QUALITY)
    return paths


def photo(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) as coarse as a photo: smooth colours, edges of a disc, noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (COARSE_CELLS * height // width, COARSE_CELLS, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(smooth, np.float32) + rng.normal(0.0, NOISE, (height, width, 3))
    row, column = np.ogrid[:height, :width]
    centre_row, centre_column = rng.uniform(0.25, 0.75, 2) * (height, width)
    disc = np.hypot(row - centre_row, column - centre_column) < rng.uniform(0.1, 0.4) * height
    pixels[disc] = 255.0 - pixels[disc]
    return np.clip(pixels, 0, 255).astype(np.uint8)
