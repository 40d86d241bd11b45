"""Sheets of small maps of a hidden layer's channels: which of them carry relevance, and where."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from caffe_lrp.errors import UsageError
from caffe_lrp.messages import enumerated
from caffe_lrp.rendering.picture import render
from caffe_lrp.rendering.sheet import sheet_of
from caffe_lrp.rendering.strength import reach_of
from caffe_lrp.rendering.style import picture_style

#: The most maps on a sheet; nobody looks at more.
_MOST_MAPS = 400
#: The most layers that a message names.
_MOST_NAMED = 10

#: Picture options that suit maps of single channels: there is no photo of their size.
_PLAIN = {"mode": "plain", "size": "net"}


def channel_sheet(
    kept: Mapping[str, NDArray[np.float32]], layer: str, count: int, pictures: Mapping[str, Any]
) -> Image.Image:
    """A sheet of the channels of a layer that carry the most relevance; see `Explanation.sheet`.

    Parameters
    ----------
    kept
        Layer -> relevance there.
    layer
        One of these layers.
    count
        The most channels on the sheet.
    pictures
        Picture options.

    Raises
    ------
    UsageError
        No relevance was kept at the layer, it has no maps, or another argument is invalid.
    """
    if not isinstance(count, int) or not 1 <= count <= _MOST_MAPS:
        raise UsageError(f"{count!r} must be a whole number from 1 to {_MOST_MAPS}", setting="count")
    maps = _maps_of(kept, layer)
    style = picture_style({**pictures, **_PLAIN})
    sums = maps.sum(axis=(1, 2), dtype=np.float64)
    strongest = np.argsort(-np.abs(sums), kind="stable")[:count]
    reach = max(reach_of(maps[channel], style) for channel in strongest)
    total = np.abs(sums).sum()
    return sheet_of(
        [_framed(render(maps[channel], style, reach=reach)) for channel in strongest],
        [f"{channel}: {_share(sums[channel], total)}" for channel in strongest],
    )


def _maps_of(kept: Mapping[str, NDArray[np.float32]], layer: str) -> NDArray[np.float32]:
    """(C, H, W): the relevance kept at a layer; UsageError if there is none, or it has no positions."""
    if layer not in kept:
        there = f"only at {enumerated([*kept], _MOST_NAMED)}" if kept else "nor at any other layer"
        raise UsageError(
            f"relevance at {layer!r} was not kept, {there}; explain the image with layers=[{layer!r}]",
            setting="layer",
        )
    maps = kept[layer]
    if maps.ndim != 3 or maps.shape[1] * maps.shape[2] == 1:
        raise UsageError(
            f"'{layer}' has no maps: the shape of its output is {maps.shape}; choose a layer below it, such "
            "as a convolution",
            setting="layer",
        )
    return maps


def _framed(picture: Image.Image) -> Image.Image:
    """A picture with a thin frame: most maps are nearly as white as the sheet."""
    return ImageOps.expand(picture.convert("RGB"), 1, "#cccccc")


def _share(part: float, total: float) -> str:
    """A channel's share of the total magnitude, as text."""
    return f"{100 * part / total:.1f} %" if total else "0 %"
