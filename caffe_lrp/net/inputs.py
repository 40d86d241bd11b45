"""The input of a net before it is built: its shape, and another size in its place."""

from dataclasses import replace

from caffe_lrp.errors import ModelError
from caffe_lrp.proto.spec import NetSpec, Shape

from .build import build_graph, only_input, take_inputs
from .limits import check_shape

_IMAGE_AXES = 4


def image_shape(spec: NetSpec) -> Shape:
    """Channels, height and width of the images that a net takes.

    Raises
    ------
    ModelError
        Its input is no image, or there is not exactly one.
    """
    inputs, _ = take_inputs(spec)
    if len(inputs) != 1:
        build_graph(spec)  # which knows what reads a missing one
    shape = only_input(inputs, spec.source).shape
    if len(shape) != _IMAGE_AXES:
        raise ModelError(
            f"{spec.source}: the input must be images (N×C×H×W), but it is {'×'.join(map(str, shape))}; only "
            "nets for images can be explained"
        )
    return shape[1:]


def with_input_size(spec: NetSpec, size: tuple[int, int]) -> NetSpec:
    """The same net for images of another height and width.

    Raises
    ------
    ModelError
        As `image_shape`, or the size is absurd.
    """
    image_shape(spec)
    inputs, layers = take_inputs(spec)
    resized = replace(inputs[0], shape=(*inputs[0].shape[:2], *size))
    check_shape(resized.shape, f"{spec.source}: input '{resized.name}'")
    return replace(spec, inputs=(resized,), layers=tuple(layers))
