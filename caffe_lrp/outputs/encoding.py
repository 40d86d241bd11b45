"""The encoding of explanations, common to all kinds of files."""

from dataclasses import dataclass
from typing import Literal

from caffe_lrp.rendering.style import DEFAULT_STYLE, PictureStyle

Dtype = Literal["float32", "float16"]

#: Classes that files name, best first.
LIST_LENGTH = 10


@dataclass(frozen=True)
class Encoding:
    """What all files of a run have in common.

    Attributes
    ----------
    dtype
        Of relevance, where files have a choice.
    description
        Description of the run (net, formula, settings), as a JSON text.
    picture
        How rendered pictures look.
    """

    dtype: Dtype = "float32"
    description: str = ""
    picture: PictureStyle = DEFAULT_STYLE
