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

#: The capability that a rule is written against.
LayerT = TypeVar("LayerT", bound=Layer)
#: What a rule derives from the weights of a layer.
PreparedT = TypeVar("PreparedT")


@dataclass(frozen=True)
class RuleParameters:
    """Numbers that the rules of a formula depend on.

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
        Least and greatest number that a pixel can have in the net's input, for every channel; only z^B needs
        them.
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
        Whether the layer's inputs never have negative elements.
    is_compared
        Whether max pooling compares its outputs, or what follows from them: equal windows must then give
        equal outputs.
    gates
        Which of its inputs are gates: they say how much of the others passes, and get no relevance.
    """

    nonnegative: bool
    is_compared: bool
    gates: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """The part of the forward pass that a rule sees.

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

    def of_item(self, item: int, items: int) -> "Seen":
        """One item of what is seen, as a batch of one."""
        one = slice(item, item + 1)
        sums = self.sums
        if sums is not None:  # where a map is applied at every position of an item, there are rows for each
            rows = len(sums) // items
            sums = sums[item * rows : (item + 1) * rows]
        return Seen([blob[one] for blob in self.inputs], [blob[one] for blob in self.outputs], sums)


@dataclass(frozen=True, eq=False)
class PassedItem(Generic[LayerT, PreparedT]):
    """One item, as a batch of one, whose relevance has passed a layer.

    Attributes
    ----------
    layer, prepared, seen, relevances, workspace
        What `Rule.propagate` was given.
    constants
        Keeps numbers of layers that do not depend on the item.
    """

    layer: LayerT
    prepared: PreparedT
    seen: Seen
    relevances: Blobs
    constants: Constants
    workspace: Workspace


@dataclass(frozen=True)
class Rule(ABC, Generic[LayerT, PreparedT]):
    """How relevance passes one layer.

    Subclasses say which values of the forward pass they look at; others need not be kept.
    """

    title: ClassVar[str]
    #: Whether the rule has to know between which numbers its input lies: see `within`.
    needs_bounds: ClassVar[bool] = False

    def uses_inputs(self, layer: LayerT) -> bool:
        """Whether `propagate` looks at the inputs of ``layer``."""
        del layer
        return False

    def uses_outputs(self, layer: LayerT) -> bool:
        """Whether `propagate` looks at the outputs of ``layer``."""
        del layer
        return False

    def refusal(self, layer: LayerT) -> str:
        """Why ``layer`` cannot have the rule although it has the capability, in words; empty if it can."""
        del layer
        return ""

    def within(self, lowest: Blob, highest: Blob) -> "Rule[LayerT, PreparedT]":
        """The rule for a layer whose input lies between these numbers, (1, …) in the shape of one item."""
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

    @abstractmethod
    def losses(self, passed: PassedItem[LayerT, PreparedT]) -> Iterator[Loss] | None:
        """How much of the relevance does not reach the inputs, cause by cause; see `accounts`.

        None for a rule that is not made to conserve relevance.
        """

    def kept_floats(self, layer: LayerT) -> int:
        """Numbers of an image that are kept from the forward pass for the rule, besides values."""
        del layer
        return 0

    @abstractmethod
    def derived_floats(self, layer: LayerT, conditions: Conditions, growth: float) -> Mapping[str, int]:
        """Numbers that `prepare` derives from the weights, and what they take to be ready; by what they are.

        What has the same name is counted once for all rules of a layer: a name says what they share.
        ``growth`` is how many packed numbers a map of the layer holds for every weight.
        """

    def passing_floats(self, layer: LayerT) -> int:
        """Numbers of an image in memory besides relevance while it passes the layer."""
        del layer
        return 0


#: A rule of any capability: those of a plan differ, and each step pairs a rule with a layer that suits it.
AnyRule: TypeAlias = Rule[Any, Any]


class UnpreparedRule(Rule[LayerT, None]):
    """A rule that derives nothing from the weights beforehand."""

    def prepare(self, layer: LayerT, conditions: Conditions) -> None:
        del layer, conditions

    def derived_floats(self, layer: LayerT, conditions: Conditions, growth: float) -> Mapping[str, int]:
        return {}
