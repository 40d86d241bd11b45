"""Relevance of a batch: the backward pass that ``net.lrp`` makes."""

from collections.abc import Callable, Sequence

import numpy as np

from caffe_lrp.engines.base import Engine
from caffe_lrp.machine.resources import available_memory
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.beginning import begin
from caffe_lrp.relevance.passage import Passage
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.start import find_start
from caffe_lrp.relevance.start_amounts import Subject

from .blob import Floats
from .faults import CaffeValueError
from .options import Propagation

#: The most items at a time, and the share of free memory that they may take; results depend on neither.
_MOST_ITEMS, _SHARE_OF_MEMORY = 16, 0.5

#: Called with a blob name, the items, and their relevance.
Store = Callable[[str, slice, Floats], None]


def plan_of(net: Net, wanted: Propagation) -> Plan:
    """The backward pass that options ask for.

    Raises
    ------
    CaffeLrpError
        A layer does not exist, or has no rule.
    CaffeValueError
        The number of classes is not that of the start layer.
    """
    start = find_start(net, wanted.start)
    if wanted.class_count not in (0, start.class_count):
        raise CaffeValueError(
            f"RelPropOpts: numclasses is {wanted.class_count}, but relevance starts at {start.layer.label}, "
            f"which has {start.class_count} outputs per item; set it to {start.class_count}"
        )
    plan = resolve_plan(net, wanted.composite, wanted.parameters, start, wanted.first)
    pooling = next((step.layer for step in plan.steps if step.layer.type == "Pooling"), None)
    if wanted.is_by_definition and pooling is not None:
        raise CaffeValueError(
            f"RelPropOpts: codeexectype 1 is for nets without pooling, and relevance passes {pooling.label}; "
            "set it to 0, which gives the same numbers"
        )
    return plan


def require_classes(plan: Plan, classes: Sequence[Sequence[int]]) -> None:
    """Refuse classes that the start layer does not have: CaffeValueError."""
    for chosen in classes:
        for index in chosen:
            if not 0 <= index < plan.start_size:
                raise CaffeValueError(
                    f"class {index} does not exist: {plan.start.label} has {plan.start_size} outputs, which "
                    f"count from 0 to {plan.start_size - 1}"
                )


def propagate(
    plan: Plan, inputs: Floats, classes: Sequence[Sequence[int]], engine: Engine, store: Store
) -> None:
    """Compute relevance at all blobs on the way, and store it.

    Parameters
    ----------
    plan
        The backward pass.
    inputs
        (N, …): what the net reads.
    classes
        For each item the classes whose scores relevance starts from; none: it starts from 0.
    engine
        What computes.
    store
        Takes the relevance; in-place layers store twice, the lower one last.
    """
    names = plan.net.value_names
    at_once = _items_at_once(plan, engine)
    for first in range(0, len(inputs), at_once):
        items = slice(first, min(first + at_once, len(inputs)))

        def store_inputs(passage: Passage, items: slice = items) -> None:
            layer = passage.step.layer
            for value, numbers in zip(layer.inputs, passage.propagated, strict=True):
                store(names[value], items, numbers)

        subjects = [Subject(tuple(chosen)) if chosen else None for chosen in classes[items]]
        with np.errstate(all="ignore"):  # numbers that are not finite are left to the script
            forward = engine.forward(plan.net, (plan,), inputs[items])
            start = begin(plan, forward, subjects).relevance
            for value, numbers in start.items():
                store(names[value], items, numbers)
            result = engine.explain(plan, forward, start, store_inputs)
        store(names[plan.target], items, result)


def _items_at_once(plan: Plan, engine: Engine) -> int:
    """How many items are propagated together."""
    of_item = engine.footprint(plan.net, (plan,)).per_image
    return max(1, min(_MOST_ITEMS, int(_SHARE_OF_MEMORY * available_memory()) // max(of_item, 1)))
