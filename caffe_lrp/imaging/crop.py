"""Which part of a picture a net sees, computed from sizes alone, in a run and when its files are read."""

from dataclasses import dataclass

from .place import Place, place_of_crop
from .resize import RESIZE_MODES, Size


@dataclass(frozen=True)
class Crop:
    """How pictures are resized and cropped.

    Attributes
    ----------
    resize_mode
        One of `resize.RESIZE_MODES`.
    base_size
        Longer side of a resized picture, in pixels.
    input_size
        Height and width of the net's input.
    """

    resize_mode: str
    base_size: int
    input_size: Size

    def resized(self, sides: Size) -> Size:
        """Height and width that a picture of ``sides`` is resized to."""
        return RESIZE_MODES[self.resize_mode](sides, self.base_size, self.input_size)

    def start(self, size: Size) -> Size:
        """First row and column of the crop in a picture resized to ``size``; below 0 where it is smaller.

        The reference takes the longer side to be as long as the base size, but it can be a pixel shorter.
        """
        starts = self.centred_start(size)
        if self.resize_mode != "reference":
            return starts
        row, column = ((self.base_size - inputs) // 2 for inputs in self.input_size)
        return (row, starts[1]) if size[0] > size[1] else (starts[0], column)

    def centred_start(self, size: Size) -> Size:
        """First row and column of a centred crop; NumPy files are always cropped like this."""
        inputs = self.input_size
        return _centred(size[0], inputs[0]), _centred(size[1], inputs[1])

    def place(self, sides: Size) -> Place:
        """The position of the net's input in a picture of ``sides``."""
        size = self.resized(sides)
        return place_of_crop(sides, size, self.start(size), self.input_size)

    def place_of_levels(self, sides: Size) -> Place:
        """The position of the net's input in a NumPy file or a finished input, which is not resized."""
        return place_of_crop(sides, sides, self.centred_start(sides), self.input_size)


def _centred(side: int, inputs: int) -> int:
    return (side - inputs) // 2 if side >= inputs else -((inputs - side) // 2)
