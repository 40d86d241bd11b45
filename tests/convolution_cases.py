"""Convolutions of every geometry, as kernels and maps take them, and what goes in and out of products.

Slow versions work on (N, C, H, W) in float64, kernels on (N, H, W, C): see `channels_last`.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import oracle
from builders import channels_last, random_blob, window_of
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from oracle import Array, Geometry, Real

from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import HALF_ROWS, PANEL, TILE_ROWS
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.convolution import ConvolutionShape
from caffe_lrp.kernels.passes import (
    Source,
    by_sign,
    copied,
    favouring_ratios,
    ratio_to_positive,
    ratios_by_sign,
    stabilised_ratio,
)
from caffe_lrp.kernels.window import Window


@dataclass(frozen=True)
class Case:
    """One convolution.

    Attributes
    ----------
    channels, outputs
        Of all groups together; ``outputs`` of one part.
    parts
        Parts out.
    """

    name: str
    channels: int
    outputs: int
    groups: int
    geometry: Geometry
    size: tuple[int, int] = (11, 8)
    items: int = 2
    parts: int = 1

    def __str__(self) -> str:
        return self.name

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.channels, *self.size

    @property
    def image(self) -> Blob:
        return random_blob((self.items, *self.image_shape), 1)

    @property
    def weight(self) -> Blob:
        """(parts·outputs of all groups, channels of a group, k_h, k_w)."""
        inputs = self.channels // self.groups
        return random_blob((self.parts * self.outputs, inputs, *self.geometry.kernel), 2)

    @property
    def packable(self) -> Blob:
        """The weight as it is packed: (groups, parts, outputs, inputs, k_h, k_w)."""
        weight = self.weight
        group_outputs = self.outputs // self.groups
        return weight.reshape(self.groups, self.parts, group_outputs, *weight.shape[1:])

    @property
    def bias(self) -> Blob:
        return random_blob((self.outputs,), 4)

    @cached_property
    def edges(self) -> oracle.Edges:
        return oracle.convolution_edges(self.image_shape, self.weight.shape, self.geometry, self.groups)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(parts·outputs, H_out, W_out)."""
        return self.parts * self.outputs, *oracle.convolved_size(self.size, self.geometry)

    @property
    def relevance(self) -> Blob:
        return random_blob((self.items, *self.output_shape), 3)

    @property
    def window(self) -> Window:
        return window_of(self.geometry)

    @property
    def shape(self) -> ConvolutionShape:
        """The geometry as kernels take it."""
        window = self.window
        return ConvolutionShape(
            self.groups, self.parts, self.channels // self.groups, self.outputs // self.groups,
            window.kernel_h, window.kernel_w, window.stride_h, window.stride_w, window.dilation_h,
            window.dilation_w, -window.pad_h, -window.pad_w, *self.output_shape[1:],
        )  # fmt: skip

    def products(self, x: Real) -> Array:
        """What loops make of an input that need not be `image`: (N, parts·outputs, H_out, W_out)."""
        return oracle.linear(x, self.weight, None, self.edges)


RECTANGULAR = Geometry((3, 2), (2, 3), (1, 0))

