"""The table of output files, and the function that writes those that are wanted.

A new kind of file is one row. Source: spec/reference.md §7.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from caffe_lrp.imaging.render import heatmap_picture

from .arrays import Dtype, npy_file, npz_file
from .atomic import write_atomically
from .png import encode_png
from .result import HeatmapResult
from .text import raw_heatmap, top_scores

OutputKind = Literal["heatmap", "input", "top10", "npy", "npz", "rawhm"]


class Output(NamedTuple):
    """One kind of file: what its name ends with, and its content, of numbers of the type asked for."""

    suffix: str
    encode: Callable[[HeatmapResult, Dtype], bytes]


#: In the order of writing. The raw heatmap comes last: where it is, the others are complete.
OUTPUTS: dict[OutputKind, Output] = {
    "heatmap": Output("_heatmap.png", lambda result, _: encode_png(heatmap_picture(result.relevance))),
    "input": Output("_as_inputted_into_the_dnn.png", lambda result, _: encode_png(result.picture)),
    "top10": Output(
        "_top10scores.txt", lambda result, _: top_scores(result.ranked_classes, result.ranked_scores)
    ),
    "npy": Output("_relevance.npy", npy_file),
    "npz": Output("_relevance.npz", npz_file),
    "rawhm": Output("_rawhm.txt", lambda result, _: raw_heatmap(result.relevance, is_image=result.is_image)),
}


def write_outputs(
    stem: str,
    result: HeatmapResult,
    kinds: Sequence[OutputKind],
    dtype: Dtype = "float32",
    root: Path | None = None,
) -> None:
    """Write the files of ``kinds`` for one image, folders included, each one atomically.

    Parameters
    ----------
    stem
        Output path up to the suffix: folder and file name of the image.
    result
        What to write.
    kinds
        Which files, in any order; they are written in the order of ``OUTPUTS``.
    dtype
        Of the relevance in ``npy`` and ``npz``.
    root
        Folder that no file may lie outside of; None: that does not matter.

    Raises
    ------
    ImageError
        A file cannot be written (disk full, no permission, a file where a folder should be, a link that
        leads out of ``root``), or a number is too large for ``dtype``. Files written before remain.
    """
    for kind, output in OUTPUTS.items():
        if kind in kinds:
            write_atomically(Path(stem + output.suffix), output.encode(result, dtype), root)
