"""Relevance is conserved with corrected quirks: its sum stays the score at every layer on the way down."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import oracle
import oracle_walker
import pytest
from builders import (
    ENGINE,
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    Weights,
    build,
    deployed,
    from_scores,
    messages,
    without_biases,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import Array
from oracle_walker import Walker

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.build import weight_shapes
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks
from caffe_lrp.relevance.passage import ForwardPass
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

TEXT = without_biases(INCEPTION)
FC2 = INCEPTION_INDICES["fc2"]
CLASSES = [[3], [0]]

#: Bounds of what `positive_images` gives.
LOWEST, HIGHEST = (0.5, 0.25, 0.0), (1.5, 1.75, 2.0)


def signed_weights(folder: Path, seed: int) -> Weights:
    """Weights whose signs alternate over channels, rows and columns, so that windows see both.

    Inputs are positive. Positive weights outweigh negative ones, but for every fourth output, where it
    is the other way round: a ReLU silences these. The others stay active.
    """
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for name, (shape,) in weight_shapes(deployed(folder, TEXT)).items():
        at = np.indices(shape).sum(axis=0)
        size = np.where(at % 2 == 0, rng.uniform(1, 2, shape), -rng.uniform(0.1, 0.4, shape))
        if name != "fc2":
            size[3::4] *= -1
        weights[name] = [(size / np.sqrt(size[0].size)).astype(np.float32)]
    return weights


def positive_images(seed: int) -> Blob:
    return np.random.default_rng(seed).uniform(0.5, 1.5, (2, *INCEPTION_SHAPE)).astype(np.float32)


def sums_on_the_way_down(plan: Plan, forward: ForwardPass) -> Iterator[NDArray[np.float64]]:
    """Sum over everything that is on its way, per item, before the first step and after each."""
    on_its_way = list(plan.seeds)
    for done in range(len(plan.steps) + 1):
        if done:
            layer = plan.steps[done - 1].layer
            on_its_way = [value for value in on_its_way if value not in layer.outputs]
            on_its_way += layer.inputs
        total = np.zeros(len(CLASSES))
        for value in on_its_way:
            part = replace(plan, steps=plan.steps[:done], target=value)
            blob = from_scores(part, forward, CLASSES)
            total += blob.reshape(len(CLASSES), -1).sum(axis=1, dtype=np.float64)
        yield total


def windows_without_both_signs(walker: Walker, formula: int | str) -> int:
    """Outputs of αβ layers that may get relevance although their products have one sign only.

    A convolution's output that the ReLU on top of it silences gets none.
    """
    lacking = 0
    for layer in walker.layers:
        convolution = layer.type == "Convolution"
        if not convolution and (layer.type != "InnerProduct" or formula != 2):
            continue
        (weight,) = walker.weights[layer.name]
        x, z = (walker.values[ids[0]] for ids in (walker.reads[layer.name], walker.writes[layer.name]))
        edges = oracle.inner_product_edges(x.shape[1:], len(weight))
        if convolution:
            geometry = oracle_walker.convolution_geometry(layer.convolution_param)
            edges = oracle.convolution_edges(
                x.shape[1:], weight.shape, geometry, layer.convolution_param.group
            )
        for item in range(len(x)):
            p, n = oracle.alpha_beta_sums(x[item], weight, None, edges, False, 1)
            active = (z[item] > 0) | (not convolution)
            lacking += int((active & ((p == 0) | (n == 0))).sum())
    return lacking


def walked(weights: Weights, batch: Blob) -> Walker:
    walker = Walker(messages(TEXT), weights, INCEPTION_INDICES)
    walker.forward(batch)
    return walker


def largest_loss(
    net: Net, batch: Blob, scores: Array, formula: int | str, beta: float, quirks: Quirks
) -> float:
    """Largest relative difference between the score and any sum on the way down."""
    parameters = RuleParameters(1e-6, beta, -1, quirks, gamma=0.25, lowest=LOWEST, highest=HIGHEST)
    plan = resolve_plan(net, formula, parameters, FC2, 0)
    forward = ENGINE.forward(net, [plan], batch)
    wanted = np.array([scores[item, chosen] for item, (chosen,) in enumerate(CLASSES)])
    sums = list(sums_on_the_way_down(plan, forward))
    assert len(sums) == FC2 + 2
    return max(float((np.abs(total - wanted) / np.abs(wanted)).max()) for total in sums)


@pytest.mark.parametrize(("formula", "beta"), [(0, 0.0), (2, 0.0), (2, 1.0), (100, 0.0), (100, 0.5)])
def test_sums_stay_the_score_at_every_layer(formula: int, beta: float, tmp_path: Path) -> None:
    weights, batch = signed_weights(tmp_path, 1), positive_images(2)
    walker = walked(weights, batch)
    assert windows_without_both_signs(walker, formula) == 0
    loss = largest_loss(build(tmp_path, TEXT, weights), batch, walker.values[-2], formula, beta, CORRECTED)
    assert loss < 1e-3


@pytest.mark.parametrize("name", ["epsilon-plus", "epsilon-gamma-box", "gamma-all", "deep-taylor"])
def test_sums_stay_the_score_at_every_layer_under_names(name: str, tmp_path: Path) -> None:
    weights, batch = signed_weights(tmp_path, 1), positive_images(2)
    net, scores = build(tmp_path, TEXT, weights), walked(weights, batch).values[-2]
    assert largest_loss(net, batch, scores, name, 0.5, CORRECTED) < 1e-3


def test_some_units_are_silent_and_others_are_not(tmp_path: Path) -> None:
    walker = walked(signed_weights(tmp_path, 1), positive_images(2))
    for name in ("conv1", "a", "b_reduce", "b"):
        z = walker.values[walker.writes[name][0]]
        assert (z < 0).any()
        assert (z > 0).any()


@pytest.mark.parametrize("formula", [0, 2, 100])
def test_the_reference_does_not_conserve(formula: int, tmp_path: Path) -> None:
    weights, batch = signed_weights(tmp_path, 1), positive_images(2)
    scores = walked(weights, batch).values[-2]
    loss = largest_loss(build(tmp_path, TEXT, weights), batch, scores, formula, 1.0, REFERENCE)
    assert loss > 1e-2


@pytest.mark.slow
@settings(
    max_examples=12,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32 - 1), formula=st.sampled_from([0, 2, 100]), beta=st.floats(0, 2, width=32))
def test_sums_stay_the_score_whatever_the_weights(
    seed: int, formula: int, beta: float, tmp_path: Path
) -> None:
    weights, batch = signed_weights(tmp_path, seed), positive_images(seed + 1)
    walker = walked(weights, batch)
    assert windows_without_both_signs(walker, formula) == 0
    loss = largest_loss(build(tmp_path, TEXT, weights), batch, walker.values[-2], formula, beta, CORRECTED)
    assert loss < 1e-3
