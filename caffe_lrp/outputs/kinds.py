"""The table of outputs: files for every map, and one database for all maps.

A new kind of output needs a row here, and a function that encodes it. The table loads no other modules, so
the command line can list the kinds quickly; `writers` looks up the encoders. Source: manual: toolbox,
"Output files".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .layers import is_layer_kind, layer_suffix

#: The kind drawn with the picture options, the one with the sums of relevance, and the database.
RENDER, CONSERVATION, DATABASE = "render", "conservation", "h5"


@dataclass(frozen=True)
class Output:
    """One kind of output.

    Attributes
    ----------
    name
        Its name for ``--outputs``.
    help
        Its content, in a few words.
    suffix
        Suffix of its file names; empty: it is one database for all maps, not a file for each.
    encoder
        The function of this package that makes the content of a file, as ``module.function``. It gets an
        `Explanation` and an `Encoding`. Empty for a database.
    by_default
        Whether it is written by default.
    is_text
        Whether it is text; by default, the programs ``…_minimal`` write only text.
    needs_sums
        Whether the sums of relevance at every layer must be recorded during the backward pass.
    """

    name: str
    help: str
    suffix: str = ""
    encoder: str = ""
    by_default: bool = False
    is_text: bool = False
    needs_sums: bool = False


#: In the order of writing, after relevance at layers. The raw heatmap is the last file: if it exists, the
#: others are complete. Pictures come after maps for NumPy: a picture older than its map counts as outdated.
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
        "the net's input, as a picture",
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
    """Return ``kinds`` in the order of writing."""
    wanted = {*kinds}
    return tuple(name for name in OUTPUTS if name in wanted)


def file_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``kinds`` with a file for every map, in the order of writing."""
    wanted = list(dict.fromkeys(kinds))
    return (*filter(is_layer_kind, wanted), *(name for name in in_order(wanted) if OUTPUTS[name].suffix))


def need_sums(kinds: Iterable[str]) -> bool:
    """Return whether one of ``kinds`` needs the sums of relevance at every layer."""
    return any(OUTPUTS[name].needs_sums for name in in_order(kinds))


def suffix_of(kind: str) -> str:
    """Return the suffix of files of a kind, one of those returned by `file_kinds`."""
    return layer_suffix(kind) if is_layer_kind(kind) else OUTPUTS[kind].suffix


def paths_of(stem: str, kinds: Iterable[str]) -> list[str]:
    """Return the files of ``kinds`` that `writers.write_outputs` writes for a stem."""
    return [stem + suffix_of(kind) for kind in kinds]
