"""Names of layers: readable, unique, and those of modules where the file has them."""

import re
from collections.abc import Iterable

from .node import Node

_LONGEST = 120
_UNUSUAL = re.compile(r"[^A-Za-z0-9_.:+-]+")
_WEIGHTS = re.compile(r"(.+)[./](?:weight|kernel|weights|gamma)(?:[:/].*)?")
#: Outputs that exporters number, and names that they make from them.
_NUMBERED = re.compile(r"(onnx::.*|.*:|val_\d+|getitem_\d+|\d+|node_.*)")
#: Operators that are modules of their own: their module's name says enough.
_MODULES = frozenset(
    (
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Conv",
        "ConvTranspose",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "LRN",
        "MaxPool",
        "PRelu",
        "Relu",
        "Sigmoid",
        "Softmax",
        "Elu",
        "Selu",
    )
)


class Namer:
    """Gives names to layers, each once."""

    def __init__(self, taken: Iterable[str], nodes: Iterable[Node]) -> None:
        self._taken = set(taken)
        firsts = {node.name.split("/")[0] for node in nodes if node.operator != "Constant"}
        #: TensorFlow puts the name of the whole function first.
        self._shared = f"{firsts.pop()}/" if len(firsts) == 1 else ""

    def name(self, node: Node, weights: str, what: str) -> str:
        """A name for a layer of ``node``.

        Parameters
        ----------
        weights
            Name of its weights; empty if it has none.
        what
            Tells further layers of the node apart; empty for the main one.
        """
        stem = self._stem(node, weights)
        wanted = (f"{stem}/{what}" if what else stem)[:_LONGEST]
        found, number = wanted, 1
        while found in self._taken:
            number += 1
            found = f"{wanted}_{number}"
        self._taken.add(found)
        return found

    def _stem(self, node: Node, weights: str) -> str:
        module = _WEIGHTS.fullmatch(weights)
        if module and not weights.startswith("onnx::"):
            return _clean(module[1].removeprefix(self._shared))
        candidates = (_path(node, self._shared) if "/" in node.name else "", *node.outputs[:1], node.name)
        for name in candidates:
            cleaned = _clean(name)
            if cleaned and not _NUMBERED.fullmatch(name):
                return cleaned
        return _clean(node.name.removeprefix("node_")) or node.operator.lower()


def _clean(name: str) -> str:
    return "/".join(filter(None, (_UNUSUAL.sub("_", part).strip("_") for part in name.split("/"))))


def _path(node: Node, shared: str) -> str:
    """The path of a module, without the operator of a module.

    PyTorch repeats names of modules (``/layer1/layer1.0/conv1/Conv``); the result is as in
    ``named_modules``.
    """
    parts = [part for part in node.name.removeprefix(shared).split("/") if part]
    kept = [
        part for part, after in zip(parts, [*parts[1:], ""], strict=True) if not after.startswith(f"{part}.")
    ]
    if len(kept) > 1 and node.operator in _MODULES and re.fullmatch(rf"{node.operator}(_\d+)?", kept[-1]):
        kept.pop()
    return ("." if node.name.startswith("/") else "/").join(kept)
