"""The options for pictures, with the same names on the command line, in configs and in Python.

Help and configs need them before anything is drawn, so NumPy is loaded here only to look up a colour map.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from caffe_lrp.errors import UsageError
from caffe_lrp.messages import did_you_mean

if TYPE_CHECKING:
    from .colour_map import ColourMap

SYMMETRIC, POSITIVE = "symmetric", "positive"
PLAIN, OVERLAY, ALPHA, OUTLINE, SIDE = "plain", "overlay", "alpha", "outline", "side"
NET, ORIGINAL = "net", "original"
GRAY, COLOUR = "gray", "colour"
ROBUST, LARGEST = "robust", "max"

POOLS = ("sum", "mean", "l2", "linf", "abs-sum", "positive")
MODES = (PLAIN, OVERLAY, ALPHA, OUTLINE, SIDE)
SIGNS = (SYMMETRIC, POSITIVE)
SIZES = (NET, ORIGINAL)
PHOTOS = (GRAY, COLOUR)

_PERCENTILE = re.compile(r"percentile:([0-9]{1,3}(\.[0-9]{1,6})?)")
#: Default exponents: for the opacity of overlays, and for colours.
_EXPONENT_OF_OPACITY, _EXPONENT_OF_COLOURS = 0.5, 1.0
_LARGEST_NUMBER = 1e30


@dataclass(frozen=True, kw_only=True)
class PictureStyle:
    """How relevance becomes a picture.

    Attributes
    ----------
    cmap
        Colour map: its name (``_r`` after it reverses it), or a text such as ``00f,80:fff,f00``.
    pool
        How a pixel's channels are pooled: by their ``sum``, ``mean``, Euclidean norm (``l2``), largest
        magnitude (``linf``), or the sum of their magnitudes (``abs-sum``) or positive parts (``positive``).
    range
        The relevance shown at full strength: the largest magnitude in the map (``max``); a percentile of the
        magnitudes (``percentile:99``), or the largest if that is 0; ten times the cube root of the mean
        cubed magnitude (``robust``); or a number.
    sign
        ``symmetric``: both signs, with 0 in the middle of the colour map. ``positive``: negative relevance
        counts as 0, which is at the beginning of the colour map, or in its middle if it has one. None:
        chosen to suit the colour map.
    mode
        ``plain``: colours alone. ``overlay``: colours over the photo, more opaque where relevance is larger.
        ``alpha``: the photo, darker where there is less evidence for the class. ``outline``: colours, and
        the edges of the photo in black. ``side``: the photo and the colours side by side.
    exponent
        Exponent of the strength, before it becomes opacity in ``overlay`` and ``alpha`` (None: 0.5) or a
        colour in the other modes (None: 1).
    level
        Factor of the strength: with 2, half of the range already gets the strongest colour.
    opacity
        Opacity of the strongest relevance in ``overlay`` and ``alpha``, from 0 to 1.
    photo
        How ``overlay`` and ``alpha`` show the photo: in ``gray``, so that all colours are relevance, or in
        ``colour``.
    size
        ``original``: the size of the photo, with the map where the net saw it; ``net``: the input's size.
    bar
        Whether to draw a colour bar next to the picture.
    """

    cmap: str = "bwr"
    pool: str = "sum"
    range: str | float = "percentile:99"
    sign: str | None = None
    mode: str = OVERLAY
    exponent: float | None = None
    level: float = 1.0
    opacity: float = 0.75
    photo: str = GRAY
    size: str = ORIGINAL
    bar: bool = False

    @property
    def is_positive(self) -> bool:
        """Whether negative relevance counts as 0."""
        if self.mode == ALPHA:
            return True
        if self.sign is None:
            return not _colour_map_called(self.cmap).has_middle
        return self.sign == POSITIVE

    @property
    def exponent_in_force(self) -> float:
        """The exponent; the default of the mode if none is given."""
        if self.exponent is not None:
            return self.exponent
        return _EXPONENT_OF_OPACITY if self.is_blended else _EXPONENT_OF_COLOURS

    @property
    def is_blended(self) -> bool:
        """Whether the strength sets the opacity."""
        return self.mode in (OVERLAY, ALPHA)

    @property
    def needs_photo(self) -> bool:
        """Whether a picture shows more than the map."""
        return self.mode != PLAIN

    def as_json(self) -> dict[str, Any]:
        """All values, ready for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


