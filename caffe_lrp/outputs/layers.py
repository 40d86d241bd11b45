"""Names of the files of relevance at layers, one for each requested layer (``--dump-layers``).

Each is a kind of output of its own: ``layer:`` and the layer's name in file names.
"""

import re
from collections import Counter
from collections.abc import Sequence

_PREFIX = "layer:"

#: What stands in for itself in names of files; everything else, slashes above all, becomes ``_``.
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
#: Longer names are cut, so that names of files stay below what file systems take.
_LONGEST = 80


def layer_labels(names: Sequence[str]) -> list[str]:
    """Return the names of a net's layers in file names, all different.

    Layers that would share a name have their index in front: ``7-relu``.
    """
    texts = [_UNFIT.sub("_", name)[:_LONGEST] for name in names]
    counts = Counter(texts)
    return [
        f"{index}-{text}" if counts[text] > 1 or not text or re.match("[0-9]+-", text) else text
        for index, text in enumerate(texts)
    ]


def layer_kind(label: str, output: int | None = None) -> str:
    """The kind of output for a layer; of one with several outputs, each has a number and a kind."""
    return f"{_PREFIX}{label}" if output is None else f"{_PREFIX}{label}@{output}"


def is_layer_kind(kind: str) -> bool:
    """Whether a kind of output is relevance at a layer."""
    return kind.startswith(_PREFIX)


def layer_suffix(kind: str) -> str:
    """Return the suffix of such files."""
    return f"_relevance_{kind.removeprefix(_PREFIX)}.npy"
