"""The account of a backward pass: relevance that enters and leaves each layer, and where the rest goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.kernels.blobs import Blob

from .passage import Passage
from .plan import Plan
from .rules.accounts import Constants
from .rules.base import PassedItem

#: The causes that stand for a difference itself, see `accounts.CAUSES`.
BY_RULE, REST = "rule", "rest"
#: What stays at constants, whatever the rule.
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
        Sum of the absolute values over its outputs: what errors of rounding are to be compared with.
    lost
        Cause -> relevance that enters and does not leave; negative where some is added. They sum to
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
        """The cause that takes, or adds, most."""
        return max(self.lost, key=lambda cause: abs(self.lost[cause]))


@dataclass(frozen=True)
class Conservation:
    """The account of the relevance of one item over the backward pass.

    Attributes
    ----------
    starts
        Sum where it starts.
    arrives
        Sum where it ends, before a formula's last touch.
    aside
        Sum of what stays at values beside the way: at other branches, where the way ends above the image.
    layers
        Those on the way, in the order of the backward pass.
    """

    starts: float
    arrives: float
    aside: float
    layers: tuple[LayerAccount, ...]

    @property
    def lost(self) -> dict[str, float]:
        """Cause -> relevance lost in all layers together; with what arrives and stays aside, what started."""
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
    """An observer of one backward pass that keeps its accounts, see `Engine.explain`.

    Attributes
    ----------
    plan
        Whose backward pass it is.
    constants
        Of the plan's net; several ledgers may share them.
    """

    plan: Plan
    constants: Constants
    _accounts: list[list[LayerAccount]] = field(default_factory=list)
    _waiting: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def __call__(self, passage: Passage) -> None:
        """Note one step."""
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
    """An account with what constants have taken and what it does not explain; without zeros.

    Where there is no account, the rule explains all else.
    """
    causes = {**(known or {}), CONSTANT: taken}
    lost = {**causes, BY_RULE if known is None else REST: difference - sum(causes.values())}
    return {cause: amount for cause, amount in lost.items() if amount} or {REST: 0.0}


def _sums(blob: Blob) -> NDArray[np.float64]:
    """(N,): sums of the items, in double precision."""
    return np.asarray(np.sum(blob, axis=tuple(range(1, blob.ndim)), dtype=np.float64))
