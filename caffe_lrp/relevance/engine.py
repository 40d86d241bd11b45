"""The walk: relevance from the start layer down to the target, one batch at a time."""

from collections.abc import Sequence

import numpy as np

from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.net.net import Activations

from .plan import Plan, Step


def explain(plan: Plan, activations: Activations, classes: Sequence[Sequence[int]]) -> Blob:
    """Relevance of the plan's target.

    Parameters
    ----------
    plan
        The plan.
    activations
        Values of the forward pass, `Plan.kept_values` among them, for N items.
    classes
        For each item, the flat elements of the start layer's output at which relevance starts; each
        below `Plan.start_size`.

    Returns
    -------
    Blob
        (N, …) in the shape of the target value.
    """
    relevance = {
        value: _seed(activations[scores], classes, plan.unit_seed) for value, scores in plan.seeds.items()
    }
    for step in plan.steps:
        handed_down = _propagate(step, activations, relevance, len(classes))
        relevance.update(zip(step.layer.inputs, handed_down, strict=True))
    result = relevance[plan.target]
    return plan.finish(result) if plan.finish else result


def _seed(scores: Blob, classes: Sequence[Sequence[int]], unit_seed: bool) -> Blob:
    """Zero except at the chosen elements, where it is the score itself, or 1."""
    seed = np.zeros_like(scores)
    for item, chosen in enumerate(classes):
        elements = list(chosen)
        seed[item].reshape(-1)[elements] = 1 if unit_seed else scores[item].reshape(-1)[elements]
    return seed


def _propagate(
    step: Step, activations: Activations, relevance: dict[int, Blob], items: int
) -> tuple[Blob, ...]:
    """Relevance of a step's inputs; that of its outputs is used up. Outputs without any count as 0."""
    layer, rule = step.layer, step.rule
    received = []
    for value, shape in zip(layer.outputs, layer.output_shapes, strict=True):
        blob = relevance.pop(value, None)
        received.append(np.zeros((items, *shape), np.float32) if blob is None else blob)
    inputs = [activations[value] for value in layer.inputs] if rule.uses_inputs(layer) else []
    outputs = [activations[value] for value in layer.outputs] if rule.uses_outputs(layer) else []
    return rule.propagate(layer, step.prepared, inputs, outputs, received)