GEOMETRIES = [
    Case("rectangular", 3, 5, 1, RECTANGULAR),
    Case("stride one across", 3, 4, 1, Geometry((2, 4), (3, 1), (0, 2))),
    Case("three groups", 6, 9, 3, Geometry((2, 3), (1, 2), (0, 1))),
    Case("one output a group", 4, 4, 4, Geometry((3, 2), (2, 1), (1, 0))),
    Case("dilated", 3, 4, 1, Geometry((3, 2), (2, 1), (3, 1), (2, 3))),
    Case("dilated without stride", 3, 4, 1, Geometry((3, 2), (1, 1), (3, 1), (2, 3))),
    Case("dilated groups", 4, 6, 2, Geometry((2, 3), (1, 2), (0, 2), (3, 2))),
    Case("taps that lie in the padding only", 3, 4, 1, Geometry((2, 1), (2, 3), (1, 5)), size=(7, 4)),
    Case("padding larger than the kernel", 3, 4, 1, Geometry((2, 3), (1, 1), (4, 5)), size=(7, 6)),
    Case("padded at the end only", 3, 4, 1, Geometry((2, 3), (2, 1), ends=(1, 2)), size=(7, 6)),
    Case("padded more at the beginning", 4, 6, 2, Geometry((3, 2), (1, 3), (2, 1), (2, 1), (1, 0)), (7, 6)),
    Case("pixels that no window sees", 3, 4, 1, Geometry((2, 1), (5, 4)), size=(10, 7)),
    Case("kernel as large as the input", 3, 4, 1, Geometry((11, 8))),
    Case("kernel larger than the input", 3, 4, 1, Geometry((9, 7), (1, 2), (3, 2)), size=(4, 5)),
    Case("pointwise", 6, 4, 2, Geometry((1, 1))),
    Case("pointwise, a single group", 5, 7, 1, Geometry((1, 1)), size=(6, 4), items=3),
    Case("one pixel kernel with stride", 3, 4, 1, Geometry((1, 1), (2, 3))),
    Case("one pixel kernel with padding", 3, 4, 1, Geometry((1, 1), (1, 1), (1, 0))),
    Case("row blocks", 3, 5, 1, Geometry((3, 2), (1, 2), (2, 1))),
    Case("many channels", PANEL + 3, PANEL + 5, 1, Geometry((2, 3), (1, 1), (1, 0)), size=(5, 6)),
    Case("many channels in groups", 4 * LANES, 2 * LANES + 6, 2, Geometry((3, 2), (1, 1), (2, 1)), (4, 6)),
    Case("a block of pixels just fits a panel", PANEL // 4, 3, 1, Geometry((3, 2), (1, 1), (1, 0)), (6, 9)),
    Case("a block of pixels does not fit", PANEL // 4 + 1, 3, 1, Geometry((3, 2), (1, 1), (1, 0)), (6, 9)),
    Case("odd padding in blocks of pixels", 2, 3, 1, Geometry((3, 4), (1, 1), (3, 5)), size=(6, 5)),
    Case("taps of two vectors in a row", LANES // 2, 5, 1, Geometry((2, 3), (1, 2), (1, 0)), (5, 8)),
    Case("taps of three vectors in a row", LANES - 1, 5, 1, Geometry((2, 3), (3, 2), (1, 0)), (7, 8)),
    *(
        Case(f"{count} channels on their own{title}", count, count, count, geometry, (6, 9))
        for count in (3, LANES, 2 * LANES + 1)
        for title, geometry in [
            ("", Geometry((3, 2), (1, 1), (1, 0))),
            (" with stride", Geometry((2, 3), (3, 2), (0, 1))),
            (", dilated", Geometry((2, 3), (1, 1), (1, 2), (3, 2))),
            (", padded unequally", Geometry((2, 3), (1, 2), (1, 0), ends=(0, 2))),
        ]
    ),
]

#: Output counts of a group around the sizes of panels.
COUNTS = sorted({1, LANES - 1, LANES, LANES + 1, PANEL - 1, PANEL, PANEL + 1, PANEL + LANES, 2 * PANEL + 3})
PANELS = [
    replace(case, name=f"{count} outputs of each of {groups} group(s)", outputs=groups * count, groups=groups)
    for count in COUNTS
    for groups in (1, 2)
    for case in [Case("", 4, 0, 1, Geometry((2, 3), (1, 2), (1, 0)), size=(5, 9))]
]

#: Output widths around the sizes of tiles.
WIDTHS = sorted({1, 2, HALF_ROWS - 1, HALF_ROWS, HALF_ROWS + 1, TILE_ROWS - 1, TILE_ROWS, TILE_ROWS + 1,
                 TILE_ROWS + HALF_ROWS, TILE_ROWS + HALF_ROWS + 1, 2 * TILE_ROWS + 3})  # fmt: skip
TILES = [
    *(Case(f"{width} columns", 3, 5, 1, Geometry((2, 3), pad=(0, 1)), (4, width)) for width in WIDTHS),
    *(
        Case(f"{width} columns, stride 2", 3, LANES + 2, 1, Geometry((2, 1), (1, 2)), (3, 2 * width))
        for width in WIDTHS
    ),
    *(Case(f"{width} columns, pointwise", 3, 5, 1, Geometry((1, 1)), (2, width)) for width in WIDTHS),
    *(Case(f"{width} pixels, pointwise", 3, 5, 1, Geometry((1, 1)), (width, 1)) for width in WIDTHS),
]

PARTS = [
    replace(case, name=f"{case.name}, two parts", parts=2)
    for case in [
        GEOMETRIES[0],
        GEOMETRIES[2],
        Case("panel and a half", 3, PANEL + 2, 1, Geometry((2, 3), pad=(1, 0)), (5, 4)),
        Case("pointwise groups", 6, 2 * LANES + 4, 2, Geometry((1, 1)), (5, 4)),
    ]
]

CASES = [*GEOMETRIES, *PANELS, *TILES, *PARTS]


# --- What goes into a product -------------------------------------------------------------------------

BETA, GAMMA, STABILISER = 0.75, 0.5, 0.25
SOURCES = ("copy", "by sign", "αβ", "α", "ε", "γ")


def rounding_error(found: Real, exact: Array) -> float:
    """Root of the mean square of the error, in that of what is exact."""
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


def summed_in_a_row(x: Blob, weight: Blob, geometry: Geometry) -> tuple[Blob, Array]:
    """Products of one group in float32, every output one long sum, and the same in float64."""
    padded = np.pad(x, ((0, 0), (0, 0), *geometry.pads))
    windows = sliding_window_view(padded, geometry.kernel, axis=(2, 3))
    windows = windows[:, :, :: geometry.stride[0], :: geometry.stride[1]]
    exact = np.einsum("nchwyx,mcyx->nmhw", windows.astype(np.float64), weight.astype(np.float64))
    total = np.zeros(exact.shape, np.float32)
    for y, i in np.ndindex(*geometry.kernel):
        for channel in range(x.shape[1]):
            taps = weight[:, channel, y, i].reshape(1, -1, 1, 1)
            total += windows[:, np.newaxis, channel, :, :, y, i] * taps
    return total, np.asarray(exact)


def in_groups(groups: int, *parts: NDArray[Any]) -> NDArray[Any]:
    """Blobs (N, C, …) side by side in every group of channels."""
    pieces = [np.split(part, groups, axis=1) for part in parts]
    return np.concatenate([piece for group in zip(*pieces, strict=True) for piece in group], axis=1)


def divided(numbers: Real, sums: Real) -> Array:
    """``numbers / sums``, 0 where the sum is 0."""
    return np.divide(numbers, sums, out=np.zeros(sums.shape), where=sums != 0)


@dataclass(frozen=True)
class Input:
    """A source, and what loops make of it: (N, C, H, W)."""

    source: Source
    expected: Array


def make_input(kind: str, items: int, channels: int, groups: int, size: tuple[int, int]) -> Input:
    """An input with ``channels`` channels of a product; an even number of a group for signs, αβ and γ."""
    if kind == "copy":
        x = random_blob((items, channels, *size), 1)
        return Input(copied(channels_last(x)), x.astype(np.float64))
    if kind == "by sign":
        x = random_blob((items, channels // 2, *size), 1)
        x.reshape(-1)[::7] = 0
        both = in_groups(groups, np.maximum(x, 0), np.minimum(x, 0))
        return Input(by_sign(channels_last(x), groups), both.astype(np.float64))
    if kind == "ε":
        x, z = (random_blob((items, channels, *size), seed) for seed in (1, 5))
        z.reshape(-1)[::5] = 0
        source = stabilised_ratio(channels_last(x), channels_last(z), groups, STABILISER, 1)
        stabilised = np.where(z == 0, 1, z.astype(np.float64) + STABILISER * np.sign(z))
        return Input(source, x / stabilised)
    channels = channels if kind == "α" else channels // 2
    x = random_blob((items, channels, *size), 1)
    positive = np.abs(random_blob(x.shape, 5)) + np.float32(0.5)
    negative = -np.abs(random_blob(x.shape, 6)) - np.float32(0.5)
    bias = random_blob((channels,), 7)
    bias[::2] = 0
    positive.reshape(-1)[::3] = 0
    negative.reshape(-1)[::4] = 0
    p, n = np.maximum(bias, 0), np.minimum(bias, 0)
    sums = channels_last(in_groups(groups, positive, negative))
    wide = x.astype(np.float64)
    above, below = (
        part + bias_part.reshape(-1, 1, 1).astype(np.float64)
        for part, bias_part in ((positive, p), (negative, n))
    )
    if kind == "γ":
        shared = divided(wide, above + below + GAMMA * np.where(above + below >= 0, above, below))
        favoured = (1 + GAMMA) * shared
        halves = [np.where((above + below >= 0) == is_first, favoured, shared) for is_first in (True, False)]
        source = favouring_ratios(channels_last(x), sums, groups, p, n, GAMMA)
        return Input(source, in_groups(groups, *halves))
    if kind == "α":
        return Input(ratio_to_positive(channels_last(x), sums, groups, p), divided(wide, above))
    source = ratios_by_sign(channels_last(x), sums, groups, p, n, (1 + BETA, -BETA))
    return Input(source, in_groups(groups, divided((1 + BETA) * wide, above), divided(-BETA * wide, below)))


# --- What comes out of one ----------------------------------------------------------------------------


def chosen(products: Real, groups: int, factor: Real | None) -> Array:
    """The first of two parts in every group times the factor where it is above 0, else the second."""
    halves = [np.split(group, 2, axis=1) for group in np.split(products, groups, axis=1)]
    first, second = (np.concatenate([group[part] for group in halves], axis=1) for part in (0, 1))
    return np.asarray(first if factor is None else np.where(factor > 0, first, second) * factor)
