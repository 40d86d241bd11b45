"""What the files said: frozen descriptions of a net, its inputs and its layers, without arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .caffe_pb2 import TRAIN, LayerParameter, NetState

Shape = tuple[int, ...]


@dataclass(frozen=True)
class InputSpec:
    """An input blob and its full shape, batch axis first."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Transform:
    """How a data layer made the net's input of an image: resize, crop, subtract the mean, then multiply.

    Attributes
    ----------
    layer
        Name of the layer.
    resize
        Height and width that images are given first; None: they stay as they are.
    crop_size
        Side of the square cut out of the middle; None: nothing is cut off.
    mean_values
        One number for all channels, or one for each (blue first); none: nothing of that kind.
    mean_file
        A mean image, as Caffe was to find it; None: there is none.
    scale
        What everything is multiplied with in the end.
    is_gray
        Whether images are read as grey ones.
    """

    layer: str
    resize: tuple[int, int] | None = None
    crop_size: int | None = None
    mean_values: tuple[float, ...] = ()
    mean_file: str | None = None
    scale: float = 1.0
    is_gray: bool = False


@dataclass(frozen=True)
class UnknownField:
    """A field of a layer that Caffe does not have, and that may matter at test time.

    Attributes
    ----------
    name, value
        The field, and its number, truth value or choice; empty for a text, a list or a block.
    block
        Name of the block it stands in.
    line
        Where it stands.
    """

    name: str
    value: str
    block: str
    line: int


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a prototxt.

    ``parameters`` is the protobuf message the layer was described by (current style); layers read
    their own ``…_param`` from it and nobody changes it. What it has no place for are ``unknown_fields``.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    parameters: LayerParameter
    unknown_fields: tuple[UnknownField, ...] = ()

    @property
    def is_in_place(self) -> bool:
        """Whether the layer overwrites its bottom."""
        return bool(self.bottoms) and self.bottoms[:1] == self.tops[:1]

    @property
    def is_always_training(self) -> bool:
        """Whether the layer says that it works as in training whatever the phase of the net."""
        return self.parameters.HasField("phase") and self.parameters.phase == TRAIN


#: What losses and measures say for an output, see `caffe_lrp.net.claims`; the least is of the one to rank.
Precedence = tuple[float, float, float, float]


@dataclass(frozen=True)
class OutputFacts:
    """What a file says of blobs that nothing reads.

    Attributes
    ----------
    silenced
        Blobs that are no outputs, as a Silence layer reads them.
    precedence
        Name of an output -> what losses and measures say for it, where they say anything.
    """

    silenced: frozenset[str] = frozenset()
    precedence: Mapping[str, Precedence] = field(default_factory=dict)


@dataclass(frozen=True)
class NetSpec:
    """A prototxt, upgraded to the current style.

    Attributes
    ----------
    source
        The path, for messages.
    state
        The phase, level and stages that the file itself asks for.
    transform
        How the data layer of a net for training prepares images; None: the file does not say.
    notices
        What was noticed in the file that its user should know.
    left_out
        Layers that stand in the file, but were found to be of no use for the scores.
    head
        Name of the output that is wanted, which stays although losses say that it only helps in training;
        None: no particular one.
    outputs
        What the file said of its outputs, where the layers that said so are not among ``layers`` any more.
    """

    source: str
    name: str
    inputs: tuple[InputSpec, ...]
    layers: tuple[LayerSpec, ...]
    state: NetState
    transform: Transform | None = None
    notices: tuple[str, ...] = ()
    left_out: tuple[LayerSpec, ...] = ()
    head: str | None = None
    outputs: OutputFacts | None = None
