"""What can be said of a run before it starts: lines that will fail, settings that are seldom meant."""

import math
from collections.abc import Sequence

from caffe_lrp.config import HeatmapConfig
from caffe_lrp.errors import ConfigError, ImageError, UsageError
from caffe_lrp.files.reading import require_file
from caffe_lrp.model.explainer import Session
from caffe_lrp.net.heads import head_notices
from caffe_lrp.relevance.formulas import find_formula
from caffe_lrp.relevance.start import AUTO
from caffe_lrp.relevance.target import Target

from .job import HeatmapJob


def notices(session: Session, config: HeatmapConfig) -> list[str]:
    """Remarks on weights and settings that can be used, but are seldom meant."""
    start, outputs, ranked = session.plan.start, session.output_size, config.class_count
    remarks = [*session.net.notices, *session.remarks]
    if config.head is None:
        remarks += head_notices(session.net, session.net.output_value)
    if ranked < outputs:
        remarks.append(
            f"{config.place_of('class_count')}: numclasses is {ranked}, but {session.ranked} has {outputs} "
            f"outputs; those from {ranked} on are not ranked, and never chosen by -1 or -2"
        )
    if session.plan.origin.class_size > 1:
        remarks.append(
            f"{config.place_of('start_layer')}: relevance starts at {start.label}: class c stands for its "
            f"scores at all {session.plan.origin.class_size} positions"
        )
    planes, *positions = session.net.shape_of(session.net.output_value)
    if config.start_layer != AUTO and math.prod(positions) > 1:
        remarks.append(
            f"{config.place_of('start_layer')}: the net's outputs are {planes} planes of "
            f"{'×'.join(map(str, positions))} positions, and class c stands for element c; with "
            "lastlayerindex auto (--start-layer) it stands for plane c"
        )
    if session.plan.start_size != outputs:
        remarks.append(
            f"{config.place_of('start_layer')}: relevance starts at {start.label}, which has "
            f"{session.plan.start_size} elements, but {session.ranked} has {outputs} outputs; class c stands "
            "for element c"
        )
    needs_switch_layer = any(find_formula(code).needs_switch_layer for code in session.formulas)
    if needs_switch_layer and session.switch_layer >= start.index:
        remarks.append(
            f"{config.place_of('switch_layer')}: the switch layer {session.switch_layer} is not below "
            f"the start layer {start.index}; every layer gets the lower rule"
        )
    return remarks


def foreseeable_fault(session: Session, job: HeatmapJob) -> str:
    """Why a job will fail, as far as that shows without decoding its image; empty if it does not."""
    if job.fault:
        return job.fault
    try:
        if job.member is None:
            require_file(job.image, "image", ImageError)
        require_classes(session, (job.target.code,))
    except ImageError as error:
        return str(error)
    return ""


def require_classes(session: Session, classes: Sequence[int]) -> None:
    """Refuse classes that the net, or the layer where relevance starts, does not have.

    Raises
    ------
    ImageError
        The largest of ``classes`` is too large; negative ones are codes and never are.
    """
    largest, start = max(classes), session.plan.start
    if largest >= session.output_size:
        raise ImageError(
            f"class {largest} does not exist: {session.ranked} has {session.output_size} outputs, which "
            f"count from 0 to {session.output_size - 1}"
        )
    if largest >= session.plan.start_size:
        raise ImageError(
            f"class {largest} is not an element of the start layer '{start.name}', "
            f"which has {session.plan.start_size}"
        )


def refuse_too_many_ranks(config: HeatmapConfig, top: int) -> None:
    """ConfigError if more of the best classes are to be explained than are ranked."""
    if top > config.class_count:
        raise ConfigError(
            f"{config.place_of('class_count')}: numclasses is {config.class_count}, but --top asks for the "
            f"{top} best classes; give {config.class_count} or fewer"
        )


def refuse_class(session: Session, target: Target) -> None:
    """UsageError if all images are to be explained for a class that the net does not have."""
    try:
        require_classes(session, (target.code,))
    except ImageError as error:
        raise UsageError(f"--target: {error}") from error
