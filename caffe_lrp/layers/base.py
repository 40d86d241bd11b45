"""The base class of layers, the capabilities that rules use, and the registry of layer types.

Shapes of a layer are those of one item, without the batch axis; blobs start with that axis. A *capability*
is a base class: rules depend on capabilities, never on layer types.
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

#: Lowest and highest number.
Range = tuple[float, float]


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer(ABC):
    """One layer of a net.

    Attributes
    ----------
    index
        Number of the layer, as used in config files.
    inputs, outputs
        Value ids; the output of a layer that works in place has a different id from its input.
    input_shapes
        Shape of one item of every input.
    batch_size
        Items in a batch according to the prototxt.
    weights
        Learned blobs, empty until `Net` loads them.
    """

    input_counts: ClassVar[tuple[int, int | None]] = (1, 1)
    output_counts: ClassVar[tuple[int, int | None]] = (1, 1)
    #: Classes of the layers that `from_spec` makes, unless they are this class or its subclasses.
    variants: ClassVar[tuple[type["Layer"], ...]] = ()
    #: Whether the outputs are the probabilities of the classes.
    gives_probabilities: ClassVar[bool] = False
    #: What `gradient` uses in addition to the gradient of the outputs.
    gradient_uses_inputs: ClassVar[bool] = False
    gradient_uses_outputs: ClassVar[bool] = False
    #: Indices of the inputs of which only the shape matters.
    shape_inputs: ClassVar[frozenset[int]] = frozenset()
    #: Whether the outputs are the first input under other names, without memory of their own.
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
        """The role of each blob of `weight_shapes`, for code that generates weights.

        A ``weight`` or a ``scale`` is a factor, a ``bias`` is added; ``mean`` and ``variance`` are
        statistics, both multiplied by ``factor``; an ``unused`` blob may hold any number.
        """
        return ("weight", *("bias",) * (len(self.weight_shapes) - 1))[: len(self.weight_shapes)]

    def with_weights(self, weights: tuple[Blob, ...]) -> "Layer":
        """The layer with its learned blobs, which are finite and have one of the `accepted_weight_shapes`.

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
        """Shape of one item of every output; by default that of the input.

        Raises
        ------
        ModelError
            The input is too small for the layer; the caller names the layer.
        """
        return (self.input_shapes[0],) * len(self.outputs)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        """Whether outputs are never negative, given whether each input never is."""
        del inputs
        return False

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        """Whether the outputs are gates, given whether each input is one."""
        del inputs
        return False

    def range_of(self, inputs: Sequence[Range | None]) -> Range | None:
        """Lowest and highest number that outputs can have, given those of each input; None if unknown."""
        return inputs[0] if self.is_alias else None

    def keeps_bounds(self, varying: int) -> bool:
        """Whether every output is monotonic in every input, so that bounds of inputs give bounds of outputs.

        ``varying`` is how many inputs depend on the image.
        """
        del varying
        return False

    @abstractmethod
    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        """Outputs of the layer; the inputs are not changed."""

    @abstractmethod
    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        """Gradient at the inputs, given the gradient at the outputs.

        ``inputs`` (``outputs``) are those of the forward pass if `gradient_uses_inputs`
        (`gradient_uses_outputs`) is set, and may be empty otherwise.
        """


class Identity(Layer):
    """Capability: the output equals the input."""

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
    """Capability: works on each element alone, so that relevance can pass unchanged."""


class Router(Layer):
    """Capability: moves or copies elements; relevance is propagated like a gradient."""

    def keeps_bounds(self, varying: int) -> bool:
        return True

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def is_gate(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)


class Bordered(Router):
    """Capability: a copy of the input inside a border of constants, where relevance ends."""

    @property
    @abstractmethod
    def inside(self) -> tuple[slice, ...] | None:
        """Position of the copy in a batch; None if the border holds no constants."""


class Winner(Layer):
    """Capability: every output is one of the inputs, as in max pooling; relevance follows the gradient."""


class Combination(Layer):
    """Capability: every output is the sum of contributions of several inputs, apart from a bias."""

    #: Whether outputs also contain a bias, which comes from no input.
    has_bias: ClassVar[bool] = False

    @abstractmethod
    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        """The contribution of each input, in the output's shape; without a bias they sum to the output.

        ``gates`` says whether each input is a gate. The contribution is None for an input that adds nothing.
        """

    def gathered(self, number: int, share: Blob) -> Blob:
        """Relevance of input ``number`` from its share, which has the output's shape."""
        del number
        return share


class Aggregation(Layer):
    """Capability: every output combines elements of one input, as in average pooling."""

    @abstractmethod
    def shared(self, inputs: Blobs, relevance: Blob, workspace: Workspace) -> Blob:
        """Share ``relevance`` of the outputs in proportion to contributions, or equally if they sum to 0."""


class ClippedWindows(Layer):
    """Capability: windows are clipped to the image, and the last ones may contain no pixel of it."""

    window: Window

    @property
    @abstractmethod
    def filled_size(self) -> tuple[int, int]:
        """Number of rows and columns of the output, from the first on, with windows that see the image."""

    @property
    def has_empty_windows(self) -> bool:
        """Whether the last windows are outside the image, as can happen if stride exceeds kernel size."""
        return self.filled_size != self.output_shapes[0][1:]


class Normalization(Layer):
    """Capability: activations are shifted and scaled, which does not move relevance."""


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
    """Class decorator that registers a class for Caffe's layer type ``type_name``."""

    def enter(layer_class: LayerClass) -> LayerClass:
        REGISTRY[type_name] = layer_class
        return layer_class

    return enter
