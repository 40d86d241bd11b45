"""The base class of layers, what relevance rules may ask of one, and the registry of layer types.

Shapes of a layer are those of one item, without the batch axis; blobs have it in front. A *capability*
is a base class: rules are written against capabilities, never against layer types.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.window import Window

Blobs = Sequence[Blob]

#: Numbers computed once, in double precision, before they become part of a layer.
Numbers = NDArray[np.float64]
#: Numbers of any precision.
AnyNumbers = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer(ABC):
    """One layer of a net.

    Attributes
    ----------
    index
        Number of the layer, as used in config files.
    inputs, outputs
        Value ids; a layer that works in place has an output id of its own.
    input_shapes
        Shape of one item of every input.
    batch_size
        Items in a batch where the prototxt counts them.
    weights
        Learned blobs, empty until `Net` loads them.
    """

    input_counts: ClassVar[tuple[int, int | None]] = (1, 1)
    output_counts: ClassVar[tuple[int, int | None]] = (1, 1)
    #: Classes of the layers that `from_spec` makes, where these are not the class itself or its subclasses.
    variants: ClassVar[tuple[type["Layer"], ...]] = ()
    #: Whether the outputs are the probabilities of the classes.
    gives_probabilities: ClassVar[bool] = False
    #: What `gradient` looks at besides the gradient itself.
    gradient_uses_inputs: ClassVar[bool] = False
    gradient_uses_outputs: ClassVar[bool] = False
    #: Numbers of the inputs of which nothing but the shape matters.
    shape_inputs: ClassVar[frozenset[int]] = frozenset()
    #: Whether the outputs are the first input under other names, and take no memory of their own.
    is_alias: ClassVar[bool] = False

    index: int
    name: str
    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    batch_size: int = 1
    is_in_place: bool = False
    weights: tuple[Blob, ...] = ()

    @classmethod
    def from_spec(cls, spec: LayerSpec, **node: Any) -> "Layer":
        """The layer that ``spec`` describes; ``node`` are the attributes common to all layers.

        Raises
        ------
        ModelError
            A parameter is missing, out of range or not supported; the caller names the layer.
        """
        del spec
        return cls(**node)

    @property
    def label(self) -> str:
        """The layer in messages: its index, name and type."""
        return f"layer {self.index} '{self.name}' ({self.type})"

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the learned blobs the layer needs, in the order of the caffemodel."""
        return ()

    @property
    def accepted_weight_shapes(self) -> tuple[tuple[Shape, ...], ...]:
        """All accepted shapes of weights, `weight_shapes` first: forks store other blobs."""
        return (self.weight_shapes,)

    @property
    def weight_roles(self) -> tuple[str, ...]:
        """The role of each blob of `weight_shapes`, for code that makes up weights.

        A ``weight`` or a ``scale`` is multiplied with, a ``bias`` added; ``mean`` and ``variance`` are
        statistics, each times ``factor``; what is ``unused`` may be any number.
        """
        return ("weight", *("bias",) * (len(self.weight_shapes) - 1))[: len(self.weight_shapes)]

    def with_weights(self, weights: tuple[Blob, ...]) -> "Layer":
        """The layer with its learned blobs, which are finite and of one of the `accepted_weight_shapes`.

        Raises
        ------
        ModelError
            They cannot be used; the caller names the layer.
        """
        return replace(self, weights=weights)

    @property
    def remark(self) -> str:
        """A remark on odd but usable weights; empty for most layers."""
        return ""

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        """Shape of one item of every output; the input's unless a layer says otherwise.

        Raises
        ------
        ModelError
            The input is too small for the layer; the caller names the layer.
        """
        return (self.input_shapes[0],) * len(self.outputs)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        """Whether outputs are never negative, given whether that holds for each input."""
        del inputs
        return False

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        """Whether the outputs are gates, given whether each input is one."""
        del inputs
        return False

    def keeps_bounds(self, varying: int) -> bool:
        """Whether every output is monotonic in every input, so that bounds of inputs give bounds of outputs.

        ``varying`` is how many inputs depend on the image.
        """
        del varying
        return False

    @abstractmethod
    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        """Outputs of the layer; inputs are never changed."""

    @abstractmethod
    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        """Gradient at the inputs, given that at the outputs.

        ``inputs`` (``outputs``) are those of the forward pass where `gradient_uses_inputs`
        (`gradient_uses_outputs`) is set, and may be empty otherwise.
        """


class Identity(Layer):
    """Capability: hands on what it gets."""

    is_alias = True

    def keeps_bounds(self, varying: int) -> bool:
        return True

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (inputs[0],)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (gradients[0],)


class Neuron(Layer):
    """Capability: works element by element, so that relevance can pass unchanged."""


class Router(Layer):
    """Capability: moves or copies elements; its gradient is also how relevance travels."""

    def keeps_bounds(self, varying: int) -> bool:
        return True

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)


class Winner(Layer):
    """Capability: every output is one of the inputs, as in max pooling; relevance goes as gradients do."""


class Combination(Layer):
    """Capability: every output is put together from what several inputs contribute to it, as in sums."""

    #: Whether outputs have something besides, which is no input's.
    has_bias: ClassVar[bool] = False

    @abstractmethod
    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        """The contribution of each input, in the output's shape; biases aside, they sum to the output.

        ``gates`` says of each input whether its values only say how much of others passes. None for an input
        that adds nothing of its own.
        """

    def gathered(self, number: int, share: Blob) -> Blob:
        """Relevance of input ``number`` from its share, which has the output's shape."""
        del number
        return share


class Aggregation(Layer):
    """Capability: every output is put together from elements of one input, as in average pooling."""

    @abstractmethod
    def shared(self, inputs: Blobs, relevance: Blob, workspace: Workspace) -> Blob:
        """Share ``relevance`` of the output in proportion to contributions, or equally if they sum to 0."""


class ClippedWindows(Layer):
    """Capability: windows are clipped to the image, and the last of them may have no pixel of it."""

    window: Window

    @property
    @abstractmethod
    def filled_size(self) -> tuple[int, int]:
        """Rows and columns of the output, the first ones, whose windows see pixels of the image."""

    @property
    def has_empty_windows(self) -> bool:
        """Whether the last windows lie outside the image, where a stride is larger than the kernel."""
        return self.filled_size != self.output_shapes[0][1:]


class Normalization(Layer):
    """Capability: activations are shifted and scaled, which is no reason to move relevance."""


class WindowAverage(Aggregation):
    """Capability: outputs are averages over windows."""

    window: Window


class ChannelNormalization(Layer):
    """Capability: activations are divided by a power of sums over neighbouring channels."""

    @property
    @abstractmethod
    def coefficients(self) -> tuple[int, float, float, float]:
        """Size of the neighbourhood, α, β and k of Caffe's LRN."""


REGISTRY: dict[str, type[Layer]] = {}

LayerClass = TypeVar("LayerClass", bound=type[Layer])


def register(type_name: str) -> Callable[[LayerClass], LayerClass]:
    """Class decorator: the class describes layers of Caffe's type ``type_name``."""

    def enter(layer_class: LayerClass) -> LayerClass:
        REGISTRY[type_name] = layer_class
        return layer_class

    return enter
