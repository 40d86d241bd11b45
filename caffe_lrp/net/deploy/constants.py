"""Blobs that a net reads in addition to the image: constants, or blobs of which only the shape matters.

Source of the numbers: Caffe's dummy_data_layer.cpp.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import BiasParameter, LayerParameter, ScaleParameter
from caffe_lrp.formats.caffe.data_layers import constant_of, dummy_shape
from caffe_lrp.formats.caffe.wiring import Value
from caffe_lrp.formats.spec import ConstantSpec, InputSpec, LayerSpec

from .training import Role, TrainingNet


@dataclass(frozen=True)
class SideInputs:
    """The inputs of a net that are not images.

    Attributes
    ----------
    source
        The prototxt, for messages.
    net
        The net.
    declared
        Inputs that the file declares.
    """

    source: str
    net: TrainingNet
    declared: Mapping[Value, InputSpec]

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """Declared inputs of which only the shape matters, and DummyData layers in addition to an image.

        A DummyData layer is taken for the image if nothing else can be.
        """
        data = [value for number in self.net.numbers(Role.DATA) for value in self.net.wiring.written(number)]
        read = [value for value in (*self.declared, *data) if value in self.net.read_values]
        consulted = [value for value in read if value in self.net.consulted_values]
        images = frozenset([value for value in consulted if not self._is_dummy(value)] or consulted)
        others = [value for value in read if value in self.declared or self._is_dummy(value)]
        return tuple(value for value in others if value not in images) if images else ()

    @cached_property
    def value_set(self) -> frozenset[Value]:
        """`values`, for look-ups."""
        return frozenset(self.values)

    def _is_dummy(self, value: Value) -> bool:
        return value not in self.declared and self.net.layers[value[0]].type == "DummyData"

    @cached_property
    def specs(self) -> tuple[ConstantSpec, ...]:
        """The constants; blobs of which only the shape matters are 0.

        Raises
        ------
        ModelError
            Scores depend on random numbers, or the file gives no shape.
        """
        return tuple(map(self._spec, self.values))

    def _spec(self, value: Value) -> ConstantSpec:
        if value in self.declared:
            return ConstantSpec(self.declared[value].name, self.declared[value].shape)
        number, top = value
        layer = self.net.layers[number]
        name, shape = layer.tops[top], dummy_shape(layer, top)
        what = f"{self.source}: data layer '{layer.name}' ({layer.type})"
        if shape is None:
            raise ModelError(
                f"{what}: the prototxt does not give the size of '{name}'; add dummy_data_param "
                "{ shape { dim: … } }"
            )
        if value not in self.net.consulted_values:
            return ConstantSpec(name, shape)
        filling = constant_of(layer, top)
        if filling is None:
            raise ModelError(
                f"{what}: fills '{name}' with random numbers, on which the scores depend; make it a constant "
                '(data_filler { type: "constant" value: … }), or remove it'
            )
        if not math.isfinite(filling):
            raise ModelError(f"{what}: fills '{name}' with {filling}; give a finite number")
        return ConstantSpec(name, (1, *shape) if value in self._without_batch else shape, filling)

    # --- Constants without a batch axis ---------------------------------------------------------------------

    @cached_property
    def _without_batch(self) -> frozenset[Value]:
        """Constants without a batch axis: each is the second bottom of Scale or Bias layers of axis 1."""
        found = set(self.values)
        for number in self.net.kept:
            for value in self.net.remaining_reads(number):
                if value in found and not self._takes_from_axis_1(number, value):
                    found.remove(value)
        return frozenset(found)

    def _takes_from_axis_1(self, number: int, value: Value) -> bool:
        layer, reads = self.net.layers[number], self.net.remaining_reads(number)
        is_second = layer.type in ("Scale", "Bias") and len(reads) == 2 and reads.index(value) == 1
        return is_second and _numbers_of(layer.parameters, layer).axis == 1

    def converted(self, number: int) -> LayerSpec:
        """The layer, with axis 0 if it applies a constant without a batch axis from axis 1 on."""
        layer = self.net.layers[number]
        second = self.net.remaining_reads(number)[1:2]
        if self._without_batch.isdisjoint(second):
            return layer
        parameters = LayerParameter()
        parameters.CopyFrom(layer.parameters)
        _numbers_of(parameters, layer).axis = 0
        return replace(layer, parameters=parameters)

    # --- Notices --------------------------------------------------------------------------------------------

    def notices(self) -> Iterator[str]:
        """Notices on inputs that are taken as constants."""
        for value, spec in zip(self.values, self.specs, strict=True):
            shape = "×".join(map(str, spec.shape))
            is_consulted = value in self.net.consulted_values
            use = f"is the constant {spec.value:g}" if is_consulted else "provides only its shape"
            yield f"'{spec.name}' ({shape}) is not the image: it {use}"


def _numbers_of(parameters: LayerParameter, layer: LayerSpec) -> ScaleParameter | BiasParameter:
    """The parameters of a Scale or Bias layer."""
    return parameters.scale_param if layer.type == "Scale" else parameters.bias_param
