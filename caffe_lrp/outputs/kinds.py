"""The table of outputs: files of every map, and one database of all maps.

A new kind of output is one row here, and the function that encodes it. Nothing is loaded for this table, so
that the command line can name its kinds; `writers` looks the encoders up. Source: manual:
toolbox, "Output files".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .layers import is_layer_kind, layer_suffix

#: The kind that is drawn as the picture options say, the one that tells of sums, and the database.
RENDER, CONSERVATION, DATABASE = "render", "conservation", "h5"


@dataclass(frozen=True)
class Output:
    """One kind of output.

    Attributes
    ----------
    name
        Its name for ``--outputs``.
    help
        What is in it, in a few words.
    suffix
        What the names of its files end with; empty: it is one database of all maps, not a file of each.
    encoder
        Which function of this room makes the content of a file, ``module.function``. It gets an
        `Explanation` and an `Encoding`. Empty for a database.
    by_default
        Whether it is written by default.
    is_text
        Whether it is text; by default, the programs ``…_minimal`` write nothing else.
    needs_sums
        Whether the sums of relevance at every layer have to be noted on the way.
    """

    name: str
    help: str
    suffix: str = ""
    encoder: str = ""
    by_default: bool = False
    is_text: bool = False
    needs_sums: bool = False


#: In the order of writing, behind relevance at layers. Of files the raw heatmap comes last: where it is, the
#: others are complete. Pictures come behind maps for NumPy: an older one counts as that of another map.
_ROWS = (
    Output(
        "heatmap",
        "the map in the toolbox's colours",
        "_heatmap.png",
        "pictures.heatmap_file",
        by_default=True,
    ),
    Output(
        "input",
        "what the net saw of the image",
        "_as_inputted_into_the_dnn.png",
        "pictures.input_file",
        by_default=True,
    ),
    Output(
        "top10",
        "the ten best classes, with scores",
        "_top10scores.txt",
        "text.top_scores_file",
        by_default=True,
        is_text=True,
    ),
    Output("npy", "relevance of every pixel, NumPy", "_relevance.npy", "arrays.npy_file"),
    Output("npz", "the same, with classes, settings", "_relevance.npz", "arrays.npz_file"),
    Output(RENDER, "map and photo (picture options)", "_render.png", "pictures.render_file"),
    Output(
        CONSERVATION,
        "where relevance is lost",
        "_conservation.json",
        "text.conservation_file",
        is_text=True,
        needs_sums=True,
    ),
    Output(
        "rawhm",
        "relevance of every pixel, text",
        "_rawhm.txt",
        "text.raw_heatmap_file",
        by_default=True,
        is_text=True,
    ),
    Output(DATABASE, "all maps of the run, in one file"),
)

#: Name of a kind -> its row.
OUTPUTS = {row.name: row for row in _ROWS}


def default_kinds(*, text_only: bool) -> tuple[str, ...]:
    """Return the default outputs: all of them, or only the text files."""
    return tuple(row.name for row in _ROWS if row.by_default and (row.is_text or not text_only))


def in_order(kinds: Iterable[str]) -> tuple[str, ...]:
    """Those rows of the table that ``kinds`` name, in the order of writing."""
    wanted = {*kinds}
    return tuple(name for name in OUTPUTS if name in wanted)


def file_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """Those of ``kinds`` that are files of every map, in the order of writing."""
    wanted = list(dict.fromkeys(kinds))
    return (*filter(is_layer_kind, wanted), *(name for name in in_order(wanted) if OUTPUTS[name].suffix))


def need_sums(kinds: Iterable[str]) -> bool:
    """Whether sums of relevance have to be noted on the way for one of ``kinds``."""
    return any(OUTPUTS[name].needs_sums for name in in_order(kinds))


def suffix_of(kind: str) -> str:
    """Return the suffix of files of a kind, one that `file_kinds` gives."""
    return layer_suffix(kind) if is_layer_kind(kind) else OUTPUTS[kind].suffix


def paths_of(stem: str, kinds: Iterable[str]) -> list[str]:
    """The files of ``kinds`` that `writers.write_outputs` writes for a stem."""
    return [stem + suffix_of(kind) for kind in kinds]
