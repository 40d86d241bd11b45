"""Gradients, and the variants of deconvolution and guided backpropagation; none is designed to conserve."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels import elementwise as kernels
from caffe_lrp.kernels.blobs import Blob, flat
from caffe_lrp.layers.base import Blobs, Layer, Neuron
from caffe_lrp.layers.linear import Linear

from .accounts import Loss
from .base import Conditions, LayerT, PassedItem, Seen, UnpreparedRule
from .recipe import own_adjoint_floats


class NotConserving(UnpreparedRule[LayerT]):
    """A rule with meaningless sums: all losses at a layer are due to the rule."""

    def losses(self, passed: PassedItem[LayerT, None]) -> Iterator[Loss] | None:
        return None


@dataclass(frozen=True)
class Gradient(NotConserving[Layer]):
    """The layer's true gradient; for routers and max pooling it is also the relevance."""

    title = "gradient"

    def uses_inputs(self, layer: Layer) -> bool:
        return layer.gradient_uses_inputs

    def uses_outputs(self, layer: Layer) -> bool:
        return layer.gradient_uses_outputs

    def propagate(
        self, layer: Layer, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return layer.gradient(seen.inputs, seen.outputs, relevances, workspace)

    def derived_floats(self, layer: Layer, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return own_adjoint_floats(layer, growth) if isinstance(layer, Linear) else {}


@dataclass(frozen=True)
class PassPositive(NotConserving[Neuron]):
    """Only positive relevance passes (deconvolution; Zeiler and Fergus 2014)."""

    title = "pass R⁺"

    def propagate(
        self, layer: Neuron, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(relevances[0].shape)
        kernels.positive_part(flat(relevances[0]), flat(out))
        return (out,)


@dataclass(frozen=True)
class PassGuided(NotConserving[Neuron]):
    """Positive relevance passes where ``x > 0`` (guided backpropagation; Springenberg et al. 2015)."""

    title = "pass R⁺·[x>0]"

    def uses_inputs(self, layer: Neuron) -> bool:
        return True

    def propagate(
        self, layer: Neuron, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(relevances[0].shape)
        kernels.positive_part_where_positive(flat(seen.inputs[0]), flat(relevances[0]), flat(out))
        return (out,)


@dataclass(frozen=True)
class PassSmoothly(NotConserving[Neuron]):
    """``R / (1 + e^−βx)``: the gradient of a softplus in place of the ReLU (Dombrowski et al. 2019).

    ``sharpness`` is β: the larger it is, the closer softplus comes to the ReLU. A leaky ReLU gets the same,
    whatever its slope.
    """

    title = "softplus"
    sharpness: float = 10.0

    def uses_inputs(self, layer: Neuron) -> bool:
        return True

    def propagate(
        self, layer: Neuron, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(relevances[0].shape)
        x, received, target = flat(seen.inputs[0]), flat(relevances[0]), flat(out)
        workspace.share(
            lambda first, last: kernels.softplus_gradient(
                x[first:last], received[first:last], self.sharpness, target[first:last]
            ),
            x.size,
            x.size,
        )
        return (out,)
