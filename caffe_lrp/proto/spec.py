"""What the files said: frozen descriptions of a net, its inputs and its layers, without arrays."""

from dataclasses import dataclass

from .caffe_pb2 import LayerParameter, NetState

Shape = tuple[int, ...]


@dataclass(frozen=True)
class InputSpec:
    """An input blob and its full shape, batch axis first."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a prototxt.

    ``parameters`` is the protobuf message the layer was described by (current style); layers read
    their own ``…_param`` from it and nobody changes it.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    parameters: LayerParameter

    @property
    def is_in_place(self) -> bool:
        """Whether the layer overwrites its bottom."""
        return bool(self.bottoms) and self.bottoms[:1] == self.tops[:1]


@dataclass(frozen=True)
class NetSpec:
    """A prototxt, upgraded to the current style.

    ``source`` is the path for messages; ``state`` holds the phase, level and stages that the file
    itself asks for.
    """

    source: str
    name: str
    inputs: tuple[InputSpec, ...]
    layers: tuple[LayerSpec, ...]
    state: NetState
