"""The explanation of one image: relevance, and all that belongs to it."""

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
        Which, from 0.
    label
        What it is called.
    score
        What the net's output says of it.
    """

    class_index: int
    label: str
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why a net scores an image as it does. All arrays are its own.

    Attributes
    ----------
    relevance
        (C, H, W) float32: relevance of every input of the net, as in ``_relevance.npy``: for pictures the
        channels are red, green, blue. Where the way ends above the image, that of the blob it ends at, its
        channels as they are there.
    input
        (H, W, 3) uint8, RGB: what the net saw, before the mean was subtracted.
    scores
        (classes,) float32: the net's outputs; of outputs at several positions, their sums.
    target
        The classes explained, the best of them first.
    formula
        Number or name of the formula, or of the composite.
    source
        Path of the image, or in words what else it was.
    place
        Where the input lay in the original picture.
    original
        The original: the file it was read from, or the image that was given.
    ranking
        Classes, best first, and their scores: those that are ranked.
    labels
        Labels of the classes; there may be fewer.
    layers
        Relevance at layers that were asked for, by their names: (C, H, W) or whatever shape the layer's
        output has.
    conservation
        What entered and left every layer; None where nobody asked for it.
    darkness
        Why the map says nothing; None if it says something.
    is_reversed
        Whether the net has the channels of ``relevance`` the other way round.
    scores_are_probabilities
        Whether the net ends in a Softmax.
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

    @property
    def relevance_of_net(self) -> NDArray[np.float32]:
        """(C, H, W): the relevance with the channels in the net's order; a view."""
        return self.relevance[::-1] if self.is_reversed else self.relevance

    @property
    def score(self) -> float:
        """Score of the class explained; of several, that of the first."""
        return float(self.scores[self.target[0]])

    @property
    def rank(self) -> int | None:
        """Place of the class explained, from 1 for the best; None for one that is not ranked."""
        places = np.flatnonzero(self.ranking.classes == self.target[0])
        return int(places[0]) + 1 if len(places) else None

    def top(self, count: int = 5) -> list[ScoredClass]:
        """The best classes, best first: ``count`` of them, or as many as are ranked."""
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
            How it is to look, a `PictureStyle`; None: an overlay over the original in gray.
        options
            ``cmap="seismic"``, ``mode="plain"`` and so on, in place of what the style says: attributes of
            `PictureStyle` (``cmap``, ``mode``, ``size``, ``range``, ``sign``, ``pool``, ``exponent``,
            ``level``, ``opacity``, ``photo``, ``bar``; see ``help(caffe_lrp.PictureStyle)``).

        Raises
        ------
        UsageError
            There is no such option, its value means nothing, or the relevance is no map.
        ImageError
            The original is needed, and its file is no longer there.
        """
        if style is not None and not isinstance(style, PictureStyle):
            raise UsageError(f'{style!r} is not a PictureStyle; options are named, such as cmap="jet"')
        wanted = picture_style((style or PictureStyle()).as_json() | options)  # all of it may be wrong
        if not wanted.needs_photo:
            return render(self.relevance, wanted, place=self.place)
        photo = self.original.picture() if wanted.size == ORIGINAL else self.input
        return render(self.relevance, wanted, photo, self.place)

    def label_of(self, index: int) -> str:
        """Label of a class; "without a label" where it has none."""
        return label_of(self.labels, index)

    def score_text(self, score: float) -> str:
        """A score for people: ``97.1 %`` where scores are probabilities."""
        if not self.scores_are_probabilities:
            return f"{score:.4g}"
        return "< 0.1 %" if score < 0.001 else f"{100 * score:.1f} %"

    def sheet(self, layer: str, count: int = 25, **pictures: Any) -> Image.Image:
        """A sheet of small maps: the channels of an inner layer that carry most relevance, strongest first.

        Below each stand its number and what it carries, of what all channels do, signs aside. All maps have
        one range, so that they can be compared.

        Parameters
        ----------
        layer
            Name of a layer whose relevance was kept: ``model.explain(image, layers=["conv3"])``.
        count
            Channels that are shown, at most.
        pictures
            Picture options, as of `heatmap`; ``mode`` is always ``plain`` and ``size`` is ``net``.

        Raises
        ------
        UsageError
            No relevance was kept there, or it has no maps; or an option cannot be meant.
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
        return (
            f"<Explanation of {noun} {classes}: score {self.score:.6g}, {rank}; formula {self.formula}; "
            f"relevance {self.relevance.shape}, sum {self.relevance.sum(dtype=np.float64):.6g}>"
        )
