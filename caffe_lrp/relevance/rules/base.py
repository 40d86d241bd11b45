"""The interface of all rules: what they read, propagate, lose, and keep in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Layer
from caffe_lrp.quirks import Quirks

from .accounts import Constants, Loss

#: The capability that a rule depends on.
LayerT = TypeVar("LayerT", bound=Layer)
#: Data that a rule derives from the weights of a layer.
PreparedT = TypeVar("PreparedT")


@dataclass(frozen=True)
class RuleParameters:
    """Parameters of the rules of a formula.

    Attributes
    ----------
    epsilon
        ε ≥ 0, the stabiliser of the ε rule.
    beta
        β ≥ 0 of αβ; α = 1 + β.
    switch_layer
        Layers up to this index get the rule `Formula.below`.
    quirks
        Quirks of the reference to reproduce.
    gamma
        γ ≥ 0 of the γ rule.
    lowest, highest
        Least and greatest number that a pixel can have in the net's input, per channel; only zᴮ needs them.
    """

    epsilon: float
    beta: float
    switch_layer: int
    quirks: Quirks
    gamma: float = 0.25
    lowest: tuple[float, ...] = ()
    highest: tuple[float, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """Properties of a layer that follow from the net around it.

    Attributes
    ----------
    nonnegative
        Whether the layer's inputs are never negative.
    is_compared
        Whether max pooling compares its outputs, or values that depend on them; equal windows must then give
        equal outputs.
    gates
        Which of its inputs are gates, which receive no relevance.
    """

    nonnegative: bool
    is_compared: bool
    gates: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """The part of the forward pass that a rule uses.

    Attributes
    ----------
    inputs, outputs
        Values, or empty if the rule does not need them.
    sums
        Sums of positive and of negative products from `LinearMap.apply_sums`, if the rule needs them.
    """

    inputs: Blobs = ()
    outputs: Blobs = ()
    sums: Blob | None = None

    def of_item(self, item: int, items: int) -> "Seen":
        """One item, as a batch of one."""
        one = slice(item, item + 1)
        sums = self.sums
        if sums is not None:  # a map applied at every position of an item has rows for each
            rows = len(sums) // items
            sums = sums[item * rows : (item + 1) * rows]
        return Seen([blob[one] for blob in self.inputs], [blob[one] for blob in self.outputs], sums)


@dataclass(frozen=True, eq=False)
class PassedItem(Generic[LayerT, PreparedT]):
    """The passage of one item, as a batch of one, through a layer.

    Attributes
    ----------
    layer, prepared, seen, relevances, workspace
        The arguments of `Rule.propagate`.
    constants
        Cache for numbers of layers that do not depend on the item.
    """

    layer: LayerT
    prepared: PreparedT
    seen: Seen
    relevances: Blobs
    constants: Constants
    workspace: Workspace


@dataclass(frozen=True)
class Rule(ABC, Generic[LayerT, PreparedT]):
    """How relevance is propagated through one layer.

    Subclasses say which values of the forward pass they use; others need not be kept.
    """

    title: ClassVar[str]
    #: Whether the rule needs the bounds of its input, see `within`.
    needs_bounds: ClassVar[bool] = False

    def uses_inputs(self, layer: LayerT) -> bool:
        """Whether `propagate` uses the inputs of ``layer``."""
        del layer
        return False

    def uses_outputs(self, layer: LayerT) -> bool:
        """Whether `propagate` uses the outputs of ``layer``."""
        del layer
        return False

    def refusal(self, layer: LayerT) -> str:
        """Why ``layer`` cannot have the rule although it has the capability, in words; empty if it can."""
        del layer
        return ""

    def within(self, lowest: Blob, highest: Blob) -> "Rule[LayerT, PreparedT]":
        """The rule for inputs between these bounds, (1, …) in the shape of one item."""
        del lowest, highest
        return self

    @abstractmethod
    def prepare(self, layer: LayerT, conditions: Conditions) -> PreparedT:
        """Return the data that the rule derives from the weights, computed once per run."""

    @abstractmethod
    def propagate(
        self, layer: LayerT, prepared: PreparedT, seen: Seen, relevances: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        """Relevance of the inputs of ``layer``, given that of its outputs.

        Parameters
        ----------
        layer
            A layer with the capability that the rule depends on.
        prepared
            The result of `prepare`.
        seen
            The values of the forward pass that the rule needs.
        relevances
            One blob per output.
        workspace
            Memory and threads to use.
        """

    @abstractmethod
    def losses(self, passed: PassedItem[LayerT, PreparedT]) -> Iterator[Loss] | None:
        """How much of the relevance does not reach the inputs, cause by cause; see `accounts`.

        None for a rule that is not designed to conserve relevance.
        """

    def kept_floats(self, layer: LayerT) -> int:
        """Numbers per image kept from the forward pass for the rule, apart from values."""
        del layer
        return 0

    @abstractmethod
    def derived_floats(self, layer: LayerT, conditions: Conditions, growth: float) -> Mapping[str, int]:
        """Name -> how many numbers `prepare` derives from the weights, including those of packed weights.

        Data with the same name is shared by all rules of a layer, and counted once.
        ``growth`` is how many packed numbers a map of the layer holds per weight.
        """

    def passing_floats(self, layer: LayerT) -> int:
        """Numbers per image in memory, apart from relevance, while it passes the layer."""
        del layer
        return 0


#: A rule for any capability: each step of a plan pairs a rule with a layer that has its capability.
AnyRule: TypeAlias = Rule[Any, Any]


class UnpreparedRule(Rule[LayerT, None]):
    """A rule that derives nothing from the weights in advance."""

    def prepare(self, layer: LayerT, conditions: Conditions) -> None:
        del layer, conditions

    def derived_floats(self, layer: LayerT, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return {}
