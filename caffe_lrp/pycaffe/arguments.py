"""The arguments that ``caffe.Net`` is opened with, in all orders that Caffe has had."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffe_lrp.files.reading import missing_file_advice

from .faults import CaffeError, CaffeValueError

TRAIN, TEST = 0, 1

AnyPath = str | bytes | os.PathLike[str]


def files_of(
    network_file: AnyPath, given: Sequence[Any], phase: Any, weights: Any, level: Any, stages: Sequence[str]
) -> tuple[Path, Path | None]:
    """The prototxt, and the caffemodel if there is one.

    Parameters
    ----------
    network_file
        The prototxt.
    given
        Arguments by position: ``phase``, or ``weights, phase``; maybe followed by level, stages and weights.
    phase, weights, level, stages
        Arguments by keywords.

    Raises
    ------
    CaffeError
        A file does not exist, or the net is not opened for testing.
    """
    left = list(given)
    if left and isinstance(left[0], (str, bytes, os.PathLike)):
        weights = left.pop(0)
    if left:
        phase = left.pop(0)
    level = level or (left and left.pop(0))
    stages = stages or (left and left.pop(0))
    weights = left.pop(0) if left else weights
    _refuse_other_phases(phase, level, stages)
    return existing(network_file), None if weights is None else existing(weights)


def existing(path: AnyPath) -> Path:
    """The path of a file; CaffeError, as in Caffe, if there is none."""
    found = Path(os.fsdecode(path))
    if not found.exists():
        raise CaffeError(f"Could not open file {found}; {missing_file_advice(found)}")
    return found


def _refuse_other_phases(phase: Any, level: Any, stages: Any) -> None:
    """CaffeError unless a net is opened for testing."""
    if phase is None or isinstance(phase, bool) or phase not in (TRAIN, TEST):
        raise CaffeValueError("caffe.Net needs a phase: caffe.Net(prototxt, caffemodel, caffe.TEST)")
    if phase == TRAIN:
        raise CaffeError("nets are computed as at test time only; give caffe.TEST in place of caffe.TRAIN")
    if level or stages:
        raise CaffeError(
            "levels and stages are read from the prototxt only; write state { level: … stage: … } into it"
        )
