"""The table of output files, and the function that writes those that are wanted.

A new kind of file is one row. Source: spec/reference.md §7.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, cast

from caffe_lrp.files.atomic import write_atomically
from caffe_lrp.rendering.heatmap import heatmap_picture
from caffe_lrp.rendering.png import encode_png

from .arrays import Dtype, npy_file, npz_file
from .layers import is_layer_kind, layer_file, layer_suffix
from .result import HeatmapResult
from .text import raw_heatmap, top_scores

OutputKind = Literal["heatmap", "input", "top10", "npy", "npz", "conservation", "rawhm"]


class Output(NamedTuple):
    """One kind of file: what its name ends with, and its content, of numbers of the type asked for."""

    suffix: str
    encode: Callable[[HeatmapResult, Dtype], bytes]


#: In the order of writing, behind relevance at layers. The raw heatmap comes last: where it is, the others
#: are complete.
OUTPUTS: dict[OutputKind, Output] = {
    "heatmap": Output("_heatmap.png", lambda result, _: encode_png(heatmap_picture(result.relevance))),
    "input": Output("_as_inputted_into_the_dnn.png", lambda result, _: encode_png(result.picture)),
    "top10": Output(
        "_top10scores.txt", lambda result, _: top_scores(result.ranked_classes, result.ranked_scores)
    ),
    "npy": Output("_relevance.npy", npy_file),
    "npz": Output("_relevance.npz", npz_file),
    "conservation": Output("_conservation.json", lambda result, _: result.conservation.encode()),
    "rawhm": Output("_rawhm.txt", lambda result, _: raw_heatmap(result.relevance, is_image=result.is_image)),
}


def file_kinds(outputs: Iterable[str]) -> tuple[str, ...]:
    """Those of ``outputs`` that are files of every image, in the order of writing."""
    wanted = list(dict.fromkeys(outputs))
    return (*filter(is_layer_kind, wanted), *(kind for kind in OUTPUTS if kind in wanted))


def output_of(kind: str) -> Output:
    """One of the kinds that `file_kinds` gives."""
    if is_layer_kind(kind):
        return Output(layer_suffix(kind), partial(layer_file, kind))
    return OUTPUTS[cast(OutputKind, kind)]


def paths_of(stem: str, kinds: Iterable[str]) -> list[str]:
    """The files of ``kinds`` that `write_outputs` writes for a stem."""
    return [stem + output_of(kind).suffix for kind in kinds]


def write_outputs(
    stem: str,
    result: HeatmapResult,
    kinds: Sequence[str],
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
        Which files, in any order; they are written in that of `file_kinds`.
    dtype
        Of the relevance in ``npy``, ``npz`` and at layers.
    root
        Folder that no file may lie outside of; None: that does not matter.

    Raises
    ------
    ImageError
        A file cannot be written (disk full, no permission, a file where a folder should be, a link that
        leads out of ``root``), or a number is too large for ``dtype``. Files written before remain.
    """
    for kind in file_kinds(kinds):
        output = output_of(kind)
        write_atomically(Path(stem + output.suffix), output.encode(result, dtype), root)
