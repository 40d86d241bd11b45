"""The net for images that a prototxt describes, from which nets are built.

A run deploys its net once. A deployed net has a type of its own, so it cannot be deployed twice by mistake.
"""

from dataclasses import dataclass

from caffe_lrp.errors import ModelError, noticing
from caffe_lrp.formats.caffe.reader import StoredWeights
from caffe_lrp.formats.spec import ConstantSpec, InputSpec, LayerSpec, NetSpec, Shape, Transform
from caffe_lrp.net.limits import check_shape

from .precedence import OutputFacts
from .remains import what_remains
from .splits import insert_splits

_IMAGE_AXES = 4


@dataclass(frozen=True)
class DeployedNet:
    """A net at test time: inputs instead of data layers, no layers for training, Splits where needed.

    Attributes
    ----------
    source
        Path of the prototxt, for messages.
    inputs
        The inputs, of the requested size.
    layers
        The layers in order of execution, including Splits.
    constants
        Blobs that layers read like inputs.
    outputs
        What the file says about blobs that no layer reads.
    left_out
        Layers at test time that are left out.
    described
        All layers of the file, of any phase, because blobs can be stored under a layer that is left out.
    transform
        How the data layer of a net for training prepares images; None if the file does not say.
    notices
        What users should know about the file and its conversion.
    """

    source: str
    inputs: tuple[InputSpec, ...]
    layers: tuple[LayerSpec, ...]
    constants: tuple[ConstantSpec, ...]
    outputs: OutputFacts
    left_out: tuple[LayerSpec, ...]
    described: tuple[LayerSpec, ...]
    transform: Transform | None
    notices: tuple[str, ...]


def deploy(
    spec: NetSpec,
    weights: StoredWeights | None = None,
    head: str | None = None,
    input_size: tuple[int, int] | None = None,
) -> DeployedNet:
    """The net of ``spec`` at test time.

    Parameters
    ----------
    spec
        The prototxt.
    weights
        Blobs of the caffemodel by layer name, if there are any: those of the first layers give the number of
        channels if the prototxt does not.
    head
        Name of the requested output, which is kept even if losses say that it only helps in training;
        None: no particular one.
    input_size
        Height and width of images, instead of those in the file; None: those in the file.

    Raises
    ------
    ModelError
        No layer is used at test time, an input has no shape, no layer computes scores from images, scores
        depend on random numbers, or a layer reads a blob that no layer writes.
    """
    with noticing(spec.notices):
        remains = what_remains(spec, weights or {}, head, input_size)
        notices = (*spec.notices, *remains.notices)
        inputs, layers, constants = remains.inputs, remains.layers, remains.constants.specs
        outputs = remains.outputs
    with noticing(notices):
        split = insert_splits(inputs, layers, spec.source, constants)
    return DeployedNet(
        source=spec.source,
        inputs=inputs,
        layers=tuple(split),
        constants=constants,
        outputs=outputs,
        left_out=remains.left_out,
        described=spec.layers,
        transform=spec.transform,
        notices=notices,
    )


def image_shape(net: DeployedNet) -> Shape:
    """Channels, height and width of the images that a net reads.

    Raises
    ------
    ModelError
        Its input is not an image or is absurdly large, or there is not exactly one.
    """
    with noticing(net.notices):
        declared = only_input(net)
        check_shape(declared.shape, f"{net.source}: input '{declared.name}'")
        shape = declared.shape
        if len(shape) != _IMAGE_AXES:
            raise ModelError(
                f"{net.source}: the input must be images (N×C×H×W), but it is {'×'.join(map(str, shape))}; "
                "only nets for images can be explained"
            )
    return shape[1:]


def only_input(net: DeployedNet) -> InputSpec:
    """The only input of a net; ModelError if there is none, or several."""
    if not net.inputs:
        raise ModelError(
            f'{net.source}: declares no input; add one: input: "data" input_shape {{ dim: 1 dim: 3 dim: H '
            "dim: W }"
        )
    if len(net.inputs) != 1:
        names = ", ".join(f"'{declared.name}'" for declared in net.inputs)
        raise ModelError(
            f"{net.source}: needs exactly one input blob, but declares {names}; keep only the images"
        )
    return net.inputs[0]
