"""Elementwise functions that exporters write as several nodes, recognised by their values.

A group of nodes that computes a function of one value, element by element, is compared with the functions
that are a single layer, whatever the order of the nodes: GELU by Erf, ``x·sigmoid(x)``,
``x·clip(x + 3, 0, 6)/6``.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import STANDARD, Graph
from .node import Node

Numbers = NDArray[np.float64]

#: Nodes in a group: GELU by tanh has 9.
_MOST_NODES = 14
#: Where functions are compared, and how exactly: their constants were rounded to single precision.
_PLACES: Numbers = np.concatenate((np.linspace(-8.3, 8.9, 87), (-21.0, -0.01, 0.0, 0.01, 21.0)))
_TOLERANCE = 4e-7

_erf = np.vectorize(math.erf, otypes=[float])


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return np.clip(alpha * x + beta, 0, 1)


def _sigmoid(x: Any) -> Any:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _clip(node: Node, x: Any, *bounds: Any) -> Any:
    lowest = node.number("min", -math.inf) if "min" in node.attributes else -np.inf
    highest = node.number("max", math.inf) if "max" in node.attributes else np.inf
    given = dict(zip([place for place in (1, 2) if node.has_input(place)], bounds, strict=True))
    return np.minimum(np.maximum(x, given.get(1, lowest)), given.get(2, highest))


#: Operator -> its values.
_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Add": lambda node, a, b: a + b,
    "Sub": lambda node, a, b: a - b,
    "Mul": lambda node, a, b: a * b,
    "Div": lambda node, a, b: a / b,
    "Pow": lambda node, a, b: np.power(a, b),
    "Max": lambda node, *xs: np.maximum.reduce(np.broadcast_arrays(*xs)),
    "Min": lambda node, *xs: np.minimum.reduce(np.broadcast_arrays(*xs)),
    "Neg": lambda node, x: -x,
    "Exp": lambda node, x: np.exp(x),
    "Log": lambda node, x: np.log(x),
    "Erf": lambda node, x: _erf(x),
    "Tanh": lambda node, x: np.tanh(x),
    "Relu": lambda node, x: np.maximum(x, 0),
    "Sigmoid": lambda node, x: _sigmoid(x),
    "Softplus": lambda node, x: _softplus(x),
    "HardSigmoid": lambda node, x: _hard_sigmoid(x, node.number("alpha", 0.2), node.number("beta", 0.5)),
    "Clip": _clip,
}

_AFFINE = "Affine"


@dataclass(frozen=True)
class _Function:
    """A function that is one layer: its operator, its attributes, and its values."""

    operator: str
    attributes: Mapping[str, Any]
    values: Numbers


#: A function -> those of one layer that agree with it at a few places.
Candidates = Callable[[Callable[[float], float]], Iterator[_Function]]


def _candidates(f: Callable[[float], float]) -> Iterator[_Function]:
    """Functions of one layer that agree with ``f`` at a few places."""
    x = _PLACES
    shift = f(0.0)
    bounds = {"min": f(-1e6), "max": f(1e6)}
    if bounds["min"] <= bounds["max"]:
        yield _Function("Clip", bounds, np.clip(x, bounds["min"], bounds["max"]))
    yield _Function("LeakyRelu", {"alpha": -f(-1.0)}, np.where(x > 0, x, -f(-1.0) * x))
    tanh = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    yield _Function("Gelu", {"approximate": "none"}, 0.5 * x * (1 + _erf(x / math.sqrt(2))))
    yield _Function("Gelu", {"approximate": "tanh"}, 0.5 * x * (1 + tanh))
    yield _Function("HardSwish", {}, x * _hard_sigmoid(x, 1 / 6, 0.5))
    alpha = 10 * (f(0.1) - shift)
    yield _Function("HardSigmoid", {"alpha": alpha, "beta": shift}, _hard_sigmoid(x, alpha, shift))
    yield _Function("Softplus", {}, _softplus(x))
    if 0 < f(1.0) < 1:
        beta = math.log(f(1.0) / (1 - f(1.0)))
        yield _Function("Swish", {"alpha": beta}, x * _sigmoid(beta * x))


def _affine(f: Callable[[float], float]) -> Iterator[_Function]:
    """The function that scales and shifts as ``f`` does."""
    shift = f(0.0)
    scale = f(1.0) - shift
    yield _Function(_AFFINE, {"scale": scale, "shift": shift}, scale * _PLACES + shift)


def recognised(graph: Graph) -> Graph:
    """The graph with one node for every group that computes a known function.

    Nodes that only scale and shift come last: they may be part of other functions.
    """
    return _recognised(_recognised(graph, _candidates), _affine)


def _recognised(graph: Graph, candidates: Candidates) -> Graph:
    search = _Search(graph, candidates)
    replaced: dict[str, Node | None] = {}
    for node in reversed(graph.nodes):
        if node.outputs[0] not in replaced:
            for member, substitute in search.group(node):
                replaced[member.outputs[0]] = substitute
    nodes = (replaced.get(node.outputs[0], node) if node.outputs else node for node in graph.nodes)
    return graph.with_nodes(node for node in nodes if node is not None)


class _Search:
    """Groups of nodes in one graph."""

    def __init__(self, graph: Graph, candidates: Candidates) -> None:
        self._candidates = candidates
        self._graph, self._readers, self._writers = graph, graph.readers(), graph.writers()
        self._place = {node.outputs[0]: place for place, node in enumerate(graph.nodes) if node.outputs}
        self._scalars = {
            name: float(constant.load().ravel()[0])
            for name, constant in self._constants().items()
            if constant.size == 1 and constant.is_float
        }

    def _constants(self) -> dict[str, Any]:
        held = {
            node.outputs[0]: node.tensor("value")
            for node in self._graph.nodes
            if node.operator == "Constant" and node.outputs
        }
        return {**self._graph.constants, **{name: value for name, value in held.items() if value is not None}}

    def group(self, root: Node) -> list[tuple[Node, Node | None]]:
        """The nodes of the largest group that ends in ``root``, each with its substitute."""
        best: list[tuple[Node, Node | None]] = []
        members: list[Node] = []
        frontier = {root.outputs[0]}
        while len(members) < _MOST_NODES:
            name = max(frontier, key=lambda value: self._place.get(value, -1))
            node = self._writers.get(name)
            if node is None or not self._may_join(node, members):
                break
            members.append(node)
            frontier = (frontier - {name}) | {
                value for value in node.inputs if value and value not in self._scalars
            }
            if not frontier:
                break
            if len(frontier) == 1 and len(members) > 1:
                (source,) = frontier
                best = self._replaced(root, members, source) or best
        return best

    def _may_join(self, node: Node, members: Sequence[Node]) -> bool:
        if node.operator not in _OPERATORS or node.domain not in STANDARD or len(node.outputs) != 1:
            return False
        if not members:
            return True
        (name,) = node.outputs
        inside = {id(member) for member in members}
        return name not in self._graph.outputs and all(id(reader) in inside for reader in self._readers[name])

    def _replaced(self, root: Node, members: Sequence[Node], source: str) -> list[tuple[Node, Node | None]]:
        def values(x: Any) -> Any:
            found: dict[str, Any] = {source: x}
            for node in reversed(members):
                inputs = [
                    found[name] if name in found else self._scalars[name] for name in node.inputs if name
                ]
                found[node.outputs[0]] = _OPERATORS[node.operator](node, *inputs)
            return found[root.outputs[0]]

        with np.errstate(all="ignore"):
            function = _match(values, self._candidates)
        if function is None:
            return []
        merged = tuple(node.operator for node in reversed(members))
        node = Node(root.name, function.operator, "", (source,), root.outputs, function.attributes, merged)
        return [(member, node if member is root else None) for member in members]


def _match(values: Callable[[Any], Any], candidates: Candidates) -> _Function | None:
    """The function of one layer with the same values."""
    try:
        found = np.asarray(values(_PLACES), np.float64)
        if found.shape != _PLACES.shape or not np.isfinite(found).all():
            return None
        room = _TOLERANCE * (1 + np.abs(found))
        for function in candidates(lambda x: float(values(np.float64(x)))):
            if (np.abs(function.values - found) <= room).all():
                return function
    except (ArithmeticError, ValueError, TypeError):
        return None
    return None
