"""The sheet of ``caffe-lrp explain``: a block for each image, as on sheets of finished runs."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from caffe_lrp.batch.sheets import (
    MOST_BESIDE,
    MOST_PICTURES,
    Sheet,
    common_folder,
    explained,
    formula_name,
)
from caffe_lrp.errors import ImageError
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.outputs.maps import Account
from caffe_lrp.rendering.sheet import Block, Tile, fitted, photo_block, photo_tile, sheet_of_blocks
from caffe_lrp.rendering.style import ORIGINAL, PictureStyle


@dataclass
class ExplainedSheet:
    """Collects the pictures of images that are explained one after the other.

    Attributes
    ----------
    images
        All images that will come.
    style
        How their pictures look.
    """

    images: Sequence[Path]
    style: PictureStyle
    _blocks: list[Block] = field(default_factory=list)
    _maps: int = 0
    _left_out: int = 0

    def add(self, image: Path, maps: Sequence[tuple[Explanation, bytes]]) -> None:
        """Add an image that is still there, its explanations, and the PNG files of their pictures."""
        shown = maps[:MOST_BESIDE]
        if self._maps + len(shown) > MOST_PICTURES:
            self._left_out += 1
        elif shown:
            name = str(image).removeprefix(common_folder([*map(str, self.images)]))
            self._blocks.append(photo_block(name, self._photo_of(shown[0][0]), [*map(_tile, shown)]))
            self._maps += len(shown)

    def drawn(self) -> Sheet | None:
        """Return the sheet; None without a picture."""
        if not self._blocks:
            return None
        return Sheet(sheet_of_blocks(self._blocks), len(self._blocks), self._maps, self._left_out)

    def _photo_of(self, explanation: Explanation) -> Tile | None:
        """The photo, or what the net saw, whichever is as large as the pictures."""
        if self.style.size != ORIGINAL:
            return photo_tile(explanation.input, "the net's input")
        try:
            return photo_tile(explanation.original.picture(), "photo")
        except ImageError:  # it is gone by now
            return None


def _tile(drawn: tuple[Explanation, bytes]) -> Tile:
    """A picture with its formula, its class and its score."""
    explanation, content = drawn
    account = Account(explanation.target, score=explanation.score, rank=explanation.rank)
    label = explanation.label_of(explanation.target[0]) if explanation.labels else ""
    with Image.open(io.BytesIO(content)) as picture:
        return Tile(fitted(picture), (formula_name(str(explanation.formula)), *explained(account, label)))
