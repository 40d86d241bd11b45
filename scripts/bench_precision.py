#!/usr/bin/env python3
"""Measures how far maps are from maps computed entirely in double precision, and why.

For a map r and the map d in double precision (including the forward pass), the *r.m.s. distance* is the root
of the mean of (r − d)² divided by that of d², and the *largest distance* is the largest |r − d| divided by
the largest |d|. Both are given as the median and the worst of the images.

Max pooling and ReLU make decisions: they pass all relevance to one element of a window, or stop a gradient.
If two elements are nearly equal, or one is nearly 0, rounding may change the decision, and then the map
changes by far more than by rounding alone. *Winners* are the windows of max pooling, and *signs* the inputs
of ReLU, whose decision differs from double precision, counted per image on average.

Every image is explained for its best class.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "bench"))

import numpy as np
from bench import FOLDER
from bench_float64 import Array, Values, explain, forward, winners
from bench_nets import MORE_NETS, NETS, prepare_net, prepare_photos
from bench_report import Row, table, write_json

import caffe_lrp
from caffe_lrp.config import CONVOLUTIONS
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.errors import CaffeLrpError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.activation import ReLU
from caffe_lrp.layers.base import Layer
from caffe_lrp.layers.pooling import MaxPooling
from caffe_lrp.relevance.beginning import at_scores
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.passage import ForwardPass
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.start import Start

DEFAULT_NETS = ("vgg16", "googlenet", "resnet50")
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Distance:
    """The distance of a map from the one in double precision; see the top of this file."""

    rms: float
    largest: float
    winners: int
    signs: int


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--nets", nargs="+", default=list(DEFAULT_NETS), metavar="NET",
        help=f"{', '.join([*NETS, *MORE_NETS])} with random weights, or the config file of another net; "
        f"default: {' '.join(DEFAULT_NETS)}")  # fmt: skip
    add("--formulas", nargs="+", type=formula, default=[11, 0, 100], metavar="CODE", help="default: 11 0 100")
    add("--convolution", nargs="+", choices=CONVOLUTIONS, default=list(CONVOLUTIONS), help="default: all")
    add("--images", type=int, default=4, metavar="N", help="how many; default: 4")
    add("--photos", type=Path, metavar="DIR", help="folder of images (the first N); default: synthetic")
    add("--json", type=Path, metavar="FILE", help="also write the distance of every image")
    add("--folder", type=Path, default=FOLDER, metavar="DIR", help="for weights and photos; made once")
    return parser.parse_args(arguments)


def formula(text: str) -> FormulaCode:
    """Return a formula from the command line."""
    return int(text) if text.isdecimal() else text


def config_of(net: str, folder: Path) -> Path:
    """Return the config of a net: one of the benchmark's, with random weights, or the one that is given."""
    return prepare_net(net, folder) if net in (*NETS, *MORE_NETS) else Path(net)


def images_of(options: argparse.Namespace) -> list[Path]:
    """Return the paths of the images."""
    if options.photos is None:
        return prepare_photos(options.folder, options.images)
    found = sorted(path for path in options.photos.iterdir() if path.suffix.lower() in SUFFIXES)
    return found[: options.images]


def rows_of(net: str, images: Sequence[Path], options: argparse.Namespace) -> list[Row]:
    """Return the rows of one net: all formulas, each with all methods of convolution."""
    distances: dict[tuple[FormulaCode, str], list[Distance]] = {}
    with caffe_lrp.load(config_of(net, options.folder)) as model:
        explainer = model.explainer(tuple(options.formulas))
        for number, image in enumerate(images, 1):
            batch = explainer.preprocessor(image).blob[np.newaxis]
            exact = forward(explainer.net, batch)
            best = best_class(explainer.origin, exact)
            for code, plan in explainer.plans.items():
                wanted = explain(plan, exact, [best])
                for method in options.convolution:
                    found = distances.setdefault((code, method), [])
                    found.append(distance_of(plan, batch, best, method, exact, wanted))
            print(f"  {net}: image {number} of {len(images)}", file=sys.stderr)
    name = net if net in (*NETS, *MORE_NETS) else Path(net).resolve().parent.name
    return [
        {"net": name, "formula": code, "convolution": method} | summary(found)
        for (code, method), found in distances.items()
    ]


def best_class(origin: Start, exact: Values) -> int:
    """Return the best class of an image, with scores averaged over positions if there are any."""
    return int(exact[origin.output].reshape(origin.output_count, -1).mean(axis=1).argmax())


def distance_of(plan: Plan, batch: Blob, best: int, method: str, exact: Values, wanted: Array) -> Distance:
    """Return the distance of an image's map from the exact one, for a method of convolution."""
    keep = frozenset(layer.inputs[0] for layer in deciding_layers(plan))
    with CpuEngine(convolution=method) as engine:
        passed = engine.forward(plan.net, [plan], batch, keep)
        found = engine.explain(plan, passed, at_scores(plan, passed, [(best,)]))
    return Distance(*relative(found, wanted), *changes(plan, passed, exact))


def relative(found: Blob, wanted: Array) -> tuple[float, float]:
    """Return the r.m.s. and the largest distance of a map; see the top of this file."""
    difference = found - wanted
    rms = np.sqrt(np.mean(difference**2) / np.mean(wanted**2))
    return float(rms), float(np.abs(difference).max() / np.abs(wanted).max())


def deciding_layers(plan: Plan) -> list[Layer]:
    """Return the layers in the backward pass whose decisions rounding may change."""
    return [step.layer for step in plan.steps if isinstance(step.layer, MaxPooling | ReLU)]


def changes(plan: Plan, passed: ForwardPass, exact: Values) -> tuple[int, int]:
    """Return how many winners of max pooling and signs at ReLUs differ from those in double precision."""
    other_winners = other_signs = 0
    for layer in deciding_layers(plan):
        value = layer.inputs[0]
        x, wanted = passed.activations[value], exact[value]
        if isinstance(layer, MaxPooling):
            other_winners += int(np.sum(winners(layer, x, 0.0) != winners(layer, wanted)))
        else:
            other_signs += int(np.sum((x > 0) != (wanted > 0)))
    return other_winners, other_signs


def summary(distances: Sequence[Distance]) -> Row:
    """Return the columns of a row for the distances of all images."""
    rms, largest = [each.rms for each in distances], [each.largest for each in distances]
    return {
        "rms": statistics.median(rms),
        "worst_rms": max(rms),
        "largest": statistics.median(largest),
        "worst_largest": max(largest),
        "winners": statistics.fmean(each.winners for each in distances),
        "signs": statistics.fmean(each.signs for each in distances),
        "images": [asdict(each) for each in distances],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested measurements and return the exit code."""
    options = parse_options(arguments)
    try:
        images = images_of(options)
        rows = [row for net in options.nets for row in rows_of(net, images, options)]
    except (CaffeLrpError, OSError, TypeError) as error:
        print(f"bench_precision.py: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    if options.json:
        write_json(options.json, None, {"precision": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
