"""Axes of blobs, as prototxts count them and as layers do."""

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.spec import Shape


def canonical_axis(axis: int, shape: Shape) -> int:
    """``axis`` of the full blob (negative counts from the end) as an axis of one item.

    Raises
    ------
    ModelError
        The axis is the batch axis, or the blob does not have it.
    """
    axes = len(shape) + 1
    resolved = axis + axes if axis < 0 else axis
    if not 0 < resolved < axes:
        raise ModelError(f"axis {axis} is not supported on a blob of {axes} axes")
    return resolved - 1
