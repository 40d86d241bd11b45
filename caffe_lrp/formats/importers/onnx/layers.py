"""The net that is being made: what every ONNX value has become, and the layers so far."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.importers.imported import ImportedLayer
from caffe_lrp.formats.spec import Shape

from .graph import Graph
from .names import Namer
from .node import Node, naming, said
from .tensors import Array, Constant, constant_of

#: Numbers of one blob.
LARGEST_BLOB = 2**31


class Value(NamedTuple):
    """A blob of the new net, with its full shape, batch axis first."""

    blob: str
    shape: Shape


@dataclass
class Drafts:
    """Layers in order, and the shapes of their blobs."""

    layers: list[ImportedLayer] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    writers: dict[str, ImportedLayer] = field(default_factory=dict)


class NetBuilder:
    """Layers are added to it node by node.

    Sizes are those of one pass with the batch that the file asks for; the batch axis is always first.
    """

    def __init__(self, graph: Graph, input_value: Value) -> None:
        self.opset = graph.opset
        self.drafts = Drafts(shapes={input_value.blob: input_value.shape})
        self._values: dict[str, Value] = {}
        self._constants: dict[str, Constant] = dict(graph.constants)
        self._names = Namer([input_value.blob], graph.nodes)

    # --- What values are ---

    def bind(self, name: str, value: Value) -> None:
        """Say what an ONNX value is."""
        self._values[name] = value

    def bind_constant(self, name: str, constant: Constant | Array) -> None:
        """Say that an ONNX value is constant."""
        self._constants[name] = constant if isinstance(constant, Constant) else constant_of(constant)

    def is_constant(self, node: Node, place: int) -> bool:
        """Whether an input of a node is constant."""
        return node.inputs[place] in self._constants

    def is_all_constant(self, node: Node) -> bool:
        """Whether no input of a node depends on the image."""
        return all(name in self._constants for name in node.inputs if name)

    def is_scores(self, node: Node) -> bool:
        """Whether the first input of a node depends on the image."""
        return node.inputs[0] in self._values if node.inputs else False

    def shape(self, name: str) -> Shape:
        """The shape of a value, or of a constant."""
        return self._values[name].shape if name in self._values else self._constants[name].shape

    def value(self, node: Node, place: int = 0) -> Value:
        """An input of a node that depends on the image."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name in self._values:
            return self._values[name]
        raise node.error(
            f"its input {place} ('{said(name)}') is {'a constant' if name else 'missing'}, but should "
            "depend on the image",
            "export the net again, with constant folding",
        )

    def values(self, node: Node) -> tuple[Value, ...]:
        """All inputs of a node."""
        return tuple(self.value(node, place) for place in range(len(node.inputs)))

    def output(self, name: str) -> Value:
        """The blob of an output of the graph."""
        if name not in self._values:
            raise ModelError(
                f"output '{said(name)}' does not depend on the image; export the scores as the output"
            )
        return self._values[name]

    def constant(self, node: Node, place: int, what: str) -> Array:
        """The numbers of a constant input of a node."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name in self._constants:
            with naming(f"{node.label}: {what} '{said(name)}'"):
                return self._constants[name].load()
        raise node.error(
            f"its {what} {'is computed from the image' if name else 'is missing'}, but must be a constant",
            "export the net for inputs of a fixed size, with constant folding",
        )

    def constant_shape(self, node: Node, place: int, what: str) -> Shape:
        """The shape of a constant input, whose numbers are not read."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        return (
            self._constants[name].shape if name in self._constants else self.constant(node, place, what).shape
        )

    def optional_constant(self, node: Node, place: int, what: str) -> Array | None:
        """The same, or None where the input is not given."""
        return self.constant(node, place, what) if node.has_input(place) else None

    def constants(self, node: Node) -> list[Array | None]:
        """All inputs of a node that reads only constants."""
        return [self.optional_constant(node, place, f"input {place}") for place in range(len(node.inputs))]

    # --- New layers ---

    def note(self, text: str) -> None:
        """Add a line to the report."""
        self.drafts.notes.append(text)

    def add(
        self,
        node: Node,
        kind: str,
        bottoms: Sequence[Value],
        shape: Shape,
        parameters: Mapping[str, Any] | None = None,
        blobs: Sequence[Array] = (),
        *,
        weights: int | None = None,
        what: str = "",
    ) -> Value:
        """Add a layer with one top, of ``shape``.

        Parameters
        ----------
        node
            The node it is made from.
        weights
            Which of the node's inputs its weights are; it may name the layer.
        what
            What the layer does for the node, if it is not the main one.
        """
        name = self._names.name(node, "" if weights is None else node.inputs[weights], what)
        return self._added(
            node,
            ImportedLayer(
                name,
                kind,
                tuple(bottom.blob for bottom in bottoms),
                (name,),
                parameters or {},
                _blobs(node, blobs),
                node.source,
            ),
            (shape,),
        )[0]

    def add_slices(self, node: Node, bottom: Value, axis: int, sizes: Sequence[int]) -> tuple[Value, ...]:
        """Add a layer that cuts a blob into pieces along an axis."""
        shapes = tuple((*bottom.shape[:axis], size, *bottom.shape[axis + 1 :]) for size in sizes)
        if len(sizes) == 1:
            return (bottom,)
        name = self._names.name(node, "", "")
        tops = tuple(self._names.name(node, "", f"part{number}") for number in range(len(sizes)))
        points = [int(point) for point in np.cumsum(sizes)[:-1]]
        parameters = {"slice_param": {"axis": axis, "slice_point": points}}
        layer = ImportedLayer(name, "Slice", (bottom.blob,), tops, parameters, (), node.source)
        return self._added(node, layer, shapes)

    def _added(self, node: Node, layer: ImportedLayer, shapes: Sequence[Shape]) -> tuple[Value, ...]:
        for shape in shapes:
            if not shape or min(shape) < 1 or math.prod(shape) > LARGEST_BLOB:
                raise node.error(
                    f"its output would have shape {shape}",
                    "check the sizes of the net and of its input (--input-size)",
                )
        self.drafts.layers.append(layer)
        self.drafts.writers.update(dict.fromkeys(layer.tops, layer))
        self.drafts.shapes.update(zip(layer.tops, shapes, strict=True))
        return tuple(map(Value, layer.tops, shapes))

    def reshape(self, node: Node, value: Value, shape: Shape, what: str = "") -> Value:
        """``value`` in another shape, with the same batch axis."""
        if shape == value.shape:
            return value
        if not shape or shape[0] != value.shape[0]:
            raise node.error(
                f"makes shape {shape} from {value.shape}, which moves the batch axis",
                "keep the batch axis first",
            )
        if len(shape) == 2:
            return self.add(node, "Flatten", (value,), shape, what=what)
        return self.add(
            node,
            "Reshape",
            (value,),
            shape,
            {"reshape_param": {"shape": {"dim": [0, *shape[1:]]}}},
            what=what,
        )

    def permute(self, node: Node, value: Value, order: Sequence[int], what: str = "") -> Value:
        """``value`` with its axes in another order."""
        if sorted(order) != list(range(len(value.shape))):
            raise node.error(f"orders {len(value.shape)} axes by {tuple(order)}", "export the net again")
        before = self.drafts.writers.get(value.blob)
        if before is not None and before.type == "Permute":
            inner = before.parameters["permute_param"]["order"]
            (source,) = before.bottoms
            value, order = Value(source, self.drafts.shapes[source]), [inner[axis] for axis in order]
        if list(order) == list(range(len(order))):
            return value
        if order[0] != 0:
            raise node.error(f"moves the batch axis (order {tuple(order)})", "keep the batch axis first")
        shape = tuple(value.shape[axis] for axis in order)
        return self.add(
            node, "Permute", (value,), shape, {"permute_param": {"order": list(order)}}, what=what
        )

    def repeat(self, node: Node, value: Value, shape: Shape) -> Value:
        """``value`` repeated along axes where it has size 1, to ``shape`` with as many or more axes."""
        missing = len(shape) - len(value.shape)
        if missing > 0:
            raise node.error(
                f"combines blobs of {len(value.shape)} and {len(shape)} axes",
                "give both the same number of axes (Reshape)",
            )
        for axis, (have, want) in enumerate(zip(value.shape, shape, strict=True)):
            if have != want:
                if have != 1 or axis == 0:
                    raise node.error(
                        f"shapes {value.shape} and {shape} do not fit together", "export the net again"
                    )
                wider = (*value.shape[:axis], want, *value.shape[axis + 1 :])
                value = self.add(
                    node, "Tile", (value,), wider, {"tile_param": {"axis": axis, "tiles": want}}, what="tile"
                )
        return value

    def rename(self, node: Node, value: Value) -> None:
        """The only output of ``node`` is ``value``, without a layer of its own."""
        self.bind(node.outputs[0], value)


def _blobs(node: Node, arrays: Sequence[Array]) -> tuple[NDArray[np.float32], ...]:
    found = []
    for array in arrays:
        with np.errstate(all="ignore"):
            blob = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(blob).all():
            raise node.error(
                "its weights have numbers that are NaN or infinite", "train or export the net again"
            )
        found.append(blob)
    return tuple(found)


def without_batch(shape: Shape) -> Shape:
    """The shape for one image."""
    return (1, *shape[1:])
