"""Optimizers: from gradients to steps of the parameters. Sources: Polyak 1964; Kingma and Ba 2015."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .modules.module import Array


class Optimizer(Protocol):
    """An optimizer. It keeps what it remembers of each parameter under the parameter's number."""

    def begin(self) -> None:
        """Forget all that is remembered."""

    def step(self, number: int, parameter: Array, gradient: Array) -> None:
        """Change a parameter in place."""


@dataclass
class SGD:
    """Stochastic gradient descent with momentum.

    Attributes
    ----------
    learning_rate
        Factor of the gradient.
    momentum
        Share of the last step that is added to the next.
    """

    learning_rate: float = 0.01
    momentum: float = 0.9
    _velocities: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    def begin(self) -> None:
        """Forget all velocities."""
        self._velocities = {}

    def step(self, number: int, parameter: Array, gradient: Array) -> None:
        """Change a parameter in place."""
        velocity = self._velocities.setdefault(number, np.zeros_like(parameter))
        velocity *= self.momentum
        velocity -= self.learning_rate * gradient
        parameter += velocity


@dataclass
class Adam:
    """Steps of a size that adapts to each number's gradients.

    Attributes
    ----------
    learning_rate
        About the size of a step.
    beta1, beta2
        How slowly the means of gradients and of their squares follow.
    epsilon
        Added to the root of the mean square.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    _means: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    def begin(self) -> None:
        """Forget all means."""
        self._means = {}

    def step(self, number: int, parameter: Array, gradient: Array) -> None:
        """Change a parameter in place."""
        mean, square, count = self._means.get(number, (np.zeros_like(parameter), np.zeros_like(parameter), 0))
        count += 1
        mean += (1 - self.beta1) * (gradient - mean)
        square += (1 - self.beta2) * (gradient**2 - square)
        self._means[number] = mean, square, count
        rate = self.learning_rate * (1 - self.beta2**count) ** 0.5 / (1 - self.beta1**count)
        parameter -= rate * mean / (np.sqrt(square) + self.epsilon)
