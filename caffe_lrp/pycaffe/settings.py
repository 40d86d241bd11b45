"""What Caffe keeps for the whole process: mode, device, random numbers, log; most of it does nothing."""

import warnings
from typing import Any

import numpy as np

#: The source of random numbers of fillers; replaced by `set_random_seed`.
_source = [np.random.default_rng(0)]


def random_numbers() -> np.random.Generator:
    """The source of random numbers."""
    return _source[0]


def set_random_seed(seed: int) -> None:
    """Start random numbers of fillers anew; they are others than Caffe's."""
    _source[0] = np.random.default_rng(seed)


def set_mode_cpu() -> None:
    """Compute on the CPU, as always."""


def set_mode_gpu() -> None:
    """Compute on the CPU all the same, and warn."""
    warnings.warn("caffe_lrp.pycaffe computes on the CPU; results are the same", stacklevel=2)


def set_device(device: int) -> None:
    """Nothing: there is one device."""


def init_log(*_: Any) -> None:
    """Nothing: there is no log."""


def log(text: str) -> None:
    """Nothing: there is no log."""


def solver_count() -> int:
    """1, as without training on several devices."""
    return 1


def solver_rank() -> int:
    """0, as without training on several devices."""
    return 0


def has_nccl() -> bool:
    """No."""
    return False
