"""Training by gradient descent, with learning curves. Nothing here is in the toolbox.

Source: manual: teaching, "Training".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from caffe_lrp.errors import UsageError

from .losses import Loss, loss_called
from .modules.elementwise import SoftMax
from .modules.module import Array, Module
from .modules.weighted import Weighted
from .optimizers import Optimizer

#: Inputs that are evaluated at a time.
_EVALUATED = 512


class Fittable(Protocol):
    """A net that can be fitted."""

    modules: list[Module]

    @property
    def dtype(self) -> Any:
        """The type of its parameters."""


@dataclass(frozen=True)
class Step:
    """One step of the training.

    Attributes
    ----------
    epoch, batch
        Its epoch and its batch, from 1.
    epochs, batches
        How many there are.
    loss, accuracy
        Of this batch, before the step.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    accuracy: float


Progress = Callable[[Step], object]


@dataclass
class History:
    """Learning curves: a number for each epoch.

    Attributes
    ----------
    loss, accuracy
        Means over the batches of an epoch, while the net learns.
    validation_loss, validation_accuracy
        After the epoch, on data that the net does not learn; empty without such data.
    best_epoch
        The epoch, from 1, whose parameters the net has; 0 before the first.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = 0


def fit(
    net: Fittable,
    data: tuple[Array, Array],
    loss: str,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    validation: tuple[Array, Array] | None,
    patience: int,
    seed: int,
    progress: Progress | None,
) -> History:
    """Train a net; see `Sequential.fit`."""
    judge, inputs = loss_called(loss), data[0]
    _refuse_impossible(data, epochs, batch_size, patience, validation)
    modules = _without_softmax(net.modules, loss)
    wanted = _wanted(data[1], modules, inputs, net.dtype)
    held = None if validation is None else (validation[0], _wanted(validation[1], modules, inputs, net.dtype))
    if wanted.shape[1:] != _outputs(modules, inputs[:1], net.dtype).shape[1:]:
        raise UsageError(
            f"outputs of shape {wanted.shape} do not fit the net's; give classes, or (N, classes)"
        )
    order, history, kept = np.random.default_rng(seed), History(), _Kept(modules, patience)
    optimizer.begin()
    for epoch in range(1, epochs + 1):
        starts = range(0, len(inputs), batch_size)
        found = []
        shuffled = order.permutation(len(inputs))
        for number, start in enumerate(starts, 1):
            chosen = shuffled[start : start + batch_size]
            one = _learn(modules, np.asarray(inputs[chosen], net.dtype), wanted[chosen], judge, optimizer)
            found.append((*one, len(chosen)))
            if progress is not None:
                progress(Step(epoch, epochs, number, len(starts), *one))
        *means, _ = np.average(found, axis=0, weights=[size for _, _, size in found]).tolist()
        history.loss.append(means[0])
        history.accuracy.append(means[1])
        history.best_epoch = epoch
        if held is not None and _is_over(modules, held, judge, net.dtype, history, kept):
            break
    kept.restore(history)
    return history


def _refuse_impossible(
    data: tuple[Array, Array], epochs: int, batch_size: int, patience: int, validation: object
) -> None:
    if len(data[0]) != len(data[1]) or not len(data[0]):
        raise UsageError(f"there are {len(data[0])} inputs and {len(data[1])} outputs; give one for each")
    for name, value, least in (
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("patience", patience, 0),
    ):
        if value < least:
            raise UsageError(f"{name} {value} must be at least {least}")
    if patience and validation is None:
        raise UsageError("patience needs validation=(X, Y): data that are not learnt")


def _without_softmax(modules: list[Module], loss: str) -> list[Module]:
    """The modules before a SoftMax that the cross-entropy contains already."""
    is_contained = loss == "softmax_crossentropy" and modules and isinstance(modules[-1], SoftMax)
    return modules[:-1] if is_contained else modules


def _wanted(given: Array, modules: list[Module], inputs: Array, dtype: Any) -> Array:
    """Classes (N,) as rows with a single 1; other outputs as they are."""
    if given.ndim != 1:
        return np.asarray(given, dtype)
    classes = _outputs(modules, inputs[:1], dtype).shape[1]
    if given.dtype.kind not in "iu" or not 0 <= given.min() <= given.max() < classes:
        raise UsageError(f"classes must be whole numbers from 0 to {classes - 1}, the last output of the net")
    return np.eye(classes, dtype=dtype)[given]


def _outputs(modules: list[Module], inputs: Array, dtype: Any) -> Array:
    values = np.asarray(inputs, dtype)
    for module in modules:
        values = module.forward(values)
    return values


def _learn(
    modules: list[Module], inputs: Array, wanted: Array, judge: Loss, optimizer: Optimizer
) -> tuple[float, float]:
    """One step; the loss and the accuracy before it."""
    outputs = _outputs(modules, inputs, inputs.dtype)
    loss, gradient = judge(outputs, wanted)
    first = next((module for module in modules if module.parameters), None)
    for module in reversed(modules):
        if module is first and isinstance(module, Weighted):
            module.gradient(gradient, is_first=True)
            break
        gradient = module.gradient(gradient)
    for number, (module, name) in enumerate(_parameters(modules)):
        optimizer.step(number, getattr(module, name), getattr(module, f"d{name}"))
    return loss, float((outputs.argmax(axis=1) == wanted.argmax(axis=1)).mean())


def _parameters(modules: list[Module]) -> list[tuple[Module, str]]:
    return [(module, name) for module in modules for name in module.parameters]


def _evaluated(
    modules: list[Module], data: tuple[Array, Array], judge: Loss, dtype: Any
) -> tuple[float, float]:
    """Loss and accuracy on data."""
    parts = [
        _outputs(modules, data[0][start : start + _EVALUATED], dtype)
        for start in range(0, len(data[0]), _EVALUATED)
    ]
    outputs = np.concatenate(parts)
    return judge(outputs, data[1])[0], float((outputs.argmax(axis=1) == data[1].argmax(axis=1)).mean())


class _Kept:
    """The best parameters, if there is a patience."""

    def __init__(self, modules: list[Module], patience: int) -> None:
        self._parameters, self._patience = _parameters(modules), patience
        self._loss, self._epoch, self._left = math.inf, 0, patience
        self._arrays: list[Array] = []

    def is_over(self, loss: float, epoch: int) -> bool:
        """Keep the parameters if they are the best; return whether the patience is used up."""
        if not self._patience:
            return False
        if loss < self._loss:
            self._loss, self._epoch, self._left = loss, epoch, self._patience
            self._arrays = [getattr(module, name).copy() for module, name in self._parameters]
            return False
        self._left -= 1
        return self._left == 0

    def restore(self, history: History) -> None:
        """Give the modules the best parameters, and say which epoch that was."""
        if self._arrays:
            history.best_epoch = self._epoch
            for (module, name), array in zip(self._parameters, self._arrays, strict=True):
                setattr(module, name, array)


def _is_over(
    modules: list[Module],
    held: tuple[Array, Array],
    judge: Loss,
    dtype: Any,
    history: History,
    kept: _Kept,
) -> bool:
    loss, accuracy = _evaluated(modules, held, judge, dtype)
    history.validation_loss.append(loss)
    history.validation_accuracy.append(accuracy)
    return kept.is_over(loss, len(history.loss))
