"""The table of colour maps: the toolbox's, the ones of matplotlib that it uses, and zennit's.

How relevance becomes a position is not decided here. Differences from the originals: some maps of the toolbox
divide by the largest signed value and let larger magnitudes overflow, but here they get values between −1 and
1 like all others; ``gray-red2`` neither blanks large values nor drops negative ones. Sources: LRP Toolbox,
``python/render.py``; matplotlib, ``_cm.py``; zennit, ``cmap.py``.
"""

from collections.abc import Mapping
from functools import cache

from caffe_lrp.messages import did_you_mean

from .cmsl import compile_map
from .colour_map import ColourMap, of_nodes

_REVERSED = "_r"
_TABLE_STEPS = 256

_Colour = tuple[float, float, float]
_Nodes = list[tuple[float, _Colour]]

_BLACK, _WHITE, _RED, _BLUE = (0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 0, 1)

#: The toolbox's maps; 0.5 is relevance 0.
_TOOLBOX: dict[str, _Nodes] = {
    "gray-red": [(0, _BLUE), (0.5, (0.8, 0.8, 0.8)), (1, _RED)],
    "gray-red2": [
        (0, (0, 0, 0.4)),
        (0.35, (0.4, 0.4, 0.9)),
        (0.5, (0.9, 0.9, 0.9)),
        (0.65, (0.9, 0.4, 0.4)),
        (1, (0.4, 0, 0)),
    ],
    "black-green": [(0, _BLUE), (0.5, _BLACK), (1, (0, 1, 0))],
    "blue-black-yellow": [(0, _BLUE), (0.5, _BLACK), (1, (1, 1, 0))],
    "black-firered": [
        (0, _WHITE),
        (0.25, (0, 1, 1)),
        (0.375, _BLUE),
        (0.5, _BLACK),
        (0.625, _RED),
        (0.75, (1, 1, 0)),
        (1, _WHITE),
    ],
}

#: Maps of matplotlib, each a table of 256 colours; diverging maps come first.
_DIVERGING_TABLES: dict[str, _Nodes] = {
    "seismic": [(0, (0, 0, 0.3)), (0.25, _BLUE), (0.5, _WHITE), (0.75, _RED), (1, (0.5, 0, 0))],
    "bwr": [(0, _BLUE), (0.5, _WHITE), (1, _RED)],
}
_TABLES: dict[str, _Nodes] = {
    "afmhot": [(0, _BLACK), (0.25, (0.5, 0, 0)), (0.5, (1, 0.5, 0)), (0.75, (1, 1, 0.5)), (1, _WHITE)],
    "gray": [(0, _BLACK), (1, _WHITE)],
    "binary": [(0, _WHITE), (1, _BLACK)],
}
_JET = ColourMap(
    (
        ((0, 0), (0.35, 0), (0.66, 1), (0.89, 1), (1, 0.5)),
        ((0, 0), (0.125, 0), (0.375, 1), (0.64, 1), (0.91, 0), (1, 0)),
        ((0, 0.5), (0.11, 1), (0.34, 1), (0.65, 0), (1, 0)),
    ),
    has_middle=True,
    steps=_TABLE_STEPS,
)
_HOT = ColourMap(
    (
        ((0, 0.0416), (0.365079, 1), (1, 1)),
        ((0, 0), (0.365079, 0), (0.746032, 1), (1, 1)),
        ((0, 0), (0.746032, 0), (1, 1)),
    ),
    has_middle=False,
    steps=_TABLE_STEPS,
)

_ZENNIT = {
    "gray": "000,fff",
    "wred": "fff,f00",
    "wblue": "fff,00f",
    "hot": "000,f00,ff0,fff",
    "cold": "000,00f,0ff",
    "coldnhot": "0ff,00f,80:000,f00,ff0,fff",
    "bwr": "00f,80:fff,f00",
    "france": "0055a4,80:fff,ef4135",
    "seismic": "0000d0,80:d0d0d0,d00000",
    "coolio": "00d0d0,80:d0d0d0,d000d0",
    "coleus": "00d000,80:d0d0d0,d000d0",
}

#: Name -> map. ``_r`` after a name reverses the map.
COLOUR_MAPS: Mapping[str, ColourMap] = {
    **{name: of_nodes(nodes, has_middle=True) for name, nodes in _TOOLBOX.items()},
    "jet": _JET,
    **{
        name: of_nodes(nodes, has_middle=True, steps=_TABLE_STEPS)
        for name, nodes in _DIVERGING_TABLES.items()
    },
    "hot": _HOT,
    **{name: of_nodes(nodes, has_middle=False, steps=_TABLE_STEPS) for name, nodes in _TABLES.items()},
    **{f"zennit-{name}": compile_map(text) for name, text in _ZENNIT.items()},
}


@cache
def find_colour_map(text: str) -> ColourMap:
    """Return the map with a name, reversed if ``_r`` follows, or the map that a text describes (see `cmsl`).

    Raises
    ------
    ValueError
        There is no such map; the message says why.
    """
    if text in COLOUR_MAPS:
        return COLOUR_MAPS[text]
    if text.removesuffix(_REVERSED) in COLOUR_MAPS:
        return COLOUR_MAPS[text.removesuffix(_REVERSED)].reversed
    if "," in text:
        return compile_map(text)
    suggestion = did_you_mean(text, COLOUR_MAPS) or f"; there are {', '.join(COLOUR_MAPS)}"
    raise ValueError(
        f"is not a colour map{suggestion} (_r after a name reverses it; colours can also be "
        "written as text, such as 00f,80:fff,f00)"
    )
