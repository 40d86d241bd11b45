"""The position of the net's input in the original picture."""

from dataclasses import dataclass

#: Height and width, or row and column.
_Pair = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """The part of a picture that the net's input shows.

    Pixels are areas: pixel (r, c) of the picture covers r to r + 1 vertically and c to c + 1 horizontally.
    So pixel (row, column) of an input of H x W pixels shows the rows from
    ``top + row * (bottom - top) / H`` to ``top + (row + 1) * (bottom - top) / H`` of the original. Columns
    work the same way.

    Attributes
    ----------
    height, width
        Size of the original in pixels, as it is stored, since orientation tags are ignored. For a finished
        input or a NumPy file the original is the array.
    top, left, bottom, right
        Edges of the input, in pixels of the original; outside of it where edges were replicated.
    """

    height: int
    width: int
    top: float
    left: float
    bottom: float
    right: float


def place_of_crop(original: _Pair, resized: _Pair, start: _Pair, inputs: _Pair) -> Place:
    """The position in the original of an input that was cropped from a resized picture.

    Parameters
    ----------
    original, resized
        Height and width before and after resizing; resizing maps edges to edges.
    start
        First row and column of the crop in the resized picture; less than 0 where edges were replicated.
    inputs
        Height and width of the crop.
    """
    edges = [
        (
            start[axis] * original[axis] / resized[axis],
            (start[axis] + inputs[axis]) * original[axis] / resized[axis],
        )
        for axis in (0, 1)
    ]
    (top, bottom), (left, right) = edges
    return Place(*original, top, left, bottom, right)
