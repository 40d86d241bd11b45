"""Colour maps written as text, in zennit's colour map specification language (CMSL).

``00f,80:fff,f00`` is blue at the lower end, white in the middle and red at the upper end: colours of three or
six hexadecimal digits, separated by commas. Each colour may be preceded by a place from 00 to ff and a colon.
Colours without a place are spaced evenly between their neighbours.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from .colour_map import ColourMap, of_nodes

_LAST_PLACE = 255
#: The place of relevance 0 in a map with colours for both signs.
_MIDDLE = 128

#: Longer alternatives come first.
_WORDS = re.compile(r"([0-9a-fA-F]{6}|[0-9a-fA-F]{3}|[0-9a-fA-F]{1,2})|([:,])|\s+")


@dataclass(frozen=True)
class _Node:
    """A colour from 0 to 1, and its place, which may not be known yet."""

    place: int | None
    colour: tuple[float, ...]


def compile_map(text: str) -> ColourMap:
    """The colour map that a text describes; positions are places / 255.

    Raises
    ------
    ValueError
        The text is not a colour map; the message says why.
    """
    nodes = _placed(list(_nodes(_words(text))))
    has_middle = any(node.place == _MIDDLE for node in nodes)
    points = [((node.place or 0) / _LAST_PLACE, node.colour) for node in nodes]
    # The last node's colour continues to the end of the map.
    points.append(((_LAST_PLACE + 1) / _LAST_PLACE, nodes[-1].colour))
    return of_nodes(points, has_middle=has_middle)


def _words(text: str) -> list[str]:
    """Hexadecimal numbers, colons and commas."""
    words, place = [], 0
    while place < len(text):
        match = _WORDS.match(text, place)
        if match is None:
            raise ValueError(f"has '{text[place]}', which is not part of a colour; colours look like f00")
        if match.lastindex:
            words.append(match[0])
        place = match.end()
    return words


def _nodes(words: list[str]) -> Iterator[_Node]:
    """The nodes between commas; a comma at the end is allowed."""
    while words:
        place: int | None = None
        if words[1:2] == [":"]:
            if len(words[0]) > 2:
                raise ValueError(f"has the position '{words[0]}'; positions are numbers from 00 to ff")
            place, words = int(_doubled(words[0]), 16), words[2:]
        if not words or len(words[0]) not in (3, 6):
            what = f"'{words[0]}' where" if words else "nothing where"
            raise ValueError(f"has {what} a colour of three or six digits is needed, such as f00")
        yield _Node(place, _colour(words[0]))
        if words[1:2] not in ([","], []):
            raise ValueError(f"has no comma after '{words[0]}'")
        words = words[2:]


def _doubled(digits: str) -> str:
    return digits * 2 if len(digits) == 1 else digits


def _colour(digits: str) -> tuple[float, ...]:
    width = len(digits) // 3
    parts = (digits[start : start + width] for start in range(0, len(digits), width))
    return tuple(int(_doubled(part), 16) / _LAST_PLACE for part in parts)


def _placed(nodes: list[_Node]) -> list[_Node]:
    """All nodes with places, from 0 on, in ascending order."""
    if len(nodes) < 2:
        raise ValueError("has fewer than two colours; give at least two, separated by commas")
    if nodes[-1].place is None:
        nodes[-1] = replace(nodes[-1], place=_LAST_PLACE)
    if nodes[0].place != 0:
        first = replace(nodes[0], place=0)
        nodes = [first, *nodes] if nodes[0].place else [first, *nodes[1:]]
    known = [number for number, node in enumerate(nodes) if node.place is not None]
    placed = [nodes[0]]
    for lower, upper in pairwise(known):
        start, end = nodes[lower].place or 0, nodes[upper].place or 0
        if end < start:
            raise ValueError(f"has the position {end:02x} after {start:02x}; positions must increase")
        for number in range(lower + 1, upper):
            share = (number - lower) / (upper - lower)
            placed.append(replace(nodes[number], place=int(start * (1 - share) + end * share)))
        placed.append(nodes[upper])
    return placed
