"""Modules of the toolbox as layers of Caffe.

SumPool, which divides the sum of a window by the root of its size, becomes a Convolution of every channel
with ones, and a Power layer: then all rules are the toolbox's, ε included, which it adds to the sum. Caffe's
average pooling would share relevance in proportion whatever the rule.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.formats.importers.imported import Blobs, ImportedLayer

from .module import Module, Numbers
from .sizes import ImageShape

#: How Flatten numbers the pixels of a map: the Python part's order, or that of the Matlab part.
FlattenOrder = Literal["python", "matlab"]
FLATTEN_ORDERS: tuple[str, ...] = get_args(FlattenOrder)

#: Axes of (channels, height, width) from the slowest to the fastest, in the order of a flattened map.
_AXES: Mapping[str, tuple[int, int, int]] = {"python": (1, 2, 0), "matlab": (0, 2, 1)}
#: Numbers of the weights of all SumPools, and of a map.
_MOST_ONES, _MOST_NUMBERS = 2**26, 2**28
INPUT = "data"


class LayerMaker:
    """Makes layers, module by module.

    Parameters
    ----------
    modules
        All modules.
    shape
        Of the input.
    order
        How Flatten numbers pixels.
    is_vector
        Whether the net takes the numbers of its input as a vector.

    Attributes
    ----------
    layers, notes
        What was made so far.
    """

    def __init__(
        self, modules: Sequence[Module], shape: ImageShape, order: FlattenOrder, *, is_vector: bool
    ) -> None:
        self.layers: list[ImportedLayer] = []
        self.notes: list[str] = []
        self._modules = modules
        self._axes = _AXES[order]
        self._shape: tuple[int, ...] = shape
        self._blob = INPUT
        self._counts: Counter[str] = Counter()
        self._ones = 0
        #: Shape of the map that was flattened without moving its pixels, until a Linear reads it.
        self._flattened: ImageShape | None = None
        if is_vector:
            self._emit_flatten("")

    def add(self, place: int) -> None:
        """Add the layers of the module at ``place``."""
        module = self._modules[place]
        _MAKERS[module.kind](self, module)
        if math.prod(self._shape) > _MOST_NUMBERS:
            raise module.error(f"its output would have {'×'.join(map(str, self._shape))} numbers")

    def _emit(
        self,
        module: Module,
        name: str,
        layer_type: str,
        parameters: Mapping[str, Any] | None = None,
        blobs: Blobs = (),
    ) -> None:
        source = f"{module.place}: {module}"
        layer = ImportedLayer(name, layer_type, (self._blob,), (name,), parameters or {}, blobs, source)
        self.layers.append(layer)
        self._blob = name

    def _name(self, stem: str) -> str:
        self._counts[stem] += 1
        return f"{stem}{self._counts[stem]}"

    def _map(self, module: Module) -> ImageShape:
        """The shape of the map that a module with windows reads."""
        if len(self._shape) != 3:
            raise module.error(
                "needs a map, but a Flatten or a Linear is before it; check the order of modules"
            )
        channels, height, width = self._shape
        if height < module.window[0] or width < module.window[1]:
            raise module.error(
                f"its window does not fit the map of {height}×{width} pixels; give a larger --input-size"
            )
        return channels, height, width

    def _slid(self, module: Module, channels: int) -> None:
        """Set the shape to that after a module with windows."""
        sides = zip(self._shape[1:], module.window, module.strides, strict=True)
        self._shape = (channels, *((size - window) // stride + 1 for size, window, stride in sides))

    def linear(self, module: Module) -> None:
        """Add a fully connected layer; a map before it was flattened in the toolbox's order."""
        inputs, outputs = module.sizes
        if len(self._shape) == 3:
            raise module.error("reads a map; put a Flatten before it, and write the net again")
        if self._shape[0] != inputs:
            raise module.error(
                f"has {inputs} inputs, but gets {self._shape[0]} numbers; check the modules before it, or "
                "--input-size"
            )
        assert module.weights is not None
        weights = module.weights
        if self._flattened is not None and math.prod(self._flattened) > max(self._flattened):
            weights = weights[positions(self._flattened, self._axes)]
            shown = "×".join(map(str, self._flattened))
            self.notes.append(f"{module.label}: rows of W were put into Caffe's order of a map of {shown}")
        blobs = (single(weights.T), single(_bias(module)))
        parameters = {"inner_product_param": {"num_output": outputs}}
        self._emit(module, self._name("fc"), "InnerProduct", parameters, blobs)
        self._shape, self._flattened = (outputs,), None

    def convolution(self, module: Module) -> None:
        """Add a convolution without padding."""
        depth, outputs = module.sizes[2:4]
        channels = self._map(module)[0]
        if channels != depth:
            raise module.error(f"reads {depth} channels, but gets {channels}; check the modules before it")
        assert module.weights is not None
        blobs = (single(module.weights.transpose(3, 2, 0, 1)), single(_bias(module)))
        parameters = _window(module) | {"num_output": outputs}
        self._emit(module, self._name("conv"), "Convolution", {"convolution_param": parameters}, blobs)
        self._slid(module, outputs)

    def sum_pool(self, module: Module) -> None:
        """Add a sum over windows, and its division by the root of the window's size."""
        channels = self._map(module)[0]
        height, width = module.window
        self._ones += channels * height * width
        if self._ones > _MOST_ONES:
            raise module.error("sums over too many pixels; is it really a net?")
        name = self._name("sumpool")
        ones = np.broadcast_to(np.float32(1), (channels, 1, height, width))
        parameters = _window(module) | {"num_output": channels, "group": channels, "bias_term": False}
        self._emit(module, f"{name}_sum", "Convolution", {"convolution_param": parameters}, (ones,))
        scale = {"scale": 1 / math.sqrt(height * width)}
        self._emit(module, name, "Power", {"power_param": scale})
        self._slid(module, channels)

    def max_pool(self, module: Module) -> None:
        """Add max pooling."""
        channels = self._map(module)[0]
        parameters = _window(module, is_list=False) | {"pool": "MAX", "round_mode": "FLOOR"}
        self._emit(module, self._name("maxpool"), "Pooling", {"pooling_param": parameters})
        self._slid(module, channels)
        if self._counts["maxpool"] == 1:
            self.notes.append(
                "MaxPool: where several pixels of a window are the largest, the toolbox shares relevance "
                "among them; here the first one gets it"
            )

    def flatten(self, module: Module) -> None:
        """Add a Flatten, which moves the pixels of a map into the toolbox's order if no Linear reads them."""
        if len(self._shape) != 3:
            self.notes.append(f"{module.label}: left out, as its input is a vector")
            return
        source = f"{module.place}: {module}"
        if math.prod(self._shape[1:]) > 1 and not self._is_read_by_linear(module):
            order = {"order": (0, *(axis + 1 for axis in self._axes))}
            self._emit(module, self._name("permute"), "Permute", {"permute_param": order})
            self._emit_flatten(source)
            self._flattened = None
        else:
            self._emit_flatten(source)

    def _emit_flatten(self, source: str) -> None:
        channels, height, width = self._shape
        name = self._name("flatten")
        self.layers.append(ImportedLayer(name, "Flatten", (self._blob,), (name,), {}, (), source))
        self._blob, self._flattened = name, (channels, height, width)
        self._shape = (math.prod(self._shape),)

    def _is_read_by_linear(self, module: Module) -> bool:
        """Whether only activation functions are between a Flatten and a Linear."""
        rest = self._modules[self._modules.index(module) + 1 :]
        following = next((later.kind for later in rest if later.kind not in ("Rect", "Tanh", "Flatten")), "")
        return following == "Linear"

    def rect(self, module: Module) -> None:
        """Add a rectifier."""
        self._emit(module, self._name("relu"), "ReLU")

    def tanh(self, module: Module) -> None:
        """Add a hyperbolic tangent."""
        self._emit(module, self._name("tanh"), "TanH")

    def softmax(self, module: Module) -> None:
        """Add a softmax over a vector."""
        if len(self._shape) != 1:
            raise module.error("works on the rows of a map in the toolbox; put a Flatten before it")
        self._emit(module, self._name("prob"), "Softmax")


