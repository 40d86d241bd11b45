"""Values of a net that is being built: their ids, names and shapes."""

from collections.abc import Sequence

from caffe_lrp.formats.spec import ConstantSpec, InputSpec, Shape
from caffe_lrp.layers import Layer


class Values:
    """The values by name, recorded layer by layer; inputs come first.

    Attributes
    ----------
    names, shapes
        Blob name and shape of one item, by id.
    constants
        Ids of constants: a new one for every layer that reads one.
    fixed
        Ids of values that do not depend on images: constants, and values that depend only on constants.
    """

    def __init__(self, inputs: Sequence[InputSpec], constants: Sequence[ConstantSpec]) -> None:
        self.names = [declared.name for declared in inputs]
        self.shapes: list[Shape] = [declared.shape[1:] for declared in inputs]
        self.constants: dict[int, ConstantSpec] = {}
        self.fixed: set[int] = set()
        self._current = {name: value for value, name in enumerate(self.names)}
        self._constants = {constant.name: constant for constant in constants}

    def next(self, count: int) -> tuple[int, ...]:
        """The ids of the next ``count`` values."""
        return tuple(range(len(self.names), len(self.names) + count))

    def read(self, name: str) -> int:
        """Id of the current value of a name."""
        if name in self._current:
            return self._current[name]
        (value,) = self.next(1)
        constant = self._constants[name]
        self.names.append(name)
        self.shapes.append(constant.shape[1:])
        self.constants[value] = constant
        self.fixed.add(value)
        return value

    def write(self, names: Sequence[str], layer: Layer) -> None:
        """Add the outputs of a layer, under the next ids."""
        self.names.extend(names)
        self.shapes.extend(layer.output_shapes)
        self._current.update(zip(names, layer.outputs, strict=True))
        if self.fixed.issuperset(layer.inputs):
            self.fixed.update(layer.outputs)
