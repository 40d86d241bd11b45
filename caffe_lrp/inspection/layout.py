"""The layout of a graph: boxes in ranks from top to bottom, with branches next to each other.

Source: Sugiyama, Tagawa and Toda 1981, in its simplest form. Ranks result from longest paths, the order in
a rank from the means of neighbours, and positions from least squares under that order.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from caffe_lrp.errors import ModelError

_GAP_BETWEEN_BOXES = 24.0
_GAP_BETWEEN_RANKS = 34.0

_SWEEPS = 8
#: More than any real net has; no picture is drawn of a net with more.
_MOST_BENDS = 100_000

Point = tuple[float, float]


@dataclass(frozen=True)
class Arrangement:
    """A drawing.

    Attributes
    ----------
    lefts, tops
        Position of every box.
    routes
        The points of every edge, from the lower side of a box to the upper side of another.
    width, height
        Size of the whole drawing.
    """

    lefts: tuple[float, ...]
    tops: tuple[float, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


@dataclass(eq=False)
class _Node:
    """A box, or a point where an edge passes a rank; ``box`` is its number, -1 for a passing edge."""

    box: int
    rank: int
    width: float
    height: float
    centre: float = 0.0
    above: list["_Node"] = field(default_factory=list)
    below: list["_Node"] = field(default_factory=list)


Neighbours = Callable[[_Node], list[_Node]]


def arrange(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Arrangement:
    """Arrange boxes and edges.

    Parameters
    ----------
    sizes
        Width and height of every box.
    edges
        Numbers of the two boxes of every edge; the second one is higher.

    Raises
    ------
    ModelError
        Edges span more ranks than a picture can show.
    """
    ranks = _longest_paths(len(sizes), edges)
    spans = sum(ranks[end] - ranks[begin] - 1 for begin, end in edges)
    if spans > _MOST_BENDS:
        raise ModelError(
            "the net is too tangled for a picture (--svg); write its graph for other programs (--dot)"
        )
    boxes = [_Node(box, ranks[box], *size) for box, size in enumerate(sizes)]
    chains = [_chain(boxes[begin], boxes[end]) for begin, end in edges]
    passing = [node for chain in chains for node in chain[1:-1]]
    rows: list[list[_Node]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for node in [*boxes, *passing]:
        rows[node.rank].append(node)
    _order(rows)
    _place(rows)
    return _finished(boxes, rows, chains)


def _longest_paths(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Rank of every box: the number of edges on the longest path to it."""
    ranks = [0] * count
    for begin, end in sorted(edges):  # edges to a box come before those from it
        ranks[end] = max(ranks[end], ranks[begin] + 1)
    return ranks


def _chain(begin: _Node, end: _Node) -> list[_Node]:
    """Nodes from one box to another, one in every rank between them, linked to each other."""
    between = [_Node(-1, rank, 0.0, 0.0) for rank in range(begin.rank + 1, end.rank)]
    chain = [begin, *between, end]
    for upper, lower in itertools.pairwise(chain):
        upper.below.append(lower)
        lower.above.append(upper)
    return chain


def _above(node: _Node) -> list[_Node]:
    return node.above


def _below(node: _Node) -> list[_Node]:
    return node.below


def _sweeps(rows: Sequence[list[_Node]]) -> Iterator[tuple[Sequence[list[_Node]], Neighbours]]:
    """Ranks in the order of a sweep, and the neighbours to use: down and up alternately."""
    for _ in range(_SWEEPS):
        yield rows, _above
        yield rows[::-1], _below


def _order(rows: Sequence[list[_Node]]) -> None:
    """Sort every rank by the mean position of neighbours, so that few edges cross."""
    for row in rows:
        _number(row)
    for swept, neighbours in _sweeps(rows):
        for row in swept:
            means = {id(node): _mean(node, neighbours(node)) for node in row}
            row.sort(key=lambda node: means[id(node)])
            _number(row)


def _number(row: Sequence[_Node]) -> None:
    """Set positions while only the order matters: those of a rank are spread between -½ and ½."""
    for place, node in enumerate(row):
        node.centre = (place + 0.5) / len(row) - 0.5


def _mean(node: _Node, neighbours: Sequence[_Node]) -> float:
    return sum(other.centre for other in neighbours) / len(neighbours) if neighbours else node.centre


def _place(rows: Sequence[list[_Node]]) -> None:
    """Put nodes below their neighbours as well as their order and sizes allow.

    The only node in a rank stays in the middle, so that deep nets do not drift to one side.
    """
    for row in rows:
        _settle(row, [0.0] * len(row))
    for swept, neighbours in _sweeps(rows):
        for row in swept:
            if len(row) > 1:
                _settle(row, [_mean(node, neighbours(node)) for node in row])


def _settle(row: Sequence[_Node], wanted: Sequence[float]) -> None:
    """Centres closest to those wanted, by least squares, that keep the order and do not overlap."""
    offsets = [0.0]
    for left, right in itertools.pairwise(row):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + _GAP_BETWEEN_BOXES)
    groups: list[tuple[float, int]] = []  # of nodes that touch: wanted position of the first, number
    for place, offset in zip(wanted, offsets, strict=True):
        mean, length = place - offset, 1
        while groups and groups[-1][0] > mean:
            other, others = groups.pop()
            mean = (mean * length + other * others) / (length + others)
            length += others
        groups.append((mean, length))
    shifts = [mean for mean, length in groups for _ in range(length)]
    for node, offset, shift in zip(row, offsets, shifts, strict=True):
        node.centre = offset + shift


def _finished(
    boxes: Sequence[_Node], rows: Sequence[Sequence[_Node]], chains: Sequence[Sequence[_Node]]
) -> Arrangement:
    """The drawing, moved so that all coordinates are positive."""
    nodes = [node for row in rows for node in row]
    left = min((node.centre - node.width / 2 for node in nodes), default=0.0)
    for node in nodes:
        node.centre -= left
    bounds, top = [], 0.0
    for row in rows:
        height = max(node.height for node in row)
        bounds.append((top, top + height))
        top += height + _GAP_BETWEEN_RANKS
    return Arrangement(
        lefts=tuple(box.centre - box.width / 2 for box in boxes),
        tops=tuple(bounds[box.rank][0] for box in boxes),
        routes=tuple(_route(chain, bounds) for chain in chains),
        width=max((node.centre + node.width / 2 for node in nodes), default=0.0),
        height=max(0.0, top - _GAP_BETWEEN_RANKS),
    )


def _route(chain: Sequence[_Node], bounds: Sequence[tuple[float, float]]) -> tuple[Point, ...]:
    """Points of one edge: it has its own points at both boxes, and passes ranks vertically."""
    begin, *between, end = chain
    points = [
        (_rim(begin, begin.below, chain[1]), bounds[begin.rank][0] + begin.height),
        (_rim(begin, begin.below, chain[1]), bounds[begin.rank][1]),
    ]
    for node in between:
        points += [(node.centre, bounds[node.rank][0]), (node.centre, bounds[node.rank][1])]
    points.append((_rim(end, end.above, chain[-2]), bounds[end.rank][0]))
    return tuple(points)


def _rim(box: _Node, neighbours: Sequence[_Node], other: _Node) -> float:
    """The position on a box's side of the edge to one of its neighbours, in the order of neighbours."""
    ordered = sorted(neighbours, key=lambda node: node.centre)
    place = next(place for place, node in enumerate(ordered) if node is other)
    return box.centre + box.width * ((place + 1) / (len(ordered) + 1) - 0.5) * 0.8
