"""The net for images that a prototxt describes: all that is built of a net starts from it.

A run deploys its net once. Nothing takes a deployed net for what the files said, so that it cannot happen
twice by mistake.
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
        The inputs, of the size that was asked for.
    layers
        The layers in order of execution, Splits among them.
    constants
        Blobs that layers read as they do inputs.
    outputs
        What the file says of blobs that nothing reads.
    left_out
        Layers at test time that do not remain.
    described
        All layers of the file, whatever their phase: blobs can be stored under a layer that is left out.
    transform
        How the data layer of a net for training prepares images; None: the file does not say.
    notices
        What was read in the file, or done with it, that its user should know.
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
    """The net that ``spec`` is at test time.

    Parameters
    ----------
    spec
        The prototxt.
    weights
        Blobs of the caffemodel by layer name, if there are any: the first layers that learn know the number
        of channels where the prototxt does not.
    head
        Name of the output that is wanted, which stays although losses say that it only helps in training;
        None: no particular one.
    input_size
        Height and width of images in place of what the file says; None: what it says.

    Raises
    ------
    ModelError
        No layer takes part at test time, an input has no shape, nothing computes scores from images,
        numbers beside the image are random, or a layer reads what nothing writes.
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
    """Channels, height and width of the images that a net takes.

    Raises
    ------
    ModelError
        Its input is no image or absurdly large, or there is not exactly one.
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
    """The one input of a net; ModelError if there is none, or several."""
    if not net.inputs:
        raise ModelError(
            f'{net.source}: declares no input; add one: input: "data" input_shape {{ dim: 1 dim: 3 dim: H '
            "dim: W }"
        )
    if len(net.inputs) != 1:
        names = ", ".join(f"'{declared.name}'" for declared in net.inputs)
        raise ModelError(f"{net.source}: needs exactly one input blob, but declares {names}; keep the images")
    return net.inputs[0]
