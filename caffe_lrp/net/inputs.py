"""The input of a net before it is built: its shape, and another size in its place."""

from dataclasses import replace

from caffe_lrp.errors import ModelError, noticing
from caffe_lrp.formats.caffe.reader import Weights
from caffe_lrp.formats.spec import NetSpec, Shape

from .build import only_input
from .deploy import DeployNet, as_deploy_net
from .limits import check_shape
from .splits import insert_splits

_IMAGE_AXES = 4


def image_shape(spec: NetSpec, weights: Weights | None = None) -> Shape:
    """Channels, height and width of the images that a net takes; ``weights`` as for `as_deploy_net`.

    Raises
    ------
    ModelError
        Its input is no image or absurdly large, there is not exactly one, or a layer reads what nothing
        writes.
    """
    with noticing(spec.notices):
        deployed = as_deploy_net(spec, weights)
    with noticing((*spec.notices, *deployed.notices)):
        return _image_shape(spec, deployed)


def _image_shape(spec: NetSpec, deployed: DeployNet) -> Shape:
    # Knows what an undeclared input is called.
    insert_splits(deployed.inputs, deployed.layers, spec.source, deployed.constants)
    declared = only_input(deployed.inputs, spec.source)
    check_shape(declared.shape, f"{spec.source}: input '{declared.name}'")
    shape = declared.shape
    if len(shape) != _IMAGE_AXES:
        raise ModelError(
            f"{spec.source}: the input must be images (N×C×H×W), but it is {'×'.join(map(str, shape))}; only "
            "nets for images can be explained"
        )
    return shape[1:]


def with_input_size(spec: NetSpec, size: tuple[int, int], weights: Weights | None = None) -> NetSpec:
    """The same net for images of another height and width.

    Raises
    ------
    ModelError
        As `image_shape`, or the size is absurd.
    """
    resized = replace(spec, input_size=size)
    image_shape(resized, weights)
    return resized
