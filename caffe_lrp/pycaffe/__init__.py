"""A lookalike of pycaffe, Caffe's Python module, with the toolbox's extension for relevance.

``python -m caffe_lrp.pycaffe script.py`` runs a script so that ``import caffe`` finds it; `install` does the
same in a notebook, and ``import caffe_lrp.pycaffe as caffe`` needs neither. Manual: pycaffe.

Nothing heavy is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .arguments import TEST, TRAIN
from .faults import REFUSED, CaffeError, CaffeValueError, Refused
from .names import install

if TYPE_CHECKING:
    from . import _caffe, io, proto
    from .classifier import Classifier
    from .net import Net
    from .options import RelPropOpts
    from .settings import (
        has_nccl,
        init_log,
        log,
        set_device,
        set_mode_cpu,
        set_mode_gpu,
        set_random_seed,
        solver_count,
        solver_rank,
    )

__version__ = "1.0.0"

__all__ = [
    "TEST",
    "TRAIN",
    "CaffeError",
    "CaffeValueError",
    "Classifier",
    "Net",
    "RelPropOpts",
    "_caffe",
    "has_nccl",
    "init_log",
    "install",
    "io",
    "layer_type_list",
    "log",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "solver_count",
    "solver_rank",
]

#: Name -> the module that has it, imported when the name is first used.
_LAZY = {
    "Classifier": "classifier",
    "Net": "net",
    "RelPropOpts": "options",
    **dict.fromkeys(("set_device", "set_mode_cpu", "set_mode_gpu", "set_random_seed"), "settings"),
    **dict.fromkeys(("has_nccl", "init_log", "log", "solver_count", "solver_rank"), "settings"),
}
#: Module of Caffe -> ours.
_MODULES = {"_caffe": "_caffe", "classifier": "classifier", "io": "io", "proto": "proto", "pycaffe": "net"}


def layer_type_list() -> list[str]:
    """Return all types of layers that can be computed."""
    registry = import_module("caffe_lrp.layers").REGISTRY
    return sorted(registry)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name in REFUSED:
        return Refused(f"caffe.{name}", REFUSED[name])
    raise AttributeError(f"module 'caffe' (caffe_lrp.pycaffe) has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
