"""Values of a net that is being built: their ids, names and shapes."""

from collections.abc import Sequence

from caffe_lrp.formats.spec import ConstantSpec, InputSpec, Shape
from caffe_lrp.layers import Layer


class Values:
    """What stands under which name, from layer to layer; inputs come first.

    Attributes
    ----------
    names, shapes
        Blob name and shape of one item, by id.
    constants
        Ids of constants: a new one for every layer that reads one.
    fixed
        Ids of values that do not depend on images: constants, and what follows from these alone.
    gates
        Ids of values that only say how much of others passes, constants among them.
    """

    def __init__(self, inputs: Sequence[InputSpec], constants: Sequence[ConstantSpec]) -> None:
        self.names = [declared.name for declared in inputs]
        self.shapes: list[Shape] = [declared.shape[1:] for declared in inputs]
        self.constants: dict[int, ConstantSpec] = {}
        self.fixed: set[int] = set()
        self.gates: set[int] = set()
        self._current = {name: value for value, name in enumerate(self.names)}
        self._constants = {constant.name: constant for constant in constants}

    def next(self, count: int) -> tuple[int, ...]:
        """The ids of the next ``count`` values."""
        return tuple(range(len(self.names), len(self.names) + count))

    def read(self, name: str) -> int:
        """Id of the value under a name."""
        if name in self._current:
            return self._current[name]
        (value,) = self.next(1)
        constant = self._constants[name]
        self.names.append(name)
        self.shapes.append(constant.shape[1:])
        self.constants[value] = constant
        self.fixed.add(value)
        self.gates.add(value)
        return value

    def gates_among(self, values: Sequence[int]) -> list[bool]:
        """Which of the values that a layer reads are gates: constants alone, if else all of them were."""
        are_fixed = [value in self.fixed for value in values]
        are_gates = [value in self.gates for value in values]
        return are_fixed if any(are_fixed) and all(are_gates) else are_gates

    def write(self, names: Sequence[str], layer: Layer) -> None:
        """Enter the outputs of a layer, whose ids are the next ones."""
        self.names.extend(names)
        self.shapes.extend(layer.output_shapes)
        self._current.update(zip(names, layer.outputs, strict=True))
        if self.fixed.issuperset(layer.inputs):
            self.fixed.update(layer.outputs)
            self.gates.update(layer.outputs)
        elif layer.is_gate([value in self.gates for value in layer.inputs]):
            self.gates.update(layer.outputs)
