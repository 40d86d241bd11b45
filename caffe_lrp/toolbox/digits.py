"""Generated pictures of digits, to train on: characters of several fonts, distorted at random.

Fonts are the one that Pillow contains and OpenCV's. Nothing is downloaded, and a seed makes the same pictures
again. They are easier than handwriting.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from caffe_lrp.errors import UsageError

Pixels = NDArray[np.uint8]

SIDE = 28
#: Characters are drawn large and then reduced.
_LARGE = 112
_HEIGHT = 70
_OPENCV_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SIMPLEX | cv2.FONT_ITALIC,
    cv2.FONT_HERSHEY_COMPLEX | cv2.FONT_ITALIC,
)
_STROKES = (3, 6, 9, 12)


@dataclass(frozen=True)
class Distortion:
    """The largest distortions.

    Attributes
    ----------
    rotation
        In degrees, in both directions.
    scale
        Change of width and of height, each by itself.
    shear
        Horizontal shift per row.
    shift
        In pixels of the finished picture, in both directions.
    noise
        Standard deviation of grey levels.
    """

    rotation: float = 15.0
    scale: float = 0.2
    shear: float = 0.25
    shift: float = 2.5
    noise: float = 12.0


USUAL = Distortion()


def make_digits(
    count: int, seed: int = 0, distortion: Distortion = USUAL
) -> tuple[Pixels, NDArray[np.int64]]:
    """Pictures of digits, (count, 28, 28) with grey levels from 0, the background, to 255; and the digits.

    All digits come equally often, in random order.

    Raises
    ------
    UsageError
        There would be no pictures.
    """
    if count < 1:
        raise UsageError(f"{count} digits cannot be made; ask for at least one")
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % 10)
    pictures = np.empty((count, SIDE, SIDE), np.uint8)
    for number, label in enumerate(labels):
        glyphs = _glyphs(int(label))
        glyph = glyphs[random.integers(len(glyphs))]
        pictures[number] = _distorted(glyph, distortion, random)
    return pictures, labels


def as_inputs(pictures: Pixels) -> NDArray[np.float32]:
    """Grey levels as the toolbox's nets take them: from −1, the background, to 1."""
    return (pictures / np.float32(127.5) - 1).astype(np.float32)


def as_maps(pictures: Pixels, border: int = 2) -> NDArray[np.float32]:
    """Pictures (N, 28, 28) as inputs (N, 32, 32, 1): grey levels from −1 to 1, with a border of −1."""
    sides = ((0, 0), (border, border), (border, border))
    return np.pad(as_inputs(pictures), sides, constant_values=-1)[..., np.newaxis]


def as_vectors(pictures: Pixels) -> NDArray[np.float32]:
    """Pictures (N, 28, 28) as inputs (N, 784): grey levels from −1 to 1."""
    return as_inputs(pictures).reshape(len(pictures), -1)


@cache
def _glyphs(digit: int) -> tuple[Pixels, ...]:
    """A digit in every font and stroke, in the middle of a large picture."""
    drawn = [_by_opencv(str(digit), font, stroke) for font in _OPENCV_FONTS for stroke in _STROKES]
    return (*drawn, *(_by_pillow(str(digit), stroke) for stroke in range(3)))


def _by_opencv(text: str, font: int, stroke: int) -> Pixels:
    canvas = np.zeros((3 * _LARGE, 3 * _LARGE), np.uint8)
    scale = cv2.getFontScaleFromHeight(font, _HEIGHT, stroke)
    cv2.putText(canvas, text, (_LARGE, 2 * _LARGE), font, scale, 255, stroke, cv2.LINE_AA)
    return _centred(canvas)


def _by_pillow(text: str, stroke: int) -> Pixels:
    picture = Image.new("L", (3 * _LARGE, 3 * _LARGE))
    font = ImageFont.load_default(_HEIGHT * 1.3)
    ImageDraw.Draw(picture).text((_LARGE, _LARGE), text, fill=255, font=font, stroke_width=stroke)
    return _centred(np.asarray(picture))


def _centred(canvas: Pixels) -> Pixels:
    """What is drawn, in the middle of a picture, as high as all others."""
    left, top, width, height = cv2.boundingRect(canvas)
    drawn = canvas[top : top + height, left : left + width]
    size = (max(1, round(width * _HEIGHT / height)), _HEIGHT)
    scaled = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    found = np.zeros((_LARGE, _LARGE), np.uint8)
    y, x = (_LARGE - scaled.shape[0]) // 2, (_LARGE - scaled.shape[1]) // 2
    found[y : y + scaled.shape[0], x : x + scaled.shape[1]] = scaled
    return found


def _distorted(glyph: Pixels, most: Distortion, random: np.random.Generator) -> Pixels:
    angle, across, down, shear, right, below = random.uniform(-1, 1, 6)
    turn = np.deg2rad(most.rotation * angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    stretch = np.array([[1 + most.scale * across, most.shear * shear], [0, 1 + most.scale * down]])
    matrix = rotation @ stretch * (SIDE / _LARGE)
    middle = (SIDE - 1) / 2 + most.shift * np.array([right, below])
    offset = middle - matrix @ np.full(2, (_LARGE - 1) / 2)
    whole = np.column_stack([matrix, offset])
    # Blurred first: the picture becomes a quarter as large, and single pixels would be skipped.
    soft = cv2.GaussianBlur(glyph, (0, 0), 1.8)
    small = cv2.warpAffine(soft, whole, (SIDE, SIDE), flags=cv2.INTER_LINEAR).astype(np.float32)
    small *= 255 / max(1.0, float(small.max()))
    small += random.normal(0, most.noise, small.shape) * (small > 0)
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)
