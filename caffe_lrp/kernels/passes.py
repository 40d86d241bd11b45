"""The two ends of a convolution: reading input rows, and finishing output rows.

Relevance rules combine products with element-wise operations. Done separately, those would spend more time on
memory access than the products take; done here, rows are still in the cache. Blobs are (N, H, W, C).
"""

from typing import NamedTuple

import numpy as np

from ._kernel import helper, kernel
from ._quotients import divide_by_positive, divide_by_sign, divide_favouring, divide_stabilised
from ._rows import add_parts, choose_by_sign, clear, copy, multiply_by, split_by_sign
from .blobs import Blob, Blob1, Blob3, Blob4

#: How the input of a product is made from `Source.blob`.
COPY, BY_SIGN, RATIOS_BY_SIGN, RATIO_TO_POSITIVE, STABILISED_RATIO, FAVOURING_RATIOS = range(6)


class Source(NamedTuple):
    """The input of a product, and how it is made from blobs.

    Attributes
    ----------
    mode
        `COPY`: the blob. `BY_SIGN`: in every group, first the positive, then the negative parts. The
        other modes divide the blob R; a division by 0 gives 0. `RATIOS_BY_SIGN`: ``f₁ R/p``,
        then ``f₂ R/n`` in every group, where ``other`` holds the sums of positive and of negative products.
        `RATIO_TO_POSITIVE`: only ``R/p``, from the same. `STABILISED_RATIO`: ``R / (z + s·sign(z))``, where
        ``other`` is z. `FAVOURING_RATIOS`: in every group the ratios for positive, then for negative
        products, if those of the sign of their total count more, where ``other`` holds the sums.
    groups
        Groups of channels.
    blob
        (N, H, W, C).
    other
        (N, H, W, ·), see ``mode``.
    positive, negative
        (C,): parts of the bias that are added to sums.
    coefficients
        (2,): f₁ and f₂, or s and the divisor of R where z is 0; (1,): how much more products count.
    """

    mode: int
    groups: int
    blob: Blob4
    other: Blob4
    positive: Blob1
    negative: Blob1
    coefficients: Blob1


NO_BLOB = np.zeros((0, 0, 0, 0), np.float32)
NO_BIAS = np.zeros(0, np.float32)


def copied(blob: Blob) -> Source:
    """A blob, unchanged."""
    return Source(COPY, 1, blob, NO_BLOB, NO_BIAS, NO_BIAS, NO_BIAS)


def stabilised_ratio(dividend: Blob, z: Blob, groups: int, stabiliser: float, at_zero: float) -> Source:
    """A blob over ``z + stabiliser·sign(z)``; over ``at_zero`` where z is 0."""
    coefficients = np.array([stabiliser, at_zero], np.float32)
    return Source(STABILISED_RATIO, groups, dividend, z, NO_BIAS, NO_BIAS, coefficients)


def ratios_by_sign(
    dividend: Blob,
    sums: Blob,
    groups: int,
    positive_bias: Blob,
    negative_bias: Blob,
    factors: tuple[float, float],
) -> Source:
    """A blob over the sums of positive and of negative products, each times a factor."""
    coefficients = np.array(factors, np.float32)
    return Source(RATIOS_BY_SIGN, groups, dividend, sums, positive_bias, negative_bias, coefficients)


def ratio_to_positive(dividend: Blob, sums: Blob, groups: int, positive_bias: Blob) -> Source:
    """A blob over the sums of positive products only."""
    return Source(RATIO_TO_POSITIVE, groups, dividend, sums, positive_bias, NO_BIAS, NO_BIAS)


def favouring_ratios(
    dividend: Blob, sums: Blob, groups: int, positive_bias: Blob, negative_bias: Blob, favour: float
) -> Source:
    """A blob over ``z + fp`` where z ≥ 0, and over ``z + fn`` elsewhere, for products of both signs.

    f is ``favour``: for products of the sign of z the ratio is multiplied by 1 + f, for the others it is
    unchanged.
    """
    coefficients = np.array([favour], np.float32)
    return Source(FAVOURING_RATIOS, groups, dividend, sums, positive_bias, negative_bias, coefficients)


def by_sign(blob: Blob, groups: int) -> Source:
    """Positive and negative parts of a blob, one after another in every group."""
    return Source(BY_SIGN, groups, blob, NO_BLOB, NO_BIAS, NO_BIAS, NO_BIAS)


