"""Training as the toolbox does it: random batches, a learning rate that falls, the best modules are kept.

Source: manual: teaching, "Training".
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from caffe_lrp.errors import UsageError
from caffe_lrp.messages import duration

from .modules.module import Array, Module
from .modules.random import Random
from .quirks import ToolboxQuirks

_DECAYS: dict[str, Callable[[float], float]] = {
    "sublinear": lambda accuracy: 1 - accuracy**2,
    "linear": lambda accuracy: 1 - accuracy,
}


class Trainable(Protocol):
    """A net that can be trained."""

    modules: list[Module]

    def forward(self, X: Array) -> Array:
        """Outputs."""

    def backward(self, DY: Array) -> Array:
        """The gradient at the input; gradients of parameters are kept."""

    def update(self, lrate: float) -> None:
        """One step of the parameters."""


@dataclass(frozen=True)
class Schedule:
    """The options of the training.

    Attributes
    ----------
    batchsize
        Samples per iteration, drawn without repetition.
    iters
        Iterations.
    lrate
        Learning rate.
    lrate_decay
        How the learning rate falls with the accuracy: ``sublinear``, ``linear`` or ``none``.
    lfactor_initial
        Factor of the learning rate at first.
    status
        Iterations from one evaluation to the next.
    convergence
        End after so many evaluations in a row without improvement; not if it is at most 0.
    transform
        Applied to each batch of inputs.
    """

    batchsize: int
    iters: int
    lrate: float
    lrate_decay: str | None
    lfactor_initial: float
    status: int
    convergence: int
    transform: Callable[[Array], Array] | None

    def refuse_impossible(self, count: int, outputs: int) -> None:
        """UsageError if this cannot be done with ``count`` inputs and as many ``outputs``."""
        if count != outputs:
            raise UsageError(f"there are {count} inputs, but {outputs} outputs; give one for each")
        if not 1 <= self.batchsize <= count:
            raise UsageError(f"batchsize {self.batchsize} does not fit {count} inputs; use 1 to {count}")
        if self.status < 1:
            raise UsageError(f"status {self.status} must be at least 1")


@dataclass
class _Best:
    """The best modules so far, and what remains of the patience."""

    modules: list[Module] | None = None
    loss: float = math.inf
    patience: int = 0


def train(
    net: Trainable,
    data: tuple[Array, Array],
    validation: tuple[Any, Any],
    schedule: Schedule,
    report: Callable[[str], object],
    quirks: ToolboxQuirks,
    random: Random,
) -> None:
    """Train a net; see `Sequential.train`."""
    inputs, outputs = data
    schedule.refuse_impossible(len(inputs), len(outputs))
    evaluated = validation if len(validation[0]) and len(validation[1]) else data
    before = copy.deepcopy(net.modules) if quirks.short_training_is_lost else None
    factor, began = schedule.lfactor_initial, time.monotonic()
    best = _Best(patience=schedule.convergence)
    for number in range(1, schedule.iters + 1):
        chosen = drawn(len(inputs), schedule.batchsize, random)
        batch = inputs[chosen] if schedule.transform is None else schedule.transform(inputs[chosen])
        difference = net.forward(batch) - outputs[chosen]
        net.backward(difference)
        net.update(schedule.lrate * factor)
        if number % schedule.status == 0:
            accuracy, loss = evaluation(net, *evaluated)
            report(f"Accuracy after {number} iterations: {100 * accuracy:.4g} % (l1-loss: {loss:.4g})")
            factor = _judged(net, best, accuracy, loss, schedule, factor)
            if schedule.convergence > 0 and best.patience <= 0:
                report(f"stopped: no improvement in {schedule.convergence} evaluations")
                break
            spent = time.monotonic() - began
            report(f"    about {duration(spent / number * (schedule.iters - number))} left")
        elif number % max(1, schedule.status // 10) == 0:
            loss = float(np.abs(difference).sum() / len(difference))
            report(f"batch# {number}, lrate {schedule.lrate * factor:.4g}, l1-loss {loss:.4g}")
    net.modules = best.modules or before or net.modules


def drawn(count: int, size: int, random: Random) -> Array:
    """``size`` different indices below ``count``, in ascending order, as the toolbox draws them."""
    found: Array = np.unique(random.randint(0, count, size))
    while len(found) < size:
        found = np.unique(np.append(found, random.randint(0, count, size - len(found))))
    return found


def evaluation(net: Trainable, inputs: Array, outputs: Array) -> tuple[float, float]:
    """Share of outputs whose largest is the right one, and the sum of absolute errors per sample."""
    found = net.forward(inputs)
    right = found.argmax(axis=1) == outputs.argmax(axis=1)
    return float(right.mean()), float(np.abs(found - outputs).sum() / len(outputs))


def _judged(
    net: Trainable, best: _Best, accuracy: float, loss: float, schedule: Schedule, factor: float
) -> float:
    """Keep the modules if they are the best so far; return the new factor of the learning rate."""
    if loss > best.loss:
        best.patience -= 1
        return factor
    best.modules, best.loss = copy.deepcopy(net.modules), loss
    best.patience = schedule.convergence
    decay = _DECAYS.get(str(schedule.lrate_decay).lower())
    return factor if decay is None else decay(accuracy)
