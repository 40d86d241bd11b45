"""Nets of the LRP Toolbox for tests: texts, and pickles as Python 2 and 3 write them."""

import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.formats.caffe.reader import read_prototxt, scan_caffemodel
from caffe_lrp.formats.importers.caffe_files import caffemodel_of, prototxt_of
from caffe_lrp.formats.importers.imported import ImportedNet
from caffe_lrp.net.build import build_net
from caffe_lrp.net.deploy.deployed import deploy

Array = NDArray[Any]
#: The toolbox's XOR net, with fewer digits, and its probabilities.
XOR = """\
Linear 2 3
-2.01595799878 -2.05379403106 0.688953420218 1.20338836267 -1.7518249173 -1.90515935663
-0.519917325831 0.400368842573 0.0699950389094
Tanh
Linear 3 3
-1.18542075899 -1.62921811225 0.134698917906 0.111469267787 1.85227669488 -0.350827317469 0.102194311719 \
-1.67678396935 0.256312518679
0.116095097279 -0.0138454065897 0.0469443958438
Tanh
Linear 3 2
1.10940574175 0.26799513777 2.51842248017 -1.5497671807 -0.606042655911 0.197763706892
-0.115832556216 0.115832556216
SoftMax
"""
XOR_INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32).reshape(4, 2, 1, 1)
XOR_PROBABILITIES = np.array(
    [[0.98123796, 0.01876204], [0.01722871, 0.98277129], [0.03848652, 0.96151348], [0.96430361, 0.03569639]]
)


def module(kind: str, **attributes: Any) -> tuple[str, Mapping[str, Any]]:
    """A module of a pickle: class and attributes."""
    return kind, attributes


def linear(weights: Array, bias: Array) -> tuple[str, Mapping[str, Any]]:
    return module("Linear", m=weights.shape[0], n=weights.shape[1], W=weights, B=bias, X=None, lrp_param=1.0)


def pickled(modules: Sequence[tuple[str, Mapping[str, Any]]], protocol: int = 5) -> bytes:
    """What Python 3 writes for a net with these modules."""
    with _classes({kind for kind, _ in modules} | {"Sequential"}) as classes:
        made = []
        for kind, attributes in modules:
            made.append(classes[kind]())
            vars(made[-1]).update(attributes)
        net = classes["Sequential"]()
        net.modules = made
        return pickle.dumps(net, protocol)


@contextmanager
def _classes(kinds: set[str]) -> Iterator[dict[str, Any]]:
    names = {kind: f"modules.{kind.lower()}" for kind in kinds}
    classes = {kind: type(kind, (), {"__module__": name}) for kind, name in names.items()}
    files = {"modules": ModuleType("modules")}
    for kind, name in names.items():
        files[name] = ModuleType(name)
        setattr(files[name], kind, classes[kind])
    sys.modules.update(files)
    try:
        yield classes
    finally:
        for name in files:
            del sys.modules[name]


def old_style(kind: str, state: bytes = b"}") -> bytes:
    """Instructions of protocol 2 by which Python 2 writes an object of an old-style class."""
    return b"(cmodules.%s\n%s\no%sb" % (kind.lower().encode(), kind.encode(), state)


def old_net(*modules: bytes) -> bytes:
    """A pickle of Python 2."""
    return b"\x80\x02" + old_style("Sequential", b"}U\x07modules(%sls" % b"".join(modules)) + b"."


def scores_of(net: ImportedNet, folder: Path, inputs: Array) -> Array:
    """The scores of an imported net, from its files."""
    prototxt, caffemodel = folder / "deploy.prototxt", folder / "net.caffemodel"
    prototxt.write_text(prototxt_of(net))
    caffemodel.write_bytes(b"".join(caffemodel_of(net)))
    stored = scan_caffemodel(caffemodel)
    built = build_net(deploy(read_prototxt(prototxt), stored), stored)
    with CpuEngine(threads=1) as engine:
        found = engine.forward(built, (), np.asarray(inputs, np.float32), frozenset((built.output_value,)))
        return np.array(found.activations[built.output_value])
