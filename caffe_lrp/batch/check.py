"""What can be checked of a run before it starts: lines that will fail, and targets that nothing has."""

from caffe_lrp.errors import ConfigError, ImageError, UsageError
from caffe_lrp.files.reading import require_file
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.relevance.target import Target

from .job import HeatmapJob


def foreseeable_fault(explainer: Explainer, job: HeatmapJob) -> str:
    """Why a job will fail, as far as that shows without decoding its image; empty if it does not."""
    if job.fault:
        return job.fault
    try:
        if job.member is None:
            require_file(job.image, "image", ImageError)
        explainer.require_classes((job.target.code,))
    except ImageError as error:
        return str(error)
    return ""


def refuse_too_many_ranks(class_count: int, top: int) -> None:
    """ConfigError if more of the best classes are to be explained than are ranked."""
    if top > class_count:
        raise ConfigError(
            f"numclasses is {class_count}, but --top asks for the {top} best classes; give {class_count} or "
            "fewer",
            setting="class_count",
        )


def refuse_class(explainer: Explainer, target: Target) -> None:
    """UsageError if all images are to be explained for a class that the net does not have."""
    try:
        explainer.require_classes((target.code,))
    except ImageError as error:
        raise UsageError(f"--target: {error}") from error
