"""The account of a backward pass: the relevance that enters and leaves each layer, and causes of losses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.blobs import Blob

from .passage import Passage
from .plan import Plan
from .rules.accounts import Constants
from .rules.base import PassedItem

#: The causes for differences without another explanation, see `accounts.CAUSES`.
BY_RULE, REST = "rule", "rest"
#: The cause for relevance that ends at constants, under any rule.
CONSTANT = "constant"


@dataclass(frozen=True)
class LayerAccount:
    """The account of the relevance of one item at one layer.

    Attributes
    ----------
    index, name, type
        The layer.
    rule
        Title of its rule.
    enters
        Sum over its outputs.
    leaves
        Sum over its inputs.
    absolute
        Sum of the absolute values over its outputs, the scale of rounding errors.
    lost
        Cause -> relevance that enters and does not leave; negative if relevance is added. They sum to
        ``enters − leaves``.
    """

    index: int
    name: str
    type: str
    rule: str
    enters: float
    leaves: float
    absolute: float
    lost: Mapping[str, float]

    @property
    def difference(self) -> float:
        """Relevance that enters and does not leave."""
        return self.enters - self.leaves

    @property
    def main_cause(self) -> str:
        """The cause of the largest loss or gain."""
        return max(self.lost, key=lambda cause: abs(self.lost[cause]))


@dataclass(frozen=True)
class Conservation:
    """The account of the relevance of one item over the backward pass.

    Attributes
    ----------
    starts
        Sum at the start.
    arrives
        Sum at the end, before `Formula.finish`.
    aside
        Sum of the relevance left in other branches, if the backward pass ends above the image.
    layers
        The layers that relevance passes, in the order of the backward pass.
    """

    starts: float
    arrives: float
    aside: float
    layers: tuple[LayerAccount, ...]

    @property
    def amount(self) -> float:
        """Sum of the absolute values where it starts, which may have both signs."""
        return self.layers[0].absolute

    @property
    def lost(self) -> dict[str, float]:
        """Cause -> relevance lost in all layers; with ``arrives`` and ``aside`` it sums to ``starts``."""
        totals: dict[str, float] = {}
        for layer in self.layers:
            for cause, amount in layer.lost.items():
                totals[cause] = totals.get(cause, 0.0) + amount
        return totals

    @property
    def worst(self) -> LayerAccount:
        """The layer that changes the sum most."""
        return max(self.layers, key=lambda layer: abs(layer.difference))

    def as_json(self) -> dict[str, object]:
        """Everything, ready for JSON."""
        return {
            "starts": self.starts,
            "arrives": self.arrives,
            "aside": self.aside,
            "lost": self.lost,
            "layers": [vars(layer) | {"lost": dict(layer.lost)} for layer in self.layers],
        }


@dataclass(eq=False)
class Ledger:
    """An observer that keeps the accounts of a backward pass, see `Engine.explain`.

    Attributes
    ----------
    plan
        The plan of the backward pass.
    constants
        Constants of the plan's net; several ledgers may share them.
    """

    plan: Plan
    constants: Constants
    _accounts: list[list[LayerAccount]] = field(default_factory=list)
    _waiting: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def __call__(self, passage: Passage) -> None:
        """Record one step."""
        layer, rule = passage.step.layer, passage.step.rule
        enters = np.sum([_sums(blob) for blob in passage.received], axis=0)
        absolute = np.sum([_sums(np.abs(blob)) for blob in passage.received], axis=0)
        handed = dict(zip(layer.inputs, map(_sums, passage.propagated), strict=True))
        fixed = self.plan.net.fixed_values.intersection(handed)
        taken = np.sum([handed.pop(value) for value in fixed] or [np.zeros(len(enters))], axis=0)
        leaves = np.sum(list(handed.values()), axis=0)
        for value in layer.outputs:
            self._waiting.pop(value, None)
        self._waiting.update(handed)
        self._accounts.append(
            [
                LayerAccount(
                    index=layer.index,
                    name=layer.name,
                    type=layer.type,
                    rule=rule.title,
                    enters=float(enters[item]),
                    leaves=float(leaves[item]),
                    absolute=float(absolute[item]),
                    lost=_complete(
                        losses_of(passage, item, self.constants),
                        float(taken[item]),
                        float(enters[item] - leaves[item]),
                    ),
                )
                for item in range(len(enters))
            ]
        )

    def report(self, item: int) -> Conservation:
        """The account of one item, once the backward pass is over."""
        layers = tuple(accounts[item] for accounts in self._accounts)
        left = {value: float(sums[item]) for value, sums in self._waiting.items()}
        arrives = left.pop(self.plan.target)
        return Conservation(layers[0].enters, arrives, sum(left.values()), layers)


def losses_of(passage: Passage, item: int, constants: Constants) -> dict[str, float] | None:
    """The relevance of one item lost to each cause; None if the rule is not designed to conserve."""
    step, received = passage.step, passage.received
    passed = PassedItem(
        step.layer,
        step.prepared,
        passage.seen.of_item(item, len(received[0])),
        [blob[item : item + 1] for blob in received],
        constants,
        passage.workspace,
    )
    losses = step.rule.losses(passed)
    if losses is None:
        return None
    found: dict[str, float] = {}
    for cause, amount in losses:
        found[cause] = found.get(cause, 0.0) + amount
    return found


def _complete(known: dict[str, float] | None, taken: float, difference: float) -> dict[str, float]:
    """An account, completed by the loss to constants and the unexplained rest; zeros are left out.

    Without an account, the rest is due to the rule.
    """
    causes = {**(known or {}), CONSTANT: taken}
    lost = {**causes, BY_RULE if known is None else REST: difference - sum(causes.values())}
    return {cause: amount for cause, amount in lost.items() if amount} or {REST: 0.0}


def _sums(blob: Blob) -> NDArray[np.float64]:
    """(N,): sums of the items, in double precision."""
    return np.asarray(np.sum(blob, axis=tuple(range(1, blob.ndim)), dtype=np.float64))