@helper
def _quotients(source: Source, item: int, y: int, left: int, out: Blob) -> None:
    """Write the ratios of a row, from ``left`` on, as the input of a product; ``out`` (columns, ·)."""
    channels = source.blob.shape[3]
    size = channels // source.groups
    coefficients = source.coefficients.ctypes.data
    for column in range(out.shape[0]):
        dividend = source.blob[item, y, left + column].ctypes.data
        other = source.other[item, y, left + column].ctypes.data
        target = out[column].ctypes.data
        if source.mode == STABILISED_RATIO:
            divide_stabilised(dividend, other, coefficients, target, channels)
            continue
        for group in range(source.groups):
            start = 4 * group * size
            if source.mode == RATIO_TO_POSITIVE:
                bias = source.positive.ctypes.data + start
                divide_by_positive(dividend + start, other + 2 * start, bias, target + start, size)
                continue
            given, sums, parts = dividend + start, other + 2 * start, target + 2 * start
            p, n = source.positive.ctypes.data + start, source.negative.ctypes.data + start
            if source.mode == FAVOURING_RATIOS:
                divide_favouring(given, sums, 4 * size, p, n, coefficients, parts, size)
                continue
            divide_by_sign(given, sums, 4 * size, p, n, coefficients, parts, size)


@helper
def _signed_parts(source: Source, item: int, y: int, left: int, out: Blob) -> None:
    """Write positive and negative parts of the pixels of a row, from ``left`` on; ``out`` (columns, 2·C)."""
    size = source.blob.shape[3] // source.groups
    # The groups of consecutive pixels are contiguous, and so are their parts.
    given, target = source.blob[item, y, left].ctypes.data, out.ctypes.data
    for group in range(out.shape[0] * source.groups):
        split_by_sign(given + 4 * group * size, target + 8 * group * size, size)


@kernel
def fill_rows(source: Source, item: int, top: int, left: int, out: Blob3) -> None:
    """Write rows of the input of a product, with zeros outside the image.

    Parameters
    ----------
    source
        Blobs from which the rows are made, and how.
    item, top, left
        Item of the batch, and position of the first pixel of ``out`` in its image; may be outside.
    out
        (rows, columns, channels), overwritten.
    """
    height, width = source.blob.shape[1], source.blob.shape[2]
    rows, columns, channels = out.shape
    begin = min(max(0, -left), columns)
    end = max(begin, min(columns, width - left))
    for row in range(rows):
        y, line = top + row, out[row].ctypes.data
        if y < 0 or y >= height or begin == end:
            clear(line, columns * channels)
            continue
        clear(line, begin * channels)
        clear(line + 4 * end * channels, (columns - end) * channels)
        if source.mode == COPY:
            given = source.blob[item, y, left + begin].ctypes.data
            copy(given, line + 4 * begin * channels, (end - begin) * channels)
        elif source.mode == BY_SIGN:
            _signed_parts(source, item, y, left + begin, out[row, begin:end])
        else:
            _quotients(source, item, y, left + begin, out[row, begin:end])


#: How products are written to the output.
PLAIN, SUMS, TIMES, SIGNS = range(4)


class Sink(NamedTuple):
    """The output of a product, and how it is written.

    Attributes
    ----------
    mode
        `PLAIN`: sums of products start from the bias. `SUMS`: products are sums by sign, two parts in every
        group; their total, with the bias, is written to ``total``. `TIMES`: products are
        multiplied by ``factor``. `SIGNS`: products have two parts in every group, for the two signs of
        ``factor``, and are multiplied by it.
    out
        (N, H, W, C): the result.
    total
        (N, H, W, C) for `SUMS`.
    factor
        Of the shape of ``out``, for `TIMES` and `SIGNS`; empty for `SIGNS` without a factor, see
        `choose_parts`.
    bias
        (panels·PANEL,) for every group in turn for `PLAIN`, (C,) for `SUMS`; empty for none.
    """

    mode: int
    out: Blob4
    total: Blob4
    factor: Blob4
    bias: Blob1


@kernel
def add_sums(sums: Blob3, bias: Blob1, groups: int, out: Blob3) -> None:
    """``Σ⁺ + Σ⁻ + b``: ``sums`` (rows, W, G·2·C), ``bias`` (G·C,) or empty, ``out`` (rows, W, G·C)."""
    size = out.shape[2] // groups
    parts, target = sums.ctypes.data, out.ctypes.data
    for _ in range(out.shape[0] * out.shape[1]):
        for group in range(groups):
            shift = bias.ctypes.data + 4 * group * size if bias.size else 0
            add_parts(parts, shift, target, size)
            parts += 8 * size
            target += 4 * size


@kernel
def multiply_rows(factor: Blob3, out: Blob3) -> None:
    """``out·factor`` in place; (rows, W, C)."""
    multiply_by(factor.ctypes.data, out.ctypes.data, out.size)


@kernel
def choose_parts(products: Blob3, factor: Blob3, groups: int, out: Blob3) -> None:
    """The factor times the first of two parts where it is positive, times the second elsewhere.

    Parameters
    ----------
    products
        (rows, W, G·2·C).
    factor
        (rows, W, G·C), or empty: the result is then the first part.
    groups
        G.
    out
        (rows, W, G·C), overwritten.
    """
    size = out.shape[2] // groups
    parts, scale, target = products.ctypes.data, factor.ctypes.data, out.ctypes.data
    for _ in range(out.shape[0] * out.shape[1] * groups):
        if factor.size:
            choose_by_sign(parts, scale, target, size)
        else:
            copy(parts, target, size)
        parts += 8 * size
        scale += 4 * size
        target += 4 * size
