"""The explanation of one image: its relevance, and everything that belongs to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import UsageError
from caffe_lrp.imaging.original import Original
from caffe_lrp.imaging.place import Place
from caffe_lrp.relevance.conservation import Conservation
from caffe_lrp.relevance.ranking import Ranking
from caffe_lrp.rendering.picture import render
from caffe_lrp.rendering.style import ORIGINAL, PictureStyle, picture_style

from .channels import channel_sheet
from .darkness import Darkness
from .labels import label_of
from .notebook import as_html


class ScoredClass(NamedTuple):
    """A class of the net.

    Attributes
    ----------
    class_index
        Its number, from 0.
    label
        Its label.
    score
        Its score at the net's output.
    """

    class_index: int
    label: str
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why a net scores an image as it does. All arrays are its own copies.

    Attributes
    ----------
    relevance
        (C, H, W) float32: relevance of every element of the net's input, as in ``_relevance.npy``. For
        pictures the channels are red, green, blue. If the backward pass ends above the image, the relevance
        of the blob where it ends, with that blob's channels.
    input
        (H, W, 3) uint8, RGB: what the net saw, before the mean was subtracted.
    scores
        (classes,) float32: the net's outputs, summed over positions if there are several.
    target
        The explained classes, the best one first.
    formula
        Number or name of the formula, or of the composite.
    source
        Path of the image, or a description if it was not a file.
    place
        Position of the input in the original picture.
    original
        The original: the file, or the image that was given.
    ranking
        The ranked classes, best first, and their scores.
    labels
        Labels of the classes; there may be fewer.
    layers
        Relevance at requested layers, by name, in the shape of the layer's output, such as (C, H, W).
    conservation
        The relevance that entered and left every layer; None if it was not requested.
    darkness
        Why the map is dark; None if it is not.
    is_reversed
        Whether the net has the channels of ``relevance`` in reverse order.
    scores_are_probabilities
        Whether the net ends in a Softmax.
    start_vector
        The start vector that was asked for; empty if none was.
    is_turned
        Whether an orientation tag, which is ignored, says that the original is shown turned or mirrored.
    """

    relevance: NDArray[np.float32]
    input: NDArray[np.uint8]
    scores: NDArray[np.float32]
    target: tuple[int, ...]
    formula: int | str
    source: str
    place: Place
    original: Original
    ranking: Ranking
    labels: tuple[str, ...] = ()
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    conservation: Conservation | None = None
    darkness: Darkness | None = None
    is_reversed: bool = False
    scores_are_probabilities: bool = False
    start_vector: str = ""
    is_turned: bool = False

    @property
    def relevance_of_net(self) -> NDArray[np.float32]:
        """(C, H, W): the relevance with the channels in the net's order; a view."""
        return self.relevance[::-1] if self.is_reversed else self.relevance

    @property
    def score(self) -> float:
        """Score of the explained class; of the first one if there are several."""
        return float(self.scores[self.target[0]])

    @property
    def rank(self) -> int | None:
        """Rank of the explained class, 1 for the best; None if it is not ranked."""
        places = np.flatnonzero(self.ranking.classes == self.target[0])
        return int(places[0]) + 1 if len(places) else None

    def top(self, count: int = 5) -> list[ScoredClass]:
        """The ``count`` best classes, best first; fewer if fewer are ranked."""
        classes, scores = self.ranking.classes[:count].tolist(), self.ranking.scores[:count].tolist()
        return [
            ScoredClass(index, self.label_of(index), score)
            for index, score in zip(classes, scores, strict=True)
        ]

    def heatmap(self, style: PictureStyle | None = None, **options: Any) -> Image.Image:
        """The map as a picture.

        Parameters
        ----------
        style
            How it looks, a `PictureStyle`; None: an overlay over the original in gray.
        options
            ``cmap="seismic"``, ``mode="plain"`` and so on; they replace values of the style: attributes of
            `PictureStyle` (``cmap``, ``mode``, ``size``, ``range``, ``sign``, ``pool``, ``exponent``,
            ``level``, ``opacity``, ``photo``, ``bar``; see ``help(caffe_lrp.PictureStyle)``).

        Raises
        ------
        UsageError
            There is no such option, its value is invalid, or the relevance is not a map.
        ImageError
            The original is needed, and its file is no longer there.
        """
        if style is not None and not isinstance(style, PictureStyle):
            raise UsageError(f'{style!r} is not a PictureStyle; give options by name, such as cmap="jet"')
        wanted = picture_style((style or PictureStyle()).as_json() | options)  # checks all values
        if not wanted.needs_photo:
            return render(self.relevance, wanted, place=self.place)
        photo = self.original.picture() if wanted.size == ORIGINAL else self.input
        return render(self.relevance, wanted, photo, self.place)

    def label_of(self, index: int) -> str:
        """Label of a class; "without a label" if it has none."""
        return label_of(self.labels, index)

    def score_text(self, score: float) -> str:
        """A score as a readable text: ``97.1 %`` if scores are probabilities."""
        if not self.scores_are_probabilities:
            return f"{score:.4g}"
        return "< 0.1 %" if score < 0.001 else f"{100 * score:.1f} %"

    def sheet(self, layer: str, count: int = 25, **pictures: Any) -> Image.Image:
        """A sheet of small maps: the channels of a hidden layer with the most relevance, strongest first.

        Below each map are the channel's number and its share of the magnitudes of all channels. All maps have
        the same range, so they can be compared.

        Parameters
        ----------
        layer
            Name of a layer whose relevance was kept: ``model.explain(image, layers=["conv3"])``.
        count
            The most channels that are shown.
        pictures
            Picture options, as for `heatmap`; ``mode`` is always ``plain`` and ``size`` is ``net``.

        Raises
        ------
        UsageError
            No relevance was kept there, it has no maps, or an option is invalid.
        """
        return channel_sheet(self.layers, layer, count, pictures)

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return as_html(self)

    def __repr__(self) -> str:
        """A short summary."""
        classes = ", ".join(f"{index} ({self.label_of(index)})" for index in self.target)
        rank = "not ranked" if self.rank is None else f"rank {self.rank}"
        noun = "class" if len(self.target) == 1 else "classes"
        formula = f"formula {self.formula}"
        if self.start_vector:
            formula += f", start vector {self.start_vector}"
        return (
            f"<Explanation of {noun} {classes}: score {self.score:.6g}, {rank}; {formula}; "
            f"relevance {self.relevance.shape}, sum {self.relevance.sum(dtype=np.float64):.6g}>"
        )
