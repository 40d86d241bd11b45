"""The names under which scripts import Caffe."""

import sys
from collections.abc import MutableMapping
from importlib import import_module
from typing import Any

from .faults import REFUSED, CaffeError, Refused

_OURS = __name__.rpartition(".")[0]
#: Module of Caffe -> ours.
_MODULES = {
    "caffe": _OURS,
    "caffe._caffe": f"{_OURS}._caffe",
    "caffe.classifier": f"{_OURS}.classifier",
    "caffe.io": f"{_OURS}.io",
    "caffe.proto": f"{_OURS}.proto",
    "caffe.proto.caffe_pb2": "caffe_lrp.formats.caffe.caffe_pb2",
    "caffe.pycaffe": f"{_OURS}.net",
}
#: Modules of Caffe that can be imported, and say that they are not here when they are used.
_REFUSED_MODULES = ("coord_map", "detector", "draw", "net_spec")


def install() -> None:
    """Have ``import caffe`` find this package in the running process.

    Raises
    ------
    CaffeError
        Another module ``caffe`` was imported already.
    """
    known: MutableMapping[str, Any] = sys.modules
    other = known.get("caffe")
    if other is not None and other is not import_module(_OURS):
        raise CaffeError(
            f"another caffe was imported already ({getattr(other, '__file__', 'unknown')}); call install() "
            "first, or write import caffe_lrp.pycaffe as caffe"
        )
    for name, ours in _MODULES.items():
        known[name] = import_module(ours)
    for name in _REFUSED_MODULES:
        known[f"caffe.{name}"] = Refused(f"caffe.{name}", REFUSED[name])
