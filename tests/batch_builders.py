"""A small random net whose images come from their names, and explainers of configs, for many tests."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from builders import parse, random_weights, write_caffemodel

from caffe_lrp.batch.job import HeatmapJob
from caffe_lrp.config import HeatmapConfig
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.errors import ImageError
from caffe_lrp.imaging.original import Original
from caffe_lrp.imaging.place import Place
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.model.attempt import Attempt
from caffe_lrp.model.batches import form_batches
from caffe_lrp.model.explainer import Explainer, open_explainer
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.model.stages import explain_batch, load_image
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.target import Target

SIDE = 9
CLASSES = 5
NET = f"""
name: "small" input: "data" input_shape {{ dim: 1 dim: 3 dim: {SIDE} dim: {SIDE} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param {{ num_output: {CLASSES} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""

#: Inputs that were neither resized nor cropped.
PLACE = Place(SIDE, SIDE, 0, 0, SIDE, SIDE)


def prepare(path: Path) -> PreparedImage:
    """An image that depends on its name alone; there is none if the name begins with "bad"."""
    if path.name.startswith("bad"):
        raise ImageError(f"{path}: is no image")
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    blob = rng.standard_normal((3, SIDE, SIDE), dtype=np.float32)
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    return PreparedImage(blob, picture, PLACE, Original(picture))


def small_settings(folder: Path, text: str = NET, **changes: Any) -> ModelSettings:
    """Settings of a net, whose files are written to ``folder``."""
    weights = random_weights(parse(folder, text), 0)
    settings: dict[str, Any] = {
        "prototxt": folder / "deploy.prototxt",
        "caffemodel": write_caffemodel(folder / "net.caffemodel", weights),
        "mean_values": (0.0,),
        "start_layer": -2,
        "switch_layer": 0,
    }
    return ModelSettings(**settings | changes)


def small_explainer(
    folder: Path,
    formulas: Sequence[FormulaCode] = (0,),
    preprocessor: Callable[[Path], PreparedImage] = prepare,
) -> Explainer:
    """An explainer of the net, whose images are made by ``preprocessor``."""
    explainer = open_explainer(small_settings(folder)).explaining(formulas)
    return replace(explainer, preprocessor=cast(Any, preprocessor))


def opened(config: HeatmapConfig, *formulas: FormulaCode, **options: Any) -> Explainer:
    """The explainer of a config, with plans for formulas: unless some are given, for that of the config."""
    explainer = open_explainer(ModelSettings(**config.model_arguments(), **options))
    own = () if config.formula is None else (config.formula,)
    return explainer.explaining(formulas or own)


def jobs_for(
    *lines: tuple[str, Target | int], formulas: Sequence[int] = (0,), folder: Path | None = None
) -> list[HeatmapJob]:
    """Jobs for images and targets, with output paths of their own in ``folder``."""
    jobs: list[HeatmapJob] = []
    for line, (name, target) in enumerate(lines, start=1):
        whole = target if isinstance(target, Target) else Target(target)
        jobs += [
            HeatmapJob(number, line, Path(name), whole, code, f"{folder}/{line}_{name}_{code}")
            for number, code in enumerate(formulas, start=len(jobs))
        ]
    return jobs


def explain_jobs(explainer: Explainer, jobs: Sequence[HeatmapJob]) -> list[Attempt]:
    """What comes of jobs that make one batch, in their order."""
    (batch,) = form_batches(jobs, len(jobs))
    loaded = [load_image(explainer, [jobs[place] for place in places]) for places in batch.requests_of]
    with CpuEngine() as engine:
        found = list(explain_batch(explainer, batch, loaded, engine))
    assert sorted(place for place, _ in found) == [*range(len(jobs))]
    return [attempt for _, attempt in sorted(found, key=lambda pair: pair[0])]


def fault_of(attempt: Attempt) -> str:
    """Why there is no explanation; empty if there is one."""
    assert (attempt.error is None) == (attempt.explanation is not None)
    return str(attempt.error or "")
