"""What all modules have in common: their interface, and which rule a name means.

Modules compute in the type of their input and weights: float64, unless a net was converted.
Source: manual: teaching, "Modules".
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import UsageError
from caffe_lrp.messages import did_you_mean

Array = NDArray[Any]
#: A rule: relevance of a module's output, and the rule's parameter -> relevance of its input.
Rule = Callable[[Array, Any], Array]

_STABILISER = 1e-16


def stabilised(values: Array, by: float = _STABILISER) -> Array:
    """``values`` moved away from 0 by ``by``; 0 counts as positive."""
    moved: Array = values + by * sign(values)
    return moved


def sign(values: Array) -> Array:
    """+1 where values are at least 0, else −1."""
    return np.where(values >= 0, 1.0, -1.0).astype(values.dtype, copy=False)


class Module:
    """A layer. It remembers its last forward pass, which `backward` and `lrp` refer to.

    Attributes
    ----------
    lrp_var, lrp_param
        The rule and its parameter that `lrp` uses unless it is given others.
    X, Y
        Input and output of the last forward pass; None before it, and after `clean`.
    """

    #: Names of the arrays that training changes.
    parameters: ClassVar[tuple[str, ...]] = ()
    #: Names of attributes of the last forward and backward pass.
    temporaries: ClassVar[tuple[str, ...]] = ("X", "Y")

    def __init__(self) -> None:
        self.lrp_var: str | None = None
        self.lrp_param: Any = 1.0
        self.X: Any = None
        self.Y: Any = None

    # Interface of the toolbox

    def forward(self, X: Array, lrp_aware: bool = False) -> Array:
        """The output for an input, (N, …); both are kept.

        With ``lrp_aware``, Linear and Convolution also keep all products, so that several calls of `lrp` are
        faster.
        """
        raise NotImplementedError

    def backward(self, DY: Array) -> Array:
        """The gradient at the input as the toolbox has it; gradients of parameters are kept."""
        return self.gradient(DY)

    def gradient(self, DY: Array) -> Array:
        """The gradient at the input; gradients of parameters are kept."""
        return DY

    def update(self, lrate: float) -> None:
        """One step of the parameters."""

    def clean(self) -> None:
        """Forget the last pass."""
        for name in self.temporaries:
            setattr(self, name, None)

    def set_lrp_parameters(self, lrp_var: str | None = None, param: Any = None) -> None:
        """Set the rule and its parameter that `lrp` uses unless it is given others."""
        self.lrp_var, self.lrp_param = lrp_var, param

    def lrp(self, R: Array, lrp_var: str | None = None, param: Any = None) -> Array:
        """Relevance of the last input, for relevance ``R`` of the last output.

        Parameters
        ----------
        R
            Relevance of the output.
        lrp_var
            A rule: ``simple``, ``epsilon``, ``alphabeta``, ``flat``, ``ww``, or another of its names.
        param
            ε, or α. If a rule or a parameter is given, the module's own are not used.

        Raises
        ------
        UsageError
            There is no such rule, it lacks its parameter, or there was no forward pass.
        """
        if self.X is None:
            raise UsageError(f"{type(self).__name__}.lrp needs a forward pass before it; call forward(X)")
        name, value = (lrp_var, param)
        if name is None and value is None:
            name, value = self.lrp_var, self.lrp_param
        key = VARIANTS.get(str(name or "none").lower())
        if key is None:
            near = did_you_mean(str(name), VARIANTS)
            raise UsageError(f"Unknown lrp variant {name}{near or '; there are ' + ', '.join(VARIANTS)}")
        if key in _WITH_PARAMETER and value is None:
            raise UsageError(f"the rule {name} needs its parameter, such as lrp(R, '{name}', 1.0)")
        return self.rules()[key](R, value)

    def to_cupy(self) -> None:
        """Do nothing: arrays are NumPy's."""

    def to_numpy(self) -> None:
        """Do nothing: arrays are NumPy's already."""

    # For other parts of the package

    def rules(self) -> Mapping[str, Rule]:
        """Every rule of `VARIANTS` for this module; here, relevance passes unchanged."""
        return dict.fromkeys({*VARIANTS.values()}, lambda R, _: R)

    def convert(self, dtype: Any) -> None:
        """Convert the parameters to another type, such as float32."""
        for name in self.parameters:
            setattr(self, name, getattr(self, name).astype(dtype, copy=False))


#: Names of rules, in lower case -> the rule. ``eps`` is promised by the toolbox's manual, not by its program.
VARIANTS = {
    "none": "simple",
    "simple": "simple",
    "epsilon": "epsilon",
    "eps": "epsilon",
    "alphabeta": "alphabeta",
    "alpha": "alphabeta",
    "flat": "flat",
    "ww": "ww",
    "w^2": "ww",
    "slow": "simple_slow",
    "simple_slow": "simple_slow",
    "epsilon_slow": "epsilon_slow",
    "alphabeta_slow": "alphabeta_slow",
    "alpha_slow": "alphabeta_slow",
}
_WITH_PARAMETER = {"epsilon", "alphabeta", "epsilon_slow", "alphabeta_slow"}
