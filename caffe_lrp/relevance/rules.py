"""Relevance rules: how relevance at the outputs of a layer is handed to its inputs.

Here is what all rules have in common, and those of layers that are not linear; see `linear_rules`. A rule is
written against a capability of layers (`Linear`, `Router`, …), never against a layer type. Quirks of the
reference that concern one rule are its parameters. Notation: ``x`` input, ``z`` output before the
non-linearity, ``R`` relevance at the output, ``r`` at the input.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels import elementwise as kernels
from caffe_lrp.kernels.blobs import Blob, flat, lines, pixels
from caffe_lrp.kernels.normalization import lrn_taylor
from caffe_lrp.kernels.pooling import average_pool_redistribute
from caffe_lrp.layers.base import (
    Aggregation,
    Blobs,
    ChannelNormalization,
    Combination,
    Layer,
    WindowAverage,
)


@dataclass(frozen=True)
class Conditions:
    """What a net makes of the place of a layer.

    Attributes
    ----------
    nonnegative
        Whether the layer's inputs never have negative elements.
    is_compared
        Whether max pooling compares its outputs, or what follows from them.
    gates
        Which of its inputs only say how much of the others passes.
    """

    nonnegative: bool
    is_compared: bool
    gates: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a rule sees of the forward pass through its layer.

    Attributes
    ----------
    inputs, outputs
        Values, or empty where the rule does not ask for them.
    sums
        Sums of positive and of negative products, as `LinearMap.apply_sums` gives them, where the rule
        asks for them.
    """

    inputs: Blobs = ()
    outputs: Blobs = ()
    sums: Blob | None = None


@dataclass(frozen=True)
class Rule(ABC):
    """How relevance passes one layer.

    Subclasses say which values of the forward pass they look at; others need not be kept.
    """

    title: ClassVar[str]

    def uses_inputs(self, layer: Layer) -> bool:
        """Whether `propagate` looks at the inputs of ``layer``."""
        del layer
        return False

    def uses_outputs(self, layer: Layer) -> bool:
        """Whether `propagate` looks at the outputs of ``layer``."""
        del layer
        return False

    #: Whether `propagate` looks at the sums of positive and of negative products.
    uses_sums: ClassVar[bool] = False
    #: Whether the rule has to know between which numbers its input lies: see `within`.
    needs_bounds: ClassVar[bool] = False

    def within(self, lowest: Blob, highest: Blob) -> "Rule":
        """The rule for a layer whose input lies between these numbers, (1, …) in the shape of one item."""
        del lowest, highest
        return self

    def prepare(self, layer: Any, conditions: Conditions) -> Any:
        """What the rule derives from the weights and the conditions of the layer, computed once per run."""
        del layer, conditions

    @abstractmethod
    def propagate(
        self, layer: Any, prepared: Any, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        """Relevance of the inputs of ``layer``, given that of its outputs.

        Parameters
        ----------
        layer
            A layer with the capability the rule is written against.
        prepared
            What `prepare` returned.
        seen
            What the rule asks for of the forward pass.
        relevances
            One blob per output.
        workspace
            Memory and threads to use.
        """


@dataclass(frozen=True)
class Gradient(Rule):
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


@dataclass(frozen=True)
class Route(Gradient):
    """Relevance goes where the elements came from."""

    title = "route"


@dataclass(frozen=True)
class HandOn(Route):
    """Relevance passes the place of a layer that was merged into another one."""

    title = "merged"


@dataclass(frozen=True)
class Pass(Rule):
    """Relevance passes unchanged."""

    title = "pass"

    def propagate(
        self, layer: Layer, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (relevances[0],)


@dataclass(frozen=True)
class PassPositive(Rule):
    """Only positive relevance passes (deconvolution; Zeiler and Fergus 2014)."""

    title = "pass R⁺"

    def propagate(
        self, layer: Layer, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(relevances[0].shape)
        kernels.positive_part(flat(relevances[0]), flat(out))
        return (out,)


@dataclass(frozen=True)
class PassGuided(Rule):
    """Positive relevance passes where ``x > 0`` (guided backpropagation; Springenberg et al. 2015)."""

    title = "pass R⁺·[x>0]"

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: Layer, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(relevances[0].shape)
        kernels.guided(flat(seen.inputs[0]), flat(relevances[0]), flat(out))
        return (out,)


@dataclass(frozen=True)
class Proportional(Rule):
    """Average pooling: ``r = R x / Σx`` over the window.

    ``add_activations`` is Q7: where ``|Σx| < 1e-6`` the activations themselves are added.
    """

    title = "R·x/Σx"
    add_activations: bool

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: WindowAverage, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(seen.inputs[0].shape)
        average_pool_redistribute(
            pixels(seen.inputs[0]), pixels(relevances[0]), layer.window, self.add_activations, pixels(out)
        )
        return (out,)


@dataclass(frozen=True)
class Contribution(Rule):
    """``r = R c / Σc`` for inputs that contribute ``c``, alike where the sum is 0; nothing for gates.

    Source: Bach et al. 2015, eq. 56, for sums; Arras et al. 2017 for products, where the gate gets nothing.
    """

    title = "R·c/Σc"

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def uses_outputs(self, layer: Layer) -> bool:
        return True

    def prepare(self, layer: Combination, conditions: Conditions) -> tuple[bool, ...]:
        """Which inputs are gates."""
        return conditions.gates

    def propagate(
        self,
        layer: Combination,
        prepared: tuple[bool, ...],
        seen: Seen,
        relevances: Blobs,
        workspace: Workspace,
    ) -> tuple[Blob, ...]:
        contributions = layer.contributions(seen.inputs, seen.outputs, prepared)
        count = sum(contribution is not None for contribution in contributions)
        total, received = flat(seen.outputs[0]), flat(relevances[0])
        found = []
        for number, contribution in enumerate(contributions):
            if contribution is None:
                nothing = workspace.empty(seen.inputs[number].shape)
                nothing[...] = 0
                found.append(nothing)
                continue
            share = workspace.empty(seen.outputs[0].shape)
            kernels.share_of_contribution(flat(contribution), total, received, count, flat(share))
            found.append(layer.gathered(number, share))
        return tuple(found)


@dataclass(frozen=True)
class Share(Rule):
    """``r = R c / Σc`` for elements that contribute ``c``, alike where the sum is 0.

    Source: Bach et al. 2015, eq. 56.
    """

    title = "R·c/Σc"

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: Aggregation, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (layer.shared(seen.inputs, relevances[0], workspace),)


@dataclass(frozen=True)
class TaylorNormalization(Rule):
    """The reference's first-order Taylor rule for LRN across channels (Q8); it does not conserve."""

    title = "Taylor"

    def uses_inputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: ChannelNormalization, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        out = workspace.empty(seen.inputs[0].shape)
        x, received, target = lines(seen.inputs[0]), lines(relevances[0]), lines(out)
        workspace.share(
            lambda first, last: lrn_taylor(
                x[first:last], received[first:last], *layer.coefficients, target[first:last]
            ),
            len(x),
            x.size,
        )
        return (out,)


@dataclass(frozen=True)
class Overwrite(Rule):
    """Relevance is replaced by the layer's own output (Q9)."""

    title = "overwrite"

    def uses_outputs(self, layer: Layer) -> bool:
        return True

    def propagate(
        self, layer: Layer, prepared: None, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        return (seen.outputs[0],)
