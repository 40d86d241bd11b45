"""Draws the pictures of the demo: coloured shapes on textured backgrounds.

Every picture shows two or three different shapes with random rotation, size and colour, so that they
differ only in their outline. The same state of the generator gives the same picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 128
"""Width and height of a picture in pixels."""

SHAPE_COUNTS = (2, 3)
"""Fewest and most shapes in a picture."""

RADII = (16.0, 26.0)
"""Smallest and largest distance of a shape's corners from its centre, in pixels."""

GAP = 2.0
"""Least distance between the circles around two shapes, in pixels."""

LEAST_CONTRAST = 110.0
"""Distance in RGB that the colour of a shape keeps from both colours of the background."""

SUPERSAMPLING = 4
"""Shapes are drawn larger by this factor and averaged, for smooth edges."""

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outline:
    """A shape of radius 1 around (0, 0): corners (x, y) of a polygon, and of a hole in it."""

    corners: Reals
    hole: Reals | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what it shows.

    Attributes
    ----------
    pixels
        (SIDE, SIDE, 3), RGB.
    classes
        Index into `SHAPES` of every shape shown.
    masks
        (len(classes), SIDE, SIDE): how much of each pixel the shape covers, 0 to 1.
    """

    pixels: NDArray[np.uint8]
    classes: tuple[int, ...]
    masks: Reals


def _polar(angles: Reals, radii: Reals | float = 1.0) -> Reals:
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)


def _regular(corners: int) -> Reals:
    return _polar(2 * np.pi * np.arange(corners) / corners)


def _heart() -> Reals:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], axis=1) / 17


_CIRCLE = _regular(60)
_ARM = 0.32
_CROSS = np.array([(-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)])
_STAR = _polar(np.pi * np.arange(10) / 5, np.tile([1.0, 0.42], 5))

SHAPES: dict[str, Outline] = {
    "circle": Outline(_CIRCLE * 0.9),
    "ring": Outline(_CIRCLE * 0.95, hole=_CIRCLE * 0.55),
    "crescent": Outline(_CIRCLE, hole=_CIRCLE * 0.85 + np.array([0.5, 0])),
    "triangle": Outline(_regular(3)),
    "square": Outline(_regular(4)),
    "star": Outline(_STAR),
    "cross": Outline(np.concatenate([_CROSS, -_CROSS]) * 0.95),
    "heart": Outline(_heart()),
}


def draw_picture(rng: np.random.Generator) -> Picture:
    """A random picture."""
    count = int(rng.integers(SHAPE_COUNTS[0], SHAPE_COUNTS[1] + 1))
    classes = tuple(int(index) for index in rng.choice(len(SHAPES), count, replace=False))
    colours = rng.uniform(0, 255, (2, 3))
    pixels = _background(rng, colours)
    masks = np.zeros((count, SIDE, SIDE))
    outlines = list(SHAPES.values())
    for mask, index, (x, y, radius) in zip(masks, classes, _places(rng, count), strict=True):
        mask[...] = _cover(outlines[index], x, y, radius, rng.uniform(0, 2 * np.pi))
        colour = _contrasting_colour(rng, colours) + _slope(rng, 25)[..., np.newaxis]
        pixels += mask[..., np.newaxis] * (colour - pixels)
    pixels += rng.normal(0, 4, pixels.shape)
    return Picture(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), classes, masks)


def _places(rng: np.random.Generator, count: int) -> list[tuple[float, float, float]]:
    """Centres and radii (x, y, radius) of circles inside the picture that do not touch."""
    places: list[tuple[float, float, float]] = []
    while len(places) < count:
        radius = rng.uniform(*RADII)
        x, y = rng.uniform(radius, SIDE - radius, 2)
        if all(np.hypot(x - u, y - v) > radius + other + GAP for u, v, other in places):
            places.append((x, y, radius))
    return places


def _cover(outline: Outline, x: float, y: float, radius: float, turn: float) -> Reals:
    """(SIDE, SIDE): how much of each pixel is covered by the shape at (x, y), rotated by an angle."""
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, sine], [-sine, cosine]])
    canvas = Image.new("L", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    for corners, level in ((outline.corners, 255), (outline.hole, 0)):
        if corners is not None:
            placed = (corners @ rotation * radius + np.array([x, y])) * SUPERSAMPLING
            draw.polygon([(float(u), float(v)) for u, v in placed], fill=level)
    return np.asarray(canvas.reduce(SUPERSAMPLING), np.float64) / 255


def _contrasting_colour(rng: np.random.Generator, others: Reals) -> Reals:
    """A colour (3,) that is far from all ``others`` (N, 3) and from the colours between them."""
    between = np.linspace(others[0], others[1], 5)
    while True:
        colour = rng.uniform(0, 255, 3)
        if float(np.linalg.norm(between - colour, axis=1).min()) > LEAST_CONTRAST:
            return colour


def _background(rng: np.random.Generator, colours: Reals) -> Reals:
    """(SIDE, SIDE, 3): a random texture of two colours (2, 3)."""
    texture = TEXTURES[rng.integers(len(TEXTURES))](rng)[..., np.newaxis]
    pixels: Reals = colours[0] + texture * (colours[1] - colours[0]) * rng.uniform(0.3, 0.8)
    return pixels


def _slope(rng: np.random.Generator, height: float) -> Reals:
    """(SIDE, SIDE): a plane that rises in a random direction, from -height to height at most."""
    u, v = _turned_axes(rng)
    return height * (u + v) / 2


def _turned_axes(rng: np.random.Generator) -> tuple[Reals, Reals]:
    """Two coordinates from about -1 to 1 at right angles, in a random direction."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _stripes(rng: np.random.Generator) -> Reals:
    along, _ = _turned_axes(rng)
    return _wave(along * rng.uniform(10, 30))


def _checks(rng: np.random.Generator) -> Reals:
    frequency = rng.uniform(8, 25)
    u, v = _turned_axes(rng)
    return _wave(u * frequency) * _wave(v * frequency)


def _clouds(rng: np.random.Generator) -> Reals:
    cells = int(rng.integers(4, 17))
    coarse = Image.fromarray(rng.uniform(0, 1, (cells, cells)).astype(np.float32))
    return np.clip(np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64), 0, 1)


def _ripples(rng: np.random.Generator) -> Reals:
    x, y = rng.uniform(-1.5, 1.5, 2)
    u, v = _turned_axes(rng)
    return _wave(np.hypot(u - x, v - y) * rng.uniform(10, 30))


def _wave(phase: Reals) -> Reals:
    return 0.5 + 0.5 * np.sin(phase)


TEXTURES: tuple[Callable[[np.random.Generator], Reals], ...] = (_stripes, _checks, _clouds, _ripples)
