"""A net: modules one after the other."""

import logging
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from caffe_lrp.toolbox.fitting import History, Progress, fit
from caffe_lrp.toolbox.losses import LossName
from caffe_lrp.toolbox.optimizers import Adam, Optimizer
from caffe_lrp.toolbox.quirks import NO_QUIRKS, ToolboxQuirks
from caffe_lrp.toolbox.training import Schedule, train

from .elementwise import SoftMax
from .module import Array, Module
from .random import GLOBAL, Random

#: Gets each line that the toolbox would print.
Report = Callable[[str], object]

_log: Report = logging.getLogger("caffe_lrp").info


class Sequential(Module):
    """A net made of modules.

    Parameters
    ----------
    modules
        The modules, from input to output.
    report
        Called with each line that the toolbox prints, such as ``print``; unless given, lines go to the
        logger ``caffe_lrp``, as information.

    Attributes
    ----------
    modules
        As a list, which may be changed.
    """

    def __init__(self, modules: Sequence[Module], report: Report = _log) -> None:
        super().__init__()
        self.modules = list(modules)
        self.report = report

    @property
    def dtype(self) -> Any:
        """The type of the first parameters; float64 in a net that has none."""
        arrays = [getattr(module, name) for module in self.modules for name in module.parameters]
        return arrays[0].dtype if arrays else np.dtype(np.float64)

    def astype(self, dtype: Any) -> "Sequential":
        """Convert all parameters, for example to float32, which is faster; return the net itself."""
        for module in self.modules:
            module.convert(dtype)
        return self

    # Interface of the toolbox

    def forward(self, X: Array, lrp_aware: bool = False) -> Array:  # noqa: D102
        values = np.asarray(X, self.dtype)
        self.X = values
        for module in self.modules:
            values = module.forward(values, lrp_aware=lrp_aware)
        self.Y = values
        return values

    def backward(self, DY: Array) -> Array:  # noqa: D102
        for module in reversed(self.modules):
            DY = module.backward(DY)
        return DY

    def gradient(self, DY: Array) -> Array:  # noqa: D102
        for module in reversed(self.modules):
            DY = module.gradient(DY)
        return DY

    def update(self, lrate: float) -> None:  # noqa: D102
        for module in self.modules:
            module.update(lrate)

    def clean(self) -> None:  # noqa: D102
        super().clean()
        for module in self.modules:
            module.clean()

    def set_lrp_parameters(self, lrp_var: str | None = None, param: Any = None) -> None:
        """Set the rule and its parameter of every module; those of single modules can be changed later."""
        for module in self.modules:
            module.set_lrp_parameters(lrp_var, param)

    def lrp(self, R: Array, lrp_var: str | None = None, param: Any = None) -> Array:
        """Relevance of the input, for relevance ``R`` of the output. Nothing is masked."""
        for module in reversed(self.modules):
            R = module.lrp(R, lrp_var, param)
        return R

    def drop_softmax_output_layer(self) -> None:
        """Remove the last module if it is SoftMax."""
        if self.modules and isinstance(self.modules[-1], SoftMax):
            self.report("removing softmax output mapping")
            del self.modules[-1]
        else:
            self.report("output layer is not softmax. nothing to do")

    def train(
        self,
        X: Array,
        Y: Array,
        Xval: Any = (),
        Yval: Any = (),
        batchsize: int = 25,
        iters: int = 10000,
        lrate: float = 0.005,
        lrate_decay: str | None = None,
        lfactor_initial: float = 1.0,
        status: int = 250,
        convergence: int = -1,
        transform: Callable[[Array], Array] | None = None,
        silent: bool = False,
        quirks: ToolboxQuirks = NO_QUIRKS,
        random: Random = GLOBAL,
    ) -> None:
        """Train the net as the toolbox does; afterwards it has the best modules that were evaluated.

        `fit` has losses, optimizers and learning curves.

        Parameters
        ----------
        X, Y, Xval, Yval
            Inputs, and outputs to learn; the same for evaluation, unless those for training should do.
        batchsize, iters, lrate, lrate_decay, lfactor_initial, status, convergence, transform
            See `training.Schedule`.
        silent
            Whether nothing is reported.
        quirks, random
            Which faults of the toolbox are reproduced, and where samples are drawn from.

        Raises
        ------
        UsageError
            A batch is larger than the data, or inputs and outputs do not match.
        """
        schedule = Schedule(
            batchsize, iters, lrate, lrate_decay, lfactor_initial, status, convergence, transform
        )
        report = (lambda _: None) if silent else self.report
        train(self, (X, Y), (Xval, Yval), schedule, report, quirks, random)

    # Not in the toolbox

    def lrp_layerwise(
        self,
        module: Module,
        R: Array,
        lrp_var: str | None = None,
        param: Any = None,
    ) -> Array:
        """Relevance of the input of one module, for relevance ``R`` of its output."""
        return module.lrp(R, lrp_var, param)

    def fit(
        self,
        X: Array,
        Y: Array,
        loss: LossName = "softmax_crossentropy",
        optimizer: Optimizer | None = None,
        *,
        epochs: int = 5,
        batch_size: int = 64,
        validation: tuple[Array, Array] | None = None,
        patience: int = 0,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> History:
        """Train the net by gradient descent; return its learning curves.

        Parameters
        ----------
        X
            Inputs, (N, …).
        Y
            Classes (N,), or outputs to learn (N, classes).
        loss
            ``softmax_crossentropy``, ``sigmoid_crossentropy`` or ``mse``. The first is that of a SoftMax at
            the end of the net, or else of the softmax of its outputs.
        optimizer
            `SGD` or `Adam`; unless given, Adam.
        epochs
            Passes through the data.
        batch_size
            Samples per step.
        validation
            Inputs and outputs that are evaluated after each epoch, and not learnt.
        patience
            End after so many epochs in a row in which the loss on ``validation`` did not fall, and keep the
            best parameters; 0: do neither.
        seed
            Seed of the order of the samples.
        progress
            Called with a `Step` after each of them.

        Raises
        ------
        UsageError
            Inputs and outputs do not match, or an option has an impossible value.
        """
        return fit(
            self, (X, Y), loss, optimizer or Adam(), epochs, batch_size, validation, patience, seed, progress
        )

    def to_caffe(
        self,
        folder: str | PathLike[str],
        *,
        name: str = "net",
        input_size: tuple[int, int] | None = None,
        mean_value: float = 127.5,
        scale: float = 1 / 127.5,
        labels: Sequence[str] = (),
    ) -> Path:
        """Write the net as Caffe files, and a config for them; return the path of the config.

        Parameters
        ----------
        folder
            Folder for the files; it is made if it is missing. No file is replaced.
        name
            Name of the net.
        input_size
            (height, width) of its input; unless given, it is derived: from the last forward pass, or else
            from the first module if that makes clear what it is.
        mean_value, scale
            How grey levels from 0 to 255 become inputs: (level − mean_value) · scale. Unless given, inputs
            are from −1 to 1, as in the toolbox's demos.
        labels
            Labels of the classes.

        Raises
        ------
        UsageError
            A module has no counterpart, or the size of the input is not known.
        OutputError
            A file already exists, or cannot be written.
        """
        from caffe_lrp.toolbox.caffe_net import write_caffe_net  # noqa: PLC0415 - loads protobuf

        return write_caffe_net(
            self, Path(folder), name, input_size, mean_value=mean_value, scale=scale, labels=labels
        )
