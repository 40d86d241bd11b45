"""The interface of linear layers for rules and engines, and maps along their weights."""

import math
from abc import abstractmethod

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap, signed_weight
from caffe_lrp.compute.once import shared_property
from caffe_lrp.compute.products import Products
from caffe_lrp.compute.quotients import undivided
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.window import Window

from .base import Blobs, Layer, Numbers


class Linear(Layer):
    """Capability: outputs are a linear function of the input plus a bias.

    Rules make other maps from the weights; those that several rules use are stored in the layer.
    """

    groups: int
    has_bias: bool

    @property
    def weight(self) -> Blob:
        """(M, K) or (M, C/groups, k_h, k_w): one row of weights per output channel."""
        return self.weights[0]

    @property
    def bias(self) -> Blob | None:
        """One number per output channel, or None."""
        return self.weights[1] if self.has_bias else None

    @property
    @abstractmethod
    def group_outputs(self) -> int:
        """Number of output channels of each group."""

    @property
    @abstractmethod
    def taps(self) -> int:
        """Number of inputs that an output sees in one channel (all of them if fully connected)."""

    @property
    @abstractmethod
    def fan_in(self) -> int:
        """Number of inputs that an output sees."""

    @property
    def multiply_adds(self) -> int:
        """Number of products for one item, including those with padding."""
        return self.fan_in * math.prod(self.output_shapes[0])

    @property
    def has_partial_windows(self) -> bool:
        """Whether some outputs see padding instead of inputs."""
        return True

    def along_outputs(self, numbers: Numbers) -> Numbers:
        """One number per output channel, as an array that can be multiplied by `weight`."""
        return numbers.reshape(-1, *(1,) * (self.weight.ndim - 1))

    def along_inputs(self, numbers: Numbers) -> Numbers:
        """One number per input channel, as an array that can be multiplied by `weight`."""
        weight = self.weight
        repeats = self.groups * weight.shape[1] // len(numbers)
        of_groups = np.repeat(numbers, repeats).reshape(self.groups, weight.shape[1])
        rows = of_groups if self.groups == 1 else np.repeat(of_groups, self.group_outputs, axis=0)
        return rows.reshape(*rows.shape, *(1,) * (weight.ndim - 2))

    def by_channel(self, numbers: Blob) -> Blob:
        """One number for every output channel, as an array that outputs can be multiplied with."""
        return numbers

    @abstractmethod
    def map_of(self, weight: Blob) -> LinearMap:
        """A map with other weights, which are lifted; see `linear_map`."""

    def sharing_map(self, weight: Blob) -> LinearMap:
        """A map that propagates relevance in proportion to ``weight``, in the shape of the layer's own.

        Weights are not negative, and may be overwritten. The shares of an output, including those of padding,
        sum to 1.
        """
        totals = weight.reshape(len(weight), -1).sum(axis=1)
        shares = np.divide(1, totals, out=np.zeros_like(totals), where=totals != 0)
        weight *= shares.reshape(-1, *(1,) * (weight.ndim - 1))
        return self.map_of(self.lifted(weight))

    def shared_equally(self, relevance: Blob, is_per_channel: bool, workspace: Workspace) -> Blob:
        """The relevance of the inputs if every output shares its relevance equally, including padding.

        ``relevance`` has the shape of the output. With ``is_per_channel`` each channel of the input receives
        all of it.
        """
        spread = self.uniform_adjoint(relevance, workspace)
        spread /= np.float32(self.taps if is_per_channel else self.fan_in)
        return spread

    @abstractmethod
    def uniform_adjoint(self, relevance: Blob, workspace: Workspace) -> Blob:
        """The adjoint with all weights 1, for ``relevance`` in the shape of the output."""

    def lifted(self, weight: Blob) -> Blob:
        """``weight``, in the shape of the layer's own, lifted: (G, 1, O, 1, inputs, k_h, k_w)."""
        kernel = weight.shape[2:] or (1, 1)
        return weight.reshape(self.groups, 1, self.group_outputs, 1, weight.shape[1], *kernel)

    @property
    @abstractmethod
    def products(self) -> Products:
        """The products of the layer, one by one."""

    @shared_property
    def own_map(self) -> LinearMap:
        """The map of the layer itself."""
        return self.map_of(self.lifted(self.weight))

    @shared_property
    def squared_map(self) -> LinearMap:
        """A map that propagates relevance in proportion to squared weights."""
        return self.sharing_map(np.square(self.weight))

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
    """Capability: a linear layer with windows, which may extend beyond the input."""

    window: Window

    def by_channel(self, numbers: Blob) -> Blob:
        return numbers.reshape(-1, 1, 1)
