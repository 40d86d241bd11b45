"""Which layer reads which value in an unchecked prototxt, before Split layers and indices are added."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from caffe_lrp.formats.spec import LayerSpec
from caffe_lrp.messages import enumerated

#: What a layer writes: number of the layer (−1: an input of the net) and of its top (of the input).
Value = tuple[int, int]


@dataclass(frozen=True)
class Wiring:
    """The values that layers read; None is a blob that no earlier layer writes."""

    inputs: tuple[str, ...]
    layers: tuple[LayerSpec, ...]

    @cached_property
    def read(self) -> tuple[tuple[Value | None, ...], ...]:
        """For every layer, the values of its bottoms."""
        current: dict[str, Value] = {name: (-1, number) for number, name in enumerate(self.inputs)}
        result = []
        for number, layer in enumerate(self.layers):
            result.append(tuple(current.get(bottom) for bottom in layer.bottoms))
            current.update((top, value) for top, value in zip(layer.tops, self.written(number), strict=True))
        return tuple(result)

    @cached_property
    def has_reader(self) -> frozenset[Value | None]:
        """Values that some layer reads."""
        return frozenset(value for values in self.read for value in values)

    def written(self, number: int) -> tuple[Value, ...]:
        """Values of the tops of a layer."""
        return tuple((number, top) for top in range(len(self.layers[number].tops)))

    def unread(self, number: int) -> Iterator[Value]:
        """Values of the tops of a layer that nothing reads."""
        return (value for value in self.written(number) if value not in self.has_reader)


def names_of(layers: Sequence[LayerSpec], most: int = 6) -> str:
    """Names and types of layers for messages, the first ``most`` of them."""
    return enumerated([f"'{layer.name}' ({layer.type})" for layer in layers], most)
