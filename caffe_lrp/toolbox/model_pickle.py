"""Writing nets as the toolbox pickles them (``.nn``), with its own names of classes."""

import io
import pickle
from typing import Any

import numpy as np

from .modules import (
    Convolution,
    Flatten,
    Linear,
    MaxPool,
    Module,
    Rect,
    Sequential,
    SoftMax,
    SumPool,
    Tanh,
)

#: Class -> where the toolbox has it, and its attributes there.
_CLASSES: dict[type[Module], tuple[str, tuple[str, ...]]] = {
    Sequential: ("modules.sequential", ("modules",)),
    Linear: ("modules.linear", ("m", "n", "W", "B", "X", "Y", "Z", "dW", "dB")),
    Convolution: (
        "modules.convolution",
        ("fh", "fw", "fd", "n", "stride", "W", "B", "X", "Y", "Z"),
    ),
    SumPool: ("modules.sumpool", ("pool", "stride", "X", "Y")),
    MaxPool: ("modules.maxpool", ("pool", "stride", "X", "Y")),
    Rect: ("modules.rect", ("Y",)),
    Tanh: ("modules.tanh", ("Y",)),
    SoftMax: ("modules.softmax", ("X", "Y")),
    Flatten: ("modules.flatten", ("inputshape",)),
}
_OF_ALL = ("lrp_var", "lrp_param")
_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


#: The pickler that is written in Python can be extended.
_PythonPickler: Any = pickle._Pickler


class _Pickler(_PythonPickler):  # type: ignore[misc]
    """Writes modules and arrays by the names that all releases of the toolbox and of NumPy have."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) in _CLASSES:
            module, names = _CLASSES[type(obj)]
            self.write(f"c{module}\n{type(obj).__name__}\n".encode() + pickle.EMPTY_TUPLE + pickle.NEWOBJ)
            self.save({name: getattr(obj, name) for name in (*names, *_OF_ALL)})
            self.write(pickle.BUILD)
        elif isinstance(obj, np.ndarray):
            reduced: Any = np.ascontiguousarray(obj, np.float64).__reduce__()
            _, arguments, state = reduced
            self.write(_RECONSTRUCT)
            self.save(arguments)
            self.write(pickle.REDUCE)
            self.save(state)
            self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)


def can_be_pickled(module: Module) -> bool:
    """Whether the toolbox has this module."""
    return type(module) in _CLASSES


def pickled(net: Sequential) -> bytes:
    """The bytes of a net, whose temporaries are None."""
    content = io.BytesIO()
    _Pickler(content, 2).dump(net)
    return content.getvalue()
