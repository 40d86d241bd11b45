"""Blobs divided by sums of products, in vectors of channels. A division by 0 gives 0."""

from typing import Any

from llvmlite import ir

from ._simd import Code, Load, Store, each_vector, expanded


def _emit_by_sign(
    code: Code, dividend: Any, sums: Any, negative_offset: Any, positive_bias: Any, negative_bias: Any,
    coefficients: Any, out: Any, count: Any,
) -> None:  # fmt: skip
    of_positive, of_negative = code.broadcast(coefficients), code.broadcast(code.at(coefficients, 4))

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        given = load(code.at(dividend, offset))
        p = code.plus(load(code.at(sums, offset)), load(code.at(positive_bias, offset)))
        n = code.plus(load(code.at(sums, negative_offset, offset)), load(code.at(negative_bias, offset)))
        store(code.ratio(code.times(of_positive, given), p), code.at(out, offset))
        store(code.ratio(code.times(of_negative, given), n), code.at(out, negative_offset, offset))

    each_vector(code, count, use)


def _emit_by_positive(
    code: Code, dividend: Any, sums: Any, positive_bias: Any, out: Any, count: Any
) -> None:  # fmt: skip
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        p = code.plus(load(code.at(sums, offset)), load(code.at(positive_bias, offset)))
        store(code.ratio(load(code.at(dividend, offset)), p), code.at(out, offset))

    each_vector(code, count, use)


def _emit_favouring(
    code: Code, dividend: Any, sums: Any, negative_offset: Any, positive_bias: Any, negative_bias: Any,
    coefficients: Any, out: Any, count: Any,
) -> None:  # fmt: skip
    more = code.broadcast(coefficients)
    favour = code.plus(code.splat(1), more)

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        p = code.plus(load(code.at(sums, offset)), load(code.at(positive_bias, offset)))
        n = code.plus(load(code.at(sums, negative_offset, offset)), load(code.at(negative_bias, offset)))
        z = code.plus(p, n)
        below_zero = code.minus(code.splat(0), z)
        divisor = code.times_plus(more, code.where_positive(below_zero, n, p), z)
        plain = code.ratio(load(code.at(dividend, offset)), divisor)
        favoured = code.times(favour, plain)
        store(code.where_positive(below_zero, plain, favoured), code.at(out, offset))
        store(code.where_positive(below_zero, favoured, plain), code.at(out, negative_offset, offset))

    each_vector(code, count, use)


def _emit_stabilised(code: Code, dividend: Any, z: Any, coefficients: Any, out: Any, count: Any) -> None:
    stabiliser, at_zero = code.broadcast(coefficients), code.broadcast(code.at(coefficients, 4))

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        value = load(code.at(z, offset))
        divisor = code.where_positive(value, code.plus(value, stabiliser), code.minus(value, stabiliser))
        divisor = code.where_zero(value, at_zero, divisor)
        store(code.ratio(load(code.at(dividend, offset)), divisor), code.at(out, offset))

    each_vector(code, count, use)


#: ``dividend, sums, negative_offset, positive_bias, negative_bias, coefficients, out, count``: ``f₁ d/p`` at
#: ``out``, and ``f₂ d/n`` ``negative_offset`` bytes after it, in the layout of the sums; f₁, f₂ are the
#: coefficients.
divide_by_sign = expanded(8, _emit_by_sign)

#: ``dividend, sums, positive_bias, out, count``: only ``d/p``.
divide_by_positive = expanded(5, _emit_by_positive)

#: Arguments as for `divide_by_sign`; the coefficient is f. ``d / (z + fp)`` where ``z = p + n ≥ 0``, else
#: ``d / (z + fn)``; multiplied by 1 + f for products of the sign of z, unchanged for the others.
divide_favouring = expanded(8, _emit_favouring)

#: ``dividend, z, coefficients, out, count``: ``d / (z + s·sign(z))``; the coefficients are s and the divisor
#: where z is 0.
divide_stabilised = expanded(5, _emit_stabilised)
