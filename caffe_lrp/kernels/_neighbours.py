"""Normalization across channels, line by line, in vector instructions: sums of neighbours, and a power."""

from typing import Any

from llvmlite import ir

from ._simd import Code, Load, Store, each_vector, expanded

#: The bits of a float32 number, read as an integer, are roughly its logarithm. Those of ``s^(−3/4)`` are
#: roughly this number (7/4 of the bits of 1) minus 3/4 of the bits of ``s``; the power is right to 5 %.
_POWER_OF_ONE = 1863487324

#: ``(1 − e)^(−1/4) ≈ Σ c_i e^i`` to within 1e-5 for the errors e of that estimate, highest power first.
_CORRECTION = (0.13430312, 0.15811043, 0.24981173, 0.99999423)


def _add(code: Code, first: ir.Value, count: ir.Value, total: ir.Value, load: Load) -> None:
    """Add to ``total`` ``count`` vectors, the first at ``first`` and each next one a number further on."""
    with code.loop(count) as index:
        found = load(code.at(first, code.scaled(index, 4)))
        code.builder.store(code.plus(code.builder.load(total), found), total)


def _emit_scale(
    code: Code, x: Any, reach: Any, coefficients: Any, padded: Any, out: Any, channels: Any
) -> None:
    squares = code.at(padded, code.scaled(reach, 4))
    factor, constant = code.broadcast(coefficients), code.broadcast(code.at(coefficients, 4))
    local_size = code.at(code.scaled(reach, 2), 1)

    def square(offset: ir.Value, load: Load, store: Store) -> None:
        found = load(code.at(x, offset))
        store(code.times(found, found), code.at(squares, offset))

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        total = code.variable(code.splat(0))
        _add(code, code.at(padded, offset), local_size, total, load)
        store(code.times_plus(factor, code.builder.load(total), constant), code.at(out, offset))

    each_vector(code, channels, square)
    each_vector(code, channels, use)


def _emit_others(code: Code, padded: Any, reach: Any, out: Any, channels: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        total, first = code.variable(code.splat(0)), code.at(padded, offset)
        _add(code, first, reach, total, load)
        _add(code, code.at(first, code.scaled(reach, 4), 4), reach, total, load)
        store(code.builder.load(total), code.at(out, offset))

    each_vector(code, channels, use)


def _estimate(code: Code, base: ir.Value) -> ir.Value:
    """``base^(−3/4)`` to within 5 %."""
    builder = code.builder
    bits = code.bits(base)
    three_quarters = builder.sub(bits, builder.lshr(bits, code.splat_bits(2)))
    return code.floats(builder.sub(code.splat_bits(_POWER_OF_ONE), three_quarters))


def _error(code: Code, base: ir.Value, power: ir.Value) -> ir.Value:
    """``1 − base³·power⁴``, which is 0 for ``power = base^(−3/4)``."""
    root = code.times(base, power)
    near_one = code.times(code.times(code.times(root, root), root), power)
    return code.minus(code.splat(1), near_one)


def _emit_power(code: Code, base: Any, out: Any, count: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        number = load(code.at(base, offset))
        power = _estimate(code, number)
        error = _error(code, number, power)
        factor = code.splat(0)
        for coefficient in _CORRECTION:
            factor = code.times_plus(factor, error, code.splat(coefficient))
        power = code.times(power, factor)
        # The remaining error is so small that the first term of the correction is enough.
        change = code.times(power, _error(code, number, power))
        store(code.times_plus(change, code.splat(0.25), power), code.at(out, offset))

    each_vector(code, count, use)


#: ``x, reach, coefficients, padded, out, channels``: ``k + f·Σ x_j²`` over a channel and the ``reach`` before
#: and after it; ``coefficients`` points to f and k. ``padded`` is a buffer for the squares, with ``reach``
#: zeros at either end.
scale_of_line = expanded(6, _emit_scale)

#: ``padded, reach, out, channels``: sums of the ``reach`` numbers before and after each one; ``padded`` holds
#: the numbers, with ``reach`` zeros at either end.
sums_of_others = expanded(4, _emit_others)

#: ``base, out, count``: ``base^(−3/4)`` of ``count`` normal positive numbers, to two units in the last place.
#: Two roots and a division would take three times as long.
power_of_three_quarters = expanded(3, _emit_power)
