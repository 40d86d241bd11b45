"""Observing a backward pass: the relevance at some layers, and its sum at all of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from caffe_lrp.errors import UsageError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.messages import did_you_mean
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.conservation import Conservation, Ledger
from caffe_lrp.relevance.passage import Passage
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.rules.accounts import Constants

#: The setting with the layers whose relevance is kept.
LAYERS = "layers"

_BYTES = 4
#: Arrays in double precision that the account of a layer's losses takes, each as large as its output.
_DOUBLES_OF_ACCOUNT = 8


@dataclass(frozen=True)
class Dump:
    """One output of a layer whose relevance is kept.

    Attributes
    ----------
    name
        Its name.
    layer
        Index of the layer.
    output
        Number of its output.
    """

    name: str
    layer: int
    output: int


@dataclass(frozen=True, eq=False)
class Observation:
    """What to record in every backward pass.

    Attributes
    ----------
    dumps
        Outputs whose relevance is kept, in the order of the net.
    constants
        Data that the accounts share; None: no accounts are kept.
    """

    dumps: tuple[Dump, ...] = ()
    constants: Constants | None = None

    def observer(self, plan: Plan) -> "ObservedPass | None":
        """A new observer for one backward pass; None if nothing is recorded."""
        if not self.dumps and self.constants is None:
            return None
        ledger = None if self.constants is None else Ledger(plan, self.constants)
        return ObservedPass(self.dumps, ledger)

    def memory(self, net: Net, copies: int) -> int:
        """Bytes per image: during the backward pass, and in ``copies`` of the result."""
        kept = sum(math.prod(net.layers[dump.layer].output_shapes[dump.output]) for dump in self.dumps)
        noted = 0
        if self.constants is not None:
            largest = max(math.prod(shape) for layer in net.layers for shape in layer.output_shapes)
            noted = _DOUBLES_OF_ACCOUNT * 2 * largest
        return _BYTES * (kept * (1 + copies) + noted)


@dataclass(eq=False)
class ObservedPass:
    """The record of one backward pass; an observer, see `Engine.explain`."""

    dumps: tuple[Dump, ...]
    ledger: Ledger | None
    _blobs: dict[str, Blob] = field(default_factory=dict)

    def __call__(self, passage: Passage) -> None:
        """Record one step."""
        for dump in self.dumps:
            if dump.layer == passage.step.layer.index:
                self._blobs[dump.name] = passage.received[dump.output]
        if self.ledger is not None:
            self.ledger(passage)

    def layers(self, item: int) -> dict[str, Blob]:
        """Name of a dump -> relevance of one item, copied from its batch; in the order of the dumps."""
        return {dump.name: np.array(self._blobs[dump.name][item], order="C") for dump in self.dumps}

    def conservation(self, item: int) -> Conservation | None:
        """The account of one item; None if no accounts are kept."""
        return self.ledger.report(item) if self.ledger else None


def noting(dumps: Sequence[Dump], *, sums: bool) -> Observation:
    """Return an observation that keeps relevance at some layers, and all accounts if ``sums`` is true."""
    return Observation(tuple(dumps), Constants() if sums else None)


def dumps_of(
    plan: Plan, layers: Sequence[str | int], name_of: Callable[[int, int | None], str]
) -> tuple[Dump, ...]:
    """The dumps of layers: one for every output of each, in the order of the net.

    Parameters
    ----------
    plan
        The plan.
    layers
        Names or indices of layers.
    name_of
        The name of a dump, from the layer's index, and the number of its output if it has several.

    Raises
    ------
    UsageError
        There is no such layer, or the backward pass does not reach it.
    """
    indices = {_passed_layer(plan, str(layer)).index for layer in layers}
    return tuple(dump for dump in possible_dumps(plan, name_of) if dump.layer in indices)


def names_of_dumps(net: Net) -> Callable[[int, int | None], str]:
    """Readable, unique names of layers: with the index in front if several layers share a name."""
    names = [layer.name for layer in net.layers]

    def name_of(layer: int, output: int | None) -> str:
        name = names[layer] if names.count(names[layer]) == 1 else f"{layer}-{names[layer]}"
        return name if output is None else f"{name}@{output}"

    return name_of


def possible_dumps(plan: Plan, name_of: Callable[[int, int | None], str]) -> tuple[Dump, ...]:
    """All outputs of all layers in the backward pass, in the order of the net."""
    layers = [step.layer for step in reversed(plan.steps)]
    return tuple(
        Dump(name_of(layer.index, number if len(layer.outputs) > 1 else None), layer.index, number)
        for layer in layers
        for number in range(len(layer.outputs))
    )


def _passed_layer(plan: Plan, name: str) -> Layer:
    """The layer named ``name``; UsageError if the backward pass has no such layer."""
    layers = plan.net.layers
    found = [layer for layer in layers if name in (str(layer.index), layer.name)]
    if not found:
        names = [layer.name for layer in layers]
        raise UsageError(
            f"{plan.net.source} has no layer '{name}'{did_you_mean(name, names)}; give names, "
            f"or indices from 0 to {len(layers) - 1}",
            setting=LAYERS,
        )
    if len(found) > 1:
        indices = ", ".join(str(layer.index) for layer in found)
        raise UsageError(
            f"'{name}' stands for several layers of {plan.net.source}: {indices}; give the index of one",
            setting=LAYERS,
        )
    if plan.rule_of(found[0]) is None:
        first = plan.steps[-1].layer
        raise UsageError(
            f"the backward pass does not reach {found[0].label}: it starts at {plan.start.label} and ends "
            f"below {first.label}; give a layer between them, or another start layer (--start-layer)",
            setting=LAYERS,
        )
    return found[0]
