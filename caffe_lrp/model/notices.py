"""Notices about a model when it is opened: weights and settings that are rarely intended."""

import math
from collections.abc import Iterator

from caffe_lrp.errors import Notice
from caffe_lrp.net.heads import head_notices
from caffe_lrp.relevance.formulas import needs_switch_layer
from caffe_lrp.relevance.start import AUTO

from .explainer import Explainer, composite_of


def notices_on(explainer: Explainer) -> list[Notice]:
    """Notices about weights and settings that are valid but rarely intended."""
    settings, origin = explainer.settings, explainer.origin
    start, outputs, ranked = origin.layer, explainer.output_size, explainer.class_count
    notices = [Notice(text) for text in (*explainer.net.notices, *explainer.remarks)]
    if settings.head is None:
        notices += [Notice(text) for text in head_notices(explainer.net, explainer.net.output_value)]
    if ranked < outputs:
        text = (
            f"numclasses is {ranked}, but {explainer.ranked} has {outputs} outputs; outputs from {ranked} "
            "on are not ranked, and -1 and -2 never choose them"
        )
        notices.append(Notice(text, "class_count"))
    if origin.class_size > 1:
        text = (
            f"relevance starts at {start.label}: class c stands for its scores at all "
            f"{origin.class_size} positions"
        )
        notices.append(Notice(text, "start_layer"))
    planes, *positions = explainer.net.shape_of(explainer.net.output_value)
    if settings.start_layer != AUTO and math.prod(positions) > 1:
        text = (
            f"the net's outputs are {planes} planes of {'×'.join(map(str, positions))} positions, and class "
            "c stands for element c; with lastlayerindex auto (--start-layer) it stands for plane c"
        )
        notices.append(Notice(text, "start_layer"))
    notices += [Notice(text, "start_vector") for text in _on_start_vector(explainer)]
    is_for_targets = explainer.vector is None or explainer.vector.kind.is_for_targets
    if is_for_targets and origin.class_count != outputs:
        text = (
            f"relevance starts at {start.label}, which has {origin.class_count} elements, but "
            f"{explainer.ranked} has {outputs} outputs; class c stands for element c"
        )
        notices.append(Notice(text, "start_layer"))
    notices += [Notice(text) for plan in explainer.plans.values() for text in plan.remarks]
    switch_layer = explainer.parameters.switch_layer
    uses_switch = any(needs_switch_layer(composite_of(settings, code)) for code in explainer.formulas)
    if uses_switch and switch_layer >= start.index:
        text = (
            f"the switch layer {switch_layer} is not below the start layer {start.index}; every layer gets "
            "the lower rule"
        )
        notices.append(Notice(text, "switch_layer"))
    return notices


def _on_start_vector(explainer: Explainer) -> Iterator[str]:
    """Remarks on a start vector that was asked for."""
    vector = explainer.vector
    if vector is None:
        return
    if not vector.kind.is_for_targets:
        yield (
            f"the start vector '{vector.text}' does not depend on the class that is explained; targets only "
            "name files"
        )
