"""Names of the files with relevance at layers, one per requested layer (``--dump-layers``).

Each layer is its own kind of output: ``layer:`` and the layer's name in file names.
"""

import re
from collections import Counter
from collections.abc import Sequence

_PREFIX = "layer:"

#: Characters kept in file names; all others, especially slashes, become ``_``.
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
#: Longer names are cut, to stay below the limit of file systems.
_LONGEST = 80


def layer_labels(names: Sequence[str]) -> list[str]:
    """Return the names of a net's layers in file names, all different.

    Layers that would share a name get their index as a prefix: ``7-relu``.
    """
    texts = [_UNFIT.sub("_", name)[:_LONGEST] for name in names]
    counts = Counter(texts)
    return [
        f"{index}-{text}" if counts[text] > 1 or not text or re.match("[0-9]+-", text) else text
        for index, text in enumerate(texts)
    ]


def layer_kind(label: str, output: int | None = None) -> str:
    """Return the kind of output for a layer; if it has several outputs, each has a number and a kind."""
    return f"{_PREFIX}{label}" if output is None else f"{_PREFIX}{label}@{output}"


def is_layer_kind(kind: str) -> bool:
    """Return whether a kind of output is relevance at a layer."""
    return kind.startswith(_PREFIX)


def layer_suffix(kind: str) -> str:
    """Return the suffix of such files."""
    return f"_relevance_{kind.removeprefix(_PREFIX)}.npy"
