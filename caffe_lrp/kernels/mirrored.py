"""Products of two parts by weights that stay the same when the parts swap places.

Where input and output have two parts each and the weights are [[A, B], [B, A]], sum and difference of the
parts keep to themselves: ``p + n = (A + B)(x⁺ + x⁻)`` and ``p − n = (A − B)(x⁺ − x⁻)``, half of the products.
Sums by sign of an input of either sign are of this kind, with ``A = W⁺`` and ``B = W⁻``: they take ``W x``
and ``|W| |x|``. A part that is far smaller than the other one is as uncertain as that one. Blobs are
(N, H, W, C).
"""

import numpy as np

from ._jit import kernel
from .blobs import Blob

#: A part is taken for 0 if it is smaller than this share of both parts together, times the root of the number
#: of products. Where one part has no products both sums are equal bit by bit, and the part is 0 anyway.
NOISE = 1.2e-7


@kernel
def take_magnitudes(lines: Blob, out: Blob) -> None:
    """``x⁺ − x⁻`` of a blob (rows, W, C): its magnitudes."""
    for row in range(lines.shape[0]):
        for column in range(lines.shape[1]):
            for i in range(lines.shape[2]):
                out[row, column, i] = abs(lines[row, column, i])


@kernel
def split_sums(sums: Blob, bias: Blob, products: int, total: Blob) -> None:
    """Make the two parts of their sum and difference.

    Parameters
    ----------
    sums
        (rows, W, 2·C), overwritten.
    bias
        (C,) or empty.
    products
        How many make up a sum.
    total
        (rows, W, C), overwritten: the sum of both parts, plus the bias.
    """
    half, size = np.float32(0.5), total.shape[2]
    noise = np.float32(NOISE * np.sqrt(products))
    for row in range(total.shape[0]):
        for column in range(total.shape[1]):
            first, second = sums[row, column, :size], sums[row, column, size:]
            target = total[row, column]
            for i in range(size):
                whole, difference = first[i], second[i]
                p, n = half * (whole + difference), half * (whole - difference)
                limit = noise * max(abs(whole), abs(difference))
                first[i] = p if abs(p) > limit else np.float32(0)
                second[i] = n if abs(n) > limit else np.float32(0)
                target[i] = whole
            for i in range(bias.size):
                target[i] += bias[i]


@kernel
def take_sums_and_differences(lines: Blob) -> None:
    """Sum and difference of the two parts in place of them: (rows, W, 2·C)."""
    size = lines.shape[2] // 2
    for row in range(lines.shape[0]):
        for column in range(lines.shape[1]):
            first, second = lines[row, column, :size], lines[row, column, size:]
            for i in range(size):
                positive, negative = first[i], second[i]
                first[i], second[i] = positive + negative, positive - negative


@kernel
def join_halves(whole: Blob, difference: Blob, factor: Blob, out: Blob) -> None:
    """The part for the sign of the factor, times the factor, of the sum and the difference of both parts.

    The first part as it is if the factor is empty. All blobs have one axis; ``out`` is overwritten.
    """
    half = np.float32(0.5)
    if not factor.size:
        for i in range(out.size):
            out[i] = half * (whole[i] + difference[i])
        return
    for i in range(out.size):
        out[i] = half * (factor[i] * whole[i] + abs(factor[i]) * difference[i])
