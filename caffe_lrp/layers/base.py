"""What a layer is, what relevance rules may ask of one, and the registry of layer types.

Shapes of a layer are those of one item, without the batch axis; blobs have it in front. A *capability*
is a base class: rules are written against capabilities, never against layer types.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.compute.linear_map import LinearMap, signed_weight
from caffe_lrp.compute.quotients import undivided
from caffe_lrp.compute.sharing import shared_property
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.formats.spec import LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.window import Window

Blobs = Sequence[Blob]

#: Numbers that are worked out once, in full precision, before they become part of a layer.
Numbers = NDArray[np.float64]


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
        """What messages call the layer: its index, name and type."""
        return f"layer {self.index} '{self.name}' ({self.type})"

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the learned blobs the layer needs, in the order of the caffemodel."""
        return ()

    @property
    def accepted_weight_shapes(self) -> tuple[tuple[Shape, ...], ...]:
        """What may stand in the place of `weight_shapes`, which comes first: forks store other blobs."""
        return (self.weight_shapes,)

    @property
    def weight_roles(self) -> tuple[str, ...]:
        """What each blob of `weight_shapes` is, for those who make some up.

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
        """What is odd about the learned blobs, though they can be used; empty for most layers."""
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
        """Whether outputs only say how much of others passes, given whether that holds for each input."""
        del inputs
        return False

    def keeps_bounds(self, varying: int) -> bool:
        """Whether outputs for the bounds of inputs are the bounds of the outputs, one way round or the other.

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

    @property
    def has_partial_windows(self) -> bool:
        """Whether some outputs see fewer inputs than others, and padding in their place."""
        return True

    def along_outputs(self, numbers: Numbers) -> Numbers:
        """One number for every output channel, as an array that `weight` can be multiplied with."""
        return numbers.reshape(-1, *(1,) * (self.weight.ndim - 1))

    def along_inputs(self, numbers: Numbers) -> Numbers:
        """One number for every channel of the input, as an array that `weight` can be multiplied with."""
        weight = self.weight
        repeats = self.groups * weight.shape[1] // len(numbers)
        of_groups = np.repeat(numbers, repeats).reshape(self.groups, weight.shape[1])
        rows = of_groups if self.groups == 1 else np.repeat(of_groups, self.group_outputs, axis=0)
        return rows.reshape(*rows.shape, *(1,) * (weight.ndim - 2))

    @abstractmethod
    def map_of(self, weight: Blob) -> LinearMap:
        """A map with other weights, lifted; see `linear_map`."""

    def sharing_map(self, weight: Blob) -> LinearMap:
        """A map that hands relevance back in proportion to ``weight``, in the shape of the layer's own.

        No weight is negative, and they may be overwritten. The shares of an output sum to 1, those that
        fall on padding included.
        """
        totals = weight.reshape(len(weight), -1).sum(axis=1)
        shares = np.divide(1, totals, out=np.zeros_like(totals), where=totals != 0)
        weight *= shares.reshape(-1, *(1,) * (weight.ndim - 1))
        return self.map_of(self.lifted(weight))

    def shared_equally(self, relevance: Blob, is_per_channel: bool, workspace: Workspace) -> Blob:
        """What the inputs get if every output shares its relevance equally, padding included.

        ``relevance`` has the shape of the output. With ``is_per_channel`` each channel of the input gets
        all of it.
        """
        spread = self.uniform_adjoint(relevance, workspace)
        spread /= np.float32(self.taps if is_per_channel else self.fan_in)
        return spread

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
        return (self.own_map.adjoint(undivided(gradients[0]), None, workspace),)


class Windowed(Linear):
    """Capability: a linear layer that sees its input through windows, which may reach beyond it."""

    window: Window


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
    """Capability: every output is one of the inputs; its gradient is also how relevance travels."""


class Combination(Layer):
    """Capability: every output is put together from what several inputs contribute to it."""

    #: Whether outputs have something besides, which is no input's.
    has_bias: ClassVar[bool] = False

    @abstractmethod
    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        """What each input adds to the output, in the output's shape; they sum to it, biases aside.

        ``gates`` says of each input whether its values only say how much of others passes. None for an input
        that adds nothing of its own.
        """

    def gathered(self, number: int, share: Blob) -> Blob:
        """Relevance of input ``number`` from its share, which has the output's shape."""
        del number
        return share


class Aggregation(Layer):
    """Capability: every output is put together from what elements of one input contribute to it."""

    @abstractmethod
    def shared(self, inputs: Blobs, relevance: Blob, workspace: Workspace) -> Blob:
        """``relevance`` of the output shared in proportion to contributions, or alike if they sum to 0."""


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
