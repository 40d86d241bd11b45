"""A lookalike of pycaffe, Caffe's Python module, with the toolbox's extension for relevance.

``python -m caffe_lrp.pycaffe script.py`` runs a script so that ``import caffe`` finds it; `install` does the
same in a notebook, and ``import caffe_lrp.pycaffe as caffe`` needs neither. Manual: pycaffe.
"""

from caffe_lrp.layers import REGISTRY

from . import _caffe, io, proto
from .classifier import Classifier
from .core import TEST, TRAIN
from .faults import REFUSED, CaffeError, CaffeValueError, Refused
from .names import install
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


def layer_type_list() -> list[str]:
    """Return all types of layers that can be computed."""
    return sorted(REGISTRY)


def __getattr__(name: str) -> Refused:
    if name in REFUSED:
        return Refused(f"caffe.{name}", REFUSED[name])
    raise AttributeError(f"module 'caffe' (caffe_lrp.pycaffe) has no attribute '{name}'")