DEFAULT_STYLE = PictureStyle()


@dataclass(frozen=True)
class PictureOption:
    """An option for pictures.

    Attributes
    ----------
    name
        Its attribute of `PictureStyle`.
    parse
        Parses its value from a text; a ValueError says what is wrong.
    metavar
        Name of its value in the help; empty for an on/off option.
    help
        Its help text, in a few words.
    """

    name: str
    parse: Callable[[str], Any]
    metavar: str
    help: str

    @property
    def is_flag(self) -> bool:
        """Whether it is an on/off option."""
        return not self.metavar


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}{did_you_mean(text, choices)}")
        return text

    return parse


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return value

    return parse


def _colour_map_called(name: str) -> "ColourMap":
    from .colour_maps import find_colour_map  # noqa: PLC0415 - loads NumPy

    return find_colour_map(name)


def _colour_map(text: str) -> str:
    _colour_map_called(text)
    return text


def _range(text: str) -> str | float:
    if text in (LARGEST, ROBUST) or (percentile_of(text) or 0) > 0:
        return text
    try:
        return _number(1 / _LARGEST_NUMBER, _LARGEST_NUMBER)(text)
    except ValueError:
        words = f"{LARGEST}, {ROBUST}, percentile:P with P above 0 and up to 100, or a number above 0"
        raise ValueError(f"must be {words}") from None


def percentile_of(value: str | float) -> float | None:
    """P of ``percentile:P``; None for other ranges."""
    match = _PERCENTILE.fullmatch(str(value))
    return float(match[1]) if match and float(match[1]) <= 100 else None


def _switch(text: str) -> bool:
    return _one_of(("true", "false"))(text.lower()) == "true"


def _words(choices: tuple[str, ...], default: str) -> str:
    """The choices for the help, with the default marked."""
    return ", ".join(f"{choice} (default)" if choice == default else choice for choice in choices)


_D = DEFAULT_STYLE
#: In the order of the help.
PICTURE_OPTIONS = (
    PictureOption("cmap", _colour_map, "NAME", f"colour map (default {_D.cmap}); --cmap help lists them"),
    PictureOption("mode", _one_of(MODES), "MODE", _words(MODES, _D.mode)),
    PictureOption("size", _one_of(SIZES), "SIZE", f"{NET}, or {ORIGINAL} (default): that of the photo"),
    PictureOption("range", _range, "RANGE", f"{LARGEST}, {ROBUST}, a number, or percentile:P (default 99)"),
    PictureOption("sign", _one_of(SIGNS), "SIGN", f"{SYMMETRIC} or {POSITIVE} (default: suits the map)"),
    PictureOption("pool", _one_of(POOLS), "POOL", f"of channels: {', '.join(POOLS)}"),
    PictureOption("exponent", _number(0, 10), "X", "of the strength; less shows more (default 0.5 or 1)"),
    PictureOption("level", _number(0, 1000), "X", f"factor of the strength (default {_D.level:g})"),
    PictureOption(
        "opacity", _number(0, 1), "X", f"of the strongest relevance, 0 to 1 (default {_D.opacity:g})"
    ),
    PictureOption("photo", _one_of(PHOTOS), "HOW", f"under an overlay: {_words(PHOTOS, _D.photo)}"),
    PictureOption("bar", _switch, "", "add a colour bar"),
)


def picture_style(given: Mapping[str, Any], base: PictureStyle = DEFAULT_STYLE) -> PictureStyle:
    """Return a style with some values replaced; the new values may be strings.

    Raises
    ------
    UsageError
        There is no such option, or a value is invalid; ``setting`` names it.
    """
    known = {option.name: option for option in PICTURE_OPTIONS}
    values = {}
    for name, value in given.items():
        if name not in known:
            raise UsageError(f"there is no picture option '{name}'{did_you_mean(name, known)}", setting=name)
        if value is None:
            continue
        try:
            values[name] = known[name].parse(str(value))
        except ValueError as error:
            raise UsageError(f"{value!r} {error}", setting=name) from None
    return replace(base, **values)
