"""Settings for encoding explanations, common to all kinds of files."""

from dataclasses import dataclass
from typing import Literal

from caffe_lrp.rendering.style import DEFAULT_STYLE, PictureStyle

Dtype = Literal["float32", "float16"]

#: Number of best classes in files.
LIST_LENGTH = 10


@dataclass(frozen=True)
class Encoding:
    """Settings shared by all files of a run.

    Attributes
    ----------
    dtype
        Type of relevance, in files that support several.
    description
        Description of the run (net, formula, settings), as JSON.
    picture
        The style of rendered pictures.
    """

    dtype: Dtype = "float32"
    description: str = ""
    picture: PictureStyle = DEFAULT_STYLE
