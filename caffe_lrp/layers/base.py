"""What a layer is, what relevance rules may ask of one, and the registry of layer types.

Shapes of a layer are those of one item, without the batch axis; blobs have it in front. A *capability*
is a base class: rules are written against capabilities, never against layer types.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.layout import pixels
from caffe_lrp.kernels.passes import copied
from caffe_lrp.kernels.window import Window
from caffe_lrp.proto.spec import LayerSpec, Shape
from caffe_lrp.sharing import shared_property
from caffe_lrp.workspace import Workspace

from .linear_map import LinearMap, signed_weight

Blobs = Sequence[Blob]


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
    #: Whether the outputs are the first input under other names, and take no memory of their own.
    is_alias: ClassVar[bool] = False

    index: int
    name: str
    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
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
        """What messages call the layer: its index, name and type."""
        return f"layer {self.index} '{self.name}' ({self.type})"

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the learned blobs the layer needs, in the order of the caffemodel."""
        return ()

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
        """Whether outputs only say how much of others passes, given whether that holds for each input."""
        del inputs
        return False

    def with_gates(self, inputs: Sequence[bool]) -> "Layer":
        """The layer, knowing which of its inputs are gates."""
        del inputs
        return self

    def with_convolution(self, method: str, is_compared: bool) -> "Layer":
        """The layer, using a method of convolution: ``auto``, ``direct`` or ``winograd``.

        ``is_compared`` is whether max pooling compares its outputs or what follows from them.
        """
        del method, is_compared
        return self

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


class Linear(Layer):
    """Capability: outputs are a linear function of the input plus a bias.

    Rules make other maps from the weights; those that several rules use are kept with the layer.
    """

    groups: int
    has_bias: bool

    @property
    def weight(self) -> Blob:
        """(M, K) or (M, C/groups, k_h, k_w): one row of weights for every output channel."""
        return self.weights[0]

    @property
    def bias(self) -> Blob | None:
        """One number for every output channel, or None."""
        return self.weights[1] if self.has_bias else None

    @property
    @abstractmethod
    def group_outputs(self) -> int:
        """Number of output channels of each group."""

    @property
    @abstractmethod
    def taps(self) -> int:
        """Number of inputs that an output sees in one channel (all of them in an inner product)."""

    @property
    @abstractmethod
    def fan_in(self) -> int:
        """Number of inputs that an output sees."""

    @property
    def multiply_adds(self) -> int:
        """Products that one item takes, those with padding included."""
        return self.fan_in * math.prod(self.output_shapes[0])

    @abstractmethod
    def map_of(self, weight: Blob) -> LinearMap:
        """A map with other weights, lifted; see `linear_map`."""

    @abstractmethod
    def uniform_adjoint(self, relevance: Blob, workspace: Workspace) -> Blob:
        """Adjoint with all weights 1, for ``relevance`` in the shape of the output."""

    def lifted(self, weight: Blob) -> Blob:
        """``weight``, in the shape of the layer's own, as maps take it: (G, 1, O, 1, inputs, k_h, k_w)."""
        kernel = weight.shape[2:] or (1, 1)
        return weight.reshape(self.groups, 1, self.group_outputs, 1, weight.shape[1], *kernel)

    @shared_property
    def own_map(self) -> LinearMap:
        """The map of the layer itself."""
        return self.map_of(self.lifted(self.weight))

    @shared_property
    def signed_map(self) -> LinearMap:
        """Sums of positive and of negative products, for any input."""
        return self.map_of(signed_weight(self.lifted(self.weight), nonnegative=False))

    @shared_property
    def signed_map_of_nonnegative(self) -> LinearMap:
        """Sums of positive and of negative products, for inputs that are never negative."""
        return self.map_of(signed_weight(self.lifted(self.weight), nonnegative=True))

    @shared_property
    def positive_map(self) -> LinearMap:
        """Sums of positive products, for any input."""
        return self.map_of(self.signed_map.weight[:, :1])

    @shared_property
    def positive_map_of_nonnegative(self) -> LinearMap:
        """Sums of positive products, for inputs that are never negative."""
        return self.map_of(self.signed_map_of_nonnegative.weight[:, :1])

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        return (self.own_map.apply(inputs[0], self.bias, workspace),)

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (self.own_map.adjoint(copied(pixels(gradients[0])), None, workspace),)


class Neuron(Layer):
    """Capability: works element by element, so that relevance can pass unchanged."""


class Router(Layer):
    """Capability: moves or copies elements; its gradient is also how relevance travels."""

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)


class Winner(Layer):
    """Capability: every output is one of the inputs; its gradient is also how relevance travels."""


class Combination(Layer):
    """Capability: every output is put together from what several inputs contribute to it."""

    @abstractmethod
    def contributions(self, inputs: Blobs, outputs: Blobs) -> tuple[Blob | None, ...]:
        """What each input adds to the output, in the output's shape; they sum to it, biases aside.

        None for an input that adds nothing of its own, but says how much of the others passes.
        """

    def gathered(self, number: int, share: Blob) -> Blob:
        """Relevance of input ``number`` from its share, which has the output's shape."""
        del number
        return share


class Normalization(Layer):
    """Capability: activations are shifted and scaled, which is no reason to move relevance."""


class WindowAverage(Layer):
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
