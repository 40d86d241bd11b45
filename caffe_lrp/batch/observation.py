"""What is noted while relevance passes the layers: relevance at some of them, and what becomes of its sum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import UsageError
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.layers.base import Layer
from caffe_lrp.messages import did_you_mean
from caffe_lrp.net.net import Net
from caffe_lrp.outputs.kinds import need_sums
from caffe_lrp.outputs.layers import layer_kind, layer_labels
from caffe_lrp.relevance.conservation import Conservation, Ledger
from caffe_lrp.relevance.engine import Passage
from caffe_lrp.relevance.losses import Constants
from caffe_lrp.relevance.plan import Plan

_BYTES = 4
#: Arrays of double precision that an account of a layer's losses takes, each as large as its output.
_DOUBLES_OF_ACCOUNT = 8


@dataclass(frozen=True)
class Dump:
    """One output of a layer whose relevance is kept.

    Attributes
    ----------
    kind
        The kind of output it is written as.
    layer
        Index of the layer.
    output
        Number of its output.
    """

    kind: str
    layer: int
    output: int


@dataclass(frozen=True, eq=False)
class Observation:
    """What is noted of every walk.

    Attributes
    ----------
    dumps
        Relevance to keep, in the order of the net.
    constants
        What accounts of the sums share; None: there are to be none.
    """

    dumps: tuple[Dump, ...] = ()
    constants: Constants | None = None

    def record(self, plan: Plan) -> "Record | None":
        """A new record of one walk; None if nothing is to be noted."""
        if not self.dumps and self.constants is None:
            return None
        ledger = None if self.constants is None else Ledger(plan, self.constants)
        return Record(self.dumps, ledger)

    def memory(self, net: Net, copies: int) -> int:
        """Bytes that it takes for an image: while it is in the engine, and in ``copies`` of the result."""
        kept = sum(math.prod(net.layers[dump.layer].output_shapes[dump.output]) for dump in self.dumps)
        noted = 0
        if self.constants is not None:
            largest = max(math.prod(shape) for layer in net.layers for shape in layer.output_shapes)
            noted = _DOUBLES_OF_ACCOUNT * 2 * largest
        return _BYTES * (kept * (1 + copies) + noted)


@dataclass(eq=False)
class Record:
    """What was noted of one walk; an observer, see `engine.explain`."""

    dumps: tuple[Dump, ...]
    ledger: Ledger | None
    _blobs: dict[str, Blob] = field(default_factory=dict)

    def __call__(self, passage: Passage, workspace: Workspace) -> None:
        """Note one step."""
        for dump in self.dumps:
            if dump.layer == passage.step.layer.index:
                self._blobs[dump.kind] = passage.received[dump.output]
        if self.ledger is not None:
            self.ledger(passage, workspace)

    def layers(self, item: int) -> dict[str, Blob]:
        """Kind of output -> relevance of one item, copied out of its batch; in the order of the dumps."""
        return {dump.kind: np.array(self._blobs[dump.kind][item], order="C") for dump in self.dumps}

    def conservation(self, item: int) -> Conservation | None:
        """The account of one item, if there is to be one."""
        return self.ledger.report(item) if self.ledger else None


def observe(plan: Plan, kinds: Sequence[str]) -> Observation:
    """What is to be noted of walks by ``plan``, or by others that pass the same layers, for ``kinds``."""
    dumps = tuple(dump for dump in _possible_dumps(plan) if dump.kind in kinds)
    return Observation(dumps, Constants() if need_sums(kinds) else None)


def layer_kinds(plan: Plan, wanted: Sequence[str]) -> tuple[str, ...]:
    """The kinds of output for relevance at layers, in the order of the net.

    Parameters
    ----------
    plan
        The plan.
    wanted
        Names or indices of layers.

    Raises
    ------
    UsageError
        There is no such layer, or relevance does not pass it.
    """
    indices = {_passed_layer(plan, name).index for name in wanted}
    return tuple(dump.kind for dump in _possible_dumps(plan) if dump.layer in indices)


def _possible_dumps(plan: Plan) -> list[Dump]:
    """One for every output of every layer that relevance passes, in the order of the net."""
    labels = layer_labels([layer.name for layer in plan.net.layers])
    layers = [step.layer for step in reversed(plan.steps)]
    return [
        Dump(layer_kind(labels[layer.index], number if len(layer.outputs) > 1 else None), layer.index, number)
        for layer in layers
        for number in range(len(layer.outputs))
    ]


def _passed_layer(plan: Plan, name: str) -> Layer:
    """The layer that ``name`` stands for, which relevance passes; UsageError if there is none."""
    layers = plan.net.layers
    found = [layer for layer in layers if name in (str(layer.index), layer.name)]
    if not found:
        names = [layer.name for layer in layers]
        raise UsageError(
            f"--dump-layers: {plan.net.source} has no layer '{name}'{did_you_mean(name, names)}; give names, "
            f"or indices from 0 to {len(layers) - 1}"
        )
    if len(found) > 1:
        indices = ", ".join(str(layer.index) for layer in found)
        raise UsageError(
            f"--dump-layers: '{name}' stands for several layers of {plan.net.source}: {indices}; give the "
            "index of one"
        )
    if plan.rule_of(found[0]) is None:
        first = plan.steps[-1].layer
        raise UsageError(
            f"--dump-layers: relevance does not pass {found[0].label}: it starts at {plan.start.label} and "
            f"ends below {first.label}; give a layer on its way, or start at another one (--start-layer)"
        )
    return found[0]
