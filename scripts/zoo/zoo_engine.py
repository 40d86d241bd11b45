"""The process of the zoo's check that runs caffe-lrp on one net."""

import math
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from zoo_worker import Answer, Job, serve

from caffe_lrp.cli.composite_texts import examples
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.config import read_composite
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Layer
from caffe_lrp.layers.linear import Linear
from caffe_lrp.model.model import Model
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.beginning import at_scores
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.passage import Observer, Passage
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta

PATIENCE = 30.0
"""Seconds: runs that take longer are not repeated to be measured without their preparations."""


class Subject:
    """A loaded net, its image and the class to explain: the best one, at all positions of a map of scores."""

    def __init__(self, job: Job) -> None:
        settings = ModelSettings(
            prototxt=Path(job.prototxt),
            caffemodel=Path(job.caffemodel),
            mean_values=(0.0,),
            epsilon=job.epsilon,
            beta=job.beta,
            switch_layer=job.switch,
        )
        with Model(settings, threads=1) as model:
            self.image, self.engine = np.load(job.image), CpuEngine()
            explainer = model.explainer(())
            self.net, self._parameters = explainer.net, explainer.parameters
            self.start = scoring_layer(self.net)
            name = self.net.value_names[self.start.outputs[0]]
            self.scores = model.forward(self.image, [name])[name]
        positions = math.prod(self.scores.shape[2:])
        best = int(self.scores[0].reshape(-1).argmax()) // positions
        self.elements = list(range(best * positions, (best + 1) * positions))

    def plan(self, formula: FormulaCode, quirks: str, bounds: Sequence[Sequence[float]] = ((), ())) -> Plan:
        """Return the plan of a formula; every element of the scores is a class."""
        lowest, highest = map(tuple, bounds)
        parameters = replace(self._parameters, quirks=QUIRK_MODES[quirks], lowest=lowest, highest=highest)
        return resolve_plan(self.net, formula, parameters, self.start.index, 0)

    def relevance(self, plan: Plan, observer: Observer | None = None) -> Blob:
        """Return the map of a plan."""
        forward = self.engine.forward(self.net, [plan], self.image)
        return self.engine.explain(plan, forward, at_scores(plan, forward, [self.elements]), observer)


def scoring_layer(net: Net) -> Layer:
    """Return the layer before the Softmax, or the last layer if there is none."""
    if net.layers[-1].type != "Softmax":
        return net.layers[-1]
    (value,) = net.layers[-1].inputs
    return next(layer for layer in net.layers if value in layer.outputs)


def forward(job: Job) -> Answer:
    """Save the scores."""
    np.save(job.output, Subject(job).scores)
    return {}


def relevance(job: Job) -> Answer:
    """Save the map of the first formula and the first kind of quirks."""
    subject = Subject(job)
    np.save(job.output, subject.relevance(subject.plan(job.formulas[0], job.quirks[0])))
    return {"elements": subject.elements}


def composites(job: Job) -> Answer:
    """Save the maps of composites of the manual."""
    subject = Subject(job)
    for name in job.composites:
        plan = subject.plan(read_composite(examples()[name]), "corrected", job.bounds)
        np.save(f"{job.output}/{name}.ours.npy", subject.relevance(plan))
    return {"elements": subject.elements}


def formulas(job: Job) -> Answer:
    """Return for every formula and kind of quirks whether the map is finite, its size and its seconds."""
    subject = Subject(job)
    rows = [
        {"formula": formula, "quirks": quirks} | explained(subject, subject.plan(formula, quirks))
        for formula in job.formulas
        for quirks in job.quirks
    ]
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rows": rows, "peak_memory": 1024 * kilobytes}


def explained(subject: Subject, plan: Plan) -> Answer:
    """Return the result for one map."""
    seconds = math.inf
    for _ in range(2):
        started = time.perf_counter()
        found = subject.relevance(plan)
        seconds = min(seconds, time.perf_counter() - started)
        if seconds > PATIENCE:
            break
    largest = float(np.abs(found).max())
    return {"seconds": seconds, "largest": largest, "is_finite": math.isfinite(largest) and largest > 0}


def note_of(passage: Passage) -> Answer:
    """Return the sums of the relevance that enters a layer and leaves it."""
    layer, rule, lost = passage.step.layer, passage.step.rule, 0.0
    if isinstance(layer, Linear) and isinstance(rule, AlphaBeta):
        x, relevance = passage.seen.inputs[0], passage.received[0]
        lost = one_sided(layer, x, relevance, rule.beta, passage.workspace)
    return {
        "layer": layer.name,
        "type": layer.type,
        "enters": total(passage.received),
        "leaves": total(passage.propagated),
        "absolute": absolute(passage.received),
        "one_sided": lost,
    }


def one_sided(layer: Linear, x: Blob, relevance: Blob, beta: float, workspace: Workspace) -> float:
    """Return the loss of αβ (gain, if below 0) in windows with products of only one sign; biases are 0.

    The products of each sign are summed directly: rounding must not turn 0 into another number.
    """

    def has_products(sign: float) -> NDArray[np.bool_]:
        found = np.zeros(relevance.shape, np.bool_)
        for part, weight in ((np.maximum(x, 0), layer.weight), (np.maximum(-x, 0), -layer.weight)):
            if part.any():
                products = layer.map_of(layer.lifted(np.maximum(sign * weight, 0)))
                found |= products.apply(part, None, workspace.directly()) > 0
        return found

    handed = (1 + beta) * has_products(1.0) - beta * has_products(-1.0)
    return float(np.sum(relevance * (1 - handed), dtype=np.float64))


def total(blobs: Blobs) -> float:
    """Return the sum of all elements."""
    return float(sum(blob.sum(dtype=np.float64) for blob in blobs))


def absolute(blobs: Blobs) -> float:
    """Return the sum of the absolute values of all elements."""
    return float(sum(np.abs(blob).sum(dtype=np.float64) for blob in blobs))


def conservation(job: Job) -> Answer:
    """Return for every formula the sums at the start and the end, and the layer that changes them most."""
    subject = Subject(job)
    return {"rows": [conserved(subject, job, formula) for formula in job.formulas]}


def conserved(subject: Subject, job: Job, formula: int) -> Answer:
    """Return the sums of one formula."""
    plan = subject.plan(formula, job.quirks[0])
    notes: list[Answer] = []
    found = subject.relevance(plan, lambda passage: notes.append(note_of(passage)))
    arrives = float(found.sum(dtype=np.float64))
    starts = notes[0]["enters"]
    worst = max(notes, key=unexplained)
    return {
        "formula": formula,
        "starts": starts,
        "arrives": arrives,
        "one_sided": sum(note["one_sided"] for note in notes),
        "layer": f"{worst['layer']} ({worst['type']})",
        "unexplained": unexplained(worst) / abs(starts),
        "absolute": max(note["absolute"] for note in notes) / abs(starts),
    }


def unexplained(note: Answer) -> float:
    """Return how much a layer changes the sum, except for the loss of one-sided windows."""
    return float(abs(note["enters"] - note["one_sided"] - note["leaves"]))


if __name__ == "__main__":
    serve(
        {
            "forward": forward,
            "relevance": relevance,
            "composites": composites,
            "formulas": formulas,
            "conservation": conservation,
        }
    )
