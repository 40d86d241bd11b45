"""Products of two parts by weights that stay the same when the parts swap places.

If input and output have two parts each and the weights are [[A, B], [B, A]], sum and difference of the
parts are independent: ``p + n = (A + B)(x⁺ + x⁻)`` and ``p − n = (A − B)(x⁺ − x⁻)``. That halves the number
of products. Sums by sign, of inputs with both signs, are of this kind, with ``A = W⁺`` and ``B = W⁻``: they
need ``W x`` and ``|W| |x|``. The absolute error is the same for both parts, even if one is far smaller than
the other. Blobs are (N, H, W, C).
"""

from typing import Any

import numpy as np
from llvmlite import ir

from ._kernel import helper
from ._rows import with_bias
from ._simd import Code, Load, Store, each_vector, expanded, number
from .blobs import Blob

#: A part is set to 0 if it is smaller than this share of both parts together, times the square root of the
#: number of products. If a part has no products, both sums are bitwise equal, and the part is 0 anyway.
NOISE = 1.2e-7


def _emit_magnitudes(code: Code, source: Any, target: Any, count: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        store(code.magnitude(load(code.at(source, offset))), code.at(target, offset))

    each_vector(code, count, use)


def _emit_split(code: Code, sums: Any, bias: Any, noise: Any, total: Any, count: Any) -> None:
    share = code.broadcast(noise)

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        first = code.at(sums, offset)
        second = code.at(first, code.scaled(count, 4))
        whole, difference = load(first), load(second)
        limit = code.times(share, code.largest(code.magnitude(whole), code.magnitude(difference)))
        for place, both in ((first, code.plus(whole, difference)), (second, code.minus(whole, difference))):
            part = code.times(code.splat(0.5), both)
            counts = code.builder.fcmp_ordered(">", code.magnitude(part), limit)
            store(code.builder.select(counts, part, code.splat(0)), place)
        store(with_bias(code, whole, bias, offset, load), code.at(total, offset))

    each_vector(code, count, use)


def _emit_sum_and_difference(code: Code, parts: Any, count: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        first = code.at(parts, offset)
        second = code.at(first, code.scaled(count, 4))
        positive, negative = load(first), load(second)
        store(code.plus(positive, negative), first)
        store(code.minus(positive, negative), second)

    each_vector(code, count, use)


def _emit_join(code: Code, whole: Any, difference: Any, factor: Any, out: Any, count: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        first, second = code.variable(load(code.at(whole, offset))), code.variable()
        code.builder.store(load(code.at(difference, offset)), second)
        with code.builder.if_then(code.builder.icmp_signed("!=", factor, number(0))):
            scale = load(code.at(factor, offset))
            code.builder.store(code.times(scale, code.builder.load(first)), first)
            code.builder.store(code.times(code.magnitude(scale), code.builder.load(second)), second)
        both = code.plus(code.builder.load(first), code.builder.load(second))
        store(code.times(code.splat(0.5), both), code.at(out, offset))

    each_vector(code, count, use)


_magnitudes = expanded(3, _emit_magnitudes)
_split = expanded(5, _emit_split)
_sum_and_difference = expanded(2, _emit_sum_and_difference)
_join = expanded(5, _emit_join)


@helper
def take_magnitudes(lines: Blob, out: int) -> None:
    """Write ``x⁺ − x⁻`` of a blob, its magnitudes, to the address ``out``."""
    _magnitudes(lines.ctypes.data, out, lines.size)


@helper
def split_sums(sums: Blob, bias: Blob, products: int, total: Blob) -> None:
    """Replace the sum and difference of two parts by the parts.

    Parameters
    ----------
    sums
        (rows, W, 2·C), overwritten.
    bias
        (C,) or empty.
    products
        Number of products in a sum.
    total
        (rows, W, C), overwritten: the sum of both parts, plus the bias.
    """
    size = total.shape[2]
    noise = np.full(1, NOISE * np.sqrt(products), np.float32)
    shift = bias.ctypes.data if bias.size else 0
    for pixel in range(total.shape[0] * total.shape[1]):
        place = 4 * pixel * size
        _split(sums.ctypes.data + 2 * place, shift, noise.ctypes.data, total.ctypes.data + place, size)


@helper
def take_sums_and_differences(lines: Blob) -> None:
    """Replace two parts by their sum and difference: (rows, W, 2·C)."""
    size = lines.shape[2] // 2
    for pixel in range(lines.shape[0] * lines.shape[1]):
        _sum_and_difference(lines.ctypes.data + 8 * pixel * size, size)


@helper
def join_halves(whole: Blob, difference: Blob, factor: Blob, out: Blob) -> None:
    """From the sum and difference of two parts, compute the part for the factor's sign, times the factor.

    If the factor is empty, the result is the first part. All blobs have one axis; ``out`` is overwritten.
    """
    scale = factor.ctypes.data if factor.size else 0
    _join(whole.ctypes.data, difference.ctypes.data, scale, out.ctypes.data, out.size)
