"""Losses of outputs, as means over a batch, and their gradients."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from caffe_lrp.errors import UsageError
from caffe_lrp.messages import did_you_mean

from .modules.module import Array

LossName = Literal["softmax_crossentropy", "sigmoid_crossentropy", "mse"]
#: A loss: outputs (N, classes) and what they should be -> the loss, and its gradient at the outputs.
Loss = Callable[[Array, Array], tuple[float, Array]]


def softmax_crossentropy(outputs: Array, wanted: Array) -> tuple[float, Array]:
    """The cross-entropy of the softmax of outputs."""
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    count = len(outputs)
    gradient = (np.exp(logs) * wanted.sum(axis=1, keepdims=True) - wanted) / count
    return float(-(wanted * logs).sum() / count), gradient


def sigmoid_crossentropy(outputs: Array, wanted: Array) -> tuple[float, Array]:
    """The cross-entropy of the sigmoid of each output, summed over the outputs."""
    count = len(outputs)
    loss = np.logaddexp(0, outputs) - wanted * outputs
    gradient = (0.5 * (1 + np.tanh(0.5 * outputs)) - wanted) / count
    return float(loss.sum() / count), gradient


def mse(outputs: Array, wanted: Array) -> tuple[float, Array]:
    """The squared error, summed over the outputs."""
    difference = outputs - wanted
    return float((difference**2).sum() / len(outputs)), 2 * difference / len(outputs)


LOSSES: dict[str, Loss] = {
    "softmax_crossentropy": softmax_crossentropy,
    "sigmoid_crossentropy": sigmoid_crossentropy,
    "mse": mse,
}


def loss_called(name: str) -> Loss:
    """The loss with a name.

    Raises
    ------
    UsageError
        There is no such loss.
    """
    if name not in LOSSES:
        raise UsageError(
            f"there is no loss '{name}'{did_you_mean(name, LOSSES) or '; use ' + ', '.join(LOSSES)}"
        )
    return LOSSES[name]