_MAKERS: Mapping[str, Callable[[LayerMaker, Module], None]] = {
    "Linear": LayerMaker.linear,
    "Convolution": LayerMaker.convolution,
    "SumPool": LayerMaker.sum_pool,
    "MaxPool": LayerMaker.max_pool,
    "Flatten": LayerMaker.flatten,
    "Rect": LayerMaker.rect,
    "Tanh": LayerMaker.tanh,
    "SoftMax": LayerMaker.softmax,
}


def positions(shape: ImageShape, axes: tuple[int, int, int]) -> NDArray[np.int64]:
    """Positions in a flattened map of the toolbox of all its numbers in Caffe's order."""
    slots = np.arange(math.prod(shape)).reshape([shape[axis] for axis in axes])
    return slots.transpose(np.argsort(axes)).ravel()


def axes_of(order: FlattenOrder) -> tuple[int, int, int]:
    """Axes of (channels, height, width), from the slowest to the fastest, of a flattened map."""
    return _AXES[order]


def _bias(module: Module) -> Numbers:
    assert module.bias is not None
    return module.bias


def _window(module: Module, *, is_list: bool = True) -> dict[str, Any]:
    """Fields for window and strides of a convolution or a pooling."""
    (height, width), (down, right) = module.window, module.strides
    if height == width and down == right:
        return (
            {"kernel_size": [height], "stride": [down]}
            if is_list
            else {"kernel_size": height, "stride": down}
        )
    return {"kernel_h": height, "kernel_w": width, "stride_h": down, "stride_w": right}


def single(numbers: Numbers) -> NDArray[np.float32]:
    """Numbers in single precision, in C order."""
    return np.ascontiguousarray(numbers, np.float32)


def layers_of(
    modules: Sequence[Module], shape: ImageShape, order: FlattenOrder, *, is_vector: bool
) -> tuple[tuple[ImportedLayer, ...], tuple[str, ...]]:
    """The layers of a net on images of ``shape``, and notes; see `LayerMaker`.

    Raises
    ------
    ModelError
        A module does not fit the one before it.
    """
    maker = LayerMaker(modules, shape, order, is_vector=is_vector)
    for place in range(len(modules)):
        maker.add(place)
    return tuple(maker.layers), tuple(maker.notes)
