"""Keeping output inside its folder: links in it may not lead elsewhere."""

import os
from pathlib import Path

from caffe_lrp.errors import ImageError


def refuse_outside(folder: Path, root: Path) -> None:
    """Refuse to write into ``folder`` if its resolved path is outside ``root``; neither need exist yet.

    Raises
    ------
    ImageError
        It is outside; the error names the link.
    """
    if _is_below(folder, root):
        return
    steps = [*reversed(folder.parents), folder]
    way_out = next((step for step in steps if root in step.parents and not _is_below(step, root)), folder)
    target = os.path.realpath(way_out)
    raise ImageError(
        f"{way_out}: leads out of the output folder, to '{target}'; remove this link, or write the output "
        "there directly (-p)"
    )


def _is_below(folder: Path, root: Path) -> bool:
    """Return whether ``folder`` is ``root`` or inside it, with all links resolved."""
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root))
