"""What the files describe: a net, its inputs and its layers, as frozen values without arrays."""

from dataclasses import dataclass

from caffe_lrp.formats.caffe.caffe_pb2 import TRAIN, LayerParameter, NetState

Shape = tuple[int, ...]


@dataclass(frozen=True)
class InputSpec:
    """An input blob and its full shape, batch axis first."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class ConstantSpec:
    """A blob that does not depend on images, and its full shape; every number in it is ``value``."""

    name: str
    shape: Shape
    value: float = 0.0


@dataclass(frozen=True)
class Transform:
    """How a data layer turns an image into the net's input: resize, crop, subtract the mean, then scale.

    Attributes
    ----------
    layer
        Name of the layer.
    resize
        Height and width that images are first resized to; None: they are not resized.
    crop_size
        Side of the square that is cropped from the centre; None: nothing is cropped.
    mean_values
        One number for all channels, or one for each (blue first); empty: there are none.
    mean_file
        Path of a mean image, as the prototxt has it; None: there is none.
    scale
        Factor of the input, applied last.
    is_gray
        Whether images are read in grayscale.
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
        The field, and its number, boolean or enum value; empty for a string, a list or a block.
    block
        Name of the block it is in.
    line
        Its line number.
    """

    name: str
    value: str
    block: str
    line: int


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a prototxt.

    ``parameters`` is the protobuf message of the layer, in the current style; layers read their own
    ``…_param`` from it, and it is never changed. Fields that the message lacks are ``unknown_fields``.
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
        """Whether the layer always works as in training, whatever the phase of the net."""
        return self.parameters.HasField("phase") and self.parameters.phase == TRAIN


@dataclass(frozen=True)
class NetSpec:
    """A prototxt, upgraded to the current style.

    Attributes
    ----------
    source
        Path of the prototxt, for messages.
    state
        The phase, level and stages that the file itself asks for.
    transform
        How the data layer of a training net prepares images; None: the file does not say.
    notices
        Notices about the file for the user.
    """

    source: str
    name: str
    inputs: tuple[InputSpec, ...]
    layers: tuple[LayerSpec, ...]
    state: NetState
    transform: Transform | None = None
    notices: tuple[str, ...] = ()
