"""A session around a small random net, whose images come from their names; for tests of the batch package."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from builders import build

from caffe_lrp.batch.job import HeatmapJob
from caffe_lrp.errors import ImageError
from caffe_lrp.imaging.place import Place
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.model.explainer import Session
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.formulas import RuleParameters, find_formula
from caffe_lrp.relevance.plan import resolve_plan
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
    return PreparedImage(blob, np.zeros((SIDE, SIDE, 3), np.uint8), PLACE)


def small_session(
    folder: Path,
    formulas: Sequence[int] = (0,),
    preprocessor: Callable[[Path], PreparedImage] = prepare,
    epsilon: float = 0.01,
) -> Session:
    """A session whose images are made by ``preprocessor``."""
    net = build(folder, NET)
    parameters = RuleParameters(epsilon, 1.0, 0, REFERENCE)
    plans = [resolve_plan(net, find_formula(code), parameters, -2, 0) for code in formulas]
    return Session(
        net=net,
        formulas=tuple(formulas),
        plans=tuple(plans),
        preprocessor=cast(Any, preprocessor),
        labels=(),
        class_count=CLASSES,
    )


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
