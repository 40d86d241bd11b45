"""An entry of the zoo's table."""

from collections.abc import Callable
from dataclasses import dataclass

from zoo_text import Sketch


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a net.

    Attributes
    ----------
    mean
        Mean value of every channel, blue first.
    scale
        Factor of differences from the mean.
    resize
        How images are resized, as in configs.
    """

    mean: tuple[float, ...]
    scale: float = 1
    resize: str = "short-side"


BVLC = Preprocessing((104.007, 116.669, 122.679), resize="stretch")
"""The means of Caffe's imagenet_mean.binaryproto; its images are 256 pixels wide and high."""

VGG = Preprocessing((103.939, 116.779, 123.68))
RESNET = Preprocessing((103.063, 115.903, 123.152))
"""The means of ResNet_mean.binaryproto."""

SENET = Preprocessing((104, 117, 123))
SMALL = Preprocessing((103.94, 116.78, 123.68), 0.017)
CENTRED = Preprocessing((128, 128, 128), 0.0078125)
FACES = Preprocessing((78.426, 87.769, 114.896), resize="stretch")
"""The means of the authors' mean.binaryproto."""

DIGITS = Preprocessing((0,), 0.00390625, resize="stretch")
FCN = Preprocessing((104.007, 116.669, 122.679), resize="reference")


@dataclass(frozen=True, kw_only=True)
class ZooNet:
    """A net of the zoo.

    Attributes
    ----------
    title
        Its usual name.
    source
        Authors, title, place and year of the publication.
    name
        Its name in the prototxt.
    build
        Function that adds the layers.
    side
        Height and width of the input in pixels.
    preprocessing
        How an image becomes the input.
    weights
        File name of the weights; the published one, if layers have the names of published weights.
    switch
        Name of the layer up to which formulas with a lower rule apply it.
    notes
        Further information for users, one sentence or more.
    channels, classes, labels
        Channels of the input, number of scores, and the file with their labels, from ``configs/zoo/``.
    resized
        Side of an image after resizing, see `Preprocessing.resize`; the input is its centre.
    folder
        Folder of prototxt and weights, relative to ``configs/zoo/``.
    """

    title: str
    source: str
    name: str
    build: Callable[[Sketch], None]
    side: int
    preprocessing: Preprocessing
    weights: str
    switch: str
    notes: str = ""
    channels: int = 3
    classes: int = 1000
    labels: str = "../synset_words.txt"
    resized: int = 256
    folder: str = ""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.side, self.side
