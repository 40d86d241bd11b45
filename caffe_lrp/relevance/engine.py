"""The walk: relevance from the start layer down to the target, one batch at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.layout import as_blob, pixels
from caffe_lrp.layers.base import Blobs
from caffe_lrp.net.net import Activations, Net

from .plan import Plan, Step
from .rules import Seen


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What several plans need of one forward pass.

    Attributes
    ----------
    activations
        Value id -> blob: the output, and the values that one of the plans looks at.
    sums
        Index of a layer -> its sums of positive and of negative products, where a rule looks at them.
    """

    activations: Activations
    sums: Mapping[int, Blob]


@dataclass(frozen=True, eq=False)
class Passage:
    """Relevance passing one layer.

    Attributes
    ----------
    step
        The layer and its rule.
    seen
        What the rule saw of the forward pass.
    received
        Relevance of the layer's outputs, one blob for each.
    handed_down
        Relevance of its inputs. These blobs and those received are not to be changed.
    """

    step: Step
    seen: Seen
    received: Blobs
    handed_down: Blobs


#: Called after every step of a walk; what it does with the passage is its own affair.
Observer = Callable[[Passage, Workspace], None]


def run_forward(net: Net, plans: Sequence[Plan], batch: Blob, workspace: Workspace) -> ForwardPass:
    """One forward pass for all ``plans``; ``batch`` is (N, C, H, W)."""
    kept = frozenset[int]().union(*(plan.kept_values for plan in plans))
    sums: dict[int, Blob] = {}
    substitutes = {
        step.layer.index: partial(_forward_with_sums, step, sums)
        for plan in plans
        for step in plan.steps
        if step.rule.uses_sums
    }
    # Laid out once for all that read it: identities, the first layer, and its rule.
    batch = as_blob(pixels(batch), batch.shape)
    return ForwardPass(net.forward(batch, kept, workspace, substitutes), sums)


def _forward_with_sums(
    step: Step, sums: dict[int, Blob], inputs: Blobs, workspace: Workspace
) -> tuple[Blob, ...]:
    """The forward pass of a layer, put together from sums that are kept for its rule."""
    layer: Any = step.layer
    sums[layer.index], output = step.prepared.map.apply_sums(inputs[0], layer.bias, workspace)
    return (output,)


def explain(
    plan: Plan,
    forward: ForwardPass,
    classes: Sequence[Sequence[int]],
    workspace: Workspace,
    observer: Observer | None = None,
) -> Blob:
    """Relevance of the plan's target.

    Parameters
    ----------
    plan
        The plan.
    forward
        The forward pass of N items, by `run_forward` with this plan among its plans.
    classes
        For each item, the classes whose scores relevance starts as; each below `Plan.start_size`.
    workspace
        Memory and threads to use.
    observer
        Called after every step, or None.

    Returns
    -------
    Blob
        (N, …) in the shape of the target value.
    """
    activations = forward.activations
    elements = [plan.origin.elements_of(chosen) for chosen in classes]
    relevance = {
        value: _seed(activations[scores], elements, plan.unit_seed) for value, scores in plan.seeds.items()
    }
    for step in plan.steps:
        handed_down = _propagate(step, forward, relevance, workspace, observer)
        relevance.update(zip(step.layer.inputs, handed_down, strict=True))
    result = relevance[plan.target]
    return plan.finish(result) if plan.finish else result


def starting_scores(plan: Plan, forward: ForwardPass, item: int, classes: Sequence[int]) -> Blob:
    """(K,): what relevance starts as for one item and its ``classes``, see `explain`."""
    elements = plan.origin.elements_of(classes)
    if plan.unit_seed:
        return np.ones(len(elements), np.float32)
    found = [forward.activations[scores][item].reshape(-1)[elements] for scores in plan.seeds.values()]
    return np.concatenate(found)


def _seed(scores: Blob, elements: Sequence[list[int]], unit_seed: bool) -> Blob:
    """Zero except at the chosen elements, where it is the score itself, or 1."""
    seed = np.zeros(scores.shape, np.float32)
    for item, chosen in enumerate(elements):
        seed[item].reshape(-1)[chosen] = 1 if unit_seed else scores[item].reshape(-1)[chosen]
    return seed


def _propagate(
    step: Step,
    forward: ForwardPass,
    relevance: dict[int, Blob],
    workspace: Workspace,
    observer: Observer | None,
) -> tuple[Blob, ...]:
    """Relevance of a step's inputs; that of its outputs is used up. Outputs without any count as 0."""
    layer, rule = step.layer, step.rule
    items = len(next(iter(relevance.values())))
    received = []
    for value, shape in zip(layer.outputs, layer.output_shapes, strict=True):
        blob = relevance.pop(value, None)
        if blob is None:
            blob = workspace.empty((items, *shape))
            blob[...] = 0
        received.append(blob)
    values = forward.activations
    seen = Seen(
        [values[value] for value in layer.inputs] if rule.uses_inputs(layer) else (),
        [values[value] for value in layer.outputs] if rule.uses_outputs(layer) else (),
        forward.sums[layer.index] if rule.uses_sums else None,
    )
    handed_down = rule.propagate(layer, step.prepared, seen, received, workspace)
    if observer is not None:
        observer(Passage(step, seen, received, handed_down), workspace)
    return handed_down
